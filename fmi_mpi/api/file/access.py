"""Reading and writing at explicit offsets and at the individual file pointer (MPI-4.1, 14.4.2 and 14.4.3).

Rules of this file:
- A collective access is an access of each rank's own: the standard asks for no synchronisation there.
- A nonblocking access is complete when the call returns; its request only says so.
- A blocking read moves the pointer by what it got, a nonblocking one by what it asked for (as in MPICH): they differ
  at the end of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmi_mpi.api.file.core import FileCore, boundary, number, offset_of, report, requested
from fmi_mpi.api.request import Request
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ERR_ARG, SEEK_CUR, SEEK_END, SEEK_SET
from fmi_mpi.data.message import message_recv, message_send
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.file import OpenFile

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec

__all__ = ["Access", "sought"]


def sought(file: OpenFile, offset: int, whence: int, position: int) -> int:
    """Return where a pointer that is at ``position`` goes to; raises MPIError if that is before the view."""
    origins = {SEEK_SET: 0, SEEK_CUR: position}
    if whence == SEEK_END:
        origins[SEEK_END] = file.view.visible(file.store.size())
    if whence not in origins:
        raise MPIError(ERR_ARG, f"{whence} is not one of SEEK_SET, SEEK_CUR and SEEK_END")
    target = origins[whence] + offset
    if target < 0:
        raise MPIError(ERR_ARG, f"the position {target} is before the start of the view")
    return target


class Access(FileCore):
    """Chapter mixin of ``File``."""

    __slots__ = ()

    def _read_at(self, offset: int, buf: Any) -> tuple[OpenFile, int]:
        """Read at an explicit offset; returns the file and the bytes read."""
        message = message_recv(buf)
        file = self._random()
        start = offset_of(offset)
        file.etypes(message, False)
        return file, file.read(start, message)

    def _write_at(self, offset: int, buf: Any) -> tuple[OpenFile, int]:
        message = message_send(buf)
        file = self._random()
        start = offset_of(offset)
        file.etypes(message, True)
        return file, file.write(start, message)

    def _read(self, buf: Any, ask: bool = False) -> tuple[OpenFile, int]:
        """Read at the individual pointer and move it, by what is asked for or else by what was read."""
        message = message_recv(buf)
        file = self._random()
        with file.mutex:
            wanted = file.etypes(message, False)
            got = file.read(file.position, message)
            file.position += wanted if ask else wanted * got // max(message.nbytes, 1)
        return file, got

    def _write(self, buf: Any) -> tuple[OpenFile, int]:
        message = message_send(buf)
        file = self._random()
        with file.mutex:
            wanted = file.etypes(message, True)
            nbytes = file.write(file.position, message)
            file.position += wanted
        return file, nbytes

    # -- explicit offsets ----------------------------------------------------------------------------------------

    @boundary
    def Read_at(self, offset: int, buf: BufSpec, status: Status | None = None) -> None:
        """Read at an offset of the view, in etypes."""
        report(status, self._read_at(offset, buf)[1])

    @boundary
    def Read_at_all(self, offset: int, buf: BufSpec, status: Status | None = None) -> None:
        """Read at an offset of the view, together with all ranks."""
        report(status, self._read_at(offset, buf)[1])

    @boundary
    def Write_at(self, offset: int, buf: BufSpec, status: Status | None = None) -> None:
        """Write at an offset of the view, in etypes."""
        report(status, self._write_at(offset, buf)[1])

    @boundary
    def Write_at_all(self, offset: int, buf: BufSpec, status: Status | None = None) -> None:
        """Write at an offset of the view, together with all ranks."""
        report(status, self._write_at(offset, buf)[1])

    @boundary
    def Iread_at(self, offset: int, buf: BufSpec) -> Request:
        """Start reading at an offset of the view, in etypes."""
        return requested(*self._read_at(offset, buf))

    @boundary
    def Iread_at_all(self, offset: int, buf: BufSpec) -> Request:
        """Start reading at an offset of the view, together with all ranks."""
        return requested(*self._read_at(offset, buf))

    @boundary
    def Iwrite_at(self, offset: int, buf: BufSpec) -> Request:
        """Start writing at an offset of the view, in etypes."""
        return requested(*self._write_at(offset, buf))

    @boundary
    def Iwrite_at_all(self, offset: int, buf: BufSpec) -> Request:
        """Start writing at an offset of the view, together with all ranks."""
        return requested(*self._write_at(offset, buf))

    # -- individual pointer --------------------------------------------------------------------------------------

    @boundary
    def Seek(self, offset: int, whence: int = SEEK_SET) -> None:
        """Move the individual file pointer.

        Args:
            offset: etypes, from where ``whence`` says.
            whence: SEEK_SET, SEEK_CUR or SEEK_END.
        """
        file = self._random()
        with file.mutex:
            file.position = sought(file, number(offset), number(whence), file.position)

    @boundary
    def Get_position(self) -> int:
        """Return the individual file pointer in etypes of the view."""
        return self._random().position

    @boundary
    def Get_byte_offset(self, offset: int) -> int:
        """Return the offset in bytes of the file at an offset of the view in etypes."""
        view = self._random().view
        return view.byte_offset(offset_of(offset) * view.etype_size)

    @boundary
    def Read(self, buf: BufSpec, status: Status | None = None) -> None:
        """Read at the individual file pointer."""
        report(status, self._read(buf)[1])

    @boundary
    def Read_all(self, buf: BufSpec, status: Status | None = None) -> None:
        """Read at the individual file pointer, together with all ranks."""
        report(status, self._read(buf)[1])

    @boundary
    def Write(self, buf: BufSpec, status: Status | None = None) -> None:
        """Write at the individual file pointer."""
        report(status, self._write(buf)[1])

    @boundary
    def Write_all(self, buf: BufSpec, status: Status | None = None) -> None:
        """Write at the individual file pointer, together with all ranks."""
        report(status, self._write(buf)[1])

    @boundary
    def Iread(self, buf: BufSpec) -> Request:
        """Start reading at the individual file pointer."""
        return requested(*self._read(buf, ask=True))

    @boundary
    def Iread_all(self, buf: BufSpec) -> Request:
        """Start reading at the individual file pointer, together with all ranks."""
        return requested(*self._read(buf, ask=True))

    @boundary
    def Iwrite(self, buf: BufSpec) -> Request:
        """Start writing at the individual file pointer."""
        return requested(*self._write(buf))

    @boundary
    def Iwrite_all(self, buf: BufSpec) -> Request:
        """Start writing at the individual file pointer, together with all ranks."""
        return requested(*self._write(buf))
