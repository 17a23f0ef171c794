"""A group: an ordered set of processes of the job."""

from __future__ import annotations

from fmi_mpi.constants import UNDEFINED

__all__ = ["GroupImpl"]


class GroupImpl:
    """The process numbers of a group, by rank."""

    __slots__ = ("__weakref__", "_ranks", "procs")

    def __init__(self, procs: tuple[int, ...]) -> None:
        self.procs = procs
        self._ranks: dict[int, int] | None = None

    def rank_of(self, proc: int) -> int:
        """Return the rank of a process, or UNDEFINED."""
        if self._ranks is None:
            self._ranks = {number: rank for rank, number in enumerate(self.procs)}
        return self._ranks.get(proc, UNDEFINED)
