"""A key store that is asked and answers: what S3 and DynamoDB have in common; ``polled`` makes mailboxes of it.

Rules of this file:
- Requests block, and may come from several threads at a time.
- What may pass (throttling, an outage, a conflict) is tried again inside, with ``backoff.persist``, for the store's
  ``patience``; what does not pass is a ``ChannelError`` that says where, what and what to do.
- A request that failed without an answer may have been carried out: every request may be repeated without harm.
- Reading sees what was written before: listings too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from fmi_mpi.channels.mailbox.store import Usage

__all__ = ["Found", "Keys", "spoilt"]


class Found(NamedTuple):
    """An object in a listing; ``body`` is None where a listing does not bring the objects themselves."""

    key: str
    size: int
    body: bytes | None = None


class Keys(Protocol):
    """Objects by their keys.

    Keys are printable ASCII, the ones given here; where they lie in the store (bucket, prefix, table) is the store's
    business. A key has no more than 900 characters.

    ``name``: of the channel. ``label``: the store in messages, without secrets. ``piece``: how long the objects should be that
    longer messages are cut into. ``span``: how much one ``fetch`` should ask for at a time; several of them run in parallel.
    ``threads``: requests that may be under way at a time. ``usage``: what has been asked so far, every request that will be
    billed once.
    """

    name: str
    label: str
    piece: int
    span: int
    threads: int
    usage: Usage

    def check(self) -> None:
        """See that the store can be reached, lets this process in, and is there; raises ChannelError with the remedy."""

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None:
        """Make, or replace, an object of ``length`` bytes, given in parts."""

    def put_new(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> bool:
        """Make an object unless there is one; False if there is. Of several at a time exactly one makes it.

        Repeated after an answer that was lost, it may say False of its own object: let the body tell who has made it.
        """

    def find(self, prefix: str, after: str = "") -> Sequence[Found]:
        """Return all objects whose keys begin so and come after ``after``, sorted by key."""

    def fetch(self, key: str, start: int, into: memoryview) -> bool:
        """Fill ``into`` with the object's bytes from ``start`` on; False if there is no such object, or not so much of it.

        ``into`` is written by slice assignments only and not sliced otherwise: whoever releases it ends this, by a
        ValueError.
        """

    def get(self, key: str) -> bytes | None:
        """Return a whole object; None if there is none."""

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects, as many as there are, in as few requests as possible; it may be that there are none."""

    def close(self) -> None:
        """Release connections; requests under way in other threads fail soon. Idempotent."""


def spoilt(keys: Keys, key: str) -> str:
    """Return the error for an object of the job's that is not as a member of the job has put it."""
    return (
        f"{keys.name}: {keys.label}: object {key!r} is not what a rank has put there: somebody without the job's key has "
        "changed, replaced or removed it; see who else may write there"
    )
