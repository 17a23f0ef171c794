"""How the processes of a job find each other.

Rules of this package:
- The environment decides; the first that fits wins: fmirun, a rendezvous (``FMI_RENDEZVOUS``), Open MPI's mpirun,
  MPICH's mpiexec, srun.
- A child of a rank inherits the rank's environment but never its rank: it becomes a world of its own.
- A job that cannot be joined raises BootstrapError; a rank never falls back silently to a world of size 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from fmi_mpi.bootstrap.base import Bootstrap
from fmi_mpi.bootstrap.singleton import SingletonBootstrap

__all__ = ["discover"]


def discover(environ: Mapping[str, str]) -> Bootstrap:
    """Return the meeting place that the environment tells of, with this process's rank claimed.

    Without a launcher, and in a child of a rank, that is a world of one. Raises BootstrapError.
    """
    if "FMI_JOB_CONTROL" in environ:
        from fmi_mpi.bootstrap.local import join

        return join(environ) or SingletonBootstrap()
    if environ.get("FMI_RENDEZVOUS"):
        from fmi_mpi.bootstrap import rendezvous

        return rendezvous.join(environ) or SingletonBootstrap()
    from fmi_mpi.bootstrap.foreign import identify

    found = identify(environ)
    if found is None or found.size == 1:
        return SingletonBootstrap()
    from fmi_mpi.bootstrap.directory import DirectoryBootstrap, RankTaken

    found.check_single_host()
    try:
        return DirectoryBootstrap(found.key, found.rank, found.size, found.launcher)
    except RankTaken:
        return SingletonBootstrap()
