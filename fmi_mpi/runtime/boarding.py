"""Opening the board of a communicator: all of its ranks, or none, get one.

Rules of this file:
- The opening is part of a collective: messages of its number, before those of its algorithm.
- Only a first channel that publishes has boards: what the user prefers to it is used for collectives too.
- Two questions, each answered by all ranks: have you opened it, and can you read everybody's memory?
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from fmi_mpi.channels.base import Address, Board, ChannelError, Publisher
from fmi_mpi.coll.steps import INLINE, Recv, Schedule, Send

if TYPE_CHECKING:
    from fmi_mpi.runtime.communicator import Communicator

__all__ = ["eligible", "opened"]

_MOST: Final = 64
"""Ranks up to which a board is faster than messages, and its memory and descriptors are few."""
_YES: Final = memoryview(b"y")
_NO: Final = memoryview(b"n")


def eligible(comm: Communicator) -> bool:
    """Whether the communicator may have a board; equal on all ranks, and found out without waiting."""
    channels = comm.world.channels
    return comm.remote is None and 1 < comm.size <= _MOST and bool(channels) and channels[0].capabilities.publish


def opened(comm: Communicator) -> Schedule[Board | None]:
    """Return the communicator's board, opened by all ranks, or None if some could not."""
    publisher: Publisher = comm.world.channels[0]  # type: ignore[assignment]
    board = yield from (_make(comm, publisher) if comm.rank == 0 else _open(comm, publisher))
    together = yield from _agreed(comm, board is not None)
    readable = yield from _agreed(comm, together and board is not None and board.meet())
    if readable:
        return board
    if board is not None:
        board.close()
    return None


def _make(comm: Communicator, publisher: Publisher) -> Schedule[Board | None]:
    board: Board | None = None
    address: Address | None = None
    try:
        board = publisher.make_board(comm.size, INLINE)
        address = board.address
    except ChannelError:
        pass
    told = memoryview(json.dumps(address).encode())
    yield [Send(peer, told) for peer in range(1, comm.size)]
    return board


def _open(comm: Communicator, publisher: Publisher) -> Schedule[Board | None]:
    told = Recv(0)
    yield told
    assert told.data is not None
    address = json.loads(bytes(told.data))
    try:
        return None if address is None else publisher.open_board(address, comm.rank)
    except ChannelError:
        return None


def _agreed(comm: Communicator, yes: bool) -> Schedule[bool]:
    """Return whether all ranks say yes."""
    if comm.rank:
        answer = Recv(0)
        yield Send(0, _YES if yes else _NO), answer
        return answer.data == _YES
    others = range(1, comm.size)
    said = [Recv(peer) for peer in others]
    yield said
    yes = yes and all(one.data == _YES for one in said)
    yield [Send(peer, _YES if yes else _NO) for peer in others]
    return yes
