"""An end whose socket is gone already."""

from __future__ import annotations

from types import SimpleNamespace

from pytest_chaos.wire.ends import End


def test_an_end_whose_socket_the_loop_has_closed_is_reset_and_known_to_be_gone():
    aborted = []
    end = End(SimpleNamespace(made=lambda _: None))
    end.transport = SimpleNamespace(
        get_extra_info=lambda _: None, is_closing=lambda: False, abort=lambda: aborted.append(True)
    )
    assert end.hung_up()
    end.reset()
    assert aborted == [True]
