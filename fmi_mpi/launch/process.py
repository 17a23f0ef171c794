"""One rank as a process: started, watched, signalled, and gone with its children.

Rules of this file:
- A rank leads a process group of its own, so that the terminal's Ctrl-C reaches the launcher alone, which forwards
  it, and so that the rank's children end with it.
- An ended process is looked at without being reaped: until ``reap`` its number cannot go to somebody else, and
  its group can be signalled safely.
- The kernel kills the rank when the launcher dies (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fmi_mpi.launch.output import Merger

__all__ = ["Rank", "raise_descriptor_limit", "start"]

_PR_SET_PDEATHSIG: Final = 1
_TO_GROUP: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL,
                              signal.SIGSTOP, signal.SIGCONT})  # fmt: skip


class Rank:
    """A started process; ``mergers`` are its output streams, ``code`` its exit code or minus its signal."""

    def __init__(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self.number = number
        self.pid = process.pid
        self.mergers: list[Merger] = []
        self.code: int | None = None
        self._process = process

    def has_ended(self) -> bool:
        """Look whether the process has just ended; then ``code`` is set. True once."""
        if self.code is not None:
            return False
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return False
        self.code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        return True

    def send(self, number: int) -> None:
        """Send a signal, to the whole group if it asks to stop or end."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number in _TO_GROUP:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def dump_stacks(self, claimant: int) -> None:
        """Send SIGUSR1 to the rank, and to the process that claimed it, if they have a handler for it."""
        for pid in {self.pid, claimant} - {0}:
            if _catches(pid, signal.SIGUSR1):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGUSR1)

    def reap(self) -> None:
        """Kill whatever is left of the group and collect the process."""
        self.send(signal.SIGKILL)
        self._process.wait()


def start(number: int, command: Sequence[str], env: Mapping[str, str], stdin: int, bind: bool) -> tuple[Rank, int, int]:
    """Start a rank.

    Args:
        stdin: what ``subprocess`` takes as such.
        bind: to one core, by the rank's number.

    Returns the rank and the reading ends of its standard output and error. Raises OSError.
    """
    readers: list[int] = []
    writers: list[int] = []
    try:
        for _ in range(2):
            reader, writer = os.pipe()
            readers.append(reader)
            writers.append(writer)
        process = subprocess.Popen(
            command,
            env=env,
            stdin=stdin,
            stdout=writers[0],
            stderr=writers[1],
            process_group=0,
            preexec_fn=_preparation(number, bind),
        )
    except BaseException:
        for reader in readers:
            os.close(reader)
        raise
    finally:
        for writer in writers:
            os.close(writer)
    return Rank(number, process), readers[0], readers[1]


def raise_descriptor_limit(size: int) -> None:
    """Allow as many open files as the launcher of so many ranks needs, as far as the system lets us."""
    needed = 64 + 4 * size
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _preparation(number: int, bind: bool) -> Callable[[], None]:
    """Return what a rank's process does before it becomes the program."""
    libc = ctypes.CDLL(None)
    launcher = os.getpid()
    cores = sorted(os.sched_getaffinity(0))

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
        if bind:
            os.sched_setaffinity(0, {cores[number % len(cores)]})

    return prepare


def _catches(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
