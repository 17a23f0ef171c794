"""``python -m fmi_mpi.run script.py``: run a program so that its failure on one rank ends all ranks.

Rules of this file:
- The program runs as ``__main__``, as Python itself would run it: script, directory or zip file, ``-m``, ``-c``, ``-``.
- An uncaught exception or an exit with a code that is not zero sets the abort status; the runtime ends the job with
  it when the interpreter exits. The traceback is printed by the interpreter, once.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import fmi_mpi
from fmi_mpi.bootstrap import exits

__all__ = ["main", "run_code", "run_command_line", "set_abort_status"]

_USAGE = """\
usage: python -m fmi_mpi.run [options] <pyfile> [arg] ...
   or: python -m fmi_mpi.run [options] -m <mod> [arg] ...
   or: python -m fmi_mpi.run [options] -c <cmd> [arg] ...
   or: python -m fmi_mpi.run [options] - [arg] ...
"""
_OPTIONS = """\
options:
  --prefix             print where fmi_mpi is installed
  --version            print the version of fmi_mpi
  --mpi-library        print the file of the MPI module; no C library is used
  --mpi-std-version    print the version of the MPI standard
  --mpi-lib-version    print the version of the MPI implementation
  -h|--help            print this help
  -rc <key=value,...>  set options of fmi_mpi.rc
"""


def run_command_line(args: Sequence[str] | None = None) -> None:
    """Run a program as ``__main__``.

    Args:
        args: the program and its arguments, by default ``sys.argv[1:]``.
    """
    words = list(sys.argv[1:] if args is None else args)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        run_code(words[1], "<string>")
    elif words[0] == "-":
        sys.argv = words
        run_code(sys.stdin.read(), "<stdin>")
    else:
        sys.argv = words
        if os.path.isfile(words[0]) and not _is_zip(words[0]):
            sys.path[0] = os.path.dirname(os.path.realpath(words[0]))
        else:
            del sys.path[0]
        runpy.run_path(words[0], run_name="__main__")


def set_abort_status(status: Any) -> None:
    """End all ranks with this exit code when this process exits.

    Args:
        status: an exit code, an exception, or what ``sys.exit`` accepts; 0 and None mean no failure.
    """
    exits.set_status(exits.exit_code(status))


def main() -> None:
    """Run the program that the command line names."""
    words = _take_options(sys.argv[1:])
    exits.install()
    try:
        run_command_line(words)
    except BaseException as error:
        set_abort_status(error)
        raise


def run_code(source: str, filename: str) -> None:
    """Run a text as ``__main__``; the file name is for tracebacks."""
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    exec(compile(source, filename, "exec"), module.__dict__)


def _is_zip(path: str) -> bool:
    import zipfile

    return zipfile.is_zipfile(path)


def _take_options(words: Sequence[str]) -> Sequence[str]:
    """Act on the options and return the program with its arguments; exits if there is none to run."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "-m", "-c"):
        option = rest.pop(0)
        if option in ("-h", "--help"):
            _end(_USAGE + _OPTIONS)
        elif option in ("-rc", "--rc"):
            if not rest:
                _misuse(f"Argument expected for option: {option}")
            _set_options(rest.pop(0))
        elif option in _INFORMATION:
            _end(_INFORMATION[option]() + "\n")
        else:
            _misuse(f"Unknown option: {option}")
    if not rest:
        _misuse("No path specified for execution")
    if rest[0] in ("-m", "-c") and len(rest) == 1:
        _misuse(f"Argument expected for option: {rest[0]}")
    return rest


def _set_options(text: str) -> None:
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not key or not equals or not value:
            _misuse(f"Cannot parse rc option: {pair}")
        try:
            fmi_mpi.rc(**{key: fmi_mpi._option(key, value)})
        except TypeError as error:
            _misuse(f"Cannot set rc option: {error}")


def _mpi() -> Any:
    fmi_mpi.rc(initialize=False, finalize=False)
    return importlib.import_module("fmi_mpi.MPI")


def _standard_version() -> str:
    return "MPI {}.{}".format(*_mpi().Get_version())


_INFORMATION: dict[str, Callable[[], str]] = {
    "--prefix": lambda: os.path.dirname(os.path.abspath(fmi_mpi.__file__)),
    "--version": lambda: f"fmi_mpi {fmi_mpi.__version__}",
    "--mpi-library": lambda: str(_mpi().__file__),
    "--mpi-std-version": _standard_version,
    "--mpi-lib-version": lambda: str(_mpi().Get_library_version()),
}


def _end(text: str) -> NoReturn:
    sys.stdout.write(text)
    sys.exit(0)


def _misuse(text: str) -> NoReturn:
    sys.stderr.write(f"{text}\n{_USAGE}Try `python -m fmi_mpi.run -h` for more information.\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
