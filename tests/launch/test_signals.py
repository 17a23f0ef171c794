"""Signals: forwarded to all ranks, a second one kills, and a dead launcher takes its ranks along."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from launch_harness import Launcher

HANDLES = """
def handle(number, frame):
    say("got", number)
    sys.exit(0)
signal.signal(signal.{name}, handle)
say("ready")
while True:
    signal.pause()
"""


def ready(process: subprocess.Popen[str], size: int) -> None:
    assert process.stdout is not None
    for _ in range(size):
        assert process.stdout.readline() == "ready\n"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signal_reaches_all_ranks(launcher: Launcher, name: str) -> None:
    process = launcher.start("-n", "2", launcher.script(HANDLES.format(name=name)))
    ready(process, 2)
    process.send_signal(signal.Signals[name])
    out, err = process.communicate(timeout=60)
    assert out == f"got {int(signal.Signals[name])}\n" * 2
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ranks_that_die_of_a_signal_give_its_exit_code(launcher: Launcher, number: int) -> None:
    process = launcher.start("-n", "2", "sh", "-c", "echo ready; exec sleep 60")
    ready(process, 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")


def test_second_interrupt_kills(launcher: Launcher) -> None:
    body = """
    signal.signal(signal.SIGINT, lambda *_: say("no"))
    say("ready")
    while True:
        signal.pause()
    """
    process = launcher.start("-n", "2", launcher.script(body))
    ready(process, 2)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert [process.stdout.readline() for _ in range(2)] == ["no\n"] * 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_ignored_signal_stays_ignored(launcher: Launcher) -> None:
    process = launcher.start(
        "-n", "1", "sh", "-c", "echo ready; read line; echo $line",
        stdin=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    ready(process, 1)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate("done\n", timeout=60)
    assert (process.returncode, out) == (0, "done\n")


def test_stop_and_continue(launcher: Launcher) -> None:
    process = launcher.start("-n", "1", "sh", "-c", "echo ready; exec sleep 60")
    ready(process, 1)
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    while [state(pid) for pid in launcher.survivors()] != ["T"] * 2:  # a stop takes effect when the process next runs
        os.sched_yield()
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_killed_launcher_takes_its_ranks_along(launcher: Launcher) -> None:
    process = launcher.start("-n", "2", launcher.script("b = join(); b.table(10); say('ready'); signal.pause()"))
    ready(process, 2)
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while launcher.survivors() and time.monotonic() < end:
        os.sched_yield()
    assert not launcher.survivors()
    assert launcher.run("-n", "1", "true").returncode == 0  # and the next job sweeps its directory away


def test_rank_below_a_wrapper_hears_that_the_launcher_is_gone(launcher: Launcher) -> None:
    script = launcher.script(
        """
        b = join()
        say("ready")
        event, = wait_for_news(b)
        open(sys.argv[1], "w").write(f"{event.kind} {event.rank} {event.message}")
        """
    )
    result = launcher.directory / "result"
    process = launcher.start("-n", "1", "sh", "-c", f"python3 {script} {result}; true")
    ready(process, 1)
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while launcher.survivors() and time.monotonic() < end:
        os.sched_yield()
    assert result.read_text() == "abort -1 the launcher (fmirun) is gone"
    launcher.run("-n", "1", "true")
