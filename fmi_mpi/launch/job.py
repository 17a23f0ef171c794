"""Running the ranks of one job as processes of this machine.

Rules of this file:
- One loop over one selector: output, input, control, signals and deadlines. Entries carry a callable.
- The first failure decides the exit code and is told in one line. The other ranks are told, then terminated, then
  killed; each stage has its time.
- Whatever happens, at the end no process, socket or directory of the job is left.
"""

from __future__ import annotations

import contextlib
import enum
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fmi_mpi.bootstrap import local, private
from fmi_mpi.bootstrap.wire import Message
from fmi_mpi.launch.control import Control
from fmi_mpi.launch.output import Feed, Lines, Merger, Outlet, Sink
from fmi_mpi.launch.part import Part
from fmi_mpi.launch.process import Rank, raise_descriptor_limit, start
from fmi_mpi.launch.share import Share
from fmi_mpi.launch.shim import make_shims

__all__ = ["CANNOT_START", "TIMED_OUT", "Job", "Options", "Program"]

TIMED_OUT: Final = 124
CANNOT_START: Final = 126
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE

_TOLD: Final = 0.3  # seconds between telling the ranks that the job ends, and SIGTERM
_TERMINATED: Final = 2.0  # seconds between SIGTERM and SIGKILL
_DUMPED: Final = 0.5  # seconds for the ranks to print their stacks after a timeout
_HANGUP: Final = 1.0  # seconds between a rank's connection and its process ending in order
_SILENCE: Final = 10.0  # seconds of waiting for other parts of the job before that is said
_LINGER: Final = 1.0  # seconds for output after all ranks have ended

_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_ENDING_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})


@dataclass(frozen=True)
class Program:
    """What ``size`` consecutive ranks run."""

    size: int
    command: Sequence[str]


@dataclass(frozen=True)
class Options:
    """What fmirun was asked for; see ``launch.options``. ``share``: of the job this is only a part (``launch.part``)."""

    programs: Sequence[Program]
    share: Share | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    prefix: bool = False
    timeout: float | None = None
    bind: bool = False
    recover: bool = False
    provide_mpirun: bool = False
    verbose: bool = False


class _Stage(enum.IntEnum):
    """How far the job's end has come."""

    RUNNING = 0
    TOLD = 1
    TERMINATED = 2
    KILLED = 3


class Job:
    """One run of a program, or several, on several ranks."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._size = sum(program.size for program in options.programs)
        self._selector = selectors.PollSelector()
        self._ranks: list[Rank] = []
        self._feed: Feed | None = None
        self._part: Part | None = None
        self._code = 0
        self._stage = _Stage.RUNNING
        self._next_stage = float("inf")
        self._deadline = float("inf")
        self._hangups: dict[int, float] = {}
        self._signalled: set[int] = set()
        self._leaving: set[int] = set()
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._directory = private.path_of(self._name)
        self._out = Sink(1, self._selector, self._on_broken_output)
        self._err = Sink(2, self._selector, self._on_broken_output)

    def run(self) -> int:
        """Start all ranks, wait for them, and return the job's exit code."""
        _open_standard_descriptors()
        private.sweep()
        private.create(self._directory)
        private.write(self._directory, "claim.launcher", private.process_key(os.getpid()))
        raise_descriptor_limit(self._size)
        path = os.path.join(self._directory, "control")
        share = self._options.share
        name, secret = (share.job or self._name, share.secret) if share else (self._name, os.urandom(32))
        if share is not None:
            sinks = self._out, self._err
            self._part = Part(share, name, self._size, self._options.recover, self._selector, self, sinks, self._prefix)
        ranks, upstream = (share.ranks, self._part.say) if share and self._part else ((), None)
        self._control = Control(path, name, secret, self._size, self._selector, self, ranks, upstream)
        identity = {
            local.CONTROL: path,
            local.JOB: name,
            local.SECRET: secret.hex(),
            local.SIZE: str(self._size),
        }
        if self._options.timeout is not None:
            self._deadline = time.monotonic() + self._options.timeout
        with self._signals():
            try:
                if self._part is None or self._enter(self._part):
                    self._start_all(identity | (self._part.identity() if self._part else {}))
                while any(rank.code is None for rank in self._ranks):
                    self._turn()
                self._linger()
            finally:
                self._clean_up()
        return self._code

    # -- starting and cleaning up --------------------------------------------------------------------------------

    def _enter(self, part: Part) -> bool:
        """Claim this part's ranks; False if that failed, and said why."""
        part.start()
        while self._stage == _Stage.RUNNING and not part.joined and not self._signalled:
            if part.rejected() or time.monotonic() >= min(part.deadline, self._deadline):
                self._fail(CANNOT_START, part.problem(), -1, final=True)
                break
            self._wait(min(part.deadline, self._deadline))
        if self._signalled:
            self._code = self._code or 128 + min(self._signalled)
        elif part.joined and (missing := part.invitation()):
            self._say(missing)
        return part.joined and not self._code

    def _start_all(self, identity: Mapping[str, str]) -> None:
        env = {"PYTHONUNBUFFERED": "1", **os.environ, **self._options.env, **identity}
        if self._options.timeout is not None:
            env.setdefault("FMI_STACKS", "1")
        if self._options.provide_mpirun:
            make_shims(self._directory)
            env["PATH"] = os.pathsep.join((self._directory, env.get("PATH", os.defpath)))
        commands = [program.command for program in self._options.programs for _ in range(program.size)]
        for number in self._options.share.ranks if self._options.share else range(self._size):
            command = commands[number]
            env[local.RANK] = str(number)
            try:
                self._start(number, command, env)
            except OSError as error:
                self._fail(
                    CANNOT_START, f"cannot start rank {number}, {command[0]}: {error.strerror or error}", -1, final=True
                )
                return

    def _start(self, number: int, command: Sequence[str], env: Mapping[str, str]) -> None:
        reader, writer = os.pipe() if number == 0 and _may_read_input() else (subprocess.DEVNULL, -1)
        try:
            rank, out, err = start(number, command, env, reader, self._options.bind)
        except OSError:
            if writer >= 0:
                os.close(writer)
            raise
        finally:
            if reader >= 0:
                os.close(reader)
        if writer >= 0:
            self._feed = Feed(0, writer, self._selector)
        forward = self._part.forward if self._part else None
        for stream, fd, sink in ((1, out, self._out), (2, err, self._err)):
            prefix = self._prefix(number)
            outlet: Outlet = sink
            if forward is not None:
                outlet, prefix = forward.outlet(number, stream, sink, prefix), b""
            lines = Lines(prefix) if prefix or self._size > 1 else None
            rank.mergers.append(Merger(fd, outlet, self._selector, lines))
        self._ranks.append(rank)
        self._explain(f"rank {number} is process {rank.pid}: {' '.join(command)}")

    def _prefix(self, number: int) -> bytes:
        """Return what stands before each line of a rank."""
        return b"[%d] " % number if self._options.prefix else b""

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals arrive as bytes in a pipe that the loop watches; what is ignored stays ignored."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        wanted = (*_FORWARDED, signal.SIGTSTP)
        before = {number: signal.getsignal(number) for number in wanted}
        before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        before[signal.SIGCHLD] = signal.getsignal(signal.SIGCHLD)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in before:
            signal.signal(number, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ, lambda: self._on_signals(reader))
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(reader)
            os.close(writer)

    def _linger(self) -> None:
        """All ranks have ended: take their last output, unless their children hold it open for long."""
        end = time.monotonic() + _LINGER
        for rank in self._ranks:
            rank.send(signal.SIGKILL)
        while any(not merger.ended for rank in self._ranks for merger in rank.mergers) and time.monotonic() < end:
            self._wait(end)
        if self._part is not None:
            self._wait_for_others(self._part)

    def _wait_for_others(self, part: Part) -> None:
        """See that output is delivered, or that of others arrives, and serve them."""
        for rank in self._ranks:
            for merger in rank.mergers:
                merger.drain()
        if part.forward is not None:
            part.forward.end()
        patience = time.monotonic() + _SILENCE
        while (now := time.monotonic()) < (until := part.until(bool(self._code or self._signalled))):
            if now >= self._deadline:
                self._on_timeout()
            elif now >= patience:
                patience = float("inf")
                self._say(f"waiting for {part.awaited() or 'others to leave the rendezvous service'}")
            self._wait(min(until, self._deadline, patience))

    def _clean_up(self) -> None:
        for rank in self._ranks:
            rank.reap()
        if self._feed is not None:
            self._feed.close()
        for rank in self._ranks:
            for merger in rank.mergers:
                merger.drain()
        if self._part is not None and (loss := self._part.give_up()):
            self._say(loss)
        self._out.flush()
        self._err.flush()
        if self._part is not None:
            self._part.close()
        self._control.close()
        private.remove(self._directory)

    # -- the loop ------------------------------------------------------------------------------------------------

    def _wait(self, until: float) -> None:
        if self._part is not None:
            until = min(until, self._part.due())
        timeout = None if until == float("inf") else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(timeout):
            now = self._selector.get_map().get(key.fd)
            if now is not None and now.data is key.data:  # an earlier callback may have closed it
                key.data()
        if self._part is not None:
            self._part.serve()

    def _turn(self) -> None:
        self._wait(min(self._deadline, self._next_stage, *self._hangups.values()))
        for rank in self._ranks:
            if rank.has_ended():
                self._on_exit(rank)
        now = time.monotonic()
        if now >= self._deadline:
            self._on_timeout()
        if now >= self._next_stage:
            self._end_harder()
        for number, end in list(self._hangups.items()):
            if now >= end:
                del self._hangups[number]
                self._fail(
                    1, f"rank {number} (process {self._control.pid(number)}) ended without finalizing MPI", number
                )

    def _on_exit(self, rank: Rank) -> None:
        number, code = rank.number, rank.code or 0
        self._control.settle(number)
        self._hangups.pop(number, None)
        self._explain(f"rank {number} ended: {_describe(code)}")
        if number == 0 and self._feed is not None:
            self._feed.close()
        if number in self._leaving:
            return
        if code:
            ending = -code in self._signalled or code - 128 in self._signalled
            self._fail(code if code > 0 else 128 - code, f"rank {number} {_describe(code)}", number, quiet=ending)
        elif self._size > 1 and self._control.has_joined(number) and not self._control.has_finalized(number):
            self._fail(1, f"rank {number} exited with code 0 but without finalizing MPI", number)

    def _on_signals(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(fd, 4096):
                if number == signal.SIGTSTP:
                    self._suspend()
                elif number in self._signalled and number in (signal.SIGINT, signal.SIGTERM):
                    self._code = self._code or 128 + number
                    self._kill()
                elif number != signal.SIGCHLD:
                    if number in _ENDING_SIGNALS:
                        self._signalled.add(number)
                    self._signal_all(number)

    def _suspend(self) -> None:
        """Ctrl-Z: stop with all ranks, and continue with them."""
        self._signal_all(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._signal_all(signal.SIGCONT)

    def _on_broken_output(self) -> None:
        """Nobody reads the job's output any more, as with ``fmirun ... | head``."""
        if self._stage == _Stage.RUNNING:
            self._code = self._code or _BROKEN_PIPE
            if self._part is not None:
                self._part.fail(-1, self._code, "the output is closed", True)
            self._tell_end("the output is closed", -1)

    # -- control (the Watcher of ``launch.control``) -------------------------------------------------------------

    def on_abort(self, rank: int, code: int, message: str) -> None:
        """A rank ends the job."""
        reason = f": {message}" if message else ""
        message = f"rank {rank} called MPI_Abort(MPI_COMM_WORLD, {code}){reason}"
        self._fail(code & 0xFF or int(code != 0), message, rank, final=True)

    def on_failure(self, rank: int, code: int) -> None:
        """A rank has shown an error and is on its way out: it may take its time, the others end now."""
        self._leaving.add(rank)
        code = code & 0xFF or 1
        self._fail(code, f"rank {rank} {_describe(code)}", rank)

    def on_hangup(self, rank: int) -> None:
        """A rank's connection has ended before it finalised; its process should end now, with the better reason."""
        if self._stage == _Stage.RUNNING and self._size > 1 and self._process(rank).code is None:
            self._hangups[rank] = time.monotonic() + _HANGUP

    # -- the rest of the job (the Listener of ``launch.part``) ---------------------------------------------------

    def on_message(self, message: Message) -> None:
        """The service has news for these ranks."""
        self._control.deliver(message)

    def on_end(self, rank: int, code: int, message: str) -> None:
        """The job ends because of another part of it, or this part has no place in it."""
        self._fail(code, message, rank, final=True, known=True)

    def _process(self, number: int) -> Rank:
        return next(rank for rank in self._ranks if rank.number == number)

    # -- ending --------------------------------------------------------------------------------------------------

    def _fail(
        self, code: int, message: str, rank: int, *, quiet: bool = False, final: bool = False, known: bool = False
    ) -> None:
        """A rank has failed (-1: it was not even started): say so, and end the others unless the job is to go on.

        Args:
            quiet: the user knows already, for it was his signal.
            final: the job cannot go on.
            known: the other parts of the job need not be told.
        """
        if self._stage != _Stage.RUNNING:
            return
        self._code = self._code or code
        if not quiet:
            self._say(message)
        if self._part is not None and not known:
            self._part.fail(rank, code, message, final)
        if self._options.recover and not final:
            self._control.tell({"type": "lost", "rank": rank, "message": message})
        else:
            self._tell_end(message, rank)

    def _tell_end(self, message: str, rank: int) -> None:
        self._control.tell({"type": "abort", "rank": rank, "code": self._code, "message": message})
        self._stage = _Stage.TOLD
        self._next_stage = time.monotonic() + _TOLD

    def _end_harder(self) -> None:
        if self._stage == _Stage.TOLD:
            self._signal_all(signal.SIGTERM, but=self._leaving)
            self._stage = _Stage.TERMINATED
            self._next_stage = time.monotonic() + _TERMINATED
        else:
            self._kill()

    def _kill(self) -> None:
        self._signal_all(signal.SIGKILL)
        self._stage = _Stage.KILLED
        self._next_stage = float("inf")

    def _on_timeout(self) -> None:
        """Time is up: the ranks that can print their stacks do, then all end."""
        self._deadline = float("inf")
        if self._stage != _Stage.RUNNING:
            return
        self._code = TIMED_OUT
        missing = ", ".join(map(str, self._control.missing()))
        absent = f"; rank {missing} has not joined" if missing else ""
        self._say(f"the job has not ended within {self._options.timeout:g} s (--timeout){absent}; stacks follow")
        for rank in self._ranks:
            if rank.code is None:
                rank.mergers[1].tag(b"[%d] " % rank.number)
                rank.dump_stacks(self._control.pid(rank.number))
        end = time.monotonic() + _DUMPED + 0.02 * self._size
        while time.monotonic() < end:
            self._wait(end)
        self._tell_end("the job has timed out", -1)

    def _signal_all(self, number: int, but: Collection[int] = ()) -> None:
        for rank in self._ranks:
            if rank.code is None and rank.number not in but:
                rank.send(number)

    # -- words ---------------------------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        self._err.write(f"fmirun: {message}\n".encode(errors="backslashreplace"))

    def _explain(self, message: str) -> None:
        if self._options.verbose:
            self._say(message)


def _open_standard_descriptors() -> None:
    """Where the launcher was started with one of them closed, see that no file of its own takes the place."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


def _may_read_input() -> bool:
    """Tell whether standard input may be read: a terminal only in the foreground, for else reading stops us."""
    try:
        os.fstat(0)
        return not os.isatty(0) or os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _describe(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed by signal {-code}"
