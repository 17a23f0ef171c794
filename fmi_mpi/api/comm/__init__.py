"""The communicator classes, put together from chapters.

Rules of this file:
- Each chapter of the standard is a stateless mixin in a file of its own.
- COMM_WORLD and COMM_SELF get their state when MPI is initialised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from fmi_mpi.api import environment
from fmi_mpi.api.attributes import Attributes
from fmi_mpi.api.comm.collectives import Collectives
from fmi_mpi.api.comm.construction import Construction, create_group
from fmi_mpi.api.comm.core import TAG_LIMIT, boundary
from fmi_mpi.api.comm.dynamic import Dynamic, Meeting
from fmi_mpi.api.comm.intercomm import Bridges, Remote
from fmi_mpi.api.comm.object_collectives import ObjectCollectives
from fmi_mpi.api.comm.object_messages import ObjectMessages
from fmi_mpi.api.comm.partitioned import Partitioned
from fmi_mpi.api.comm.scans import Scans
from fmi_mpi.api.comm.space import Space
from fmi_mpi.api.comm.topology import Topologies
from fmi_mpi.api.errhandler import Handled
from fmi_mpi.api.errorcode import last_used_code
from fmi_mpi.api.group import Group
from fmi_mpi.constants import (
    APPNUM,
    IO,
    LASTUSEDCODE,
    TAG_UB,
    UNIVERSE_SIZE,
    WTIME_IS_GLOBAL,
)
from fmi_mpi.runtime.communicator import Communicator

if TYPE_CHECKING:
    from fmi_mpi.runtime.world import World

__all__ = ["COMM_NULL", "COMM_PARENT", "COMM_SELF", "COMM_WORLD", "Comm", "Intercomm", "Intracomm"]


class Comm(
    ObjectCollectives,
    Collectives,
    ObjectMessages,
    Partitioned,
    Space,
    Construction,
    Dynamic,
    Attributes,
    Handled,
    family=True,
):
    """Communication context."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, comm: Comm | None = None) -> Self:
        return super().__new__(cls, comm)

    @classmethod
    def _of_state(cls, state: Communicator | None) -> Any:
        return _class_of(state)._wrap(state)

    def _attributes_of(self) -> Any:
        return self._state()

    def _errors_of(self) -> Any:
        return self._state()

    def _predefined_attribute(self, keyval: int) -> tuple[bool, Any]:
        if keyval == TAG_UB:
            return True, TAG_LIMIT
        if keyval == UNIVERSE_SIZE:
            return True, self._state().world.size
        if keyval == LASTUSEDCODE:
            return True, last_used_code()
        if keyval == APPNUM:
            return True, 0
        if keyval == IO:
            return True, self._state().rank
        return keyval == WTIME_IS_GLOBAL, 0


class Intracomm(Comm, Scans, Topologies, Bridges, Meeting):
    """Intracommunicator."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, comm: Comm | None = None) -> Self:
        self = super().__new__(cls, comm)
        if self._handle is not None and self._handle.remote is not None:
            raise TypeError("expecting an intra-communicator")
        return self

    @boundary
    def Create_group(self, group: Group, tag: int = 0) -> Intracomm:
        """Return a communicator of a group whose members alone make this call.

        Args:
            tag: tells simultaneous calls of several threads apart.
        """
        comm = self._state()
        context = create_group(comm, group, tag)
        if context is None:
            return Intracomm()
        new: Intracomm = self._new(comm, context, group._state().procs)
        return new


class Intercomm(Comm, Remote):
    """Intercommunicator."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, comm: Comm | None = None) -> Self:
        self = super().__new__(cls, comm)
        if self._handle is not None and self._handle.remote is None:
            raise TypeError("expecting an inter-communicator")
        return self


def _class_of(state: Communicator | None) -> type[Comm]:
    """Return the class of new objects for a communicator that a handle's integer stands for."""
    from fmi_mpi.api.comm.topocomm import CLASSES

    if state is None:
        return Comm
    if state.remote is not None:
        return Intercomm
    return Intracomm if state.topology is None else CLASSES[state.topology.kind]


COMM_NULL = Comm()
COMM_WORLD = Intracomm()
COMM_SELF = Intracomm()
COMM_PARENT = Intercomm()


def _joined(world: World) -> None:
    world.world.permanent = world.self.permanent = True
    world.world.name, world.self.name = "MPI_COMM_WORLD", "MPI_COMM_SELF"
    COMM_WORLD._handle = world.world
    COMM_SELF._handle = world.self


def _leaving() -> None:
    comm: Communicator = COMM_SELF._handle
    if comm.attributes:
        from fmi_mpi.api.attributes import delete_attributes

        delete_attributes(COMM_SELF)


environment.on_init.append(_joined)
environment.on_finalize.append(_leaving)
