"""Jobs whose parts meet at a rendezvous service, with real processes."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from launch_harness import Launcher, checked

from benchmarks.rendezvous import measure

SECRET = "5e" * 32
PROGRAM = """
    from fmi_mpi import MPI
    comm = MPI.COMM_WORLD
    print("rank", comm.rank, "sum", comm.allreduce(comm.rank), flush=True)
"""
WAITING = """
    import sys
    from fmi_mpi import MPI
    comm = MPI.COMM_WORLD
    comm.barrier()
    print("met", flush=True)
    if comm.rank == 0:
        sys.stdin.readline()
    print("sum", comm.allreduce(comm.rank), flush=True)
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    with checked(Launcher(tmp_path)) as launcher:
        launcher.env["FMI_JOB_SECRET"] = SECRET
        yield launcher


@contextmanager
def service(
    launcher: Launcher, *arguments: str, bind: str = "tcp://127.0.0.1:0"
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A service in a process of its own: its URL, and the process."""
    program = "import sys; from fmi_mpi.launch.tools import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "rendezvous", "--bind", bind, *arguments]
    with subprocess.Popen(command, env=launcher.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().removeprefix("FMI_RENDEZVOUS="), process
        finally:
            process.terminate()
            process.wait(20)


def part(url: str, ranks: str, size: int = 4, job: str = "demo", more: tuple[str, ...] = ()) -> list[str]:
    return ["--rendezvous", url, "--job", job, "-n", str(size), "--ranks", ranks, *more]


def rank(launcher: Launcher, url: str, script: str, number: int, size: int, **variables: str) -> subprocess.Popen[str]:
    """Start a rank that no launcher of ours has started."""
    env = launcher.env | {"FMI_RENDEZVOUS": url, "FMI_JOB_ID": "bare", "FMI_JOB_RANK": str(number)}
    env |= {"FMI_JOB_SIZE": str(size), "FMI_JOIN_TIMEOUT": "30"} | variables
    return subprocess.Popen(
        [sys.executable, script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def four_free_ports() -> int:
    """Return the first of four ports in a row that are free, and are not given to anybody who does not name them."""
    while True:
        first = random.randrange(20_000, 32_000)
        with ExitStack() as held:
            try:
                for port in range(first, first + 4):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
                return first
            except OSError:
                continue


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "tcp://[::1]:0"])
def test_two_launchers_form_one_job(launcher: Launcher, bind: str) -> None:
    script = launcher.script(PROGRAM)
    with service(launcher, bind=bind) as (url, _), launcher.start(*part(url, "2-3"), script) as other:
        first = launcher.run(*part(url, "0,1"), script)
        out, err = other.communicate(timeout=60)
    assert (first.returncode, other.returncode, first.stderr, err, out) == (0, 0, "", "", "")
    assert sorted(first.stdout.splitlines()) == [f"rank {n} sum 6" for n in range(4)]


def test_a_host_name_and_the_relay_alone(launcher: Launcher) -> None:
    script = launcher.script(PROGRAM)
    with service(launcher, "--host", "localhost", bind="tcp://*:0") as (url, _):
        assert url.startswith("tcp://localhost:")
        more = ("--channels", "relay")
        with launcher.start(*part(url, "1", 2, more=more), script) as other:
            first = launcher.run(*part(url, "0", 2, more=more), script)
            other.communicate(timeout=60)
    assert (first.returncode, sorted(first.stdout.splitlines())) == (0, ["rank 0 sum 1", "rank 1 sum 1"])


def test_the_service_may_live_in_a_launcher(launcher: Launcher) -> None:
    script = launcher.script(PROGRAM)
    with launcher.start("--rendezvous", "embed", "--job", "x", "-n", "2", "--ranks", "0", script) as host:
        assert host.stderr is not None
        found = re.search(r"--rendezvous '(\S+)'", host.stderr.readline())
        assert found is not None
        guest = launcher.run(*part(re.sub("tcp://[^:]+", "tcp://127.0.0.1", found[1]), "1", 2, "x"), script)
        out, _ = host.communicate(timeout=60)
    assert (guest.returncode, guest.stdout, host.returncode) == (0, "", 0)
    assert sorted(out.splitlines()) == ["rank 0 sum 1", "rank 1 sum 1"]


def test_a_failure_in_one_part_ends_all(launcher: Launcher) -> None:
    script = launcher.script("""
        from fmi_mpi import MPI
        comm = MPI.COMM_WORLD
        comm.barrier()
        if comm.rank == 3:
            MPI.COMM_WORLD.Abort(7)
        comm.recv(source=3)
    """)
    with service(launcher) as (url, _), launcher.start(*part(url, "2,3"), script) as other:
        first = launcher.run(*part(url, "0,1"), script)
        other.communicate(timeout=60)
    assert (first.returncode, other.returncode) == (7, 7)
    assert first.stderr == "fmirun: rank 3 called MPI_Abort(MPI_COMM_WORLD, 7)\n"


def test_a_launcher_that_is_killed_ends_the_others(launcher: Launcher) -> None:
    script = launcher.script(WAITING)
    with service(launcher, "--grace", "0.5") as (url, _), launcher.start(*part(url, "1", 2), script) as other:
        with launcher.start(*part(url, "0", 2), script, stdin=subprocess.PIPE) as first:
            assert first.stdout is not None and [first.stdout.readline() for _ in range(2)] == ["met\n"] * 2
            first.kill()
        _, err = other.communicate(timeout=60)
    assert other.returncode == 1 and "rank 0 is gone" in err
    for left in launcher.temporary.iterdir():  # by the killed launcher; the next one would remove it
        shutil.rmtree(left)


PRINTING = """
    import os, sys
    from fmi_mpi import MPI
    comm = MPI.COMM_WORLD
    rank = comm.rank
    if len(sys.argv) > 1:
        comm.barrier()
        print("begun", flush=True)
    for number in range(3000):
        print("line", number, "of", rank, "x" * (number % 300), flush=number % 100 == 0)
    print("error of", rank, file=sys.stderr)
    MPI.Finalize()
    sys.stdout.write(f"just before the exit of {rank}")
    sys.stdout.flush()
    os._exit(0)
"""


def printed(ranks: int, prefix: str = "") -> list[str]:
    """Return what PRINTING prints, sorted."""
    lines = [f"line {n} of {rank} {'x' * (n % 300)}" for n in range(3000) for rank in range(ranks)]
    lines += [f"just before the exit of {rank}" for rank in range(ranks)]
    return sorted(prefix % int(re.findall(r" of (\d)", line)[0]) + line if prefix else line for line in lines)


@pytest.mark.parametrize("prefix", ["", "[%d] "], ids=["plain", "tagged"])
def test_the_launcher_of_rank_0_prints_what_all_ranks_do(launcher: Launcher, prefix: str) -> None:
    script = launcher.script(PRINTING)
    more = ("--prefix",) if prefix else ()
    with service(launcher) as (url, _), launcher.start(*part(url, "1,2", 3, more=more), script) as other:
        first = launcher.run(*part(url, "0", 3, more=more), script)
        assert other.communicate(timeout=60) == ("", "")
    assert (first.returncode, other.returncode) == (0, 0)
    assert sorted(first.stdout.splitlines()) == printed(3, prefix)
    assert sorted(line.rpartition("error")[2] for line in first.stderr.splitlines()) == [f" of {n}" for n in range(3)]


def test_output_is_complete_though_the_service_is_started_again(launcher: Launcher, tmp_path: Path) -> None:
    script = launcher.script(PRINTING)
    options = ("--key-file", str(tmp_path / "key"))
    bind = f"tcp://127.0.0.1:{four_free_ports()}"
    with ExitStack() as running:
        url, process = running.enter_context(service(launcher, *options, bind=bind))
        other = running.enter_context(launcher.start(*part(url, "1", 2), script, "wait"))
        first = running.enter_context(launcher.start(*part(url, "0", 2), script, "wait"))
        assert first.stdout is not None and first.stdout.readline() == "begun\n"
        process.kill()
        process.wait(20)
        running.enter_context(service(launcher, *options, bind=bind))
        out = first.stdout.read()  # what has come with that line is in Python's buffer
        _, err = first.communicate(timeout=60)
        assert other.communicate(timeout=60) == ("", "")
    assert (first.returncode, sorted(err.splitlines())) == (0, ["error of 0", "error of 1"])
    assert sorted(out.splitlines()) == sorted(["begun", *printed(2)])


def test_a_traceback_elsewhere_is_shown_once_and_a_bare_rank_0_prints_for_itself(launcher: Launcher) -> None:
    failing = launcher.script("""
        from fmi_mpi import MPI
        comm = MPI.COMM_WORLD
        comm.barrier()
        print("hello from", comm.rank, flush=True)
        if comm.rank == 1:
            raise KeyError("found nothing")
        comm.recv(source=1)
    """)
    with service(launcher) as (url, _):
        with launcher.start(*part(url, "1", 2), failing) as other:
            first = launcher.run(*part(url, "0", 2), failing)
            assert "Traceback" not in "".join(other.communicate(timeout=60))
        with launcher.start(*part(url, "1", 2, "bare"), failing) as other:
            bare = rank(launcher, url, failing, 0, 2)
            bare.communicate(timeout=60)
            out, err = other.communicate(timeout=60)
    assert first.returncode == 1 and sorted(first.stdout.splitlines()) == ["hello from 0", "hello from 1"]
    assert first.stderr.count("KeyError: 'found nothing'") == 1
    assert out == "hello from 1\n" and err.count("KeyError: 'found nothing'") == 1


def test_who_comes_second_leaves(launcher: Launcher) -> None:
    script = launcher.script(WAITING)
    with service(launcher) as (url, _), launcher.start(*part(url, "0,1", 2), script, stdin=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.readline() == "met\n"
        second = launcher.run(*part(url, "1", 2), script)
        bare = launcher.env | {"FMI_RENDEZVOUS": url, "FMI_JOB_ID": "demo", "FMI_JOB_RANK": "0", "FMI_JOB_SIZE": "2"}
        third = subprocess.run([sys.executable, script], env=bare, capture_output=True, text=True, timeout=60)
        out, err = first.communicate("go\n", timeout=60)
    assert (first.returncode, out.count("sum 1"), err) == (0, 2, "")
    assert (second.returncode, second.stdout) == (1, "") and "claimed by another launcher" in second.stderr
    assert third.returncode == 1 and "another process has the rank already; this one must leave" in third.stderr


def test_missing_ranks_are_named_at_the_deadline(launcher: Launcher) -> None:
    script = launcher.script(PROGRAM)
    with service(launcher) as (url, _):
        result = launcher.run(*part(url, "1", more=("--env", "FMI_JOIN_TIMEOUT=1")), script)
        bare = rank(launcher, url, script, 1, 3, FMI_JOIN_TIMEOUT="1")
        _, err = bare.communicate(timeout=60)
    assert result.returncode == 1 and "missing: 0, 2, 3. Every rank" in result.stderr
    assert bare.returncode == 1 and "missing: 0, 2. Every rank" in err


def test_a_job_goes_on_while_the_service_is_started_again(launcher: Launcher, tmp_path: Path) -> None:
    script = launcher.script(WAITING)
    key = str(tmp_path / "key")
    bind = f"tcp://127.0.0.1:{four_free_ports()}"
    with service(launcher, "--key-file", key, bind=bind) as (url, process):
        assert os.stat(key).st_mode & 0o777 == 0o600
        other = launcher.start(*part(url, "1", 3), script)
        bare = rank(launcher, url, script, 2, 3, FMI_JOB_ID="demo")
        first = launcher.start(*part(url, "0", 3), script, stdin=subprocess.PIPE)
        for process_ in (first, first, bare):
            assert process_.stdout is not None and process_.stdout.readline() == "met\n"
        process.kill()
    with service(launcher, "--key-file", key, bind=bind) as (again, _):
        assert again == url
        duplicate = rank(launcher, url, script, 2, 3, FMI_JOB_ID="other", FMI_JOIN_TIMEOUT="1")
        assert "missing: 0, 1. Every" in duplicate.communicate(timeout=60)[1]
        first.communicate("go\n", timeout=60)
        ends = [first.returncode, other.wait(60), bare.wait(60)]
    for process_ in (other, bare):
        process_.communicate()
    assert ends == [0, 0, 0]


RELAYED = """
    import sys
    import numpy as np
    from fmi_mpi import MPI
    comm = MPI.COMM_WORLD
    other = 1 - comm.rank
    def exchange(count):
        for number in range(count):
            size = (1 << 16) if number % 3 else 10
            got = np.empty(size)
            comm.Sendrecv(np.arange(float(size)) + number, other, number, got, other, number)
            assert (got == np.arange(float(size)) + number).all()
    exchange(5)
    while not comm.bcast(sys.stdin.readline() if comm.rank == 0 else None).startswith("end"):
        print("next", flush=True) if comm.rank == 0 else None
        exchange(40)
    print("sum", comm.allreduce(comm.rank), flush=True)
"""


def test_streams_through_the_relay_survive_restarts_of_the_service(launcher: Launcher, tmp_path: Path) -> None:
    script = launcher.script(RELAYED)
    options = ("--key-file", str(tmp_path / "key"))
    bind = f"tcp://127.0.0.1:{four_free_ports()}"
    more = ("--channels", "relay")
    with ExitStack() as running:
        url, process = running.enter_context(service(launcher, *options, bind=bind))
        other = running.enter_context(launcher.start(*part(url, "1", 2, more=more), script))
        first = running.enter_context(launcher.start(*part(url, "0", 2, more=more), script, stdin=subprocess.PIPE))
        assert first.stdin is not None and first.stdout is not None
        for _ in range(3):
            first.stdin.write("go\n")
            first.stdin.flush()
            assert first.stdout.readline() == "next\n"
            process.kill()  # in the middle of the exchange
            process.wait(20)
            _, process = running.enter_context(service(launcher, *options, bind=bind))
        out, err = first.communicate("end\n", timeout=60)
        other.communicate(timeout=60)
    assert (first.returncode, other.returncode, err) == (0, 0, "")
    assert "sum 1" in out


def test_wrong_keys_and_secrets(launcher: Launcher) -> None:
    script = launcher.script(PROGRAM)
    with service(launcher) as (url, _), service(launcher) as (other, _):
        wrong = url.partition("?")[0] + "?" + other.partition("?")[2]
        result = launcher.run(*part(wrong, "0", 2), script)
        assert result.returncode == 126 and "does not hold the key" in result.stderr
        with launcher.start(*part(url, "0", 2, more=("--env", "FMI_JOIN_TIMEOUT=2")), script) as first:
            launcher.env["FMI_JOB_SECRET"] = "00" * 32
            second = launcher.run(*part(url, "1", 2, more=("--env", "FMI_JOIN_TIMEOUT=2")), script)
            first.communicate(timeout=60)
    messages = second.stderr + result.stderr
    assert SECRET not in messages and "00" * 32 not in messages
    assert first.returncode == 1 and second.returncode == 1


WRONG = [
    (["--ranks", "0"], "--ranks without --rendezvous"),
    (["--rendezvous", "tcp://h:1", "--job", "x"], "expecting the service's public key after ?key="),
    (["--rendezvous", "tcp://h:1?key=short", "--job", "x"], "not a public key"),
    (["--rendezvous", "embed", "--ranks", "0-4"], "--ranks 0-4: a job of 4 has the ranks 0 to 3"),
    (["--rendezvous", "embed", "--ranks", "a"], "--ranks a: expecting ranks such as 0-3,6"),
    (["--rendezvous", "embed", "--ranks", "0"], "the parts of a job need a secret in common"),
    (["--rendezvous", "embed", "--secret-file", "/nowhere"], "--secret-file /nowhere: No such file"),
    (["--rendezvous", "embed", "--secret-file", "/dev/null"], "expecting a secret of 32 or more hexadecimal digits"),
    (["--rendezvous", "embed:x"], "expecting embed or embed:PORT"),
    (["--rendezvous", "ftp://user:word@h"], "--rendezvous ftp://***@h: expecting tcp://host:port?key=KEY"),
]


@pytest.mark.parametrize(
    ("options", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_options(launcher: Launcher, options: list[str], message: str) -> None:
    del launcher.env["FMI_JOB_SECRET"]
    result = launcher.run(*options, "-n", "4", "-c", "pass")
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert "word" not in result.stderr


def test_a_service_that_cannot_be_reached_is_an_error(launcher: Launcher) -> None:
    launcher.env["FMI_JOIN_TIMEOUT"] = "0.5"
    result = launcher.run(*part("tcp://127.0.0.1:9?key=" + "0" * 40, "0"), "-c", "pass")
    assert result.returncode == 1 and "127.0.0.1:9 cannot be reached" in result.stderr


def test_metrics_are_served(launcher: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with service(launcher, "--metrics-port", str(port)) as (url, _):
        assert launcher.run(*part(url, "0", 1), "-c", "from fmi_mpi import MPI").returncode == 0
        with socket.create_connection(("127.0.0.1", port)) as noise, noise.makefile("rb") as answers:
            noise.sendall(bytes(8192))
            assert answers.read() == b""
        with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as answers:
            sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            answer = answers.read()
    assert answer.startswith(b"HTTP/1.0 200 OK") and b"\nfmi_rendezvous_claims_total 1\n" in answer


def test_a_thousand_ranks_register() -> None:
    welcome, table = measure(1000)
    assert welcome <= table < 60


def test_a_service_ends_at_a_signal(launcher: Launcher) -> None:
    with service(launcher) as (url, process):
        assert url
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
