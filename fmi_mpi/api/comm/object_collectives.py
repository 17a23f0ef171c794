"""Collective communication of Python objects.

Rules of this file:
- Objects travel as blobs of lengths that receivers do not know; large buffers go out of band, uncopied.
- A process's own object is pickled and unpickled like those of others, so nothing that is returned or given to an
  operation is the caller's own.
- Reductions apply the operation to objects in rank order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fmi_mpi.api.comm.core import boundary, check_root
from fmi_mpi.api.comm.locks import in_turn
from fmi_mpi.api.comm.plans import Plans, between
from fmi_mpi.api.op import SUM, Op
from fmi_mpi.constants import ROOT
from fmi_mpi.data.pickling import copied, dumps_parts, loads_message

__all__ = ["Combine", "ObjectCollectives", "exactly"]

Combine = Op | Callable[[Any, Any], Any]


def _loads(received: tuple[memoryview, int] | None, own: Any) -> Any:
    return copied(own) if received is None else loads_message(*received)


class ObjectCollectives(Plans):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    @boundary
    def barrier(self) -> None:
        """Wait until all processes have come here."""
        self._run(self._barrier())

    @boundary
    @in_turn
    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return the root's object on all processes."""
        comm = self._state()
        if comm.remote is not None:
            return self._run(between("object_bcast", comm, obj, root))
        check_root(comm, root)
        blob = dumps_parts(obj) if comm.rank == root else None
        received = self._run(lambda: (comm.select("object_bcast")(comm, blob, root), None))
        return _loads(received, obj)

    @boundary
    @in_turn
    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        """Return the objects of all processes at the root, None elsewhere."""
        comm = self._state()
        if comm.remote is not None:
            gathered: list[Any] | None = self._run(between("object_gather", comm, sendobj, root))
            return gathered
        check_root(comm, root)
        blob = None if comm.rank == root else dumps_parts(sendobj)
        received = self._run(lambda: (comm.select("object_gather")(comm, blob, root), None))
        return [_loads(one, sendobj) for one in received] if comm.rank == root else None

    @boundary
    @in_turn
    def scatter(self, sendobj: Sequence[Any] | None, root: int = 0) -> Any:
        """Return the object that the root has for this process."""
        comm = self._state()
        if comm.remote is not None:
            given = exactly(sendobj, len(comm.procs)) if root == ROOT else None
            return self._run(between("object_scatter", comm, given, root))
        check_root(comm, root)
        own: Any = None
        blobs = None
        if comm.rank == root:
            objects = exactly(sendobj, comm.size)
            own = objects[root]
            blobs = [([], 0) if rank == root else dumps_parts(obj) for rank, obj in enumerate(objects)]
        received = self._run(lambda: (comm.select("object_scatter")(comm, blobs, root), None))
        return _loads(received, own)

    @boundary
    @in_turn
    def allgather(self, sendobj: Any) -> list[Any]:
        """Return the objects of all processes."""
        comm = self._state()
        if comm.remote is not None:
            gathered: list[Any] = self._run(between("object_allgather", comm, sendobj))
            return gathered
        blob = dumps_parts(sendobj)
        received = self._run(lambda: (comm.select("object_allgather")(comm, blob), None))
        return [_loads(one, sendobj) for one in received]

    @boundary
    @in_turn
    def alltoall(self, sendobj: Sequence[Any] | None) -> list[Any]:
        """Return the objects that all processes have for this one."""
        comm = self._state()
        if comm.remote is not None:
            exchanged: list[Any] = self._run(between("object_alltoall", comm, exactly(sendobj, len(comm.procs))))
            return exchanged
        objects = exactly(sendobj, comm.size)
        own = objects[comm.rank]
        blobs = [([], 0) if rank == comm.rank else dumps_parts(obj) for rank, obj in enumerate(objects)]
        received = self._run(lambda: (comm.select("object_alltoall")(comm, blobs), None))
        return [_loads(one, own) for one in received]

    @boundary
    @in_turn
    def reduce(self, sendobj: Any, op: Combine = SUM, root: int = 0) -> Any | None:
        """Return the objects of all processes combined, at the root."""
        comm = self._state()
        if comm.remote is not None:
            return self._run(between("object_reduce", comm, sendobj, op, root))
        check_root(comm, root)
        run = comm.select("object_reduce")
        return self._run(lambda: (run(comm, copied(sendobj), dumps_parts, loads_message, op, root), None))

    @boundary
    @in_turn
    def allreduce(self, sendobj: Any, op: Combine = SUM) -> Any:
        """Return the objects of all processes combined."""
        comm = self._state()
        if comm.remote is not None:
            return self._run(between("object_allreduce", comm, sendobj, op))
        return self._combined("object_allreduce", sendobj, op)

    def _combined(self, name: str, obj: Any, op: Combine) -> Any:
        comm = self._state()
        run = comm.select(name)
        return self._run(lambda: (run(comm, copied(obj), dumps_parts, loads_message, op), None))


def exactly(objects: Sequence[Any] | None, size: int) -> list[Any]:
    """Return a list of the objects, which have to be ``size``; None stands for as many times None."""
    found = [None] * size if objects is None else list(objects)
    if len(found) != size:
        raise ValueError(f"expecting {size} items, got {len(found)}")
    return found
