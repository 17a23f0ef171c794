"""How long it takes until all ranks of a job, each behind a NAT of its own, are connected to all others.

    python -m benchmarks.punching [RANKS ...]

Needs root and what tests/nat needs: the NATs are Linux's own, in network namespaces, without delay. All ranks share this
machine's processors, so what is told is processor time in the first place. Ranks meet at the rendezvous service; they begin
to connect at the same moment, when all know the table. From 32 routers on the kernel's table of neighbours overflows (1,024
in all namespaces together, net.ipv4.neigh.default.gc_thresh3); some pairs could not connect then, perhaps for that.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from tests.nat.rig import Rig, obstacle

__all__ = ["Figures", "measure"]

_PROGRAM = """
import json, os, sys, time
from fmi_mpi.channels.tcp import distant
place, fresh = sys.argv[1], sys.argv[2] == "fresh"
distant._Peer.epoch = int(fresh)  # later meetings take a port of their own
from fmi_mpi import MPI
from fmi_mpi.runtime import process
comm = MPI.COMM_WORLD
process.world().router.table()
open(f"{place}/ready.{comm.rank}", "w").close()
if comm.rank == 0:
    while len(os.listdir(place)) < comm.size:
        time.sleep(0.01)
    open(f"{place}/go", "w").write(str(time.time() + 0.3))
while not os.path.exists(f"{place}/go") or not (begin := open(f"{place}/go").read()):
    time.sleep(0.01)
time.sleep(max(0.0, float(begin) - time.time()))
cpu, wall = time.process_time(), time.perf_counter()
others = [rank for rank in range(comm.size) if rank != comm.rank]
requests = [comm.isend(comm.rank, rank) for rank in others]
received = [comm.recv(source=rank) for rank in others]
MPI.Request.waitall(requests)
assert received == others
taken = time.perf_counter() - wall, time.process_time() - cpu
comm.barrier()
print(json.dumps(taken), flush=True)
"""


class Figures(NamedTuple):
    """Seconds until all are connected: of the median rank and the last one; processor seconds of each pair, both ends."""

    median: float
    last: float
    pair: float


def measure(ranks: int, port: str) -> Figures:
    """Let so many ranks connect, with one "shared" port each or with a "fresh" one for each pair."""
    with Rig(["independent"] * ranks) as rig, tempfile.TemporaryDirectory() as place:
        url = rig.rendezvous()
        processes = rig.join(["-c", _PROGRAM, place, port], url)
        said = [process.communicate(timeout=300) for process in processes]
        if any(process.returncode for process in processes):
            raise RuntimeError(next(err for _, err in said if err))
        taken = [json.loads(out) for out, _ in said]
        pairs = ranks * (ranks - 1) / 2
        walls = [wall for wall, _ in taken]
        cpu = sum(cpu for _, cpu in taken)
        return Figures(statistics.median(walls), max(walls), cpu / pairs)


def main(arguments: Sequence[str]) -> None:
    if obstacle():
        sys.exit(obstacle())
    print("ranks  port      median       last  processor of a pair")
    for ranks in map(int, arguments or ("2", "4", "8", "16", "24")):
        for port in ("shared", "fresh"):
            of = measure(ranks, port)
            times = f"{of.median * 1e3:7.1f} ms {of.last * 1e3:7.1f} ms {of.pair * 1e3:7.2f} ms"
            print(f"{ranks:5}  {port:6} {times}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
