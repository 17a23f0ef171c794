"""What is measured: the same loops for every peer.

Rules of this file:
- Only public MPI names, of whatever module is given as ``MPI``.
- ``prepare(MPI, comm, nbytes)`` makes the buffers and returns the loop; the loop takes the number of rounds. It returns
  None, and then its time is the result, or a figure of its own.
- ``nbytes`` is a message's size: the whole vector in Bcast, Reduce, Allreduce and Scan, one rank's block elsewhere.
- Collectives with a root change it from round to round, else a root would run ahead of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PIECES", "Piece"]

Loop = Callable[[int], "float | None"]
Prepare = Callable[[Any, Any, int], Loop]

MIB = 1 << 20
SIZES = (8, 64, 1 << 10, 8 << 10, 64 << 10, 256 << 10, MIB, 4 * MIB, 16 * MIB, 64 * MIB)
COARSE = (8, 1 << 10, 8 << 10, 64 << 10, MIB, 16 * MIB, 64 * MIB)
_LARGEST_BUFFER = 64 * MIB  # of one rank
_WINDOW_BYTES = 16 * MIB
_IDLE = 2.0  # seconds


@dataclass(frozen=True)
class Piece:
    """A loop, the numbers of ranks and the sizes that it is run with.

    ``per`` is the number of operations in a round; ``blocks`` tells that a buffer holds a block of every rank.
    """

    name: str
    prepare: Prepare
    ranks: tuple[int, ...] = (2, 4, 8)
    sizes: tuple[int, ...] = COARSE
    per: Callable[[int], int] = lambda nbytes: 1
    blocks: bool = False
    collective: bool = False
    unit: str = "us"
    needs: tuple[str, ...] = ()

    def fits(self, nbytes: int, ranks: int) -> bool:
        """Tell whether the buffers are of bearable size."""
        return nbytes * (ranks if self.blocks else 1) <= _LARGEST_BUFFER


def _window(nbytes: int) -> int:
    """Return how many messages are under way at once."""
    return max(4, min(64, _WINDOW_BYTES // nbytes))


def _vector(nbytes: int) -> np.ndarray:
    return np.ones(nbytes // 8)


# -- point-to-point --------------------------------------------------------------------------------------------------


def _partner(comm: Any) -> tuple[int, bool]:
    """Pairs are ranks i and i + size/2; return the other one, and whether this one is the first."""
    rank, half = comm.Get_rank(), comm.Get_size() // 2
    return (rank + half, True) if rank < half else (rank - half, False)


def _latency(MPI: Any, comm: Any, nbytes: int) -> Loop:
    other, first = _partner(comm)
    out, into = _vector(nbytes), _vector(nbytes)

    def loop(rounds: int) -> None:
        for _ in range(rounds):
            if first:
                comm.Send(out, other, 1)
                comm.Recv(into, other, 1)
            else:
                comm.Recv(into, other, 1)
                comm.Send(out, other, 1)

    return loop


def _bandwidth(MPI: Any, comm: Any, nbytes: int) -> Loop:
    other, first = _partner(comm)
    data, token = _vector(nbytes), _vector(8)
    window = range(_window(nbytes))
    wait = MPI.Request.Waitall

    def loop(rounds: int) -> None:
        for _ in range(rounds):
            if first:
                wait([comm.Isend(data, other, 1) for _ in window])
                comm.Recv(token, other, 2)
            else:
                wait([comm.Irecv(data, other, 1) for _ in window])
                comm.Send(token, other, 2)

    return loop


def _both_ways(MPI: Any, comm: Any, nbytes: int) -> Loop:
    other, _ = _partner(comm)
    out, into = _vector(nbytes), _vector(nbytes)
    window = range(_window(nbytes))
    wait = MPI.Request.Waitall

    def loop(rounds: int) -> None:
        for _ in range(rounds):
            receives = [comm.Irecv(into, other, 1) for _ in window]
            wait([comm.Isend(out, other, 1) for _ in window] + receives)

    return loop


def _objects(make: Callable[[int], object]) -> Prepare:
    def prepare(MPI: Any, comm: Any, nbytes: int) -> Loop:
        other, first = _partner(comm)
        thing = make(nbytes)

        def loop(rounds: int) -> None:
            for _ in range(rounds):
                if first:
                    comm.send(thing, other, 1)
                    comm.recv(None, other, 1)
                else:
                    comm.recv(None, other, 1)
                    comm.send(thing, other, 1)

        return loop

    return prepare


def _idle(MPI: Any, comm: Any, nbytes: int) -> Loop:
    """The share of a core that a rank takes while it is blocked in Recv."""
    rank, data = comm.Get_rank(), _vector(8)

    def loop(rounds: int) -> float:
        began = time.perf_counter()
        used = time.process_time()
        if rank:
            comm.Recv(data, 0, 1)
            return (time.process_time() - used) / (time.perf_counter() - began)
        time.sleep(_IDLE)
        for other in range(1, comm.Get_size()):
            comm.Send(data, other, 1)
        return 0.0

    return loop


# -- collectives -----------------------------------------------------------------------------------------------------


def _barrier(MPI: Any, comm: Any, nbytes: int) -> Loop:
    def loop(rounds: int) -> None:
        for _ in range(rounds):
            comm.Barrier()

    return loop


def _bcast(MPI: Any, comm: Any, nbytes: int) -> Loop:
    size, data = comm.Get_size(), _vector(nbytes)

    def loop(rounds: int) -> None:
        for turn in range(rounds):
            comm.Bcast(data, turn % size)

    return loop


def _symmetric(name: str, out_blocks: bool, in_blocks: bool) -> Prepare:
    def prepare(MPI: Any, comm: Any, nbytes: int) -> Loop:
        size = comm.Get_size()
        out = _vector(nbytes * (size if out_blocks else 1))
        into = _vector(nbytes * (size if in_blocks else 1))
        call = getattr(comm, name)

        def loop(rounds: int) -> None:
            for _ in range(rounds):
                call(out, into)

        return loop

    return prepare


def _gather(MPI: Any, comm: Any, nbytes: int) -> Loop:
    size, rank = comm.Get_size(), comm.Get_rank()
    out, into = _vector(nbytes), _vector(nbytes * size)

    def loop(rounds: int) -> None:
        for turn in range(rounds):
            comm.Gather(out, into if turn % size == rank else None, turn % size)

    return loop


def _scatter(MPI: Any, comm: Any, nbytes: int) -> Loop:
    size, rank = comm.Get_size(), comm.Get_rank()
    out, into = _vector(nbytes * size), _vector(nbytes)

    def loop(rounds: int) -> None:
        for turn in range(rounds):
            comm.Scatter(out if turn % size == rank else None, into, turn % size)

    return loop


def _reduce(MPI: Any, comm: Any, nbytes: int) -> Loop:
    size, rank = comm.Get_size(), comm.Get_rank()
    out, into = _vector(nbytes), _vector(nbytes)

    def loop(rounds: int) -> None:
        for turn in range(rounds):
            comm.Reduce(out, into if turn % size == rank else None, MPI.SUM, turn % size)

    return loop


def _many(MPI: Any, comm: Any, nbytes: int) -> Loop:
    out, into = _vector(nbytes), _vector(nbytes)

    def loop(rounds: int) -> None:
        for _ in range(rounds):
            comm.Barrier()
            comm.Allreduce(out, into)

    return loop


def _collective(name: str, prepare: Prepare, **more: Any) -> Piece:
    return Piece(name.lower(), prepare, collective=True, needs=(name,), **more)


PIECES = (
    Piece("latency", _latency, (2,), SIZES, lambda nbytes: 2),
    Piece("bandwidth", _bandwidth, (2,), SIZES, _window),
    Piece("bibw", _both_ways, (2,), SIZES, lambda nbytes: 2 * _window(nbytes)),
    Piece("multi_pair", _latency, (4, 8), SIZES, lambda nbytes: 2),
    Piece("message_rate", _bandwidth, (4, 8), SIZES, _window),
    Piece("send_dict", _objects(lambda nbytes: {"step": 7, "loss": 0.25, "name": "x", "shape": (3, 4)}), (2,), (0,),
          lambda nbytes: 2, needs=("send",)),
    Piece("send_array", _objects(lambda nbytes: np.ones(nbytes // 8)), (2,), (16 * MIB,), lambda nbytes: 2,
          needs=("send",)),
    _collective("Barrier", _barrier, sizes=(0,)),
    _collective("Bcast", _bcast),
    _collective("Gather", _gather, blocks=True),
    _collective("Scatter", _scatter, blocks=True),
    _collective("Allgather", _symmetric("Allgather", False, True), blocks=True),
    _collective("Alltoall", _symmetric("Alltoall", True, True), blocks=True),
    _collective("Reduce", _reduce),
    _collective("Allreduce", _symmetric("Allreduce", False, False)),
    _collective("Reduce_scatter_block", _symmetric("Reduce_scatter_block", True, False), blocks=True),
    _collective("Scan", _symmetric("Scan", False, False)),
    Piece("idle", _idle, (8,), (0,), unit="cores"),
    Piece("many", _many, (64,), (8,), needs=("Allreduce",)),
)  # fmt: skip
"""In the order of the report."""
