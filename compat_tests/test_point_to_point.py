"""Point-to-point: modes, wildcards, probes, statuses, PROC_NULL, self, order, cancel, truncation, sizes over eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compat_tests.support import COMMS, neighbours, outcome, status_fields, values

SIZES = (0, 1, 3, 1000, 100_000, 1_500_000)  # bytes: nothing, tiny, eager, over every eager limit
MODES = ("", "s", "b", "r")  # standard, synchronous, buffered, ready
everywhere = pytest.mark.parametrize("comm", COMMS, indirect=True)


@pytest.fixture(params=MODES, ids=lambda mode: mode or "standard")
def mode(request: pytest.FixtureRequest, MPI: Any) -> Any:
    """A mode of sending; the buffered one comes with an attached buffer."""
    if request.param == "b":
        MPI.Attach_buffer(bytearray(1 << 22))
    yield request.param
    if request.param == "b":
        MPI.Detach_buffer()


def ready(comm: Any, mode: str, peers: tuple[int, int]) -> None:
    """Before a ready send, let the receiver's side say that its receive is posted."""
    if mode == "r":
        before, after = peers
        comm.Sendrecv(b"", before, 9, bytearray(0), after, 9)


@everywhere
@pytest.mark.parametrize("size", SIZES)
def test_ring_of_nonblocking_sends(MPI: Any, comm: Any, mode: str, size: int, record: Any) -> None:
    before, after = neighbours(comm)
    target = bytearray(size)
    receive = comm.Irecv(target, before, 1)
    ready(comm, mode, (before, after))
    send = getattr(comm, f"I{mode}send")([values("B", size, comm.Get_rank()), MPI.BYTE], after, 1)
    status = MPI.Status()
    receive.Wait(status)
    send.Wait()
    assert target == values("B", size, before).tobytes()
    record(target, status_fields(MPI, status))


@everywhere
def test_ring_of_blocking_sends(MPI: Any, comm: Any, mode: str, record: Any) -> None:
    before, after = neighbours(comm)
    target = np.zeros(50, "d")
    receive = comm.Irecv(target, before, 2)
    ready(comm, mode, (before, after))
    getattr(comm, {"": "Send", "s": "Ssend", "b": "Bsend", "r": "Rsend"}[mode])(values("d", 50, before), after, 2)
    receive.Wait()
    record(target)


@everywhere
@pytest.mark.parametrize("size", SIZES)
def test_sendrecv(MPI: Any, comm: Any, size: int, record: Any) -> None:
    before, after = neighbours(comm)
    target = bytearray(size + 5)
    status = MPI.Status()
    comm.Sendrecv(values("B", size, comm.Get_rank()), after, 3, target, before, 3, status)
    assert target == values("B", size, before).tobytes() + bytes(5)
    record(target, status_fields(MPI, status))


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "nonblocking"])
def test_sendrecv_replace(MPI: Any, comm: Any, blocking: bool, record: Any) -> None:
    before, after = neighbours(comm)
    data = values("i", 1000, comm.Get_rank())
    if blocking:
        comm.Sendrecv_replace(data, after, 3, before, 3)
    else:
        comm.Isendrecv_replace(data, after, 3, before, 3).Wait()
    assert np.array_equal(data, values("i", 1000, before))
    record(data)


def test_isendrecv(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    target = np.zeros(10, "i")
    comm.Isendrecv(values("i", 10, comm.Get_rank()), after, 3, target, before, 3).Wait()
    record(target)


@everywhere
@pytest.mark.parametrize("code", ["i", "d", "h"])
def test_status_counts_by_datatype(MPI: Any, comm: Any, code: str, record: Any) -> None:
    before, after = neighbours(comm)
    target = np.zeros(20, code)
    status = MPI.Status()
    comm.Sendrecv(values(code, 7), after, 11, target, before, MPI.ANY_TAG, status)
    types = [MPI.BYTE, MPI.SHORT, MPI.INT, MPI.DOUBLE, MPI.DOUBLE_INT]
    record(target, [status_fields(MPI, status, datatype) for datatype in types])


@everywhere
def test_any_source_and_any_tag(MPI: Any, comm: Any, record: Any) -> None:
    rank, size = comm.Get_rank(), comm.Get_size()
    sends = [comm.Isend(np.array([rank, peer]), peer, 10 + rank) for peer in range(size)]
    seen = set()
    for _ in range(size):
        status = MPI.Status()
        target = np.zeros(2, int)
        comm.Recv(target, MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        assert status.Get_tag() == 10 + status.Get_source()
        seen.add((status.Get_source(), *target.tolist()))
    MPI.Request.Waitall(sends)
    assert seen == {(peer, peer, rank) for peer in range(size)}
    record(sorted(seen))


def test_messages_do_not_overtake(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    sizes = [1, 200_000, 0, 5, 70_000, 3]  # eager and rendezvous, mixed
    sends = [comm.Isend(values("B", size, number), after, 5) for number, size in enumerate(sizes)]
    for number, size in enumerate(sizes):
        target = bytearray(200_000)
        status = MPI.Status()
        comm.Recv(target, before, 5, status)
        assert status.Get_count() == size
        assert target[:size] == values("B", size, number).tobytes()
    MPI.Request.Waitall(sends)


def test_tags_select_out_of_order(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    sends = [comm.Isend(np.array([tag]), after, tag) for tag in range(8)]
    got = []
    for tag in (5, 0, 7, 3, 1, 6, 2, 4):
        target = np.zeros(1, int)
        comm.Recv(target, before, tag)
        got.append(int(target[0]))
    MPI.Request.Waitall(sends)
    assert got == [5, 0, 7, 3, 1, 6, 2, 4]
    record(got)


def test_receives_match_in_the_order_posted(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    targets = np.zeros((4, 1), "i")
    sources, tags = [MPI.ANY_SOURCE, before, before, MPI.ANY_SOURCE], [MPI.ANY_TAG, 2, MPI.ANY_TAG, 2]
    receives = [comm.Irecv(targets[n], sources[n], tags[n]) for n in range(4)]
    comm.Barrier()
    for number, tag in enumerate([2, 1, 2, 2]):
        comm.Send(np.array([number + 1], "i"), after, tag)
    MPI.Request.Waitall(receives)
    assert targets.ravel().tolist() == [1, 3, 2, 4]
    record(targets)


def test_communicators_do_not_mix(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    other = comm.Dup()
    sends = [comm.Isend(b"first", after, 1), other.Isend(b"other", after, 1)]
    targets = [bytearray(5), bytearray(5)]
    other.Recv(targets[0], before, 1)
    comm.Recv(targets[1], before, 1)
    MPI.Request.Waitall(sends)
    other.Free()
    assert targets == [b"other", b"first"]
    record(targets)


PROBES = ("Probe", "Iprobe", "Mprobe", "Improbe", "probe", "iprobe")


@everywhere
@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("wild", [True, False], ids=["wild", "named"])
@pytest.mark.parametrize("size", [0, 12, 300_000])
def test_probes(MPI: Any, comm: Any, name: str, wild: bool, size: int, record: Any) -> None:
    before, after = neighbours(comm)
    send = comm.Isend(values("B", size, comm.Get_rank()), after, 4)
    status = MPI.Status()
    found = None
    while not found:
        source, tag = (MPI.ANY_SOURCE, MPI.ANY_TAG) if wild else (before, 4)
        found = getattr(comm, name)(source, tag, status)
    target = bytearray(status.Get_count())
    received = MPI.Status()
    if isinstance(found, MPI.Message):
        found.Recv(target, received)
        assert found == MPI.MESSAGE_NULL
    else:
        comm.Recv(target, status.Get_source(), status.Get_tag(), received)
    send.Wait()
    assert target == values("B", size, before).tobytes()
    record(status_fields(MPI, status), status_fields(MPI, received))


@pytest.mark.parametrize("name", ["Iprobe", "Improbe", "iprobe", "improbe"])
def test_probe_finds_nothing(MPI: Any, comm: Any, name: str, record: Any) -> None:
    assert not getattr(comm, name)(MPI.ANY_SOURCE, MPI.ANY_TAG)
    record(getattr(comm, name)(MPI.ANY_SOURCE, 77))


def test_matched_message_is_out_of_reach(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    sends = [comm.isend(text, after, 1) for text in ("one", "two")]
    first = comm.mprobe(before, 1)
    second = comm.recv(source=before, tag=1)
    assert (first.recv(), second) == ("one", "two")
    MPI.Request.Waitall(sends)
    assert not comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)


def test_imrecv(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    send = comm.Isend(values("d", 9), after, 1)
    target = np.zeros(9)
    comm.Mprobe(before, 1).Irecv(target).Wait()
    send.Wait()
    record(target)


@pytest.mark.parametrize("call", ["Send", "Ssend", "Rsend", "Isend", "Issend", "Irsend", "send", "ssend", "isend"])
def test_send_to_nobody(MPI: Any, comm: Any, call: str, record: Any) -> None:
    request = getattr(comm, call)(b"x", MPI.PROC_NULL)
    if request is not None:
        request.Wait()
    record(request is None)


def test_receive_from_nobody(MPI: Any, comm: Any, record: Any) -> None:
    target, status = bytearray(b"keep"), MPI.Status()
    comm.Recv(target, MPI.PROC_NULL, 3, status)
    record(target, status_fields(MPI, status))
    comm.Irecv(target, MPI.PROC_NULL, 3).Wait(status)
    record(target, status_fields(MPI, status))
    comm.Probe(MPI.PROC_NULL, 3, status)
    record(status_fields(MPI, status))
    record(comm.recv(source=MPI.PROC_NULL, status=status), status_fields(MPI, status))
    message = comm.Mprobe(MPI.PROC_NULL, 3, status)
    assert message == MPI.MESSAGE_NO_PROC
    message.Recv(target, status)
    record(target, status_fields(MPI, status), comm.mprobe(MPI.PROC_NULL).recv())


@pytest.mark.parametrize("size", [8, 300_000])
@pytest.mark.parametrize("early", [True, False], ids=["posted", "unexpected"])
def test_truncation(MPI: Any, comm: Any, size: int, early: bool, record: Any) -> None:
    before, after = neighbours(comm)
    target = bytearray(size // 2)
    receive = comm.Irecv(target, before, 1) if early else None
    comm.Barrier()
    send = comm.Isend(values("B", size), after, 1)
    if receive is None:
        comm.Barrier()
        receive = comm.Irecv(target, before, 1)
    assert outcome(MPI, receive.Wait) == "ERR_TRUNCATE"
    send.Wait()
    comm.Sendrecv(b"after", after, 2, later := bytearray(5), before, 2)
    record(later)


def test_cancel_of_a_receive(MPI: Any, comm: Any, record: Any) -> None:
    target, status = bytearray(b"keep"), MPI.Status()
    request = comm.Irecv(target, MPI.ANY_SOURCE, 55)
    request.Cancel()
    request.Wait(status)
    assert status.Is_cancelled()
    record(target, request == MPI.REQUEST_NULL)


def test_cancel_after_the_match(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    target, status = bytearray(4), MPI.Status()
    request = comm.Irecv(target, before, 5)
    send = comm.Isend(b"data", after, 5)
    while not request.Get_status():
        pass
    request.Cancel()
    request.Wait(status)
    send.Wait()
    assert not status.Is_cancelled()
    record(target)


def test_synchronous_send_waits_for_the_receive(MPI: Any, comm: Any) -> None:
    before, after = neighbours(comm)
    send = comm.Issend(b"x", after, 1)
    assert not any(send.Test() for _ in range(20))
    comm.Barrier()
    comm.Recv(bytearray(1), before, 1)
    send.Wait()


@everywhere
@pytest.mark.parametrize("count", [0, 1, 40])
def test_persistent_requests(MPI: Any, comm: Any, mode: str, count: int, record: Any) -> None:
    before, after = neighbours(comm)
    source, target = np.zeros(count, "i"), np.zeros(count, "i")
    receive = comm.Recv_init(target, before, 6)
    send = getattr(comm, {"": "Send_init", "s": "Ssend_init", "b": "Bsend_init", "r": "Rsend_init"}[mode])(
        source, after, 6
    )
    for turn in range(3):
        source[:] = values("i", count, turn + comm.Get_rank())
        receive.Start()
        ready(comm, mode, (before, after))
        send.Start()
        MPI.Request.Waitall([send, receive])
        record(target)
    send.Free()
    receive.Free()
    assert send == MPI.REQUEST_NULL


def test_startall(MPI: Any, comm: Any, record: Any) -> None:
    before, after = neighbours(comm)
    sources, targets = values("d", 12).reshape(4, 3), np.zeros((4, 3))
    requests = [comm.Recv_init(targets[n], before, n) for n in range(4)]
    requests += [comm.Send_init(sources[n], after, n) for n in range(4)]
    for _ in range(2):
        MPI.Prequest.Startall(requests)
        MPI.Request.Waitall(requests)
    record(targets)
    for request in requests:
        request.Free()


@pytest.mark.parametrize("holder", ["process", "comm"])
def test_buffered_send_with_its_buffer(MPI: Any, comm: Any, holder: str, record: Any) -> None:
    before, after = neighbours(comm)
    owner = MPI if holder == "process" else comm
    buffer = bytearray(3 * (1000 + MPI.BSEND_OVERHEAD))
    owner.Attach_buffer(buffer)
    for number in range(3):
        comm.Bsend(values("B", 1000, number), after, number)
    targets = [bytearray(1000) for _ in range(3)]
    for number in (2, 0, 1):
        comm.Recv(targets[number], before, number)
    detached = owner.Detach_buffer()
    record(targets, len(detached))


def test_full_send_buffer(MPI: Any, comm: Any) -> None:
    MPI.Attach_buffer(bytearray(MPI.BSEND_OVERHEAD + 10))
    try:
        assert outcome(MPI, comm.Bsend, bytes(5000), comm.Get_rank(), 1) == "ERR_BUFFER"
    finally:
        MPI.Detach_buffer()


@pytest.mark.large
def test_more_than_two_gib(MPI: Any, comm: Any) -> None:
    count = (1 << 31) + 5
    if comm.Get_rank() == 0:
        data = np.zeros(count, "B")
        data[-1] = 7
        request = comm.Isend(data, comm.Get_size() - 1, 1)
    if comm.Get_rank() == comm.Get_size() - 1:
        target, status = np.zeros(count, "B"), MPI.Status()
        comm.Recv(target, 0, 1, status)
        assert (target[-1], status.Get_count()) == (7, count)
    if comm.Get_rank() == 0:
        request.Wait()
