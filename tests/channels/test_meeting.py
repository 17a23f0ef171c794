"""Ranks that meet in a store, with no service of ours: over real servers, the rules of ``runtime.meeting``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.servers import dynamodb as dynamodb_server
from benchmarks.servers.redis import KINDS, shared
from benchmarks.servers.s3 import s3_settings, shared_s3
from fmi_mpi.bootstrap.base import Identity
from fmi_mpi.channels.dynamodb import make_table, parse
from fmi_mpi.channels.mailbox.keys import Keys
from fmi_mpi.config import Settings
from fmi_mpi.errors import AbortError, BootstrapError
from fmi_mpi.runtime import heartbeat, meeting
from fmi_mpi.runtime.meeting import StoreBootstrap, open_keys

ROOT = Path(__file__).resolve().parents[2]
REDIS = next(iter(KINDS))
SECRET = b"s" * 32
PROGRAM = "from fmi_mpi import MPI; print('sum', MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank + 1))"


def over_redis() -> Keys:
    return open_keys(f"{shared(REDIS).url}?patience=5", Settings({}))


def over_s3() -> Keys:
    server = shared_s3()
    return open_keys(server.url("meeting?patience=5"), s3_settings(server, "meeting"))


def over_dynamodb() -> Keys:
    server = dynamodb_server.shared(next(iter(dynamodb_server.KINDS)))
    if server.port not in _made:
        _made.add(server.port)
        make_table(parse("dynamodb://meeting", server.endpoint))
    return open_keys("dynamodb://meeting", Settings({"FMI_AWS_ENDPOINT_URL": server.endpoint}))


STORES: dict[str, Callable[[], Keys]] = {"redis": over_redis, "s3": over_s3, "dynamodb": over_dynamodb}
_made: set[int] = set()


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Keys]:
    monkeypatch.setattr(meeting, "_NEWS_INTERVAL", 0.0)
    monkeypatch.setattr(heartbeat, "STEP", 1000.0)
    if request.param == "dynamodb":
        for name, value in dynamodb_server.CREDENTIALS.items():
            monkeypatch.setenv(name, value)
    return STORES[request.param]


@pytest.fixture
def joiner(open_store: Callable[[], Keys]) -> Iterator[Callable[..., StoreBootstrap]]:
    """Joins the ranks of a job of this test."""
    job = uuid.uuid4().hex
    joined: list[StoreBootstrap] = []

    def join(rank: int, size: int = 3, secret: bytes = SECRET) -> StoreBootstrap:
        bootstrap = StoreBootstrap(open_store(), Identity(job, rank, size, secret))
        joined.append(bootstrap)
        return bootstrap

    yield join
    for bootstrap in joined:
        bootstrap.close()
        bootstrap.close()


Join = Callable[..., StoreBootstrap]


def publish(ranks: list[StoreBootstrap]) -> None:
    for bootstrap in ranks:
        bootstrap.publish({"at": bootstrap.identity.rank})


def test_all_get_the_table(joiner: Join) -> None:
    ranks = [joiner(rank) for rank in range(3)]
    tables: dict[int, object] = {}
    waiting = threading.Thread(target=lambda: tables.update({2: ranks[2].table(20)}))
    waiting.start()
    publish(ranks)
    tables[0], tables[1] = ranks[0].table(20), ranks[1].table(20)
    waiting.join(20)
    assert tables == {rank: [{"at": 0}, {"at": 1}, {"at": 2}] for rank in range(3)}


def test_the_first_claimant_keeps_a_rank_even_after_the_end(joiner: Join) -> None:
    ranks = [joiner(rank) for rank in range(3)]
    publish(ranks)
    assert len(ranks[0].table(20)) == 3
    for bootstrap in ranks:
        bootstrap.finalized()
    with pytest.raises(BootstrapError, match=r"rank 1 cannot join .* has the rank already; this one must leave"):
        joiner(1)
    left = [found.key.rpartition("/")[2] for found in ranks[0]._find(ranks[0]._prefix)]
    assert left == [f"claim.{rank:08}" for rank in range(3)]


@pytest.mark.parametrize("rank", [0, 2])
def test_missing_ranks_are_named(joiner: Join, rank: int) -> None:
    publish([bootstrap := joiner(rank, 4)])
    rest = ", ".join(str(other) for other in range(4) if other != rank)
    with pytest.raises(BootstrapError, match=f"missing: {rest}. Every rank"):
        bootstrap.table(0.1)


def test_an_abort_reaches_those_who_wait_and_those_who_run(joiner: Join) -> None:
    first, second, third = (joiner(rank) for rank in range(3))
    second.abort(7, "no more")
    third.failed(3)
    with pytest.raises(AbortError, match="no more") as caught:
        first.table(20)
    assert caught.value.code == 7
    assert third._look()
    (event,) = third.events()
    assert (event.kind, event.rank, event.code) == ("abort", 1, 7) and third.events() == ()


def test_what_a_stranger_puts_there_is_not_there(joiner: Join) -> None:
    first = joiner(0, 2)
    stranger = joiner(1, 2, b"x" * 32)
    publish([first, stranger])
    stranger.failed(9)
    assert not first._look() and first.events() == ()
    with pytest.raises(BootstrapError, match="joined"):
        first.table(0.1)


def test_secrets_are_in_no_name(joiner: Join) -> None:
    bootstrap = joiner(0, 1)
    publish([bootstrap])
    names = [found.key for found in bootstrap._find(bootstrap._prefix)]
    assert {"claim.00000000", "rank.00000000"} <= {name.rpartition("/")[2] for name in names}
    assert not any(text in name for name in names for text in (SECRET.decode(), SECRET.hex(), bootstrap.identity.job))


class Ranks:
    """Ranks that nobody has started but this test."""

    def __init__(self, program: str, size: int, channels: str = "redis") -> None:
        url = shared(REDIS).url
        env = {name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_"))}
        env |= {"PYTHONPATH": str(ROOT), "FMI_RENDEZVOUS": url, "FMI_JOIN_TIMEOUT": "30", "FMI_JOB_SIZE": str(size)}
        env |= {"FMI_JOB_ID": uuid.uuid4().hex, "FMI_JOB_SECRET": "5e" * 32}
        self._env = env | {"FMI_CHANNELS": channels.replace("redis", url)}
        self._program = program
        self.processes = [self.start(rank) for rank in range(size)]

    def start(self, rank: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self._program]
        env = self._env | {"FMI_JOB_RANK": str(rank)}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


QUICK = """
import time
from fmi_mpi.runtime import heartbeat
heartbeat.STEP = 0.1
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
comm.barrier()
print("met", flush=True)
"""


def test_a_killed_rank_is_missed_by_those_who_wait_and_by_those_who_compute() -> None:
    compute = "print('sum', comm.recv(source=1)) if comm.rank != 2 else time.sleep(100)"
    ranks = Ranks(QUICK + compute, 4).processes
    for process in ranks:
        assert process.stdout is not None and process.stdout.readline() == "met\n"
    ranks[1].kill()
    ended = [process.communicate(timeout=60) for process in ranks]
    assert [process.returncode for process in ranks] == [1, -9, 1, 1]
    errors = "".join(err for _, err in ended)
    assert errors.count("rank 1 is gone: it has given no sign of life at ") == 1 and "password" not in errors


def test_an_abort_ends_a_rank_that_computes() -> None:
    ranks = Ranks(QUICK + "comm.Abort(7) if comm.rank == 1 else time.sleep(100)", 3).processes
    ended = [process.communicate(timeout=60) for process in ranks]
    assert [process.returncode for process in ranks] == [7, 7, 7]
    assert "".join(err for _, err in ended) == "fmi_mpi: rank 1 called MPI_Abort(MPI_COMM_WORLD, 7)\n"


def test_a_rank_that_computes_for_long_is_not_missed() -> None:
    ranks = Ranks(QUICK + "comm.rank or time.sleep(2)\ncomm.barrier()\nprint('done')", 2).processes
    assert [process.communicate(timeout=60) for process in ranks] == [("met\ndone\n", "")] * 2


def test_ranks_without_a_launcher_form_a_job() -> None:
    ranks = Ranks(PROGRAM, 3, "shm,redis")
    assert [process.communicate(timeout=60) for process in ranks.processes] == [("sum 6\n", "")] * 3
    _, err = ranks.start(1).communicate(timeout=60)
    assert "this one must leave" in err
