"""``python -m fmi_mpi.alias script.py [arguments]`` or ``-m module``: run with mpi4py resolving to fmi_mpi."""

from __future__ import annotations

import os
import runpy
import sys

from fmi_mpi.alias import directory, search_path
from fmi_mpi.alias.finder import install


def main() -> None:
    """Run the program that the arguments name."""
    program = sys.argv[1:]
    if not program or (program[0] == "-m" and len(program) < 2):
        sys.exit("usage: python -m fmi_mpi.alias [-m module | script.py] [arguments]")
    os.environ["PYTHONPATH"] = search_path(os.environ.get("PYTHONPATH", ""))
    sys.path.insert(0, directory())
    install()
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path[0] = os.path.dirname(os.path.abspath(program[0]))
        sys.path.insert(1, directory())
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
