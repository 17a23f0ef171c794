"""A drop-in for mpi4py that runs MPI programs as serverless functions: ``from fmi_mpi import MPI``.

Rules of this file:
- Importing it costs nothing: no numpy, no MPI. ``fmi_mpi.MPI`` joins the job.
- What mpi4py's package offers is here under the same names; there is no C library, so nothing to compile against or
  to profile. Headers (``include``, ``*.h``, ``*.pxd``) are there to say so to whoever compiles.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import ClassVar

__version__ = "0.1.0"
__all__ = ["MPI"]

Option = bool | int | str | None


class Rc:
    """Options that ``fmi_mpi.MPI`` reads when it is first imported.

    Attributes:
        initialize: join the job at import.
        threads: ask for thread support when joining.
        thread_level: "multiple", "serialized", "funneled" or "single": the support to ask for.
        finalize: leave the job at exit; None does what ``initialize`` says.
        fast_reduce: reduce Python objects along a tree.
        recv_mprobe: receive Python objects by matched probes.
        irecv_bufsz: bytes that ``irecv`` takes at most by default.
        errors: "exception", "default", "abort" or "fatal": what becomes of errors.
    """

    initialize: Option = True
    threads: Option = True
    thread_level: Option = "multiple"
    finalize: Option = None
    fast_reduce: Option = True
    recv_mprobe: Option = True
    irecv_bufsz: Option = 32768
    errors: Option = "exception"

    _names: ClassVar[tuple[str, ...]]

    def __init__(self, **kwargs: Option) -> None:
        self(**kwargs)

    def __call__(self, **kwargs: Option) -> None:
        """Set options; raises TypeError, and sets none, if one of them is unknown."""
        for name in kwargs:
            if name not in self._names:
                raise TypeError(f"unknown option {name!r}; the options are {', '.join(self._names)}")
        for name, value in kwargs.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Option) -> None:
        if name not in self._names:
            raise TypeError(f"unknown option {name!r}; the options are {', '.join(self._names)}")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<{__name__}.rc>"


Rc._names = tuple(name for name in Rc.__annotations__ if not name.startswith("_"))

rc = Rc()
sys.modules[f"{__name__}.rc"] = rc  # type: ignore[assignment]  # programs write ``import mpi4py.rc``


def _option(name: str, text: str) -> Option:
    """Return the value that a text, of the command line or the environment, gives to an option."""
    words: dict[str, Option] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    lower = text.strip().lower()
    if lower.isdecimal():
        return int(lower) if name == "irecv_bufsz" else bool(int(lower))
    return None if lower == "none" else words.get(lower, text.strip())


def _read_environment(environ: Mapping[str, str]) -> None:
    """Set the options that ``MPI4PY_RC_<OPTION>`` variables give; ``fmi_mpi.MPI`` calls it on import."""
    for name in Rc._names:
        text = environ.get(f"MPI4PY_RC_{name.upper()}")
        if text is not None:
            setattr(rc, name, _option(name, text))


def get_include() -> str:
    """Return the directory of the C headers: they stop a build and say that there is no C interface."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")


def get_config() -> dict[str, str]:
    """Return the compiler settings of the build: none, for nothing was compiled."""
    return {}


def profile(
    name: str, *, path: str | bytes | os.PathLike[str] | Iterable[str | bytes | os.PathLike[str]] | None = None
) -> None:
    """Look for a profiling library and warn that it cannot be used.

    Args:
        name: of the library, with or without "lib" and ".so".
        path: directories to search before the current one.

    Raises ValueError if there is no such library.
    """
    import warnings

    if path is None:
        path = ()
    elif isinstance(path, (str, bytes, os.PathLike)):
        path = (path,)
    directories = ["", *map(os.fsdecode, path)]
    files = (name, f"lib{name}.so", f"{name}.so")
    if not any(os.path.isfile(os.path.join(where, file)) for where in directories for file in files):
        raise ValueError(f"profiler {name!r} not found; give the directory of its library as path")
    warnings.warn(f"profiler {name!r} is not loaded: fmi_mpi calls no C library", stacklevel=2)
