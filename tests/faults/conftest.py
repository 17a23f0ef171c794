"""Jobs of real processes in bad situations, on each channel; checked afterwards for leaks."""

from __future__ import annotations

import subprocess
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from launch_harness import Launcher, checked

from benchmarks.servers.dynamodb import CREDENTIALS, shared
from benchmarks.servers.s3 import shared_s3
from fmi_mpi.channels import dynamodb
from fmi_mpi.config import Settings

PREAMBLE = """
import os, signal, sys, threading
import numpy as np
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
rank, size = comm.Get_rank(), comm.Get_size()
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def caught(call, *args):
    try:
        call(*args)
    except MPI.Exception as error:
        return error
    raise AssertionError("no error")
"""
PROMPT = 20.0
"""Seconds in which a job must be over on a busy machine; every wait in it would be far longer, or for ever."""


class Jobs(Launcher):
    """Runs scripts that begin with ``PREAMBLE`` over one channel."""

    def __init__(self, directory: Path, channel: str) -> None:
        super().__init__(directory)
        self.channel = channel

    def play(
        self, size: int, body: str, *arguments: str, options: Sequence[str] = (), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script on ``size`` ranks, and see that it ends promptly."""
        script = self.directory / "script.py"
        script.write_text(PREAMBLE + textwrap.dedent(body))
        given = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        began = time.monotonic()
        done = self.run("-n", str(size), "--channels", self.channel, *options, *given, str(script), *arguments)
        assert time.monotonic() - began < PROMPT, done.stderr
        return done


@pytest.fixture(params=["shm", "tcp"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jobs]:
    with checked(Jobs(tmp_path, request.param)) as jobs:
        yield jobs


@pytest.fixture(params=["s3", "dynamodb"])
def stored(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """Jobs over a store that does not tell of dead ranks."""
    if request.param == "s3":
        url, variables = shared_s3().url("dead"), shared_s3().environment
    else:
        url, variables = "dynamodb://dead", {**CREDENTIALS, "FMI_AWS_ENDPOINT_URL": shared("ministack").endpoint}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        dynamodb.setup(url, Settings(variables))
    with checked(Jobs(tmp_path, url)) as jobs:
        jobs.env |= variables
        yield jobs
