"""``python -m fmi_mpi.run``: programs run as Python would run them, and a failing one sets the abort status."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest
from launch_harness import Launcher

import fmi_mpi

SHOW = """
import sys
from pathlib import Path
assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
inside = Path(__file__).name == "__main__.py"
assert Path(sys.path[0]) == Path(__file__).parent, (sys.path, __file__)
assert sys.argv[0] == (sys.path[0] if inside else __file__)
print(*sys.argv[1:])
"""

STATUS = """
import atexit
from fmi_mpi.bootstrap import exits
atexit.register(lambda: print("status", exits.failure()))
"""


def run(
    launcher: Launcher, *arguments: str, module: str = "fmi_mpi.run", input: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=launcher.env, cwd=launcher.directory, input=input, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["script", "directory", "zip"])
def test_files(launcher: Launcher, kind: str) -> None:
    path = launcher.directory / kind
    if kind == "script":
        path.write_text(SHOW)
    elif kind == "directory":
        path.mkdir()
        (path / "__main__.py").write_text(SHOW)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("__main__.py", SHOW)
    done = run(launcher, str(path), "a", "-m", "b")
    assert (done.stdout, done.stderr, done.returncode) == ("a -m b\n", "", 0)


def test_module(launcher: Launcher) -> None:
    (launcher.directory / "program.py").write_text("import sys; print(__name__, sys.argv[1:])")
    assert run(launcher, "-m", "program", "a").stdout == "__main__ ['a']\n"


@pytest.mark.parametrize("module", ["fmi_mpi.run", "fmi_mpi"])
def test_code_and_input(launcher: Launcher, module: str) -> None:
    code = "import sys; print(__name__, sys.argv)"
    assert run(launcher, "-c", code, "a", module=module).stdout == "__main__ ['-c', 'a']\n"
    assert run(launcher, "-", "a", module=module, input=code).stdout == "__main__ ['-', 'a']\n"


@pytest.mark.parametrize(
    ("code", "status", "traceback"),
    [
        ("pass", 0, False),
        ("raise SystemExit(0)", 0, False),
        ("raise SystemExit", 0, False),
        ("raise SystemExit(7)", 7, False),
        ("import sys; sys.exit(7)", 7, False),
        ("raise SystemExit('words')", 1, False),
        ("1/0", 1, True),
        ("raise KeyboardInterrupt", 130, True),
    ],
)
def test_status(launcher: Launcher, code: str, status: int, traceback: bool) -> None:
    done = run(launcher, "-c", STATUS + code)
    assert done.stdout == f"status {status}\n"
    assert done.stderr.count("Traceback") == traceback
    assert done.returncode == (-2 if status == 130 else status)


def test_set_abort_status(launcher: Launcher) -> None:
    code = "from fmi_mpi.run import set_abort_status; set_abort_status(5)"
    done = run(launcher, "-c", STATUS + code)
    assert (done.stdout, done.returncode) == ("status 5\n", 0)


def test_rc_options(launcher: Launcher) -> None:
    code = "import fmi_mpi; print(fmi_mpi.rc.__dict__)"
    done = run(launcher, "-rc", "threads=False,irecv_bufsz=1024", "-rc", "errors=fatal,finalize=none", "-c", code)
    assert done.stdout == "{'threads': False, 'irecv_bufsz': 1024, 'errors': 'fatal', 'finalize': None}\n"


def test_information(launcher: Launcher) -> None:
    assert run(launcher, "--version").stdout == f"fmi_mpi {fmi_mpi.__version__}\n"
    assert run(launcher, "--prefix").stdout == f"{fmi_mpi.__path__[-1]}\n"
    assert run(launcher, "--help").stdout.startswith("usage: python -m fmi_mpi.run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "No path specified for execution"),
        (["--bogus"], "Unknown option: --bogus"),
        (["-m"], "Argument expected for option: -m"),
        (["-c"], "Argument expected for option: -c"),
        (["-rc"], "Argument expected for option: -rc"),
        (["-rc", "threads"], "Cannot parse rc option: threads"),
        (["-rc", "threads=", "x"], "Cannot parse rc option: threads="),
        (["-rc", "bogus=1", "x"], "Cannot set rc option: unknown option 'bogus'"),
    ],
)
def test_misuse(launcher: Launcher, arguments: list[str], said: str) -> None:
    done = run(launcher, *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith(said)
    assert "Try `python -m fmi_mpi.run -h`" in done.stderr
