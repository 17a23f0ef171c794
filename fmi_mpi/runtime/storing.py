"""A communicator's shelf in a store, and how the errands of its collectives are done there.

Rules of this file:
- An object that is not there yet is looked for again: first when it was found the last time at this point of a
  collective, then after pauses that grow, never in step with other ranks. Every look is paid.
- A rank is known to have ended all collectives before one of which it has put something: then nobody reads what was put
  for those, and it is removed. Every so often all ranks meet, so that this is known.
- A rank that has failed says so to those that wait for it.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from fmi_mpi.channels.base import Shelf, Storing
from fmi_mpi.coll.steps import NONE, Count, Errand, Get, Put, Ranks
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.coll.via_store.barrier import counted, gathered
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
_FAILED: Final = 254
"""The turn of an object that says that its rank has failed in this collective."""


class Keeper(NamedTuple):
    """The channel whose shelves a communicator's collectives may use."""

    channel: Storing
    preferred: bool
    """It is preferred to messages; otherwise only a policy may choose it."""

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
    first = channels[0].name
    for channel in stores:
        if channel.name == (wanted or first):
            return Keeper(cast(Storing, channel), True)
    return Keeper(cast(Storing, stores[0]), False) if stores and policy and any(comm.hosts) else None


class Storage:
    """The shelf of ``comm`` that a channel keeps."""

    def __init__(self, comm: Communicator, channel: Storing) -> None:
        self._comm = comm
        self._shelf: Shelf = channel.shelf(comm.local[0], f"{comm.context:x}", comm.rank)
        self._counts = channel.capabilities.store > 1
        self._begun = dict.fromkeys((rank for rank in range(comm.size) if rank != comm.rank), 0)
        self._leads: dict[tuple[int, int], float] = {}

    def is_due(self, number: int) -> bool:
        """All ranks should meet before this collective."""
        return number % _MEETING == _MEETING - 1

    def meet(self, ranks: Ranks) -> Steps[None]:
        """Return what lets all ranks meet."""
        return counted(ranks) if self._counts else gathered(ranks)

    def begin(self, number: int, errand: Errand, turn: int, done: Done) -> None:
        """Do an errand of a collective; ``turn``: how many objects of it this rank has put before."""
        if type(errand) is Put:
            self._shelf.put(number, turn, errand.blocks, lambda failure: done(ERR_OTHER if failure else 0, failure))
        elif type(errand) is Get:
            _Wait(self, number, errand, done).first(self._leads.get((errand.peer, errand.turn), 0.0))
        else:
            assert type(errand) is Count
            wait = _Meeting(self, number, done)
            self._shelf.count(number, wait.counted)

    def failed(self, number: int) -> None:
        """Tell those who wait for this rank in a collective that it has failed."""
        self._shelf.put(number, _FAILED, (NONE,), lambda failure: None)

    def found(self, number: int, peer: int) -> None:
        """Something of this rank's has been found."""
        if number > self._begun[peer]:
            self._begun[peer] = number
            if number % 4 == 0:
                self._shelf.remove(min(self._begun.values()))

    def all_found(self, number: int) -> None:
        """All ranks have begun this collective."""
        self._begun = dict.fromkeys(self._begun, number)
        self._shelf.remove(number)

    def lost(self) -> str:
        """Return why one of the ranks is lost, if one is."""
        failures = (self._comm.world.engine.link(self._comm.procs[peer]).failure for peer in self._begun)
        return next(filter(None, failures), "")

    def learn(self, peer: int, turn: int, waited: float) -> None:
        """An object has been found after so many seconds."""
        known = self._leads.get((peer, turn), 0.0)
        self._leads[peer, turn] = 0.0 if waited < self._shelf.latency else 0.7 * (0.5 * known + 0.5 * waited)


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

    def again(self) -> None:
        """Ask later."""
        pause = self.pause * random.uniform(0.7, 1.3)
        self.pause = min(1.5 * self.pause, _LONGEST)
        self.storage._comm.world.progress.after(pause, self.look)


class _Wait(_Look):
    """A get."""

    def __init__(self, storage: Storage, number: int, get: Get, done: Done) -> None:
        super().__init__(storage, number, done)
        self.get = get

    def first(self, lead: float) -> None:
        """Look for the first time after ``lead`` seconds."""
        if lead:
            self.storage._comm.world.progress.after(min(lead, _LONGEST), self.look)
        else:
            self.look()

    def look(self) -> None:
        get = self.get
        self.storage._shelf.get(self.number, get.turn, get.peer, get.block, get.before, get.nbytes, self._answered)

    def _answered(self, block: memoryview | None, failure: str) -> None:
        get, storage = self.get, self.storage
        if failure:
            self.done(ERR_OTHER, failure)
        elif block is not None:
            storage.learn(get.peer, get.turn, time.monotonic() - self.start)
            storage.found(self.number, get.peer)
            if get.into is None:
                get.data = block
            else:
                get.into[:] = get.data = block
            self.done(0, "")
        elif (lost := storage._comm.world.engine.link(storage._comm.procs[get.peer]).failure) != "":
            self.done(ERR_PROC_FAILED, lost)
        elif time.monotonic() - self.start > _SUSPICION:
            storage._shelf.length(self.number, _FAILED, get.peer, 0, self._on_failure)
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
        comm = storage._comm
        if failure:
            self.done(ERR_OTHER, failure)
        elif count == comm.size:
            storage.all_found(self.number)
            self.done(0, "")
        else:
            lost = storage.lost()
            if lost:
                self.done(ERR_PROC_FAILED, lost)
            else:
                self.again()
