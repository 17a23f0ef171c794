"""How a process learns which rank it is and where its peers are.

Rules of this file:
- Joining has three parts: ``identify`` (cheap, at import), ``publish`` (this rank's channel addresses) and
  ``table`` (everybody's; waits, so it is called on first communication only).
- Nothing here interprets a record: it is a JSON-compatible dict that the runtime writes and reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Bootstrap", "Event", "Identity", "Record"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """Who this process is: the job's id, its rank, the job's size and the secret that only its ranks know."""

    job: str
    rank: int
    size: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Event:
    """News from the job's control: ``kind`` is "abort" (the job ends) or "lost" (``rank`` is gone)."""

    kind: str
    rank: int
    message: str
    code: int = 1


class Bootstrap(Protocol):
    """The meeting place of a job, as one rank sees it."""

    identity: Identity

    def publish(self, record: Record) -> None:
        """Make this rank's record known. Does not wait for others."""

    def table(self, timeout: float) -> Sequence[Record]:
        """Return every rank's record, in rank order; raises BootstrapError naming the missing ranks."""

    def fileno(self) -> int:
        """Descriptor that is readable when an event waits, or -1 if this meeting place has no control."""

    def events(self) -> Sequence[Event]:
        """Return news without blocking."""

    def abort(self, code: int, message: str) -> None:
        """Ask that all ranks be ended with exit code ``code``. Returns; the caller then exits itself."""

    def finalized(self) -> None:
        """Tell that this rank has finalised: from now on its exit is not a failure."""

    def close(self) -> None:
        """Release everything. Idempotent."""
