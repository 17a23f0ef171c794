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


def outcomes(ranks: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for ranks that no launcher has started."""
    try:
        return [outcome(rank) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()


def test_parity_programs_of_eight_ranks_each_behind_its_own_nat_that_meet_at_the_service() -> None:
    with Rig(["independent"] * 8) as rig:
        command = ["-m", "pytest", "--rootdir", str(ROOT), "-q", "-x", "-k", "alltoall or allreduce or exscan"]
        command += ["--mpi=fmi_mpi", str(ROOT / "compat_tests/test_collectives_objects.py")]
        for code, out, err in outcomes(rig.join(command, rig.rendezvous())):
            assert code == 0, out + err


def test_launchers_behind_nats_and_the_relay_for_a_symmetric_one() -> None:
    """Ranks 0 and 1 meet directly; what rank 2 sends goes through the relay, at once."""
    with Rig(["independent", "independent", "symmetric"]) as rig:
        ranks = rig.join(["-c", ALL_TO_ALL], rig.rendezvous(), "tcp,relay", launched=True)
        (code, out, err), *others = outcomes(ranks)
        assert (code, out.split(), err) == (0, ["done"] * 3, "")
        assert others == [(0, "", "")] * 2


def test_streams_through_the_relay_survive_a_link_cut_and_a_restart_of_the_service(tmp_path: Path) -> None:
    with Rig(["independent", "symmetric"]) as rig:
        options = ("--key-file", str(tmp_path / "key"))
        ranks = rig.join(["-c", STREAM, "5"], rig.rendezvous(*options), "tcp,relay")
        for rank in ranks:
            assert rank.stdout is not None and rank.stdout.readline() == "started\n"
        rig.link(1, "down", everything=True)
        time.sleep(1)  # the outage itself
        rig.link(1, "up")
        rig.stop()
        rig.rendezvous(*options)
        assert [(code, out) for code, out, _ in outcomes(ranks)] == [(0, "done\n")] * 2


LATE = """
import time
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
if comm.rank:
    time.sleep(0.5)
else:
    comm.send("early", 1)
print(comm.recv(source=0) if comm.rank else "sent", flush=True)
print("done", flush=True)
"""


NETWORKS = {
    "one-percent-lost": ("drop", 0.01, ALL_TO_ALL),
    "one-percent-lost-and-a-peer-half-a-second-late": ("drop", 0.01, LATE),
    "rst": ("accept", 0.0, ALL_TO_ALL),
    "rst-and-a-peer-half-a-second-late": ("accept", 0.0, LATE),
}


@pytest.mark.parametrize(("unsolicited", "loss", "program"), NETWORKS.values(), ids=NETWORKS)
def test_difficult_networks_of_ten_milliseconds(unsolicited: str, loss: float, program: str) -> None:
    with Rig(["independent"] * 2, unsolicited=unsolicited, delay=0.01, loss=loss) as rig:
        rig.reflect()
        check(rig.run(["-c", program]), 2)


def test_routers_that_answer_rst_where_nothing_takes_time() -> None:
    """The SYNs would have to cross within microseconds: if they do not, the relay has to do."""
    with Rig(["independent"] * 2, unsolicited="accept") as rig:
        ranks = rig.join(["-c", ALL_TO_ALL], rig.rendezvous(), "tcp,relay")
        assert [(code, out) for code, out, _ in outcomes(ranks)] == [(0, "done\n")] * 2


def test_syns_that_are_lost() -> None:
    with Rig(["independent"] * 2) as rig:
        rig.reflect()
        rig.lose_syns()
        check(rig.run(["-c", ALL_TO_ALL]), 2)


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
