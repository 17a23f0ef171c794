"""Jobs whose ranks are behind real NATs (see ``rig``): they meet, survive cut links, and say it when they cannot."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from .rig import Rig, obstacle

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "there is a rig")

ROOT = Path(__file__).resolve().parents[2]

ALL_TO_ALL = """
from fmi_mpi import MPI
import numpy as np
comm = MPI.COMM_WORLD
for size in (1, 1 << 10, 1 << 17):
    got = np.empty(size * comm.size)
    comm.Alltoall(np.repeat(np.arange(comm.size) + 100.0 * comm.rank, size), got)
    assert (got == np.repeat(100.0 * np.arange(comm.size) + comm.rank, size)).all()
print("done", flush=True)
"""

STREAM = """
import sys, time
from fmi_mpi import MPI
import numpy as np
comm = MPI.COMM_WORLD
comm.Barrier()
print("started", flush=True)
other, total = 1 - comm.rank, np.zeros(1)
data = np.arange(float(1 << 14))
begun = time.monotonic()
number = 0
while True:  # odd messages are long, so that the cut finds some halfway
    size = (1 << 14) if number % 2 else 10
    got = np.empty(size)
    comm.Sendrecv(data[:size] + number, other, number % 1000, got, other, number % 1000)
    assert (got == data[:size] + number).all()
    number += 1
    if comm.bcast(time.monotonic() - begun > float(sys.argv[1])):
        break
print("done", flush=True)
"""


def outcome(job: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = job.communicate(timeout=90)
    return job.returncode, out, err


def check(job: subprocess.Popen[str], ranks: int) -> None:
    code, out, err = outcome(job)
    assert code == 0, err
    assert out.split().count("done") == ranks


@pytest.mark.parametrize(
    ("kinds", "hosts"),
    [
        (["independent"] * 4, None),
        (["independent"] * 2, [0, 0, 1, 1]),
    ],
    ids=["each-behind-its-own", "two-behind-each"],
)
def test_all_pairs_meet(kinds: list[str], hosts: list[int] | None) -> None:
    with Rig(kinds, hosts) as rig:
        rig.reflect()
        check(rig.run(["-c", ALL_TO_ALL]), len(rig.hosts))


def test_two_ranks_behind_one_symmetric_nat_meet_inside() -> None:
    with Rig(["symmetric"], [0, 0]) as rig:
        rig.reflect()
        check(rig.run(["-c", ALL_TO_ALL]), 2)


def test_a_symmetric_nat_is_recognised_at_once() -> None:
    with Rig(["independent", "symmetric"]) as rig:
        rig.reflect()
        began = time.monotonic()
        code, _, err = outcome(rig.run(["-c", ALL_TO_ALL]))
        assert code and "cannot be reached" in err and "tcp: a symmetric NAT" in err
        assert time.monotonic() - began < 10


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_symmetric_nat_falls_back_on_another_channel() -> None:
    with Rig(["independent", "symmetric"]) as rig:
        rig.reflect()
        url = rig.redis()
        check(rig.run(["-c", ALL_TO_ALL], channels=f"tcp,{url}"), 2)


def test_parity_programs_of_eight_ranks_each_behind_its_own_nat() -> None:
    with Rig(["independent"] * 8) as rig:
        rig.reflect()
        command = [
            "-m",
            "pytest",
            "--rootdir",
            str(ROOT),
            "-q",
            "-x",
            "-k",
            "alltoall or allreduce or exscan",
            "--mpi=fmi_mpi",
            str(ROOT / "compat_tests/test_collectives_objects.py"),
        ]
        code, out, err = outcome(rig.run(command, timeout=80))
        assert code == 0, out + err


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_link_cut_for_seconds_loses_nothing(seconds: float) -> None:
    with Rig(["independent"] * 2) as rig:
        rig.reflect()
        job = rig.run(["-c", STREAM, str(seconds + 1.5)])
        assert job.stdout is not None
        assert [job.stdout.readline() for _ in range(2)] == ["started\n"] * 2
        rig.link(0, "down")
        time.sleep(seconds)  # the outage itself
        rig.link(0, "up")
        check(job, 2)


def test_a_link_cut_for_good_is_an_error_that_says_what_to_do() -> None:
    with Rig(["independent"] * 2) as rig:
        rig.reflect()
        job = rig.run(["-c", STREAM, "30"], {"FMI_RECONNECT": "2"})
        assert job.stdout is not None
        assert [job.stdout.readline() for _ in range(2)] == ["started\n"] * 2
        rig.link(0, "down")
        began = time.monotonic()
        code, _, err = outcome(job)
        assert code == 1
        assert "is lost: tcp: " in err and "could not be renewed within 2 s" in err and "FMI_RECONNECT" in err
        assert time.monotonic() - began < 12


def test_a_job_without_reflector_on_one_network() -> None:
    with Rig(["independent"], [0, 0, 0]) as rig:
        rig.reflect()
        rig.reflectors = "203.0.113.1:9,203.0.113.1:9"  # nobody there
        check(rig.run(["-c", ALL_TO_ALL]), 3)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_link_cut_for_good_hands_over_to_another_channel() -> None:
    """Redis is on the bridge itself, which both ends still reach."""
    with Rig(["independent"] * 2) as rig:
        rig.reflect()
        job = rig.run(["-c", STREAM, "10"], {"FMI_RECONNECT": "1"}, channels=f"tcp,{rig.redis()}")
        assert job.stdout is not None
        assert [job.stdout.readline() for _ in range(2)] == ["started\n"] * 2
        rig.link(0, "down")
        code, out, err = outcome(job)
        assert code == 0, err
        assert out.split().count("done") == 2
        assert err.count("going on over redis") == 2
