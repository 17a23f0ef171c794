"""What a collective costs, counted in frames.

Rules of this file:
- Beside each algorithm stands ``cost(size, nbytes)``. ``nbytes`` is the measure that selection uses: the buffer for
  bcast, reduce, allreduce, scan and exscan; one block for gather, scatter, allgather and alltoall; the whole vector for
  reduce_scatter and allgatherv; for the other forms with counts, one block, all blocks being equal.
- On a board, what a rank shares in a round is a message of no bytes; bytes count where another rank reads them.
- Formulas are exact where ``size`` and the largest power of two within it divide ``nbytes`` (and, where the operation's
  order matters to the schedule, for commutative operations); tests compare them with counted frames. Elsewhere
  they are right up to the rounding of blocks.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FREE", "LISTED", "NOTHING", "Frames", "Requests", "log_ceil", "log_floor"]


class Frames(NamedTuple):
    """The messages of one collective, without protocol overhead."""

    messages: int
    """Messages sent by all ranks together."""
    nbytes: int
    """Payload bytes sent by all ranks together."""
    rounds: int
    """Messages on the longest chain of dependent ones; the sends of one yield go out together."""
    busiest: int
    """Bytes sent or received, whichever is more, by the rank for which this is most."""


NOTHING = Frames(0, 0, 0, 0)


LISTED = 1 << 16
"""Bytes of the objects that one listing takes along, at most, where it can bring objects themselves."""


class Requests(NamedTuple):
    """What one collective in ``coll.via_store`` asks of a store, without the looks for what is not there yet."""

    puts: int
    """Objects put by all ranks together."""
    gets: int
    """Objects, or blocks of objects, fetched by all ranks together."""
    counts: int
    """Times that a rank has counted itself in at a barrier."""
    put_bytes: int
    """Payload bytes put by all ranks together."""
    got_bytes: int
    """Payload bytes fetched by all ranks together."""
    rounds: int
    """Requests on the longest chain of dependent ones; the gets of one yield go out together."""
    busiest: int
    """Bytes put or fetched, whichever is more, by the rank for which this is most."""
    busiest_requests: int
    """Requests made by the rank that makes most of them."""
    groups: int = 0
    """Times that a rank fetches what every other rank has put, with nothing else in the objects."""
    group_bytes: int = 0
    """Bytes that it fetches then."""

    def listed(self, size: int) -> Requests:
        """Return the same for a store in which one listing brings what ``size - 1`` gets do."""
        saved = size - 2
        if not self.groups or saved <= 0 or self.group_bytes > LISTED:
            return self
        return self._replace(
            gets=self.gets - self.groups * saved, busiest_requests=max(1, self.busiest_requests - saved)
        )


def log_ceil(size: int) -> int:
    """Return the least k with 2**k >= size, for size > 0."""
    return (size - 1).bit_length()


def log_floor(size: int) -> int:
    """Return the greatest k with 2**k <= size, for size > 0."""
    return size.bit_length() - 1


FREE = Requests(0, 0, 0, 0, 0, 0, 0, 0)
