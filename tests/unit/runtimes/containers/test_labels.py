from __future__ import annotations

import os
import subprocess

from pytest_chaos.runtimes.containers import labels


def test_what_this_process_keeps_lives():
    assert not labels.is_dead(labels.of_run("r1"))


def test_what_an_ended_process_kept_is_dead():
    with subprocess.Popen(["sleep", "60"]) as child:
        kept = {labels.KEEPER: labels._identity(child.pid)}
        assert not labels.is_dead(kept)
        child.kill()
    assert labels.is_dead(kept)


def test_a_later_process_with_the_same_number_keeps_nothing():
    pid, started, boot, space = labels.of_run("r1")[labels.KEEPER].split(" ")
    assert labels.is_dead({labels.KEEPER: f"{pid} {int(started) + 1} {boot} {space}"})


def test_what_was_kept_before_a_reboot_is_dead():
    pid, started, _, space = labels.of_run("r1")[labels.KEEPER].split(" ")
    assert labels.is_dead({labels.KEEPER: f"{pid} {started} another-boot {space}"})


def test_what_a_process_keeps_that_cannot_be_seen_from_here_is_left_alone():
    _, started, boot, _ = labels.of_run("r1")[labels.KEEPER].split(" ")
    assert not labels.is_dead({labels.KEEPER: f"{os.getpid()} {int(started) + 1} {boot} pid:[1]"})
    assert not labels.is_dead({})
