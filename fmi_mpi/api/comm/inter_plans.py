"""Plans of collectives on inter-communicators; see ``plans``.

Rules of this file:
- Roots: the root itself gives ROOT and the rest of its group PROC_NULL; the other group gives the root's rank.
- Only what a role needs is looked at: what the root sends or receives, what the other group does.
- IN_PLACE has no meaning between groups and is an error.
- Blocks are counted by the remote group, but in reduce-scatter, which shares the result out within the own one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fmi_mpi.api.comm.plans import (
    MAKERS,
    Finish,
    Plan,
    check_counts,
    kernel_of,
    matching,
    pieces_of,
    then,
    unpacking,
)
from fmi_mpi.api.op import Op
from fmi_mpi.coll.inter import mutual, objects, rooted
from fmi_mpi.coll.inter.groups import idle
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.constants import ERR_BUFFER, ERR_ROOT, PROC_NULL, ROOT
from fmi_mpi.data.message import Message, message_block, message_recv, message_send
from fmi_mpi.data.pickling import dumps_parts, loads_message
from fmi_mpi.data.special import InPlaceType
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.intercommunicator import Intercommunicator

__all__ = [
    "allgather",
    "alltoall",
    "bcast",
    "gather",
    "object_allgather",
    "object_allreduce",
    "object_alltoall",
    "object_bcast",
    "object_gather",
    "object_reduce",
    "object_scatter",
    "reduce",
    "reduce_scatter",
    "reduction",
    "scatter",
]


def _root(comm: Intercommunicator, root: int) -> int | None:
    """Return the root's rank in the union, None for PROC_NULL; raises MPIError if ``root`` is neither."""
    if root == ROOT:
        return comm.union.rank
    if root == PROC_NULL:
        return None
    if not 0 <= root < len(comm.procs):
        raise MPIError(
            ERR_ROOT, f"root {root} is neither ROOT, PROC_NULL nor a rank of a remote group of {len(comm.procs)}"
        )
    return comm.groups.remote[root]


def _given(spec: Any) -> Message:
    """Return the message of a buffer that is read."""
    if isinstance(spec[0] if isinstance(spec, (list, tuple)) and spec else spec, InPlaceType):
        raise MPIError(ERR_BUFFER, "IN_PLACE cannot be used on an inter-communicator")
    return message_send(spec)


def _idle() -> tuple[Steps[Any], Finish]:
    return idle(), None


# -- buffers -----------------------------------------------------------------------------------------------------------


def bcast(comm: Intercommunicator, buf: Any, root: int) -> Plan:
    """Return the plan of a broadcast."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    if root == ROOT:
        given = _given(buf)
        return lambda: (rooted.bcast(comm.union, comm.groups, given.payload(), origin), None)
    into = message_recv(buf)

    def plan() -> tuple[Steps[Any], Finish]:
        sink, finish = unpacking(into)
        return rooted.bcast(comm.union, comm.groups, sink, origin), finish

    return plan


def gather(comm: Intercommunicator, sendbuf: Any, recvbuf: Any, root: int, vector: bool) -> Plan:
    """Return the plan of a gather."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    if root != ROOT:
        given = _given(sendbuf)
        return lambda: (rooted.gather(comm.union, comm.groups, given.payload(), None, origin), None)
    pieces = pieces_of(recvbuf, True, len(comm.procs), vector)

    def plan() -> tuple[Steps[Any], Finish]:
        sinks, finish = pieces.sinks()
        return rooted.gather(comm.union, comm.groups, None, sinks, origin), then(finish)

    return plan


def scatter(comm: Intercommunicator, sendbuf: Any, recvbuf: Any, root: int, vector: bool) -> Plan:
    """Return the plan of a scatter."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    if root == ROOT:
        pieces = pieces_of(sendbuf, False, len(comm.procs), vector)
        return lambda: (rooted.scatter(comm.union, comm.groups, pieces.payloads(), None, origin), None)
    into = message_recv(recvbuf)

    def plan() -> tuple[Steps[Any], Finish]:
        sink, finish = unpacking(into)
        return rooted.scatter(comm.union, comm.groups, None, sink, origin), finish

    return plan


def reduce(comm: Intercommunicator, sendbuf: Any, recvbuf: Any, op: Op, root: int) -> Plan:
    """Return the plan of a reduction to the root."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    message = message_recv(recvbuf) if root == ROOT else _given(sendbuf)
    combine = kernel_of(op, message)
    if root != ROOT:
        return lambda: (rooted.reduce(comm.union, comm.groups, message.payload(), None, combine, origin), None)

    def plan() -> tuple[Steps[Any], Finish]:
        sink, finish = unpacking(message)
        return rooted.reduce(comm.union, comm.groups, None, sink, combine, origin), finish

    return plan


def allgather(comm: Intercommunicator, sendbuf: Any, recvbuf: Any, vector: bool) -> Plan:
    """Return the plan of an allgather."""
    pieces = pieces_of(recvbuf, True, len(comm.procs), vector)
    given = _given(sendbuf)

    def plan() -> tuple[Steps[Any], Finish]:
        data = given.payload()
        if vector:
            sinks, finish = pieces.sinks()
            return mutual.allgatherv(comm.union, comm.groups, data, sinks), then(finish)
        sink, finish = pieces.sink()
        return mutual.allgather(comm.union, comm.groups, data, sink), then(finish)

    return plan


def alltoall(comm: Intercommunicator, sendbuf: Any, recvbuf: Any, kind: str) -> Plan:
    """Return the plan of an all-to-all; ``kind`` tells its form."""
    make = MAKERS[kind]
    recvs = make(recvbuf, True, len(comm.procs))
    if isinstance(sendbuf, InPlaceType):
        _given(sendbuf)
    sends = make(sendbuf, False, len(comm.procs))

    def plan() -> tuple[Steps[Any], Finish]:
        sinks, finish = recvs.sinks()
        return mutual.alltoall(comm.union, comm.groups, sends.payloads(), sinks), then(finish)

    return plan


def reduction(comm: Intercommunicator, sendbuf: Any, recvbuf: Any, op: Op) -> Plan:
    """Return the plan of an allreduce."""
    into = message_recv(recvbuf)
    given = _given(sendbuf)
    matching(given, into)
    combine = kernel_of(op, into)

    def plan() -> tuple[Steps[Any], Finish]:
        sink, finish = unpacking(into)
        return mutual.allreduce(comm.union, comm.groups, given.payload(), sink, combine), finish

    return plan


def reduce_scatter(
    comm: Intercommunicator, sendbuf: Any, recvbuf: Any, counts: Sequence[int] | None, op: Op, block: bool
) -> Plan:
    """Return the plan of a reduce-scatter."""
    into = message_recv(recvbuf)
    if block:
        given = _given(sendbuf)
        matching(message_block(sendbuf, False, comm.size).messages[0], into)
        numbers = [into.count] * comm.size
    else:
        given = _given(sendbuf)
        if counts is None:
            raise TypeError("the counts of a reduce-scatter on an inter-communicator have to be given")
        numbers = [number.__index__() for number in counts]
        if len(numbers) != comm.size:
            raise ValueError(f"expecting {comm.size} items, got {len(numbers)}")
        check_counts(given, into, numbers, comm.rank, False)
    combine = kernel_of(op, into)
    nbytes = tuple(number * into.datatype.size for number in numbers)

    def plan() -> tuple[Steps[Any], Finish]:
        sink, finish = unpacking(into)
        return mutual.reduce_scatter(comm.union, comm.groups, given.payload(), sink, nbytes, combine), finish

    return plan


# -- objects -----------------------------------------------------------------------------------------------------------


def _load(received: tuple[memoryview, int] | None) -> Any:
    return None if received is None else loads_message(*received)


def _load_all(received: Sequence[tuple[memoryview, int]] | None) -> list[Any] | None:
    return None if received is None else [loads_message(*one) for one in received]


def object_bcast(comm: Intercommunicator, obj: Any, root: int) -> Plan:
    """Return the plan of a broadcast of an object."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    blob = dumps_parts(obj) if root == ROOT else None
    return lambda: (objects.bcast(comm.union, comm.groups, blob, origin), _load)


def object_gather(comm: Intercommunicator, obj: Any, root: int) -> Plan:
    """Return the plan of a gather of objects."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    blob = None if root == ROOT else dumps_parts(obj)
    return lambda: (objects.gather(comm.union, comm.groups, blob, origin), _load_all)


def object_scatter(comm: Intercommunicator, objs: list[Any] | None, root: int) -> Plan:
    """Return the plan of a scatter of objects; the root gives one for each remote rank."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    blobs = None if objs is None else [dumps_parts(obj) for obj in objs]
    return lambda: (objects.scatter(comm.union, comm.groups, blobs, origin), _load)


def object_allgather(comm: Intercommunicator, obj: Any) -> Plan:
    """Return the plan of an allgather of objects."""
    blob = dumps_parts(obj)
    return lambda: (objects.allgather(comm.union, comm.groups, blob), _load_all)


def object_alltoall(comm: Intercommunicator, objs: list[Any]) -> Plan:
    """Return the plan of an all-to-all of objects, one for each remote rank."""
    blobs = [dumps_parts(obj) for obj in objs]
    return lambda: (objects.alltoall(comm.union, comm.groups, blobs), _load_all)


def object_reduce(comm: Intercommunicator, obj: Any, op: Callable[[Any, Any], Any], root: int) -> Plan:
    """Return the plan of a reduction of objects to the root."""
    origin = _root(comm, root)
    if origin is None:
        return _idle
    return lambda: (objects.reduce(comm.union, comm.groups, obj, dumps_parts, loads_message, op, origin), None)


def object_allreduce(comm: Intercommunicator, obj: Any, op: Callable[[Any, Any], Any]) -> Plan:
    """Return the plan of an allreduce of objects."""
    return lambda: (objects.allreduce(comm.union, comm.groups, obj, dumps_parts, loads_message, op), None)
