"""Ranks that another launcher has started: mpiexec of MPICH, mpirun of Open MPI, srun.

Rules of this file:
- Only environment variables are read: the launcher's own protocol is left to a real MPI library, which may be
  used in the same process.
- The job's key must differ between jobs and be equal on all its ranks of a host.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fmi_mpi.errors import BootstrapError

__all__ = ["Foreign", "identify"]

_LAUNCHERS: Final = ("hydra_pmi_prox", "pmi_proxy", "mpiexec", "mpirun", "prte", "orted", "slurmstepd")
"""How the names of the processes begin that are the parents of ranks."""


@dataclass(frozen=True)
class Foreign:
    """A rank of another launcher's job.

    ``local_size`` is the number of its ranks on this host: 0 if unknown, -1 if only known to be fewer than all.
    """

    launcher: str
    key: str
    rank: int
    size: int
    local_size: int

    def check_single_host(self) -> None:
        """Raise BootstrapError if the job spans hosts."""
        if self.local_size and self.local_size != self.size:
            raise BootstrapError(
                f"{self.launcher} runs the {self.size} ranks of this job on several hosts; ranks that {self.launcher} "
                "starts must share one host. Start the job with fmirun, or let the ranks meet at a rendezvous service"
            )


def identify(environ: Mapping[str, str]) -> Foreign | None:
    """Return what the environment of a launcher that we know tells, None if there is none.

    Raises BootstrapError if the variables are malformed.
    """
    if "OMPI_COMM_WORLD_RANK" in environ:
        launcher, rank, size = "mpirun", environ["OMPI_COMM_WORLD_RANK"], environ.get("OMPI_COMM_WORLD_SIZE", "")
        local = environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "0")
        name = environ.get("PMIX_NAMESPACE") or _launcher_process()
    elif "PMI_RANK" in environ:
        launcher, rank, size = "mpiexec", environ["PMI_RANK"], environ.get("PMI_SIZE", "")
        local = environ.get("MPI_LOCALNRANKS", "0")
        name = _launcher_process()
    elif "SLURM_PROCID" in environ and "SLURM_STEP_ID" in environ:
        launcher, rank = "srun", environ["SLURM_PROCID"]
        size = environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS", "")
        nodes = environ.get("SLURM_STEP_NUM_NODES") or environ.get("SLURM_JOB_NUM_NODES", "1")
        local = size if nodes == "1" else "-1"
        name = ".".join(environ.get(part, "") for part in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    else:
        return None
    try:
        numbers = int(rank), int(size), int(local)
    except ValueError:
        raise BootstrapError(f"{launcher} gives rank {rank!r} of {size!r}, which are not numbers") from None
    if not 0 <= numbers[0] < numbers[1]:
        raise BootstrapError(f"{launcher} gives rank {rank} of {size}, which is not a rank of the job")
    key = hashlib.sha256(f"{launcher} {name}".encode()).hexdigest()[:16]
    return Foreign(launcher, key, *numbers)


def _launcher_process() -> str:
    """Return what names the launcher's process on this host: the nearest ancestor that is one, or the parent."""
    pid = os.getppid()
    while pid > 1:
        name, parent, key = _ancestor(pid)
        if name.startswith(_LAUNCHERS):
            return key
        pid = parent
    return _ancestor(os.getppid())[2]


def _ancestor(pid: int) -> tuple[str, int, str]:
    """Return a process's name, its parent, and a text that names it for good."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, tail = file.read().rpartition(")")
    except OSError:
        return "", 0, str(pid)
    fields = tail.split()
    return head.partition("(")[2], int(fields[1]), f"{pid} {fields[19]}"
