"""Whole programs under fmirun: ``-m fmi_mpi.futures`` with a program in every form, how it ends, MPICommExecutor, bench."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from fmi_mpi.futures import MPIPoolExecutor, get_comm_workers
class Point:
    def __init__(self, x): self.x = x
def mirrored(point): return Point(-point.x)
def where(): return __name__, sys.argv[1:], get_comm_workers().Get_size()
if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        print([one.x for one in executor.map(mirrored, map(Point, range(4)))], executor.num_workers)
        print(*executor.submit(where).result())
"""
EXPECTED = "[0, -1, -2, -3] 2\n__worker__ ['a', '-m'] 2\n"


def run(np: int, *arguments: str, cwd: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a module's command line on ranks."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_"))}
    env["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "fmi_mpi.launch", "-n", str(np), "--timeout", "60", sys.executable, "-m"]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=90, **kwargs
    )


def futures(tmp_path: Path, *arguments: str, np: int = 3, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return run(np, "fmi_mpi.futures", *arguments, cwd=tmp_path, **kwargs)


@pytest.mark.parametrize("form", ["script", "module", "package", "directory", "zip", "text", "stdin"])
def test_workers_find_the_main_module(tmp_path: Path, form: str) -> None:
    words, kwargs = [form], {}
    if form == "script":
        (tmp_path / form).write_text(PROGRAM)
    elif form in ("module", "package"):
        words = ["-m", "program"]
        if form == "package":
            (tmp_path / "program").mkdir()
        (tmp_path / ("program.py" if form == "module" else "program/__main__.py")).write_text(PROGRAM)
    elif form == "directory":
        (tmp_path / form).mkdir()
        (tmp_path / form / "__main__.py").write_text(PROGRAM)
    elif form == "zip":
        with zipfile.ZipFile(tmp_path / form, "w") as archive:
            archive.writestr("__main__.py", PROGRAM)
    else:
        words, kwargs = (["-c", PROGRAM], {}) if form == "text" else (["-"], {"input": PROGRAM})
    done = futures(tmp_path, *words, "a", "-m", **kwargs)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED, "", 0)


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('enough')", 1, "enough"),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_endings(tmp_path: Path, ending: str, code: int, said: str) -> None:
    """Whatever the executor still has to do, a failure ends all ranks at once."""
    script = f"""
        import sys, time
        from fmi_mpi.futures import MPIPoolExecutor
        if __name__ == "__main__":
            MPIPoolExecutor().submit(time.sleep, {50 if code else 0})
            {ending}
    """
    lines = "\n".join(line[8:] for line in script.splitlines())
    done = futures(tmp_path, "-c", lines, np=2)
    assert done.returncode == code and said in done.stderr and ("Traceback" in done.stderr) == (ending == "1 / 0")


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "No path"), (("-x",), "-x"), (("nowhere.py",), "nowhere.py"), (("-m",), "Argument expected")],
)
def test_misuse_is_said_once(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = futures(tmp_path, *words, np=2)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("usage:") == 1


def test_failures_of_tasks(tmp_path: Path) -> None:
    """What cannot be pickled, what cannot be unpickled, and what a task raises come back as exceptions; workers go on."""
    (tmp_path / "tasks.py").write_text("""
from fmi_mpi import MPI
from fmi_mpi.futures import MPIPoolExecutor
class Odd(Exception):
    def __init__(self, a, b): super().__init__()
class Unreadable:
    def __reduce__(self): return divmod, (1, 0)
def raising(kind): raise kind
def odd(): raise Odd(1, 2)
def same(value): return value
def unpicklable(): return lambda: 0
def mpi(): MPI.COMM_WORLD.Send(b"", 99)
def show(fn, *args):
    error = executor.submit(fn, *args).exception(50)
    print(type(error).__name__, type(error.__cause__).__name__)
if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        show(raising, KeyError("k")); show(raising, SystemExit(3)); show(odd); show(unpicklable); show(same, lambda: 0)
        show(same, Unreadable()); show(Unreadable); show(mpi)
        print(executor.submit(same, 1).result(50))
""")
    done = futures(tmp_path, "tasks.py", np=2)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "KeyError RemoteTraceback",
        "SystemExit RemoteTraceback",
        "TypeError NoneType",
        "AttributeError RemoteTraceback",
        "PicklingError NoneType",
        "ZeroDivisionError RemoteTraceback",
        "ZeroDivisionError NoneType",
        "Exception RemoteTraceback",
        "1",
    ]


def test_executors_share_the_ranks(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("""
import os
from fmi_mpi.futures import BrokenExecutor, MPIPoolExecutor
mine = []
def init(value): mine.append(value); value or 1 / 0
def seen(): return os.getpid(), list(mine)
if __name__ == "__main__":
    executors = [MPIPoolExecutor(initializer=init, initargs=(n,)) for n in (1, 2)]
    found = [one.submit(seen) for one in executors * 8]
    print(len({one.result(50)[0] for one in found}) <= 2, [one.result()[1].count(n + 1) for n, one in enumerate(found[:2])])
    broken = MPIPoolExecutor(initializer=init, initargs=(0,))
    print(type(broken.submit(seen).exception(50)).__name__, broken.num_workers)
    print(MPIPoolExecutor().submit(abs, -1).result(50))
""")
    done = futures(tmp_path, "shared.py")
    assert (done.stdout, done.stderr, done.returncode) == ("True [1, 1]\nBrokenExecutor 0\n1\n", "", 0)


def test_a_main_module_that_fails_on_workers_ends_the_job(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("""
from fmi_mpi.futures import MPIPoolExecutor
if __name__ == "__worker__": raise OSError("not here")
MPIPoolExecutor().submit(abs, 1).result(50)
""")
    done = futures(tmp_path, "main.py", np=2)
    assert done.returncode == 1 and "main.py" in done.stderr and "not here" in done.stderr


@pytest.mark.parametrize("root", [0, 1, 2])
@pytest.mark.parametrize("use_pkl5", [False, True])
def test_ranks_of_a_communicator(tmp_path: Path, root: int, use_pkl5: bool) -> None:
    (tmp_path / "split.py").write_text(f"""
import numpy as np
from fmi_mpi import MPI
from fmi_mpi.futures import MPICommExecutor, get_comm_workers, wait
def total():
    comm = get_comm_workers()
    comm.Barrier()
    return comm.allreduce(comm.rank + 1)
def twice(array): return 2 * array
for turn in range(2):
    with MPICommExecutor(root={root}, use_pkl5={use_pkl5}) as executor:
        if executor is not None:
            if turn:
                found = [executor.submit(total) for _ in range(executor.num_workers)]
                print(MPI.COMM_WORLD.rank, [one.result(50) for one in found], get_comm_workers is not None)
                arrays = list(executor.map(twice, [np.ones(n) for n in (1, 1000, 100000)]))
                print([array.sum() for array in arrays] == [2.0, 2000.0, 200000.0])
print(MPI.COMM_WORLD.allreduce(1))
""")
    done = run(3, "fmi_mpi.run", "split.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(done.stdout.splitlines()) == sorted(["3", "3", "3", f"{root} [3, 3] True", "True"])


def test_without_spawn_an_executor_says_what_to_do(tmp_path: Path) -> None:
    from fmi_mpi import MPI

    if hasattr(MPI.Intracomm, "Spawn"):
        pytest.skip("there is Comm.Spawn")
    done = run(1, "fmi_mpi.run", "-c", "from fmi_mpi.futures import *; MPIPoolExecutor().submit(abs, 1)", cwd=tmp_path)
    assert done.returncode == 1 and "python -m fmi_mpi.futures" in done.stderr


@pytest.mark.parametrize("np", [1, 2])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("helloworld", "Hello, World!"),
        ("--no-threads helloworld", "Hello, World!"),
        ("ringtest -n 100 -l 3 -s 1", "time for 3 loops"),
        ("pingpong -n 2 -s 1 -l 3", "MPI PingPong Test"),
        ("pingpong -n 2 -s 0 -l 1 -p --no-stats", "Bandwidth"),
        ("pingpong -m 2 -n 2 -s 0 -l 3 -o --threshold 0 -a none", "Samples"),
        ("futures -e thread -n 2 -s 0 -l 2", "ThreadPoolExecutor - 1 workers"),
        ("ringtest -q", ""),
    ],
)
def test_bench(tmp_path: Path, np: int, words: str, expected: str) -> None:
    done = run(np, "fmi_mpi.bench", *words.split(), cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert expected in done.stdout if expected else not done.stdout
    assert done.stdout.count("Hello, World!") == (np if "hello" in words else 0)


def test_bench_of_futures_on_ranks(tmp_path: Path) -> None:
    done = run(2, "fmi_mpi.bench", *["futures", "-n", "2", "-t", "3", "-s", "0", "-l", "2", "-o"], cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0) and "MPIPoolExecutor - 1 workers, 3 tasks/worker" in done.stdout


@pytest.mark.parametrize("words", ["nothing", "pingpong --nothing", ""])
def test_misuse_of_bench_is_said_once(tmp_path: Path, words: str) -> None:
    done = run(2, "fmi_mpi.bench", *words.split(), cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("usage:") == 1
