"""Collectives as plans: arguments checked and parsed once, to be run in any form.

Rules of this file:
- A plan returns (steps, finish): the algorithm's generator, and what to do when it has ended. Blocking calls run it
  once, nonblocking ones start it, persistent ones start it again and again.
- Data of types with gaps is packed when a plan starts and unpacked when it has ended.
- What selection sees (sizes in bytes) is equal on all ranks, or zero.
- Inter-communicators have plans of their own (``inter_plans``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fmi_mpi.api.comm.core import CommCore, check_root
from fmi_mpi.api.op import Op
from fmi_mpi.api.request import Prequest, Request
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.constants import ERR_COUNT, ERR_TRUNCATE
from fmi_mpi.data.kernels import kernel
from fmi_mpi.data.message import (
    Message,
    Pieces,
    is_in_place,
    message_block,
    message_recv,
    message_send,
    message_vector,
    message_w,
)
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.request import RequestState

__all__ = [
    "MAKERS",
    "Finish",
    "Plan",
    "Plans",
    "between",
    "check_counts",
    "kernel_of",
    "matching",
    "pieces_of",
    "then",
    "unpacking",
]

Finish = Callable[[Any], Any] | None
Plan = Callable[[], tuple[Steps[Any], Finish]]


def then(finish: Callable[[], None] | None) -> Finish:
    """Return a schedule's finish for a sink's."""
    return None if finish is None else lambda result: finish()


def unpacking(message: Message) -> tuple[memoryview, Finish]:
    """Return where a message is to be received, and a schedule's finish that puts it into place."""
    sink, finish = message.sink()
    return sink, None if finish is None else lambda result: finish(len(sink))


def between(name: str, *arguments: Any) -> Plan:
    """Return a plan for an inter-communicator; its module stands on this one and loads when one is used."""
    from fmi_mpi.api.comm import inter_plans

    plan: Plan = getattr(inter_plans, name)(*arguments)
    return plan


def matching(send: Message, recv: Message) -> None:
    """Raise ValueError unless two reduction buffers have the same type and count."""
    if send.datatype is not recv.datatype:
        raise ValueError("mismatch in send and receive MPI datatypes")
    if send.count != recv.count:
        raise ValueError(f"mismatch in send count {send.count} and receive count {recv.count}")


def own_block(comm: Communicator, given: int, place: int) -> None:
    """Raise MPIError unless what a rank gives to itself has the size of its place."""
    if given > place:
        raise MPIError(
            ERR_TRUNCATE, f"rank {comm.rank} sends {given} bytes to each, where it receives {place} from each"
        )
    if given < place:
        raise MPIError(ERR_COUNT, f"rank {comm.rank} sends {given} bytes to each, where it receives {place} from each")


class Plans(CommCore):
    """Mixin: the plans of all buffer collectives, and the three ways to run one."""

    __slots__ = ()

    # -- running -------------------------------------------------------------------------------------------------

    def _run(self, plan: Plan) -> Any:
        return self._state().run(*plan())

    def _begin(self, plan: Plan) -> Request:
        comm = self._state()
        return Request._wrap(RequestState(comm.world, comm.start(*plan()), keep=plan))

    def _prepare(self, plan: Plan) -> Prequest:
        comm = self._state()
        state = RequestState(comm.world, None, restart=lambda: comm.start(*plan()), keep=plan)
        return Prequest._wrap(state)

    # -- plans ---------------------------------------------------------------------------------------------------

    def _barrier(self) -> Plan:
        comm = self._state().union
        return lambda: (comm.select("barrier")(comm), None)

    def _bcast(self, buf: Any, root: int) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("bcast", comm, buf, root)
        check_root(comm, root)
        if comm.rank == root:
            given = message_send(buf)
            return lambda: (comm.select("bcast", given.nbytes)(comm, given.payload(), root), None)
        message = message_recv(buf)

        def plan() -> tuple[Steps[Any], Finish]:
            sink, finish = unpacking(message)
            return comm.select("bcast", message.nbytes)(comm, sink, root), finish

        return plan

    def _gather(self, sendbuf: Any, recvbuf: Any, root: int, vector: bool) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("gather", comm, sendbuf, recvbuf, root, vector)
        check_root(comm, root)
        name = "gatherv" if vector else "gather"
        if comm.rank != root:
            given = message_send(sendbuf)
            nbytes = 0 if vector else given.nbytes
            return lambda: (comm.select(name, nbytes)(comm, given.payload(), None, root), None)
        pieces = pieces_of(recvbuf, True, comm.size, vector)
        own = None if is_in_place(sendbuf) else message_send(sendbuf)
        if own is not None:
            own_block(comm, own.nbytes, pieces.size_of(root))

        def plan() -> tuple[Steps[Any], Finish]:
            sink, finish = _places(pieces, vector)
            send = None if own is None else own.payload()
            nbytes = 0 if vector else pieces.size_of(0)
            if own is None and finish is not None:
                send = pieces.messages[root].payload()
            return comm.select(name, nbytes)(comm, send, sink, root), then(finish)

        return plan

    def _scatter(self, sendbuf: Any, recvbuf: Any, root: int, vector: bool) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("scatter", comm, sendbuf, recvbuf, root, vector)
        check_root(comm, root)
        name = "scatterv" if vector else "scatter"
        own = None if comm.rank == root and is_in_place(recvbuf) else message_recv(recvbuf)
        pieces = pieces_of(sendbuf, False, comm.size, vector) if comm.rank == root else None
        if pieces is not None and own is not None:
            own_block(comm, pieces.size_of(root), own.nbytes)

        def plan() -> tuple[Steps[Any], Finish]:
            sink, finish = (None, None) if own is None else unpacking(own)
            data: Any = None
            nbytes = 0 if own is None else own.nbytes
            if pieces is not None:
                data = pieces.payloads() if vector else pieces.payload()
                nbytes = pieces.size_of(0)
            return comm.select(name, 0 if vector else nbytes)(comm, data, sink, root), finish

        return plan

    def _allgather(self, sendbuf: Any, recvbuf: Any, vector: bool) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("allgather", comm, sendbuf, recvbuf, vector)
        pieces = pieces_of(recvbuf, True, comm.size, vector)
        own = None if is_in_place(sendbuf) else message_send(sendbuf)
        if own is not None:
            own_block(comm, own.nbytes, pieces.size_of(comm.rank))
        name = "allgatherv" if vector else "allgather"
        measure = sum(piece.nbytes for piece in pieces.messages) if vector else pieces.size_of(0)

        def plan() -> tuple[Steps[Any], Finish]:
            sink, finish = _places(pieces, vector)
            send = None if own is None else own.payload()
            if own is None and finish is not None:
                send = pieces.messages[comm.rank].payload()
            return comm.select(name, measure)(comm, send, sink), then(finish)

        return plan

    def _alltoall(self, sendbuf: Any, recvbuf: Any, kind: str) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("alltoall", comm, sendbuf, recvbuf, kind)
        in_place = is_in_place(sendbuf)
        make = MAKERS[kind]
        recvs = make(recvbuf, True, comm.size)
        sends = recvs if in_place else make(sendbuf, False, comm.size)
        if not in_place:
            own_block(comm, sends.size_of(comm.rank), recvs.size_of(comm.rank))
        if kind == "alltoall":
            nbytes = recvs.size_of(0)

            def plan() -> tuple[Steps[Any], Finish]:
                sink, finish = recvs.sink()
                data = sends.payload()
                if in_place:
                    data = memoryview(bytes(data))
                return comm.select(kind, nbytes)(comm, data, sink), then(finish)

            return plan

        def plan_pieces() -> tuple[Steps[Any], Finish]:
            sinks, finish = recvs.sinks()
            data = sends.payloads()
            if in_place:
                data = [memoryview(bytes(view)) for view in data]
            return comm.select(kind)(comm, data, sinks), then(finish)

        return plan_pieces

    def _reduce(self, sendbuf: Any, recvbuf: Any, op: Op, root: int) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("reduce", comm, sendbuf, recvbuf, op, root)
        check_root(comm, root)
        if comm.rank != root:
            given = message_send(sendbuf)
            combine = kernel_of(op, given)
            run = comm.select("reduce", given.nbytes, combine.commutative)
            return lambda: (run(comm, given.payload(), None, combine, root), None)
        return self._reduction("reduce", sendbuf, recvbuf, op, root)

    def _reduction(self, name: str, sendbuf: Any, recvbuf: Any, op: Op, *root: int) -> Plan:
        """Return the plan of a reduction whose result has the contribution's form."""
        comm = self._state()
        if comm.remote is not None:
            return between("reduction", comm, sendbuf, recvbuf, op)
        into = message_recv(recvbuf)
        own = into if is_in_place(sendbuf) else message_send(sendbuf)
        if own is not into:
            matching(own, into)
        combine = kernel_of(op, into)
        run = comm.select(name, into.nbytes, combine.commutative)

        def plan() -> tuple[Steps[Any], Finish]:
            sink, finish = unpacking(into)
            if own is not into:
                send = own.payload()
            else:
                if finish is not None:
                    sink[:] = into.payload()
                send = sink
            return run(comm, send, sink, combine, *root), finish

        return plan

    def _reduce_scatter(self, sendbuf: Any, recvbuf: Any, counts: Sequence[int] | None, op: Op, block: bool) -> Plan:
        comm = self._state()
        if comm.remote is not None:
            return between("reduce_scatter", comm, sendbuf, recvbuf, counts, op, block)
        in_place = is_in_place(sendbuf)
        if block:
            sends = message_block(recvbuf if in_place else sendbuf, in_place, comm.size)
            into = sends.messages[0] if in_place else message_recv(recvbuf)
            if not in_place:
                matching(sends.messages[0], into)
            numbers = [into.count] * comm.size
            whole = sends.payload()
        else:
            into = message_recv(recvbuf)
            own = into if in_place else message_send(sendbuf)
            numbers = self._counts(comm, into, counts, in_place)
            check_counts(own, into, numbers, comm.rank, in_place)
            whole = own.payload()
        size = into.datatype.size
        combine = kernel_of(op, into)
        nbytes = tuple(number * size for number in numbers)
        name = "reduce_scatter_block" if block else "reduce_scatter"
        run = comm.select(name, sum(nbytes), combine.commutative)

        def plan() -> tuple[Steps[Any], Finish]:
            sink, finish = unpacking(into)
            send = memoryview(bytes(whole)) if in_place else whole
            return run(comm, send, sink[: nbytes[comm.rank]], nbytes, combine), finish

        return plan

    def _counts(self, comm: Communicator, into: Message, counts: Any, in_place: bool) -> list[int]:
        from fmi_mpi.api.comm.construction import exchange

        if counts is None and not in_place:
            return [row[0] for row in exchange(comm, into.count)]
        numbers = [number.__index__() for number in counts]
        if len(numbers) != comm.size:
            raise ValueError(f"expecting {comm.size} items, got {len(numbers)}")
        return numbers


def check_counts(own: Message, into: Message, numbers: Sequence[int], rank: int, in_place: bool) -> None:
    """Raise ValueError unless the counts of a reduce-scatter fit its buffers."""
    total = sum(numbers)
    if not in_place:
        if own.datatype is not into.datatype:
            raise ValueError("mismatch in send and receive MPI datatypes")
        if own.count != total:
            raise ValueError(f"mismatch in send count {own.count} and sum(counts) {total}")
        if into.count != numbers[rank]:
            raise ValueError(f"mismatch in receive count {into.count} and counts[{rank}] {numbers[rank]}")
    elif into.count != total:
        raise ValueError(f"mismatch in receive count {into.count} and sum(counts) {total}")


def kernel_of(op: Op, message: Message) -> Any:
    """Return the kernel that applies an operation to a message's elements."""
    if not isinstance(op, Op):
        raise TypeError(f"expecting Op, got {type(op).__name__}")
    state = op._state()
    if state.user is None:
        return kernel(state, message.datatype)
    from fmi_mpi.api.datatype import Datatype  # in a circle with this module

    return kernel(state, message.datatype, Datatype._wrap(message.datatype))


def _blocks(spec: Any, writable: bool, size: int) -> Pieces:
    return message_block(spec, writable, size)


MAKERS: dict[str, Callable[[Any, bool, int], Pieces]] = {
    "alltoall": _blocks,
    "alltoallv": message_vector,
    "alltoallw": message_w,
}
"""How the buffers of each form of all-to-all are parsed."""


def pieces_of(spec: Any, writable: bool, size: int, vector: bool) -> Pieces:
    """Return the pieces of a buffer with a block for each rank; ``vector`` if they may differ in length."""
    return message_vector(spec, writable, size) if vector else message_block(spec, writable, size)


def _places(pieces: Pieces, vector: bool) -> tuple[Any, Callable[[], None] | None]:
    return pieces.sinks() if vector else pieces.sink()
