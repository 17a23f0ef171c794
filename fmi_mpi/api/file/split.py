"""Split collective access: a call that begins, and one that ends (MPI-4.1, 14.4.5).

Rules of this file:
- A file has at most one split collective at a time, and the call that ends it is of the same kind as the one that began.
- The access is complete when the first call returns; the second reports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmi_mpi.api.file.access import Access
from fmi_mpi.api.file.core import boundary, report
from fmi_mpi.api.file.shared import Shared
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ERR_IO
from fmi_mpi.data.message import message_recv, message_send
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmi_mpi.typing import BufSpec

__all__ = ["Split"]


class Split(Access, Shared):
    """Chapter mixin of ``File``."""

    __slots__ = ()

    def _begin(self, kind: str, access: Callable[[], tuple[OpenFile, int]]) -> None:
        file = self._state()
        if file.split is not None:
            raise MPIError(ERR_IO, f"a split collective is active: end {file.split[0]!r} first")
        _, nbytes = access()
        file.split = (kind, nbytes)

    def _end(self, kind: str, buf: Any, status: Status | None) -> None:
        (message_recv if kind.startswith("Read") else message_send)(buf)
        file = self._state()
        if file.split is None:
            raise MPIError(ERR_IO, f"no split collective is active: call {kind}_begin first")
        begun, nbytes = file.split
        if begun != kind:
            raise MPIError(ERR_IO, f"the active split collective is {begun}; {kind}_end cannot end it")
        file.split = None
        report(status, nbytes)

    @boundary
    def Read_at_all_begin(self, offset: int, buf: BufSpec) -> None:
        """Begin reading at an offset of the view, together with all ranks."""
        self._begin("Read_at_all", lambda: self._read_at(offset, buf))

    @boundary
    def Read_at_all_end(self, buf: BufSpec, status: Status | None = None) -> None:
        """End reading at an offset of the view, together with all ranks."""
        self._end("Read_at_all", buf, status)

    @boundary
    def Write_at_all_begin(self, offset: int, buf: BufSpec) -> None:
        """Begin writing at an offset of the view, together with all ranks."""
        self._begin("Write_at_all", lambda: self._write_at(offset, buf))

    @boundary
    def Write_at_all_end(self, buf: BufSpec, status: Status | None = None) -> None:
        """End writing at an offset of the view, together with all ranks."""
        self._end("Write_at_all", buf, status)

    @boundary
    def Read_all_begin(self, buf: BufSpec) -> None:
        """Begin reading at the individual file pointer, together with all ranks."""
        self._begin("Read_all", lambda: self._read(buf))

    @boundary
    def Read_all_end(self, buf: BufSpec, status: Status | None = None) -> None:
        """End reading at the individual file pointer, together with all ranks."""
        self._end("Read_all", buf, status)

    @boundary
    def Write_all_begin(self, buf: BufSpec) -> None:
        """Begin writing at the individual file pointer, together with all ranks."""
        self._begin("Write_all", lambda: self._write(buf))

    @boundary
    def Write_all_end(self, buf: BufSpec, status: Status | None = None) -> None:
        """End writing at the individual file pointer, together with all ranks."""
        self._end("Write_all", buf, status)

    @boundary
    def Read_ordered_begin(self, buf: BufSpec) -> None:
        """Begin reading at the shared file pointer, each rank behind the one before."""
        self._begin("Read_ordered", lambda: self._ordered(buf, False))

    @boundary
    def Read_ordered_end(self, buf: BufSpec, status: Status | None = None) -> None:
        """End reading at the shared file pointer, each rank behind the one before."""
        self._end("Read_ordered", buf, status)

    @boundary
    def Write_ordered_begin(self, buf: BufSpec) -> None:
        """Begin writing at the shared file pointer, each rank behind the one before."""
        self._begin("Write_ordered", lambda: self._ordered(buf, True))

    @boundary
    def Write_ordered_end(self, buf: BufSpec, status: Status | None = None) -> None:
        """End writing at the shared file pointer, each rank behind the one before."""
        self._end("Write_ordered", buf, status)
