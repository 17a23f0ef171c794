"""Whole jobs over a Redis or Valkey server: parity programs, ranks that die, a server that goes away and comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.servers.redis import KINDS, RedisServer

from .jobs import ROOT, command, environment

ANY = next(iter(KINDS))
EXCHANGE = """
import sys
import numpy as np
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
for turn in range(300):
    data = np.full(30_000, comm.rank + turn, dtype="i8")
    comm.Allreduce(MPI.IN_PLACE, data)
    assert (data == sum(range(comm.size)) + comm.size * turn).all(), turn
    if comm.rank == 0 and turn == 100:
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


def test_a_restart_in_the_middle_is_not_noticed(tmp_path: Path) -> None:
    script = tmp_path / "exchange.py"
    script.write_text(EXCHANGE)
    server = RedisServer(ANY)
    job = command(server.url, sys.executable, str(script))
    with subprocess.Popen(job, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None and running.stdout is not None
        assert running.stdout.readline() == "now\n"
        running.stdin.write("go\n")
        running.stdin.flush()
        server.kill()
        server.start()
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
