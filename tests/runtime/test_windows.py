"""Windows in real jobs: targets that are outside of MPI, either channel, hosts that share nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAD = """
import os, sys, threading, time
import fmi_mpi.runtime.world as runtime
if {apart}:
    runtime._host_key = lambda: str(os.getpid())
from fmi_mpi import MPI
import numpy as np
comm = MPI.COMM_WORLD
rank, size = comm.rank, comm.size
def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)
"""

PASSIVE = """
memory = np.zeros(200_000)
win = MPI.Win.Create(memory, 8, MPI.INFO_NULL, comm)
comm.Barrier()
if rank == 0:
    until(lambda: memory[0] == 11 * (size - 1))  # no MPI call
    assert (memory[1:] == memory[1]).all()
    comm.Barrier()
else:
    one, all = np.ones(1), np.full(199_999, 1.0 * rank)
    for _ in range(10):
        win.Lock(0, MPI.LOCK_SHARED)
        win.Accumulate(one, 0)
        win.Unlock(0)
    win.Lock(0)
    win.Put(all, 0, 1)
    win.Flush(0)
    win.Get(all, 0, 1)
    win.Unlock(0)
    assert (all == rank).all()
    win.Lock(0, MPI.LOCK_SHARED)
    win.Accumulate(one, 0)
    win.Unlock(0)
    comm.Barrier()
win.Free()
until(lambda: threading.active_count() == 1)
"""

SHARING = """
try:
    MPI.Win.Allocate_shared(8, 8, MPI.INFO_NULL, comm).Free()
    raised = 0
except MPI.Exception as error:
    raised = error.Get_error_class()
assert raised == ({apart} and MPI.ERR_RMA_SHARED), raised
win = MPI.Win.Allocate(80, 8, MPI.INFO_NULL, comm)
after = (rank + 1) % size
assert len(win.Shared_query(after)[0]) == (0 if {apart} else 80)
memory = np.frombuffer(win.tomemory(), "d")
assert not memory.any()
win.Fence()
win.Put(np.full(10, rank + 1.0), after)
win.Fence()
assert (memory == (rank - 1) % size + 1).all()
win.Free()
"""

LOCKED = """
win = MPI.Win.Allocate(8, 8, MPI.INFO_NULL, comm)
total = np.frombuffer(win.tomemory(), "q")
comm.Barrier()
def add():
    for _ in range(20):
        with turn:
            win.Fetch_and_op(np.array([1]), found, 0)
            win.Flush(0)
turn, found = threading.Lock(), np.zeros(1, "q")
win.Lock_all()
threads = [threading.Thread(target=add) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
win.Unlock_all()
comm.Barrier()
assert rank or total[0] == 60 * size, total
win.Free()
"""

UNFREED = """
win = MPI.Win.Create(bytearray(8), 1, MPI.INFO_NULL, comm)
win.Fence()
"""


@pytest.mark.parametrize("channels", ["shm", "tcp"])
@pytest.mark.parametrize("apart", [False, True], ids=["one-host", "apart"])
@pytest.mark.parametrize(
    "program", [PASSIVE, SHARING, LOCKED, UNFREED], ids=["passive", "sharing", "locked", "unfreed"]
)
def test_windows(program: str, apart: bool, channels: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text((HEAD + program).format(apart=apart))
    command = [sys.executable, "-m", "fmi_mpi.launch", "-n", "3", "--timeout", "90", sys.executable, str(script)]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FMI_", "PMI", "OMPI_"))}
    env |= {"PYTHONPATH": str(ROOT), "FMI_CHANNELS": channels}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
