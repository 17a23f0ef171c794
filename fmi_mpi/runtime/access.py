"""Accesses to windows: put, get, accumulate, fetch, swap (MPI-4.1, 12.3).

Rules of this file:
- What this process can reach itself, its own memory and shared segments, it reads and writes at once; accumulations
  on others' memory are always theirs to carry out, as only one process at a time is atomic.
- Accumulations travel in frames of bounded size, cut between predefined elements; so do elements of layouts with gaps.
- A function returns the operation that a request would wait for; the window keeps it for the epoch's end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fmi_mpi.constants import ERR_RMA_RANGE, ERR_SIZE, WIN_FLAVOR_DYNAMIC
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.exposure import code_of, encode
from fmi_mpi.data.kernels import OPS, OpImpl
from fmi_mpi.data.message import Message
from fmi_mpi.engine.operations import Operation, RecvOp, SendOp
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.window import Window

__all__ = ["Target", "accumulate", "fetch", "get", "put", "swap"]

_CHUNK = 1 << 20  # bytes of data that a target takes into memory of its own at a time
_NO_OP = OPS["NO_OP"]


class Target:
    """Where an access goes.

    Args:
        rank: of the window's group. displ: in the target's units. count, datatype: what is there.

    Raises MPIError of class ERR_RMA_RANGE if that is known to be outside of the window.
    """

    __slots__ = ("address", "datatype", "layout", "nbytes", "rank")

    def __init__(self, window: Window, rank: int, displ: int, count: int, datatype: Type) -> None:
        self.rank = rank
        self.datatype = datatype
        self.layout = None if datatype.dense else datatype
        self.nbytes = count * datatype.size
        self.address = displ * window.units[rank]
        if self.nbytes and window.flavor != WIN_FLAVOR_DYNAMIC:
            low, high = datatype.span(count)
            if self.address + low < 0 or self.address + high > window.sizes[rank]:
                raise MPIError(
                    ERR_RMA_RANGE,
                    f"bytes {self.address + low} to {self.address + high} are not in the window of rank {rank}, "
                    f"which has {window.sizes[rank]}",
                )

    def check(self, origin: Message, name: str = "origin") -> None:
        """Raise MPIError unless a buffer has as much data as there is at the target."""
        if origin.nbytes != self.nbytes:
            raise MPIError(ERR_SIZE, f"{name}: {origin.nbytes} bytes, but {self.nbytes} at the target")

    def pieces(self, atomic: bool) -> Iterator[tuple[int, int, int]]:
        """Yield (address, start, stop) of pieces; ``start`` and ``stop`` count packed bytes.

        Args:
            atomic: the target takes in a whole piece before it uses it, even of a run.
        """
        nbytes, datatype = self.nbytes, self.datatype
        if nbytes <= _CHUNK or not (atomic or self.layout is not None):
            yield self.address, 0, nbytes
            return
        step = max(_CHUNK // datatype.size, 1)
        for first in range(0, nbytes // datatype.size, step):
            start = first * datatype.size
            yield self.address + first * datatype.extent, start, min(start + step * datatype.size, nbytes)


class _Joint(Operation):
    """Several operations that are complete together.

    Args:
        ops: running or complete. finish: called when all are, if none has failed.
    """

    def __init__(self, ops: Sequence[Operation], finish: Callable[[], None] | None) -> None:
        self._ops = ops
        self._finish = finish
        self._waiting = 1
        for op in ops:
            if not op.done:
                op.watcher = self
                self._waiting += 1
        self.completed(self)

    def completed(self, operation: Operation) -> None:
        """One of the operations is complete (engine.operations.Watcher)."""
        self._waiting -= 1
        if self._waiting:
            return
        failed = next((op for op in self._ops if op.error), None)
        if failed is not None:
            self.error, self.detail = failed.error, failed.detail
        elif self._finish is not None:
            self._finish()
        self.complete()


def _done() -> Operation:
    op = Operation()
    op.done = True
    return op


def _all(ops: Sequence[Operation], finish: Callable[[], None] | None = None) -> Operation:
    return ops[0] if len(ops) == 1 and finish is None else _Joint(ops, finish)


def _ship(window: Window, target: Target, proc: int) -> int:
    """Return the number of the target's layout there, 0 for a run of bytes."""
    layout = target.layout
    if layout is None:
        return 0
    return window.world.onesided.ship(window.state, proc, layout, lambda: encode(layout))


def put(window: Window, origin: Message, target: Target) -> Operation:
    """Write the origin's data to the target."""
    window.admit(target.rank)
    target.check(origin)
    if not target.nbytes:
        return _done()
    payload = origin.payload()
    world, rank = window.world, target.rank
    segment = window.segments.get(rank)
    with world.progress.lock:
        if segment is not None:
            segment.write(target.address, payload, target.layout)
            return _done()
        proc = window.comm.procs[rank]
        layout = _ship(window, target, proc)
        ops: list[SendOp] = [
            world.onesided.put(window.state, proc, address, payload[start:stop], stop - start, layout)
            for address, start, stop in target.pieces(False)
        ]
    op = _all(ops)
    window.note(rank, op, True)
    return op


def get(window: Window, result: Message, target: Target) -> Operation:
    """Read the target's data."""
    window.admit(target.rank)
    target.check(result)
    if not target.nbytes:
        return _done()
    segment = window.segments.get(target.rank)
    if segment is not None:
        with window.world.progress.lock:
            return _store(result, segment.read(target.address, target.nbytes, target.layout))
    return _receive(window, result, target, False, window.world.onesided.get)


def _store(result: Message, data: memoryview) -> Operation:
    sink, finish = result.sink()
    sink[:] = data
    if finish is not None:
        finish(len(data))
    return _done()


def _receive(
    window: Window, result: Message, target: Target, atomic: bool, ask: Callable[..., Any], *args: Any
) -> Operation:
    """Ask the target for its data, piece by piece.

    Args:
        ask: called as (window, process, address, *args of the piece, operation, ..., layout).
    """
    sink, finish = result.sink()
    world, rank = window.world, target.rank
    proc = window.comm.procs[rank]
    with world.progress.lock:
        layout = _ship(window, target, proc)
        ops: list[Operation] = []
        for address, start, stop in target.pieces(atomic):
            op = RecvOp(proc, rank, 0, sink[start:stop])
            if args:
                payload, code = args
                ops.append(ask(window.state, proc, address, payload[start:stop], op, code, layout))
            else:
                ops.append(ask(window.state, proc, address, op, layout))
        nbytes = target.nbytes
        whole = _all(ops, None if finish is None else lambda: finish(nbytes))
    window.note(rank, whole, False)
    return whole


def accumulate(window: Window, origin: Message, target: Target, op: OpImpl) -> Operation:
    """Combine the origin's data into the target's."""
    window.admit(target.rank)
    target.check(origin)
    if not target.nbytes:
        return _done()
    code = code_of(op, target.datatype)
    payload = origin.payload()
    world, rank = window.world, target.rank
    with world.progress.lock:
        if rank == window.comm.rank:
            window.exposure.combine(target.address, payload, target.layout, code)
            return _done()
        proc = window.comm.procs[rank]
        layout = _ship(window, target, proc)
        ops: list[SendOp] = [
            world.onesided.accumulate(window.state, proc, address, payload[start:stop], stop - start, code, layout)
            for address, start, stop in target.pieces(True)
        ]
    whole = _all(ops)
    window.note(rank, whole, True)
    return whole


def fetch(window: Window, origin: Message | None, result: Message, target: Target, op: OpImpl) -> Operation:
    """Read the target's data and combine the origin's into it, in one step for each element."""
    window.admit(target.rank)
    target.check(result, "result")
    if op is not _NO_OP and origin is not None:
        target.check(origin)
    if not target.nbytes:
        return _done()
    code = code_of(op, target.datatype)
    rank = target.rank
    if rank == window.comm.rank:
        with window.world.progress.lock:
            payload = bytes(origin.payload()) if origin is not None and op is not _NO_OP else b""
            before = bytes(window.exposure.read(target.address, target.nbytes, target.layout))
            if payload:
                window.exposure.combine(target.address, memoryview(payload), target.layout, code)
            return _store(result, memoryview(before))
    if op is _NO_OP or origin is None:
        return _receive(window, result, target, False, window.world.onesided.get)
    return _receive(window, result, target, True, window.world.onesided.fetch, origin.payload(), code)


def swap(window: Window, origin: Message, compare: Message, result: Message, target: Target) -> Operation:
    """Read the target's element, and replace it by the origin's if it is the one to compare with."""
    window.admit(target.rank)
    values = bytes(origin.payload()) + bytes(compare.payload())
    world, rank, half = window.world, target.rank, target.nbytes
    sink, finish = result.sink()
    with world.progress.lock:
        if rank == window.comm.rank:
            there = window.exposure.run(target.address, half)
            before = bytes(there)
            if before == values[half:]:
                there[:] = values[:half]
            return _store(result, memoryview(before))
        proc = window.comm.procs[rank]
        op = RecvOp(proc, rank, 0, sink, finish)
        world.onesided.swap(window.state, proc, target.address, values, op)
    window.note(rank, op, False)
    return op
