"""A program for several ranks: each collective over a store costs the requests that its formula says."""

from __future__ import annotations

import sys

import numpy as np

from fmi_mpi import MPI
from fmi_mpi.coll.cost import Requests
from fmi_mpi.coll.select import Selector
from fmi_mpi.runtime.process import world

channel = world().channels[0]
comm = MPI.COMM_WORLD
if channel.capabilities.waits:  # then messages are as welcome, unless it is asked for by name
    comm = comm.Dup(MPI.Info.Create({"fmi_channel": channel.name}))
usage = channel.usage  # type: ignore[attr-defined]
size = comm.size
send, recv = np.zeros(16 * size), np.empty(16 * size)
block = np.zeros(16)
whole, part = send.nbytes, block.nbytes
calls = {
    "bcast": (whole, lambda: comm.Bcast(send, root=1)),
    "reduce": (whole, lambda: comm.Reduce(send, recv, root=0)),
    "allreduce": (whole, lambda: comm.Allreduce(send, recv)),
    "gather": (part, lambda: comm.Gather(block, recv, root=0)),
    "scatter": (part, lambda: comm.Scatter(send, block, root=0)),
    "allgather": (part, lambda: comm.Allgather(block, recv)),
    "alltoall": (part, lambda: comm.Alltoall(send, recv)),
    "reduce_scatter_block": (whole, lambda: comm.Reduce_scatter_block(send, block)),
    "scan": (whole, lambda: comm.Scan(send, recv)),
    "exscan": (whole, lambda: comm.Exscan(send, recv)),
    "barrier": (0, lambda: comm.Barrier()),
}
comm.Barrier()
selector = Selector(size, store=channel.capabilities.store)
told = []
for _, call in calls.values():
    before = usage.put, usage.get, usage.list
    call()
    told.append((usage.put - before[0], usage.get - before[1], usage.list - before[2]))
everybody = comm.gather(told, root=0) or []
for at, (name, (nbytes, _)) in enumerate(calls.items()):
    if comm.rank == 0:
        formula = selector.choose(name, nbytes).cost()
        assert formula is not None
        predicted = formula(size, nbytes)
        assert isinstance(predicted, Requests), name
        puts, gets, lists = (sum(one[at][which] for one in everybody) for which in range(3))
        if channel.capabilities.store > 2 and not predicted.counts:
            gets += lists
            predicted = predicted.listed(size)
        if (puts, gets) != (predicted.puts + predicted.counts, predicted.gets):
            print(f"{name}: {puts} puts and {gets} gets, predicted {predicted}", file=sys.stderr, flush=True)
            comm.Abort(1)
if comm.rank == 0:
    print("as predicted", flush=True)
