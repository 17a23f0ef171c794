"""Memory that the processes of a host share: no name in any file system, gone with its last mapping.

Rules of this file:
- One process makes it; the others open it as ``/proc/<pid>/fd/<n>``, which the kernel allows to the same user only, and
  recognise it by its inode.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

__all__ = ["Segment", "cut"]


class Segment:
    """Shared memory as its maker has it; ``close`` when all have mapped it.

    Args:
        nbytes: its size. Raises OSError where the system has none.
    """

    def __init__(self, nbytes: int) -> None:
        self.fd = os.memfd_create("fmi-window", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, max(nbytes, 1))
        self.pid = os.getpid()
        self.inode = os.fstat(self.fd).st_ino
        self.memory = memoryview(mmap.mmap(self.fd, max(nbytes, 1)))[:nbytes]

    def close(self) -> None:
        """Let nobody else map it; mappings stay."""
        os.close(self.fd)

    @staticmethod
    def map(pid: int, fd: int, inode: int, nbytes: int) -> memoryview:
        """Return the memory that process ``pid`` has as ``fd``; raises OSError if it is not the one with this inode."""
        own = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            if os.fstat(own).st_ino != inode:
                raise OSError(f"process {pid} has no such shared memory")
            return memoryview(mmap.mmap(own, max(nbytes, 1)))[:nbytes]
        finally:
            os.close(own)


def cut(sizes: Sequence[int], alignment: int) -> tuple[list[int], int]:
    """Return where parts of these sizes begin, each at a multiple of ``alignment``, and the size of all."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += size + -size % alignment
    return starts, end
