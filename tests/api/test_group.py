"""Groups: set operations, ranges, translation, and their errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmi_mpi import MPI
from fmi_mpi.runtime.group import GroupImpl


def group(*procs: int) -> MPI.Group:
    return MPI.Group._wrap(GroupImpl(procs))


WORLD = group(10, 11, 12, 13)
members = st.lists(st.integers(0, 9), unique=True)


def procs(made: MPI.Group) -> tuple[int, ...]:
    return made._handle.procs


@given(members, members)
def test_set_operations_keep_the_order_of_the_first(first, second):
    one, other = group(*first), group(*second)
    assert procs(MPI.Group.Union(one, other)) == tuple(first + [proc for proc in second if proc not in first])
    assert procs(MPI.Group.Intersection(one, other)) == tuple(proc for proc in first if proc in second)
    assert procs(MPI.Group.Difference(one, other)) == tuple(proc for proc in first if proc not in second)


@given(members, st.randoms())
def test_comparison(first, random):
    shuffled = random.sample(first, len(first))
    expected = MPI.IDENT if shuffled == first else MPI.SIMILAR
    assert MPI.Group.Compare(group(*first), group(*shuffled)) == expected
    assert group(*first).Compare(group(*first, 99)) == MPI.UNEQUAL


@pytest.mark.parametrize(
    ("ranges", "ranks"),
    [
        ([], []),
        ([(0, 3, 1)], [0, 1, 2, 3]),
        ([(0, 3, 2)], [0, 2]),
        ([(3, 0, -2)], [3, 1]),
        ([(2, 2, 5)], [2]),
        ([(3, 3, -1), (0, 1, 1)], [3, 0, 1]),
    ],
)
def test_ranges_stand_for_ranks(ranges, ranks):
    assert procs(WORLD.Range_incl(ranges)) == procs(WORLD.Incl(ranks)) == tuple(10 + rank for rank in ranks)
    assert procs(WORLD.Range_excl(ranges)) == procs(WORLD.Excl(ranks))
    assert set(procs(WORLD.Excl(ranks))) == {10, 11, 12, 13} - {10 + rank for rank in ranks}


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 4, 1)],
        [(4, 0, -1)],
        [(-1, 0, 1)],
        [(0, -1, 1)],
        [(0, 0, 0)],
        [(1, 0, 1)],
        [(0, 2, -1)],
        [(0, 1, 1), (1, 2, 1)],
    ],
)
@pytest.mark.parametrize("method", ["Range_incl", "Range_excl"])
def test_malformed_ranges(method, ranges):
    with pytest.raises(MPI.Exception) as caught:
        getattr(WORLD, method)(ranges)
    assert caught.value == MPI.ERR_ARG


@pytest.mark.parametrize("method", ["Incl", "Excl", "Translate_ranks"])
@pytest.mark.parametrize("rank", [4, -5, MPI.UNDEFINED, MPI.ROOT])
def test_ranks_out_of_range(method, rank):
    with pytest.raises(MPI.Exception) as caught:
        getattr(WORLD, method)([0, rank])
    assert caught.value == MPI.ERR_RANK


def test_a_member_cannot_be_included_twice_but_excluded():
    with pytest.raises(MPI.Exception) as caught:
        WORLD.Incl([1, 1])
    assert caught.value == MPI.ERR_RANK
    assert procs(WORLD.Excl([1, 1])) == (10, 12, 13)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: WORLD.Incl([0.0]), TypeError),
        (lambda: WORLD.Incl("ab"), TypeError),
        (lambda: WORLD.Incl(0), TypeError),
        (lambda: WORLD.Range_incl([(0, 0)]), ValueError),
        (lambda: WORLD.Range_incl([0]), TypeError),
        (lambda: WORLD.Compare(None), TypeError),
        (lambda: MPI.Group.Union(WORLD, 5), TypeError),
        (lambda: WORLD.Translate_ranks([0], 5), TypeError),
        (lambda: MPI.Group.Create_from_session_pset(None, "mpi://SELF"), TypeError),
    ],
)
def test_arguments_of_the_wrong_type(call, kind):
    with pytest.raises(kind):
        call()


def test_translation():
    other = group(13, 99, 10)
    assert WORLD.Translate_ranks([0, 1, 3, MPI.PROC_NULL], other) == [2, MPI.UNDEFINED, 0, MPI.PROC_NULL]
    assert WORLD.Translate_ranks(None, other) == [2, MPI.UNDEFINED, MPI.UNDEFINED, 0]
    assert WORLD.Translate_ranks([0, 3], MPI.GROUP_EMPTY) == [MPI.UNDEFINED] * 2
    assert group(0, 7).Translate_ranks() == [0, MPI.UNDEFINED]  # towards the world, of one process here


NULL = MPI.GROUP_NULL


@pytest.mark.parametrize(
    "call",
    [
        NULL.Get_size,
        NULL.Get_rank,
        NULL.Dup,
        NULL.Translate_ranks,
        MPI.Group().Free,
        lambda: NULL.size,
        lambda: NULL.Incl([]),
        lambda: NULL.Excl([]),
        lambda: NULL.Range_incl([]),
        lambda: NULL.Range_excl([]),
        lambda: WORLD.Compare(NULL),
        lambda: WORLD.Translate_ranks([0], NULL),
        lambda: MPI.Group.Union(WORLD, NULL),
        lambda: MPI.Group.Intersection(NULL, WORLD),
        lambda: MPI.Group.Difference(NULL, NULL),
    ],
)
def test_the_null_group_is_refused(call):
    with pytest.raises(MPI.Exception) as caught:
        call()
    assert caught.value == MPI.ERR_GROUP


def test_an_empty_result_is_the_empty_group():
    for made in (WORLD.Incl([]), WORLD.Excl(range(4)), MPI.Group.Difference(WORLD, WORLD), MPI.GROUP_EMPTY.Dup()):
        assert made == MPI.GROUP_EMPTY and made is not MPI.GROUP_EMPTY
    assert MPI.GROUP_EMPTY.Get_rank() == MPI.UNDEFINED
    MPI.GROUP_EMPTY.Free()
    assert MPI.GROUP_EMPTY


def test_a_duplicate_is_another_group_with_the_same_members():
    dup = WORLD.Dup()
    assert dup != WORLD and dup.Compare(WORLD) == MPI.IDENT
    dup.Free()
    assert dup == NULL and WORLD.size == 4


class OwnGroup(MPI.Group):
    """A user's subclass."""


def test_results_are_of_the_class_that_is_called():
    own = OwnGroup(WORLD)
    for made in (own.Dup(), own.Incl([0]), own.Range_excl([]), OwnGroup.Union(WORLD, WORLD)):
        assert type(made) is OwnGroup


def test_groups_of_communicators_know_this_process():
    assert MPI.COMM_SELF.Get_group().rank == 0
    assert MPI.COMM_WORLD.Get_group().size == MPI.COMM_WORLD.size
    assert WORLD.rank == MPI.UNDEFINED
