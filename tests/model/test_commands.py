"""``fmi-mpi explain`` and ``calibrate``, and policies in jobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from launch_harness import ROOT, Launcher, checked

from fmi_mpi.launch.tools import main
from fmi_mpi.model.profile import load

ASK = ["explain", "allreduce", "--size", "1MiB", "-n", "64", "--memory", "1GiB"]


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path)


def test_explain_prints_the_best_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ASK) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split()[:2] == ["tcp", "rabenseifner"]
    assert "profile lambda" in lines[0]


@pytest.mark.parametrize(
    ("policy", "key"), [("fast", lambda row: row["seconds"]), ("cheap", lambda row: row["price"]["total"])]
)
def test_explain_as_json_is_ordered_by_the_policy(policy: str, key: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "--json", "--policy", policy]) == 0
    rows = json.loads(capsys.readouterr().out)["options"]
    assert rows == sorted(rows, key=key)  # type: ignore[call-overload]
    assert {row["channel"] for row in rows} == set(load("lambda").channels)
    for row in rows:
        assert row["price"]["total"] == pytest.approx(sum(row["price"].values()) - row["price"]["total"])


@pytest.mark.parametrize("over", ["size", "ranks"])
def test_explain_draws(over: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.png"
    assert main(["explain", "bcast", "-n", "8", "--plot", str(path), "--over", over]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["alreduce"], "'allreduce'"),
        (["bcast", "--size", "1XB"], "--size 1XB"),
        (["bcast", "-n", "0"], "--ranks 0"),
        (["bcast", "--channels", "rediss"], "'redis'"),
        (["bcast", "--profile", "lamda"], "'lambda'"),
        (["bcast", "--policy", "chep"], "'cheap'"),
        (["bcast", "--arch", "amr"], "'arm'"),
        (["bcast", "--price", "s3=s4"], "'s3'"),
        (["bcast", "--plot", "out.spam"], "--plot out.spam"),
    ],
)
def test_explain_names_what_is_wrong(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == 2
    assert said in capsys.readouterr().err


def test_plotting_without_matplotlib_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*ASK, "--plot", "x.png"]) == 2
    assert "fmi_mpi[plot]" in capsys.readouterr().err


def test_calibrate_without_a_home_asks_for_an_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["calibrate"]) == 2
    assert "--output" in capsys.readouterr().err


CHECK = """
import sys
import numpy as np
from fmi_mpi import MPI
from fmi_mpi.coll.choose import options
from fmi_mpi.launch.calibration import seconds_of
from fmi_mpi.model.profile import load
from fmi_mpi.runtime.process import world
comm = MPI.COMM_WORLD
name = world().channels[0].name
channel = load(sys.argv[1]).channel(name)
def predicted(collective, nbytes):
    row = comm._handle._selector.choose(collective, nbytes).name
    (way,) = options(collective, comm.size, nbytes, [channel], rows=[row])
    return way.estimate.seconds
for _ in range(5):
    comm.Barrier()
barrier = seconds_of(comm, comm.Barrier)
for nbytes in (8, 1 << 16):
    a, b = np.zeros(nbytes // 8), np.zeros(nbytes // 8)
    pairs = [
        ("allreduce", seconds_of(comm, lambda: comm.Allreduce(a, b)), predicted("allreduce", nbytes)),
        ("bcast", seconds_of(comm, lambda: (comm.Bcast(a), comm.Barrier())),
         predicted("bcast", nbytes) + predicted("barrier", 0)),
    ]
    if comm.rank == 0:
        for collective, seconds, model in pairs:
            print(name, comm.size, collective, nbytes, seconds, model)
"""


@pytest.mark.parametrize("channel", ["shm", "tcp"])
def test_calibrated_predictions_are_within_2(channel: str, launcher: Launcher, tmp_path: Path) -> None:
    """What else runs on the machine comes and goes between calibration and check: the best of several tries counts."""
    path, script = tmp_path / "profile.toml", tmp_path / "check.py"
    script.write_text(CHECK)
    for _ in range(4):
        assert main(["calibrate", "--channels", channel, "-n", "4", "--output", str(path)]) == 0
        rows = []
        for size, bind in ((2, "core"), (4, "none")):
            arguments = ("-n", str(size), "--bind-to", bind, "--channels", channel, "python", str(script), str(path))
            done = launcher.run(*arguments)
            assert done.returncode == 0, done.stderr
            rows += [line.split() for line in done.stdout.splitlines()]
        wrong = [row for row in rows if not 0.5 <= float(row[5]) / float(row[4]) <= 2]
        if not wrong:
            return
    raise AssertionError(wrong)


POLICY = """
import numpy as np
from fmi_mpi import MPI
comm = MPI.COMM_WORLD
other = comm.Dup(MPI.Info.Create({"fmi_policy": "cheap"}))
for one in (comm, other):
    for count in (1, 1000, 100_000):
        a, b = np.ones(count), np.zeros(count)
        for _ in range(3):
            one.Allreduce(a, b)
            assert (b == comm.size).all()
    names = one.allgather([one._handle._selector.choose("allreduce", 1 << p).name for p in range(25)])
    assert all(row == names[0] for row in names), names
for info in ({"fmi_policy": "chep"}, {"fmi_channel": "spam"}, {"fmi_policy": "fast" if comm.rank else "cheap"}):
    for call in (comm.Dup, comm.Set_info):
        try:
            call(MPI.Info.Create(info))
        except MPI.Exception as error:
            assert error.Get_error_class() == MPI.ERR_INFO_VALUE
        else:
            raise AssertionError(info)
comm.Set_info(MPI.Info.Create({"fmi_policy": "fast", "fmi_channel": "tcp", "unknown": "ignored"}))
assert comm.Get_info().get("fmi_policy") == "fast"
"""


@pytest.mark.parametrize("policy", ["", "fast", "cheap", "balanced"])
def test_ranks_choose_alike(policy: str, launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "policy.py"
    script.write_text(POLICY)
    with checked(launcher):
        done = launcher.run("-n", "3", "--env", f"FMI_POLICY={policy}", "--env", "FMI_MODEL=lambda", str(script))
        assert done.returncode == 0, done.stderr
        script.unlink()


def test_ranks_with_different_profiles_are_told(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "differ.py"
    script.write_text(
        "import os\nos.environ['FMI_MODEL'] = 'lambda' if os.environ['FMI_JOB_RANK'] == '1' else 'local'\n"
        "from fmi_mpi import MPI\nMPI.COMM_WORLD.Barrier()\n"
    )
    done = launcher.run("-n", "3", "--env", "FMI_POLICY=fast", str(script))
    assert done.returncode != 0
    assert "FMI_MODEL" in done.stderr


def test_nothing_is_read_without_a_policy(launcher: Launcher) -> None:
    code = "import sys\nfrom fmi_mpi import MPI\nMPI.COMM_WORLD.Barrier()\nassert 'tomllib' not in sys.modules"
    done = launcher.run("-n", "2", "-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
