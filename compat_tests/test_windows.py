"""Windows: four flavors, accesses in all synchronisations, datatypes at the target, atomicity, epochs, mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest

from compat_tests.support import COMMS, error_name, neighbours, outcome, values

FLAVORS = ("create", "allocate", "shared", "dynamic")
BYTES = 800
comms = pytest.mark.parametrize("comm", COMMS, indirect=True)
flavors = pytest.mark.parametrize("flavor", FLAVORS)


class Made:
    """A window, an array of doubles over its memory, and how to tell a target where element ``index`` of a rank is."""

    def __init__(self, MPI: Any, comm: Any, flavor: str, nbytes: int = BYTES) -> None:
        base = 0
        if flavor == "allocate":
            self.win = MPI.Win.Allocate(nbytes, 8, MPI.INFO_NULL, comm)
            memory = self.win.tomemory()
        elif flavor == "shared":
            self.win = MPI.Win.Allocate_shared(nbytes, 8, MPI.INFO_NULL, comm)
            memory = self.win.tomemory()
        elif flavor == "create":
            memory = np.zeros(nbytes, "b")
            self.win = MPI.Win.Create(memory, 8, MPI.INFO_NULL, comm)
        else:
            memory = np.zeros(nbytes, "b")
            self.win = MPI.Win.Create_dynamic(MPI.INFO_NULL, comm)
            self.win.Attach(memory)
            base = MPI.Get_address(memory)
        self.array = np.frombuffer(memory, "d")
        self.array[:] = -1
        self.bases = comm.allgather(base)
        self.step = 1 if flavor == "dynamic" else 8
        self.kept: list[Any] = []
        comm.Barrier()

    def keep(self, data: Any) -> Any:
        """Return an array that lives as long as the window, as one has to until the epoch's end."""
        self.kept.append(data)
        return data

    def at(self, rank: int, index: int) -> int:
        return self.bases[rank] + index * 8 if self.step == 1 else index


@pytest.fixture
def made(MPI: Any, comm: Any, flavor: str) -> Iterator[Made]:
    window = Made(MPI, comm, flavor)
    yield window
    window.win.Free()
    assert window.win == MPI.WIN_NULL


@comms
@flavors
def test_what_a_window_tells(MPI: Any, comm: Any, flavor: str, made: Made, record: Any) -> None:
    win = made.win
    address, size, unit = win.attrs
    memory = win.tomemory()
    record(size, unit if size else 0, win.flavor, win.model, len(memory), memory.readonly, memory.format)
    view = memoryview(win)
    record(view.nbytes, view.format, view.readonly, view.ndim)
    if len(memory):
        assert np.frombuffer(win, "d").ctypes.data == address
    assert address == win.Get_attr(MPI.WIN_BASE) == MPI.Get_address(memory)
    record(win.Get_attr(MPI.WIN_SIZE), win.Get_attr(MPI.WIN_CREATE_FLAVOR), win.Get_attr(MPI.WIN_MODEL))
    group, whole = win.Get_group(), comm.Get_group()
    record(MPI.Group.Compare(group, whole) == MPI.IDENT, win.group_size, win.group_rank)
    record(win.Get_errhandler() == MPI.ERRORS_RETURN, win == MPI.Win(win), bool(win), type(win).__name__)
    win.Set_name("a window")
    record(win.name)
    win.name = "x" * 300
    record(len(win.name))
    info = win.Get_info()
    win.Set_info(info)
    info.Free()
    record(win.info.get("no_locks"))


@pytest.mark.parametrize("comm", COMMS, indirect=True)
@flavors
@pytest.mark.parametrize("count", [0, 1, 10, 99])
def test_fences(MPI: Any, comm: Any, made: Made, count: int, record: Any) -> None:
    before, after = neighbours(comm)
    data = values("d", count, comm.Get_rank())
    result = np.full(count, -2.0)
    made.win.Fence(MPI.MODE_NOPRECEDE)
    made.win.Put(data, after, made.at(after, 1))
    made.win.Fence()
    record(made.array)
    made.win.Get(result, before, made.at(before, 1))
    made.win.Fence(MPI.MODE_NOSUCCEED)
    assert np.array_equal(result, values("d", count, (before - 1) % comm.Get_size()))


@pytest.mark.parametrize("flavor", ["create", "allocate"])
def test_large_accesses(MPI: Any, comm: Any, flavor: str, record: Any) -> None:
    count = 400_000
    made = Made(MPI, comm, flavor, 8 * count)
    before, after = neighbours(comm)
    made.array[:] = 0
    made.win.Fence()
    made.win.Put(made.keep(values("d", count, comm.Get_rank())), after)
    made.win.Fence()
    made.win.Accumulate(made.keep(values("d", count, 7)), before)
    made.win.Fence()
    record(made.array)
    every_second = MPI.DOUBLE.Create_vector(count // 2, 1, 2).Commit()
    pairs = MPI.DOUBLE.Create_vector(2, 1, 2).Create_resized(0, 24).Commit()
    result, more = np.zeros(count // 2), np.zeros(count // 4)
    made.win.Get(result, after, (1, 1, every_second))
    made.win.Get(more, before, (0, count // 8, pairs))
    made.win.Fence()
    record(result, more)
    made.win.Lock_all()
    made.win.Get_accumulate(
        made.keep(values("d", count, comm.Get_rank())), made.keep(made.array.copy()), after, op=MPI.SUM
    )
    made.win.Unlock_all()
    comm.Barrier()
    record(made.array)
    for datatype in every_second, pairs:
        datatype.Free()
    made.win.Free()


@flavors
def test_datatypes_at_the_target(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    rank = comm.Get_rank()
    before, after = neighbours(comm)
    column = MPI.DOUBLE.Create_vector(5, 1, 10).Commit()
    some = MPI.DOUBLE.Create_indexed([1, 3, 2], [0, 20, 7]).Commit()
    backwards = MPI.DOUBLE.Create_hvector(4, 1, -16).Commit()
    many = MPI.DOUBLE.Create_indexed_block(1, [n * n for n in range(9)] + [70 + n for n in range(0, 20, 2)]).Commit()
    matrix = values("d", 100, rank).reshape(10, 10)
    made.win.Fence()
    made.win.Put([matrix, 1, column], after, (made.at(after, 3), 1, column))
    made.win.Fence()
    record(made.array)
    made.win.Fence()
    made.win.Put(made.keep(values("d", 6, rank)), before, (made.at(before, 2), 1, some))
    made.win.Fence()
    record(made.array)
    made.win.Fence()
    made.win.Accumulate(made.keep(values("d", 5, rank)), after, (made.at(after, 1), 1, column), MPI.SUM)
    made.win.Fence()
    record(made.array)
    made.win.Fence()
    results = [np.zeros(count) for count in (4, 19, 10)]
    made.win.Get(results[0], after, (made.at(after, 40), 1, backwards))
    made.win.Get(results[1], before, (made.at(before, 0), 1, many))
    made.win.Get([results[2], 2, MPI.DOUBLE.Create_contiguous(5).Commit()], rank, (made.at(rank, 5), 2, column))
    made.win.Fence()
    record(*results)
    for datatype in column, some, backwards, many:
        datatype.Free()


OPS = ("SUM", "PROD", "MAX", "MIN", "REPLACE", "BAND", "BOR", "BXOR", "LAND", "LOR", "LXOR")


@pytest.mark.parametrize("flavor", ["create", "shared"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("code", ["b", "H", "i", "q", "f", "d", "D", "?"])
def test_accumulate(MPI: Any, comm: Any, made: Made, op: str, code: str, record: Any) -> None:
    target = comm.Get_size() - 1
    data = values(code, 5, 0 if op == "REPLACE" else comm.Get_rank())
    typed = made.array.view(code)
    typed[:6] = values(code, 6, 5)
    comm.Barrier()
    floating, logical = code in "fdD", op in ("LAND", "LOR", "LXOR")
    if (op[0] == "B" and (floating or code == "?")) or (op in ("SUM", "PROD", "MAX", "MIN") and code == "?"):
        return
    if (logical and floating) or (code == "D" and op in ("MAX", "MIN")):
        return
    made.win.Fence()
    made.win.Accumulate(data, target, 0, getattr(MPI, op))
    made.win.Fence()
    record(typed[:6])


@pytest.mark.parametrize("flavor", ["create", "allocate"])
@pytest.mark.parametrize("op", ["MINLOC", "MAXLOC"])
def test_accumulate_pairs(MPI: Any, comm: Any, made: Made, op: str, record: Any) -> None:
    pair = np.dtype([("value", "d"), ("index", "i")], align=True)
    typed = made.array[:20].view(pair)
    typed["value"], typed["index"] = 5, 99
    data = np.zeros(4, pair)
    data["value"], data["index"] = [comm.Get_rank(), 9, -comm.Get_rank(), 5], comm.Get_rank()
    made.win.Fence()
    made.win.Accumulate([data, 4, MPI.DOUBLE_INT], 0, (2, 4, MPI.DOUBLE_INT), getattr(MPI, op))
    made.win.Fence()
    record(typed["value"], typed["index"])


@comms
@flavors
def test_a_shared_counter(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    rounds, target = 20, comm.Get_size() - 1
    made.array[0] = 0
    comm.Barrier()
    one, result = np.ones(1), np.zeros(1)
    taken = []
    for number in range(rounds):
        made.win.Lock(target, MPI.LOCK_SHARED if number % 2 else MPI.LOCK_EXCLUSIVE)
        made.win.Fetch_and_op(one, result, target, made.at(target, 0))
        made.win.Unlock(target)
        taken.append(int(result[0]))
    everybody = sorted(chain.from_iterable(comm.allgather(taken)))
    assert taken == sorted(taken)
    assert everybody == list(range(rounds * comm.Get_size()))
    record(everybody)


@pytest.mark.parametrize("flavor", ["create", "allocate", "shared"])
def test_exclusive_locks(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    made.array[:3] = 0
    comm.Barrier()
    buffer = np.zeros(3)
    for _ in range(10):
        made.win.Lock(0, MPI.LOCK_EXCLUSIVE)
        made.win.Get(buffer, 0)
        made.win.Flush(0)
        buffer += 1
        made.win.Put(buffer, 0)
        made.win.Unlock(0)
    comm.Barrier()
    made.win.Lock(0, MPI.LOCK_SHARED)
    made.win.Get(buffer, 0)
    made.win.Unlock(0)
    assert buffer.tolist() == [10.0 * comm.Get_size()] * 3
    record(buffer)


@pytest.mark.parametrize("flavor", ["create", "shared"])
def test_compare_and_swap(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    words = made.array.view("q")
    words[:2] = 0
    comm.Barrier()
    rank = comm.Get_rank()
    mine, free, found = np.array([rank + 1]), np.array([0]), np.array([-1])
    made.win.Lock_all()
    made.win.Compare_and_swap(mine, free, found, 0, 1)
    made.win.Flush(0)
    winners = comm.allgather(int(found[0]))
    assert winners.count(0) == 1
    made.win.Compare_and_swap(free, mine, found, 0, 1)
    made.win.Unlock_all()
    comm.Barrier()
    record(words[:2])


@comms
@flavors
def test_lock_all(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    results = np.zeros(size)
    made.win.Lock_all(MPI.MODE_NOCHECK)
    for target in range(size):
        made.win.Put(made.keep(np.array([10.0 * rank + target])), target, made.at(target, rank))
    made.win.Flush_all()
    comm.Barrier()
    for target in range(size):
        made.win.Get(results[target : target + 1], target, made.at(target, (rank + 1) % size))
    made.win.Flush_local_all()
    made.win.Sync()
    made.win.Unlock_all()
    record(results, made.array[:size])
    assert results.tolist() == [10.0 * ((rank + 1) % size) + target for target in range(size)]


@pytest.mark.parametrize("flavor", ["create", "allocate", "dynamic"])
def test_start_and_post(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    before, after = neighbours(comm)
    group = comm.Get_group()
    origins, targets = group.Incl([before]), group.Incl([after])
    for number in range(4):
        made.win.Post(origins)
        made.win.Start(targets)
        made.win.Put(made.keep(np.array([100.0 * number + comm.Get_rank()])), after, made.at(after, number))
        made.win.Accumulate(made.keep(np.ones(1)), after, made.at(after, 50))
        made.win.Complete()
        if number % 2:
            made.win.Wait()
        else:
            while not made.win.Test():
                pass
        record(made.array)


def test_test_waits_for_complete(MPI: Any, comm: Any) -> None:
    win = MPI.Win.Allocate(8, 1, MPI.INFO_NULL, comm)
    group = comm.Get_group()
    if comm.Get_rank() == 0:
        win.Start(group.Excl([0]))
        comm.Barrier()
        win.Complete()
        comm.Barrier()
    else:
        win.Post(group.Incl([0]))
        assert win.Test() is False
        comm.Barrier()
        comm.Barrier()
        assert win.Test() is True
    win.Free()


@comms
@flavors
def test_requests(MPI: Any, comm: Any, made: Made, record: Any) -> None:
    before, after = neighbours(comm)
    rank = comm.Get_rank()
    made.array[:] = 0
    comm.Barrier()
    made.win.Lock_all()
    requests = [made.win.Rput(made.keep(values("d", 9, rank)), after, made.at(after, 4 + 10 * n)) for n in range(3)]
    MPI.Request.Waitall(requests)
    made.win.Flush(after)
    request = made.win.Raccumulate(made.keep(np.ones(5)), after, made.at(after, 4), MPI.SUM)
    request.Wait()
    made.win.Flush_all()
    comm.Barrier()
    results = np.zeros((3, 9))
    requests = [made.win.Rget(results[n], before, made.at(before, 4 + 10 * n)) for n in range(3)]
    while not MPI.Request.Testall(requests):
        pass
    record(results)
    comm.Barrier()
    fetched = np.zeros(5)
    made.win.Rget_accumulate(made.keep(np.full(5, 2.0)), fetched, after, made.at(after, 4), op=MPI.PROD).Wait()
    record(fetched)
    nothing = [made.win.Rput(fetched, MPI.PROC_NULL), made.win.Rget(fetched, MPI.PROC_NULL)]
    MPI.Request.Waitall(nothing)
    made.win.Unlock_all()
    comm.Barrier()
    record(made.array)


@comms
def test_shared_memory(MPI: Any, comm: Any, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    win = MPI.Win.Allocate_shared(8 * (rank + 1), 8, MPI.INFO_NULL, comm)
    parts = [win.Shared_query(peer) for peer in range(size)]
    record([(len(memory), unit) for memory, unit in parts])
    bases = [MPI.Get_address(memory) for memory, _ in parts]
    record([base - bases[0] for base in bases])
    win.Fence()
    np.frombuffer(parts[rank][0], "d")[:] = rank + 0.5
    win.Fence()
    record([np.frombuffer(memory, "d") for memory, _ in parts])
    record(len(win.Shared_query(MPI.PROC_NULL)[0]))
    win.Free()


def test_a_window_outlives_its_communicator(MPI: Any, comm: Any, record: Any) -> None:
    short = comm.Dup()
    made = Made(MPI, short, "shared")
    short.Free()
    made.win.Fence()
    made.win.Put(made.keep(np.array([3.0])), neighbours(comm)[1])
    made.win.Fence()
    record(made.array[:2])
    made.win.Free()


def test_windows_of_their_own_units(MPI: Any, comm: Any, record: Any) -> None:
    rank = comm.Get_rank()
    memory = np.zeros(16, "i")
    win = MPI.Win.Create(memory, 4 * (rank + 1), MPI.INFO_NULL, comm)
    win.Fence()
    for target in range(comm.Get_size()):
        win.Accumulate(np.array([rank + 1], "i"), target, 2)
    win.Fence()
    record(memory, win.attrs[2])
    win.Free()


@pytest.mark.parametrize("rank_0_has", [True, False])
def test_windows_without_memory(MPI: Any, comm: Any, rank_0_has: bool, record: Any) -> None:
    has = (comm.Get_rank() == 0) == rank_0_has
    memory = np.zeros(4) if has else None
    win = MPI.Win.Create(memory, 8, MPI.INFO_NULL, comm)
    record(win.attrs[1], len(win.tomemory()))
    win.Fence()
    if rank_0_has:
        win.Accumulate(np.ones(4), 0)
    win.Fence()
    record(memory)
    win.Free()


SPECS: dict[str, Any] = {
    "none": lambda MPI: None,
    "number": lambda MPI: 3,
    "empty": lambda MPI: (),
    "displacement": lambda MPI: [2],
    "count": lambda MPI: (1, 4),
    "type": lambda MPI: [1, 32, MPI.BYTE],
    "code": lambda MPI: (1, 8, "i"),
    "four": lambda MPI: [0, 1, MPI.INT, 2],
    "text": lambda MPI: "a",
    "fraction": lambda MPI: 1.5,
    "fractions": lambda MPI: [1.5],
    "negative": lambda MPI: -1,
    "negative count": lambda MPI: [0, -1],
    "null type": lambda MPI: [0, 4, MPI.DATATYPE_NULL],
    "not committed": lambda MPI: [0, 1, MPI.DOUBLE.Create_contiguous(4)],
    "unknown code": lambda MPI: [0, 4, "nothing"],
}


@pytest.mark.parametrize("flavor", ["create"])
@pytest.mark.parametrize("spec", SPECS)
def test_target_specifications(MPI: Any, comm: Any, made: Made, spec: str, record: Any) -> None:
    target = neighbours(comm)[1]
    made.win.Fence()
    record(outcome(MPI, made.win.Put, made.keep(np.arange(4.0)), target, SPECS[spec](MPI)))
    made.win.Fence()
    record(made.array)


CALLS: dict[str, Any] = {
    "fence": lambda MPI, win, me: win.Fence(),
    "last fence": lambda MPI, win, me: win.Fence(MPI.MODE_NOSUCCEED),
    "put": lambda MPI, win, me: win.Put(np.ones(1), me),
    "request": lambda MPI, win, me: win.Rput(np.ones(1), me).Wait(),
    "start": lambda MPI, win, me: win.Start(MPI.GROUP_EMPTY),
    "complete": lambda MPI, win, me: win.Complete(),
    "post": lambda MPI, win, me: win.Post(MPI.GROUP_EMPTY),
    "wait": lambda MPI, win, me: win.Wait(),
    "test": lambda MPI, win, me: win.Test(),
    "lock": lambda MPI, win, me: win.Lock(me),
    "unlock": lambda MPI, win, me: win.Unlock(me),
    "lock all": lambda MPI, win, me: win.Lock_all(),
    "unlock all": lambda MPI, win, me: win.Unlock_all(),
    "flush": lambda MPI, win, me: win.Flush(me),
    "flush all": lambda MPI, win, me: win.Flush_all(),
    "flush local": lambda MPI, win, me: win.Flush_local(me),
    "sync": lambda MPI, win, me: win.Sync(),
    "free": lambda MPI, win, me: win.Free(),
}
EPOCHS = (
    "put, flush, flush all, flush local, sync, unlock, unlock all, complete, wait, test, request",
    "fence, put, lock, lock all, start, post, flush, unlock, wait, complete, free, fence, lock, put, unlock, put",
    "last fence, put, lock, put, unlock",
    "fence, start, complete, put, fence, post, put, wait, test, fence",
    "post, post, put, fence, lock, unlock, free, wait, wait",
    "start, start, put, fence, lock, lock all, free, complete, complete, put",
    "lock, lock, lock all, start, fence, put, flush, sync, unlock all, free, unlock, unlock",
    "lock all, lock, unlock, lock all, put, flush, flush local, fence, free, unlock all, unlock all, put",
)


@pytest.mark.parametrize("comm", ["self"], indirect=True)
@pytest.mark.parametrize("flavor", ["create"])
@pytest.mark.parametrize("steps", EPOCHS, ids=[f"{number}" for number in range(len(EPOCHS))])
def test_epochs(MPI: Any, comm: Any, made: Made, steps: str, record: Any) -> None:
    for step in steps.split(", "):
        record(step, outcome(MPI, CALLS[step], MPI, made.win, 0))
    made.win = made.win or MPI.Win.Create(None, 1, MPI.INFO_NULL, comm)
    if "last" not in steps:
        outcome(MPI, made.win.Fence, MPI.MODE_NOSUCCEED)


MISTAKES: dict[str, Any] = {
    "create: unit 0": lambda MPI, c, win: MPI.Win.Create(bytearray(8), 0, MPI.INFO_NULL, c),
    "create: read-only": lambda MPI, c, win: MPI.Win.Create(b"abc", 1, MPI.INFO_NULL, c),
    "create: text": lambda MPI, c, win: MPI.Win.Create("abc", 1, MPI.INFO_NULL, c),
    "create: no comm": lambda MPI, c, win: MPI.Win.Create(None, 1, MPI.INFO_NULL, None),
    "create: no info": lambda MPI, c, win: MPI.Win.Create(None, 1, None, c),
    "create: null": lambda MPI, c, win: MPI.Win.Create(None, 1, MPI.INFO_NULL, MPI.COMM_NULL),
    "allocate: negative": lambda MPI, c, win: MPI.Win.Allocate(-1, 1, MPI.INFO_NULL, c),
    "allocate shared: negative": lambda MPI, c, win: MPI.Win.Allocate_shared(-1, 1, MPI.INFO_NULL, c),
    "dynamic: shared query": lambda MPI, c, win: MPI.Win.Create_dynamic(MPI.INFO_NULL, c).Shared_query(0),
    "attach": lambda MPI, c, win: win.Attach(bytearray(8)),
    "detach": lambda MPI, c, win: win.Detach(bytearray(8)),
    "put: rank": lambda MPI, c, win: win.Put(np.ones(1), c.Get_size()),
    "put: nowhere": lambda MPI, c, win: win.Put(np.ones(1), MPI.PROC_NULL),
    "put: none": lambda MPI, c, win: win.Put(None, 0),
    "get: read-only": lambda MPI, c, win: win.Get(b"abc", 0),
    "accumulate: null": lambda MPI, c, win: win.Accumulate(np.ones(1), 0, 0, MPI.OP_NULL),
    "accumulate: none": lambda MPI, c, win: win.Accumulate(np.ones(1), 0, 0, None),
    "accumulate: no-op": lambda MPI, c, win: win.Accumulate(np.ones(1), 0, 0, MPI.NO_OP),
    "get accumulate: read-only": lambda MPI, c, win: win.Get_accumulate(b"a", bytearray(1), 0),
    "get accumulate: nothing": lambda MPI, c, win: win.Get_accumulate([bytearray(1), 0], [bytearray(1), 0], 0),
    "fetch: two": lambda MPI, c, win: win.Fetch_and_op(np.ones(2), np.ones(1), 0),
    "fetch: types": lambda MPI, c, win: win.Fetch_and_op(np.ones(1), np.ones(1, "i"), 0),
    "swap: two": lambda MPI, c, win: win.Compare_and_swap(np.ones(1, "i"), np.ones(2, "i"), np.ones(1, "i"), 0),
    "swap: types": lambda MPI, c, win: win.Compare_and_swap(np.ones(1, "i"), np.ones(1, "q"), np.ones(1, "i"), 0),
    "swap: floating": lambda MPI, c, win: win.Compare_and_swap(np.ones(1), np.ones(1), np.ones(1), 0),
    "lock: rank": lambda MPI, c, win: win.Lock(c.Get_size()),
    "lock: nowhere": lambda MPI, c, win: (win.Lock(MPI.PROC_NULL), win.Unlock(MPI.PROC_NULL)),
    "start: null": lambda MPI, c, win: win.Start(MPI.GROUP_NULL),
    "post: null": lambda MPI, c, win: win.Post(MPI.GROUP_NULL),
    "info: null": lambda MPI, c, win: win.Set_info(MPI.INFO_NULL),
    "name: number": lambda MPI, c, win: win.Set_name(3),
    "keyval": lambda MPI, c, win: win.Get_attr(MPI.KEYVAL_INVALID),
    "set base": lambda MPI, c, win: win.Set_attr(MPI.WIN_BASE, 1),
    "shared query: rank": lambda MPI, c, win: win.Shared_query(c.Get_size()),
    "pickle": lambda MPI, c, win: win.__reduce__(),
    "handler: null": lambda MPI, c, win: win.Set_errhandler(MPI.ERRHANDLER_NULL),
}


@pytest.mark.parametrize("flavor", ["create"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(MPI: Any, comm: Any, made: Made, mistake: str, record: Any) -> None:
    made.win.Fence()
    record(outcome(MPI, MISTAKES[mistake], MPI, comm, made.win))
    made.win.Fence()


NULL = [
    "Free",
    "Get_group",
    "Fence",
    "Complete",
    "Wait",
    "Test",
    "Lock_all",
    "Unlock_all",
    "Flush_all",
    "Flush_local_all",
    "Sync",
    "Get_name",
    "tomemory",
    "Get_info",
    "Get_errhandler",
    "attrs",
    "flavor",
    "model",
    "group_size",
    "group_rank",
    "free",
]


@pytest.mark.parametrize("name", NULL)
def test_null_window(MPI: Any, name: str, record: Any) -> None:
    def use() -> None:
        member = getattr(MPI.Win(), name)
        if callable(member):
            member()

    record(outcome(MPI, use))


def test_attributes(MPI: Any, comm: Any, record: Any) -> None:
    seen = []
    keyval = MPI.Win.Create_keyval(delete_fn=lambda win, key, value: seen.append(value))
    win = MPI.Win.Create(None, 1, MPI.INFO_NULL, comm)
    record(win.Get_attr(keyval))
    win.Set_attr(keyval, "first")
    win.Set_attr(keyval, "second")
    record(win.Get_attr(keyval), list(seen))
    win.Free()
    record(seen)
    assert MPI.Win.Free_keyval(keyval) == MPI.KEYVAL_INVALID


def test_error_handler(MPI: Any, comm: Any, record: Any) -> None:
    seen = []
    handler = MPI.Win.Create_errhandler(lambda win, code: seen.append((type(win).__name__, error_name(MPI, code))))
    win = MPI.Win.Create(None, 1, MPI.INFO_NULL, comm)
    win.Set_errhandler(handler)
    outcome(MPI, win.Unlock, 0)  # whether it raises after the handler differs between MPICH and Open MPI
    win.Call_errhandler(MPI.ERR_OTHER)
    record(seen)
    win.Free()
    handler.Free()


def test_subclass(MPI: Any, comm: Any, record: Any) -> None:
    class MyWin(MPI.Win):
        pass

    win = MyWin.Create(bytearray(8), 1, MPI.INFO_NULL, comm)
    record(type(win).__name__, MyWin(win) == win, MPI.Win.fromhandle(win.handle) == win)
    win.free()
    record(win == MPI.WIN_NULL, bool(win))
    win.free()
