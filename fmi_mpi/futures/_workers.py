"""The workers' side: calls come from the master over an inter-communicator, outcomes go back.

Rules of this file:
- To a worker: a kind and what it needs. From a worker: for every call one answer, (True, result) or (False, exception,
  traceback); it carries the tag of the call.
- What cannot be unpickled or pickled is an answer like any other failure; only errors of MPI itself end a worker.
- Workers block in MPI; they need no back-off.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fmi_mpi import MPI
from fmi_mpi.futures._base import set_comm_of_workers
from fmi_mpi.util import pkl5

__all__ = [
    "CALL",
    "MAIN_RUN_NAME",
    "PREPARE",
    "STOP",
    "Preparation",
    "RemoteTraceback",
    "comm_split",
    "serve",
    "share_main",
]

MAIN_RUN_NAME = "__worker__"
"""Name under which workers run the main module."""

PREPARE, CALL, STOP = range(3)
Answer = tuple[bool, Any] | tuple[bool, BaseException, str]


class RemoteTraceback(Exception):
    """Cause of an exception that was raised by a worker; its text is the traceback there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


@dataclass
class Preparation:
    """What a worker does before its first call.

    Attributes:
        main: how to find the main module: by "path", by "module" name or as "code"; None for no main module.
        argv: the program's arguments.
        globals: first names of the main module.
        path: appended to ``sys.path``.
        wdir: working directory.
        env: added to the environment.
        use_pkl5: send with ``util.pkl5``.
    """

    main: tuple[Literal["path", "module", "code"], str] | None = None
    argv: list[str] = field(default_factory=list)
    globals: dict[str, Any] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    wdir: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    use_pkl5: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], import_main: bool) -> Preparation:
        """Return what the options of an executor ask for; None counts as not given."""
        given = {name: value for name, value in options.items() if value is not None}
        path: Iterable[Any] = given.get("path", ())
        return cls(
            main=_find_main() if import_main and given.get("main", True) else None,
            argv=list(sys.argv),
            globals=dict(given.get("globals", ())),
            path=[os.fspath(each) for each in path],
            wdir=os.fspath(given["wdir"]) if "wdir" in given else None,
            env=dict(given.get("env", ())),
        )


# -- the main module ---------------------------------------------------------------------------------------------------


main_source: str | None = None
"""Text of the main module, where it is no file."""
importing_main = False
"""Whether this worker is running the main module just now."""


def share_main() -> None:
    """Let what the workers call their main module be found here, under both names."""
    sys.modules.setdefault(MAIN_RUN_NAME, sys.modules["__main__"])


def _find_main() -> tuple[Literal["path", "module", "code"], str] | None:
    main = sys.modules["__main__"]
    if main_source is not None:
        return "code", main_source
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return "module", spec.name
    file = getattr(main, "__file__", None)
    if file is None or not os.path.exists(file):
        archive = sys.argv[0]
        return ("path", os.path.abspath(archive)) if file is not None and os.path.exists(archive) else None
    return "path", os.path.abspath(file)


def _import_main(preparation: Preparation) -> None:
    """Run the main module under its name for workers; ends the job if that fails."""
    module = types.ModuleType(MAIN_RUN_NAME)
    module.__dict__.update(preparation.globals)
    sys.modules[MAIN_RUN_NAME] = sys.modules["__main__"] = module
    if preparation.main is None:
        return
    kind, where = preparation.main
    sys.argv = list(preparation.argv)
    global importing_main
    importing_main = True
    try:
        if kind == "code":
            code: Any = compile(where, "<string>", "exec")
        elif kind == "module":
            spec = importlib.util.find_spec(where)
            if spec is None:
                raise ModuleNotFoundError(f"no module named {where!r}")
            module.__spec__, module.__package__, module.__file__ = spec, spec.parent, spec.origin
            code = spec.loader.get_code(where)  # type: ignore[union-attr]
        else:
            module.__file__ = where
            code = _code_at(where)
        exec(code, module.__dict__)
    except BaseException:  # whatever the script does on its way, such as sys.exit
        sys.stderr.write(f"a worker cannot run the main module, {where if kind != 'code' else 'a string'}:\n")
        traceback.print_exc()
        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(1)
    finally:
        importing_main = False


def _code_at(path: str) -> Any:
    """Return the code of a script, or of what a directory or archive has as ``__main__``."""
    if path.endswith(".py") or not (importer := pkgutil.get_importer(path)):
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec")
    sys.path.insert(0, path)
    spec = importer.find_spec("__main__")
    if spec is None:
        raise ImportError(f"{path!r} has no module __main__")
    return spec.loader.get_code("__main__")  # type: ignore[union-attr]


def _prepare(preparation: Preparation) -> None:
    os.environ.update(preparation.env)
    if preparation.wdir is not None:
        os.chdir(preparation.wdir)
    sys.path.extend(preparation.path)
    if preparation.main is not None or preparation.globals:
        _import_main(preparation)


# -- communication -----------------------------------------------------------------------------------------------------


def comm_split(comm: MPI.Intracomm, root: int = 0) -> tuple[MPI.Intercomm, MPI.Intracomm]:
    """Split off one process as the master of all others; collective.

    Args:
        comm: of 2 processes or more.
        root: rank of the master.

    Returns:
        The inter-communicator between master and workers, and the communicator of the workers, null for the master.
    """
    master = comm.Get_rank() == root
    local = MPI.Intracomm(comm.Split(0 if master else 1))
    inter = local.Create_intercomm(0, comm, (1 if root == 0 else 0) if master else root)
    if master:
        local.Free()
    return inter, local


def serve(comm: MPI.Intercomm, workers: MPI.Intracomm) -> None:
    """Answer calls until told to stop.

    Args:
        comm: to the master.
        workers: all workers, for ``get_comm_workers``.
    """
    set_comm_of_workers(workers)
    status = MPI.Status()
    place = f"worker {workers.Get_rank()} of {workers.Get_size()} on {MPI.Get_processor_name()}"
    unprepared: Answer | None = None
    try:
        while True:
            try:
                kind, content = comm.recv(None, 0, MPI.ANY_TAG, status)
            except MPI.Exception:
                raise
            except BaseException as error:
                _send(comm, _failure(error, place), status.Get_tag(), place)
                continue
            if kind == STOP:
                return
            if kind == CALL:
                _send(comm, unprepared or _call(place, *content), status.Get_tag(), place)
                continue
            try:
                _prepare(content)
            except Exception as error:
                unprepared = _failure(error, place)
            if content.use_pkl5:
                comm = pkl5.Intercomm(comm)
    finally:
        set_comm_of_workers(None)


def _call(place: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Answer:
    try:
        return True, fn(*args, **kwargs)
    except BaseException as error:
        return _failure(error, place)


def _send(comm: MPI.Intercomm, answer: Answer, tag: int, place: str) -> None:
    try:
        comm.send(answer, 0, tag)
    except MPI.Exception:
        raise
    except BaseException as error:
        try:
            comm.send(_failure(error, place), 0, tag)
        except MPI.Exception:
            raise
        except BaseException:
            text = f"{type(error).__name__}: {error}"
            comm.send((False, RuntimeError(f"an exception cannot be pickled: {text}"), ""), 0, tag)


def _failure(error: BaseException, place: str) -> Answer:
    lines = traceback.format_exception(error)
    return False, error, f"### {place}\n" + "".join(lines)
