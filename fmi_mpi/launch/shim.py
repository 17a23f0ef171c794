"""``--provide-mpirun``: programs that start mpirun or mpiexec themselves get fmirun.

Rules of this file:
- The shims are two small scripts in a directory of the package, put first on PATH.
"""

from __future__ import annotations

import os
import sys
import tempfile

__all__ = ["search_path"]

_NAMES = ("mpirun", "mpiexec")


def search_path(existing: str) -> str:
    """Return a PATH whose mpirun and mpiexec are fmirun; ``existing`` is the present one."""
    directory = os.path.join(tempfile.gettempdir(), f"fmi-mpi-shim-{os.getuid()}")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if os.stat(directory).st_uid != os.getuid():
        raise ValueError(f"--provide-mpirun: {directory} belongs to another user; remove it")
    for name in _NAMES:
        path = os.path.join(directory, name)
        fresh = f"{path}.{os.getpid()}"
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec "{sys.executable}" -m fmi_mpi.launch "$@"\n')
        os.chmod(fresh, 0o700)
        os.rename(fresh, path)
    return os.pathsep.join((directory, existing))
