"""``python -m fmi_mpi.futures script.py`` on all ranks: rank 0 runs the program, the others its executors' tasks.

Rules of this file:
- An uncaught exception of the program, or an exit with a code that is not zero, ends all ranks at once.
- Workers import the main module when the first executor starts, whatever form it was given in.
"""

from __future__ import annotations

import os
import sys

from fmi_mpi import MPI
from fmi_mpi.futures import _core, _workers
from fmi_mpi.run import run_code, run_command_line

__all__ = ["main"]

_USAGE = """\
usage: python -m fmi_mpi.futures <pyfile> [arg] ...
   or: python -m fmi_mpi.futures -m <module> [arg] ...
   or: python -m fmi_mpi.futures -c <string> [arg] ...
   or: python -m fmi_mpi.futures - [arg] ...
"""


def main() -> None:
    """Run the program that the command line names."""
    words = sys.argv[1:]
    mistake = _mistake(words)
    if mistake is not None:
        if MPI.COMM_WORLD.Get_rank() == 0:
            print(
                f"{mistake}\n{_USAGE}" if mistake else _USAGE,
                end="",
                file=sys.stderr if mistake else sys.stdout,
                flush=True,
            )
        MPI.COMM_WORLD.Barrier()  # the first rank that fails ends the others
        sys.exit(1 if mistake else 0)
    if MPI.COMM_WORLD.Get_size() == 1:
        _core.SharedPool = _core.SharedWorkers(None)
        _run(words)
        return
    comm, workers = _core.comm_split(MPI.COMM_WORLD)
    if workers:
        _core.SharedPool = _core.SharedWorkers(None)  # a worker's own executors have a thread
        _workers.serve(comm, workers)
        comm.Disconnect()
        workers.Free()
    else:
        _core.SharedPool = _core.SharedWorkers(_core.Workers(comm))
        _run(words)


def _mistake(words: list[str]) -> str | None:
    """Return what is wrong with the command line, nothing said if it asks for help, None if it can be run."""
    if not words:
        return "No path specified for execution"
    first = words[0]
    if first in ("-h", "--help"):
        return ""
    if first in ("-m", "-c"):
        return None if len(words) > 1 else f"Argument expected for option: {first}"
    if first.startswith("-") and first != "-":
        return f"Unknown option: {first}"
    return None if first == "-" or os.path.exists(first) else f"Path does not exist: {first}"


def _run(words: list[str]) -> None:
    try:
        if words[0] in ("-c", "-"):
            _run_text(words)
        else:
            run_command_line(words)
    except BaseException as error:
        code = _report(error)
        if code:
            sys.stdout.flush()
            sys.stderr.flush()
            MPI.COMM_WORLD.Abort(code)
    assert _core.SharedPool is not None
    _core.SharedPool.stop()


def _run_text(words: list[str]) -> None:
    if words[0] == "-":
        source, name, sys.argv = sys.stdin.read(), "<stdin>", words
    else:
        source, name, sys.argv = words[1], "<string>", ["-c", *words[2:]]
    _workers.main_source = source
    run_code(source, name)


def _report(error: BaseException) -> int:
    """Print what Python would print of an exception that nobody has caught, and return its exit code."""
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    sys.stderr.write(f"{error.code}\n")
    return 1


if __name__ == "__main__":
    main()
