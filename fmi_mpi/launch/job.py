"""Running the ranks of one job as processes of this machine.

Rules of this file:
- One loop over one selector: output, control, signals, deaths and deadlines.
- The first failure decides the exit code; the other ranks are told, then terminated, then killed.
- Each rank is a process group of its own and dies with the launcher (PR_SET_PDEATHSIG).
- Whatever happens, the private directory is gone at the end and no process is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from fmi_mpi.launch.control import Control
from fmi_mpi.launch.output import Merger

__all__ = ["TIMED_OUT", "Job", "Options"]

TIMED_OUT = 124
_GRACE = 1.0  # seconds between telling, terminating and killing
_DUMP_TIME = 1.0  # seconds for ranks to print their stacks after a timeout
_PR_SET_PDEATHSIG = 1
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class Options:
    """What fmirun was asked for; see ``launch.cli``."""

    size: int
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    prefix: bool = False
    timeout: float | None = None
    bind_to: str = "none"
    verbose: bool = False


class _Rank:
    """One process of the job."""

    def __init__(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self.number = number
        self.process = process
        self.mergers: list[Merger] = []
        self.code: int | None = None


class Job:
    """One run of a program on several ranks."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._selector = selectors.DefaultSelector()
        self._ranks: list[_Rank] = []
        self._code = 0
        self._ending = 0.0  # when the next stage of ending begins
        self._stage = 0
        self._interrupts = 0
        self._directory = ""
        self._deadline = float("inf")
        self._by_pid: dict[int, _Rank] = {}

    def run(self) -> int:
        """Start all ranks, wait for them, and return the job's exit code."""
        self._directory = tempfile.mkdtemp(prefix="fmi-")
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        before = {number: signal.getsignal(number) for number in (*_FORWARDED, signal.SIGCHLD)}
        signal.set_wakeup_fd(wake_write)
        for number in before:
            signal.signal(number, lambda *_: None)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda mask: self._on_signals(wake_read))
        job, secret = f"{os.getpid()}-{os.urandom(4).hex()}", os.urandom(32)
        path = os.path.join(self._directory, "control")
        self._control = Control(path, job, secret, self._options.size, self._selector, self._on_abort)
        if self._options.timeout is not None:
            self._deadline = time.monotonic() + self._options.timeout
        try:
            identity = {
                "FMI_JOB_CONTROL": path,
                "FMI_JOB_ID": job,
                "FMI_JOB_SECRET": secret.hex(),
                "FMI_JOB_SIZE": str(self._options.size),
            }
            for number in range(self._options.size):
                self._start(number, identity)
            while any(rank.code is None or rank.mergers for rank in self._ranks):
                self._turn()
            return self._code
        finally:
            self._kill_all()
            self._control.close()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(wake_read)
            os.close(wake_write)
            self._selector.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    # -- starting ----------------------------------------------------------------------------------------------------

    def _start(self, number: int, identity: Mapping[str, str]) -> None:
        options = self._options
        env = {**os.environ, **identity, "FMI_JOB_RANK": str(number), "PYTHONUNBUFFERED": "1", **options.env}
        process = subprocess.Popen(
            options.command,
            stdin=None if number == 0 else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=number != 0 or not _foreground(),
            preexec_fn=_preparation(number, options.bind_to),
        )
        rank = _Rank(number, process)
        self._ranks.append(rank)
        self._by_pid[process.pid] = rank
        prefix = f"[{number}] ".encode() if options.prefix else b""
        for pipe, target in ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            merger = Merger(pipe.fileno(), target, prefix)
            rank.mergers.append(merger)
            self._selector.register(pipe, selectors.EVENT_READ, self._reader(rank, merger, pipe))
        if options.verbose:
            self._say(f"rank {number} is process {process.pid}")

    def _reader(self, rank: _Rank, merger: Merger, pipe: IO[bytes]) -> Callable[[int], None]:
        def read(mask: int) -> None:
            if not merger.read():
                self._selector.unregister(pipe)
                pipe.close()
                rank.mergers.remove(merger)

        return read

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        next_time = min(self._deadline, self._ending or float("inf"))
        for key, mask in self._selector.select(min(max(next_time - now, 0.0), 1.0)):
            key.data(mask)
        self._reap()
        now = time.monotonic()
        if now >= self._deadline and not self._stage:
            self._on_timeout()
        if self._ending and now >= self._ending:
            self._end_harder(now)

    def _reap(self) -> None:
        for rank in self._ranks:
            if rank.code is None:
                code = rank.process.poll()
                if code is not None:
                    rank.code = code
                    self._on_exit(rank, code)
        if self._stage and all(rank.code is not None for rank in self._ranks):
            self._abandon_pipes()

    def _abandon_pipes(self) -> None:
        """After a failure, do not wait for grandchildren that hold a rank's output open."""
        for rank in self._ranks:
            for merger in rank.mergers:
                merger.drain()
            rank.mergers.clear()

    def _on_exit(self, rank: _Rank, code: int) -> None:
        wrong = self._control.exited(rank.number)
        if self._stage:
            return
        if code < 0:
            self._fail(128 - code, f"rank {rank.number} was killed by {_signal_name(-code)}")
        elif code > 0:
            self._fail(code, f"rank {rank.number} exited with code {code}")
        elif wrong:
            self._fail(1, wrong)

    def _on_abort(self, rank: int, code: int, message: str) -> None:
        if not self._stage:
            self._fail(code & 0xFF or (1 if code else 0), message)

    def _on_timeout(self) -> None:
        self._say(f"the job has not ended within {self._options.timeout:g} s; stacks of all ranks follow")
        self._signal_all(signal.SIGUSR1)
        self._code = TIMED_OUT
        self._stage = 1
        self._ending = time.monotonic() + _DUMP_TIME

    def _on_signals(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(fd, 4096):
                if number == signal.SIGCHLD:
                    continue
                if number in (signal.SIGINT, signal.SIGTERM):
                    self._interrupts += 1
                    if self._interrupts > 1:
                        self._kill_all()
                        continue
                    self._code = self._code or 128 + number
                    self._stage = 1
                    self._ending = time.monotonic() + 5 * _GRACE
                self._signal_all(number)

    # -- ending ------------------------------------------------------------------------------------------------------

    def _fail(self, code: int, message: str) -> None:
        """The job has failed: end the other ranks, starting with a word."""
        self._code = self._code or code
        others = [rank for rank in self._ranks if rank.code is None]
        if self._options.size > 1 and others:
            self._say(f"{message}; ending the other {len(others)}" if code else message)
        else:
            self._say(message)
        self._control.tell({"type": "abort", "rank": -1, "code": code, "message": message})
        self._stage = 1
        self._ending = time.monotonic() + _GRACE / 4

    def _end_harder(self, now: float) -> None:
        self._stage += 1
        if self._stage == 2:
            self._signal_all(signal.SIGTERM)
            self._ending = now + _GRACE
        else:
            self._kill_all()
            self._ending = 0.0

    def _signal_all(self, number: int) -> None:
        for rank in self._ranks:
            if rank.code is None:
                with contextlib.suppress(ProcessLookupError):
                    rank.process.send_signal(number)

    def _kill_all(self) -> None:
        for rank in self._ranks:
            if rank.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if os.getpgid(rank.process.pid) == rank.process.pid:
                        os.killpg(rank.process.pid, signal.SIGKILL)
                    else:
                        rank.process.kill()

    def _say(self, message: str) -> None:
        sys.stderr.write(f"fmirun: {message}\n")
        sys.stderr.flush()


def _foreground() -> bool:
    """Rank 0 may read the terminal: it stays in the launcher's session then."""
    return sys.stdin is not None and sys.stdin.isatty()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _preparation(number: int, bind_to: str) -> Callable[[], None]:
    """Return what a rank's process does before it becomes the program."""
    libc = ctypes.CDLL(None)
    cores = sorted(os.sched_getaffinity(0))

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if bind_to == "core":
            os.sched_setaffinity(0, {cores[number % len(cores)]})

    return prepare
