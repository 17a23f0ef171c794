"""The file pointer that all processes of an open file share (MPI-4.1, 14.4.4).

Rules of this file:
- No process serves the pointer: it lives in a small side file, and whoever needs it locks that file. A rank that
  computes outside of MPI holds nobody up, and a rank that dies takes its lock with it.
- The side file is made by its first user; as long as there is none, the pointer has its initial value.
- On one host the side file is in the directory for temporary files. Ranks on several hosts find it beside the file
  itself: a shared pointer then needs a file system that all of them share and that carries locks between them, as
  NFS 4 (EFS) does. Where there are no locks the call fails, it never guesses.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fmi_mpi.constants import ERR_UNSUPPORTED_OPERATION
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.filestore import fail, lock

__all__ = ["SharedPointer"]

_BYTES = 8


class SharedPointer:
    """A counter in a file.

    Args:
        path: of the side file, the same on all ranks.
        initial: value as long as nobody has changed it.
    """

    def __init__(self, path: bytes, initial: int) -> None:
        self._path = path
        self._initial = initial
        self._fd = -1
        self._mutex = threading.Lock()

    def get(self) -> int:
        """Return the value."""
        with self._held() as fd:
            return self._read(fd)

    def set(self, value: int) -> None:
        """Set the value."""
        with self._held() as fd:
            self._write(fd, value)

    def add(self, number: int) -> int:
        """Add to the value, and return what it was before."""
        with self._held() as fd:
            value = self._read(fd)
            self._write(fd, value + number)
            return value

    def reset(self, leader: bool) -> None:
        """Begin again at 0; all ranks call it while none uses the pointer, and one of them is the leader."""
        self._initial = 0
        if leader and os.path.exists(self._path):
            self.set(0)

    def close(self, leader: bool) -> None:
        """Forget the pointer; all ranks call it when none uses it any more, and one of them is the leader."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if leader:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass

    def _read(self, fd: int) -> int:
        data = os.pread(fd, _BYTES, 0)
        return int.from_bytes(data, "little") if len(data) == _BYTES else self._initial

    def _write(self, fd: int, value: int) -> None:
        os.pwrite(fd, value.to_bytes(_BYTES, "little"), 0)

    @contextmanager
    def _held(self) -> Iterator[int]:
        """Yield the side file's descriptor while it is locked."""
        with self._mutex:
            try:
                if self._fd < 0:
                    self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                locked = lock(self._fd, fcntl.F_WRLCK)
            except OSError as error:
                fail(error, f"no shared file pointer: cannot open {os.fsdecode(self._path)!r}")
            if not locked:
                where = os.fsdecode(os.path.dirname(self._path))
                raise MPIError(ERR_UNSUPPORTED_OPERATION, f"no shared file pointer: {where!r} does not support locks")
            try:
                yield self._fd
            finally:
                lock(self._fd, fcntl.F_UNLCK)
