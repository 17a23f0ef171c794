"""A drop-in for mpi4py that runs MPI programs as serverless functions."""

from __future__ import annotations

__version__ = "0.1.0"
