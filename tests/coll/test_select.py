"""Which algorithm is chosen, and that choices are right, stable and equal on all ranks."""

from __future__ import annotations

import pytest

from fmi_mpi.coll.registry import ALGORITHMS, COLLECTIVES
from fmi_mpi.coll.select import RULES, Selector, select
from fmi_mpi.config import Settings
from fmi_mpi.errors import ConfigError

CONTIGUOUS = (0, 0, 1, 1)
SPREAD = (0, 1, 0, 1)


def name(collective: str, size: int, nbytes: int = 0, **options: object) -> str:
    commutative = bool(options.pop("commutative", True))
    return Selector(size, **options).choose(collective, nbytes, commutative).name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("collective", "size", "nbytes", "commutative", "expected"),
    [
        ("allreduce", 2, 8, True, "recursive_doubling"),
        ("allreduce", 4, 8 << 10, True, "recursive_doubling"),
        ("allreduce", 2, 512 << 10, True, "recursive_doubling"),
        ("allreduce", 4, 1 << 20, True, "ring"),
        ("allreduce", 4, (8 << 10) + 1, True, "rabenseifner"),
        ("allreduce", 6, 1 << 20, True, "ring"),
        ("allreduce", 6, 1 << 20, False, "recursive_doubling"),
        ("reduce", 8, 1 << 20, True, "rabenseifner"),
        ("reduce", 8, 1 << 20, False, "binomial"),
        ("reduce_scatter", 8, 8, False, "linear"),
        ("bcast", 8, 8, True, "binomial"),
        ("bcast", 8, 1 << 20, True, "pipelined"),
        ("bcast", 16, 1 << 20, True, "scatter_allgather"),
        ("bcast", 8, 64 << 20, True, "pipelined"),
        ("allgather", 8, 8, True, "recursive_doubling"),
        ("allgather", 6, 8, True, "bruck"),
        ("allgather", 6, 1 << 20, True, "ring"),
        ("alltoall", 16, 8, True, "bruck"),
        ("alltoall", 16, 1 << 20, True, "pairwise"),
        ("object_allgather", 17, 0, True, "bruck"),
    ],
)
def test_rules(collective: str, size: int, nbytes: int, commutative: bool, expected: str) -> None:
    assert name(collective, size, nbytes, commutative=commutative) == expected


@pytest.mark.parametrize(
    ("size", "cores", "nbytes", "expected"),
    [
        (8, 2, 680, "linear"),
        (8, 3, 64 << 10, "linear"),
        (8, 4, 680, "recursive_doubling"),
        (8, 0, 680, "recursive_doubling"),
        (8, 2, (64 << 10) + 1, "rabenseifner"),
        (2, 1, 680, "recursive_doubling"),
    ],
)
def test_ranks_that_crowd_few_cores_send_the_fewest_messages(size: int, cores: int, nbytes: int, expected: str) -> None:
    assert name("allreduce", size, nbytes, cores=cores) == expected
    assert name("allreduce", size, nbytes, cores=cores, board=True) == "shared"


def test_rules_cover_every_collective_and_end_in_one_without_conditions() -> None:
    assert RULES.keys() == ALGORITHMS.keys() == set(COLLECTIVES)
    for collective, rules in RULES.items():
        last = rules[-1]
        assert last == type(last)(last.name), collective
        assert ALGORITHMS[collective][last.name].applies(7, commutative=False), collective


def test_limits_are_powers_of_two_as_the_cache_takes_them_to_be() -> None:
    limits = {rule.nbytes for rules in RULES.values() for rule in rules}
    assert all(limit & (limit - 1) == 0 for limit in limits)


@pytest.mark.parametrize(
    ("collective", "size", "nbytes", "expected"),
    [
        ("barrier", 3, 0, ["counted", "via_store"]),
        ("allreduce", 4, 8, ["via_store_direct", "via_store"]),
        ("allreduce", 8, 8, ["via_store", "via_store"]),
        ("allreduce", 8, 2 << 20, ["via_store_parts", "via_store"]),
        ("allgather", 8, 1 << 20, ["via_store_direct", "via_store_direct"]),
        ("alltoall", 8, 8, ["via_store", "linear"]),
        ("object_allreduce", 8, 0, ["via_store", "via_store"]),
    ],
)
def test_over_a_store_that_is_asked_and_one_that_tells(
    collective: str, size: int, nbytes: int, expected: list[str]
) -> None:
    assert [name(collective, size, nbytes, store=2, told=told) for told in (False, True)] == expected


@pytest.mark.parametrize("row", [row for rows in ALGORITHMS.values() for row in rows.values()], ids=str)
def test_every_row_loads(row: object) -> None:
    assert callable(row.load())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("collective", "hosts", "commutative", "expected"),
    [
        ("allreduce", CONTIGUOUS, True, True),
        ("allreduce", CONTIGUOUS, False, True),
        ("allreduce", SPREAD, True, True),
        ("allreduce", SPREAD, False, False),
        ("allgather", CONTIGUOUS, True, True),
        ("allgather", SPREAD, True, False),
        ("barrier", SPREAD, True, True),
        ("bcast", (0, 0, 0, 0), True, False),
        ("bcast", (0, 1, 2, 3), True, False),
        ("scan", CONTIGUOUS, True, False),
    ],
)
def test_two_levels_where_ranks_share_hosts(
    collective: str, hosts: tuple[int, ...], commutative: bool, expected: bool
) -> None:
    chosen = name(collective, 4, 64, hosts=hosts, commutative=commutative)
    assert (chosen == "two_level") == expected


def test_forced() -> None:
    assert name("allreduce", 4, 8, forced={"allreduce": "ring"}) == "ring"
    assert name("allreduce", 4, 8, hosts=CONTIGUOUS, forced={"allreduce": "ring"}) == "ring"
    assert name("allreduce", 4, 8, forced={"allreduce": "ring"}, commutative=False) == "recursive_doubling"
    assert name("allgather", 6, 8, forced={"allgather": "recursive_doubling"}) == "bruck"
    assert name("bcast", 4, 8, forced={"bcast": "two_level"}) == "binomial"


def test_forced_by_the_environment() -> None:
    settings = Settings({"FMI_COLL_ALLREDUCE": "ring"})
    run = select("allreduce", 4, 8, hosts=(0, 0, 0, 0), forced=settings.algorithms)
    assert run is ALGORITHMS["allreduce"]["ring"].load()


@pytest.mark.parametrize(
    ("forced", "words"),
    [
        ({"allreduce": "rng"}, ("'rng'", "recursive_doubling", "nearest is 'ring'")),
        ({"allredcue": "ring"}, ("'allredcue'", "reduce_scatter_block", "nearest is 'allreduce'")),
    ],
)
def test_unknown_names(forced: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        select("allreduce", 4, 8, hosts=(), forced=forced)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("collective", COLLECTIVES)
@pytest.mark.parametrize("commutative", [True, False])
def test_remembered_choices_are_those_of_the_rules(collective: str, commutative: bool) -> None:
    for size in (1, 2, 5, 8, 70):
        selector = Selector(size)
        sizes = [1 << power for power in range(28)]
        for nbytes in (0, *sizes, *(power + 1 for power in sizes), *(power - 1 for power in reversed(sizes))):
            expected = Selector(size).choose(collective, nbytes, commutative).load()
            assert selector(collective, nbytes, commutative) is expected, (size, nbytes)
