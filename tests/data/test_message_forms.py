"""The forms of buffer specifications, with what mpi4py 4.1.2 makes of them or raises."""

from __future__ import annotations

import array
import collections
from typing import Any

import numpy as np
import pytest

from fmi_mpi.constants import ERR_BUFFER, ERR_COUNT, ERR_TYPE
from fmi_mpi.data.constructors import hindexed, vector
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.data.message import message_block, message_recv, message_send, message_vector, message_w
from fmi_mpi.data.predefined import TYPES
from fmi_mpi.data.special import BOTTOM, IN_PLACE
from fmi_mpi.errors import MPIError

DATA = bytes(range(40))


class Holder(TypeHolder):
    """What the API's Datatype is to the data layer."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Type | None) -> None:
        self._handle = handle


def named(name: str) -> Holder:
    return Holder(TYPES[name])


def committed(datatype: Type) -> Holder:
    datatype.ready = True
    return Holder(datatype)


def element(name: str) -> Type:
    found = TYPES[name]
    assert found is not None
    return found


INT, BYTE, NULL = named("INT"), named("BYTE"), Holder(None)


class ListOfUser(list):  # type: ignore[type-arg]
    """A subclass counts as a list."""


# -- one message -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((None,), DATA),
        (("i",), DATA),
        ((INT,), DATA),
        ((3,), DATA[:3]),
        ((True,), DATA[:1]),
        ((np.int64(3),), DATA[:3]),
        ((np.array(3),), DATA[:3]),
        (((3, 1),), DATA[1:4]),
        (([3, 1],), DATA[1:4]),
        (((None, 38),), DATA[38:]),
        ((3, INT), DATA[:12]),
        (((3, 1), "i"), DATA[4:16]),
        ((None, "i"), DATA),
        ((None, None), DATA),
        ((3, None), DATA[:3]),
        ((3, 1, "i"), DATA[4:16]),
        ((None, 2, "i"), DATA[8:]),
        ((None, 10, "i"), b""),
        ((0, 10, "i"), b""),
        ((None, None, None), DATA),
        ((0, NULL), b""),
    ],
)
@pytest.mark.parametrize("kind", [list, tuple, ListOfUser])
def test_form(parts: tuple[Any, ...], expected: bytes, kind: Any) -> None:
    message = message_send(kind([bytearray(DATA), *parts]))
    assert bytes(message.payload()) == expected
    assert message.nbytes == len(expected)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (None, TypeError),
        ([], ValueError),
        ([DATA], ValueError),
        ([DATA, 1, 2, 3, 4], ValueError),
        ([DATA, (1, 2, 3), "i"], ValueError),
        ([DATA, (1,), "i"], ValueError),
        ([DATA, None, 11, "i"], ValueError),
        ([DATA, 0, 11, "i"], ValueError),
        ([DATA, 1, -1, "i"], ValueError),
        ([DATA, -1, "i"], ValueError),
        ([DATA[:39], "i"], ValueError),
        ([DATA[:39], None, 1, "i"], ValueError),
        ([DATA, "zz"], KeyError),
        ([DATA, 5, 5], KeyError),
        ([DATA, "i", 3], KeyError),
        ([DATA, 3.0], TypeError),
        ([DATA, 3.0, "i"], TypeError),
        ([DATA, np.array([3])], TypeError),
        ([DATA, INT, "i"], TypeError),
        ([DATA, {}, "i"], TypeError),
        ([None, 0], KeyError),
        ([None, None], KeyError),
        ([None, 1, "i"], ValueError),
        ([None, 0, 1, "i"], ValueError),
        (BOTTOM, KeyError),
        ([BOTTOM, 1], KeyError),
        ([DATA, NULL], ValueError),
        ([DATA, 0, 1, NULL], ValueError),
        ([DATA, None, NULL], ValueError),
        ("abc", TypeError),
        (["abc", 3], TypeError),
        ([3, 3], TypeError),
        ([[DATA], 3, "i"], TypeError),
        (5, TypeError),
        (object, TypeError),
        (collections.deque([DATA, "i"]), TypeError),
        (memoryview(DATA)[::2], BufferError),
        (np.zeros((3, 4))[:, :2], BufferError),
        (np.zeros((3, 4, 5)).transpose(0, 2, 1), BufferError),
        (np.zeros(3, np.dtype("i4").newbyteorder()), BufferError),
        (np.zeros(3, "S5"), KeyError),
        (np.zeros(3, "V4"), KeyError),
        (np.zeros(3, [("a", "i4"), ("b", "f8")]), KeyError),
        (np.zeros(3, "O"), KeyError),
    ],
)
def test_refused(spec: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        message_send(spec)


@pytest.mark.parametrize("spec", [[None, "i"], [None, 0, "i"], [None, (0, None), "i"], [BOTTOM, "i"], [IN_PLACE, "i"]])
def test_nothing(spec: Any) -> None:
    assert message_send(spec).nbytes == 0
    view, finish = message_recv(spec).sink()
    assert len(view) == 0
    assert finish is None


def test_count_of_null_datatype() -> None:
    with pytest.raises(MPIError) as caught:
        message_send([DATA, 3, NULL])
    assert caught.value.error_class == ERR_TYPE


@pytest.mark.parametrize(
    "buf",
    [
        np.arange(12.0),
        np.arange(12.0).reshape(3, 4),
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12, dtype="F"),
        np.arange(12, dtype="g"),
        np.array(3.0),
        np.zeros((3, 0)),
        np.zeros((4, 0))[::2],
        np.array(["a", "b"], "S1"),
        np.array(["a", "b"], "U1"),
        array.array("u", "abc"),
        array.array("q", [1, 2]),
        memoryview(DATA).cast("l"),
        bytearray(DATA),
        b"",
    ],
    ids=repr,
)
def test_buffer_alone(buf: Any) -> None:
    message = message_send(buf)
    expected = buf if isinstance(buf, bytes) else np.asarray(buf).tobytes("A")
    assert bytes(message.payload()) == expected
    assert message.count * message.datatype.size == len(expected)
    assert bytes(message_send([buf, BYTE]).payload()) == expected


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("code", ["d", "F", "?"])
def test_payload_and_sink_are_the_array(shape: tuple[int, ...], order: Any, code: str) -> None:
    buf = np.zeros(shape, code, order)
    view, finish = message_recv(buf).sink()
    assert finish is None
    view[:] = b"\1" * len(view)
    assert buf.tobytes() == b"\1" * buf.nbytes
    assert bytes(message_send(buf).payload()) == b"\1" * buf.nbytes


def read_only_array() -> Any:
    found = np.zeros(3)
    found.flags.writeable = False
    return found


@pytest.mark.parametrize("buf", [b"abc", memoryview(b"abc"), read_only_array(), read_only_array().astype("D").T])
def test_read_only_memory_is_not_received_into(buf: Any) -> None:
    if isinstance(buf, np.ndarray):
        buf.flags.writeable = False
    with pytest.raises(BufferError):
        message_recv(buf)
    with pytest.raises(BufferError):
        message_recv([buf, BYTE])
    assert message_send(buf).nbytes


# -- layouts ---------------------------------------------------------------------------------------------------------


def test_column_from_a_slice_of_its_first_row() -> None:
    grid = np.arange(12, dtype="i").reshape(3, 4)
    column = committed(vector(element("INT"), 3, 1, 4))
    assert np.frombuffer(message_send([grid[0, 1:2], 1, column]).payload(), "i").tolist() == [1, 5, 9]
    packed, finish = message_recv([grid[0, 3:], 1, column]).sink()
    packed[:] = np.array([-1, -2, -3], "i").tobytes()
    assert finish is not None
    finish(8)
    assert grid[:, 3].tolist() == [-1, -2, 11]


def test_layout_below_the_address() -> None:
    values = np.arange(6, dtype="i")
    around = committed(hindexed(element("INT"), [1, 1], [-4, 4]))
    assert np.frombuffer(message_send([values[2:], 1, around]).payload(), "i").tolist() == [1, 3]


def test_absolute_addresses() -> None:
    values = np.arange(6, dtype="i")
    absolute = committed(hindexed(element("INT"), [2], [values.ctypes.data + 8]))
    assert np.frombuffer(message_send([BOTTOM, 1, absolute]).payload(), "i").tolist() == [2, 3]
    with pytest.raises(MPIError) as caught:
        message_send([BOTTOM, 1, INT])
    assert caught.value.error_class == ERR_BUFFER


# -- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("i",), [DATA[:20], DATA[20:]]),
        ((1, "i"), [DATA[:4], DATA[4:8]]),
        ((4,), [DATA[:4], DATA[4:8]]),
        ((None, 2, "i"), [DATA[8:24], DATA[24:]]),
        ((1, 2, "i"), [DATA[8:12], DATA[12:16]]),
    ],
)
def test_blocks(parts: tuple[Any, ...], expected: list[bytes]) -> None:
    pieces = message_block([DATA, *parts], False, 2)
    assert [bytes(view) for view in pieces.payloads()] == expected
    assert bytes(pieces.payload()) == b"".join(expected)


@pytest.mark.parametrize("parts", [("i",), (None, 1, "i")])
def test_blocks_that_do_not_divide(parts: tuple[Any, ...]) -> None:
    length = 12 if len(parts) == 1 else 16
    with pytest.raises(ValueError, match="cannot infer count"):
        message_block([DATA[:length], *parts], False, 2)


# -- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((2,), [DATA[:2], DATA[2:4]]),
        (([2, 3],), [DATA[:2], DATA[2:5]]),
        ((range(2, 4),), [DATA[:2], DATA[2:5]]),
        ((b"\2\3",), [DATA[:2], DATA[2:5]]),
        ((np.array([2, 3]),), [DATA[:2], DATA[2:5]]),
        (("i",), [DATA[:20], DATA[20:]]),
        ((None,), [DATA[:20], DATA[20:]]),
        (((2, None),), [DATA[:2], DATA[2:4]]),
        (((2, 5),), [DATA[:2], DATA[5:7]]),
        ((2, 5, "B"), [DATA[:2], DATA[5:7]]),
        (([2, 3], 4, "B"), [DATA[:2], DATA[4:7]]),
        (((2, [3, 1]),), [DATA[3:5], DATA[1:3]]),
        (([1, 2], [3, 1], "i"), [DATA[12:16], DATA[4:12]]),
    ],
)
def test_vector(parts: tuple[Any, ...], expected: list[bytes]) -> None:
    pieces = message_vector([DATA, *parts], False, 2)
    assert [bytes(view) for view in pieces.payloads()] == expected


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ([DATA], ValueError),
        ([DATA, [3], "B"], ValueError),
        ([DATA, [], "B"], ValueError),
        ([DATA, 3, [1], "B"], ValueError),
        ([DATA, (3,), "B"], ValueError),
        ([DATA, (3, 4, 5), "B"], ValueError),
        ([DATA[:15], "i"], ValueError),
        ([DATA, NULL], ValueError),
        ([DATA, 3.0, "B"], TypeError),
        ([DATA, [3.0, 3.0], "B"], TypeError),
        ([DATA, np.array([3.0, 3.0])], TypeError),
        ([DATA, "33", "B"], TypeError),
        ([DATA, iter([3, 3]), "B"], TypeError),
        ([DATA, "3"], KeyError),
        ([None, 0], KeyError),
        (BOTTOM, KeyError),
        (object, TypeError),
    ],
)
def test_vector_refused(spec: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        message_vector(spec, False, 2)


@pytest.mark.parametrize(
    ("spec", "error_class"),
    [([DATA, -1, "B"], ERR_COUNT), ([None, 1, "i"], ERR_BUFFER), ([DATA, 3, NULL], ERR_TYPE)],
)
def test_vector_refused_by_mpi(spec: Any, error_class: int) -> None:
    with pytest.raises(MPIError) as caught:
        message_vector(spec, False, 2)
    assert caught.value.error_class == error_class


# -- a type for each -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (([3, 1], [0, 4], [BYTE, INT]), [DATA[:3], DATA[4:8]]),
        ((([3, 1], [0, 4]), (BYTE, INT)), [DATA[:3], DATA[4:8]]),
        (((None, None), [BYTE, INT]), [DATA[:1], DATA[:4]]),
        (([BYTE, INT],), [DATA[:1], DATA[:4]]),
    ],
)
def test_w(parts: tuple[Any, ...], expected: list[bytes]) -> None:
    pieces = message_w([DATA, *parts], False, 2)
    assert [bytes(view) for view in pieces.payloads()] == expected


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ([DATA], ValueError),
        ([DATA, 1, 2, 3, 4], ValueError),
        ([DATA, [INT]], ValueError),
        ([DATA, [1], [0, 0], [INT, INT]], ValueError),
        ([DATA, [1, 1], [0, 0], [INT, INT, INT]], ValueError),
        ([BOTTOM, [INT, INT]], ValueError),
        ([BOTTOM, None, [0, 0], [INT, INT]], ValueError),
        ([BOTTOM, [0, 0], None, [INT, INT]], ValueError),
        ([DATA, 3, 0, [INT, INT]], TypeError),
        ([DATA, [1, 1], [INT, INT]], TypeError),
        ([DATA, INT], TypeError),
        ([DATA, ["B", "B"]], TypeError),
        ([DATA, [1, 1], [0, 0], None], TypeError),
        ([DATA, [1.0, 1], [0, 0], [INT, INT]], TypeError),
        ([DATA, None, [0, 0], [INT, INT]], TypeError),
        ([object, [1, 1], [0, 0], [INT, INT]], TypeError),
    ],
)
def test_w_refused(spec: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        message_w(spec, False, 2)
