"""The import hook behind the alias.

Rules of this file:
- ``mpi4py[.x.y]`` is loaded as ``fmi_mpi[.x.y]`` and entered in ``sys.modules`` under both names.
- The target's ``__spec__`` is left as its own import made it; ``get_code`` serves ``python -m mpi4py.x``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

__all__ = ["install"]

_ALIAS = "mpi4py"
_TARGET = "fmi_mpi"


class _Loader(InspectLoader):
    def __init__(self, target: str) -> None:
        self.target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec on the module; give it its own back.
        module.__spec__ = self._spec
        if self._spec is not None:
            module.__loader__ = self._spec.loader
            module.__package__ = self._spec.parent

    def get_code(self, fullname: str) -> CodeType | None:
        spec = importlib.util.find_spec(self.target)
        if spec is None or spec.loader is None:
            return None
        code: CodeType | None = spec.loader.get_code(self.target)  # type: ignore[attr-defined]
        return code

    def get_source(self, fullname: str) -> str | None:
        spec = importlib.util.find_spec(self.target)
        if spec is None or spec.loader is None:
            return None
        source: str | None = spec.loader.get_source(self.target)  # type: ignore[attr-defined]
        return source

    def is_package(self, fullname: str) -> bool:
        spec = importlib.util.find_spec(self.target)
        return spec is not None and spec.submodule_search_locations is not None


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _ALIAS and not fullname.startswith(_ALIAS + "."):
            return None
        real = _TARGET + fullname[len(_ALIAS) :]
        if importlib.util.find_spec(real) is None:
            return None
        loader = _Loader(real)
        return importlib.util.spec_from_loader(fullname, loader, is_package=loader.is_package(fullname))


def install() -> None:
    """Alias from now on, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    sys.modules[_ALIAS] = importlib.import_module(_TARGET)
