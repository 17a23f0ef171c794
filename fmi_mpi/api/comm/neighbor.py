"""Collective communication with the neighbours of a process topology (MPI-4.1, 8.6 to 8.8).

Rules of this file:
- Each call is a plan (``plans``) in one of three forms: run, begun (``I...``) or prepared (``..._init``).
- Buffers have a block for each neighbour, in the order of the topology's sources and destinations; blocks of PROC_NULL
  count, but are neither sent nor written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fmi_mpi.api.comm.core import boundary
from fmi_mpi.api.comm.locks import in_turn
from fmi_mpi.api.comm.object_collectives import exactly
from fmi_mpi.api.comm.plans import Plan, Plans
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.request import Prequest, Request
from fmi_mpi.coll.objects.blobs import Blob
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.constants import ERR_ARG, ERR_TOPOLOGY, PROC_NULL
from fmi_mpi.data.message import Pieces, message_block, message_recv, message_send, message_vector, message_w
from fmi_mpi.data.pickling import dumps_parts, loads_message
from fmi_mpi.data.special import InPlaceType
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec, BufSpecB, BufSpecV, BufSpecW

__all__ = ["NeighborCollectives"]

_MAKERS: dict[str, Callable[[Any, bool, int], Pieces]] = {"": message_block, "v": message_vector, "w": message_w}


class NeighborCollectives(Plans):
    """Chapter mixin of ``Topocomm``."""

    __slots__ = ()

    def _topology(self) -> Any:
        topology = self._state().topology
        if topology is None:
            raise MPIError(ERR_TOPOLOGY, "the communicator has no topology")
        return topology

    # -- plans ---------------------------------------------------------------------------------------------------

    def _neighbors(self, name: str, sendbuf: Any, recvbuf: Any, form: str = "") -> Plan:
        """Return the plan of a collective: "allgather" or "alltoall", in one of the forms "", "v" and "w"."""
        comm, topology = self._state(), self._topology()
        topology.check()
        sources, destinations = topology.sources, topology.destinations
        _refuse_in_place(sendbuf, recvbuf)
        recvs = _pieces(recvbuf, True, sources, form)
        if name == "allgather":
            sends = Pieces([message_send(sendbuf)])
        else:
            sends = _pieces(sendbuf, False, destinations, form)
        run = comm.select(f"neighbor_{name}{form}")

        def plan() -> tuple[Steps[Any], Callable[[Any], Any] | None]:
            sinks, finish = recvs.sinks()
            data = sends.payloads()
            if name == "allgather":
                data *= len(destinations)
            steps = run(comm, sources, destinations, data, sinks, topology.order)
            return steps, None if finish is None else lambda _: finish()

        return plan

    def _neighbor_objects(self, name: str, blobs: Sequence[Blob]) -> list[Any]:
        comm, topology = self._state(), self._topology()
        topology.check()
        run = comm.select(name)
        received = self._run(lambda: (run(comm, topology.sources, topology.destinations, blobs, topology.order), None))
        return [None if one is None else loads_message(*one) for one in received]

    # -- blocking ------------------------------------------------------------------------------------------------

    @boundary
    def Neighbor_allgather(self, sendbuf: BufSpec, recvbuf: BufSpecB) -> None:
        """Send one block to all neighbours and receive one from each (MPI-4.1, 8.6.1)."""
        self._run(self._neighbors("allgather", sendbuf, recvbuf))

    @boundary
    def Neighbor_allgatherv(self, sendbuf: BufSpec, recvbuf: BufSpecV) -> None:
        """Send one block to all neighbours and receive blocks of different sizes."""
        self._run(self._neighbors("allgather", sendbuf, recvbuf, "v"))

    @boundary
    def Neighbor_alltoall(self, sendbuf: BufSpecB, recvbuf: BufSpecB) -> None:
        """Send each neighbour a block of its own and receive one from each (MPI-4.1, 8.6.2)."""
        self._run(self._neighbors("alltoall", sendbuf, recvbuf))

    @boundary
    def Neighbor_alltoallv(self, sendbuf: BufSpecV, recvbuf: BufSpecV) -> None:
        """Exchange blocks of different sizes with the neighbours."""
        self._run(self._neighbors("alltoall", sendbuf, recvbuf, "v"))

    @boundary
    def Neighbor_alltoallw(self, sendbuf: BufSpecW, recvbuf: BufSpecW) -> None:
        """Exchange blocks of different sizes and types with the neighbours."""
        self._run(self._neighbors("alltoall", sendbuf, recvbuf, "w"))

    # -- nonblocking ---------------------------------------------------------------------------------------------

    @boundary
    def Ineighbor_allgather(self, sendbuf: BufSpec, recvbuf: BufSpecB) -> Request:
        """Start to send one block to all neighbours and to receive one from each (MPI-4.1, 8.7)."""
        return self._begin(self._neighbors("allgather", sendbuf, recvbuf))

    @boundary
    def Ineighbor_allgatherv(self, sendbuf: BufSpec, recvbuf: BufSpecV) -> Request:
        """Start to send one block to all neighbours and to receive blocks of different sizes."""
        return self._begin(self._neighbors("allgather", sendbuf, recvbuf, "v"))

    @boundary
    def Ineighbor_alltoall(self, sendbuf: BufSpecB, recvbuf: BufSpecB) -> Request:
        """Start to send each neighbour a block of its own and to receive one from each."""
        return self._begin(self._neighbors("alltoall", sendbuf, recvbuf))

    @boundary
    def Ineighbor_alltoallv(self, sendbuf: BufSpecV, recvbuf: BufSpecV) -> Request:
        """Start to exchange blocks of different sizes with the neighbours."""
        return self._begin(self._neighbors("alltoall", sendbuf, recvbuf, "v"))

    @boundary
    def Ineighbor_alltoallw(self, sendbuf: BufSpecW, recvbuf: BufSpecW) -> Request:
        """Start to exchange blocks of different sizes and types with the neighbours."""
        return self._begin(self._neighbors("alltoall", sendbuf, recvbuf, "w"))

    # -- persistent ----------------------------------------------------------------------------------------------

    @boundary
    def Neighbor_allgather_init(self, sendbuf: BufSpec, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest:
        """Prepare to send one block to all neighbours and to receive one from each (MPI-4.1, 8.8)."""
        return self._prepare(self._neighbors("allgather", sendbuf, recvbuf))

    @boundary
    def Neighbor_allgatherv_init(self, sendbuf: BufSpec, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest:
        """Prepare to send one block to all neighbours and to receive blocks of different sizes."""
        return self._prepare(self._neighbors("allgather", sendbuf, recvbuf, "v"))

    @boundary
    def Neighbor_alltoall_init(self, sendbuf: BufSpecB, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest:
        """Prepare to send each neighbour a block of its own and to receive one from each."""
        return self._prepare(self._neighbors("alltoall", sendbuf, recvbuf))

    @boundary
    def Neighbor_alltoallv_init(self, sendbuf: BufSpecV, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest:
        """Prepare to exchange blocks of different sizes with the neighbours."""
        return self._prepare(self._neighbors("alltoall", sendbuf, recvbuf, "v"))

    @boundary
    def Neighbor_alltoallw_init(self, sendbuf: BufSpecW, recvbuf: BufSpecW, info: Info = INFO_NULL) -> Prequest:
        """Prepare to exchange blocks of different sizes and types with the neighbours."""
        return self._prepare(self._neighbors("alltoall", sendbuf, recvbuf, "w"))

    # -- objects -------------------------------------------------------------------------------------------------

    @boundary
    @in_turn
    def neighbor_allgather(self, sendobj: Any) -> list[Any]:
        """Send an object to all neighbours; return theirs, None for PROC_NULL."""
        return self._neighbor_objects(
            "object_neighbor_allgather", [dumps_parts(sendobj)] * len(self._topology().destinations)
        )

    @boundary
    @in_turn
    def neighbor_alltoall(self, sendobj: list[Any]) -> list[Any]:
        """Send each neighbour an object of its own; return theirs, None for PROC_NULL."""
        objects = exactly(sendobj, len(self._topology().destinations))
        return self._neighbor_objects("object_neighbor_alltoall", [dumps_parts(obj) for obj in objects])


def _pieces(spec: Any, writable: bool, ranks: Sequence[int], form: str) -> Pieces:
    """Return the pieces of a buffer of a block a rank, with nothing in place of those of PROC_NULL."""
    if not ranks:
        return Pieces([])
    messages = _MAKERS[form](spec, writable, len(ranks)).messages
    nothing = message_recv(None, PROC_NULL)
    return Pieces([nothing if rank == PROC_NULL else message for rank, message in zip(ranks, messages)])


def _refuse_in_place(*specs: Any) -> None:
    for spec in specs:
        buf = spec[0] if isinstance(spec, (list, tuple)) and spec else spec
        if isinstance(buf, InPlaceType):
            raise MPIError(ERR_ARG, "neighbourhood collectives cannot be done in place")
