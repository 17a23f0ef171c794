"""Whole jobs over DynamoDB: an exchange, a table that is not there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any, cast

import pytest

from benchmarks.servers.dynamodb import CREDENTIALS, KINDS, shared
from fmi_mpi.channels.dynamodb import DynamoKeys, make_table, parse

from . import jobs
from .jobs import COUNTED

URL = "dynamodb://job-messages?patience=20"

EXCHANGE = """
import numpy as np
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
for turn in range(5):
    data = np.full(120_000, comm.rank + turn, dtype="i8")
    comm.Allreduce(MPI.IN_PLACE, data)
    assert (data == sum(range(comm.size)) + comm.size * turn).all(), turn
    assert comm.allgather((comm.rank, turn)) == [(rank, turn) for rank in range(comm.size)]
    comm.Barrier()
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    assert comm.sendrecv(bytes([comm.rank]) * 500_000, right, source=left) == bytes([left]) * 500_000
print("done", flush=True)
"""


def run(*words: str, ranks: int = 3, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {**CREDENTIALS, "FMI_AWS_ENDPOINT_URL": shared(KINDS[0]).endpoint, **more}
    return jobs.run(URL, variables, *words, ranks=ranks)


@pytest.fixture
def items(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """Make the jobs' table; the fixture is what lists its items."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    table = parse(URL, shared(KINDS[0]).endpoint)
    make_table(table)
    keys = DynamoKeys(table)
    return lambda: cast(list[Any], keys._client.ask("scan", TableName=table.name)["Items"])


@pytest.mark.parametrize(("ranks", "encrypt"), [(2, "0"), (3, "1"), (8, "0")])
def test_collectives_cost_what_the_formulas_say(ranks: int, encrypt: str, items: Callable[[], list[Any]]) -> None:
    done = run(COUNTED, ranks=ranks, FMI_ENCRYPT=encrypt)
    assert done.stdout == "as predicted\n", done.stdout + done.stderr
    assert items() == []


def test_parity_programs(items: Callable[[], list[Any]]) -> None:
    words = ["-m", "pytest", "compat_tests/test_collectives_objects.py", "--mpi=fmi_mpi", "-q"]
    done = run(*words, "-k", "(wrong or barrier or arrays) and world or barrier and halves or arrays and reversed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert items() == []


def test_an_exchange_is_right_and_leaves_nothing_behind(items: Callable[[], list[Any]]) -> None:
    done = run("-c", EXCHANGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "done\n" * 3
    assert items() == []


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("comm.allreduce(1, op=spoil)", "rank 0 has failed in this collective"),
        ("comm.Allreduce(np.zeros(2 + comm.rank), np.zeros(2 + comm.rank))", "disagree on the count"),
    ],
)
def test_a_rank_that_fails_or_differs_is_known_to_the_others(
    call: str, reason: str, items: Callable[[], list[Any]]
) -> None:
    program = (
        "import numpy as np; from fmi_mpi import MPI; comm = MPI.COMM_WORLD\n"
        "def spoil(a, b): raise ArithmeticError('spoilt')\n"
        f"try: {call}\n"
        "except (ArithmeticError, MPI.Exception) as error: print(error, *getattr(error, '__notes__', ()), flush=True)\n"
        "print(comm.allreduce(1), flush=True)\n"
    )
    done = run("-c", program)
    lines = sorted(done.stdout.splitlines())
    assert lines[:3] == ["3", "3", "3"], done.stdout + done.stderr
    assert len(lines) == 6 and any(reason in line for line in lines[3:]), lines  # who sees it first tells the others


def test_a_missing_table_ends_the_job() -> None:
    missing = URL.replace("job-messages", "missing")
    done = run("-c", f"import os; os.environ['FMI_CHANNELS'] = {missing!r}; from fmi_mpi import MPI")
    assert done.returncode != 0
    assert "fmi-mpi setup dynamodb://missing" in done.stderr
