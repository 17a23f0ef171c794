"""A communicator's shelf in a store, and how the errands of its collectives are done there.

Rules of this file:
- An object that is not there yet is looked for again, unless the store tells when it comes: first about when it was found
  lately at this point of a collective, then after pauses that grow, never in step with other ranks. Every look is paid.
- A rank is known to have ended all collectives before one of which it has put something: then nobody reads what was put
  for those, and it is removed. Every so often all ranks meet, so that this is known.
- What all others put for one step, if it is little, is looked for together where a listing brings it.
- A rank that has failed says so to those that wait for it.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from fmi_mpi.channels.base import FAILED, Gathering, Shelf, Storing
from fmi_mpi.coll.cost import LISTED
from fmi_mpi.coll.steps import NONE, Count, Errand, Get, Put, Ranks
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.coll.via_store.barrier import counted, direct, gathered
from fmi_mpi.constants import ERR_OTHER, ERR_PROC_FAILED, ERR_TRUNCATE

if TYPE_CHECKING:
    from fmi_mpi.runtime.communicator import Communicator

__all__ = ["Keeper", "Storage", "keeper"]

Done = Callable[[int, str], None]
"""Called with an error class, 0 if there is none, and with what went wrong."""

_MEETING: Final = 32
"""Collectives from one meeting of all ranks to the next."""
_SUSPICION: Final = 2.0
"""Seconds of waiting after which the reason is looked for."""
_LONGEST: Final = 1.0
_HASTE: Final = 0.9
_ALL: Final = -1
"""In place of a peer: all others."""


class Keeper(NamedTuple):
    """The channel whose shelves a communicator's collectives may use."""

    channel: Storing
    preferred: bool
    """It is preferred to messages; otherwise only a policy may choose it."""
    told: bool = False
    """One is told what comes, and messages that are as fast are welcome, too."""

    @property
    def level(self) -> int:
        """See ``capabilities.store``."""
        return self.channel.capabilities.store


def keeper(comm: Communicator, wanted: str, policy: bool) -> Keeper | None:
    """Return whose shelves the communicator may use; equal on all ranks.

    Args:
        wanted: the channel that a hint names, or nothing. policy: there is one.
    """
    channels = comm.world.channels
    if comm.remote is not None or comm.size == 1 or not channels:
        return None
    stores = [
        channel for channel in channels if channel.capabilities.store and comm.world.common(channel.name, comm.local)
    ]
    first = comm.world.carrier(comm.local) if policy else channels[0].name
    for channel in stores:
        told = channel.capabilities.waits and not wanted
        as_good = told and comm.size == 2  # a message: two ranks have nothing that many read
        if channel.name == (wanted or first) and not as_good:
            return Keeper(cast(Storing, channel), True, told)
    return Keeper(cast(Storing, stores[0]), False) if stores and policy and any(comm.hosts) else None


class Storage:
    """The shelf of ``comm`` that a channel keeps."""

    def __init__(self, comm: Communicator, channel: Storing) -> None:
        self._comm = comm
        self._shelf: Shelf = channel.shelf(comm.local, f"{comm.context:x}", comm.rank)
        self._counts = channel.capabilities.store > 1 and not channel.capabilities.waits
        self._gathers = channel.capabilities.store > 2
        self._begun = dict.fromkeys((rank for rank in range(comm.size) if rank != comm.rank), 0)
        self._waits: dict[tuple[int, int], float] = {}

    def is_due(self, number: int) -> bool:
        """All ranks should meet before this collective."""
        return number % _MEETING == _MEETING - 1

    def meet(self, ranks: Ranks) -> Steps[None]:
        """Return what lets all ranks meet."""
        return direct(ranks) if self._gathers else counted(ranks) if self._counts else gathered(ranks)

    def begin(self, number: int, errands: Sequence[Errand], turn: int, done: Done) -> int:
        """Do the errands of one step of a collective; ``done`` is called for each.

        ``turn``: how many objects of the collective this rank has put before; returns how many it has now.
        """
        gets = [errand for errand in errands if type(errand) is Get]
        if self._shelf.waits and (lost := self._lost_of(gets, errands)):
            for _ in errands:
                done(ERR_PROC_FAILED, lost)
            return turn
        if self._gathers and self._are_all(gets):
            _Gathering(self, number, gets, done).first(self._lead(_ALL, gets[0].turn))
        else:
            for get in gets:
                _Wait(self, number, get, done).first(self._lead(get.peer, get.turn))
        for errand in errands:
            if type(errand) is Put:
                self._shelf.put(number, turn, errand.blocks, lambda failure: done(ERR_OTHER if failure else 0, failure))
                turn += 1
            elif type(errand) is Count:
                self._shelf.count(number, _Meeting(self, number, done).counted)
        return turn

    def _are_all(self, gets: Sequence[Get]) -> bool:
        """Tell whether these are the only blocks of objects that all others put, and little."""
        return (
            len(gets) == self._comm.size - 1 > 1
            and all(get.only and get.turn == gets[0].turn for get in gets)
            and sum(get.nbytes for get in gets) <= LISTED
        )

    def failed(self, number: int) -> None:
        """Tell those who wait for this rank in a collective that it has failed."""
        self._shelf.put(number, FAILED, (NONE,), lambda failure: None)

    def took(self, number: int, get: Get, block: memoryview) -> None:
        """A block has come."""
        if get.into is None:
            get.data = block
        else:
            get.into[:] = get.data = block
        peer = get.peer
        if number > self._begun[peer]:
            self._begun[peer] = number
            if number % 4 == 0:
                self._shelf.remove(min(self._begun.values()))

    def all_found(self, number: int) -> None:
        """All ranks have begun this collective."""
        self._begun = dict.fromkeys(self._begun, number)
        self._shelf.remove(number)

    def lost(self, peers: Iterable[int] | None = None) -> str:
        """Return why one of these ranks, of all by default, is lost, if one is."""
        links = self._comm.world.engine.links
        found = (links.get(self._comm.procs[peer]) for peer in (self._begun if peers is None else peers))
        return next((link.failure for link in found if link is not None and link.failure), "")

    def _lost_of(self, gets: Sequence[Get], errands: Sequence[Errand]) -> str:
        """Return why one of the ranks that these errands wait for is lost, if one is."""
        return self.lost(get.peer for get in gets) if gets else self.lost() if type(errands[0]) is Count else ""

    def learn(self, peer: int, turn: int, waited: float) -> None:
        """An object has been found after so many seconds."""
        if self._shelf.waits:
            return
        known = self._waits.get((peer, turn), waited)
        self._waits[peer, turn] = 0.5 * (known + waited)

    def _lead(self, peer: int, turn: int) -> float:
        """Return the seconds after which an object may be there: a little less than lately, so that less is tried again."""
        return _HASTE * max(0.0, self._waits.get((peer, turn), 0.0) - self._shelf.latency)


class _Look(ABC):
    """Something that is looked for until it is there.

    Args:
        done: called when it is, or with the reason why it will never be.
    """

    def __init__(self, storage: Storage, number: int, done: Done) -> None:
        self.storage = storage
        self.number = number
        self.done = done
        self.start = time.monotonic()
        self.pause = 0.5 * storage._shelf.latency

    @abstractmethod
    def look(self) -> None:
        """Ask the store."""

    def first(self, lead: float) -> None:
        """Look for the first time after ``lead`` seconds."""
        if lead:
            self.storage._comm.world.progress.after(min(lead, _LONGEST), self.look)
        else:
            self.look()

    def again(self) -> None:
        """Ask later."""
        pause = self.pause * random.uniform(0.7, 1.3)
        self.pause = min(1.5 * self.pause, _LONGEST)
        self.storage._comm.world.progress.after(pause, self.look)


class _Wait(_Look):
    """A get; ``known``: as whose it is learnt when it is there."""

    def __init__(self, storage: Storage, number: int, get: Get, done: Done, known: int | None = None) -> None:
        super().__init__(storage, number, done)
        self.known = get.peer if known is None else known
        self.get = get

    def look(self) -> None:
        get = self.get
        self.storage._shelf.get(self.number, get.turn, get.peer, get.block, get.before, get.nbytes, self._answered)

    def _answered(self, block: memoryview | None, failure: str) -> None:
        get, storage = self.get, self.storage
        if failure:
            self.done(ERR_PROC_FAILED if storage.lost((get.peer,)) else ERR_OTHER, failure)
        elif block is not None and get.nbytes not in (-1, len(block)):
            self._on_length(len(block), "")
        elif block is not None:
            storage.learn(self.known, get.turn, time.monotonic() - self.start)
            storage.took(self.number, get, block)
            self.done(0, "")
        elif lost := storage.lost((get.peer,)):
            self.done(ERR_PROC_FAILED, lost)
        elif time.monotonic() - self.start > _SUSPICION:
            storage._shelf.length(self.number, FAILED, get.peer, 0, self._on_failure)
        else:
            self.again()

    def _on_failure(self, length: int, failure: str) -> None:
        """The peer has been asked for: has it failed, or put something of another length?"""
        get = self.get
        if failure:
            self.done(ERR_OTHER, failure)
        elif length == 0:
            lost = self.storage.lost()
            self.done(ERR_PROC_FAILED if lost else ERR_OTHER, lost or f"rank {get.peer} has failed in this collective")
        else:
            self.storage._shelf.length(self.number, get.turn, get.peer, get.block, self._on_length)

    def _on_length(self, length: int, failure: str) -> None:
        get = self.get
        if failure:
            self.done(ERR_OTHER, failure)
        elif get.nbytes < 0 or length in (-1, get.nbytes):
            self.again()
        else:
            self.done(
                ERR_TRUNCATE,
                f"rank {get.peer} has put {length} bytes where {get.nbytes} are expected: "
                "the ranks disagree on the count or datatype of this collective",
            )


class _Gathering(_Look):
    """Gets of what all others put."""

    def __init__(self, storage: Storage, number: int, gets: Sequence[Get], done: Done) -> None:
        super().__init__(storage, number, done)
        self.gets = gets
        self.turn = gets[0].turn

    def look(self) -> None:
        wanted = {get.peer: get.nbytes for get in self.gets}
        cast(Gathering, self.storage._shelf).gather(self.number, self.turn, wanted, self._answered)

    def _answered(self, found: Mapping[int, memoryview], failure: str) -> None:
        storage = self.storage
        if failure:
            for _ in self.gets:
                self.done(ERR_OTHER, failure)
            return
        waited = time.monotonic() - self.start
        came = [get for get in self.gets if get.peer in found]
        self.gets = [get for get in self.gets if get.peer not in found]
        if not self.gets:
            storage.learn(_ALL, self.turn, waited)
        elif len(self.gets) > 1 and waited < _SUSPICION:
            self.again()
        else:  # one is cheaper by itself, and who does not come is asked why
            for get in self.gets:
                wait = _Wait(storage, self.number, get, self.done, _ALL)
                wait.start = self.start
                wait.again()
        for get in came:
            storage.took(self.number, get, found[get.peer])
            self.done(0, "")


class _Meeting(_Look):
    """A count."""

    def counted(self, failure: str) -> None:
        """This rank is counted."""
        if failure:
            self.done(ERR_OTHER, failure)
        else:
            self.look()

    def look(self) -> None:
        self.storage._shelf.counted(self.number, self._answered)

    def _answered(self, count: int, failure: str) -> None:
        storage = self.storage
        if not failure and count == storage._comm.size:
            storage.all_found(self.number)
            self.done(0, "")
        elif lost := storage.lost():
            self.done(ERR_PROC_FAILED, lost)
        elif failure:
            self.done(ERR_OTHER, failure)
        else:
            self.again()
