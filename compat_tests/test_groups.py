"""Groups: set algebra, ranges, translation, comparison, lifetime."""

from __future__ import annotations

from typing import Any

import pytest

from compat_tests.support import constant_name, outcome

RELATIONS = ("IDENT", "SIMILAR", "UNEQUAL", "CONGRUENT")


@pytest.fixture
def groups(MPI: Any) -> Any:
    """The world's group and some of its subsets and orders, by name."""
    world = MPI.COMM_WORLD.Get_group()
    size = world.Get_size()
    yield {
        "world": world,
        "empty": MPI.Group(MPI.GROUP_EMPTY),
        "first": world.Incl([0]),
        "last": world.Incl([size - 1]),
        "reversed": world.Incl(range(size)[::-1]),
        "even": world.Range_incl([(0, size - 1, 2)]),
        "without first": world.Excl([0]),
    }
    world.Free()


NAMES = ("world", "empty", "first", "last", "reversed", "even", "without first")


def members(MPI: Any, group: Any) -> list[str]:
    """Return a group's ranks in the world."""
    world = MPI.COMM_WORLD.Get_group()
    return [str(rank) for rank in group.Translate_ranks(range(group.Get_size()), world)] if group.Get_size() else []


@pytest.mark.parametrize("name", NAMES)
def test_members(MPI: Any, groups: Any, name: str, record: Any) -> None:
    group = groups[name]
    record(group.Get_size(), group.size, constant_name(MPI, group.Get_rank(), "UNDEFINED"), members(MPI, group))


@pytest.mark.parametrize("one", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_algebra(MPI: Any, groups: Any, one: str, other: str, record: Any) -> None:
    a, b = groups[one], groups[other]
    record(constant_name(MPI, MPI.Group.Compare(a, b), *RELATIONS))
    for name in ("Union", "Intersection", "Difference"):
        record(name, members(MPI, getattr(MPI.Group, name)(a, b)))


@pytest.mark.parametrize("one", NAMES[2:])
@pytest.mark.parametrize("other", NAMES)
def test_translation(MPI: Any, groups: Any, one: str, other: str, record: Any) -> None:
    a, b = groups[one], groups[other]
    ranks = [*range(a.Get_size()), MPI.PROC_NULL]
    record([constant_name(MPI, rank, "UNDEFINED", "PROC_NULL") for rank in MPI.Group.Translate_ranks(a, ranks, b)])


@pytest.mark.parametrize("name", ["Range_incl", "Range_excl"])
@pytest.mark.parametrize("ranges", [[(0, 0, 1)], [(4, 0, -2)], [(0, 1, 1), (3, 4, 1)], [(4, 4, 1), (0, 2, 1)], []])
def test_ranges(MPI: Any, groups: Any, name: str, ranges: Any, record: Any) -> None:
    size = groups["world"].Get_size()
    fitting = [span for span in ranges if max(span[:2]) < size]
    record(members(MPI, getattr(groups["world"], name)(fitting)))


BAD = {
    "rank too large": lambda MPI, g: g.Incl([g.Get_size()]),
    "rank negative": lambda MPI, g: g.Incl([-1]),
    "zero stride": lambda MPI, g: g.Range_incl([(0, 0, 0)]),
    "range too large": lambda MPI, g: g.Range_incl([(0, g.Get_size(), 1)]),
    "two items": lambda MPI, g: g.Range_incl([(0, 0)]),
    "translated too large": lambda MPI, g: MPI.Group.Translate_ranks(g, [g.Get_size()], g),
    "null group": lambda MPI, g: MPI.GROUP_NULL.Get_size(),
    "null in union": lambda MPI, g: MPI.Group.Union(g, MPI.GROUP_NULL),
    "null compared": lambda MPI, g: MPI.Group.Compare(g, MPI.GROUP_NULL),
    "free null": lambda MPI, g: MPI.Group(MPI.GROUP_NULL).Free(),
    "text": lambda MPI, g: g.Incl("text"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes(MPI: Any, groups: Any, case: str, record: Any) -> None:
    record(outcome(MPI, BAD[case], MPI, groups["world"]))


def test_lifetime(MPI: Any, groups: Any, record: Any) -> None:
    group = groups["world"].Dup()
    copy = MPI.Group(group)
    record(group == copy, group == groups["world"], bool(group), bool(MPI.GROUP_NULL))
    group.Free()
    record(group == MPI.GROUP_NULL, members(MPI, groups["reversed"]))
