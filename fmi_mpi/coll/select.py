"""Which algorithm runs: the forced one, else by rules, else a fallback that is always right.

Rules of this file:
- Only values that are equal on all ranks count: size, bytes, commutativity, hosts, settings.
- ``nbytes`` is the measure of ``coll.cost``; 0 where ranks do not all know it (gatherv, scatterv, alltoallv, objects).
- Limits on bytes are powers of two, so that sizes between two powers share one remembered choice.
- The last rule of each collective has no limits and applies to everything.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from fmi_mpi.coll.cost import log_floor
from fmi_mpi.coll.registry import ALGORITHMS, COLLECTIVES, Algorithm, Run
from fmi_mpi.errors import ConfigError

__all__ = ["RULES", "Advise", "Rule", "Selector", "flat", "select"]

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_ANY: Final = 1 << 62
_UNEQUAL: Final = frozenset(("gatherv", "scatterv", "alltoallv", "alltoallw"))
"""Collectives whose bytes not all ranks know."""

Advise = Callable[[str, int, int, bool, Sequence[str]], str | None]
"""See ``Selector``."""


class Rule(NamedTuple):
    """Use ``name`` up to this many bytes and ranks, if it applies.

    ``store``: from this level of the store on. ``polled``: only over one where nobody is told what comes. ``crowded``: only
    where ranks crowd few cores.
    """

    name: str
    nbytes: int = _ANY
    size: int = _ANY
    power_of_two: bool = False
    store: int = 0
    crowded: bool = False
    polled: bool = False


_REDUCE_SCATTER: Final = (
    Rule("via_store"),
    Rule("shared"),
    Rule("recursive_halving", 64 * _KIB, power_of_two=True),
    Rule("recursive_halving", 4 * _KIB),
    Rule("pairwise"),
    Rule("linear"),
)
_ALLTOALLV: Final = (Rule("linear", size=32), Rule("pairwise"))
_NEIGHBOR: Final = (Rule("linear"),)

RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "barrier": (
        Rule("via_store_direct", size=32, store=3),
        Rule("counted", polled=True),
        Rule("via_store"),
        Rule("shared"),
        Rule("two_level"),
        Rule("dissemination"),
    ),
    "bcast": (
        Rule("via_store"),
        Rule("shared"),
        Rule("two_level"),
        Rule("linear", size=3),
        Rule("binomial", 16 * _KIB),
        Rule("pipelined", size=8),
        Rule("binomial", 64 * _KIB),
        Rule("scatter_allgather", 8 * _MIB),
        Rule("pipelined", _ANY, 64),
        Rule("scatter_allgather"),
        Rule("binomial"),
    ),
    "reduce": (
        Rule("via_store"),
        Rule("shared"),
        Rule("two_level"),
        Rule("binomial", 16 * _KIB),
        Rule("binomial", size=2),
        Rule("rabenseifner"),
        Rule("binomial"),
    ),
    "allreduce": (
        Rule("via_store_direct", 2 * _KIB, 32, store=3),
        Rule("via_store_direct", size=4, polled=True),
        Rule("via_store", _MIB),
        Rule("via_store_parts", polled=True),
        Rule("via_store"),
        Rule("shared"),
        Rule("two_level"),
        Rule("recursive_doubling", 512 * _KIB, 2),
        Rule("linear", 64 * _KIB, crowded=True),
        Rule("recursive_doubling", 8 * _KIB),
        Rule("rabenseifner", 256 * _KIB, power_of_two=True),
        Rule("rabenseifner", size=2),
        Rule("rabenseifner", 64 * _KIB),
        Rule("ring", size=256),
        Rule("rabenseifner"),
        Rule("recursive_doubling"),
    ),
    "reduce_scatter": _REDUCE_SCATTER,
    "reduce_scatter_block": _REDUCE_SCATTER,
    "gather": (Rule("via_store"), Rule("shared"), Rule("linear", size=4), Rule("binomial", 4 * _KIB), Rule("linear")),
    "gatherv": (Rule("linear"),),
    "scatter": (Rule("via_store"), Rule("shared"), Rule("linear", size=4), Rule("binomial", 4 * _KIB), Rule("linear")),
    "scatterv": (Rule("linear"),),
    "allgather": (
        Rule("via_store_direct", 2 * _KIB, 32, store=3),
        Rule("via_store_direct", size=4),
        Rule("via_store", 16 * _KIB),
        Rule("via_store_direct"),
        Rule("shared"),
        Rule("two_level"),
        Rule("recursive_doubling", 512 * _KIB),
        Rule("bruck", 4 * _KIB),
        Rule("ring"),
    ),
    "allgatherv": (Rule("linear", size=4), Rule("bruck", 32 * _KIB), Rule("ring")),
    "alltoall": (
        Rule("via_store", polled=True),
        Rule("shared"),
        Rule("linear", size=8),
        Rule("bruck", 256),
        Rule("linear", 32 * _KIB, 64),
        Rule("pairwise"),
    ),
    "alltoallv": _ALLTOALLV,
    "alltoallw": _ALLTOALLV,
    "scan": (
        Rule("via_store"),
        Rule("shared", 64 * _KIB),
        Rule("recursive_doubling"),
    ),
    "exscan": (
        Rule("via_store"),
        Rule("shared", 64 * _KIB),
        Rule("recursive_doubling"),
    ),
    "neighbor_allgather": _NEIGHBOR,
    "neighbor_allgatherv": _NEIGHBOR,
    "neighbor_alltoall": _NEIGHBOR,
    "neighbor_alltoallv": _NEIGHBOR,
    "neighbor_alltoallw": _NEIGHBOR,
    "object_bcast": (
        Rule("via_store"),
        Rule("shared"),
        Rule("binomial"),
    ),
    "object_gather": (Rule("via_store"), Rule("shared"), Rule("linear", size=16), Rule("binomial")),
    "object_scatter": (Rule("via_store"), Rule("shared"), Rule("linear", size=16), Rule("binomial")),
    "object_allgather": (Rule("via_store"), Rule("shared"), Rule("linear", size=4), Rule("bruck")),
    "object_alltoall": (Rule("via_store"), Rule("shared"), Rule("linear", size=32), Rule("pairwise")),
    "object_reduce": (
        Rule("via_store"),
        Rule("shared"),
        Rule("binomial"),
    ),
    "object_allreduce": (
        Rule("via_store"),
        Rule("shared"),
        Rule("recursive_doubling"),
    ),
    "object_scan": (
        Rule("via_store"),
        Rule("shared"),
        Rule("recursive_doubling"),
    ),
    "object_exscan": (
        Rule("via_store"),
        Rule("shared"),
        Rule("recursive_doubling"),
    ),
    "object_neighbor_allgather": _NEIGHBOR,
    "object_neighbor_alltoall": _NEIGHBOR,
}


def _bucket(nbytes: int) -> int:
    """Return a number shared by all sizes above one power of two and up to the next."""
    return (nbytes - 1).bit_length() if nbytes > 1 else 0


def _unknown(what: str, name: str, known: Sequence[str]) -> ConfigError:
    nearest = difflib.get_close_matches(name.lower(), known, 1, 0.0)[0]
    return ConfigError(f"unknown {what} {name!r}; known are {', '.join(known)}; the nearest is {nearest!r}")


class Selector:
    """The choices for one communicator.

    Args:
        size: number of ranks.
        hosts: for each rank, an index of the host it runs on.
        forced: algorithms by collective, as in ``Settings.algorithms``; one that does not apply gives way to the rules.
        board: the ranks share one.
        store: the level of the store that they share (``channels.base.Capabilities``), 0 without one. told: it waits.
        advise: asked before the rules, about collectives whose bytes all ranks know, unless some ranks share a host but
            not all; given the collective, size, bytes, commutativity and the algorithms that apply, it returns one of
            these, or None for the rules. advised: as ``store``, of what only ``advise`` may choose.
        cores: of the one host that all ranks share; 0: there are several hosts. What P ranks do in log2(P) rounds takes
            longer on so few cores that one rank can do it all in that time: then they crowd.

    Raises ConfigError if ``forced`` names an unknown collective or algorithm.
    """

    __slots__ = (
        "_advise",
        "_advised",
        "_board",
        "_chosen",
        "_contiguous",
        "_crowded",
        "_forced",
        "_grouped",
        "_size",
        "_store",
        "_told",
    )

    def __init__(
        self,
        size: int,
        hosts: Sequence[int] = (),
        forced: Mapping[str, str] | None = None,
        board: bool = False,
        store: int = 0,
        advise: Advise | None = None,
        advised: int = 0,
        cores: int = 0,
        told: bool = False,
    ) -> None:
        self._size = size
        self._advise = advise
        self._advised = max(store, advised)
        self._store = store
        self._told = told
        self._board = board
        starts = sum(1 for rank in range(len(hosts)) if not rank or hosts[rank] != hosts[rank - 1])
        distinct = len(set(hosts))
        self._grouped = 1 < distinct < size
        self._contiguous = starts == distinct
        self._crowded = 0 < cores <= log_floor(size)
        self._forced: dict[str, Algorithm] = {}
        self._chosen: dict[tuple[str, int, bool], Run] = {}
        for collective, name in (forced or {}).items():
            rows = ALGORITHMS.get(collective)
            if rows is None:
                raise _unknown("collective", collective, COLLECTIVES)
            if name not in rows:
                raise _unknown(f"algorithm for {collective}", name, tuple(rows))
            self._forced[collective] = rows[name]

    def __call__(self, collective: str, nbytes: int = 0, commutative: bool = True) -> Run:
        """Return the algorithm to run."""
        try:
            return self._chosen[collective, (nbytes - 1).bit_length() if nbytes > 1 else 0, commutative]
        except KeyError:
            run = self.choose(collective, nbytes, commutative).load()
            self._chosen[collective, _bucket(nbytes), commutative] = run
            return run

    def choose(self, collective: str, nbytes: int = 0, commutative: bool = True) -> Algorithm:
        """Return the row of the algorithm to run."""
        forced = self._forced.get(collective)
        if forced is not None and self._applies(forced, commutative):
            return forced
        size, bucket = self._size, _bucket(nbytes)
        if self._advise is not None and not self._grouped and collective not in _UNEQUAL:
            rows = [
                name for name, row in ALGORITHMS[collective].items() if self._applies(row, commutative, self._advised)
            ]
            advised = self._advise(collective, size, 1 << bucket, commutative, rows)
            if advised is not None:
                return ALGORITHMS[collective][advised]
        for rule in RULES[collective]:
            row = ALGORITHMS[collective][rule.name]
            fits = size <= rule.size and bucket <= _bucket(rule.nbytes)
            if (
                fits
                and rule.store <= self._store
                and (self._crowded or not rule.crowded)
                and not (rule.polled and self._told)
                and not (rule.power_of_two and size & (size - 1))
                and self._applies(row, commutative)
            ):
                return row
        raise AssertionError(f"the last rule for {collective} does not apply to everything")

    def _applies(self, row: Algorithm, commutative: bool, store: int = -1) -> bool:
        store = self._store if store < 0 else store
        return row.applies(self._size, commutative, self._grouped, self._contiguous, self._board, store)


@lru_cache(maxsize=256)
def _selector(
    size: int, hosts: tuple[int, ...], forced: tuple[tuple[str, str], ...], board: bool, store: int
) -> Selector:
    return Selector(size, hosts, dict(forced), board, store)


def select(
    collective: str,
    size: int,
    nbytes: int = 0,
    *,
    commutative: bool = True,
    hosts: Sequence[int] = (),
    forced: Mapping[str, str] | None = None,
    board: bool = False,
    store: int = 0,
) -> Run:
    """Return the algorithm to run; communicators keep a ``Selector``, which answers faster. Raises ConfigError."""
    chosen = _selector(size, tuple(hosts), tuple(sorted(forced.items())) if forced else (), board, store)
    return chosen(collective, nbytes, commutative)


def flat(collective: str, size: int, nbytes: int = 0, commutative: bool = True) -> Run:
    """Return the algorithm for ranks of which no two, or all, share a host."""
    return _selector(size, (), (), False, 0)(collective, nbytes, commutative)
