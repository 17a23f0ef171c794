"""One failing rank ends all, promptly, and fmirun says which and why, once."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from launch_harness import Launcher

BODY = """
b = join()
b.table(10)
say("met")
if b.identity.rank == 1:
    while len(os.listdir(sys.argv[1])) < 2:
        os.sched_yield()
    {action}
open(f"{{sys.argv[1]}}/{{b.identity.rank}}", "w").close()
if "{others}" == "deaf":
    signal.pause()
for event in wait_for_news(b):
    say(b.identity.rank, event.kind, event.rank, event.code)
    os._exit(event.code)
"""

FAILURES = {
    "raise": ("raise ValueError('why')", 1, "rank 1 exited with code 1"),
    "exit code": ("sys.exit(7)", 7, "rank 1 exited with code 7"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", 137, "rank 1 was killed by signal 9 (SIGKILL)"),
    "not finalized": ("os._exit(0)", 1, "rank 1 exited with code 0 but without finalizing MPI"),
    "abort": ("b.abort(9, 'enough'); os._exit(9)", 9, "rank 1 called MPI_Abort(MPI_COMM_WORLD, 9): enough"),
    "abort with a large code": ("b.abort(512, ''); os._exit(1)", 1, "rank 1 called MPI_Abort(MPI_COMM_WORLD, 512)"),
    "abort with 0": ("b.abort(0, ''); os._exit(0)", 0, "rank 1 called MPI_Abort(MPI_COMM_WORLD, 0)"),
}


@pytest.mark.parametrize("others", ["attentive", "deaf"])
@pytest.mark.parametrize("failure", FAILURES)
def test_first_failure_decides(launcher: Launcher, failure: str, others: str) -> None:
    action, code, message = FAILURES[failure]
    begin = time.monotonic()
    met = launcher.directory / "met"
    met.mkdir()
    done = launcher.run("-n", "3", launcher.script(BODY.format(action=action, others=others)), str(met))
    assert done.returncode == code
    said = [line for line in done.stderr.splitlines() if line.startswith("fmirun: ")]
    assert len(said) == 1
    assert said[0].startswith(f"fmirun: {message}")
    assert done.stderr.count("Traceback") == (failure == "raise")
    if others == "attentive":
        assert sorted(set(done.stdout.splitlines()) - {"met"}) == [f"{rank} abort 1 {code}" for rank in (0, 2)]
    assert time.monotonic() - begin < 15


def test_rank_that_ignores_sigterm_is_killed(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    script = launcher.script(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        b = join()
        b.table(10)
        if b.identity.rank == 1:
            sys.exit(4)
        while True:
            signal.pause()
        """
    )
    assert launcher.run("-n", "2", script).returncode == 4


def test_rank_below_a_wrapper_that_dies_is_noticed(launcher: Launcher) -> None:
    script = launcher.script("b = join(); b.table(10); os.kill(os.getpid(), 9) if b.identity.rank else signal.pause()")
    done = launcher.run("-n", "2", "sh", "-c", f"python3 {script}; exec sleep 60")
    assert done.returncode == 1
    assert "rank 1 (process" in done.stderr
    assert "ended without finalizing MPI" in done.stderr


def test_recovery_tells_the_others_who_is_lost(launcher: Launcher) -> None:
    script = launcher.script(
        """
        b = join()
        b.table(10)
        if b.identity.rank == 1:
            os._exit(5)
        for event in wait_for_news(b):
            say(event.kind, event.rank)
        b.finalized(); b.close()
        """
    )
    done = launcher.run("-n", "3", "--enable-recovery", script)
    assert done.stdout == "lost 1\n" * 2
    assert done.returncode == 5


def test_job_that_ends_while_a_rank_joins(launcher: Launcher) -> None:
    script = launcher.script(
        """
        b = join(publish=os.environ["FMI_JOB_RANK"] == "0")
        if b.identity.rank == 1:
            open("joining").read()
            b.abort(3, "enough")
            signal.pause()
        open("joining", "w").close()
        try:
            b.table(60)
        except Exception as error:
            say(type(error).__name__, error)
        """
    )
    os.mkfifo(launcher.directory / "joining")
    done = launcher.run("-n", "2", script)
    assert done.returncode == 3
    assert "AbortError rank 0 was joining, but the job ends: rank 1 called MPI_Abort" in done.stdout


def test_children_of_ranks_do_not_survive(launcher: Launcher) -> None:
    script = launcher.script("import subprocess; subprocess.Popen(['sleep', '60']); say('started')")
    begin = time.monotonic()
    done = launcher.run("-n", "2", script)
    assert done.stdout == "started\n" * 2
    assert done.returncode == 0
    assert time.monotonic() - begin < 15


def test_timeout_shows_stacks_and_ends_the_job(launcher: Launcher) -> None:
    script = launcher.script(
        """
        assert os.environ["FMI_STACKS"] == "1"
        exits.register_stacks()
        b = join()
        b.table(10)
        def stuck_here():
            signal.pause()
        stuck_here()
        """
    )
    done = launcher.run("-n", "2", "--timeout", "1", script)
    assert done.returncode == 124
    assert "fmirun: the job has not ended within 1 s (--timeout)" in done.stderr
    for rank in range(2):
        stack = [line for line in done.stderr.splitlines() if line.startswith(f"[{rank}] ")]
        assert any("stuck_here" in line for line in stack), done.stderr


def test_stacks_are_shown_while_other_threads_run(launcher: Launcher) -> None:
    """Their frames come and go meanwhile; Python's own handler crashed on them."""
    script = launcher.script(
        """
        import threading
        exits.register_stacks()
        sys.setswitchinterval(1e-4)
        def busy(depth):
            yield from (number + sum(busy(depth - 1)) if depth else 0 for number in range(2))
        def work():
            while True:
                list(busy(5))
        def ask():
            for _ in range(500):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(1e-3)
            say("alive")
            os._exit(0)
        for target in (work, work, work, ask):
            threading.Thread(target=target, daemon=True).start()
        while True:
            signal.pause()
        """
    )
    done = subprocess.run([sys.executable, script], env=launcher.env, capture_output=True, text=True, timeout=60)
    assert done.stdout == "alive\n", done.stderr[-2000:]
    assert "in busy" in done.stderr


def test_timeout_of_a_program_without_stacks(launcher: Launcher) -> None:
    done = launcher.run("-n", "2", "--timeout", "0.3", "sleep", "60")
    assert done.returncode == 124


def test_program_that_cannot_start(launcher: Launcher) -> None:
    broken = launcher.directory / "broken"
    broken.write_bytes(b"\x00\x01\x02")
    broken.chmod(0o755)
    done = launcher.run("-n", "2", str(broken))
    assert done.returncode == 126
    assert f"fmirun: cannot start rank 0, {broken}: Exec format error" in done.stderr
