"""``python -m fmi_mpi.alias script.py [arguments]``, ``-m module`` or ``-c code``: a program whose mpi4py is fmi_mpi.

Rules of this file:
- This process becomes the program, by a new interpreter with the alias on its exported PYTHONPATH: nothing of a
  wrapper is left to be seen by the program or by the children that import its main module again.
"""

from __future__ import annotations

import os
import subprocess
import sys

from fmi_mpi.alias import search_path


def main() -> None:
    """Become the program that the arguments name."""
    program = sys.argv[1:]
    if not program or (program[0] in ("-m", "-c") and len(program) == 1):
        sys.exit("usage: python -m fmi_mpi.alias [-m module | -c code | script.py] [arguments]")
    os.environ["PYTHONPATH"] = search_path(os.environ.get("PYTHONPATH", ""))
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    os.execv(sys.executable, [sys.executable, *flags, *program])


if __name__ == "__main__":
    main()
