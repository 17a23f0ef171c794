"""Doorbells: how a process that sleeps is woken, and how the death of a peer is noticed.

Rules of this file:
- A doorbell is a pipe. The owner reads; peers open the writing end as ``/proc/<pid>/fd/<n>``, which the kernel
  allows to the same user only.
- A writing end whose reader is gone, or a process descriptor (pidfd) that has become readable, tells of the owner's
  end. Both are watched: a forked child may keep the pipe open, and a channel may close before its process ends.
"""

from __future__ import annotations

import os
import select
import stat

from fmi_mpi.channels.base import ChannelError

__all__ = ["Bell", "Doorbell", "Silence"]


class Doorbell:
    """One's own doorbell; ``epoll`` also watches the peers' ends."""

    __slots__ = ("_ends", "_read", "epoll", "inode", "write")

    def __init__(self) -> None:
        self._read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.inode = os.fstat(self.write).st_ino
        self.epoll = select.epoll()
        self.epoll.register(self._read, select.EPOLLIN)
        self._ends: dict[int, int] = {}

    def watch(self, peer: int, bell: Bell) -> None:
        """Tell of this peer's end from now on."""
        for fd, mask in ((bell.write, 0), (bell.process, select.EPOLLIN)):
            if fd >= 0:
                self._ends[fd] = peer
                self.epoll.register(fd, mask)

    def forget(self, bell: Bell) -> None:
        """Stop watching a peer and close its bell."""
        for fd in (bell.write, bell.process):
            if fd >= 0:
                del self._ends[fd]
                self.epoll.unregister(fd)
        bell.close()

    def ring(self) -> None:
        """Wake a thread of this process that sleeps."""
        try:
            os.write(self.write, b"!")
        except BlockingIOError:
            pass

    def look(self, silence: bool) -> set[int]:
        """Return the peers that have ended; silence the bell unless a thread still has to hear it."""
        ended = set()
        for fd, _ in self.epoll.poll(0):
            if fd == self._read:
                if silence:
                    os.read(fd, 4096)
            elif fd in self._ends:
                ended.add(self._ends[fd])
        return ended

    def close(self) -> None:
        """Release everything but the peers' bells."""
        self.epoll.close()
        os.close(self._read)
        os.close(self.write)


class Bell:
    """A peer's doorbell.

    Args:
        pid: the peer's process. fd: its descriptor of the writing end. inode: to recognise the pipe by.

    Raises ChannelError if that process has no such pipe.
    """

    __slots__ = ("pid", "process", "write")

    def __init__(self, pid: int, fd: int, inode: int) -> None:
        self.pid = pid
        self.process = -1
        try:
            self.write = os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise ChannelError(f"shm: cannot open the doorbell of pid {pid}: {error.strerror}") from error
        found = os.fstat(self.write)
        if not stat.S_ISFIFO(found.st_mode) or found.st_ino != inode:
            os.close(self.write)
            raise ChannelError(f"shm: pid {pid} has no such doorbell")
        try:
            self.process = os.pidfd_open(pid)
        except (OSError, AttributeError):
            pass  # an old kernel; the pipe tells of all but processes with surviving children

    def ring(self) -> None:
        """Wake the owner; its end is found by whoever watches the bell."""
        try:
            os.write(self.write, b"!")
        except (BlockingIOError, BrokenPipeError):
            pass

    def close(self) -> None:
        os.close(self.write)
        if self.process >= 0:
            os.close(self.process)


class Silence(Bell):
    """The bell of a process that has ended."""

    __slots__ = ()

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.write = self.process = -1

    def ring(self) -> None:
        """Wake nobody."""

    def close(self) -> None:
        """There is nothing to close."""
