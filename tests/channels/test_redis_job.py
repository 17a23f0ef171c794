"""Whole jobs over a Redis or Valkey server: parity programs, ranks that die, a server that goes away and comes back."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from benchmarks.servers.redis import KINDS, RedisServer, ask
from fmi_mpi.channels.redis.url import RIGHTS

from .jobs import COUNTED, ROOT, command, environment, run

ANY = next(iter(KINDS))
EVERYTHING = """
import time
import numpy as np
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
for turn in range(40):
    assert comm.sendrecv(turn, right, source=left) == turn
    data = np.full(40_000, comm.rank + turn, dtype="i8")
    comm.Allreduce(MPI.IN_PLACE, data)
    assert (data == sum(range(comm.size)) + comm.size * turn).all(), turn
    assert comm.alltoall([(comm.rank, peer) for peer in range(comm.size)]) == [(peer, comm.rank) for peer in range(comm.size)]
    comm.Barrier()
if comm.rank == 0:
    time.sleep(1.5)  # the others look who lives
comm.Barrier()
print("done", flush=True)
"""
COMPUTES = """
import sys, time
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
assert comm.sendrecv(comm.rank, 1 - comm.rank) == 1 - comm.rank
if comm.rank == 0:
    print("now", flush=True)
    sys.stdin.readline()
    time.sleep(3)  # three times the patience, in no MPI call
    comm.send("result", 1)
else:
    assert comm.recv(source=0) == "result"
print("done", flush=True)
"""
EXCHANGE = """
import sys
import numpy as np
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
for turn in range(120):
    data = np.full(30_000, comm.rank + turn, dtype="i8")
    comm.Allreduce(MPI.IN_PLACE, data)
    assert (data == sum(range(comm.size)) + comm.size * turn).all(), turn
    comm.Barrier()
    assert comm.bcast(turn, turn % 3) == turn
    assert comm.sendrecv(turn, (comm.rank + 1) % 3) == turn
    part = np.empty(2)
    comm.Scatter(np.arange(6.0) + turn, part, turn % 3)
    assert part[0] == 2 * comm.rank + turn
    if comm.rank == 0 and turn == 40:
        print("now", flush=True)
        sys.stdin.readline()
print("done", flush=True)
"""


PARITY = (("point_to_point", "sync", "requests"), ("sync",))


@pytest.mark.parametrize(("kind", "names"), list(zip(KINDS, PARITY)), ids=list(KINDS))
def test_parity_programs(kind: str, names: tuple[str, ...]) -> None:
    server = RedisServer(kind, "--appendonly", "no")
    programs = [f"compat_tests/test_{name}.py" for name in names]
    job = command(server.url, sys.executable, "-m", "pytest", *programs, "--mpi=fmi_mpi", "-q")
    done = subprocess.run(job, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.names() == []
    server.remove()


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_collectives_cost_what_the_formulas_say(kind: str, ranks: int) -> None:
    server = RedisServer(kind, "--appendonly", "no")
    done = run(server.url, {}, COUNTED, ranks=ranks)
    assert done.stdout == "as predicted\n", done.stdout + done.stderr
    assert server.names() == []
    server.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_with_the_rights_in_the_readme_meets_and_runs(kind: str) -> None:
    server = RedisServer(kind, "--appendonly", "no")
    ask(server.port, "ACL", "SETUSER", "worker", "on", ">pw", "resetchannels", *RIGHTS.split())
    url = server.url.replace("//", "//worker:pw@")
    env = environment() | {"FMI_RENDEZVOUS": url, "FMI_CHANNELS": url, "FMI_JOIN_TIMEOUT": "30"}
    env |= {"FMI_JOB_ID": uuid.uuid4().hex, "FMI_JOB_SIZE": "3", "FMI_JOB_SECRET": "5e" * 32}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", EVERYTHING],
            env=env | {"FMI_JOB_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    assert [process.communicate(timeout=60) for process in ranks] == [("done\n", "")] * 3
    assert ask(server.port, "ACL", "LOG") == b"*0\r\n"
    assert server.names("fmi/{*") == []
    server.remove()


@pytest.mark.parametrize("how", ["restarted", "cut"])
def test_an_interruption_in_the_middle_is_not_noticed(how: str, tmp_path: Path) -> None:
    script = tmp_path / "exchange.py"
    script.write_text(EXCHANGE)
    server = RedisServer(ANY)
    job = command(server.url, sys.executable, str(script))
    with subprocess.Popen(job, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == "now\n"
        running.stdin.write("go\n")
        running.stdin.flush()
        if how == "restarted":
            server.kill()
            server.start()
        else:
            for kind in ("normal", "pubsub"):
                ask(server.port, "CLIENT", "KILL", "TYPE", kind)
        assert running.stdout.read() == "done\n" * 3
        assert running.wait(60) == 0
    assert server.names() == []
    server.remove()


GOES_ON = """
import sys
from fmi_mpi import MPI
from fmi_mpi.runtime.process import world
comm = MPI.COMM_WORLD
comm.barrier()
if comm.rank == 0:
    print("now", flush=True)
    sys.stdin.readline()
while not comm.allreduce(bool(world()._spared), op=MPI.LAND):
    pass
print("done", flush=True)
"""


def test_a_server_that_carries_nothing_may_end() -> None:
    server = RedisServer(ANY)
    job = command(f"tcp,{server.url}?patience=1", "--timeout", "60", sys.executable, "-c", GOES_ON)
    with subprocess.Popen(
        job, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == "now\n"
        server.kill()
        out, errors = running.communicate("go\n", timeout=80)
    assert (out, running.returncode) == ("done\n" * 3, 0), errors
    assert errors.count("redis has failed") == errors.count("tcp goes on without it") == 3
    server.remove()


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_a_rank_that_computes_is_not_taken_for_dead(cut: bool) -> None:
    server = RedisServer(ANY, "--appendonly", "no")
    url = f"{server.url}?patience=1"
    job = command(url, sys.executable, "-c", COMPUTES, ranks=2)
    with subprocess.Popen(job, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == "now\n"
        for kind in ("normal", "pubsub") if cut else ():
            ask(server.port, "CLIENT", "KILL", "TYPE", kind)
        running.stdin.write("go\n")
        running.stdin.flush()
        assert running.stdout.read() == "done\n" * 2
        assert running.wait(60) == 0
    server.remove()


def test_a_server_that_is_not_there_ends_the_job() -> None:
    server = RedisServer(ANY)
    server.kill()
    job = command(
        f"redis://:hush@127.0.0.1:{server.port}?patience=0.5", sys.executable, "-c", "from fmi_mpi import MPI"
    )
    done = subprocess.run(job, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"redis: 127.0.0.1:{server.port}: Connection refused; see that a Redis" in done.stderr
    assert "hush" not in done.stderr
    server.remove()
