"""Locks that keep one thread at a time in each object collective of a communicator.

Rules of this file:
- MPI forbids simultaneous collectives on one communicator; mpi4py lets threads call the same object collective, one
  after another, and so do we. A lock is made when first needed and belongs to the communicator, not to its handle.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from fmi_mpi.api.exception import boundary

if TYPE_CHECKING:
    from fmi_mpi.api.comm import Comm

__all__ = ["comm_lock", "comm_lock_table", "in_turn"]

P = ParamSpec("P")
R = TypeVar("R")


@boundary
def comm_lock_table(comm: Comm) -> dict[str, Lock]:
    """Return the locks of a communicator, by the name of what they guard."""
    return comm._state().locks


def comm_lock(comm: Comm, key: str) -> Lock:
    """Return a communicator's lock for the callers that use this key."""
    table = comm_lock_table(comm)
    return table.get(key) or table.setdefault(key, Lock())


def in_turn(method: Callable[P, R]) -> Callable[P, R]:
    """Let threads into a collective of a communicator one after another."""
    name = method.__name__

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        locks = cast("Any", args[0])._state().locks
        with locks.get(name) or locks.setdefault(name, Lock()):
            return method(*args, **kwargs)

    return guarded
