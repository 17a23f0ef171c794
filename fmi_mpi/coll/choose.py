"""Every way to run a collective, with its time and price, and the best of them.

Rules of this file:
- Only ways whose cost is known: objects' lengths are not, so they stay with the rules of ``coll.select``.
- Everything follows from the arguments, which are equal on all ranks; nothing is measured here.
- ``nbytes`` is the measure of ``coll.cost``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Final, NamedTuple

from fmi_mpi.coll.cost import Frames, Requests
from fmi_mpi.coll.registry import ALGORITHMS, COLLECTIVES, Algorithm
from fmi_mpi.model.policy import POLICIES, rank
from fmi_mpi.model.predict import Estimate, of_messages, of_requests
from fmi_mpi.model.price import MEMORY, Price, Prices, prices
from fmi_mpi.model.profile import Channel, nearest

__all__ = ["SEND", "Advisor", "Option", "choose", "options", "predictable"]

SEND: Final = "send"
"""One message, from one rank to another: not a collective, but predicted as one."""


class Option(NamedTuple):
    """One way."""

    channel: str
    algorithm: str
    estimate: Estimate
    price: Price


@cache
def predictable() -> tuple[str, ...]:
    """Return the names that ``options`` takes."""
    return (SEND, *(name for name in COLLECTIVES if any(row.cost() for row in ALGORITHMS[name].values())))


def options(
    collective: str,
    size: int,
    nbytes: int,
    channels: Sequence[Channel],
    *,
    commutative: bool = True,
    memory: int = 0,
    arch: str = "x86",
    known: Prices | None = None,
    rows: Collection[str] | None = None,
) -> list[Option]:
    """Return all ways over these channels, in no order.

    Args:
        size: number of ranks, all of them functions; boards are for ranks of one host.
        memory: bytes of a function; 0: unknown. arch: see ``model.price``.
        known: prices, by default those that come with the package.
        rows: algorithms to consider, by default all that are right.

    Raises ConfigError.
    """
    known = known or prices()
    found = []
    for channel in channels:
        for name, estimate in _estimates(collective, size, nbytes, channel, commutative, memory, rows):
            price = known.of(estimate, 2 if collective == SEND else size, channel, memory or MEMORY, arch)
            found.append(Option(channel.name, name, estimate, price))
    return found


def _estimates(
    collective: str,
    size: int,
    nbytes: int,
    channel: Channel,
    commutative: bool,
    memory: int,
    rows: Collection[str] | None,
) -> list[tuple[str, Estimate]]:
    if collective == SEND:
        return [("message", of_messages(Frames(1, nbytes, 1, nbytes), 2, channel, memory))]
    if collective not in ALGORITHMS:
        raise nearest("collective", collective, predictable())
    found = []
    for row in ALGORITHMS[collective].values():
        formula = _formula(row)
        if formula is None or not (row.name in rows if rows is not None else _runs(row, size, channel, commutative)):
            continue
        counted = formula(size, nbytes)
        if isinstance(counted, Frames):
            found.append((row.name, of_messages(counted, size, channel, memory, nbytes)))
        else:
            found.append((row.name, of_requests(counted, size, channel, memory)))
    return found


@cache
def _formula(row: Algorithm) -> Callable[[int, int], Frames | Requests] | None:
    return row.cost()


def _runs(row: Algorithm, size: int, channel: Channel, commutative: bool) -> bool:
    """Whether the algorithm is right, and this channel can run it."""
    store = (3 if channel.gathers else 2 if channel.counters else 1) if channel.store else 0
    return row.applies(size, commutative, board=channel.board, store=store)


def choose(
    collective: str,
    size: int,
    nbytes: int,
    channels: Sequence[Channel],
    policy: str,
    *,
    commutative: bool = True,
    memory: int = 0,
    rows: Collection[str] | None = None,
) -> tuple[str, str] | None:
    """Return the names of the best channel and algorithm for it; None if there is nothing to choose by.

    Args:
        policy: one of ``model.policy.POLICIES``. Others: as for ``options``.

    Raises ConfigError.
    """
    if policy not in POLICIES:
        raise nearest("policy", policy, POLICIES)
    ways = options(collective, size, nbytes, channels, commutative=commutative, memory=memory, rows=rows)
    if not ways:
        return None
    best = min(ways, key=lambda way: rank(policy, way.estimate.seconds, way.price.total))
    return best.channel, best.algorithm


class Advisor:
    """What a ``Selector`` asks: the best algorithm by a policy, over what the communicator can use.

    Args:
        policy: one of ``model.policy.POLICIES``. channel: carries the messages.
        store: what is known of the store for ``coll.via_store``, if there is one.
        memory: bytes of a function; 0: unknown.
    """

    __slots__ = ("_channel", "_memory", "_policy", "_store")

    def __init__(self, policy: str, channel: Channel | None, store: Channel | None = None, memory: int = 0) -> None:
        self._policy = policy
        self._channel = channel
        self._store = store
        self._memory = memory

    def __call__(self, collective: str, size: int, nbytes: int, commutative: bool, rows: Sequence[str]) -> str | None:
        """Return the name of the best of these algorithms; None if none of them has a known cost."""
        known = ALGORITHMS[collective]
        ways: list[Option] = []
        for channel, stores in ((self._channel, False), (self._store, True)):
            if channel is not None:
                mine = [name for name in rows if bool(known[name].store) is stores]
                ways += options(
                    collective, size, nbytes, (channel,), commutative=commutative, memory=self._memory, rows=mine
                )
        if not ways:
            return None
        return min(ways, key=lambda way: rank(self._policy, way.estimate.seconds, way.price.total)).algorithm
