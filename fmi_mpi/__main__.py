"""``python -m fmi_mpi`` is ``python -m fmi_mpi.run``."""

from fmi_mpi.run import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
