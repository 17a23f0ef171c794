"""``import mpi4py`` gives fmi_mpi: the same module objects, in scripts, modules and children."""

from __future__ import annotations

import subprocess
import sys

import pytest
from launch_harness import Launcher

CHECKS = """
import sys
import mpi4py, fmi_mpi
assert mpi4py is fmi_mpi is sys.modules["mpi4py"]
import mpi4py.bootstrap.wire
import fmi_mpi.bootstrap.wire as wire
assert mpi4py.bootstrap.wire is wire is sys.modules["mpi4py.bootstrap.wire"]
import fmi_mpi.bootstrap.base as base
from mpi4py.bootstrap import base as same
import mpi4py.bootstrap.base as again
assert base is same is again
for module in (fmi_mpi, wire, base):
    assert module.__spec__.name == module.__name__, module.__spec__
    assert module.__name__.startswith("fmi_mpi")
assert mpi4py.bootstrap.__spec__.submodule_search_locations
try:
    import mpi4py.nothing_here
except ModuleNotFoundError as error:
    assert error.name == "mpi4py.nothing_here"
else:
    raise AssertionError
print(__name__, *sys.argv[1:])
"""


def fmirun(launcher: Launcher, *program: str) -> str:
    done = launcher.run("-n", "1", "--alias-mpi4py", *program)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_process(launcher: Launcher, *program: str) -> str:
    command = [sys.executable, "-m", "fmi_mpi.alias", *program]
    done = subprocess.run(command, env=launcher.env, cwd=launcher.directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=[fmirun, in_process])
def run(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    return request.param


def test_script(launcher: Launcher, run) -> None:  # type: ignore[no-untyped-def]
    assert run(launcher, launcher.script(CHECKS), "a", "-b") == "__main__ a -b\n"


def test_module(launcher: Launcher, run) -> None:  # type: ignore[no-untyped-def]
    launcher.script(CHECKS, "program.py")
    assert run(launcher, "-m", "program", "a") == "__main__ a\n"


def test_code(launcher: Launcher, run) -> None:  # type: ignore[no-untyped-def]
    assert run(launcher, "-c", CHECKS, "a") == "__main__ a\n"


@pytest.mark.parametrize("module", ["mpi4py", "mpi4py.run"])
def test_modules_of_mpi4py_as_programs(launcher: Launcher, run, module: str) -> None:  # type: ignore[no-untyped-def]
    assert run(launcher, "-m", module, "-c", CHECKS, "a") == "__main__ a\n"


def test_children_inherit_the_alias(launcher: Launcher, run) -> None:  # type: ignore[no-untyped-def]
    body = """
    import multiprocessing, subprocess
    import mpi4py
    def child():
        import fmi_mpi, mpi4py
        return mpi4py is fmi_mpi
    if __name__ == "__main__":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            say(pool.apply(child))
        parent = os.path.dirname(mpi4py.__path__[0])
        code = "import sys; sys.path.insert(0, sys.argv[1]); import mpi4py; print(mpi4py.__name__)"
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([sys.executable, "-S", "-c", code, parent], check=True, env=env)
    """
    assert run(launcher, launcher.script(body)) == "True\nfmi_mpi\n"


def test_alias_stands_before_an_installed_mpi4py(launcher: Launcher) -> None:
    (launcher.directory / "mpi4py").mkdir()
    (launcher.directory / "mpi4py" / "__init__.py").write_text("raise AssertionError('the other one')")
    launcher.env["PYTHONPATH"] = f"{launcher.directory}:{launcher.env['PYTHONPATH']}"
    assert fmirun(launcher, "python3", "-P", "-c", "import mpi4py; print(mpi4py.__name__)") == "fmi_mpi\n"


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-c"]])
def test_usage(launcher: Launcher, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "fmi_mpi.alias", *arguments]
    done = subprocess.run(command, env=launcher.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m fmi_mpi.alias")
