"""Every algorithm computes what MPI defines, for any size, root, length, order of events, in place or not."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fmi_mpi.coll.registry import ALGORITHMS, COLLECTIVES, Algorithm
from fmi_mpi.coll.select import select

from .checks import CHECKS, Case
from .simulator import World

SIZES = range(1, 18)
ROWS = [row for rows in ALGORITHMS.values() for row in rows.values()]
CASES = [
    (row, size) for row in ROWS for size in SIZES if row.applies(size, True, grouped=size > 2, board=True, store=2)
]


def layout(random: Random, size: int, contiguous: bool) -> tuple[int, ...]:
    """Return ranks spread over hosts at random."""
    hosts = [0, 0, 1, *(random.randrange(max(2, size // 2)) for _ in range(size))][:size]
    random.shuffle(hosts)
    return tuple(sorted(hosts) if contiguous else hosts)


def applies(row: Algorithm, size: int, commutative: bool, hosts: tuple[int, ...]) -> bool:
    distinct = len(set(hosts))
    starts = sum(1 for rank in range(size) if not rank or hosts[rank] != hosts[rank - 1])
    return row.applies(size, commutative, 1 < distinct < size, starts == distinct, board=True, store=2)


@pytest.mark.parametrize(("row", "size"), CASES, ids=[f"{row.collective}-{row.name}-{size}" for row, size in CASES])
def test_algorithm_matches_the_definition(row: Algorithm, size: int) -> None:
    random = Random(size)
    tried = 0
    for trial in range(8):
        eager, in_place, commutative = bool(trial & 1), bool(trial & 2), bool(trial & 4)
        hosts = layout(random, size, contiguous=bool(trial & 1) or not commutative)
        if not applies(row, size, commutative, hosts):
            continue
        nbytes = random.choice((0, 2, 2 * size - 2, 2 * size, 100))
        world = World(size, random, eager=eager, hosts=hosts)
        CHECKS[row.collective](Case(row.load(), world, random, nbytes, random.randrange(size), commutative, in_place))
        tried += 1
    assert tried


@settings(max_examples=600, deadline=None)
@given(
    row=st.sampled_from(ROWS),
    size=st.sampled_from(SIZES),
    elements=st.integers(0, 120),
    root=st.integers(0, 16),
    seed=st.integers(0, 2**32),
    eager=st.booleans(),
    commutative=st.booleans(),
    in_place=st.booleans(),
)
def test_any_order_of_events(
    row: Algorithm, size: int, elements: int, root: int, seed: int, eager: bool, commutative: bool, in_place: bool
) -> None:
    random = Random(seed)
    hosts = layout(random, size, contiguous=random.random() < 0.7)
    assume(applies(row, size, commutative, hosts))
    world = World(size, random, eager=eager, hosts=hosts)
    CHECKS[row.collective](Case(row.load(), world, random, 2 * elements, root % size, commutative, in_place))


@settings(max_examples=400, deadline=None)
@given(
    collective=st.sampled_from(COLLECTIVES),
    size=st.sampled_from(SIZES),
    nbytes=st.sampled_from((0, 2, 512, 10_000, 200_000)),
    root=st.integers(0, 16),
    seed=st.integers(0, 2**32),
    commutative=st.booleans(),
    board=st.booleans(),
    store=st.sampled_from((0, 1, 2)),
)
def test_the_selected_algorithm_is_right(
    collective: str, size: int, nbytes: int, root: int, seed: int, commutative: bool, board: bool, store: int
) -> None:
    random = Random(seed)
    hosts = layout(random, size, contiguous=random.random() < 0.5)
    run = select(collective, size, nbytes, commutative=commutative, hosts=hosts, board=board, store=store)
    world = World(size, random, eager=random.random() < 0.5, hosts=hosts)
    length = nbytes if nbytes <= 512 or "all" not in collective else 512
    CHECKS[collective](Case(run, world, random, length, root % size, commutative))
