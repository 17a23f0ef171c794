"""Stands in for mpi4py where fmi_mpi takes its place: importing it gives fmi_mpi itself."""

import os
import sys

try:
    from fmi_mpi.alias import install
except ModuleNotFoundError:  # another interpreter's child: fmi_mpi lies where this file lies
    sys.path.append(os.path.abspath(os.path.join(__file__, *[os.pardir] * 5)))
    from fmi_mpi.alias import install

install()
