"""The process's one ``World``, from Init to Finalize.

Rules of this file:
- This is the only module-level state of the package that identifies the process. ``reset`` forgets it, so that a
  reused environment (a warm function) starts clean.
"""

from __future__ import annotations

from fmi_mpi.constants import ERR_OTHER
from fmi_mpi.errors import MPIError
from fmi_mpi.runtime.world import World

__all__ = ["current", "initialize", "reset", "world"]

_world: World | None = None


def initialize() -> World:
    """Join the job; once."""
    global _world
    if _world is None:
        _world = World()
    return _world


def current() -> World | None:
    """Return the process's world, None before Init."""
    return _world


def world() -> World:
    """Return the process's world; raises MPIError before Init and after Finalize."""
    if _world is None:
        raise MPIError(ERR_OTHER, "MPI is not initialized; call MPI.Init() first")
    if _world.finalized:
        raise MPIError(ERR_OTHER, "MPI is finalized")
    return _world


def reset() -> None:
    """Forget the world."""
    global _world
    _world = None
