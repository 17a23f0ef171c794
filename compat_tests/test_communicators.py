"""Communicators: construction, comparison, attributes, error handlers, info, names, lifetime."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from compat_tests.support import constant_name, error_name, outcome

RELATIONS = ("IDENT", "CONGRUENT", "SIMILAR", "UNEQUAL")


def about(MPI: Any, comm: Any) -> Any:
    """Return rank, size and relation to the world of a communicator, after it has carried a message round."""
    if comm == MPI.COMM_NULL:
        return None
    members = comm.allgather(MPI.COMM_WORLD.Get_rank())
    relation = constant_name(MPI, MPI.Comm.Compare(comm, MPI.COMM_WORLD), *RELATIONS)
    return comm.Get_rank(), comm.Get_size(), members, relation, type(comm).__name__


MAKERS = {
    "Dup": lambda MPI, c: c.Dup(),
    "Dup with info": lambda MPI, c: c.Dup(MPI.INFO_NULL),
    "Clone": lambda MPI, c: c.Clone(),
    "Dup_with_info": lambda MPI, c: c.Dup_with_info(MPI.INFO_NULL),
    "Split in two": lambda MPI, c: c.Split(c.Get_rank() % 2, 0),
    "Split reversed": lambda MPI, c: c.Split(3, -c.Get_rank()),
    "Split ties": lambda MPI, c: c.Split(0, c.Get_rank() // 2 % 2),
    "Split some out": lambda MPI, c: c.Split(MPI.UNDEFINED if c.Get_rank() == 0 else 1, 0),
    "Split each alone": lambda MPI, c: c.Split(c.Get_rank(), 0),
    "Split_type shared": lambda MPI, c: c.Split_type(MPI.COMM_TYPE_SHARED),
    "Split_type reversed": lambda MPI, c: c.Split_type(MPI.COMM_TYPE_SHARED, -c.Get_rank()),
    "Split_type undefined": lambda MPI, c: c.Split_type(MPI.UNDEFINED),
    "Create": lambda MPI, c: c.Create(c.Get_group()),
    "Create of the even": lambda MPI, c: c.Create(evens(c)),
    "Create of nobody": lambda MPI, c: c.Create(MPI.GROUP_EMPTY),
    "Create reversed": lambda MPI, c: c.Create(c.Get_group().Incl(range(c.Get_size())[::-1])),
    "Create_group": lambda MPI, c: c.Create_group(evens(c), 5) if c.Get_rank() % 2 == 0 else MPI.COMM_NULL,
    "Create of two groups": lambda MPI, c: c.Create(halves(c)),
    "Create_from_group": lambda MPI, c: MPI.Intracomm.Create_from_group(c.Get_group(), "org.example.compat"),
}


def evens(comm: Any) -> Any:
    return comm.Get_group().Incl(range(0, comm.Get_size(), 2))


def halves(comm: Any) -> Any:
    """Return this rank's own of two disjoint groups."""
    middle = comm.Get_size() // 2
    low = comm.Get_rank() < middle
    return comm.Get_group().Incl(range(middle) if low else range(middle, comm.Get_size()))


@pytest.mark.parametrize("maker", MAKERS)
def test_construction(MPI: Any, comm: Any, maker: str, record: Any) -> None:
    made = MAKERS[maker](MPI, comm)
    record(about(MPI, made))
    if made:
        made.Free()
        assert made == MPI.COMM_NULL
    comm.Barrier()


@pytest.mark.parametrize("name", ["Idup", "Idup_with_info"])
def test_idup(MPI: Any, comm: Any, name: str, record: Any) -> None:
    made, request = comm.Idup() if name == "Idup" else comm.Idup_with_info(MPI.INFO_NULL)
    request.Wait()
    record(about(MPI, made))
    made.Free()


def test_many_generations(MPI: Any, comm: Any, record: Any) -> None:
    line = [comm.Dup()]
    for turn in range(20):
        line.append(line[-1].Split(0, line[-1].Get_rank() * (-1) ** turn))
    record([one.Get_rank() for one in line], line[-1].allreduce(1))
    for one in line:
        one.Free()


def test_many_at_once(MPI: Any, comm: Any, record: Any) -> None:
    """More communicators than fit any table of a few bits, made and freed again."""
    for _ in range(3):
        several = [comm.Dup() for _ in range(60)]
        assert {one.allreduce(1) for one in several} == {comm.Get_size()}
        for one in several:
            one.Free()


def test_comparison(MPI: Any, comm: Any, record: Any) -> None:
    copy, turned = MPI.Comm(comm), comm.Split(0, -comm.Get_rank())
    for other in (comm, copy, turned, MPI.COMM_SELF, MPI.COMM_WORLD):
        record(constant_name(MPI, MPI.Comm.Compare(comm, other), *RELATIONS), comm == other)
    record(outcome(MPI, MPI.Comm.Compare, comm, MPI.COMM_NULL))
    turned.Free()


def test_predicates(MPI: Any, comm: Any, record: Any) -> None:
    record(comm.Is_inter(), comm.Is_intra(), comm.is_inter, comm.is_intra, comm.is_topo)
    record(constant_name(MPI, comm.Get_topology(), "UNDEFINED", "CART"), bool(comm), bool(MPI.COMM_NULL))
    record(comm.rank, comm.size, comm.group.size, MPI.COMM_WORLD.Get_name(), MPI.COMM_SELF.Get_name())


def test_names(MPI: Any, comm: Any, record: Any) -> None:
    record(comm.Get_name())
    comm.Set_name("a name of 22 letters")
    made = comm.Dup()
    record(comm.Get_name(), made.Get_name(), comm.name)
    made.name = "other"
    record(made.name, comm.name)
    made.Free()


@pytest.mark.parametrize("copies", ["none", "true", "false", "function", "refuses"])
def test_attributes(MPI: Any, comm: Any, copies: str, record: Any) -> None:
    calls: list[Any] = []

    def copy(_comm: Any, _key: int, value: Any) -> Any:
        calls.append(("copy", value))
        return NotImplemented if copies == "refuses" else value + 1

    def delete(_comm: Any, _key: int, value: Any) -> None:
        calls.append(("delete", value))

    copier = {"none": None, "true": True, "false": False}.get(copies, copy)
    key = MPI.Comm.Create_keyval(copier, delete)
    record(comm.Get_attr(key))
    comm.Set_attr(key, 5)
    comm.Set_attr(key, 6)
    made = comm.Dup()
    record(comm.Get_attr(key), made.Get_attr(key))
    split = comm.Split(0, 0)
    record(split.Get_attr(key))
    made.Free()
    split.Free()
    comm.Delete_attr(key)
    record(comm.Get_attr(key), calls)
    key = MPI.Comm.Free_keyval(key)
    record(key == MPI.KEYVAL_INVALID)


def test_predefined_attributes(MPI: Any, record: Any) -> None:
    world = MPI.COMM_WORLD
    record(world.Get_attr(MPI.TAG_UB) >= 32767, type(world.Get_attr(MPI.WTIME_IS_GLOBAL)).__name__)
    record(type(world.Get_attr(MPI.IO)).__name__)


def test_attribute_mistakes(MPI: Any, comm: Any, record: Any) -> None:
    record(outcome(MPI, comm.Get_attr, MPI.KEYVAL_INVALID), outcome(MPI, comm.Set_attr, MPI.KEYVAL_INVALID, 1))
    record(outcome(MPI, comm.Delete_attr, MPI.KEYVAL_INVALID), outcome(MPI, MPI.Comm.Free_keyval, MPI.KEYVAL_INVALID))


def test_user_error_handler(MPI: Any, comm: Any, record: Any) -> None:
    calls: list[Any] = []
    handler = MPI.Comm.Create_errhandler(lambda on, code: calls.append((on == comm, error_name(MPI, code))))
    comm.Set_errhandler(handler)
    comm.Call_errhandler(MPI.ERR_TRUNCATE)
    outcome(MPI, comm.Send, b"", comm.Get_size() + 7)  # whether the call raises after the handler is left open
    record(calls, comm.Get_errhandler() == handler)
    made = comm.Dup()
    record(made.Get_errhandler() == MPI.ERRORS_RETURN)  # mpi4py sets it on each new communicator
    made.Free()
    handler.Free()
    record(handler == MPI.ERRHANDLER_NULL)
    comm.Set_errhandler(MPI.ERRORS_RETURN)


def test_predefined_error_handlers(MPI: Any, comm: Any, record: Any) -> None:
    record(comm.Get_errhandler() == MPI.ERRORS_RETURN, MPI.COMM_WORLD.Get_errhandler() == MPI.ERRORS_RETURN)
    for handler in (MPI.ERRORS_ARE_FATAL, MPI.ERRORS_RETURN):
        comm.Set_errhandler(handler)
        record(comm.Get_errhandler() == handler)
    record(outcome(MPI, comm.Set_errhandler, MPI.ERRHANDLER_NULL))
    comm.Set_errhandler(MPI.ERRORS_RETURN)


def test_info(MPI: Any, comm: Any, record: Any) -> None:
    info = MPI.Info.Create({"mpi_assert_no_any_tag": "false", "compat": "yes"})
    comm.Set_info(info)
    got = comm.Get_info()
    record(isinstance(got, MPI.Info), got.Get("mpi_assert_no_any_tag") in (None, "false"))
    got.Free()
    made = comm.Dup(info)
    record(about(MPI, made))
    made.Free()
    info.Free()


def test_info_objects(MPI: Any, record: Any) -> None:
    info = MPI.Info.Create()
    info.Set("one", "1")
    info["two"] = "2"
    record(info.Get_nkeys(), [info.Get_nthkey(n) for n in range(2)], info.Get("one"), info.get("none", "x"), len(info))
    record(sorted(info.items()), "two" in info, info.pop("two"), outcome(MPI, info.Delete, "two"), info.copy().items())
    copy = info.Dup()
    info.Delete("one")
    record(len(info), dict(copy), outcome(MPI, info.Get_nthkey, 4), outcome(MPI, info.Set, "k" * 300, "v"))
    copy.Free()
    info.Free()
    record(info == MPI.INFO_NULL, outcome(MPI, info.Set, "a", "b") != "fine")


MISTAKES = {
    "null rank": lambda MPI, c: MPI.COMM_NULL.Get_rank(),
    "null dup": lambda MPI, c: MPI.COMM_NULL.Dup(),
    "null barrier": lambda MPI, c: MPI.COMM_NULL.Barrier(),
    "null free": lambda MPI, c: MPI.Comm(MPI.COMM_NULL).Free(),
    "world free": lambda MPI, c: MPI.Comm(MPI.COMM_WORLD).Free(),
    "self free": lambda MPI, c: MPI.Comm(MPI.COMM_SELF).Free(),
    "split type": lambda MPI, c: c.Split_type(12345),
    "null group": lambda MPI, c: c.Create(MPI.GROUP_NULL),
    "errhandler text": lambda MPI, c: c.Set_errhandler("text"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(MPI: Any, comm: Any, case: str, record: Any) -> None:
    record(outcome(MPI, MISTAKES[case], MPI, comm))


def test_intercommunicator(MPI: Any, comm: Any, record: Any) -> None:
    if comm.Get_size() == 1:
        pytest.skip("needs two groups")
    low = comm.Get_rank() < comm.Get_size() // 2
    local = comm.Split(int(low), comm.Get_rank())
    between = local.Create_intercomm(0, comm, comm.Get_size() // 2 if low else 0, 3)
    record(between.Get_rank(), between.Get_size(), between.Get_remote_size(), between.Is_inter())
    record(between.allgather(comm.Get_rank()), between.allreduce(1))
    root = (MPI.ROOT if between.Get_rank() == 0 else MPI.PROC_NULL) if low else 0
    record(between.bcast("word" if low else None, root))
    merged = between.Merge(high=low)
    record(about(MPI, merged))
    for one in (merged, between, local):
        one.Free()


def test_threads_create_groups_apart(MPI: Any, comm: Any, record: Any) -> None:
    """Calls that run at the same time are told apart by their tags, in whatever order they come."""
    made: dict[int, Any] = {}
    orders = ((3, 4), (4, 3)) if comm.Get_rank() % 2 else ((4, 3), (3, 4))

    def create(tags: tuple[int, ...]) -> None:
        for tag in tags:
            made[tag] = comm.Create_group(comm.Get_group(), tag)

    if MPI.Query_thread() != MPI.THREAD_MULTIPLE:
        pytest.skip("needs MPI_THREAD_MULTIPLE")
    threads = [threading.Thread(target=create, args=(order[:1],)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tag in (3, 4):
        assert made[tag].allgather(tag) == [tag] * comm.Get_size()
        made[tag].Free()


@pytest.mark.parametrize("tag", [-1, -5])
def test_group_with_a_wrong_tag(MPI: Any, comm: Any, tag: int, record: Any) -> None:
    with pytest.raises(MPI.Exception) as caught:
        comm.Create_group(comm.Get_group(), tag)
    record(caught.value.Get_error_class() == MPI.ERR_TAG)
