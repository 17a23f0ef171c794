"""What the environment of other launchers tells."""

from __future__ import annotations

import pytest

from fmi_mpi.bootstrap import discover
from fmi_mpi.bootstrap.foreign import identify
from fmi_mpi.errors import BootstrapError

MPICH = {"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALNRANKS": "4", "MPI_LOCALRANKID": "1", "PMI_FD": "9"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "prterun-host-1@1",
}
SLURM = {
    "SLURM_PROCID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_NTASKS": "8",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_STEP_NUM_NODES": "1",
}


@pytest.mark.parametrize(
    ("environ", "launcher"),
    [
        (MPICH, "mpiexec"),
        (OPEN_MPI, "mpirun"),
        (SLURM, "srun"),
        (SLURM | MPICH, "mpiexec"),  # mpiexec starts its helpers by srun
        (SLURM | OPEN_MPI, "mpirun"),
    ],
)
def test_rank_and_size(environ: dict[str, str], launcher: str) -> None:
    found = identify(environ)
    assert found is not None
    assert (found.launcher, found.rank, found.size) == (launcher, 1, 4)
    found.check_single_host()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"},  # a batch script, not started by srun
    ],
)
def test_no_launcher(environ: dict[str, str]) -> None:
    assert identify(environ) is None
    assert discover(environ).identity.size == 1


@pytest.mark.parametrize(
    ("environ", "change"),
    [
        (OPEN_MPI, {"PMIX_NAMESPACE": "prterun-host-1@2"}),
        (SLURM, {"SLURM_JOB_ID": "8"}),
        (SLURM, {"SLURM_STEP_ID": "1"}),
        (SLURM, {"SLURM_RESTART_COUNT": "1"}),
    ],
)
def test_jobs_have_different_keys(environ: dict[str, str], change: dict[str, str]) -> None:
    first, second = identify(environ), identify(environ | change)
    assert first is not None
    assert second is not None
    assert first.key != second.key


@pytest.mark.parametrize(
    ("environ", "change"),
    [
        (MPICH, {"MPI_LOCALNRANKS": "2"}),
        (OPEN_MPI, {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}),
        (SLURM, {"SLURM_STEP_NUM_NODES": "2"}),
    ],
)
def test_several_hosts_are_an_error(environ: dict[str, str], change: dict[str, str]) -> None:
    with pytest.raises(BootstrapError, match=r"on several hosts.*Start the job with fmirun"):
        discover(environ | change)


@pytest.mark.parametrize(
    ("environ", "change"),
    [
        (MPICH, {"PMI_RANK": "x"}),
        (MPICH, {"PMI_SIZE": ""}),
        (MPICH, {"PMI_RANK": "4"}),
        (OPEN_MPI, {"OMPI_COMM_WORLD_RANK": "-1"}),
        (SLURM, {"SLURM_STEP_NUM_TASKS": "1"}),
    ],
)
def test_malformed_numbers(environ: dict[str, str], change: dict[str, str]) -> None:
    with pytest.raises(BootstrapError, match="gives rank"):
        discover(environ | change)


def test_job_of_one_needs_no_meeting() -> None:
    assert discover({"PMI_RANK": "0", "PMI_SIZE": "1"}).directory is None
