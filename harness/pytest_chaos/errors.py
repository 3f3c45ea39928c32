"""The two kinds of bad news, never mixed.

::

    Exception
     +- ChaosError              the harness or the set-up is broken
     |   +- TopologyError       the declared graph makes no sense
     |   +- PartMissing         a real part (broker, proxy, engine) cannot be had here
     |   +- StackError          a node did not start, died, or cannot be reached
     |   +- KeeperError         the keeper refused a request or is gone
     |   +- FaultError          a fault cannot be carried out as asked
     |   +- UndoError           something could not be undone: the run is DIRTY
     +- PublishError            the driver's message was not confirmed: neither of the two, a test may expect it
     +- AssertionError
         +- Violation           the system under test is wrong
         +- Inconclusive        nothing was decided: vacuity is never a pass
"""

from __future__ import annotations


class ChaosError(Exception):
    """The harness or the set-up is broken; says nothing about the system under test."""


class TopologyError(ChaosError):
    """A topology, a fault or an option names something that does not exist or is out of range."""


class PartMissing(ChaosError):  # noqa: N818 - it says what is missing, not that somebody erred
    """A real part cannot be had on this machine; the message says how to get it."""


class StackError(ChaosError):
    """A node did not start, died, never got ready, or cannot be reached."""


class KeeperError(ChaosError):
    """The keeper refused a request, or is gone."""


class FaultError(ChaosError):
    """A fault cannot be carried out as asked."""


class UndoError(ChaosError):
    """A fault could not be undone within its time; the run is DIRTY."""


class PublishError(Exception):
    """A broker did not confirm the driver's message. ``certain``: it certainly has none; else nobody can say."""

    def __init__(self, message: str, *, certain: bool) -> None:
        super().__init__(message)
        self.certain = certain


class Violation(AssertionError):  # noqa: N818 - the field's word, and it must read as an assertion
    """The system under test broke a rule."""


class Inconclusive(AssertionError):  # noqa: N818 - as above
    """Nothing was decided; the message names the missing evidence."""
