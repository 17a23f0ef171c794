"""Reading and writing at the shared file pointer (MPI-4.1, 14.4.4).

Rules of this file:
- The pointer moves by what is asked for before the data moves: nobody waits for anybody's transfer.
- Ordered calls share out one range of the file by rank; no other access can come in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmi_mpi.api.comm.construction import exchange
from fmi_mpi.api.file.access import sought
from fmi_mpi.api.file.core import FileCore, agree, at_root, boundary, number, report, requested
from fmi_mpi.api.request import Request
from fmi_mpi.api.status import Status
from fmi_mpi.constants import ERR_ARG, SEEK_SET
from fmi_mpi.data.message import message_recv, message_send
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.file import OpenFile

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec

__all__ = ["Shared"]


class Shared(FileCore):
    """Chapter mixin of ``File``."""

    __slots__ = ()

    def _shared(self, buf: Any, write: bool) -> tuple[OpenFile, int]:
        """Read or write at the shared pointer; returns the file and the bytes."""
        message = message_send(buf) if write else message_recv(buf)
        file = self._state()
        wanted = file.etypes(message, write)
        if not wanted:
            return file, 0
        offset = file.shared.add(wanted)
        return file, (file.write if write else file.read)(offset, message)

    def _ordered(self, buf: Any, write: bool) -> tuple[OpenFile, int]:
        """Read or write at the shared pointer in the order of ranks."""
        message = message_send(buf) if write else message_recv(buf)
        file = self._state()
        failure, wanted = None, 0
        try:
            wanted = file.etypes(message, write)
        except MPIError as error:  # the others go on: they have their places all the same
            failure = error
        numbers = [row[0] for row in exchange(file.comm, wanted)]
        first = at_root(file.comm, lambda: file.shared.add(sum(numbers)))
        if failure is not None:
            raise failure
        offset = first + sum(numbers[: file.comm.rank])
        return file, (file.write if write else file.read)(offset, message)

    # -- pointer -------------------------------------------------------------------------------------------------

    @boundary
    def Seek_shared(self, offset: int, whence: int = SEEK_SET) -> None:
        """Move the shared file pointer; all processes call it with the same arguments.

        Args:
            offset: etypes, from where ``whence`` says.
            whence: SEEK_SET, SEEK_CUR or SEEK_END.
        """
        file = self._random()
        distance, origin = number(offset), number(whence)
        if any(row != [distance, origin] for row in agree(file.comm, None, distance, origin)):
            raise MPIError(ERR_ARG, f"offset {offset} and whence {whence} are not the same on all ranks")
        at_root(file.comm, lambda: file.shared.set(sought(file, distance, origin, file.shared.get())))

    @boundary
    def Get_position_shared(self) -> int:
        """Return the shared file pointer in etypes of the view."""
        return self._random().shared.get()

    # -- each on its own -----------------------------------------------------------------------------------------

    @boundary
    def Read_shared(self, buf: BufSpec, status: Status | None = None) -> None:
        """Read at the shared file pointer."""
        report(status, self._shared(buf, False)[1])

    @boundary
    def Write_shared(self, buf: BufSpec, status: Status | None = None) -> None:
        """Write at the shared file pointer."""
        report(status, self._shared(buf, True)[1])

    @boundary
    def Iread_shared(self, buf: BufSpec) -> Request:
        """Start reading at the shared file pointer."""
        return requested(*self._shared(buf, False))

    @boundary
    def Iwrite_shared(self, buf: BufSpec) -> Request:
        """Start writing at the shared file pointer."""
        return requested(*self._shared(buf, True))

    # -- in the order of ranks -----------------------------------------------------------------------------------

    @boundary
    def Read_ordered(self, buf: BufSpec, status: Status | None = None) -> None:
        """Read at the shared file pointer, each rank behind the one before."""
        report(status, self._ordered(buf, False)[1])

    @boundary
    def Write_ordered(self, buf: BufSpec, status: Status | None = None) -> None:
        """Write at the shared file pointer, each rank behind the one before."""
        report(status, self._ordered(buf, True)[1])
