"""``python -m fmi_mpi.launch`` is ``fmirun``."""

import sys

from fmi_mpi.launch.cli import main

sys.exit(main())
