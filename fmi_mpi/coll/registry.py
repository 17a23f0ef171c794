"""The table of all algorithms: one row per collective and algorithm.

Rules of this file:
- A row says when its algorithm is right, never when it is fast: that is selection's matter.
- Algorithms load on first use. Row ("allreduce", "ring") is the function ``ring`` of ``coll.allreduce.ring``, with its
  ``cost`` beside it, unless the row names another place.
- All algorithms of one collective have the same signature; it is documented at each.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NamedTuple

from fmi_mpi.coll.cost import Frames, Requests
from fmi_mpi.coll.steps import Schedule

__all__ = ["ALGORITHMS", "COLLECTIVES", "Algorithm", "Run"]

Run = Callable[..., Schedule[Any]]


class Algorithm(NamedTuple):
    """One row."""

    collective: str
    name: str
    place: str = ""
    """Module below ``fmi_mpi.coll``, and the function's name after a colon; empty: by the file's rule."""
    commutative: bool = False
    """Only for commutative operations."""
    power_of_two: bool = False
    """Only for sizes that are powers of two."""
    groups: bool = False
    """Only where several ranks share a host but not all do."""
    contiguous: bool = False
    """Only where the ranks of each host follow one another; always so for non-commutative operations on groups."""
    board: bool = False
    """Only for ranks that share a board."""
    store: int = 0
    """Only for ranks that share a store of this level; see ``channels.base.Capabilities``."""

    def applies(
        self,
        size: int,
        commutative: bool,
        grouped: bool = False,
        contiguous: bool = True,
        board: bool = False,
        store: int = 0,
    ) -> bool:
        """Whether the algorithm is right for this communicator and operation."""
        return (
            (board or not self.board)
            and store >= self.store
            and (commutative or not self.commutative)
            and not (self.power_of_two and size & (size - 1))
            and (not self.groups or (grouped and (contiguous or (commutative and not self.contiguous))))
        )

    def load(self) -> Run:
        """Return the algorithm itself."""
        module, function = self._locate()
        run: Run = getattr(import_module(module), function)
        return run

    def cost(self) -> Callable[[int, int], Frames | Requests] | None:
        """Return the cost formula; None for algorithms that have none: objects' lengths are not known beforehand.

        It is ``cost`` beside the algorithm or, where a file has several, has the algorithm's name with ``_cost``.
        """
        name, function = self._locate()
        module = import_module(name)
        formula: Callable[[int, int], Frames | Requests] | None
        formula = getattr(module, f"{function}_cost", None) or getattr(module, "cost", None)
        return formula

    def _locate(self) -> tuple[str, str]:
        module, _, function = (self.place or f"{self.collective}.{self.name}").partition(":")
        return f"fmi_mpi.coll.{module}", function or self.name


_ROWS: Final = (
    Algorithm("barrier", "dissemination"),
    Algorithm("barrier", "shared", board=True),
    Algorithm("barrier", "two_level", "two_level:barrier", groups=True),
    Algorithm("barrier", "via_store", "via_store.barrier:gathered", store=1),
    Algorithm("barrier", "via_store_direct", "via_store.barrier:direct", store=1),
    Algorithm("barrier", "counted", "via_store.barrier", store=2),
    Algorithm("bcast", "binomial"),
    Algorithm("bcast", "linear"),
    Algorithm("bcast", "pipelined"),
    Algorithm("bcast", "scatter_allgather"),
    Algorithm("bcast", "shared", board=True),
    Algorithm("bcast", "two_level", "two_level:bcast", groups=True),
    Algorithm("bcast", "via_store", "via_store.bcast", store=1),
    Algorithm("reduce", "binomial"),
    Algorithm("reduce", "linear"),
    Algorithm("reduce", "rabenseifner", commutative=True),
    Algorithm("reduce", "shared", board=True),
    Algorithm("reduce", "two_level", "two_level:reduce", groups=True),
    Algorithm("reduce", "via_store", "via_store.reduce", store=1),
    Algorithm("allreduce", "linear"),
    Algorithm("allreduce", "recursive_doubling"),
    Algorithm("allreduce", "ring", commutative=True),
    Algorithm("allreduce", "rabenseifner", commutative=True),
    Algorithm("allreduce", "reduce_bcast"),
    Algorithm("allreduce", "shared", board=True),
    Algorithm("allreduce", "two_level", "two_level:allreduce", groups=True),
    Algorithm("allreduce", "via_store", "via_store.allreduce:through_root", store=1),
    Algorithm("allreduce", "via_store_direct", "via_store.allreduce:direct", store=1),
    Algorithm("allreduce", "via_store_parts", "via_store.allreduce:by_parts", store=1),
    Algorithm("reduce_scatter", "recursive_halving", commutative=True),
    Algorithm("reduce_scatter", "pairwise", commutative=True),
    Algorithm("reduce_scatter", "linear"),
    Algorithm("reduce_scatter", "shared", board=True),
    Algorithm("reduce_scatter", "via_store", "via_store.reduce_scatter", store=1),
    Algorithm("reduce_scatter_block", "recursive_halving", "reduce_scatter.recursive_halving", commutative=True),
    Algorithm("reduce_scatter_block", "pairwise", "reduce_scatter.pairwise", commutative=True),
    Algorithm("reduce_scatter_block", "linear", "reduce_scatter.linear"),
    Algorithm("reduce_scatter_block", "shared", "reduce_scatter.shared", board=True),
    Algorithm("reduce_scatter_block", "via_store", "via_store.reduce_scatter", store=1),
    Algorithm("gather", "binomial"),
    Algorithm("gather", "linear"),
    Algorithm("gather", "shared", board=True),
    Algorithm("gather", "via_store", "via_store.gather", store=1),
    Algorithm("gatherv", "linear"),
    Algorithm("scatter", "binomial"),
    Algorithm("scatter", "linear"),
    Algorithm("scatter", "shared", board=True),
    Algorithm("scatter", "via_store", "via_store.scatter", store=1),
    Algorithm("scatterv", "linear"),
    Algorithm("allgather", "bruck"),
    Algorithm("allgather", "recursive_doubling", power_of_two=True),
    Algorithm("allgather", "ring"),
    Algorithm("allgather", "shared", board=True),
    Algorithm("allgather", "two_level", "two_level:allgather", groups=True, contiguous=True),
    Algorithm("allgather", "via_store", "via_store.allgather:through_root", store=1),
    Algorithm("allgather", "via_store_direct", "via_store.allgather:direct", store=1),
    Algorithm("allgatherv", "bruck"),
    Algorithm("allgatherv", "linear"),
    Algorithm("allgatherv", "ring"),
    Algorithm("alltoall", "bruck"),
    Algorithm("alltoall", "linear"),
    Algorithm("alltoall", "pairwise"),
    Algorithm("alltoall", "shared", board=True),
    Algorithm("alltoall", "via_store", "via_store.alltoall", store=1),
    Algorithm("alltoallv", "linear"),
    Algorithm("alltoallv", "pairwise"),
    Algorithm("alltoallw", "linear", "alltoallv.linear"),
    Algorithm("alltoallw", "pairwise", "alltoallv.pairwise"),
    Algorithm("scan", "recursive_doubling"),
    Algorithm("scan", "linear"),
    Algorithm("scan", "shared", board=True),
    Algorithm("scan", "via_store", "via_store.scan:direct", store=1),
    Algorithm("scan", "via_store_chain", "via_store.scan:chain", store=1),
    Algorithm("exscan", "recursive_doubling"),
    Algorithm("exscan", "linear"),
    Algorithm("exscan", "shared", board=True),
    Algorithm("exscan", "via_store", "via_store.scan:exclusive", store=1),
    Algorithm("exscan", "via_store_chain", "via_store.scan:exclusive_chain", store=1),
    Algorithm("neighbor_allgather", "linear", "neighbor.linear"),
    Algorithm("neighbor_allgatherv", "linear", "neighbor.linear"),
    Algorithm("neighbor_alltoall", "linear", "neighbor.linear"),
    Algorithm("neighbor_alltoallv", "linear", "neighbor.linear"),
    Algorithm("neighbor_alltoallw", "linear", "neighbor.linear"),
    Algorithm("object_bcast", "binomial", "objects.bcast"),
    Algorithm("object_bcast", "shared", "objects.shared:bcast", board=True),
    Algorithm("object_bcast", "via_store", "via_store.objects:bcast", store=1),
    Algorithm("object_gather", "linear", "objects.gather"),
    Algorithm("object_gather", "binomial", "objects.gather"),
    Algorithm("object_gather", "shared", "objects.shared:gather", board=True),
    Algorithm("object_gather", "via_store", "via_store.objects:gather", store=1),
    Algorithm("object_scatter", "linear", "objects.scatter"),
    Algorithm("object_scatter", "binomial", "objects.scatter"),
    Algorithm("object_scatter", "shared", "objects.shared:scatter", board=True),
    Algorithm("object_scatter", "via_store", "via_store.objects:scatter", store=1),
    Algorithm("object_allgather", "linear", "objects.allgather"),
    Algorithm("object_allgather", "bruck", "objects.allgather"),
    Algorithm("object_allgather", "shared", "objects.shared:allgather", board=True),
    Algorithm("object_allgather", "via_store", "via_store.objects:allgather", store=1),
    Algorithm("object_alltoall", "linear", "objects.alltoall"),
    Algorithm("object_alltoall", "pairwise", "objects.alltoall"),
    Algorithm("object_alltoall", "shared", "objects.shared:alltoall", board=True),
    Algorithm("object_alltoall", "via_store", "via_store.objects:alltoall", store=1),
    Algorithm("object_reduce", "binomial", "objects.reduce"),
    Algorithm("object_reduce", "shared", "objects.shared:reduce", board=True),
    Algorithm("object_reduce", "via_store", "via_store.objects:reduce", store=1),
    Algorithm("object_allreduce", "recursive_doubling", "objects.allreduce"),
    Algorithm("object_allreduce", "reduce_bcast", "objects.allreduce"),
    Algorithm("object_allreduce", "shared", "objects.shared:allreduce", board=True),
    Algorithm("object_allreduce", "via_store", "via_store.objects:allreduce", store=1),
    Algorithm("object_scan", "recursive_doubling", "objects.scan"),
    Algorithm("object_scan", "linear", "objects.scan"),
    Algorithm("object_scan", "shared", "objects.shared:scan", board=True),
    Algorithm("object_scan", "via_store", "via_store.objects:scan", store=1),
    Algorithm("object_exscan", "recursive_doubling", "objects.scan:exclusive_doubling"),
    Algorithm("object_exscan", "linear", "objects.scan:exclusive_linear"),
    Algorithm("object_exscan", "shared", "objects.shared:exscan", board=True),
    Algorithm("object_exscan", "via_store", "via_store.objects:exscan", store=1),
    Algorithm("object_neighbor_allgather", "linear", "objects.neighbor"),
    Algorithm("object_neighbor_alltoall", "linear", "objects.neighbor"),
)

COLLECTIVES: Final = tuple(dict.fromkeys(row.collective for row in _ROWS))

ALGORITHMS: Final = {
    collective: {row.name: row for row in _ROWS if row.collective == collective} for collective in COLLECTIVES
}
