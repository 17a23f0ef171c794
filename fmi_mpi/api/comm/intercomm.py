"""Inter-communicators, and communicators made of groups alone (MPI-4.1, 7.4.2 and 7.6).

Rules of this file:
- Both groups use the context that the first process of their union offers.
- A leader that finds a mistake tells its group, so that all fail alike and nobody waits.
- What is made from groups is agreed on in the internal space of the world, whose ranks are process numbers; a hash
  of the string tag tells simultaneous calls apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self
from zlib import crc32

import numpy as np

from fmi_mpi.api.comm.construction import GROUP_TAG, exchange
from fmi_mpi.api.comm.core import TAG_LIMIT, CommCore, boundary, complete
from fmi_mpi.api.errhandler import Errhandler, inherited, policy, state_of
from fmi_mpi.api.exception import boundary as class_boundary
from fmi_mpi.api.group import Group
from fmi_mpi.api.info import INFO_NULL, Info, InfoImpl
from fmi_mpi.constants import ERR_ARG, ERR_COMM, ERR_GROUP, ERR_RANK, ERR_TAG
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import INTERNAL, Communicator
from fmi_mpi.runtime.group import GroupImpl
from fmi_mpi.runtime.intercommunicator import Intercommunicator
from fmi_mpi.runtime.process import world

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Intercomm, Intracomm

__all__ = ["Bridges", "Remote", "bridge", "from_bytes", "tell", "to_bytes"]

_STRING_TAG = "org.mpi4py"


class Bridges(CommCore):
    """Chapter mixin of ``Intracomm``: what leads to inter-communicators."""

    __slots__ = ()

    @boundary
    def Create_intercomm(self, local_leader: int, peer_comm: Intracomm, remote_leader: int, tag: int = 0) -> Intercomm:
        """Return an inter-communicator between this communicator's group and another one (MPI-4.1, 7.6.2).

        Args:
            local_leader: rank of the process that speaks for this group.
            peer_comm: joins the two leaders; only the leader's matters.
            remote_leader: rank in ``peer_comm`` of the other leader; only the leader's matters.
            tag: tells simultaneous calls apart.
        """
        from fmi_mpi.api.comm import Intracomm

        comm = self._state()
        if not isinstance(peer_comm, Intracomm):
            raise TypeError(f"expecting Intracomm, got {type(peer_comm).__name__}")
        if comm.remote is not None:
            raise MPIError(ERR_COMM, "an inter-communicator is made from an intra-communicator")
        if not 0 <= local_leader < comm.size:
            raise MPIError(ERR_RANK, f"local leader {local_leader} is not a rank of a communicator of {comm.size}")
        if not 0 <= tag <= TAG_LIMIT:
            raise MPIError(ERR_TAG, f"tag {tag} is not between 0 and {TAG_LIMIT}")
        mine = (comm.world.new_context(), *comm.local)
        mistake: MPIError | None = None
        other: Sequence[int] = (0,)  # no other group
        if comm.rank == local_leader:
            try:
                other = _swap(peer_comm._state(), remote_leader, tag, mine)
            except MPIError as error:
                mistake = error
        context, theirs, *procs = tell(comm, (mine[0], *other), local_leader)
        if mistake is not None:
            raise mistake
        if not procs:
            raise MPIError(ERR_RANK, "the leader of the group has failed to reach the other leader")
        return bridge(comm, context if comm.local < tuple(procs) else theirs, procs)

    @classmethod
    @class_boundary
    def Create_from_group(
        cls,
        group: Group,
        stringtag: str = _STRING_TAG,
        info: Info = INFO_NULL,
        errhandler: Errhandler | None = None,
    ) -> Self:
        """Return a communicator of a group whose members make this call; needs no other communicator.

        Args:
            stringtag: tells simultaneous calls apart.
            info: hints. errhandler: of the new communicator; by default what ``rc.errors`` says.
        """
        procs = group._state().procs
        if not procs:
            return cls()
        context = _agree(procs, stringtag)
        return cls._wrap(_with(Communicator(world(), context, procs), info, errhandler))


class Remote(CommCore):
    """Chapter mixin of ``Intercomm``."""

    __slots__ = ()

    def _between(self) -> Intercommunicator:
        state = self._state()
        if not isinstance(state, Intercommunicator):
            raise MPIError(ERR_COMM, "the communicator joins no two groups")
        return state

    @boundary
    def Get_remote_group(self) -> Group:
        """Return the group of the processes that ranks mean in calls (MPI-4.1, 7.6.1)."""
        return Group._wrap(GroupImpl(self._between().remote))

    @boundary
    def Get_remote_size(self) -> int:
        """Return the number of processes in the remote group."""
        return len(self._between().remote)

    @property
    def remote_group(self) -> Group:
        """Remote group."""
        return self.Get_remote_group()

    @property
    def remote_size(self) -> int:
        """Number of processes in the remote group."""
        return self.Get_remote_size()

    @boundary
    def Merge(self, high: bool = False) -> Intracomm:
        """Return an intra-communicator of both groups (MPI-4.1, 7.6.2).

        Args:
            high: put this process's group last; all processes of a group say the same. If both groups do,
                all processes still see one order.
        """
        from fmi_mpi.api.comm import Intracomm

        comm = self._between()
        union = comm.union
        offers = exchange(union, bool(high), comm.world.new_context())
        own, other = ({offers[rank][0] for rank in ranks} for ranks in comm.groups)
        if len(own) > 1 or len(other) > 1:
            raise MPIError(ERR_ARG, "the processes of one group disagree about being the high one")
        procs = union.local
        if own != other:
            procs = comm.remote + comm.local if own == {True} else comm.local + comm.remote
        new = Communicator(comm.world, offers[0][1], procs)
        new.errhandler = inherited(comm.errhandler)
        return Intracomm._wrap(new)

    @classmethod
    @class_boundary
    def Create_from_groups(
        cls,
        local_group: Group,
        local_leader: int,
        remote_group: Group,
        remote_leader: int,
        stringtag: str = _STRING_TAG,
        info: Info = INFO_NULL,
        errhandler: Errhandler | None = None,
    ) -> Self:
        """Return an inter-communicator of two groups whose members make this call (MPI-4.1, 7.6.2).

        Args:
            local_leader, remote_leader: ranks in the groups.
            stringtag, info, errhandler: as for ``Create_from_group``.
        """
        local, remote = local_group._state().procs, remote_group._state().procs
        if not local or not remote:
            return cls()
        for leader, procs in ((local_leader, local), (remote_leader, remote)):
            if not 0 <= leader < len(procs):
                raise MPIError(ERR_RANK, f"leader {leader} is not a rank of a group of {len(procs)}")
        if not set(local).isdisjoint(remote):
            raise MPIError(ERR_GROUP, "the two groups have processes in common")
        if world().proc not in local:
            raise MPIError(ERR_GROUP, "the calling process is not in the local group")
        first, second = sorted((local, remote))
        context = _agree(first + second, stringtag)
        return cls._wrap(_with(Intercommunicator(world(), context, local, remote), info, errhandler))


def _swap(peer: Communicator, rank: int, tag: int, mine: Sequence[int]) -> list[int]:
    """Exchange numbers with the other leader; raises MPIError if there is no such process but this one."""
    if not 0 <= rank < len(peer.procs):
        raise MPIError(ERR_RANK, f"remote leader {rank} is not a rank of a communicator of {len(peer.procs)}")
    if peer.procs[rank] == peer.world.proc:
        raise MPIError(ERR_RANK, "the local and the remote leader are the same process")
    data = to_bytes(mine)
    receive = peer.irecv(rank, tag, None, space=INTERNAL)
    complete(peer, peer.isend(rank, tag, data, len(data), space=INTERNAL))
    complete(peer, receive)
    return from_bytes(receive.data)


def bridge(comm: Communicator, context: int, procs: Sequence[int]) -> Intercomm:
    """Return the inter-communicator of a communicator's group and another; raises MPIError if they overlap."""
    from fmi_mpi.api.comm import Intercomm

    if not set(procs).isdisjoint(comm.local):
        raise MPIError(ERR_COMM, "the two groups have processes in common")
    new = Intercommunicator(comm.world, context, comm.local, tuple(procs))
    new.errhandler = inherited(comm.errhandler)
    return Intercomm._wrap(new)


def tell(comm: Communicator, numbers: Sequence[int], root: int) -> list[int]:
    """Return the root's numbers on all ranks."""
    blob = ((to_bytes(numbers),), 0)
    schedule = comm.start(comm.select("object_bcast")(comm, blob if comm.rank == root else None, root))
    complete(comm, schedule)
    return list(numbers) if schedule.result is None else from_bytes(schedule.result[0])


def _agree(procs: Sequence[int], stringtag: str) -> int:
    """Return a context that the first of these processes makes for all of them."""
    me = world()
    if me.proc not in procs:
        raise MPIError(ERR_GROUP, "the calling process is not in the group")
    comm = me.world
    tag = crc32(stringtag.encode()) % GROUP_TAG
    if me.proc != procs[0]:
        receive = comm.irecv(procs[0], tag, None, space=INTERNAL)
        complete(comm, receive)
        return from_bytes(receive.data)[0]
    context = me.new_context()
    data = to_bytes((context,))
    sends = [comm.isend(proc, tag, data, len(data), space=INTERNAL) for proc in procs[1:]]
    for send in sends:
        complete(comm, send)
    return context


def _with(comm: Communicator, info: Info, errhandler: Errhandler | None) -> Communicator:
    """Give a new communicator its hints and error handler."""
    comm.errhandler = policy() if errhandler is None else state_of(errhandler, "Comm")
    pairs = dict(info.items())
    comm.info = InfoImpl(pairs) if pairs else None
    return comm


def to_bytes(numbers: Sequence[int]) -> memoryview:
    """Return numbers as a message."""
    return np.array(numbers, np.int64).data.cast("B")


def from_bytes(data: Any) -> list[int]:
    """Return the numbers of a message."""
    found: list[int] = np.frombuffer(data, np.int64).tolist()
    return found
