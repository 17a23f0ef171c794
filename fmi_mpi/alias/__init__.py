"""``import mpi4py`` resolves to fmi_mpi, for unchanged scripts and libraries.

Rules of this file:
- A package called ``mpi4py`` stands first on PYTHONPATH; importing it gives ``fmi_mpi`` itself, and every
  ``mpi4py.x.y`` is the same module object as ``fmi_mpi.x.y``. Children of a rank inherit the path.
"""

from __future__ import annotations

import os

__all__ = ["directory", "search_path"]


def directory() -> str:
    """Return the directory to put first on PYTHONPATH."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "path")


def search_path(existing: str) -> str:
    """Return a PYTHONPATH that starts with the alias; ``existing`` is the present one."""
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parts = [directory(), *(part for part in existing.split(os.pathsep) if part and part != directory())]
    if package_root not in parts:
        parts.append(package_root)
    return os.pathsep.join(parts)
