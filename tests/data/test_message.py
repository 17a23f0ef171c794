"""Buffer specifications: forms, inference, and exceptions as mpi4py has them."""

from __future__ import annotations

import array

import numpy as np
import pytest

from fmi_mpi import constants as c
from fmi_mpi.constants import PROC_NULL
from fmi_mpi.data import constructors as make
from fmi_mpi.data.buffers import address_of
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.data.message import (
    is_in_place,
    message_block,
    message_of,
    message_recv,
    message_send,
    message_vector,
    message_w,
)
from fmi_mpi.data.predefined import simple
from fmi_mpi.data.special import BOTTOM, IN_PLACE, BottomType, InPlaceType
from fmi_mpi.data.target import rma_target
from fmi_mpi.errors import MPIError


class Holder(TypeHolder):
    """Stands for the API's Datatype."""

    def __init__(self, datatype: Type | None, ready: bool = True) -> None:
        self._handle = datatype
        if datatype is not None and ready:
            datatype.ready = True


INT = Holder(simple("INT"))
NULL = Holder(None)
VECTOR = Holder(make.vector(simple("INT"), 2, 1, 2))
WIDE = Holder(make.resized(simple("INT"), 0, 8))
NO_EXTENT = Holder(make.resized(simple("INT"), 0, 0))
NEGATIVE = Holder(make.resized(simple("INT"), 0, -4))
BACKWARDS = Holder(make.hindexed(simple("INT"), [1, 1], [8, 0]))
NOTHING = Holder(make.contiguous(simple("INT"), 0))
B = bytes(range(16))


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (B, B),
        (bytearray(B), B),
        (memoryview(B), B),
        (memoryview(B).cast("i", (2, 2)), B),
        (array.array("h", [1, 2]), b"\1\0\2\0"),
        (np.arange(3, dtype="i2"), b"\0\0\1\0\2\0"),
        (np.array(7, "i4"), b"\7\0\0\0"),
        (np.int16(3), b"\3\0"),
        (np.zeros(0), b""),
        (np.zeros((3, 0)), b""),
        (np.arange(6, dtype="i1").reshape(2, 3).T, bytes(range(6))),
        (np.ones(1, "D"), np.ones(1, "D").tobytes()),
        (np.ones(1, "g"), np.ones(1, "g").tobytes()),
        ([B, None], B),
        ([B, None, None], B),
        ([B, 3], B[:3]),
        ((B, INT), B),
        ([B, "i"], B),
        ([B, 3, INT], B[:12]),
        ([B, np.int64(1), INT], B[:4]),
        ([B, np.array(1), INT], B[:4]),
        ([B, True, INT], B[:4]),
        ([B, (1, 1), INT], B[4:8]),
        ([B, [1, 1], INT], B[4:8]),
        ([B, 1, 1, INT], B[4:8]),
        ([B, 1, None, INT], B[:4]),
        ([B, None, 1, INT], B[4:]),
        ([B, (None, 4), INT], b""),
        ([B, 1, VECTOR], B[:4] + B[8:12]),
        ([B, WIDE], B[:4] + B[8:12]),
        ([B, (1, 1), WIDE], B[8:12]),
        ([B, 1, BACKWARDS], B[8:12] + B[:4]),
        ([B, 1, NO_EXTENT], B[:4]),
        ([B, 1, NEGATIVE], B[:4]),
        ([B, 3, NOTHING], b""),
        ([B, 0, NULL], b""),
        ([None, INT], b""),
        ([None, "B"], b""),
        ([None, 0, INT], b""),
        ([None, None, INT], b""),
        ([None, (0, 0), INT], b""),
        ([None, 0, NULL], b""),
        ([BOTTOM, INT], b""),
        ([BOTTOM, 0, INT], b""),
        (IN_PLACE, b""),
        ([array.array("i", [1, 2]), 1], b"\1\0\0\0"),
        ([np.zeros(2, ">i4"), INT], bytes(8)),
    ],
)
def test_the_data_of_a_specification(spec, data):
    message = message_send(spec)
    assert message.payload() == data
    assert message.nbytes == len(data)
    assert message.count * message.datatype.size == len(data)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (None, TypeError),
        (1, TypeError),
        ("abc", TypeError),
        (object, TypeError),
        ({1: 2}, TypeError),
        ([], ValueError),
        ((), ValueError),
        ([B], ValueError),
        ([None], ValueError),
        ([B, 1, 1, INT, 0], ValueError),
        ([[1, 2], INT], TypeError),
        ([None, None], KeyError),
        ([None, 0], KeyError),
        (BOTTOM, KeyError),
        ([BOTTOM, 0], KeyError),
        ([None, 1, INT], ValueError),
        ([None, (0, 1), INT], ValueError),
        ([B, "zz"], KeyError),
        ([B, "<i"], KeyError),
        ([B, 1, 1], KeyError),
        ([B, INT, 1], KeyError),
        ([B, -1], ValueError),
        ([B, -1, INT], ValueError),
        ([B, (1, -1), INT], ValueError),
        ([B, (0, 5), INT], ValueError),
        ([B, (None, 5), INT], ValueError),
        ([B, 5, INT], ValueError),
        ([B, (1, 4), INT], ValueError),
        ([B, (1,), INT], ValueError),
        ([B, (1, 1, 1), INT], ValueError),
        ([B, (1, 1), 1, INT], TypeError),
        ([B, 1.0, INT], TypeError),
        ([B, "1", INT], TypeError),
        ([B, {}], TypeError),
        ([B, np.array([1.5]), INT], TypeError),
        ([B, NULL], ValueError),
        ([B, (0, 1), NULL], ValueError),
        ([B, VECTOR], ValueError),
        ([B, NO_EXTENT], ValueError),
        ([B, NEGATIVE], ValueError),
        ([B, (1, 1), NEGATIVE], ValueError),
        ([B, NOTHING], ValueError),
        (np.zeros(2, ">i4"), BufferError),
        (np.zeros((3, 2))[:, 0], BufferError),
        ([np.zeros((3, 2))[:, 0], INT], BufferError),
        (np.arange(3)[::-1], BufferError),
        (memoryview(B)[::2], BufferError),
        (np.zeros(2, "i4,f8"), KeyError),
        (np.zeros(2, "O"), KeyError),
        (np.zeros(2, "S3"), KeyError),
        (np.zeros(2, "V4"), KeyError),
    ],
)
def test_what_is_not_a_specification(spec, error):
    with pytest.raises(error):
        message_send(spec)


@pytest.mark.parametrize(
    ("spec", "error"),
    [([B, 1, NULL], c.ERR_TYPE), ([BOTTOM, 1, INT], c.ERR_BUFFER), ([BOTTOM, 0, 0, Holder(None)], None)],
)
def test_what_mpi_itself_refuses(spec, error):
    if error is None:
        assert message_send(spec).nbytes == 0
        return
    with pytest.raises(MPIError) as caught:
        message_send(spec)
    assert caught.value.error_class == error


def test_a_type_must_be_committed():
    made = make.vector(simple("INT"), 2, 1, 2)
    with pytest.raises(MPIError, match="Commit") as caught:
        message_send([B, 1, Holder(made, ready=False)])
    assert caught.value.error_class == c.ERR_TYPE


@pytest.mark.parametrize(
    "spec", [B, memoryview(B), np.frombuffer(B), np.broadcast_to(np.zeros(1), (1,)), np.float64(1)]
)
def test_read_only_memory_is_not_received_into(spec):
    message_send(spec)
    with pytest.raises(BufferError):
        message_recv(spec)


@pytest.mark.parametrize("spec", [None, "junk", [1, 2, 3, 4, 5]])
def test_to_nobody_anything_is_nothing(spec):
    assert message_send(spec, PROC_NULL).nbytes == 0
    assert message_recv(spec, PROC_NULL).sink() == (b"", None)


def test_gap_free_data_is_not_copied():
    buf = np.zeros(8, "i4")
    for spec in (buf, [buf, INT], [buf, (4, 4), INT], [buf.T, "i"], [bytearray(32), 8, INT]):
        message = message_send(spec)
        view, finish = message_recv(spec).sink()
        assert finish is None
        assert address_of(message.payload()) == address_of(view)


def test_one_element_that_happens_to_be_gap_free_is_not_copied():
    row = Holder(make.subarray(simple("INT"), [4, 4], [1, 4], [2, 0], c.ORDER_C))
    buf = np.arange(16, dtype="i4")
    payload = message_send([buf, 1, row]).payload()
    assert payload == buf[8:12].tobytes()
    assert address_of(payload) == buf[8:].ctypes.data


def test_received_data_is_spread_into_its_layout():
    buf = np.full(8, -1, "i4")
    view, finish = message_recv([buf, 2, Holder(make.resized(VECTOR._handle, 0, 16))]).sink()
    view[:] = np.arange(4, dtype="i4").tobytes()
    finish(16)
    assert buf.tolist() == [0, -1, 1, -1, 2, -1, 3, -1]


def test_a_short_message_leaves_the_rest_alone():
    buf = np.full(8, -1, "i4")
    view, finish = message_recv([buf, 2, Holder(make.resized(VECTOR._handle, 0, 16))]).sink()
    view[:] = bytes(16)
    finish(6)
    assert buf.tolist() == [0, -1, -1 & ~0xFFFF, -1, -1, -1, -1, -1]


def test_a_column_may_begin_in_a_slice_of_one_row():
    array_ = np.arange(12, dtype="i4").reshape(3, 4)
    column = Holder(make.vector(simple("INT"), 3, 1, 4))
    assert message_send([array_[0, 1:], 1, column]).payload() == array_[:, 1].tobytes()
    view, finish = message_recv([array_[0, 2:], 1, column]).sink()
    view[:] = np.array([7, 8, 9], "i4").tobytes()
    finish(12)
    assert array_[:, 2].tolist() == [7, 8, 9]


def test_a_layout_may_reach_below_its_address():
    buf = np.arange(4, dtype="i4")
    before = Holder(make.hindexed(simple("INT"), [1, 1], [-4, 4]))
    assert message_send([buf[1:], 1, before]).payload() == buf[[0, 2]].tobytes()
    assert message_send([buf, (1, 1), Holder(make.resized(before._handle, 0, 4))]).payload() == buf[[0, 2]].tobytes()


def test_bottom_takes_absolute_addresses():
    source, target = bytearray(b"abcxyz"), bytearray(6)
    char = simple("CHAR")
    at = [address_of(memoryview(buf)) for buf in (source, target)]
    sending, receiving = (Holder(make.struct([2, 2], [address, address + 4], [char, char])) for address in at)
    data = message_send([BOTTOM, 1, sending]).payload()
    assert data == b"abyz"
    view, finish = message_recv([BottomType(), 1, receiving]).sink()
    view[:] = data
    finish(4)
    assert target == b"ab\0\0yz"


@pytest.mark.parametrize("spec", [IN_PLACE, None, InPlaceType(), [IN_PLACE, 2, INT], (IN_PLACE, "i")])
def test_in_place_is_recognised_in_every_form(spec):
    assert is_in_place(spec)


@pytest.mark.parametrize("spec", [B, [B, INT], [], np.zeros(2), -1, [None, 0, INT]])
def test_other_things_are_not_in_place(spec):
    assert not is_in_place(spec)


# -- blocks ------------------------------------------------------------------------------------------------------------

B24 = bytes(range(24))


@pytest.mark.parametrize(
    ("spec", "first", "last"),
    [
        (B24, B24[:8], B24[16:]),
        ([B24, INT], B24[:8], B24[16:]),
        ([B24, 1, INT], B24[:4], B24[8:12]),
        ([B24, (1, 2), INT], B24[8:12], B24[16:20]),
        ([B24, WIDE], B24[:4], B24[16:20]),
        ([None, INT], b"", b""),
        ([None, 0, INT], b"", b""),
        (np.arange(6, dtype="i4").reshape(2, 3), b"\0\0\0\0\1\0\0\0", b"\4\0\0\0\5\0\0\0"),
    ],
)
def test_blocks(spec, first, last):
    pieces = message_block(spec, False, 3)
    data = pieces.payloads()
    assert (len(data), data[0], data[2]) == (3, first, last)
    assert pieces.payload() == b"".join(data)
    assert [message.nbytes for message in pieces.messages] == [len(first)] * 3


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (bytes(13), ValueError),
        ([bytes(20), INT], ValueError),
        ([B24, (None, 1), INT], ValueError),
        ([B24, 3, INT], ValueError),
        ([None, 2, INT], ValueError),
        ([B24, NO_EXTENT], ValueError),
        (None, TypeError),
    ],
)
def test_blocks_that_cannot_be(spec, error):
    with pytest.raises(error):
        message_block(spec, False, 3)


def test_gap_free_blocks_are_one_piece_of_memory():
    buf = np.zeros(6, "i4")
    pieces = message_block(buf, True, 3)
    view, finish = pieces.sink()
    assert (view.nbytes, finish) == (24, None)
    assert address_of(view) == buf.ctypes.data
    assert [address_of(sink) for sink in pieces.sinks()[0]] == [buf.ctypes.data + 8 * i for i in range(3)]


def test_blocks_with_gaps_are_received_together_and_spread():
    buf = np.full(6, -1, "i4")
    view, finish = message_block([buf, WIDE], True, 3).sink()
    view[:] = np.array([1, 2, 3], "i4").tobytes()
    finish()
    assert buf.tolist() == [1, -1, 2, -1, 3, -1]


# -- vectors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (B24, [B24[:12], B24[12:]]),
        (bytes(range(5)), [bytes([0, 1, 2]), bytes([3, 4])]),
        ([B24, INT], [B24[:12], B24[12:]]),
        ([B24[:20], INT], [B24[:12], B24[12:20]]),
        ([B24, [1, 2], INT], [B24[:4], B24[4:12]]),
        ([B24, ([1, 1], [0, 3]), INT], [B24[:4], B24[12:16]]),
        ([B24, [1, 1], [0, 3], INT], [B24[:4], B24[12:16]]),
        ([B24, ([1, 1], None), INT], [B24[:4], B24[4:8]]),
        ([B24, ([1, 1], 0), INT], [B24[:4], B24[:4]]),
        ([B24, 1, 3, INT], [B24[:4], B24[12:16]]),
        ([B24, 1, INT], [B24[:4], B24[4:8]]),
        ([B24, (1, [0, 3]), INT], [B24[:4], B24[12:16]]),
        ([B24, None, [0, 3], INT], [B24[:12], B24[12:]]),
        ([B24, (None, None), INT], [B24[:12], B24[12:]]),
        ([B24, np.array([2, 1]), INT], [B24[:8], B24[8:12]]),
        ([B24, array.array("i", [1, 1])], [B24[:1], B24[1:2]]),
        ([B24, 0, 1, INT], [b"", b""]),
        ([B24, (np.int64(1), np.array(1)), INT], [B24[:4], B24[4:8]]),
        ([B24, 1, NO_EXTENT], [B24[:4], B24[:4]]),
        ([B24, [1, 1], VECTOR], [B24[:4] + B24[8:12], B24[12:16] + B24[20:24]]),
        ([None, 0, INT], [b"", b""]),
        ([None, [0, 0], INT], [b"", b""]),
        ([None, (0, None), INT], [b"", b""]),
        ([None, ([0, 0], [1, 1]), INT], [b"", b""]),
        ([None, INT], [b"", b""]),
        ([BOTTOM, 0, [0, 0], "B"], [b"", b""]),
    ],
)
def test_vectors(spec, data):
    pieces = message_vector(spec, False, 2)
    assert pieces.payloads() == data
    assert pieces.payload() == b"".join(data)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ([B24], ValueError),
        ([B24, 1, 1, INT, 0], ValueError),
        ([B24, [1], INT], ValueError),
        ([B24, [1, 1, 1], INT], ValueError),
        ([B24, [1, 1], [0], INT], ValueError),
        ([B24, (1, 1, 1), INT], ValueError),
        ([B24, (), INT], ValueError),
        ([B24, [[1, 1], [0, 1]], INT], TypeError),
        ([B24, [1, None], INT], TypeError),
        ([B24, [1.0, 1.0], INT], TypeError),
        ([B24, np.array([1.0, 1.0]), INT], TypeError),
        ([B24, 1.5, INT], TypeError),
        ([B24, "11", INT], TypeError),
        ([B24, "zz"], KeyError),
        ([None, 0], KeyError),
        ([B24, 0, [0, 0], "\0"], KeyError),
        ([B24, None, [0, 0], NULL], ValueError),
        ([B24[:5], None, [0, 0], INT], ValueError),
        ([B24, None, [0, 0], NEGATIVE], ValueError),
        ([B24, NO_EXTENT], ValueError),
        ([B24, [9, 9], INT], ValueError),
        ([[1, 2], 0, 0, INT], TypeError),
        (None, TypeError),
        (object, TypeError),
        ([B24, [-1, 1], INT], MPIError),
        ([None, [1, 0], INT], MPIError),
    ],
)
def test_vectors_that_cannot_be(spec, error):
    with pytest.raises(error):
        message_vector(spec, False, 2)


# -- w -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        ([B24, [INT, INT]], [B24[:4], B24[:4]]),
        ([B24, None, None, [INT, INT]], [B24[:4], B24[:4]]),
        ([B24, (None, None), (INT, INT)], [B24[:4], B24[:4]]),
        ([B24, [1, 2], [0, 5], [INT, INT]], [B24[:4], B24[5:13]]),
        ([B24, ([1, 2], [0, 5]), [INT, INT]], [B24[:4], B24[5:13]]),
        ([B24, [1, 1], [0, 4], [INT, VECTOR]], [B24[:4], B24[4:8] + B24[12:16]]),
        ([B24, [1, 0], [0, 4], [INT, NULL]], [B24[:4], b""]),
        ([None, [0, 0], [0, 0], [INT, INT]], [b"", b""]),
        ([BOTTOM, [0, 0], [0, 0], [INT, INT]], [b"", b""]),
    ],
)
def test_w(spec, data):
    assert message_w(spec, False, 2).payloads() == data


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (B24, ValueError),
        (None, TypeError),
        ([B24], ValueError),
        ([B24, [0, 0], [0, 0], [INT, INT], None], ValueError),
        ([B24, 1, 0, [INT, INT]], TypeError),
        ([B24, None, [0, 4], [INT, INT]], TypeError),
        ([B24, [1, 1], None, [INT, INT]], TypeError),
        ([B24, [1, 1], [0, 4], INT], TypeError),
        ([B24, [1, 1], [0, 4], ["i", "i"]], TypeError),
        ([B24, [1, 1], [0, 4], [INT, None]], TypeError),
        ([B24, INT], TypeError),
        ([B24, [INT]], ValueError),
        ([B24, [INT, INT, INT]], ValueError),
        ([B24, [1], [0, 4], [INT, INT]], ValueError),
        ([None, [INT, INT]], ValueError),
        ([BOTTOM, None, None, [INT, INT]], ValueError),
        ([BOTTOM, None, [0, 0], [INT, INT]], ValueError),
        ([BOTTOM, [0, 0], None, [INT, INT]], ValueError),
        ([None, [1, 1], [0, 0], [INT, INT]], MPIError),
    ],
)
def test_w_that_cannot_be(spec, error):
    with pytest.raises(error):
        message_w(spec, False, 2)


# -- others ------------------------------------------------------------------------------------------------------------


def test_all_whole_elements_of_memory():
    assert message_of(memoryview(B24), simple("INT")).count == 6
    assert message_of(memoryview(B24[:17]), simple("INT")).count == 4
    assert message_of(memoryview(B24), VECTOR._handle).count == 2
    assert message_of(memoryview(B24), NO_EXTENT._handle).count == 0


ORIGIN = message_send([B24, 2, INT])


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        (None, (0, 2, INT)),
        (4, (4, 2, INT)),
        (np.array(4), (4, 2, INT)),
        ([], (0, 2, INT)),
        ((4,), (4, 2, INT)),
        ([1, 3], (1, 3, INT)),
        ([1, 3, "d"], (1, 3, Holder(simple("DOUBLE")))),
        ([1, 3, VECTOR], (1, 3, VECTOR)),
    ],
)
def test_targets(spec, target):
    assert rma_target(spec, ORIGIN) == (*target[:2], target[2]._handle)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ([0, 2, INT, 3], ValueError),
        ({1: 2}, ValueError),
        ("a", ValueError),
        (1.5, ValueError),
        ([1.5], TypeError),
        ([None], TypeError),
        ([0, None, INT], TypeError),
        ([0, 1, None], KeyError),
        ([0, 1, "zz"], KeyError),
        ([0, -1], MPIError),
        ([0, 1, NULL], MPIError),
    ],
)
def test_targets_that_cannot_be(spec, error):
    with pytest.raises(error):
        rma_target(spec, ORIGIN)
