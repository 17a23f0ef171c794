"""Joining under fmirun: everybody meets, or is told why not."""

from __future__ import annotations

import sys
import time

import pytest
from launch_harness import Launcher


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_ranks_get_the_whole_table(launcher: Launcher, size: int) -> None:
    script = launcher.script(
        """
        b = join()
        say(b.identity.rank, b.identity.size, [r["rank"] for r in b.table(10)], b.table(10) is b.table(10))
        b.finalized(); b.close()
        """
    )
    done = launcher.run("-n", str(size), script)
    expected = {f"{rank} {size} {list(range(size))} True" for rank in range(size)}
    assert set(done.stdout.splitlines()) == expected
    assert (done.returncode, done.stderr) == (0, "")


def test_many_more_ranks_than_cores(launcher: Launcher) -> None:
    script = launcher.script("b = join(); assert len(b.table(60)) == 64; say('met'); b.finalized(); b.close()")
    done = launcher.run("-n", "64", "--oversubscribe", sys.executable, "-S", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "met\n" * 64


def test_child_of_a_rank_is_alone(launcher: Launcher) -> None:
    script = launcher.script(
        """
        import subprocess
        b = join()
        code = "import os; from fmi_mpi.bootstrap import discover; i = discover(os.environ).identity; print(i.rank, i.size)"
        say("child", subprocess.check_output([sys.executable, "-c", code], text=True).strip())
        pid = os.fork()
        if not pid:
            say("forked", b.fileno())
            os._exit(0)
        os.waitpid(pid, 0)
        b.table(10)
        b.finalized(); b.close()
        """
    )
    done = launcher.run("-n", "2", script)
    assert sorted(done.stdout.splitlines()) == ["child 0 1"] * 2 + ["forked -1"] * 2
    assert done.returncode == 0, done.stderr


def test_the_rank_may_be_below_a_wrapper(launcher: Launcher) -> None:
    script = launcher.script("b = join(); b.table(10); say(b.identity.rank); b.finalized(); b.close()")
    done = launcher.run("-n", "2", "sh", "-c", f"python3 {script}; true")
    assert sorted(done.stdout.split()) == ["0", "1"]
    assert done.returncode == 0, done.stderr


def test_rank_that_exits_without_joining_fails_those_who_wait(launcher: Launcher) -> None:
    script = launcher.script(
        """
        if os.environ["FMI_JOB_RANK"] == "1":
            sys.exit()
        b = join()
        b.table(60)
        """
    )
    begin = time.monotonic()
    done = launcher.run("-n", "3", script)
    assert done.returncode == 1
    assert "rank 1 exited without joining" in done.stderr
    assert time.monotonic() - begin < 15


def test_rank_that_never_joins_is_nobodys_error_if_nobody_waits(launcher: Launcher) -> None:
    script = launcher.script("if os.environ['FMI_JOB_RANK'] == '0': b = join(); b.finalized(); b.close()")
    done = launcher.run("-n", "2", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_timeout_of_the_table_names_the_missing(launcher: Launcher) -> None:
    script = launcher.script(
        """
        b = join(publish=os.environ["FMI_JOB_RANK"] not in "12")
        if b.identity.rank in (0, 3):
            b.table(0.2)
        signal.pause()
        """
    )
    done = launcher.run("-n", "4", script)
    assert done.returncode == 1
    assert "missing: 1, 2." in done.stderr


def test_programs_of_several_kinds_share_a_job(launcher: Launcher) -> None:
    script = launcher.script(
        "b = join(); b.table(10); say(sys.argv[1], b.identity.rank, b.identity.size); b.finalized()"
    )
    done = launcher.run("-n", "1", script, "first", ":", "-n", "2", script, "second")
    assert sorted(done.stdout.splitlines()) == ["first 0 3", "second 1 3", "second 2 3"]
    assert done.returncode == 0, done.stderr
