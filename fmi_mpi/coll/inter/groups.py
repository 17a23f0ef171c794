"""The two groups of an inter-communicator, as ranks of their union.

Rules of this folder:
- An algorithm runs on the union of both groups: ``ranks`` is the union, and peers are ranks of it.
- Within a group, or between a root and the other group, the algorithms for one group run on a subset of the union.
- The leader of a group is its first rank. A reduction keeps the rank order of the group that contributes.
- The group of a rooted collective's root takes no part but for the root itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fmi_mpi.coll.select import select
from fmi_mpi.coll.steps import Ranks, Schedule
from fmi_mpi.coll.two_level import Subset

__all__ = ["Groups", "audience", "idle", "within"]


class Groups(NamedTuple):
    """The ranks of the own group and of the other one."""

    local: Sequence[int]
    remote: Sequence[int]


def audience(ranks: Ranks, groups: Groups, root: int) -> Sequence[int]:
    """Return the ranks that take part in a rooted collective, the root first."""
    return (root, *(groups.remote if ranks.rank == root else groups.local))


def within(
    ranks: Ranks, members: Sequence[int], collective: str, nbytes: int, *arguments: Any, commutative: bool = True
) -> Schedule[Any]:
    """Run a collective for one group among some of the ranks; roots are positions among them."""
    subset = Subset(ranks, members)
    run = select(collective, subset.size, nbytes, commutative=commutative, hosts=subset.hosts)
    return (yield from subset.relabel(run(subset, *arguments)))


def idle() -> Schedule[None]:
    """Take no part."""
    yield from ()
