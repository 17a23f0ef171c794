"""``MPI.Group``: ordered sets of processes (MPI-4.1, 7.3).

Rules of this file:
- A group is the tuple of its process numbers; all operations are local and make a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.constants import ERR_ARG, ERR_GROUP, ERR_RANK, IDENT, PROC_NULL, SIMILAR, UNDEFINED, UNEQUAL
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.group import GroupImpl
from fmi_mpi.runtime.process import current

__all__ = ["GROUP_EMPTY", "GROUP_NULL", "Group"]


class Group(Handle, family=True):
    """Group of processes."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, group: Group | None = None) -> Self:
        return super().__new__(cls, group)

    def _state(self) -> GroupImpl:
        state: GroupImpl | None = self._handle
        if state is None:
            raise MPIError(ERR_GROUP, "the group is null")
        return state

    @classmethod
    def _of(cls, procs: Sequence[int]) -> Self:
        return cls._wrap(GroupImpl(tuple(procs)) if procs else GROUP_EMPTY._handle)

    @boundary
    def Get_size(self) -> int:
        """Return the number of processes."""
        return len(self._state().procs)

    @boundary
    def Get_rank(self) -> int:
        """Return the rank of this process, or UNDEFINED."""
        world = current()
        state = self._state()
        return UNDEFINED if world is None else state.rank_of(world.proc)

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.Get_size()

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return self.Get_rank()

    @boundary
    def Translate_ranks(self, ranks: Sequence[int] | None = None, group: Group | None = None) -> list[int]:
        """Return the ranks that processes of this group have in another.

        Args:
            ranks: in this group; all by default. PROC_NULL stays PROC_NULL.
            group: the other group; the world's by default.
        """
        state = self._state()
        if group is None:
            world = current()
            other = GroupImpl(tuple(range(world.size if world else 1)))
        else:
            other = group._state()
        found = []
        for rank in range(len(state.procs)) if ranks is None else ranks:
            if rank == PROC_NULL:
                found.append(PROC_NULL)
            else:
                found.append(other.rank_of(state.procs[_valid(state, rank)]))
        return found

    @boundary
    def Compare(self, group: Group) -> int:
        """Return IDENT, SIMILAR (the same members in another order) or UNEQUAL."""
        mine, other = self._state().procs, group._state().procs
        if mine == other:
            return IDENT
        return SIMILAR if sorted(mine) == sorted(other) else UNEQUAL

    @boundary
    def Dup(self) -> Self:
        """Return a copy of the group."""
        return type(self)._wrap(GroupImpl(self._state().procs))

    @classmethod
    @boundary
    def Union(cls, group1: Group, group2: Group) -> Self:
        """Return the members of the first group, then those of the second that are not in it."""
        first, second = group1._state().procs, group2._state().procs
        return cls._of(first + tuple(proc for proc in second if proc not in set(first)))

    @classmethod
    @boundary
    def Intersection(cls, group1: Group, group2: Group) -> Self:
        """Return the members of the first group that are in the second, too."""
        second = set(group2._state().procs)
        return cls._of([proc for proc in group1._state().procs if proc in second])

    Intersect = Intersection

    @classmethod
    @boundary
    def Difference(cls, group1: Group, group2: Group) -> Self:
        """Return the members of the first group that are not in the second."""
        second = set(group2._state().procs)
        return cls._of([proc for proc in group1._state().procs if proc not in second])

    @boundary
    def Incl(self, ranks: Sequence[int]) -> Self:
        """Return the members with these ranks, in this order."""
        state = self._state()
        return type(self)._of([state.procs[rank] for rank in _distinct(state, ranks)])

    @boundary
    def Excl(self, ranks: Sequence[int]) -> Self:
        """Return the members without those with these ranks."""
        state = self._state()
        out = set(_distinct(state, ranks))
        return type(self)._of([proc for rank, proc in enumerate(state.procs) if rank not in out])

    @boundary
    def Range_incl(self, ranks: Sequence[tuple[int, int, int]]) -> Self:
        """Return the members in these ranges (first rank, last rank, stride)."""
        state = self._state()
        return type(self)._of([state.procs[rank] for rank in _distinct(state, _ranges(ranks))])

    @boundary
    def Range_excl(self, ranks: Sequence[tuple[int, int, int]]) -> Self:
        """Return the members outside of these ranges (first rank, last rank, stride)."""
        state = self._state()
        out = set(_distinct(state, _ranges(ranks)))
        return type(self)._of([proc for rank, proc in enumerate(state.procs) if rank not in out])

    @classmethod
    def Create_from_session_pset(cls, session: Any, pset_name: str) -> Self:
        """Return the group of a session's process set."""
        return cls(session.Create_group(pset_name))

    @boundary
    def Free(self) -> None:
        """Free the group."""
        self._state()
        if self is GROUP_EMPTY:
            raise MPIError(ERR_GROUP, "the empty group cannot be freed")
        self._handle = None

    def free(self) -> None:
        """Free the group if it is neither null nor predefined."""
        if self._handle is not None and not self._handle.permanent:
            self.Free()


def _valid(state: GroupImpl, rank: int) -> int:
    if not 0 <= rank < len(state.procs):
        raise MPIError(ERR_RANK, f"{rank} is not a rank of a group of {len(state.procs)}")
    return rank


def _distinct(state: GroupImpl, ranks: Sequence[int]) -> Sequence[int]:
    for rank in ranks:
        _valid(state, rank)
    if len(set(ranks)) != len(ranks):
        raise MPIError(ERR_RANK, "a rank is named twice")
    return ranks


def _ranges(ranks: Sequence[tuple[int, int, int]]) -> list[int]:
    found: list[int] = []
    for first, last, stride in ranks:
        if stride == 0:
            raise MPIError(ERR_ARG, "the stride of a range is zero")
        found.extend(range(first, last + (1 if stride > 0 else -1), stride))
    return found


GROUP_NULL = Group()
GROUP_EMPTY = Group._wrap(GroupImpl((), permanent=True))
