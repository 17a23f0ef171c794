"""``MPI.File``, put together from chapters (MPI-4.1, chapter 14).

Rules of this file:
- What concerns the file as a whole is here: opening, closing, size, hints, view, consistency.
- Open and Delete have no file yet: their errors go to the error handler of FILE_NULL.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, AnyStr, Self

import fmi_mpi
from fmi_mpi.api.comm import Intracomm
from fmi_mpi.api.datatype import PREDEFINED, Datatype
from fmi_mpi.api.errhandler import policy
from fmi_mpi.api.file.core import agree, at_root, boundary, default, number
from fmi_mpi.api.file.datarep import Register_datarep, in_file, known
from fmi_mpi.api.file.opening import close_file, open_file
from fmi_mpi.api.file.split import Split
from fmi_mpi.api.group import Group
from fmi_mpi.api.info import INFO_NULL, Info, InfoImpl
from fmi_mpi.api.traits import Grouped, Hinted
from fmi_mpi.constants import (
    DISPLACEMENT_CURRENT,
    ERR_ARG,
    ERR_READ_ONLY,
    ERR_TYPE,
    MODE_RDONLY,
    MODE_SEQUENTIAL,
)
from fmi_mpi.data import constructors
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.fileview import View
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime import filestore
from fmi_mpi.runtime.file import OpenFile
from fmi_mpi.runtime.group import GroupImpl

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["FILE_NULL", "File", "Register_datarep"]

_BYTE = PREDEFINED["BYTE"]


def _name(filename: Any) -> bytes:
    name = os.fsencode(filename)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    return name


def _hints(info: Info) -> dict[str, str]:
    if not isinstance(info, Info):
        raise TypeError(f"expecting Info, got {type(info).__name__}")
    return dict(info.items())


class File(Hinted, Grouped, Split, family=True):
    """File I/O context."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, file: File | None = None) -> Self:
        return super().__new__(cls, file)

    # -- life ----------------------------------------------------------------------------------------------------

    @classmethod
    def Open(
        cls,
        comm: Intracomm,
        filename: PathLike[AnyStr] | str | bytes,
        amode: int = MODE_RDONLY,
        info: Info = INFO_NULL,
    ) -> Self:
        """Open a file; all processes of the communicator call it.

        Args:
            comm: whose processes share the file.
            filename: path, the same file for all.
            amode: MODE_RDONLY, MODE_WRONLY or MODE_RDWR, and further MODE constants.
            info: hints.
        """
        if not isinstance(comm, Intracomm):
            raise TypeError(f"expecting Intracomm, got {type(comm).__name__}")
        name, hints = _name(filename), _hints(info)
        try:
            file = open_file(comm._state(), name, number(amode))
        except MPIError as error:
            FILE_NULL._failed(error)
        file.errhandler = default.errhandler if fmi_mpi.rc.errors == "default" else policy()
        file.info = InfoImpl(hints)
        return cls._wrap(file)

    @boundary
    def Close(self) -> None:
        """Close the file; all processes that opened it call it."""
        file = self._state()
        close_file(file)
        self._handle = None

    def free(self) -> None:
        """Close the file if it is not null."""
        if self._handle is not None:
            self.Close()

    @classmethod
    def Delete(cls, filename: PathLike[AnyStr] | str | bytes, info: Info = INFO_NULL) -> None:
        """Delete a file.

        Args:
            filename: path.
            info: hints.
        """
        name, _ = _name(filename), _hints(info)
        try:
            filestore.delete(name)
        except MPIError as error:
            FILE_NULL._failed(error)

    # -- size ----------------------------------------------------------------------------------------------------

    @boundary
    def Set_size(self, size: int) -> None:
        """Cut or extend the file; all processes call it with the same size in bytes."""
        self._resize(self._random(), size, False)

    @boundary
    def Preallocate(self, size: int) -> None:
        """Reserve storage for the first bytes of the file; all processes call it with the same size in bytes."""
        self._resize(self._random(), size, True)

    def _resize(self, file: OpenFile, size: int, allocate: bool) -> None:
        failure, nbytes = None, number(size)
        if nbytes < 0:
            failure = MPIError(ERR_ARG, f"the size {nbytes} is negative")
        elif not file.store.writable:
            failure = MPIError(ERR_READ_ONLY, "the file has been opened with MODE_RDONLY")
        if len({row[0] for row in agree(file.comm, failure, nbytes)}) > 1:
            raise MPIError(ERR_ARG, f"the size {nbytes} is not the same on all ranks")
        at_root(file.comm, lambda: (file.store.allocate if allocate else file.store.resize)(nbytes))

    @boundary
    def Get_size(self) -> int:
        """Return the size in bytes."""
        return self._state().store.size()

    @property
    def size(self) -> int:
        """Size (in bytes)."""
        return self.Get_size()

    # -- what it is ----------------------------------------------------------------------------------------------

    @boundary
    def Get_amode(self) -> int:
        """Return the access mode."""
        return self._state().amode

    @property
    def amode(self) -> int:
        """Access mode."""
        return self.Get_amode()

    @boundary
    def Get_group(self) -> Group:
        """Return the group of the processes that share the file."""
        return Group._wrap(GroupImpl(self._state().comm.local))

    @boundary
    def Set_info(self, info: Info) -> None:
        """Set hints; all processes call it."""
        self._state().info.pairs.update(_hints(info))

    @boundary
    def Get_info(self) -> Info:
        """Return the hints."""
        return Info._wrap(InfoImpl(self._state().info.pairs))

    # -- view ----------------------------------------------------------------------------------------------------

    @boundary
    def Set_view(
        self,
        disp: int = 0,
        etype: Datatype = _BYTE,
        filetype: Datatype | None = None,
        datarep: str = "native",
        info: Info = INFO_NULL,
    ) -> None:
        """Set what this process sees of the file, and all file pointers to its start; all processes call it.

        Args:
            disp: bytes before the view, or DISPLACEMENT_CURRENT for a file of MODE_SEQUENTIAL.
            etype: unit of offsets and counts.
            filetype: pattern of what is seen; by default everything.
            datarep: "native", "internal", "external32" or a registered representation.
            info: hints.
        """
        types = _type_of(etype, "etype"), _type_of(etype if filetype is None else filetype, "filetype")
        hints = _hints(info)
        file = self._state()
        failure, view = None, file.view
        current = at_root(file.comm, file.shared.get) if file.amode & MODE_SEQUENTIAL else 0
        try:
            name = known(datarep)
            start = _displacement(file, number(disp), current)
            view = View(start, in_file(types[0], name), in_file(types[1], name), file.store.writable)
        except MPIError as error:
            failure = error
        rows = agree(file.comm, failure, view.etype.extent)
        if any(row[0] != view.etype.extent for row in rows):
            raise MPIError(ERR_ARG, "the etype does not have the same extent on all ranks")
        file.look(view, *types, name)
        file.info.pairs.update(hints)
        file.shared.reset(file.comm.rank == 0)
        agree(file.comm, None)

    @boundary
    def Get_view(self) -> tuple[int, Datatype, Datatype, str]:
        """Return displacement, etype, filetype and data representation."""
        file = self._state()
        return file.view.disp, _given(file.etype), _given(file.filetype), file.datarep

    @boundary
    def Get_type_extent(self, datatype: Datatype) -> int:
        """Return the extent of a datatype in the file's data representation."""
        file = self._state()
        return in_file(_type_of(datatype, "datatype"), file.datarep).extent

    # -- consistency ---------------------------------------------------------------------------------------------

    @boundary
    def Set_atomicity(self, flag: bool) -> None:
        """Set whether accesses that overlap are atomic; all processes call it."""
        file = self._state()
        agree(file.comm, None)
        file.atomic = bool(flag)
        agree(file.comm, None)

    @boundary
    def Get_atomicity(self) -> bool:
        """Tell whether accesses that overlap are atomic."""
        return self._state().atomic

    @property
    def atomicity(self) -> bool:
        """Atomicity mode."""
        return self.Get_atomicity()

    @atomicity.setter
    def atomicity(self, value: bool) -> None:
        self.Set_atomicity(value)

    @boundary
    def Sync(self) -> None:
        """Make what has been written permanent and see what others have; all processes call it."""
        file = self._state()
        failure = None
        try:
            if not file.store.writable:
                raise MPIError(ERR_READ_ONLY, "the file has been opened with MODE_RDONLY")
            file.store.sync()
        except MPIError as error:
            failure = error
        agree(file.comm, failure)


def _type_of(datatype: Datatype, name: str) -> Type:
    if not isinstance(datatype, Datatype):
        raise TypeError(f"expecting Datatype, got {type(datatype).__name__}")
    state: Type | None = datatype._handle
    if state is None:
        raise MPIError(ERR_TYPE, f"the {name} is null")
    return state


def _given(kind: Type) -> Datatype:
    """Return a type of a view: a predefined one itself, of others a copy that the caller may free."""
    from fmi_mpi.api.datatype import _known

    return _known(kind) if kind.named else Datatype._wrap(constructors.dup(kind))


def _displacement(file: OpenFile, disp: int, current: int) -> int:
    """Return where a view begins; ``current`` is the shared pointer of a sequential file."""
    sequential = bool(file.amode & MODE_SEQUENTIAL)
    if sequential != (disp == DISPLACEMENT_CURRENT):
        raise MPIError(ERR_ARG, "DISPLACEMENT_CURRENT goes with MODE_SEQUENTIAL, other displacements without it")
    return file.view.byte_offset(current * file.view.etype_size) if sequential else disp


FILE_NULL = File()
