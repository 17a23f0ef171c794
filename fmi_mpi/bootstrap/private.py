"""Private directories under the temporary directory, one per job and host, and who lives in them.

Rules of this file:
- A directory has mode 0700 and our owner, or it is not used.
- Everybody who uses a directory leaves a ``claim.*`` file that names a process for good: number, start time and
  name space. A directory none of whose claimants lives is left over from a killed job; the next job sweeps it away.
- Changes are made under ``flock`` on the directory itself, which ends with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from typing import Final

from fmi_mpi.errors import BootstrapError

__all__ = ["alive", "create", "locked", "path_of", "process_key", "read", "remove", "sweep", "write"]

_ABANDONED: Final = 60.0
"""Seconds after which a directory without any claim counts as left over."""


def path_of(name: str) -> str:
    """Return where this user's directory ``name`` is."""
    return os.path.join(tempfile.gettempdir(), f"{_prefix()}{name}")


def _prefix() -> str:
    return f"fmi-mpi-{os.getuid()}-"


def create(path: str) -> None:
    """Make the directory unless it is there; raises BootstrapError if it is not ours alone."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise BootstrapError(f"{path} is not a private directory of this user; remove it and start again")


@contextlib.contextmanager
def locked(path: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the directory's lock; gives False if it is gone, or, without ``wait``, held by somebody else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = os.fstat(descriptor).st_ino == os.lstat(path).st_ino
        except (BlockingIOError, FileNotFoundError):
            held = False
        yield held
    finally:
        os.close(descriptor)


def read(directory: str, name: str) -> str:
    """Return a file's text, empty if there is no such file."""
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(directory: str, name: str, text: str) -> None:
    """Write a file so that readers see all of it or nothing."""
    path = os.path.join(directory, name)
    with open(f"{path}.{os.getpid()}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(file.name, path)


def remove(path: str) -> None:
    """Remove the directory, whose lock the caller holds: first its name, at once, then what is in it."""
    grave = f"{path}.{os.getpid()}.removed"
    with contextlib.suppress(OSError):
        os.rename(path, grave)
        shutil.rmtree(grave, ignore_errors=True)


def process_key(pid: int) -> str:
    """Return a text that names a process on this host and no later one with the same number; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else f"{pid} {fields[19]} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def alive(key: str) -> bool:
    """Tell whether the process that ``process_key`` named still runs; one of another name space counts as alive."""
    number, _, rest = key.partition(" ")
    if rest.rpartition(" ")[2] != os.readlink("/proc/self/ns/pid"):
        return True
    return process_key(int(number)) == key


def sweep() -> None:
    """Remove this user's directories that killed jobs have left."""
    prefix = _prefix()
    with os.scandir(tempfile.gettempdir()) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for path in found:
        with contextlib.suppress(OSError, ValueError), locked(path, wait=False) as held:
            if held and os.lstat(path).st_uid == os.getuid() and _left_over(path):
                remove(path)


def _left_over(path: str) -> bool:
    claims = [name for name in os.listdir(path) if name.startswith("claim.") and not name.endswith(".new")]
    if not claims:
        return time.time() - os.lstat(path).st_mtime > _ABANDONED
    return not any(alive(key) for key in (read(path, name) for name in claims) if key)
