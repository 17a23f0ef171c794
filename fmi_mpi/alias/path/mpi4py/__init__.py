"""Stands first on PYTHONPATH under ``fmirun --alias-mpi4py``: importing it gives fmi_mpi."""

from fmi_mpi.alias.finder import install

install()
