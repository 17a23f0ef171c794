"""How a process learns which rank it is and where its peers are.

Rules of this file:
- Joining has three parts: the constructor claims the rank (cheap, at import), ``publish`` makes this rank's
  channel addresses known, ``table`` gives everybody's (waits, so it is called on first communication only).
- Nothing here interprets a record: it is a JSON-compatible dict that the runtime writes and reads.
- ``signal`` carries a channel's few bytes to another rank before, or beside, any channel between the two: it is how both
  ends of a connection through NATs agree to start at once. It is no way for data.
- A bootstrap is not thread-safe: the runtime calls it under its own lock. A forked child must not use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Bootstrap", "Event", "Identity", "Record", "Relay"]

Record = dict[str, Any]

Relay = tuple[str, int, bytes]
"""Host and port of a relay, and the key that lets members of this job in."""


@dataclass(frozen=True)
class Identity:
    """Who this process is: the job's id, its rank, the job's size and the secret that only its ranks know."""

    job: str
    rank: int
    size: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Event:
    """News from the job's control: ``kind`` is "abort" (the job ends), "lost" (``rank`` is gone) or "signal".

    ``rank`` is -1 when no rank is to blame, such as when the launcher is gone. A signal is ``data`` from ``rank``.
    """

    kind: str
    rank: int
    message: str = ""
    code: int = 1
    data: Record | None = None


class Bootstrap(Protocol):
    """The meeting place of a job, as one rank sees it."""

    identity: Identity

    directory: str | None
    """A private directory (mode 0700) that all ranks of this host share and that vanishes with the job, or None."""

    spans_hosts: bool
    """Ranks may be on other hosts: who listens must do so beyond the loopback address."""

    reflectors: Sequence[tuple[str, int]]
    """Two ports of one host that tell who connects the endpoint it is seen at (``bootstrap.reflector``), or none."""

    relay: Relay | None
    """Where data goes between ranks that cannot connect (``channels.relay``), or None."""

    def publish(self, record: Record) -> None:
        """Make this rank's record known. Does not wait for others."""

    def table(self, timeout: float) -> Sequence[Record]:
        """Return every rank's record, in rank order; raises BootstrapError naming the missing ranks.

        Raises AbortError if the job is ended meanwhile. Other news that came meanwhile is kept: call ``events``
        once afterwards, for the descriptor does not show it.
        """

    def fileno(self) -> int:
        """Descriptor that is readable when an event waits; -1: call ``events`` about once a second instead."""

    def events(self) -> Sequence[Event]:
        """Return news without blocking."""

    def signal(self, rank: int, message: Record) -> None:
        """Send a message of at most a few kilobytes to another rank, which gets it as an event. Does not wait.

        It may be lost, if that rank has not claimed its place yet or has left; messages to one rank stay in order.
        """

    def abort(self, code: int, message: str) -> None:
        """Ask that all ranks be ended with exit code ``code``. Returns; the caller then exits itself.

        ``message`` says why; who asks need not be said, it is known.
        """

    def failed(self, code: int) -> None:
        """Tell that this rank is about to exit with ``code``, of an error that it has shown: the others must end."""

    def finalized(self) -> None:
        """Tell that this rank has finalised: from now on its exit is not a failure."""

    def close(self) -> None:
        """Release everything. Idempotent."""
