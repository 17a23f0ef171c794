"""Prefix reductions of buffers and objects (MPI-4.1, 6.11).

Rules of this file:
- Each call on buffers is a plan (``plans``) in one of three forms: run, begun (``I...``) or prepared (``..._init``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmi_mpi.api.comm.core import boundary
from fmi_mpi.api.comm.locks import in_turn
from fmi_mpi.api.comm.object_collectives import Combine, ObjectCollectives
from fmi_mpi.api.info import INFO_NULL, Info
from fmi_mpi.api.op import SUM, Op
from fmi_mpi.api.request import Prequest, Request

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec, InPlace

__all__ = ["Scans"]


class Scans(ObjectCollectives):
    """Chapter mixin of ``Intracomm``."""

    __slots__ = ()

    @boundary
    def Scan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> None:
        """Combine the contributions of the processes up to this one (MPI-4.1, 6.11)."""
        self._run(self._reduction("scan", sendbuf, recvbuf, op))

    @boundary
    def Exscan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> None:
        """Combine the contributions of the processes before this one; undefined on the first."""
        self._run(self._reduction("exscan", sendbuf, recvbuf, op))

    @boundary
    def Iscan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> Request:
        """Start to combine the contributions of the processes up to this one."""
        return self._begin(self._reduction("scan", sendbuf, recvbuf, op))

    @boundary
    def Iexscan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> Request:
        """Start to combine the contributions of the processes before this one; undefined on the first."""
        return self._begin(self._reduction("exscan", sendbuf, recvbuf, op))

    @boundary
    def Scan_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM, info: Info = INFO_NULL) -> Prequest:
        """Prepare to combine the contributions of the processes up to this one."""
        return self._prepare(self._reduction("scan", sendbuf, recvbuf, op))

    @boundary
    def Exscan_init(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM, info: Info = INFO_NULL
    ) -> Prequest:
        """Prepare to combine the contributions of the processes before this one; undefined on the first."""
        return self._prepare(self._reduction("exscan", sendbuf, recvbuf, op))

    @boundary
    @in_turn
    def scan(self, sendobj: Any, op: Combine = SUM) -> Any:
        """Return the objects of the processes up to this one combined."""
        return self._combined("object_scan", sendobj, op)

    @boundary
    @in_turn
    def exscan(self, sendobj: Any, op: Combine = SUM) -> Any:
        """Return the objects of the processes before this one combined, None on the first."""
        return self._combined("object_exscan", sendobj, op)
