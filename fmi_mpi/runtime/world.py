"""The process as a member of its job: joining, the world's communicators, leaving.

Rules of this file:
- Joining at import only claims the rank and publishes addresses; nobody waits for anybody.
- A peer that a channel has lost is suspected only: the job's control, which may end the job or knows better why, is
  waited for before anybody's call fails.
- Leaving waits until all ranks leave, so that no message in flight is lost, unless this rank fails: then its exit
  code tells the launcher, which ends the others.
"""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from operator import or_
from typing import TYPE_CHECKING, cast

from fmi_mpi.bootstrap.base import Bootstrap, Event, Record
from fmi_mpi.channels.base import Channel, Publisher, Signalled, Storing
from fmi_mpi.channels.registry import Membership, create
from fmi_mpi.coll.barrier.dissemination import dissemination
from fmi_mpi.config import Settings
from fmi_mpi.constants import ERR_OTHER
from fmi_mpi.engine.engine import Engine
from fmi_mpi.engine.extension import RawHeader
from fmi_mpi.engine.frames import ROUTE
from fmi_mpi.engine.onesided import OneSided
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.background import Background
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.meeting import meet
from fmi_mpi.runtime.placement import Spreader
from fmi_mpi.runtime.progress import Progress
from fmi_mpi.runtime.router import HOST, Best, Router

if TYPE_CHECKING:
    from fmi_mpi.runtime.policy import Hints

__all__ = ["World"]

_CONTEXT_BITS = 2
_COUNTER_BITS = 36
_WORLD_CONTEXT = 0
_FINAL_CONTEXT = 1 << _CONTEXT_BITS
_YIELDS = 8  # to other ranks of the host, before other channels are polled again
_TYPICAL = 1 << 10  # bytes of a message
_LAST = 5.0  # seconds for the last words: who has left does not take them, and may not have been heard leaving
_VERDICT = 1.0  # seconds to wait for the control's word on a peer that a channel has lost


@dataclass(slots=True)
class _Reception:
    """The channels' receiver: the engine, except for losses."""

    frame: Callable[[int, RawHeader, memoryview], None]
    begin: Callable[[int, RawHeader], tuple[memoryview, object]]
    end: Callable[[int, object], None]
    sent: Callable[[object], None]
    lost: Callable[[int, str], None]


class World:
    """This process's membership in its job.

    Args:
        bootstrap: where to join; by default what the environment says.
        settings: by default those of the environment.
    """

    def __init__(self, bootstrap: Bootstrap | None = None, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.bootstrap = bootstrap or meet(os.environ)
        identity = self.bootstrap.identity
        self.proc = identity.rank
        self.size = identity.size
        self.finalized = False
        self._contexts = 0
        self._spared: set[str] = set()
        self._best = _best(self.settings) if self.settings.policy else None
        self._host = _host_key()
        self.progress = Progress(self.settings.spin, self.settings.yield_time)
        self.background = Background(self.progress)
        self.engine = Engine(self.proc, self._emit, self.settings.eager_limit, self.settings.credit)
        self.onesided = OneSided(self.engine)
        self.channels: list[Channel] = []
        if self.size > 1:
            self._join()
        self.world = Communicator(self, _WORLD_CONTEXT, tuple(range(self.size)))
        self.self = Communicator(self, self.new_context(), (self.proc,))

    def _join(self) -> None:
        identity = self.bootstrap.identity
        membership = Membership(
            identity.rank,
            identity.size,
            identity.job,
            identity.secret,
            self.settings,
            self._attend,
            self._signal,
            self.bootstrap.reflectors,
            self.bootstrap.spans_hosts,
            self.progress.after,
            self.bootstrap.relay,
            self._expects,
        )
        engine = self.engine
        for name in self.settings.channels:
            reception = _Reception(engine.frame, engine.begin, engine.end, engine.sent, partial(self._suspect, name))
            self.channels.append(create(name, membership, reception))
        self.router = Router(
            self.bootstrap,
            self.channels,
            self.settings.join_timeout,
            self._unreachable,
            self.exit,
            engine.route,
            self._joined,
            engine.sent,
            engine.resume,
            self._best,
        )
        engine.extend((ROUTE,), self.router.handovers)
        cores = os.sched_getaffinity(0)
        self.router.publish(
            self._host, sum(1 << core for core in cores), self.hints({}).stamp if self.settings.policy else 0
        )
        self.engine.emit = self.router.emit
        self.progress.attach(self.channels, self.bootstrap.fileno(), self._on_control)
        if self.size > len(cores):
            self.progress.spin = 0.0
            self.progress.patience = -_YIELDS
            self.progress.spread = Spreader(self.proc)
            if not any(channel.capabilities.publish for channel in self.channels):
                # the kernel knows whom to run
                self.progress.yielding = min(self.settings.yield_time, self.settings.spin)
        if not any(channel.capabilities.spin for channel in self.channels):
            self.progress.spin = self.progress.yielding = 0.0

    def _emit(self, peer: int, header: bytes, payload: object, token: object) -> bool:
        raise AssertionError("a job of one sends no frames")

    def check(self) -> None:
        """Raise MPIError if the job has been left."""
        if self.finalized:
            raise MPIError(ERR_OTHER, "MPI is finalized")

    def new_context(self) -> int:
        """Return a context number that no other communicator of the job has."""
        self._contexts += 1
        return ((self.proc + 1) << _COUNTER_BITS | self._contexts) << _CONTEXT_BITS

    def host(self, proc: int) -> str:
        """Return a key of the host that a process runs on."""
        if proc == self.proc or self.size == 1:
            return self._host
        return str(self.router.table()[proc][HOST]["key"])

    def cores(self, procs: Sequence[int]) -> int:
        """Return how many cores these processes have together, equal on all ranks; 0 if they are not on one host."""
        if len(procs) == 1 or len({self.host(proc) for proc in procs}) > 1:
            return 0
        masks = (int(self.router.table()[proc][HOST]["cores"], 16) for proc in procs)
        return reduce(or_, masks).bit_count()

    def hints(self, pairs: Mapping[str, str]) -> Hints:
        """Return what a communicator with this info goes by; raises MPIError (ERR_INFO_VALUE)."""
        from fmi_mpi.runtime.policy import hints_of

        return hints_of(pairs, self.settings.policy, self.settings.model, self.settings.channels)

    def stamp(self, proc: int) -> int:
        """Return how a process chooses; see ``runtime.policy``."""
        return int(self.router.table()[proc][HOST]["stamp"])

    def carrier(self, procs: Sequence[int]) -> str:
        """Return the name of the best channel that all these processes have, and reach; empty if there is none.

        That is the first one, or what the policy says.
        """
        records = [self.router.table()[proc] for proc in procs] if len(procs) > 1 else []
        alone = len({self.host(proc) for proc in procs}) == 1
        common = tuple(
            name
            for name in self.settings.channels
            if records and (alone or name != "shm") and all(name in record for record in records)
        )
        if not common:
            return ""
        return common[0] if self._best is None else self._best(common, _TYPICAL)

    def common(self, channel: str, procs: Sequence[int]) -> bool:
        """Tell whether all these processes have a channel."""
        return all(channel in self.router.table()[proc] for proc in procs)

    # -- control -------------------------------------------------------------------------------------------------

    def _on_control(self) -> None:
        for event in self.bootstrap.events():
            self._react(event)

    def _react(self, event: Event) -> None:
        if event.kind == "abort":
            self.exit(event.code)
        elif event.kind == "signal":
            self._pass_on(event.rank, event.data or {})
        else:
            self._lost(event.rank, event.message)

    def _joined(self) -> None:
        """All have joined; what they have said meanwhile the control's descriptor does not show."""
        self.progress.after(0.0, self._on_control)

    def _signal(self, channel: str, peer: int, data: Record) -> None:
        """A channel has something to say to its other end at a peer."""
        self.bootstrap.signal(peer, {"channel": channel, "data": data})

    def _pass_on(self, peer: int, message: Record) -> None:
        """A peer's channel has something to say to its other end here."""
        for channel in self.channels:
            if channel.name == message.get("channel") and hasattr(channel, "signalled"):
                cast(Signalled, channel).signalled(peer, message["data"])

    def _expects(self) -> bool:
        """Tell whether anything is waited for, or may be, that a message could bring further."""
        return not self.progress.apart() or self.engine.expects() or bool(self.onesided.windows)

    def _attend(self, needed: bool) -> None:
        """A channel must be polled, or need not any more, while the program is outside of MPI."""
        if needed:
            self.background.hold()
        else:
            self.background.release()

    def _suspect(self, name: str, peer: int, reason: str) -> None:
        """A channel has lost a peer: if no other takes over, or carries everything anyway, it is gone."""
        channel = next(channel for channel in self.channels if channel.name == name)
        if self.router.failed(channel, peer, reason):
            return
        if others := self.router.without(channel, peer):
            self.await_verdict(lambda: self._spare(name, peer, f"({reason}); {others} goes on without it"))
        else:
            self.await_verdict(lambda: self._lost(peer, f"rank {peer} is lost: {reason}"))

    def _spare(self, name: str, peer: int, how: str) -> None:
        """A channel has failed that is not missed: say so once, unless the peer is gone."""
        if name not in self._spared and not self.engine.link(peer).failure:
            self._spared.add(name)
            sys.stderr.write(f"fmi_mpi: rank {self.proc}: {name} has failed {how}\n")

    def _unreachable(self, peer: int, reason: str) -> None:
        """No channel reaches a peer: what is being sent to it just now is to fail, too."""
        self.progress.after(0.0, lambda: self._lost(peer, f"rank {peer} cannot be reached: {reason}"))

    def await_verdict(self, action: Callable[[], None]) -> None:
        """A peer seems to be gone: act unless the job's control ends this process or tells more in time."""
        self.progress.after(_VERDICT, action)

    def _lost(self, peer: int, reason: str) -> None:
        """A process is gone for good."""
        self.engine.lost(peer, reason)
        for channel in self.channels:
            if channel.capabilities.publish or channel.capabilities.store:
                cast(Publisher | Storing, channel).desert(peer, self.engine.link(peer).failure)

    def abort(self, code: int, message: str) -> None:
        """End all ranks of the job with this exit code."""
        self.bootstrap.abort(code, message)
        self.exit(code)

    def exit(self, code: int) -> None:
        """End this process now, without waiting for anybody."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
        os._exit(code)

    # -- leaving -------------------------------------------------------------------------------------------------

    def finalize(self, failure: int = 0) -> None:
        """Leave the job: flush, wait until all ranks leave, close.

        Args:
            failure: exit code of the failure that this process ends with; then it waits for nobody.
        """
        if self.finalized:
            return
        self.finalized = True
        self.background.stop()
        if self.size > 1:
            if failure:
                self.bootstrap.failed(failure)
            else:
                self._leave_together()
                self.bootstrap.finalized()
            for channel in self.channels:
                channel.close()
            self.progress.detach()
        self.bootstrap.close()

    def _leave_together(self) -> None:
        self._flush()
        final = Communicator(self, _FINAL_CONTEXT, tuple(range(self.size)))
        self.progress.wait(final.start(dissemination(final)))
        self._flush(_LAST)  # what this rank has said last may still wait for its connection

    def _flush(self, limit: float = math.inf) -> None:
        """Wait until all frames are out, for so many seconds at most."""
        over: list[bool] = []
        if limit < math.inf:
            self.progress.after(limit, lambda: over.append(True))
        channels: Sequence[Channel] = self.channels
        self.progress.wait_until(lambda: bool(over) or not any(channel.pending() for channel in channels))


def _best(settings: Settings) -> Best:
    """Return what tells the best channel for a message by the policy."""
    from fmi_mpi.runtime.policy import best_for

    return cache(partial(best_for, settings.policy, settings.model))


def _host_key() -> str:
    """Return a key that is equal for processes that share a kernel and its name spaces."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()
