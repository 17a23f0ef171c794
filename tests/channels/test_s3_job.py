"""Whole jobs over S3: parity programs, requests as the formulas say, a server that is not there."""

from __future__ import annotations

import subprocess

import pytest

from benchmarks.servers.s3 import S3Server, shared_s3

from . import jobs
from .jobs import COUNTED

HINTED = """
import numpy as np
from fmi_mpi import MPI
from fmi_mpi.runtime.process import world
usage = world().channels[1].usage
comm = MPI.COMM_WORLD
hinted = comm.Dup(MPI.Info.Create({"fmi_channel": "s3"}))
send, recv = np.full(85, comm.rank + 1.0), np.empty(85)
for turn in range(40):  # all ranks meet now and then, so that what has been read can go
    before = usage.put
    hinted.Allreduce(send, recv)
    assert usage.put > before and (recv == sum(range(comm.size + 1))).all()
before = usage.put
comm.Allreduce(send, recv)
assert usage.put == before
print("both", flush=True)
"""


def run(server: S3Server, url: str, *words: str, ranks: int = 3, **more: str) -> subprocess.CompletedProcess[str]:
    return jobs.run(url, {**server.environment, **more}, *words, ranks=ranks)


def test_parity_programs() -> None:
    server = shared_s3()
    words = ["-m", "pytest", "compat_tests/test_collectives_objects.py", "--mpi=fmi_mpi", "-q"]
    done = run(
        server,
        server.url("parity"),
        *words,
        "-k",
        "(wrong or barrier or arrays) and world or barrier and halves or arrays and reversed",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.names("parity/") == []


@pytest.mark.parametrize(("ranks", "encrypt"), [(2, "0"), (3, "1"), (8, "0")])
def test_collectives_cost_what_the_formulas_say(ranks: int, encrypt: str) -> None:
    server = shared_s3()
    done = run(server, server.url(f"counted-{ranks}"), COUNTED, ranks=ranks, FMI_ENCRYPT=encrypt)
    assert done.stdout == "as predicted\n", done.stdout + done.stderr
    assert server.names(f"counted-{ranks}/") == []


def test_a_bucket_that_is_not_there_ends_the_job() -> None:
    server = shared_s3()
    done = run(server, "s3://not-there/x?patience=2", "-c", "from fmi_mpi import MPI")
    assert done.returncode == 1
    assert "fmi-mpi setup s3://not-there" in done.stderr


def test_a_hint_gives_the_collectives_of_a_communicator_to_the_store() -> None:
    server = shared_s3()
    done = run(server, "tcp," + server.url("hinted"), "-c", HINTED)
    assert done.stdout == "both\n" * 3, done.stdout + done.stderr
    assert server.names("hinted/") == []


def test_a_rank_that_fails_in_a_collective_is_known_to_the_others() -> None:
    """The job's control is not asked: the failure itself lies in the store."""
    server = shared_s3()
    program = (
        "from fmi_mpi import MPI; comm = MPI.COMM_WORLD\n"
        "def spoil(a, b): raise ArithmeticError('spoilt')\n"
        "try: comm.allreduce(1, op=spoil)\n"
        "except (ArithmeticError, MPI.Exception) as error: print(error, *getattr(error, '__notes__', ()), flush=True)\n"
        "print(comm.allreduce(1), flush=True)\n"
    )
    done = run(server, server.url("spoilt"), "-c", program, ranks=2)
    lines = sorted(done.stdout.splitlines())
    assert lines[:2] == ["2", "2"] and lines[3] == "spoilt", done.stdout + done.stderr
    assert "rank 0 has failed in this collective" in lines[2]
