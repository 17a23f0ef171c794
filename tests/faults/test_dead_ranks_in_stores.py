"""Ranks that die in jobs over S3 and DynamoDB, where only the job's control knows of it: waits end, in messages and collectives."""

from __future__ import annotations

from typing import Any


def test_a_killed_rank_ends_the_job(stored: Any) -> None:
    done = stored.play(
        3, "comm.Barrier()\nif rank == 1: die()\ncomm.bcast(None, root=1)\nraise AssertionError('went on')"
    )
    said = [line for line in done.stderr.splitlines() if line.startswith(("fmirun: ", "fmi_mpi: "))]
    assert said == ["fmirun: rank 1 was killed by signal 9 (SIGKILL)"], done.stderr
    assert done.returncode == 137


def test_survivors_go_on_where_the_job_may(stored: Any) -> None:
    done = stored.play(
        3,
        """
        comm.Barrier()
        if rank == 1:
            die()
        for call in (lambda: comm.recv(source=1), lambda: comm.allreduce(1), lambda: comm.bcast(None, root=1)):
            error = caught(call)
            assert error.Get_error_class() == MPI.ERR_PROC_FAILED, error
            assert "rank 1 was killed by signal 9" in " ".join(error.__notes__)
        rest = comm.Create_group(comm.Get_group().Excl([1]))
        assert rest.allreduce(rank) == 2
        print("went on", flush=True)
        os._exit(0)
        """,
        options=["--enable-recovery"],
    )
    assert done.stdout == "went on\n" * 2, done.stdout + done.stderr
