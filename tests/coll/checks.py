"""For each collective: make up the arguments, run an algorithm in a simulated world, and compare with the definition.

Rules of this file:
- Expected results come from the definition alone, computed in one place from all ranks' data.
- Contributions are read-only memory unless the call is in place; destinations hold rubbish before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np

from fmi_mpi.coll.objects.blobs import Blob
from fmi_mpi.coll.registry import Run

from .simulator import RUBBISH, World, rubbish


class Add:
    """Sum of 16-bit numbers."""

    commutative = True
    granule = 2

    def __call__(self, in_: memoryview, inout: memoryview) -> None:
        assert len(in_) == len(inout) > 0
        result = np.frombuffer(inout, "<u2")
        np.add(np.frombuffer(in_, "<u2"), result, out=result)


class Compose:
    """Composition of maps t -> a t + b over bytes, as pairs (a, b): associative, not commutative."""

    commutative = False
    granule = 2

    def __call__(self, in_: memoryview, inout: memoryview) -> None:
        assert len(in_) == len(inout) > 0
        first = np.frombuffer(in_, np.uint8).reshape(-1, 2)
        then = np.frombuffer(inout, np.uint8).reshape(-1, 2)
        then[:, 1] += then[:, 0] * first[:, 1]
        then[:, 0] *= first[:, 0]


class Case(NamedTuple):
    """What to run: ``nbytes`` is the measure of ``coll.cost``."""

    run: Run
    world: World
    random: Random
    nbytes: int
    root: int = 0
    commutative: bool = True
    in_place: bool = False
    even: bool = False
    """Blocks of one length in the forms with counts."""

    @property
    def size(self) -> int:
        return len(self.world.ranks)

    @property
    def kernel(self) -> Any:
        return Add() if self.commutative else Compose()

    def data(self, nbytes: int) -> bytes:
        return self.random.randbytes(nbytes)

    def contributions(self, nbytes: int) -> list[bytes]:
        return [self.data(nbytes) for _ in range(self.size)]

    def lengths(self, granule: int = 1) -> list[int]:
        """Return a block length for each rank."""
        if self.even:
            return [self.nbytes] * self.size
        return [self.random.choice((0, granule, self.nbytes, 2 * self.nbytes)) for _ in range(self.size)]


def fold(kernel: Any, values: Sequence[bytes]) -> bytes:
    """Return the reduction of ``values`` in order."""
    total = bytearray(values[0])
    for value in values[1:]:
        following = bytearray(value)
        if following:
            kernel(memoryview(total), memoryview(following))
        total = following
    return bytes(total)


def buffers(case: Case, values: Sequence[bytes]) -> tuple[list[memoryview], list[memoryview]]:
    """Return contributions and destinations of a reduction; in place they are the same views."""
    if case.in_place:
        views = [memoryview(bytearray(value)) for value in values]
        return views, views
    return [memoryview(value) for value in values], [rubbish(len(value)) for value in values]


def barrier(case: Case) -> None:
    entered: list[int] = []

    def start(rank: Any) -> Any:
        entered.append(rank.rank)
        yield from case.run(rank)
        assert len(entered) == case.size

    case.world.run(start)


def bcast(case: Case) -> None:
    value = case.data(case.nbytes)
    bufs = [rubbish(case.nbytes) for _ in range(case.size)]
    bufs[case.root] = memoryview(value)
    case.world.run(lambda rank: case.run(rank, bufs[rank.rank], case.root))
    assert all(buf == value for buf in bufs)


def reduce(case: Case) -> None:
    values = case.contributions(case.nbytes)
    sends, recvs = buffers(case, values)
    outs = [recvs[rank] if rank == case.root else None for rank in range(case.size)]
    sends = [sends[rank] if rank == case.root else memoryview(values[rank]) for rank in range(case.size)]
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], outs[rank.rank], case.kernel, case.root))
    assert recvs[case.root] == fold(case.kernel, values)


def allreduce(case: Case) -> None:
    values = case.contributions(case.nbytes)
    sends, recvs = buffers(case, values)
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recvs[rank.rank], case.kernel))
    expected = fold(case.kernel, values)
    assert all(recv == expected for recv in recvs)


def scan(case: Case) -> None:
    values = case.contributions(case.nbytes)
    sends, recvs = buffers(case, values)
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recvs[rank.rank], case.kernel))
    for rank, recv in enumerate(recvs):
        assert recv == fold(case.kernel, values[: rank + 1])


def exscan(case: Case) -> None:
    values = case.contributions(case.nbytes)
    sends, recvs = buffers(case, values)
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recvs[rank.rank], case.kernel))
    untouched = values[0] if case.in_place else bytes([RUBBISH]) * case.nbytes
    assert recvs[0] == untouched
    for rank in range(1, case.size):
        assert recvs[rank] == fold(case.kernel, values[:rank])


def reduce_scatter(case: Case) -> None:
    if case.even:
        counts = tuple([case.nbytes // case.size] * case.size)
    else:
        counts = tuple(2 * case.random.choice((0, 1, case.nbytes)) for _ in range(case.size))
    values = case.contributions(sum(counts))
    recvs = [rubbish(count) for count in counts]
    case.world.run(lambda rank: case.run(rank, memoryview(values[rank.rank]), recvs[rank.rank], counts, case.kernel))
    assert b"".join(recvs) == fold(case.kernel, values)


def gather(case: Case) -> None:
    values = case.contributions(case.nbytes)
    recv = rubbish(case.nbytes * case.size)
    sends: list[memoryview | None] = [memoryview(value) for value in values]
    if case.in_place:
        sends[case.root] = None
        recv[case.root * case.nbytes : (case.root + 1) * case.nbytes] = values[case.root]
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recv if rank.rank == case.root else None, case.root))
    assert recv == b"".join(values)


def gatherv(case: Case) -> None:
    values = [case.data(length) for length in case.lengths()]
    blocks = [rubbish(len(value)) for value in values]
    sends: list[memoryview | None] = [memoryview(value) for value in values]
    if case.in_place:
        sends[case.root] = None
        blocks[case.root][:] = values[case.root]
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], blocks if rank.rank == case.root else None, case.root))
    assert blocks == values


def scatter(case: Case) -> None:
    send = memoryview(case.data(case.nbytes * case.size))
    recvs: list[memoryview | None] = [rubbish(case.nbytes) for _ in range(case.size)]
    if case.in_place:
        recvs[case.root] = None
    case.world.run(lambda rank: case.run(rank, send if rank.rank == case.root else None, recvs[rank.rank], case.root))
    for rank, recv in enumerate(recvs):
        assert recv is None or recv == send[rank * case.nbytes : (rank + 1) * case.nbytes]


def scatterv(case: Case) -> None:
    blocks = [memoryview(case.data(length)) for length in case.lengths()]
    recvs: list[memoryview | None] = [rubbish(len(block)) for block in blocks]
    if case.in_place:
        recvs[case.root] = None
    case.world.run(lambda rank: case.run(rank, blocks if rank.rank == case.root else None, recvs[rank.rank], case.root))
    assert all(recv is None or recv == block for recv, block in zip(recvs, blocks))


def allgather(case: Case) -> None:
    values = case.contributions(case.nbytes)
    recvs = [rubbish(case.nbytes * case.size) for _ in range(case.size)]
    sends: list[memoryview | None] = [memoryview(value) for value in values]
    if case.in_place:
        for rank, recv in enumerate(recvs):
            recv[rank * case.nbytes : (rank + 1) * case.nbytes] = values[rank]
        sends = [None] * case.size
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recvs[rank.rank]))
    expected = b"".join(values)
    assert all(recv == expected for recv in recvs)


def allgatherv(case: Case) -> None:
    lengths = [case.nbytes // case.size] * case.size if case.even else case.lengths()
    values = [case.data(length) for length in lengths]
    recvs = [[rubbish(length) for length in lengths] for _ in range(case.size)]
    sends: list[memoryview | None] = [memoryview(value) for value in values]
    if case.in_place:
        for rank, blocks in enumerate(recvs):
            blocks[rank][:] = values[rank]
        sends = [None] * case.size
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recvs[rank.rank]))
    assert all(blocks == values for blocks in recvs)


def alltoall(case: Case) -> None:
    nbytes = case.nbytes
    sends = case.contributions(nbytes * case.size)
    recvs = [rubbish(nbytes * case.size) for _ in range(case.size)]
    case.world.run(lambda rank: case.run(rank, memoryview(sends[rank.rank]), recvs[rank.rank]))
    for rank, recv in enumerate(recvs):
        assert recv == b"".join(send[rank * nbytes : (rank + 1) * nbytes] for send in sends)


def alltoallv(case: Case) -> None:
    sends = [[memoryview(case.data(length)) for length in case.lengths()] for _ in range(case.size)]
    recvs = [[rubbish(len(blocks[rank])) for blocks in sends] for rank in range(case.size)]
    case.world.run(lambda rank: case.run(rank, sends[rank.rank], recvs[rank.rank]))
    for rank, blocks in enumerate(recvs):
        assert blocks == [send[rank] for send in sends]


class Graph(NamedTuple):
    """Who sends to whom, and for each source the slot at the sender that its data come from (-1: nobody)."""

    sources: list[list[int]]
    destinations: list[list[int]]
    slots: list[list[int]]


def graph(case: Case) -> Graph:
    """Return a random multigraph with loops, or, for equal blocks, a ring."""
    size = case.size
    if case.even:
        around = [[(rank - 1) % size, (rank + 1) % size] for rank in range(size)]
        slots = [[1, 0] if size > 2 else [0, 1] for _ in range(size)]
        return Graph(around, around, slots)
    edges = [(case.random.randrange(size), case.random.randrange(size)) for _ in range(case.random.randrange(2 * size))]
    destinations: list[list[int]] = [[] for _ in range(size)]
    sources: list[list[int]] = [[] for _ in range(size)]
    for source, target in edges:
        destinations[source].append(target)
        sources[target].append(source)
    for ranks in (*sources, *destinations):
        case.random.shuffle(ranks)
        if case.random.random() < 0.2:
            ranks.insert(case.random.randrange(len(ranks) + 1), -1)
    slots = [[] for _ in range(size)]
    for rank in range(size):
        for i, source in enumerate(sources[rank]):
            before = sources[rank][:i].count(source)
            mine = [slot for slot, target in enumerate(destinations[source]) if target == rank] if source >= 0 else []
            slots[rank].append(mine[before] if source >= 0 else -1)
    return Graph(sources, destinations, slots)


def neighbor(case: Case) -> None:
    sources, destinations, slots = graph(case)
    length = [case.nbytes if case.even else case.random.randrange(case.nbytes + 1) for _ in range(case.size)]
    sends = [[memoryview(case.data(length[rank])) for _ in destinations[rank]] for rank in range(case.size)]
    recvs = [[rubbish(length[source] if source >= 0 else 1) for source in sources[rank]] for rank in range(case.size)]
    case.world.run(
        lambda rank: case.run(rank, sources[rank.rank], destinations[rank.rank], sends[rank.rank], recvs[rank.rank])
    )
    for rank, blocks in enumerate(recvs):
        for source, slot, block in zip(sources[rank], slots[rank], blocks):
            assert block == (sends[source][slot] if source >= 0 else bytes([RUBBISH]))


# -- objects ---------------------------------------------------------------------------------------------------


def make_blob(case: Case) -> Blob:
    """Return a blob of one to three views, some of them large, some empty."""
    limit = case.random.choice((1, 70, 40_000))
    parts = [memoryview(case.data(case.random.randrange(limit))) for _ in range(case.random.randrange(1, 4))]
    return parts, case.random.choice((0, 2))


def flatten(blob: Blob | None) -> tuple[bytes, int] | None:
    return None if blob is None else (b"".join(blob[0]), blob[1])


def same(received: Any, blob: Blob | None) -> bool:
    """Whether a received blob is the one sent; None stands for None."""
    if received is None or blob is None:
        return received is blob
    return (bytes(received[0]), received[1]) == flatten(blob)


def but(blobs: Sequence[Blob], own: int) -> list[Blob | None]:
    """Return the blobs that rank ``own`` receives: all but its own."""
    return [None if rank == own else blob for rank, blob in enumerate(blobs)]


def object_bcast(case: Case) -> None:
    blob = make_blob(case)
    results = case.world.run(lambda rank: case.run(rank, blob if rank.rank == case.root else None, case.root))
    assert all(same(result, None if rank == case.root else blob) for rank, result in enumerate(results))


def object_gather(case: Case) -> None:
    blobs = [make_blob(case) for _ in range(case.size)]
    results = case.world.run(lambda rank: case.run(rank, blobs[rank.rank], case.root))
    gathered = results.pop(case.root)
    assert len(gathered) == case.size
    assert all(same(*pair) for pair in zip(gathered, but(blobs, case.root)))
    assert all(result is None for result in results)


def object_scatter(case: Case) -> None:
    blobs = [make_blob(case) for _ in range(case.size)]
    results = case.world.run(lambda rank: case.run(rank, blobs if rank.rank == case.root else None, case.root))
    assert all(same(*pair) for pair in zip(results, but(blobs, case.root)))


def object_allgather(case: Case) -> None:
    blobs = [make_blob(case) for _ in range(case.size)]
    results = case.world.run(lambda rank: case.run(rank, blobs[rank.rank]))
    for rank, gathered in enumerate(results):
        assert len(gathered) == case.size
        assert all(same(*pair) for pair in zip(gathered, but(blobs, rank)))


def object_alltoall(case: Case) -> None:
    blobs = [[make_blob(case) for _ in range(case.size)] for _ in range(case.size)]
    results = case.world.run(lambda rank: case.run(rank, blobs[rank.rank]))
    for rank, received in enumerate(results):
        assert len(received) == case.size
        assert all(same(*pair) for pair in zip(received, but([row[rank] for row in blobs], rank)))


def object_neighbor(case: Case) -> None:
    sources, destinations, slots = graph(case)
    blobs = [[make_blob(case) for _ in destinations[rank]] for rank in range(case.size)]
    results = case.world.run(lambda rank: case.run(rank, sources[rank.rank], destinations[rank.rank], blobs[rank.rank]))
    for rank, received in enumerate(results):
        assert len(received) == len(sources[rank])
        for source, slot, blob in zip(sources[rank], slots[rank], received):
            assert same(blob, blobs[source][slot] if source >= 0 else None)


def dumps(value: str) -> Blob:
    data = value.encode()
    return (memoryview(struct.pack("<I", len(data))), memoryview(data)), 2


def loads(view: memoryview, flags: int) -> str:
    assert flags == 2
    (length,) = struct.unpack_from("<I", view)
    assert length == len(view) - 4
    return bytes(view[4:]).decode()


def join(a: str, b: str) -> str:
    return a + b


def values(case: Case, *arguments: Any) -> tuple[list[str], list[Any]]:
    """Run a reduction of strings, and return the ranks' values and results."""
    own = [f"<{rank}>" for rank in range(case.size)]
    return own, case.world.run(lambda rank: case.run(rank, own[rank.rank], dumps, loads, join, *arguments))


def object_reduce(case: Case) -> None:
    own, results = values(case, case.root)
    assert results == ["".join(own) if rank == case.root else None for rank in range(case.size)]


def object_allreduce(case: Case) -> None:
    own, results = values(case)
    assert results == ["".join(own)] * case.size


def object_scan(case: Case) -> None:
    own, results = values(case)
    assert results == ["".join(own[: rank + 1]) for rank in range(case.size)]


def object_exscan(case: Case) -> None:
    own, results = values(case)
    assert results == [None, *("".join(own[:rank]) for rank in range(1, case.size))]


CHECKS: dict[str, Callable[[Case], None]] = {
    "barrier": barrier,
    "bcast": bcast,
    "reduce": reduce,
    "allreduce": allreduce,
    "reduce_scatter": reduce_scatter,
    "reduce_scatter_block": reduce_scatter,
    "gather": gather,
    "gatherv": gatherv,
    "scatter": scatter,
    "scatterv": scatterv,
    "allgather": allgather,
    "allgatherv": allgatherv,
    "alltoall": alltoall,
    "alltoallv": alltoallv,
    "alltoallw": alltoallv,
    "scan": scan,
    "exscan": exscan,
    "neighbor_allgather": neighbor,
    "neighbor_allgatherv": neighbor,
    "neighbor_alltoall": neighbor,
    "neighbor_alltoallv": neighbor,
    "neighbor_alltoallw": neighbor,
    "object_bcast": object_bcast,
    "object_gather": object_gather,
    "object_scatter": object_scatter,
    "object_allgather": object_allgather,
    "object_alltoall": object_alltoall,
    "object_reduce": object_reduce,
    "object_allreduce": object_allreduce,
    "object_scan": object_scan,
    "object_exscan": object_exscan,
    "object_neighbor_allgather": object_neighbor,
    "object_neighbor_alltoall": object_neighbor,
}
