"""Whole jobs over S3: parity programs, requests as the formulas say, a server that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .s3_server import S3Server, shared_s3
from .test_redis_job import ROOT, command, environment

COUNTED = str(Path(__file__).with_name("counted.py"))


def run(server: S3Server, url: str, *words: str, ranks: int = 3) -> subprocess.CompletedProcess[str]:
    job = command(url, sys.executable, *words, ranks=ranks)
    env = {**environment(), **server.environment}
    return subprocess.run(job, env=env, cwd=ROOT, capture_output=True, text=True, timeout=110)


def test_parity_programs() -> None:
    server = shared_s3()
    words = ["-m", "pytest", "compat_tests", "--mpi=fmi_mpi", "-q"]
    done = run(server, server.url("parity"), *words, "-k", "test_collectives_objects.py and (wrong or barrier or arrays)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.names("parity/") == []


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_collectives_cost_what_the_formulas_say(ranks: int) -> None:
    server = shared_s3()
    done = run(server, server.url(f"counted-{ranks}"), COUNTED, ranks=ranks)
    assert done.stdout == "as predicted\n", done.stdout + done.stderr
    assert server.names(f"counted-{ranks}/") == []


def test_a_bucket_that_is_not_there_ends_the_job() -> None:
    server = shared_s3()
    done = run(server, "s3://not-there/x?patience=2", "-c", "from fmi_mpi import MPI")
    assert done.returncode == 1
    assert "fmi-mpi setup s3://not-there" in done.stderr
