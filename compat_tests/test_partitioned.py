"""Partitioned communication: parts in any order, rounds, ends that cut differently, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import neighbours, outcome, values

ROUNDS = 3


@pytest.mark.parametrize("sends,receives", [(1, 1), (4, 4), (2, 6), (6, 2), (4, 6)])
@pytest.mark.parametrize("how", ["each", "range", "list"])
def test_rounds(MPI: Any, comm: Any, sends: int, receives: int, how: str, record: Any) -> None:
    before, after = neighbours(comm)
    source, target = np.zeros(12), np.zeros(12)
    send = comm.Psend_init(source, sends, after, 5)
    receive = comm.Precv_init(target, receives, before, 5)
    record(type(send).__name__, receive.Parrived(0))
    for number in range(ROUNDS):
        source[:] = values("d", 12, number + comm.Get_rank())
        MPI.Prequest.Startall([receive, send])
        if how == "each":
            for part in reversed(range(sends)):
                send.Pready(part)
        elif how == "range":
            send.Pready_range(0, sends - 1)
        else:
            send.Pready_list(list(range(sends)))
        for part in range(receives):
            while not receive.Parrived(part):
                pass
        status = MPI.Status()
        receive.Wait(status)
        send.Wait()
        record(target, status.Get_source(), status.Get_tag())
    for request in (send, receive):
        request.Free()
        record(request == MPI.REQUEST_NULL)


def test_part_by_part(MPI: Any, comm: Any) -> None:
    """A part arrives before the next one is ready; the answer to it may be what makes the next one ready."""
    if MPI.get_vendor()[0] == "MPICH":
        pytest.skip("sends only when all parts are ready")
    before, after = neighbours(comm)
    source, target = values("d", 4, comm.Get_rank()), np.zeros(4)
    column = MPI.DOUBLE.Create_vector(1, 1, 2).Create_resized(0, 16).Commit()
    strided = np.zeros(8)
    for into, spec in ((target, target), (strided[::2], [strided, 1, column])):
        send = comm.Psend_init(source, 4, after, 1)
        receive = comm.Precv_init(spec, 4, before, 1)
        MPI.Prequest.Startall([send, receive])
        for part in range(4):
            assert not receive.Parrived(part)
            comm.Barrier()
            send.Pready(part)
            while not receive.Parrived(part):
                pass
            assert into[part] == values("d", 4, before)[part]
        MPI.Request.Waitall([send, receive])
        send.Free()
        receive.Free()
    column.Free()


def test_order_of_initialisation(MPI: Any, comm: Any, record: Any) -> None:
    """Messages with one tag match in the order in which both ends prepared them, not in that of their data."""
    before, after = neighbours(comm)
    sources, targets = np.arange(3.0) + comm.Get_rank(), np.zeros((3, 1))
    sends = [comm.Psend_init(sources[i : i + 1], 1, after, 2) for i in range(3)]
    receives = [comm.Precv_init(target, 1, before, 2) for target in targets]
    MPI.Prequest.Startall(receives)
    for send in reversed(sends):
        send.Start()
        send.Pready(0)
    MPI.Request.Waitall(sends + receives)
    record(targets)
    for request in sends + receives:
        request.Free()


def test_nobody(MPI: Any, comm: Any) -> None:
    if MPI.get_vendor()[0] == "MPICH":
        pytest.skip("crashes")
    send = comm.Psend_init(bytearray(4), 2, MPI.PROC_NULL)
    receive = comm.Precv_init(bytearray(4), 2, MPI.PROC_NULL, 0)
    MPI.Prequest.Startall([send, receive])
    send.Pready_range(0, 1)
    status = MPI.Status()
    receive.Wait(status)
    send.Wait()
    assert (status.Get_source(), status.Get_tag(), status.Get_count()) == (MPI.PROC_NULL, MPI.ANY_TAG, 0)


def to_oneself(comm: Any) -> tuple[Any, Any]:
    rank, memory = comm.Get_rank(), bytearray(4)
    return comm.Psend_init(memory, 2, rank), comm.Precv_init(memory, 2, rank, 0)


MISTAKES = {
    "no partitions": lambda MPI, comm: comm.Psend_init(bytearray(4), 0, 0),
    "not divisible": lambda MPI, comm: comm.Psend_init(bytearray(4), 3, 0),
    "any source": lambda MPI, comm: comm.Precv_init(bytearray(4), 1, MPI.ANY_SOURCE, 0),
    "any tag": lambda MPI, comm: comm.Precv_init(bytearray(4), 1, 0, MPI.ANY_TAG),
    "rank": lambda MPI, comm: comm.Psend_init(bytearray(4), 1, comm.Get_size()),
    "read-only": lambda MPI, comm: comm.Precv_init(b"text", 1, 0, 0),
    "ready too early": lambda MPI, comm: to_oneself(comm)[0].Pready(0),
    "ready receive": lambda MPI, comm: to_oneself(comm)[1].Pready(0),
    "arrived send": lambda MPI, comm: to_oneself(comm)[0].Parrived(0),
    "null": lambda MPI, comm: MPI.Prequest().Pready(0),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(MPI: Any, comm: Any, name: str, record: Any) -> None:
    record(outcome(MPI, MISTAKES[name], MPI, comm))
