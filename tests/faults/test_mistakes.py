"""Calls that do not fit each other: an error that says so on the ranks that can know, and collectives work afterwards."""

from __future__ import annotations

from typing import Any

import pytest

MISTAKES = {
    "more than expected": (
        "comm.Bcast(np.ones(4 if rank == 0 else 3), 0)",
        (None, "ERR_TRUNCATE", "ERR_TRUNCATE"),
    ),
    "much more than expected": (
        "comm.Bcast(np.ones(1 << 17 if rank == 0 else 3), 0)",
        (None, "ERR_TRUNCATE", "ERR_TRUNCATE"),
    ),
    "less than expected": (
        "comm.Bcast(np.ones(3 if rank == 0 else 4), 0)",
        (None, "ERR_COUNT", "ERR_COUNT"),
    ),
    "other counts": (
        "comm.Allreduce(np.ones(4 - rank), np.ones(4 - rank))",
        ("ERR_COUNT", "ERR_COUNT", "ERR_TRUNCATE"),
    ),
    "another collective": (
        "comm.Barrier() if rank == 0 else comm.Bcast(np.ones(1), 0)",
        (None, "ERR_OTHER", "ERR_OTHER"),
    ),
    "other roots": (
        "comm.Bcast(np.ones(1), 1 if rank == 2 else 0)",
        (None, None, "ERR_OTHER"),
    ),
}
"""What the ranks do, and the error class that each of three gets."""

BODY = """
for _ in range(4):  # from the third on, on a board
    comm.Barrier()
expected = {expected}[rank]
try:
    {call}
    error = None
except MPI.Exception as caught:
    error = caught
assert (error is None) == (expected is None), (rank, error)
if error is not None:
    assert error.Get_error_class() == getattr(MPI, expected), (rank, error, *error.__notes__)
    assert "rank" in " ".join(error.__notes__), error.__notes__
assert comm.allreduce(rank) == 3
total = np.zeros(100_000)
comm.Allreduce(np.ones(100_000), total)
assert (total == 3).all()
"""


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("jobs", ["shm"], indirect=True)
def test_collectives_that_do_not_fit(jobs: Any, mistake: str) -> None:
    call, expected = MISTAKES[mistake]
    done = jobs.play(3, BODY.format(call=call, expected=expected))
    assert done.returncode == 0, done.stderr
