"""``MPI.Group``: ordered sets of processes (MPI-4.1, 7.3).

Rules of this file:
- A group is the tuple of its process numbers; all operations are local and make a new one.
- Errors: a null group ERR_GROUP, a rank out of range ERR_RANK, a malformed range ERR_ARG.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.constants import ERR_ARG, ERR_GROUP, ERR_RANK, IDENT, PROC_NULL, SIMILAR, UNDEFINED, UNEQUAL
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.group import GroupImpl
from fmi_mpi.runtime.process import current

if TYPE_CHECKING:
    from fmi_mpi.api.session import Session

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
            group: the other group; the world's by default. UNDEFINED is the rank of who is not in it.
        """
        state = self._state()
        given = range(len(state.procs)) if ranks is None else [index(rank) for rank in ranks]
        other = _world() if group is None else _operand(group)
        inside = [rank for rank in given if rank != PROC_NULL]
        _check(state, inside)
        return [rank if rank == PROC_NULL else other.rank_of(state.procs[rank]) for rank in given]

    @boundary
    def Compare(self, group: Group) -> int:
        """Return IDENT, SIMILAR (the same members in another order) or UNEQUAL."""
        mine, other = self._state().procs, _operand(group).procs
        if mine == other:
            return IDENT
        return SIMILAR if sorted(mine) == sorted(other) else UNEQUAL

    @boundary
    def Dup(self) -> Self:
        """Return a copy of the group."""
        return self._of(self._state().procs)

    @classmethod
    @boundary
    def Union(cls, group1: Group, group2: Group) -> Self:
        """Return the members of the first group, then those of the second that are not in it."""
        first, second = _operand(group1).procs, _operand(group2).procs
        return cls._of(tuple(dict.fromkeys(first + second)))

    @classmethod
    @boundary
    def Intersection(cls, group1: Group, group2: Group) -> Self:
        """Return the members of the first group that are in the second, too."""
        first, second = _operand(group1).procs, set(_operand(group2).procs)
        return cls._of([proc for proc in first if proc in second])

    Intersect = Intersection

    @classmethod
    @boundary
    def Difference(cls, group1: Group, group2: Group) -> Self:
        """Return the members of the first group that are not in the second."""
        first, second = _operand(group1).procs, set(_operand(group2).procs)
        return cls._of([proc for proc in first if proc not in second])

    @boundary
    def Incl(self, ranks: Sequence[int]) -> Self:
        """Return the members with these ranks, in this order."""
        return self._include([index(rank) for rank in ranks])

    @boundary
    def Excl(self, ranks: Sequence[int]) -> Self:
        """Return the members without those with these ranks."""
        return self._exclude([index(rank) for rank in ranks])

    @boundary
    def Range_incl(self, ranks: Sequence[tuple[int, int, int]]) -> Self:
        """Return the members in these ranges (first rank, last rank, stride), in their order."""
        return self._include(_ranges(self._state(), ranks))

    @boundary
    def Range_excl(self, ranks: Sequence[tuple[int, int, int]]) -> Self:
        """Return the members outside of these ranges (first rank, last rank, stride)."""
        return self._exclude(_ranges(self._state(), ranks))

    def _include(self, ranks: Sequence[int]) -> Self:
        state = self._state()
        _check(state, ranks)
        if len(set(ranks)) != len(ranks):
            raise MPIError(ERR_RANK, "a rank is named twice")
        return self._of([state.procs[rank] for rank in ranks])

    def _exclude(self, ranks: Sequence[int]) -> Self:
        state = self._state()
        _check(state, ranks)
        out = set(ranks)
        return self._of([proc for rank, proc in enumerate(state.procs) if rank not in out])

    @classmethod
    def Create_from_session_pset(cls, session: Session, pset_name: str) -> Self:
        """Return the group of a session's process set."""
        from fmi_mpi.api.session import Session

        if not isinstance(session, Session):
            raise TypeError(f"expecting Session, got {type(session).__name__}")
        return cls(session.Create_group(pset_name))

    @boundary
    def Free(self) -> None:
        """Free the group; the predefined empty one stays."""
        self._state()
        if not self._is_constant():
            self._handle = None


def _world() -> GroupImpl:
    world = current()
    return GroupImpl(tuple(range(world.size if world else 1)))


def _operand(group: Group) -> GroupImpl:
    """Return the state of an argument; raises MPIError if it is null."""
    if not isinstance(group, Group):
        raise TypeError(f"expecting Group, got {type(group).__name__}")
    return group._state()


def _check(state: GroupImpl, ranks: Sequence[int]) -> None:
    """Raise MPIError unless all these are ranks of the group."""
    size = len(state.procs)
    for rank in ranks:
        if not 0 <= rank < size:
            raise MPIError(ERR_RANK, f"{rank} is not a rank of a group of {size}")


def _ranges(state: GroupImpl, ranges: Sequence[tuple[int, int, int]]) -> list[int]:
    """Return the ranks in (first, last, stride) triplets; raises MPIError if one is malformed or two overlap."""
    size = len(state.procs)
    found: list[int] = []
    for first, last, stride in ranges:
        if not 0 <= index(first) < size or not 0 <= index(last) < size:
            raise MPIError(ERR_ARG, f"the range from {first} to {last} is not within a group of {size}")
        if stride == 0 or (last - first) * stride < 0:
            raise MPIError(ERR_ARG, f"the range from {first} to {last} does not end with a stride of {stride}")
        found.extend(range(first, last + (1 if stride > 0 else -1), index(stride)))
    if len(set(found)) != len(found):
        raise MPIError(ERR_ARG, "a rank is in two of the ranges")
    return found


GROUP_NULL = Group()
GROUP_EMPTY = Group._wrap(GroupImpl(()))
