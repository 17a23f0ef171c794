"""Output is merged by whole lines; input goes to rank 0."""

from __future__ import annotations

import subprocess
import sys

import pytest
from launch_harness import Launcher


def test_lines_are_never_torn(launcher: Launcher) -> None:
    script = launcher.script(
        """
        rank = os.environ["FMI_JOB_RANK"]
        for i in range(300):
            os.write(1, rank.encode() * 70)
            os.write(1, rank.encode() * 70 + b"\\n" + rank.encode() * 3)
        """
    )
    done = launcher.run("-n", "4", script)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 4 * 301
    assert all(len(set(line)) == 1 for line in lines)


def test_long_lines_and_a_slow_reader(launcher: Launcher) -> None:
    script = launcher.script("sys.stdout.write((os.environ['FMI_JOB_RANK'] * 3_000_000 + '\\n') * 2)")
    process = launcher.start("-n", "2", script)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    assert sorted(lines) == [char * 3_000_000 + "\n" for char in "0011"]
    assert process.wait(60) == 0
    process.communicate()


@pytest.mark.parametrize("size", [1, 2])
def test_bytes_pass_unchanged(launcher: Launcher, size: int) -> None:
    done = launcher.run("-n", str(size), "printf", r"\377\000x\n", text=False)
    assert done.stdout == b"\xff\x00x\n" * size  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(("size", "expected"), [(1, "partial"), (2, "partial\npartial\n")])
def test_unfinished_line_at_exit(launcher: Launcher, size: int, expected: str) -> None:
    assert launcher.run("-n", str(size), "printf", "partial").stdout == expected


def test_prompt_of_a_single_rank_comes_at_once(launcher: Launcher) -> None:
    process = launcher.start(
        "-n", "1", "sh", "-c", "printf 'name? '; read name; echo hello $name", stdin=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(6) == "name? "
    out, _ = process.communicate("you\n", timeout=60)
    assert out == "hello you\n"


@pytest.mark.parametrize("option", ["--prefix", "--tag-output", "-l"])
def test_prefix(launcher: Launcher, option: str) -> None:
    done = launcher.run("-n", "2", option, "sh", "-c", r"printf 'a\nb\n\nc'; echo e >&2")
    for rank in range(2):
        mine = [line for line in done.stdout.splitlines() if line.startswith(f"[{rank}]")]
        assert mine == [f"[{rank}] {text}" for text in ("a", "b", "", "c")]
    assert sorted(done.stderr.splitlines()) == ["[0] e", "[1] e"]


def test_input_goes_to_rank_0_alone(launcher: Launcher) -> None:
    script = launcher.script("say(os.environ['FMI_JOB_RANK'], len(sys.stdin.read()))")
    text = "line\n" * 100_000
    done = launcher.run("-n", "3", script, input=text)
    assert sorted(done.stdout.splitlines()) == [f"0 {len(text)}", "1 0", "2 0"]


def test_input_from_a_file(launcher: Launcher) -> None:
    path = launcher.directory / "input"
    path.write_text("from a file")
    with path.open() as file:
        assert launcher.run("-n", "2", "cat", stdin=file).stdout == "from a file\n"


def test_input_that_nobody_reads(launcher: Launcher) -> None:
    assert launcher.run("-n", "2", "true", input="x" * 1_000_000).returncode == 0


def test_closed_input(launcher: Launcher) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "fmi_mpi.launch"]
    done = subprocess.run([*command, "-n", "2", "cat"], env=launcher.env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_reader_that_leaves_ends_the_job(launcher: Launcher) -> None:
    process = launcher.start("-n", "2", "yes")
    assert process.stdout is not None
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_python_lines_come_promptly(launcher: Launcher) -> None:
    script = launcher.script("print('ready'); signal.pause()")
    process = launcher.start("-n", "2", script)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.terminate()
    process.communicate(timeout=60)
