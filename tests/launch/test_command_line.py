"""fmirun's options: what runs, with which environment, and what is said about bad input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from launch_harness import Launcher

from fmi_mpi.config import TABLE
from fmi_mpi.launch.cli import main
from fmi_mpi.launch.options import UsageError, help_text, parse

PYTHON = sys.executable


@pytest.mark.parametrize(
    ("line", "programs"),
    [
        ("-n 4 sh x -n 5", [(4, ["sh", "x", "-n", "5"])]),
        ("-np 2 -m module -m other", [(2, [PYTHON, "-m", "module", "-m", "other"])]),
        ("--np=3 -c code a", [(3, [PYTHON, "-c", "code", "a"])]),
        ("script.py -v", [(1, [PYTHON, "script.py", "-v"])]),
        ("-n 2 -- sh", [(2, ["sh"])]),
        ("-n 1 sh a : -n 2 sh b", [(1, ["sh", "a"]), (2, ["sh", "b"])]),
        ("--oversubscribe --allow-run-as-root --mca btl self -n 2 --map-by core sh", [(2, ["sh"])]),
    ],
)
def test_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, programs: object) -> None:
    (tmp_path / "script.py").touch()
    monkeypatch.chdir(tmp_path)
    assert parse(line.split()).programs == programs


def test_environment_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "value")
    arguments = parse(["--env", "A=1=2", "-x", "HERE", "-x", "B=3", "-env", "C", "4", "sh"])
    assert arguments.env == {"A": "1=2", "HERE": "value", "B": "3", "C": "4"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no program is given; for example: fmirun -n 4 python script.py"),
        ("-n 4", "no program is given"),
        ("-n 2 -m", "no program is given; for example: fmirun -n 4 -m module"),
        ("-n 0 sh", "-n 0: expecting a number of ranks, 1 or more"),
        ("-n x sh", "-n x: expecting a number of ranks"),
        ("-n", "-n needs N"),
        ("--timeout -1 sh", "--timeout -1: expecting seconds"),
        ("--timeout soon sh", "--timeout soon: expecting seconds"),
        ("--timeout nan sh", "--timeout nan: expecting seconds"),
        ("--bind-to socket sh", "--bind-to socket: expecting none or core"),
        ("--env NOVALUE sh", "--env NOVALUE: expecting NAME=VALUE"),
        ("--prefx sh", "unknown option --prefx; the nearest known one is --prefix"),
        ("--prefix=x sh", "--prefix needs no value"),
        ("absent-program", "cannot run absent-program: it is not on PATH"),
        ("absent.py", "cannot run absent.py: there is no such file"),
        ("./plain.txt", "is neither executable nor a Python script"),
        ("sh : ", "no program is given"),
    ],
)
def test_bad_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str) -> None:
    (tmp_path / "plain.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        parse(line.split())
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus", "sh"], "fmirun: unknown option --bogus"),
        (["--env", "FMI_CHANELS=tcp", "sh"], "the nearest known one is FMI_CHANNELS"),
        (["--channels", ",", "sh"], "expecting names or URLs separated by commas"),
        (["--channels", "tcp,redis://h,rediss://i", "sh"], "expecting each channel once"),
        (["--channels", "redis://u:a,b@h", "sh"], "FMI_CHANNELS='redis://***@h': expecting"),
    ],
)
def test_bad_input_has_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("FMI_")]:
        monkeypatch.delenv(name)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_help_has_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == help_text()
    for setting in TABLE:
        assert setting.variable in help_text()
        assert setting.help in help_text()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fmirun (fmi_mpi) ")


def test_environment_of_the_ranks(launcher: Launcher) -> None:
    script = launcher.script("say(*(os.environ.get(n) for n in ('FMI_CHANNELS', 'A', 'PYTHONUNBUFFERED')))")
    done = launcher.run("-n", "2", "--channels", "tcp", "--env", "A=b c", script)
    assert done.stdout == "tcp b c 1\n" * 2


def test_bind_to_core(launcher: Launcher) -> None:
    script = launcher.script("say(os.environ['FMI_JOB_RANK'], *os.sched_getaffinity(0))")
    cores = sorted(os.sched_getaffinity(0))
    done = launcher.run("-n", "3", "--bind-to", "core", script)
    assert sorted(done.stdout.splitlines()) == [f"{rank} {cores[rank % len(cores)]}" for rank in range(3)]


def test_verbose(launcher: Launcher) -> None:
    done = launcher.run("-n", "1", "--verbose", "true")
    assert "fmirun: rank 0 is process" in done.stderr
    assert "fmirun: rank 0 ended: exited with code 0" in done.stderr


@pytest.mark.parametrize("name", ["mpirun", "mpiexec"])
def test_provided_mpirun_is_fmirun(launcher: Launcher, name: str) -> None:
    inner = launcher.script(
        "b = join(); say(b.identity.rank, b.identity.size, len(b.table(10))); b.finalized()", "inner.py"
    )
    outer = launcher.script(
        f"import subprocess; sys.exit(subprocess.call([{name!r}, '-n', '2', sys.executable, {inner!r}]))"
    )
    done = launcher.run("-n", "1", "--provide-mpirun", outer)
    assert sorted(done.stdout.splitlines()) == ["0 2 2", "1 2 2"]
    assert done.returncode == 0, done.stderr


def test_launcher_does_not_import_numpy(launcher: Launcher) -> None:
    code = "import sys, fmi_mpi.launch.cli, fmi_mpi.launch.job; sys.exit('numpy' in sys.modules)"
    assert launcher.run("-n", "1", "-c", code).returncode == 0
