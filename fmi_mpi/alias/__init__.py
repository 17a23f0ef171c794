"""``import mpi4py`` gives fmi_mpi, for unchanged scripts and libraries.

Rules of this package:
- The directory ``site`` holds a package called ``mpi4py`` and nothing else. First on PYTHONPATH, it is found by the
  program and by all its children; importing it calls ``install``.
- ``mpi4py[.x.y]`` is the *same* module object as ``fmi_mpi[.x.y]``, under both names in ``sys.modules``. Each keeps
  the ``__spec__`` of its own import.
- Programs hand ``mpi4py.__path__[0]`` to their children: that is the directory of the stand-in, whose parent is the
  one to have on the path.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Final

import fmi_mpi

__all__ = ["directory", "install", "search_path"]

_ALIAS: Final = "mpi4py"
_TARGET: Final = "fmi_mpi"


def directory() -> str:
    """Return the directory to put first on PYTHONPATH."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def search_path(existing: str) -> str:
    """Return a PYTHONPATH that starts with the alias; ``existing`` is the present one."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(fmi_mpi.__file__)))
    parts = [part for part in existing.split(os.pathsep) if part and part != directory()]
    if root not in parts and os.path.basename(root) not in ("site-packages", "dist-packages"):
        parts.append(root)
    return os.pathsep.join([directory(), *parts])


def install() -> None:
    """From now on ``import mpi4py`` gives fmi_mpi in this process. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        fmi_mpi.__path__.insert(0, os.path.join(directory(), _ALIAS))
    sys.modules[_ALIAS] = fmi_mpi
    sys.modules[f"{_ALIAS}.rc"] = fmi_mpi.rc  # type: ignore[assignment]


class _Finder(MetaPathFinder):
    """Finds ``mpi4py.x.y`` where ``fmi_mpi.x.y`` is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of an alias, None for any other name and for what fmi_mpi lacks."""
        if fullname != _ALIAS and not fullname.startswith(f"{_ALIAS}."):
            return None
        real = importlib.util.find_spec(_TARGET + fullname[len(_ALIAS) :])
        if real is None:
            return None
        spec = ModuleSpec(fullname, _Loader(real), origin=real.origin)
        spec.submodule_search_locations = real.submodule_search_locations
        return spec


class _Loader(InspectLoader):
    """Loads an alias by importing the module itself; with code and source for ``python -m`` and tracebacks."""

    def __init__(self, real: ModuleSpec) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that the alias stands for."""
        module = importlib.import_module(self._real.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back, which the import system has just replaced."""
        module.__spec__ = self._spec

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the module's code."""
        loader = self._real.loader
        return loader.get_code(self._real.name) if isinstance(loader, InspectLoader) else None

    def get_source(self, fullname: str) -> str | None:
        """Return the module's source text."""
        loader = self._real.loader
        return loader.get_source(self._real.name) if isinstance(loader, InspectLoader) else None

    def is_package(self, fullname: str) -> bool:
        """Tell whether the module is a package."""
        return self._real.submodule_search_locations is not None
