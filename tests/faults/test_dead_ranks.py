"""A rank that dies, leaves or never comes: all others end promptly, one line says which and why, nobody else cries."""

from __future__ import annotations

import sys
from typing import Any

import pytest

ENDINGS = {
    "killed": ("die()", 137, "rank 1 was killed by signal 9 (SIGKILL)", 0),
    "leaves": ("os._exit(0)", 1, "rank 1 exited with code 0 but without finalizing MPI", 0),
    "raises": ("raise ValueError('why')", 1, "rank 1 exited with code 1", 1),
    "exits": ("sys.exit(3)", 3, "rank 1 exited with code 3", 0),
    "aborts": ("comm.Abort(5)", 5, "rank 1 called MPI_Abort(MPI_COMM_WORLD, 5)", 0),
}
"""What rank 1 does, the exit code of the job, the line, the tracebacks."""

WAITS = """
for _ in range(4):  # from the third on, on a board where there is one
    comm.Barrier()
big = np.ones(1 << 21)
if rank == 1:
    if sys.argv[1] == "in a collective":
        request = comm.Iallreduce(MPI.IN_PLACE, big)
        request.Test()
    {ending}
if sys.argv[1] == "in a collective":
    comm.Allreduce(MPI.IN_PLACE, big)
    comm.Barrier()  # rank 1 may have done its part before
elif sys.argv[1] == "in a barrier":
    comm.Barrier()
elif sys.argv[1] == "in a receive":
    comm.Recv(big, 1 if rank == 0 else 0)
elif sys.argv[1] == "in any receive":
    comm.recv(source=MPI.ANY_SOURCE)
elif sys.argv[1] == "in a send":
    comm.Send(big, 1)
elif sys.argv[1] == "in a test":
    request = comm.Irecv(big, 1)
    while not request.Test():
        pass
raise AssertionError("went on")
"""


def check(done: Any, code: int, line: str, tracebacks: int) -> None:
    said = [text for text in done.stderr.splitlines() if text.startswith(("fmirun: ", "fmi_mpi: "))]
    assert said == [f"fmirun: {line}"], done.stderr
    assert done.returncode == code
    assert done.stderr.count("Traceback") == tracebacks, done.stderr


@pytest.mark.parametrize("ending", ENDINGS)
def test_others_in_a_collective(jobs: Any, ending: str) -> None:
    action, *expected = ENDINGS[ending]
    check(jobs.play(3, WAITS.format(ending=action), "in a collective"), *expected)


@pytest.mark.parametrize("where", ["in a barrier", "in a receive", "in any receive", "in a send", "in a test"])
def test_others_wait_for_a_killed_rank(jobs: Any, where: str) -> None:
    action, *expected = ENDINGS["killed"]
    check(jobs.play(3, WAITS.format(ending=action), where), *expected)


@pytest.mark.parametrize("where", ["Recv", "Send"])
def test_killed_while_it_is_blocked(jobs: Any, where: str) -> None:
    done = jobs.play(
        3,
        """
        comm.Barrier()
        big = np.ones(1 << 22)
        if rank == 1:
            if sys.argv[1] == "Recv":
                comm.send(os.getpid(), 0)
                comm.Recv(big, 2)
            else:
                threading.Timer(0.2, die).start()
                comm.Send(big, 2)
        if rank == 0 and sys.argv[1] == "Recv":
            os.kill(comm.recv(source=1), signal.SIGKILL)
        comm.Barrier()
        """,
        where,
    )
    check(done, *ENDINGS["killed"][1:])


def test_exits_before_it_joins(jobs: Any) -> None:
    jobs.env["ABSENT"] = "1"
    done = jobs.run(
        "-n", "3", "--channels", jobs.channel, sys.executable, "-c",
        "import os, sys\nif os.environ['FMI_JOB_RANK'] == os.environ['ABSENT']: sys.exit()\n"
        "from fmi_mpi import MPI\nMPI.COMM_WORLD.Barrier()",
    )  # fmt: skip
    assert done.returncode == 1
    assert "rank 1 exited without joining" in done.stderr
    assert done.stderr.count("Traceback") == 1, done.stderr


def test_never_joins(jobs: Any) -> None:
    done = jobs.run(
        "-n", "3", "--channels", jobs.channel, "--env", "FMI_JOIN_TIMEOUT=0.2", sys.executable, "-c",
        "import os, signal\nif os.environ['FMI_JOB_RANK'] == '1': signal.pause()\n"
        "from fmi_mpi import MPI\nif MPI.COMM_WORLD.rank == 0: MPI.COMM_WORLD.Barrier()\nelse: signal.pause()",
    )  # fmt: skip
    assert done.returncode == 1
    assert "missing: 1" in done.stderr
    assert done.stderr.count("Traceback") == 1, done.stderr


def test_survivors_go_on_where_the_job_may(jobs: Any) -> None:
    done = jobs.play(
        3,
        """
        comm.Barrier()
        if rank == 1:
            die()
        error = caught(comm.Recv, np.ones(1), 1)
        assert error.Get_error_class() == MPI.ERR_PROC_FAILED, error
        print(*error.__notes__)
        rest = comm.Create_group(comm.Get_group().Excl([1]))
        assert rest.allreduce(rank) == 2
        sys.stdout.flush()
        os._exit(0)
        """,
        options=["--enable-recovery"],
    )
    assert done.stdout.count("rank 1 was killed by signal 9") == 2, done.stdout + done.stderr
