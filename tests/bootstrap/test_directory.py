"""Meeting in a private directory: claims, departures, what dead processes leave, and real launchers."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fmi_mpi.bootstrap import private
from fmi_mpi.bootstrap.base import Event
from fmi_mpi.bootstrap.directory import DirectoryBootstrap, RankTaken
from fmi_mpi.errors import AbortError, BootstrapError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def join(rank: int, size: int = 2) -> DirectoryBootstrap:
    return DirectoryBootstrap("key", rank, size, "mpirun")


def dead() -> str:
    """Return the key of a process that has just ended."""
    process = subprocess.Popen(["sleep", "60"])
    key = private.process_key(process.pid)
    process.kill()
    process.wait()
    assert key
    return key


def age(bootstrap: DirectoryBootstrap) -> None:
    """Let the next ``events`` look at once."""
    bootstrap._looked = 0.0


def test_ranks_meet_and_leave_nothing(temporary: Path) -> None:
    first, second = join(0), join(1)
    assert first.identity.secret == second.identity.secret
    assert len(first.identity.secret) == 32
    assert first.directory == second.directory
    assert first.directory is not None
    assert stat.S_IMODE(os.stat(first.directory).st_mode) == 0o700
    second.publish({"rank": 1})
    first.publish({"rank": 0})
    assert first.table(1) == second.table(1) == [{"rank": 0}, {"rank": 1}]
    assert first.fileno() == -1
    for bootstrap in (first, second):
        bootstrap.finalized()
    first.close()
    assert list(temporary.iterdir())
    second.close()
    second.close()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("mark", ["finalized", "closed"])
def test_end_of_a_rank_that_has_left_is_no_news(mark: str) -> None:
    bootstrap = join(0)
    assert bootstrap.directory is not None
    private.write(bootstrap.directory, "claim.1", dead())
    private.write(bootstrap.directory, f"{mark}.1", "")
    assert bootstrap.events() == []
    bootstrap.close()


def test_late_close_does_not_touch_the_next_program(temporary: Path) -> None:
    late = join(0)
    path = Path(private.path_of("key"))
    private.remove(str(path))
    path.mkdir(0o700)
    private.write(str(path), "claim.0", dead())
    late.close()
    assert os.listdir(path) == ["claim.0"]


def test_second_living_claimant_is_a_child(temporary: Path) -> None:
    first = join(0)
    with pytest.raises(RankTaken):
        join(0)
    first.close()


def test_missing_ranks_are_named() -> None:
    bootstrap = join(1, 4)
    bootstrap.publish({})
    with pytest.raises(BootstrapError, match=r"rank 1 of 4: .* within 0.05 s; missing: 0, 2, 3\. .*mpirun"):
        bootstrap.table(0.05)
    bootstrap.close()


def test_rank_that_died_before_it_published() -> None:
    bootstrap = join(0)
    assert bootstrap.directory is not None
    private.write(bootstrap.directory, "claim.1", dead())
    with pytest.raises(BootstrapError, match="rank 0 waits in vain: rank 1 died before it had joined"):
        bootstrap.table(10)
    bootstrap.close()


def test_loss_and_departure_are_told_apart() -> None:
    bootstrap = join(0, 3)
    assert bootstrap.directory is not None
    private.write(bootstrap.directory, "claim.1", dead())
    private.write(bootstrap.directory, "claim.2", dead())
    private.write(bootstrap.directory, "closed.2", "")
    assert bootstrap.events() == [Event("lost", 1, "rank 1 died without finalizing")]
    assert bootstrap.events() == []
    age(bootstrap)
    assert bootstrap.events() == []
    bootstrap.close()


def test_signals_arrive_once_and_in_order_even_while_joining() -> None:
    bootstraps = [join(0), join(1)]
    for number in range(3):
        bootstraps[0].signal(1, {"number": number})
    assert bootstraps[0].events() == []
    with pytest.raises(BootstrapError):
        bootstraps[1].table(0.0)
    assert bootstraps[1].events() == [Event("signal", 0, data={"number": number}) for number in range(3)]
    age(bootstraps[1])
    assert bootstraps[1].events() == []
    for bootstrap in bootstraps:
        bootstrap.close()


def test_abort_is_told_and_ends_who_does_not_listen() -> None:
    listener, victim = join(0, 3), subprocess.Popen(["sleep", "60"])
    assert listener.directory is not None
    private.write(listener.directory, "claim.1", private.process_key(victim.pid))
    aborting = join(2, 3)
    private.write(listener.directory, "claim.0", "")  # this process is not to be terminated
    aborting.abort(7, "why")
    assert listener.events() == [Event("abort", 2, "rank 2 called MPI_Abort(MPI_COMM_WORLD, 7): why", 7)]
    assert victim.wait(5) == -15
    with pytest.raises(AbortError, match="rank 0 was joining, but the job ends: rank 2 called MPI_Abort"):
        age(listener)
        listener.table(5)
    listener.close()
    aborting.close()


def test_left_over_directory_is_taken_down(temporary: Path) -> None:
    old = join(0)
    assert old.directory is not None
    inode = os.stat(old.directory).st_ino
    for rank in range(2):
        private.write(old.directory, f"claim.{rank}", dead())
    marker = Path(old.directory, "marker")
    marker.touch()
    new = join(0)
    assert not marker.exists()
    assert new.identity.secret != old.identity.secret or os.stat(old.directory).st_ino != inode
    new.close()
    assert not list(temporary.iterdir())


def test_rank_of_a_running_job_that_died_is_not_taken_over() -> None:
    survivor = join(1)
    assert survivor.directory is not None
    private.write(survivor.directory, "claim.0", dead())
    with pytest.raises(BootstrapError, match="rank 0 of this mpirun has died"):
        join(0)
    survivor.close()


@pytest.mark.parametrize("kind", ["open mode", "file", "symbolic link"])
def test_directory_of_doubtful_origin_is_not_used(temporary: Path, kind: str) -> None:
    path = Path(private.path_of("key"))
    if kind == "open mode":
        path.mkdir(mode=0o755)
        path.chmod(0o755)
    elif kind == "file":
        path.touch(0o600)
    else:
        target = temporary / "target"
        target.mkdir(0o700)
        path.symlink_to(target)
    with pytest.raises(BootstrapError, match="is not a private directory of this user"):
        join(0)


def test_sweep_spares_the_living_and_strangers(temporary: Path) -> None:
    living = join(0)
    assert living.directory is not None
    other = Path(private.path_of("other"))
    other.mkdir(0o700)
    key = dead()
    private.write(str(other), "claim.3", key)
    foreign = Path(private.path_of("foreign"))
    foreign.mkdir(0o700)
    private.write(str(foreign), "claim.3", key.rpartition(" ")[0] + " pid:[1]")
    fresh = Path(private.path_of("fresh"))
    fresh.mkdir(0o700)
    private.sweep()
    assert {path.name for path in temporary.iterdir()} == {Path(living.directory).name, foreign.name, fresh.name}
    os.utime(fresh, (0, 0))
    private.sweep()
    assert not fresh.exists()
    living.close()


def test_sweep_leaves_what_somebody_has_locked(temporary: Path) -> None:
    path = Path(private.path_of("key"))
    path.mkdir(0o700)
    private.write(str(path), "claim.0", dead())
    with private.locked(str(path)) as held:
        assert held
        private.sweep()
        assert path.exists()
    private.sweep()
    assert not path.exists()


def test_forked_child_does_not_leave_for_its_parent() -> None:
    bootstrap = join(0)
    assert bootstrap.directory is not None
    pid = os.fork()
    if not pid:
        bootstrap.finalized()
        bootstrap.abort(1, "")
        bootstrap.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert set(os.listdir(bootstrap.directory)) == {"claim.0", "secret"}
    bootstrap.close()


PROGRAM = """
import os, subprocess, sys
from fmi_mpi.bootstrap import discover
b = discover(os.environ)
b.publish({"rank": b.identity.rank})
assert [r["rank"] for r in b.table(20)] == list(range(b.identity.size)), b.identity
code = "import os; from fmi_mpi.bootstrap import discover; sys = discover(os.environ); print(sys.identity.size)"
assert subprocess.check_output([sys.executable, "-c", code]) == b"1\\n"
b.finalized()
b.close()
os.write(1, b"met %d of %d\\n" % (b.identity.rank, b.identity.size))
"""


def environment(temporary: Path, **variables: str) -> dict[str, str]:
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_", "SLURM_"))
    }
    return ours | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)} | variables


def test_srun(temporary: Path) -> None:
    common = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "1"}
    ranks = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment(temporary, SLURM_PROCID=str(rank), **common), stdout=subprocess.PIPE)
        for rank in range(4)
    ]  # fmt: skip
    said = [rank.communicate(timeout=60)[0] for rank in ranks]
    assert said == [b"met %d of 4\n" % rank for rank in range(4)]
    assert not list(temporary.iterdir())


# Tools by which the two families are told apart, and how their launchers are called.
LAUNCHERS = {
    "mpichversion": ["mpiexec"],
    "ompi_info": ["mpirun", "--allow-run-as-root", "--oversubscribe"],
}


def find(tool: str) -> list[str]:
    """Return how to call the launcher that belongs to a tool, skipping the test if it is not installed."""
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
    found = shutil.which(tool, path=path)
    if found is None:
        pytest.skip(f"no {tool} on PATH")
    name, *options = LAUNCHERS[tool]
    return [os.path.join(os.path.dirname(found), name), *options]


@pytest.mark.parametrize("programs", [1, 2])
@pytest.mark.parametrize("tool", LAUNCHERS)
def test_real_launcher(temporary: Path, tool: str, programs: int) -> None:
    launcher = find(tool)
    script = temporary.parent / f"{temporary.name}.py"
    script.write_text(PROGRAM)
    one_after_another = "; ".join([f"{sys.executable} {script}"] * programs)
    done = subprocess.run(
        [*launcher, "-n", "4", "sh", "-c", one_after_another],
        env=environment(temporary), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == sorted([f"met {rank} of 4" for rank in range(4)] * programs + [""])
    assert not [path for path in temporary.iterdir() if path.name.startswith("fmi-mpi-")]
