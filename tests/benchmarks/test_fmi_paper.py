"""The baselines of FMI's experiment compute what they should, and the experiment runs and judges."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fmi_paper.__main__ import main
from benchmarks.fmi_paper.polling import Polling, RedisKeys, fixed, growing
from benchmarks.fmi_paper.report import write
from benchmarks.fmi_paper.trees import Trees, connect
from benchmarks.servers.redis import KINDS, shared

Maker = Callable[[int, int], Any]


def over_sockets(meeting: socket.socket) -> Maker:
    return lambda rank, size: Trees(rank, connect(rank, size, meeting))


def over_redis(job: str, pauses: Any) -> Maker:
    port = shared(next(iter(KINDS))).port
    return lambda rank, size: Polling(RedisKeys(port), rank, size, job, pauses)


@pytest.fixture(params=["sockets", "fixed", "growing"])
def make(request: pytest.FixtureRequest) -> Iterator[Maker]:
    if request.param == "sockets":
        with socket.create_server(("127.0.0.1", 0)) as meeting:
            yield over_sockets(meeting)
    else:
        yield over_redis(uuid.uuid4().hex, {"fixed": fixed(1e-3), "growing": growing(1e-5, 1.5, 1e-3)}[request.param])


def collectives(comm: Any, data: np.ndarray, root: int) -> dict[str, np.ndarray | None]:
    """Run each of them, twice so that counters matter; return what this rank has got."""
    size, is_root = comm.Get_size(), comm.Get_rank() == root
    found: dict[str, np.ndarray | None] = {}
    for _ in range(2):
        comm.Barrier()
        found["bcast"] = data.copy()
        comm.Bcast(found["bcast"], root=root)
        found["reduce"] = np.empty(3) if is_root else None
        comm.Reduce(data, found["reduce"], root=root)
        found["gather"] = np.empty(3 * size) if is_root else None
        comm.Gather(data, found["gather"], root=root)
        found["scatter"] = np.empty(3)
        comm.Scatter(np.arange(3.0 * size) if is_root else None, found["scatter"], root=root)
        found["allreduce"], found["scan"] = np.empty(3), np.empty(3)
        comm.Allreduce(data, found["allreduce"])
        comm.Scan(data, found["scan"])
        found["ring"] = np.empty(3)
        comm.Send(data, (comm.Get_rank() + 1) % size)
        comm.Recv(found["ring"], (comm.Get_rank() - 1) % size)
    return found


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_baseline_computes_what_mpi_does(make: Maker, size: int) -> None:
    inputs, root = np.random.default_rng(size).integers(0, 99, (size, 3)).astype(float), size - 1
    with ThreadPoolExecutor(size) as pool:
        comms = list(pool.map(make, range(size), [size] * size))
        found = list(pool.map(collectives, comms, inputs, [root] * size))
    for rank, mine in enumerate(found):
        wanted: dict[str, np.ndarray | None] = {
            "bcast": inputs[root],
            "reduce": inputs.sum(0) if rank == root else None,
            "gather": inputs.ravel() if rank == root else None,
            "scatter": np.arange(3.0 * rank, 3.0 * rank + 3),
            "allreduce": inputs.sum(0),
            "scan": inputs[: rank + 1].sum(0),
            "ring": inputs[rank - 1],
        }
        np.testing.assert_equal(mine, wanted)


def row(system: str, seconds: float, puts: float) -> dict[str, Any]:
    kinds = ("put", "get", "empty_get", "list", "empty", "other", "delete")
    common = {"channel": "s3", "piece": "kmeans", "ranks": 8, "nbytes": 680, "setup": 1.0, "cpu": 1.0}
    price = {"total": 1e-6, "requests": 1e-7}
    requests = {**dict.fromkeys(kinds, 0.0), "put": puts}
    return {**common, "system": system, "median": seconds, "mean": seconds, "price": price, "requests": requests}


@pytest.mark.parametrize(("seconds", "puts", "verdicts"), [(0.1, 5, ["pass"] * 2), (0.11, 6, ["**miss**"] * 2)])
def test_bars_are_half_of_what_fmi_takes(seconds: float, puts: float, verdicts: Sequence[str]) -> None:
    page = write({"facts": {}, "notes": [], "results": [row("fmi_mpi", seconds, puts), row("FMI", 0.2, 10)]})
    bars = page.partition("## What is wanted")[2].splitlines()[4:]
    assert [bar.split(" | ")[-1].strip(" |") for bar in bars] == verdicts


def test_the_experiment_runs_and_tells_time_and_requests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "fmi_paper --channels redis --only kmeans --ranks 2 --rounds 1 --output"
    monkeypatch.setattr("sys.argv", [*words.split(), str(tmp_path)])
    main()
    assert "| redis | 2 | tuned |" in capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["notes"] == []
    fmi = {one["system"]: one for one in found["results"]}["FMI"]
    assert (fmi["requests"]["put"], fmi["requests"]["get"]) == (2, 2)
    assert 0 < fmi["median"] < fmi["setup"]
