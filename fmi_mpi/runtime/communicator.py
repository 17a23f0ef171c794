"""A communicator's state: its processes, its contexts, and the operations on it.

Rules of this file:
- A context number is made by one process of the new communicator from its own number and a counter, so no two
  communicators of a job share one and nobody has to agree. Its low bits tell the spaces apart: 0 point-to-point,
  1 collectives, 2 internal messages, 3 partitioned messages.
- Collectives are numbered in the order in which they start, equal on all ranks; the number is their tag.
- Ranks of one host meet on a board from the third collective on, if all can. A board serves one collective at a time:
  on a communicator that may have one they run one after another, in the order of their numbers (MPI-4.1, 6.14:
  nobody may rely on a collective not waiting for the others). So they do over a store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from fmi_mpi.channels.base import Board
from fmi_mpi.coll.registry import Run
from fmi_mpi.coll.select import Advise, Selector
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.constants import ANY_SOURCE, ERR_OTHER, UNDEFINED
from fmi_mpi.engine.operations import Message, Payload, RecvOp, SendOp
from fmi_mpi.engine.payloads import allocate
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.boarding import eligible, opened
from fmi_mpi.runtime.schedule import COLLECTIVE, Schedule
from fmi_mpi.runtime.storing import Storage, keeper

if TYPE_CHECKING:
    from fmi_mpi.runtime.world import World

__all__ = ["CHANNEL", "INTERNAL", "PARTITIONED", "POLICY", "Communicator"]

INTERNAL = 2
PARTITIONED = 3

POLICY = "fmi_policy"
CHANNEL = "fmi_channel"
"""The hints that this implementation knows; see ``runtime.policy``."""

_NUMBER_LIMIT = 1 << 30
_SETTLED = 2
"""Collectives after which a communicator is worth a board."""

_OFTEN = 63
"""Collectives, less one, between looks at where this rank runs: those on a board may never wait in ``Progress``."""

Select = Callable[..., Run]
"""Of ``Selector``'s form."""


class Communicator:
    """An intra-communicator (``remote`` None) or inter-communicator.

    ``procs`` are the process numbers that ranks in calls mean: of the remote group in an inter-communicator.
    """

    def __init__(
        self, world: World, context: int, local: tuple[int, ...], remote: tuple[int, ...] | None = None
    ) -> None:
        self.world = world
        self.context = context
        self.local = local
        self.remote = remote
        self.procs = local if remote is None else remote
        self.rank = local.index(world.proc) if world.proc in local else UNDEFINED
        self.size = len(local)
        self.number = 0
        self.parts = 0  # of partitioned messages that this process has announced
        self.name = ""
        self.attributes: dict[int, Any] | None = None
        self.errhandler: Any = None
        self.info: Any = None
        self.topology: Any = None
        self.buffer: Any = None
        self.locks: dict[str, Lock] = {}
        self.freed = False
        self.permanent = False
        self.board: Board | None = None
        self.storage: Storage | None = None
        self.line: deque[Schedule] | None = None  # collectives that run or wait for their turn, if a board may come
        self._hosts: tuple[int, ...] | None = None
        self._selector: Selector | None = None
        self._undecided = False

    @property
    def union(self) -> Communicator:
        """All processes as one group: the communicator itself, unless it is an inter-communicator."""
        return self

    # -- point-to-point --------------------------------------------------------------------------------------

    def isend(self, dest: int, tag: int, payload: Payload, length: int, flags: int = 0, space: int = 0) -> SendOp:
        """Start a message of ``length`` bytes to rank ``dest``; ``flags`` as in ``engine.frames``."""
        world = self.world
        lock = world.progress.lock
        lock.acquire()  # "with" takes twice as long
        try:
            return world.engine.send(self.procs[dest], self.context | space, self.rank, tag, payload, length, flags)
        finally:
            lock.release()

    def irecv(
        self,
        source: int,
        tag: int,
        buffer: memoryview | None,
        finish: Callable[[int], None] | None = None,
        space: int = 0,
    ) -> RecvOp:
        """Start a receive from rank ``source`` (or ANY_SOURCE); see ``engine.operations.RecvOp``."""
        world = self.world
        op = RecvOp(-1 if source == ANY_SOURCE else self.procs[source], source, tag, buffer, finish)
        lock = world.progress.lock
        lock.acquire()
        try:
            return world.engine.recv(self.context | space, op)
        finally:
            lock.release()

    def find(self, source: int, tag: int) -> Message | None:
        """Return the message that a receive would take, without waiting."""
        world = self.world
        with world.progress.lock:
            return world.engine.matcher(self.context).find(source, tag)

    def lost(self, source: int) -> bool:
        """Tell whether a rank that a receive could wait for is gone."""
        if source == ANY_SOURCE:
            return False
        link = self.world.engine.links.get(self.procs[source])
        return link is not None and bool(link.failure)

    def take(self, source: int, tag: int) -> Message | None:
        """Take a message out of matching, without waiting (matched probe)."""
        world = self.world
        with world.progress.lock:
            return world.engine.matcher(self.context).take(source, tag)

    def recv_taken(self, message: Message, buffer: memoryview | None, finish: Callable[[int], None] | None) -> RecvOp:
        """Receive a message that ``take`` returned."""
        op = RecvOp(message.peer, message.source, message.tag, buffer, finish)
        with self.world.progress.lock:
            self.world.engine.recv_message(message, op)
        return op

    # -- collectives -------------------------------------------------------------------------------------------

    def start(self, steps: Steps[Any], finish: Callable[[Any], Any] | None = None, patience: int = 0) -> Schedule:
        """Start a collective.

        Args:
            finish: maps the generator's result to the schedule's. patience: see ``runtime.schedule.Schedule``.
        """
        if self.storage is not None and self.storage.is_due(self.number):
            self._start(self.storage.meet(self), None, 0)
        return self._start(steps, finish, patience)

    def _start(self, steps: Steps[Any], finish: Callable[[Any], Any] | None, patience: int) -> Schedule:
        number = self.number
        self.number = number + 1
        schedule = Schedule(self, number, steps, finish)
        if patience:
            schedule.patience = patience
            if not number & _OFTEN:
                self.world.progress.spread()
        line = self.line
        with self.world.progress.lock:
            if line is None:
                schedule.step()
            else:
                line.append(schedule)
                if len(line) == 1:
                    schedule.step()
        return schedule

    def run(self, steps: Steps[Any], finish: Callable[[Any], Any] | None = None) -> Any:
        """Run a collective to its end and return its result; raises its error."""
        progress = self.world.progress
        schedule = self.start(steps, finish, progress.patience)
        progress.wait(schedule)
        if schedule.error or schedule.failure is not None:
            schedule.check()
        return schedule.result

    @property
    def hosts(self) -> Sequence[int]:
        """Per rank, an index of its host: equal for ranks that share memory (coll.steps.Ranks)."""
        if self._hosts is None:
            keys = [self.world.host(proc) for proc in self.local]
            order = {key: index for index, key in enumerate(dict.fromkeys(keys))}
            self._hosts = tuple(order[key] for key in keys)
        return self._hosts

    @property
    def select(self) -> Select:
        """Chooses algorithms for this communicator."""
        if self._selector is None:
            self._selector = self._choices(False)
            self._undecided = self.storage is None and not any(self.hosts) and eligible(self)
            if self.storage is not None or self._undecided:
                self.line = deque()
        if self._undecided and self.number >= _SETTLED:
            return self._select_later
        return self._selector

    def _choices(self, board: bool) -> Selector:
        """Return who chooses; raises MPIError if ranks would not choose alike."""
        settings = self.world.settings
        pairs = {} if self.info is None else self.info.pairs
        advise: Advise | None = None
        policy = self.size > 1 and bool(settings.policy or POLICY in pairs)
        kept = None if board else keeper(self, pairs.get(CHANNEL, ""), policy)
        if kept is not None and self.storage is None:
            self.storage = Storage(self, kept.channel)
        if policy:
            if settings.policy:
                self._see_alike()
            hints = self.world.hints(pairs)
            carrier = hints.channel or self.world.carrier(self.local)
            advise = hints.advisor(carrier, "" if kept is None else kept.channel.name)
        level = 0 if kept is None else kept.level
        return Selector(
            self.size,
            self.hosts,
            settings.algorithms,
            board,
            level if kept is not None and kept.preferred else 0,
            advise,
            level,
            self.world.cores(self.local),
            kept is not None and kept.told,
        )

    def _see_alike(self) -> None:
        """Raise MPIError unless all ranks have the same policy and profile."""
        own = self.world.stamp(self.world.proc)
        others = [str(rank) for rank, proc in enumerate(self.local) if self.world.stamp(proc) != own]
        if others:
            raise MPIError(
                ERR_OTHER,
                f"rank {', '.join(others)} has another FMI_POLICY, profile or memory than rank {self.rank}; "
                "give all ranks the same, by FMI_MODEL",
            )

    def reconsider(self) -> None:
        """The hints have changed: choose anew."""
        if self._selector is not None:
            self._selector = self._choices(self.board is not None)
            if self.storage is not None and self.line is None:
                self.line = deque()

    def _select_later(self, collective: str, nbytes: int = 0, commutative: bool = True) -> Run:
        """Return what opens the board and then runs the algorithm that is chosen with it or without."""

        def run(*arguments: Any) -> Steps[Any]:
            if self._undecided:
                self.board = yield from opened(self)
                self._undecided = False
                if self.board is not None:
                    self._selector = self._choices(True)
            assert self._selector is not None
            return (yield from self._selector(collective, nbytes, commutative)(*arguments))

        return run

    def scratch(self, nbytes: int) -> memoryview:
        """Return working memory for an algorithm (coll.steps.Ranks)."""
        return allocate(nbytes)

    # -- life ----------------------------------------------------------------------------------------------------

    def free(self) -> None:
        """Drop the contexts; messages that nobody has received are dropped with them."""
        if not self.freed:
            self.freed = True
            with self.world.progress.lock:
                self.world.engine.forget(self.context)
                self.world.engine.forget(self.context | COLLECTIVE)
                self.world.engine.forget(self.context | INTERNAL)
                self.world.engine.forget(self.context | PARTITIONED)
                if self.board is not None and not self.line:
                    self.board.close()
