"""An open file: a store seen through a view.

Rules of this file:
- Offsets and pointers count etypes; what is read and written are messages (``data.message``).
- Runs that are close together are transferred at once: reading takes the gaps along, writing reads them, changes the
  runs and writes all back. So that nobody's bytes in the gaps get lost, every write locks the range that it covers.
- In atomic mode an access locks all that it spans, and so do reads.
- A read ends at the end of the file; memory behind what was read stays as it is.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from fmi_mpi import constants as c
from fmi_mpi.data import external32
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.fileview import View, Window, windows
from fmi_mpi.data.message import Message
from fmi_mpi.data.typemap import Scatter, coalesced, move, simplest
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmi_mpi.runtime.communicator import Communicator
    from fmi_mpi.runtime.filepointer import SharedPointer
    from fmi_mpi.runtime.filestore import FileStore

__all__ = ["OpenFile"]


class OpenFile:
    """The state of a file handle.

    Args:
        comm: communicator of the file's own. store, name, amode: what was opened, and how.
        view: byte by byte from the start. shared: the shared pointer.
    """

    def __init__(
        self, comm: Communicator, store: FileStore, name: bytes, amode: int, view: View, shared: SharedPointer
    ) -> None:
        self.comm = comm
        self.store = store
        self.name = name
        self.amode = amode
        self.shared = shared
        self.position = 0
        """Individual file pointer, in etypes."""
        self.mutex = threading.RLock()
        """Held while the individual file pointer is used."""
        self.atomic = False
        self.errhandler: Any = None
        self.info: Any = None
        self.split: tuple[str, int] | None = None
        """(kind, bytes) of the split collective that has begun."""
        self.look(view, view.etype, view.filetype, "native")

    def look(self, view: View, etype: Type, filetype: Type, datarep: str) -> None:
        """Change the view.

        Args:
            view: of the types as they are in the file.
            etype, filetype: as they were given. datarep: name of the data representation.
        """
        self.view = view
        self.etype = etype
        self.filetype = filetype
        self.datarep = datarep
        self.position = 0

    # -- whole messages ------------------------------------------------------------------------------------------

    def etypes(self, message: Message, write: bool) -> int:
        """Return how many etypes a message is; raises MPIError if it may not be read or written here."""
        if write and not self.store.writable:
            raise MPIError(c.ERR_READ_ONLY, "the file has been opened with MODE_RDONLY")
        if not write and not self.store.readable:
            raise MPIError(c.ERR_ACCESS, "the file has been opened with MODE_WRONLY")
        if not message.nbytes:
            return 0
        number, rest = divmod(self._file_bytes(message), self.view.etype_size)
        if rest:
            raise MPIError(c.ERR_IO, f"{message.nbytes} bytes of data are no multiple of the view's etype")
        return number

    def _file_bytes(self, message: Message) -> int:
        """Return the bytes that a message takes in the file."""
        if self.datarep == "external32":
            return external32.external_size(message.datatype, message.count)
        return message.nbytes

    def read(self, offset: int, message: Message) -> int:
        """Read a message at an offset of the view, and return the bytes of it that there were."""
        if not message.nbytes:
            return 0
        start = offset * self.view.etype_size
        sink, finish = message.sink()
        if self.datarep == "external32":
            data = memoryview(bytearray(self._file_bytes(message)))
            got = _native_bytes(message.datatype, self._read(start, data))
            sink[:got] = external32.from_external(message.datatype, data, message.count)[:got]
        else:
            got = self._read(start, sink)
        if finish is not None:
            finish(got)
        return got

    def write(self, offset: int, message: Message) -> int:
        """Write a message at an offset of the view, and return its bytes."""
        if message.nbytes:
            data = message.payload()
            if self.datarep == "external32":
                data = memoryview(external32.to_external(message.datatype, data))
            self._write(offset * self.view.etype_size, data)
        return message.nbytes

    # -- bytes of the view ---------------------------------------------------------------------------------------

    def _read(self, start: int, into: memoryview) -> int:
        done = 0
        with self._atomically(start, len(into), False):
            if self.view.dense:
                return self.store.read(self.view.disp + start, into)
            for chunk in self.view.extents(start, len(into)):
                for window in windows(chunk, self.store.gap):
                    piece = _piece(chunk, window, into)
                    got = self._read_window(chunk, window, piece)
                    done += got
                    if got < len(piece):
                        return done
        return done

    def _read_window(self, chunk: Scatter, window: Window, piece: memoryview) -> int:
        if window.last - window.first == 1:
            return self.store.read(window.low, piece)
        buffer = np.empty(window.high - window.low, np.uint8).data
        length = self.store.read(window.low, buffer)
        here = _within(chunk, window)
        if length < len(buffer):
            here = coalesced(Scatter(here.offsets, here.positions, np.clip(length - here.offsets, 0, here.lengths)))
        move(simplest(here), 1, 0, 0, buffer, 0, piece, True)
        return int(here.lengths.sum())

    def _write(self, start: int, data: memoryview) -> None:
        if not self.view.size:
            raise MPIError(c.ERR_IO, f"{len(data)} bytes cannot be written: the view has no data")
        with self._atomically(start, len(data), True):
            for chunk in self.view.extents(start, len(data)):
                for window in windows(chunk, self.store.gap if self.store.readable else 0):
                    self._write_window(chunk, window, _piece(chunk, window, data))

    def _write_window(self, chunk: Scatter, window: Window, piece: memoryview) -> None:
        low, high = window.low, window.high
        here = _within(chunk, window)
        locked: AbstractContextManager[bool] = nullcontext(True) if self.atomic else self.store.locked(low, high, True)
        with locked as alone:
            if len(here.lengths) == 1:
                self.store.write(low, piece)
            elif alone:
                buffer = np.zeros(high - low, np.uint8).data
                self.store.read(low, buffer)
                move(simplest(here), 1, 0, 0, buffer, 0, piece, False)
                self.store.write(low, buffer)
            else:
                for offset, position, length in zip(*(column.tolist() for column in here)):
                    self.store.write(low + offset, piece[position : position + length])

    @contextmanager
    def _atomically(self, start: int, nbytes: int, write: bool) -> Iterator[None]:
        """In atomic mode, keep others from the file between the ends of an access."""
        if not self.atomic:
            yield
            return
        low, high = self.view.span(start, nbytes)
        with self.store.locked(low, high, write) as alone:
            if not alone:
                raise MPIError(c.ERR_UNSUPPORTED_OPERATION, "atomic mode needs a file system that supports locks")
            yield


def _piece(chunk: Scatter, window: Window, data: memoryview) -> memoryview:
    """Return the data of a window's runs."""
    last = window.last - 1
    return data[int(chunk.positions[window.first]) : int(chunk.positions[last] + chunk.lengths[last])]


def _within(chunk: Scatter, window: Window) -> Scatter:
    """Return a window's runs, relative to its start in the file and in the data."""
    offsets, positions, lengths = (column[window.first : window.last] for column in chunk)
    return Scatter(offsets - window.low, positions - positions[0], lengths)


def _native_bytes(datatype: Type, nbytes: int) -> int:
    """Return the bytes in memory of as many whole elements as there are in bytes of external32."""
    unit = datatype.basic or datatype
    return nbytes // external32.external_size(unit, 1) * unit.size
