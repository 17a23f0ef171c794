"""Cost formulas against counted frames and requests, exactly."""

from __future__ import annotations

from random import Random

import pytest

from fmi_mpi.coll.registry import ALGORITHMS, Algorithm

from .checks import CHECKS, Case
from .simulator import World

CASES = [
    (row, size)
    for rows in ALGORITHMS.values()
    for row in rows.values()
    for size in range(1, 18)
    if row.cost() is not None and row.applies(size, True, board=True, store=2)
]


@pytest.mark.parametrize("blocks", [0, 1, 6])
@pytest.mark.parametrize("eager", [True, False], ids=["eager", "rendezvous"])
@pytest.mark.parametrize(("row", "size"), CASES, ids=[f"{row.collective}-{row.name}-{size}" for row, size in CASES])
def test_formula_is_what_is_sent(row: Algorithm, size: int, blocks: int, eager: bool) -> None:
    nbytes = 2 * blocks * size * (1 << (size.bit_length() - 1))
    world = World(size, Random(blocks), eager=eager)
    CHECKS[row.collective](Case(row.load(), world, Random(size), nbytes, even=True))
    formula = row.cost()
    assert formula is not None
    assert formula(size, nbytes) == (world.requests if row.store else world.frames)


def test_every_algorithm_on_known_lengths_has_a_formula() -> None:
    without = {row.collective for rows in ALGORITHMS.values() for row in rows.values() if row.cost() is None}
    grouped = {row.collective for rows in ALGORITHMS.values() for row in rows.values() if row.groups}
    assert all(collective.startswith("object_") or collective in grouped for collective in without)
