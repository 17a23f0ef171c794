"""Dynamic processes: groups that meet at a port or over a socket (MPI-4.1, 11.4 and 11.9.7).

Rules of this file:
- The parent of a process that no other one has spawned is the null inter-communicator; it is one object.
- Processes of one job connect. The roots swap context, port and group in the internal space of the world: the request
  goes to the acceptor's port, the reply to a port that the other root opens for it. A root tells its group, also of a
  mistake, so that all fail alike.
- ``Join`` swaps over the socket itself.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fmi_mpi.api.comm.core import CommCore, boundary, check_root, complete
from fmi_mpi.api.comm.intercomm import bridge, from_bytes, tell, to_bytes
from fmi_mpi.api.errhandler import inherited
from fmi_mpi.api.exception import boundary as class_boundary
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.traits import text
from fmi_mpi.constants import ANY_SOURCE, ERR_COMM, ERR_INTERN, ERR_PORT
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.communicator import INTERNAL, Communicator
from fmi_mpi.runtime.intercommunicator import Intercommunicator
from fmi_mpi.runtime.names import Port, open_port, port_named
from fmi_mpi.runtime.process import world

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Intercomm

__all__ = ["Dynamic", "Meeting"]

_LINE = 4096


class Dynamic(CommCore):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    @classmethod
    def Get_parent(cls) -> Intercomm:
        """Return the inter-communicator with the processes that spawned this one; null if there are none."""
        from fmi_mpi.api.comm import COMM_PARENT

        return COMM_PARENT

    @classmethod
    @class_boundary
    def Join(cls, fd: int) -> Intercomm:
        """Return an inter-communicator with the process at the other end of a socket (MPI-4.1, 11.9.7).

        Args:
            fd: descriptor of a connected socket on which nothing else is being said; it may be closed afterwards.

        The result is null if that process is of another job. Both call this, within FMI_JOIN_TIMEOUT.
        """
        from fmi_mpi.api.comm import Intercomm

        me = world()
        mine = (me.bootstrap.identity.job, me.proc, me.new_context())
        job, proc, context = _swap_lines(fd, mine, time.monotonic() + me.settings.join_timeout)
        if job != mine[0] or proc == me.proc:
            return Intercomm()
        context = context if proc < me.proc else mine[2]
        new = Intercommunicator(me, context, (me.proc,), (proc,))
        new.errhandler = inherited(None)
        return Intercomm._wrap(new)


class Meeting(CommCore):
    """Chapter mixin of ``Intracomm``."""

    __slots__ = ()

    @boundary
    def Accept(self, port_name: str, info: Info = INFO_NULL, root: int = 0) -> Intercomm:
        """Wait for a group that connects to a port and return an inter-communicator with it (MPI-4.1, 11.4.2).

        Args:
            port_name: of a port that the root has opened; only the root's matters.
            info: hints; none is known.
            root: rank of the process that has the port.
        """
        comm = self._state()
        check_root(comm, root)
        return _meet(comm, root, lambda mine: _accept(comm, port_named(text(port_name)), mine))

    @boundary
    def Connect(self, port_name: str, info: Info = INFO_NULL, root: int = 0) -> Intercomm:
        """Connect to a group that accepts at a port and return an inter-communicator with it (MPI-4.1, 11.4.3).

        Args:
            port_name: of a port that a process of the other group has opened; only the root's matters.
            info: hints; none is known.
            root: rank of the process that knows the port.
        """
        comm = self._state()
        check_root(comm, root)
        return _meet(comm, root, lambda mine: _connect(comm, port_named(text(port_name)), mine))


def _meet(comm: Communicator, root: int, swap: Any) -> Intercomm:
    """Return the inter-communicator with the group whose (context, processes) the root gets by ``swap``."""
    mistake: MPIError | None = None
    context, *procs = 0, 0  # no other group
    if comm.rank == root:
        try:
            context, *procs = swap((comm.world.new_context(), *comm.local))
        except MPIError as error:
            mistake, procs = error, []
    context, *procs = tell(comm, (context, *procs), root)
    if mistake is not None:
        raise mistake
    if not procs:
        raise MPIError(ERR_PORT, "the root has failed to reach the other group")
    return bridge(comm, context, procs)


def _accept(comm: Communicator, port: Port, mine: Sequence[int]) -> list[int]:
    """Take the next request at a port: the other group gets this one's context."""
    peers = comm.world.world
    if (port.job, port.proc) != (comm.world.bootstrap.identity.job, comm.world.proc):
        raise MPIError(ERR_PORT, f"the port {port} is not this process's; accept at one that it has opened")
    request = peers.irecv(ANY_SOURCE, port.tag, None, space=INTERNAL)
    complete(comm, request)
    answer, _, *procs = from_bytes(request.data)
    data = to_bytes(mine)
    complete(comm, peers.isend(request.source, answer, data, len(data), space=INTERNAL))
    return [mine[0], *procs]


def _connect(comm: Communicator, port: Port, mine: Sequence[int]) -> list[int]:
    """Send a request to a port and return the answer."""
    peers = comm.world.world
    if port.job != comm.world.bootstrap.identity.job or port.proc >= peers.size:
        raise MPIError(ERR_PORT, f"the port {port} is of another job; processes of one job can connect")
    if port.proc in comm.local:
        raise MPIError(ERR_COMM, f"the port {port} is of a process of the group that connects")
    answer = open_port(comm.world).tag
    reply = peers.irecv(port.proc, answer, None, space=INTERNAL)
    data = to_bytes((answer, *mine))
    complete(comm, peers.isend(port.proc, port.tag, data, len(data), space=INTERNAL))
    complete(comm, reply)
    return from_bytes(reply.data)


def _swap_lines(fd: int, mine: Sequence[Any], deadline: float) -> list[Any]:
    """Send a line to the other end of a socket and return its line."""
    leaving = memoryview(json.dumps(mine).encode() + b"\n")
    came = b""
    poll = select.poll()
    try:
        while leaving or not came.endswith(b"\n"):
            poll.register(fd, (select.POLLOUT if leaving else 0) | select.POLLIN)
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise MPIError(ERR_INTERN, "the process at the other end of the socket has not joined in time")
            if ready[0][1] & select.POLLOUT:
                leaving = leaving[os.write(fd, leaving) :]
            if ready[0][1] & ~select.POLLOUT:
                part = os.read(fd, 1) if len(came) < _LINE else b""
                if not part:
                    raise MPIError(ERR_INTERN, "the other end of the socket does not answer as one that joins")
                came += part
        job, proc, context = json.loads(came)
        return [job, int(proc), int(context)]
    except (OSError, ValueError, TypeError) as error:
        raise MPIError(ERR_INTERN, f"descriptor {fd} cannot be joined: {error}") from None
