"""``python -m fmi_mpi.futures.server``: what a started worker runs."""

from __future__ import annotations

import sys

from fmi_mpi import MPI
from fmi_mpi.futures._workers import serve

__all__ = ["main"]


def main() -> None:
    """Serve the executor that has started this process and its siblings."""
    parent = MPI.Comm.Get_parent()
    if parent == MPI.COMM_NULL:
        sys.exit("fmi_mpi.futures.server: no executor has started this process")
    try:
        serve(MPI.Intercomm(parent), MPI.COMM_WORLD)
    finally:
        parent.Disconnect()


if __name__ == "__main__":
    main()
