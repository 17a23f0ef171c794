"""The state behind a request: an operation, how to start it again, and what to do with what it brings.

Rules of this file:
- A request is *active* from start to completion. A persistent one becomes inactive again, others become null.
- ``decode`` turns the completed operation into the object that lower-case completion calls return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fmi_mpi.constants import ANY_SOURCE, ANY_TAG, PROC_NULL
from fmi_mpi.engine.operations import Operation, RecvOp, SendOp

if TYPE_CHECKING:
    from fmi_mpi.runtime.world import World

__all__ = ["RequestState", "nothing_received", "nothing_sent"]


def nothing_received() -> RecvOp:
    """Return the completed receive from PROC_NULL (MPI-4.1, 3.10)."""
    op = RecvOp(-1, PROC_NULL, ANY_TAG, None)
    op.done = True
    return op


def nothing_sent() -> SendOp:
    """Return the completed send to PROC_NULL."""
    op = SendOp(-1)
    op.source = ANY_SOURCE
    op.done = True
    return op


class RequestState:
    """One request.

    Args:
        world: the process, whose progress completes the operation.
        op: the running operation, or None for an inactive persistent request.
        cancel: tries to cancel ``op``; None where the kind of request cannot be cancelled.
        restart: starts a persistent request; None for others.
        decode: see above. keep: whatever must live as long as the operation runs.
        end: of a partitioned message, see ``runtime.partitioned``.
    """

    __slots__ = ("__weakref__", "cancel", "decode", "end", "keep", "op", "reporting", "restart", "world")

    def __init__(
        self,
        world: World,
        op: Operation | None,
        cancel: Callable[[Any], bool] | None = None,
        restart: Callable[[], Operation] | None = None,
        decode: Callable[[Any], Any] | None = None,
        keep: object = None,
        end: object = None,
    ) -> None:
        self.world = world
        self.op = op
        self.cancel = cancel
        self.restart = restart
        self.decode = decode
        self.keep = keep
        self.end = end
        self.reporting: Callable[[], None] | None = None

    def retire(self) -> bool:
        """The completion has been reported; True if the request lives on as an inactive persistent one."""
        self.op = None
        return self.restart is not None
