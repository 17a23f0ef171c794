"""Collective communication of buffers (MPI-4.1, chapter 6).

Rules of this file:
- Each call is a plan (``plans``) in one of three forms: run, begun (``I...``) or prepared (``..._init``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmi_mpi.api.comm.core import boundary
from fmi_mpi.api.comm.plans import Plans
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.op import SUM, Op
from fmi_mpi.api.request import Prequest, Request

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec, BufSpecB, BufSpecV, BufSpecW, InPlace

__all__ = ["Collectives"]


class Collectives(Plans):
    """Chapter mixin of ``Comm``."""

    __slots__ = ()

    @boundary
    def Barrier(self) -> None:
        """Wait until all processes have come here (MPI-4.1, 6.3)."""
        self._run(self._barrier())

    @boundary
    def Bcast(self, buf: BufSpec, root: int = 0) -> None:
        """Send the root's buffer to all processes (MPI-4.1, 6.4)."""
        self._run(self._bcast(buf, root))

    @boundary
    def Gather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0) -> None:
        """Collect equal blocks of all processes at the root (MPI-4.1, 6.5)."""
        self._run(self._gather(sendbuf, recvbuf, root, False))

    @boundary
    def Gatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0) -> None:
        """Collect blocks of different sizes at the root."""
        self._run(self._gather(sendbuf, recvbuf, root, True))

    @boundary
    def Scatter(self, sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0) -> None:
        """Give each process one of the root's equal blocks (MPI-4.1, 6.6)."""
        self._run(self._scatter(sendbuf, recvbuf, root, False))

    @boundary
    def Scatterv(self, sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0) -> None:
        """Give each process one of the root's blocks of different sizes."""
        self._run(self._scatter(sendbuf, recvbuf, root, True))

    @boundary
    def Allgather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB) -> None:
        """Collect equal blocks of all processes everywhere (MPI-4.1, 6.7)."""
        self._run(self._allgather(sendbuf, recvbuf, False))

    @boundary
    def Allgatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV) -> None:
        """Collect blocks of different sizes everywhere."""
        self._run(self._allgather(sendbuf, recvbuf, True))

    @boundary
    def Alltoall(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB) -> None:
        """Exchange equal blocks between all pairs of processes (MPI-4.1, 6.8)."""
        self._run(self._alltoall(sendbuf, recvbuf, "alltoall"))

    @boundary
    def Alltoallv(self, sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV) -> None:
        """Exchange blocks of different sizes between all pairs of processes."""
        self._run(self._alltoall(sendbuf, recvbuf, "alltoallv"))

    @boundary
    def Alltoallw(self, sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW) -> None:
        """Exchange blocks of different sizes and types between all pairs of processes."""
        self._run(self._alltoall(sendbuf, recvbuf, "alltoallw"))

    @boundary
    def Reduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec | None, op: Op = SUM, root: int = 0) -> None:
        """Combine the contributions of all processes at the root (MPI-4.1, 6.9.1)."""
        self._run(self._reduce(sendbuf, recvbuf, op, root))

    @boundary
    def Allreduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> None:
        """Combine the contributions of all processes everywhere (MPI-4.1, 6.9.6)."""
        self._run(self._reduction("allreduce", sendbuf, recvbuf, op))

    @boundary
    def Reduce_scatter_block(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpec | BufSpecB, op: Op = SUM) -> None:
        """Combine contributions and give each process an equal block of the result."""
        self._run(self._reduce_scatter(sendbuf, recvbuf, None, op, True))

    @boundary
    def Reduce_scatter(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, recvcounts: Sequence[int] | None = None, op: Op = SUM
    ) -> None:
        """Combine contributions and give each process a block of the result (MPI-4.1, 6.10)."""
        self._run(self._reduce_scatter(sendbuf, recvbuf, recvcounts, op, False))

    @boundary
    def Ibarrier(self) -> Request:
        """Start to wait until all processes have come here."""
        return self._begin(self._barrier())

    @boundary
    def Ibcast(self, buf: BufSpec, root: int = 0) -> Request:
        """Start to send the root's buffer to all processes."""
        return self._begin(self._bcast(buf, root))

    @boundary
    def Igather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0) -> Request:
        """Start to collect equal blocks of all processes at the root."""
        return self._begin(self._gather(sendbuf, recvbuf, root, False))

    @boundary
    def Igatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0) -> Request:
        """Start to collect blocks of different sizes at the root."""
        return self._begin(self._gather(sendbuf, recvbuf, root, True))

    @boundary
    def Iscatter(self, sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0) -> Request:
        """Start to give each process one of the root's equal blocks."""
        return self._begin(self._scatter(sendbuf, recvbuf, root, False))

    @boundary
    def Iscatterv(self, sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0) -> Request:
        """Start to give each process one of the root's blocks of different sizes."""
        return self._begin(self._scatter(sendbuf, recvbuf, root, True))

    @boundary
    def Iallgather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB) -> Request:
        """Start to collect equal blocks of all processes everywhere."""
        return self._begin(self._allgather(sendbuf, recvbuf, False))

    @boundary
    def Iallgatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV) -> Request:
        """Start to collect blocks of different sizes everywhere."""
        return self._begin(self._allgather(sendbuf, recvbuf, True))

    @boundary
    def Ialltoall(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB) -> Request:
        """Start to exchange equal blocks between all pairs of processes."""
        return self._begin(self._alltoall(sendbuf, recvbuf, "alltoall"))

    @boundary
    def Ialltoallv(self, sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV) -> Request:
        """Start to exchange blocks of different sizes between all pairs of processes."""
        return self._begin(self._alltoall(sendbuf, recvbuf, "alltoallv"))

    @boundary
    def Ialltoallw(self, sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW) -> Request:
        """Start to exchange blocks of different sizes and types between all pairs of processes."""
        return self._begin(self._alltoall(sendbuf, recvbuf, "alltoallw"))

    @boundary
    def Ireduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec | None, op: Op = SUM, root: int = 0) -> Request:
        """Start to combine the contributions of all processes at the root."""
        return self._begin(self._reduce(sendbuf, recvbuf, op, root))

    @boundary
    def Iallreduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> Request:
        """Start to combine the contributions of all processes everywhere."""
        return self._begin(self._reduction("allreduce", sendbuf, recvbuf, op))

    @boundary
    def Ireduce_scatter_block(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpec | BufSpecB, op: Op = SUM) -> Request:
        """Start to combine contributions and give each process an equal block of the result."""
        return self._begin(self._reduce_scatter(sendbuf, recvbuf, None, op, True))

    @boundary
    def Ireduce_scatter(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, recvcounts: Sequence[int] | None = None, op: Op = SUM
    ) -> Request:
        """Start to combine contributions and give each process a block of the result."""
        return self._begin(self._reduce_scatter(sendbuf, recvbuf, recvcounts, op, False))

    @boundary
    def Barrier_init(self, info: Info = INFO_NULL) -> Prequest:
        """Prepare to wait until all processes have come here."""
        return self._prepare(self._barrier())

    @boundary
    def Bcast_init(self, buf: BufSpec, root: int = 0, info: Info = INFO_NULL) -> Prequest:
        """Prepare to send the root's buffer to all processes."""
        return self._prepare(self._bcast(buf, root))

    @boundary
    def Gather_init(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to collect equal blocks of all processes at the root."""
        return self._prepare(self._gather(sendbuf, recvbuf, root, False))

    @boundary
    def Gatherv_init(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to collect blocks of different sizes at the root."""
        return self._prepare(self._gather(sendbuf, recvbuf, root, True))

    @boundary
    def Scatter_init(
        self, sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to give each process one of the root's equal blocks."""
        return self._prepare(self._scatter(sendbuf, recvbuf, root, False))

    @boundary
    def Scatterv_init(
        self, sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to give each process one of the root's blocks of different sizes."""
        return self._prepare(self._scatter(sendbuf, recvbuf, root, True))

    @boundary
    def Allgather_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest:
        """Prepare to collect equal blocks of all processes everywhere."""
        return self._prepare(self._allgather(sendbuf, recvbuf, False))

    @boundary
    def Allgatherv_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest:
        """Prepare to collect blocks of different sizes everywhere."""
        return self._prepare(self._allgather(sendbuf, recvbuf, True))

    @boundary
    def Alltoall_init(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest:
        """Prepare to exchange equal blocks between all pairs of processes."""
        return self._prepare(self._alltoall(sendbuf, recvbuf, "alltoall"))

    @boundary
    def Alltoallv_init(self, sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest:
        """Prepare to exchange blocks of different sizes between all pairs of processes."""
        return self._prepare(self._alltoall(sendbuf, recvbuf, "alltoallv"))

    @boundary
    def Alltoallw_init(self, sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW, info: Info = INFO_NULL) -> Prequest:
        """Prepare to exchange blocks of different sizes and types between all pairs of processes."""
        return self._prepare(self._alltoall(sendbuf, recvbuf, "alltoallw"))

    @boundary
    def Reduce_init(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec | None, op: Op = SUM, root: int = 0, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to combine the contributions of all processes at the root."""
        return self._prepare(self._reduce(sendbuf, recvbuf, op, root))

    @boundary
    def Allreduce_init(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to combine the contributions of all processes everywhere."""
        return self._prepare(self._reduction("allreduce", sendbuf, recvbuf, op))

    @boundary
    def Reduce_scatter_block_init(
        self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpec | BufSpecB, op: Op = SUM, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to combine contributions and give each process an equal block of the result."""
        return self._prepare(self._reduce_scatter(sendbuf, recvbuf, None, op, True))

    @boundary
    def Reduce_scatter_init(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec,
        recvcounts: Sequence[int] | None = None,
        op: Op = SUM,
        info: Info = INFO_NULL,
    ) -> Prequest:
        """Prepare to combine contributions and give each process a block of the result."""
        return self._prepare(self._reduce_scatter(sendbuf, recvbuf, recvcounts, op, False))
