"""``--provide-mpirun``: programs that start mpirun or mpiexec themselves get fmirun.

Rules of this file:
- The shims are small scripts in the job's private directory, which is put first on PATH and goes with the job.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Final

__all__ = ["make_shims"]

_NAMES: Final = ("mpirun", "mpiexec", "mpiexec.hydra", "orterun")


def make_shims(directory: str) -> None:
    """Write the shims into a directory, to be put first on PATH."""
    for name in _NAMES:
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fmi_mpi.launch "$@"\n')
        os.chmod(path, 0o700)
