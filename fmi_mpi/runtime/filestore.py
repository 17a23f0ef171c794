"""Where files are kept: the few operations that MPI-IO needs, and POSIX files as the first to offer them.

Rules of this file:
- A store reads and writes runs of bytes at offsets and knows nothing of views; it may be used by several threads.
- Locks cover a range of bytes and belong to the open file (open file description locks), so that two opens exclude
  each other in one process, too. They hold between processes of one host, and between hosts as far as the file system
  carries them (NFS 4 does).
- Failures of the system become MPIError with the class that says the most.
- Adding a kind of store: a module with ``open_store`` and ``delete``, and one line in ``_KINDS``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NoReturn, Protocol

from fmi_mpi import constants as c
from fmi_mpi.errors import MPIError

__all__ = ["FileStore", "PosixStore", "delete", "fail", "local_path", "lock", "open_store"]

_CLASSES: Final = {
    errno.ENOENT: c.ERR_NO_SUCH_FILE,
    errno.EEXIST: c.ERR_FILE_EXISTS,
    errno.EACCES: c.ERR_ACCESS,
    errno.EPERM: c.ERR_ACCESS,
    errno.EROFS: c.ERR_READ_ONLY,
    errno.EISDIR: c.ERR_BAD_FILE,
    errno.ENOTDIR: c.ERR_BAD_FILE,
    errno.ENAMETOOLONG: c.ERR_BAD_FILE,
    errno.ELOOP: c.ERR_BAD_FILE,
    errno.ENOSPC: c.ERR_NO_SPACE,
    errno.EDQUOT: c.ERR_QUOTA,
    errno.ETXTBSY: c.ERR_FILE_IN_USE,
    errno.EBUSY: c.ERR_FILE_IN_USE,
    errno.ESPIPE: c.ERR_UNSUPPORTED_OPERATION,
}
_UNLOCKABLE: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
_FLOCK: Final = "hhqqi4x"


def fail(error: OSError, doing: str) -> NoReturn:
    """Raise the MPIError for a failure of the system."""
    error_class = _CLASSES.get(error.errno or 0, c.ERR_IO)
    raise MPIError(error_class, f"{doing}: {error.strerror or error}") from None


class FileStore(Protocol):
    """An open file.

    Attributes:
        readable, writable: what it has been opened for.
        gap: so many bytes cost as much as a request: unwanted bytes up to it are transferred along.
    """

    readable: bool
    writable: bool
    gap: int

    def read(self, offset: int, into: memoryview) -> int:
        """Read at an offset until the memory is full or the file ends, and return the bytes read."""

    def write(self, offset: int, data: memoryview) -> None:
        """Write all data at an offset."""

    def size(self) -> int:
        """Return the size in bytes."""

    def resize(self, size: int) -> None:
        """Cut or extend the file."""

    def allocate(self, size: int) -> None:
        """Reserve storage for the first ``size`` bytes, and extend the file to them."""

    def sync(self) -> None:
        """Make what has been written permanent."""

    def locked(self, low: int, high: int, exclusive: bool) -> AbstractContextManager[bool]:
        """Keep others from a range of bytes as long as the context lasts; it is True if that can be done here."""

    def close(self) -> None:
        """Close the file."""


def lock(fd: int, kind: int, low: int = 0, high: int = 0) -> bool:
    """Lock a range of an open file (or unlock it: F_UNLCK), and return False where that is impossible."""
    request = struct.pack(_FLOCK, kind, os.SEEK_SET, low, high - low, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, request)
    except OSError as error:
        if error.errno in _UNLOCKABLE:
            return False
        raise
    return True


class PosixStore:
    """A file of the operating system (FileStore)."""

    gap = 4096

    def __init__(self, fd: int, path: bytes, readable: bool, writable: bool) -> None:
        self.readable = readable
        self.writable = writable
        self._fd = fd
        self._path = os.fsdecode(path)
        self._mutex = threading.RLock()

    def read(self, offset: int, into: memoryview) -> int:
        """Read at an offset until the memory is full or the file ends, and return the bytes read."""
        done, wanted = 0, len(into)
        try:
            while done < wanted:
                got = os.preadv(self._fd, [into[done:]], offset + done)
                if not got:
                    break
                done += got
        except OSError as error:
            fail(error, f"cannot read {wanted} bytes at offset {offset} of {self._path!r}")
        return done

    def write(self, offset: int, data: memoryview) -> None:
        """Write all data at an offset."""
        done, total = 0, len(data)
        try:
            while done < total:
                done += os.pwrite(self._fd, data[done:], offset + done)
        except OSError as error:
            fail(error, f"cannot write {total} bytes at offset {offset} of {self._path!r}")

    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self._fd).st_size

    def resize(self, size: int) -> None:
        """Cut or extend the file."""
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            fail(error, f"cannot set the size of {self._path!r} to {size}")

    def allocate(self, size: int) -> None:
        """Reserve storage for the first ``size`` bytes, and extend the file to them."""
        try:
            if size:
                os.posix_fallocate(self._fd, 0, size)
        except OSError as error:
            fail(error, f"cannot allocate {size} bytes for {self._path!r}")

    def sync(self) -> None:
        """Make what has been written permanent."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EROFS):  # a device that keeps nothing
                fail(error, f"cannot synchronise {self._path!r}")

    @contextmanager
    def locked(self, low: int, high: int, exclusive: bool) -> Iterator[bool]:
        """Keep others from a range of bytes as long as the context lasts; it is True if that can be done here."""
        with self._mutex:
            found = lock(self._fd, fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, low, high)
            try:
                yield found
            finally:
                if found:
                    lock(self._fd, fcntl.F_UNLCK, low, high)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _open_posix(path: bytes, amode: int) -> PosixStore:
    writable = not amode & c.MODE_RDONLY
    readable = not amode & c.MODE_WRONLY
    flags = os.O_CLOEXEC | (os.O_RDWR if readable and writable else os.O_WRONLY if writable else os.O_RDONLY)
    if amode & c.MODE_CREATE:
        flags |= os.O_CREAT | (os.O_EXCL if amode & c.MODE_EXCL else 0)
    try:
        return PosixStore(os.open(path, flags, 0o666), path, readable, writable)
    except OSError as error:
        fail(error, f"cannot open {os.fsdecode(path)!r}")


def _delete_posix(path: bytes) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        fail(error, f"cannot delete {os.fsdecode(path)!r}")


_Kind = tuple[Callable[[bytes, int], FileStore], Callable[[bytes], None]]
_POSIX: Final[_Kind] = (_open_posix, _delete_posix)
_KINDS: Final[dict[bytes, _Kind]] = {b"ufs": _POSIX, b"nfs": _POSIX, b"file": _POSIX}
"""kind of store, as a file name's prefix names it -> how to open and how to delete"""


def _kind(name: bytes) -> tuple[bytes, _Kind]:
    """Return a name without its prefix, and how to open and delete it."""
    prefix, colon, rest = name.partition(b":")
    if colon and prefix in _KINDS:
        return rest, _KINDS[prefix]
    return name, _POSIX


def open_store(name: bytes, amode: int) -> FileStore:
    """Open a file.

    Args:
        name: path, perhaps with the prefix of a kind of store (``ufs:``).
        amode: MODE_RDONLY, MODE_WRONLY or MODE_RDWR, and MODE_CREATE and MODE_EXCL.
    """
    path, (opener, _) = _kind(name)
    return opener(path, amode)


def delete(name: bytes) -> None:
    """Delete a file."""
    path, (_, remove) = _kind(name)
    remove(path)


def local_path(name: bytes) -> bytes:
    """Return a name without the prefix of its kind of store."""
    return _kind(name)[0]
