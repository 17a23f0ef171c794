"""An inter-communicator's state: two disjoint groups, and their union on which its collectives run.

Rules of this file:
- The union is a communicator of both groups with the same context, so nobody has to agree on another one: the
  inter-communicator uses the context's point-to-point space, the union its other spaces.
- Both sides have to see the same union: first comes the group with the smallest first process number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fmi_mpi.coll.inter.groups import Groups
from fmi_mpi.coll.steps import Schedule as Steps
from fmi_mpi.runtime.communicator import Communicator
from fmi_mpi.runtime.schedule import Schedule

if TYPE_CHECKING:
    from fmi_mpi.runtime.world import World

__all__ = ["Intercommunicator"]


class Intercommunicator(Communicator):
    """A communicator whose ranks in calls mean the remote group."""

    remote: tuple[int, ...]

    def __init__(self, world: World, context: int, local: tuple[int, ...], remote: tuple[int, ...]) -> None:
        super().__init__(world, context, local, remote)
        own, other = range(len(local)), range(len(local), len(local) + len(remote))
        if remote[0] < local[0]:
            own, other = range(len(remote), len(local) + len(remote)), range(len(remote))
        self.groups = Groups(own, other)
        self._union: Communicator | None = None

    @property
    def union(self) -> Communicator:
        """All processes as one group."""
        if self._union is None:
            first, second = sorted((self.local, self.remote))
            self._union = Communicator(self.world, self.context, first + second)
        return self._union

    def start(self, steps: Steps[Any], finish: Callable[[Any], Any] | None = None, patience: int = 0) -> Schedule:
        """Start a collective, whose steps are those of the union."""
        return self.union.start(steps, finish, patience)
