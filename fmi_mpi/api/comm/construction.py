"""Making and freeing communicators (MPI-4.1, 7.4).

Rules of this file:
- Each member offers a fresh context number; the first rank of each new communicator decides. One allgather does it.
- On an inter-communicator both groups take part, as ranks of their union.
- New communicators get the error handler that ``rc.errors`` names; duplicates inherit attributes, info and topology.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fmi_mpi.api.attributes import copy_attributes, delete_attributes
from fmi_mpi.api.comm.core import TAG_LIMIT, CommCore, boundary, c_int, complete, mistake
from fmi_mpi.api.errhandler import inherited
from fmi_mpi.api.group import Group
from fmi_mpi.api.info import INFO_NULL, Info, InfoImpl
from fmi_mpi.api.request import Request
from fmi_mpi.api.traits import Hinted
from fmi_mpi.coll.allgather.bruck import bruck
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.constants import (
    COMM_TYPE_HW_GUIDED,
    COMM_TYPE_HW_UNGUIDED,
    COMM_TYPE_RESOURCE_GUIDED,
    COMM_TYPE_SHARED,
    CONGRUENT,
    ERR_ARG,
    ERR_COMM,
    ERR_GROUP,
    ERR_INFO_VALUE,
    ERR_TAG,
    IDENT,
    SIMILAR,
    UNDEFINED,
    UNEQUAL,
)
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import CHANNEL, INTERNAL, POLICY, Communicator
from fmi_mpi.runtime.group import GroupImpl
from fmi_mpi.runtime.intercommunicator import Intercommunicator
from fmi_mpi.runtime.request import RequestState

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Comm

__all__ = ["GROUP_TAG", "Construction", "create_group", "exchange"]

_RESOURCE = "mpi_hw_resource_type"
_SHARED_MEMORY = "mpi_shared_memory"
GROUP_TAG = (1 << 30) - 1
"""Tag of messages that agree on a context within a group, in the internal space."""


def _exchange(comm: Communicator, *numbers: int) -> tuple[Steps[None], Any]:
    """Return the steps that collect the numbers of all ranks, and the table that they fill, a row a rank."""
    mine = np.array(numbers, np.int64)
    table = np.zeros((comm.size, len(numbers)), np.int64)
    return bruck(comm, mine.data.cast("B"), table.data.cast("B")), table


def exchange(comm: Communicator, *numbers: int) -> list[list[int]]:
    """Return the numbers that all ranks give, by rank."""
    steps, table = _exchange(comm, *numbers)
    complete(comm, comm.start(steps))
    rows: list[list[int]] = table.tolist()
    return rows


class Construction(Hinted, CommCore):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    # -- groups ------------------------------------------------------------------------------------------------

    @boundary
    def Get_group(self) -> Group:
        """Return the (local) group."""
        return Group._wrap(GroupImpl(self._state().local))

    @property
    def group(self) -> Group:
        """Group."""
        return self.Get_group()

    @boundary
    def Compare(self, comm: Comm) -> int:
        """Return IDENT, CONGRUENT (same groups), SIMILAR (same members) or UNEQUAL."""
        mine, other = self._state(), comm._state()
        if mine is other:
            return IDENT
        if (mine.remote is None) != (other.remote is None):
            return UNEQUAL
        pairs = [(mine.local, other.local)]
        if mine.remote is not None and other.remote is not None:
            pairs.append((mine.remote, other.remote))
        if all(first == second for first, second in pairs):
            return CONGRUENT
        return SIMILAR if all(sorted(first) == sorted(second) for first, second in pairs) else UNEQUAL

    # -- duplication -------------------------------------------------------------------------------------------

    def _duplicate(self, comm: Communicator, context: int, attributes: bool) -> Self:
        new = type(comm)(comm.world, context, comm.local, comm.remote)
        new.errhandler = inherited(comm.errhandler)
        new.topology = comm.topology
        if attributes:
            copy_attributes(self, new)  # type: ignore[arg-type]
        return type(self)._wrap(new)

    @boundary
    def Clone(self) -> Self:
        """Return a duplicate with attributes and info."""
        return self.Dup()

    @boundary
    def Dup(self, info: Info | None = None) -> Self:
        """Return a duplicate: the same processes, a communication space of its own.

        Args:
            info: hints of the duplicate; by default those of this communicator.
        """
        comm = self._state()
        hints = comm.info if info is None else InfoImpl(dict(info.items()))
        offers = exchange(comm.union, comm.world.new_context(), 0 if hints is None else _stamp(comm, hints.pairs))
        _see_alike([stamp for _, stamp in offers])
        new = self._duplicate(comm, offers[0][0], True)
        new._handle.info = None if hints is None else InfoImpl(hints.pairs)
        return new

    @boundary
    def Dup_with_info(self, info: Info) -> Self:
        """Return a duplicate with these hints."""
        return self.Dup(info)

    @boundary
    def Idup(self, info: Info | None = None) -> tuple[Self, Request]:
        """Start a duplication; the duplicate may be used when the request is complete."""
        comm = self._state()
        new = self._duplicate(comm, comm.world.new_context(), True)
        state: Communicator = new._handle
        hints = comm.info if info is None else InfoImpl(dict(info.items()))
        state.info = None if hints is None else InfoImpl(hints.pairs)
        if hints is not None:
            _stamp(comm, hints.pairs)

        steps, table = _exchange(comm.union, state.context)

        def finish(result: Any) -> None:
            state.context = int(table[0, 0])

        schedule = comm.start(steps, finish)
        request = Request._wrap(RequestState(comm.world, schedule))
        return new, request

    @boundary
    def Idup_with_info(self, info: Info) -> tuple[Self, Request]:
        """Start a duplication with these hints."""
        return self.Idup(info)

    # -- new groups --------------------------------------------------------------------------------------------

    def _new(self, comm: Communicator, context: int, procs: Sequence[int]) -> Any:
        """Return a communicator of some processes of another one; they are of both groups of an inter-communicator."""
        from fmi_mpi.api.comm import Intercomm, Intracomm

        if comm.remote is None:
            new = Communicator(comm.world, context, tuple(procs))
            new.errhandler = inherited(comm.errhandler)
            return Intracomm._wrap(new)
        local, remote = (tuple(proc for proc in procs if proc in group) for group in (comm.local, comm.remote))
        if not local or not remote:
            return Intercomm()
        between = Intercommunicator(comm.world, context, local, remote)
        between.errhandler = inherited(comm.errhandler)
        return Intercomm._wrap(between)

    @boundary
    def Create(self, group: Group) -> Comm:
        """Return a communicator of a subgroup, COMM_NULL outside of it. All processes call it.

        Args:
            group: of an inter-communicator, a subgroup of the own group; the other group's processes give theirs.
        """
        comm = self._state()
        procs = _members(comm, group)
        inside = comm.world.proc in procs
        if comm.remote is not None:
            return self.Split(0 if inside else UNDEFINED, procs.index(comm.world.proc) if inside else 0)
        offers = exchange(comm, comm.world.new_context())
        if not inside:
            return _null(comm)
        new: Comm = self._new(comm, offers[comm.local.index(procs[0])][0], procs)
        return new

    @boundary
    def Split(self, color: int = 0, key: int = 0) -> Comm:
        """Return the communicator of the processes with the same color.

        Args:
            color: zero or more, or UNDEFINED for COMM_NULL; of an inter-communicator also if no process of the
                other group has the color.
            key: ranks follow it, then the present rank.
        """
        comm = self._state()
        color, key = c_int(color), c_int(key)
        if color < 0 and color != UNDEFINED:
            raise MPIError(ERR_ARG, f"color {color} is negative and not UNDEFINED")
        union = comm.union
        offers = exchange(union, color, key, comm.world.new_context())
        if color == UNDEFINED:
            return _null(comm)
        ranks = sorted(
            (rank for rank in range(union.size) if offers[rank][0] == color), key=lambda r: (offers[r][1], r)
        )
        new: Comm = self._new(comm, offers[ranks[0]][2], [union.local[rank] for rank in ranks])
        return new

    @boundary
    def Split_type(self, split_type: int, key: int = 0, info: Info = INFO_NULL) -> Comm:
        """Return the communicator of the processes that share something.

        Args:
            split_type: COMM_TYPE_SHARED for processes that can share memory; COMM_TYPE_HW_GUIDED and
                COMM_TYPE_RESOURCE_GUIDED for those that share the ``mpi_hw_resource_type`` of the info, of which
                "mpi_shared_memory" is the one known; COMM_TYPE_HW_UNGUIDED for those that share memory if these are
                not all, and the info tells so; UNDEFINED for COMM_NULL.
            key: ranks follow it, then the present rank.
        """
        union = self._state().union
        host = union.hosts[union.rank]
        if split_type == COMM_TYPE_SHARED:
            return self.Split(host, key)
        if split_type in (COMM_TYPE_HW_GUIDED, COMM_TYPE_RESOURCE_GUIDED):
            known = bool(info) and info.get(_RESOURCE) == _SHARED_MEMORY
            return self.Split(host if known else UNDEFINED, key)
        if split_type == UNDEFINED:
            return self.Split(UNDEFINED, key)
        if split_type != COMM_TYPE_HW_UNGUIDED:
            raise MPIError(ERR_ARG, f"{split_type} is not a split type")
        divided = len(set(union.hosts)) > 1
        if divided and info:
            info.Set(_RESOURCE, _SHARED_MEMORY)
        return self.Split(host if divided else UNDEFINED, key)

    @boundary
    def Free(self) -> None:
        """Free the communicator; running operations go on."""
        comm = self._state()
        if comm.permanent:
            raise MPIError(ERR_COMM, "a predefined communicator cannot be freed")
        delete_attributes(self)  # type: ignore[arg-type]
        comm.free()
        self._handle = None

    def _is_predefined(self) -> bool:
        return self._handle is None or self._handle.permanent

    @boundary
    def Disconnect(self) -> None:
        """Free the communicator when its operations are complete."""
        self._state()
        self.Free()

    # -- hints ---------------------------------------------------------------------------------------------------

    @boundary
    def Set_info(self, info: Info) -> None:
        """Set hints; collective. Of ``fmi_policy`` and ``fmi_channel`` unknown values are errors (ERR_INFO_VALUE)."""
        comm = self._state()
        given = dict(info.items())
        stamp = _stamp(comm, given)
        if stamp:
            _see_alike([row[0] for row in exchange(comm.union, stamp)])
        if comm.info is None:
            comm.info = InfoImpl()
        comm.info.pairs.update(given)
        if stamp:
            comm.reconsider()

    @boundary
    def Get_info(self) -> Info:
        """Return the hints in use."""
        comm = self._state()
        return Info._wrap(InfoImpl({} if comm.info is None else comm.info.pairs))

    @boundary
    def Get_topology(self) -> int:
        """Return the kind of topology, UNDEFINED if there is none."""
        comm = self._state()
        return UNDEFINED if comm.topology is None else int(comm.topology.kind)

    @property
    def topology(self) -> int:
        """Kind of topology."""
        return self.Get_topology()

    @property
    def is_topo(self) -> bool:
        """Has a topology."""
        return self.Get_topology() != UNDEFINED


def _stamp(comm: Communicator, pairs: Mapping[str, str]) -> int:
    """Return what ranks must agree on about hints, 0 for none of ours; raises MPIError (ERR_INFO_VALUE)."""
    return comm.world.hints(pairs).stamp if POLICY in pairs or CHANNEL in pairs else 0


def _see_alike(stamps: Sequence[int]) -> None:
    """Raise MPIError unless all ranks give the same hints."""
    others = [str(rank) for rank, stamp in enumerate(stamps) if stamp != stamps[0]]
    if others:
        raise MPIError(
            ERR_INFO_VALUE, f"rank {', '.join(others)} gives other hints, or has another profile, than rank 0"
        )


def _null(comm: Communicator) -> Comm:
    """Return the null communicator of a communicator's class."""
    from fmi_mpi.api.comm import Intercomm, Intracomm

    return Intracomm() if comm.remote is None else Intercomm()


def _members(comm: Communicator, group: Group) -> tuple[int, ...]:
    procs: tuple[int, ...] = group._state().procs
    if not set(procs) <= set(comm.local):
        raise MPIError(ERR_GROUP, "the group is not a subgroup of the communicator's")
    return procs


def create_group(comm: Communicator, group: Group, tag: int) -> int | None:
    """Agree on a context among the members of a group only; None outside of it."""
    if not 0 <= tag <= TAG_LIMIT:
        raise mistake(ERR_TAG, tag, f"tag {tag} is not between 0 and {TAG_LIMIT}")
    procs = _members(comm, group)
    tag = -2 - tag % (TAG_LIMIT - 1)  # below all that other calls use
    if comm.world.proc not in procs:
        return None
    leader = comm.local.index(procs[0])
    word = np.zeros(1, np.int64)
    data = word.data.cast("B")
    if comm.rank == leader:
        word[0] = comm.world.new_context()
        for proc in procs[1:]:
            complete(comm, comm.isend(comm.local.index(proc), tag, data, len(data), space=INTERNAL))
    else:
        complete(comm, comm.irecv(leader, tag, data, space=INTERNAL))
    return int(word[0])
