"""Pickled messages: settings, parts, and memory that is not copied."""

from __future__ import annotations

import json
import marshal
import pickle as python_pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmi_mpi.data.pickling import Pickle, dumps_parts, loads_message, pickle
from fmi_mpi.engine.frames import FLAG_OUT_OF_BAND

KiB = 1 << 10
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def defaults():
    yield
    pickle.__init__()


def sent(obj, writable=True):
    """Return the object of a message that arrives in one piece of memory, and that memory."""
    parts, flags = dumps_parts(obj)
    memory = (bytearray if writable else bytes)(b"".join(parts))
    return loads_message(memoryview(memory), flags), memory


@given(values)
def test_objects_arrive(obj):
    assert sent(obj)[0] == obj


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5, -1, None])
def test_every_protocol(protocol):
    pickle.__init__(protocol=protocol)
    large = np.arange(100_000.0)
    obj, _ = sent({"a": (1, "b"), "large": large})
    assert obj["a"] == (1, "b")
    assert (obj["large"] == large).all()


@pytest.mark.parametrize("obj", [1, {"a": [1, 2]}, np.zeros(4), bytes(10)])
def test_small_messages_are_exactly_the_pickle(obj):
    parts, flags = dumps_parts(obj)
    assert (len(parts), flags) == (1, 0)
    assert parts[0] == python_pickle.dumps(obj, 5)


def test_large_arrays_are_sent_from_where_they_are():
    array = np.arange(64 * KiB, dtype="i8")
    parts, flags = dumps_parts([1, array])
    assert flags == FLAG_OUT_OF_BAND
    assert max(parts, key=len).obj is not None
    array[5] = -1
    assert np.frombuffer(max(parts, key=len), "i8")[5] == -1


def test_large_arrays_live_in_the_message_and_can_be_written():
    first, second = np.arange(64 * KiB, dtype="i8"), np.ones((100, 1000), order="F")
    (one, other, small), memory = sent((first, second, np.arange(3)))
    assert (one == first).all()
    assert (other == second).all()
    assert small.tolist() == [0, 1, 2]
    assert one.flags.writeable
    before = bytes(memory)
    one[0] = 77
    assert bytes(memory) != before
    assert one.ctypes.data % 64 == np.frombuffer(memory, "u1").ctypes.data % 64


def test_lengths_are_little_endian_and_parts_aligned():
    array = np.ones(300 * KiB, "u1")
    parts, _ = dumps_parts(array)
    message = b"".join(parts)
    assert int.from_bytes(message[:8], "little") == 1
    lengths = [int.from_bytes(message[8 + 8 * i : 16 + 8 * i], "little") for i in range(2)]
    assert lengths[1] == 300 * KiB
    assert len(message) == 64 + lengths[0] + -lengths[0] % 64 + lengths[1]
    back = python_pickle.loads(message[64 : 64 + lengths[0]], buffers=[message[-lengths[1] :]])
    assert (back == array).all()


def test_threshold():
    pickle.__init__(threshold=16)
    assert pickle.THRESHOLD == 16
    assert dumps_parts(np.zeros(2))[1] == FLAG_OUT_OF_BAND
    assert dumps_parts(np.zeros(1))[1] == 0
    pickle.THRESHOLD = 8
    assert dumps_parts(np.zeros(1))[1] == FLAG_OUT_OF_BAND
    pickle.__init__()
    assert pickle.THRESHOLD == 1 << 18


def test_other_serialisers():
    pickle.__init__(lambda obj: json.dumps(obj).encode(), lambda data: json.loads(bytes(data)))
    assert dumps_parts([1, "a"])[0][0] == b'[1, "a"]'
    assert sent({"a": [1, None]})[0] == {"a": [1, None]}
    pickle.__init__(marshal.dumps, marshal.loads, 2)
    assert dumps_parts(1)[0][0] == marshal.dumps(1, 2)
    assert sent((1, b"x"))[0] == (1, b"x")


def test_defaults():
    assert Pickle().PROTOCOL == python_pickle.HIGHEST_PROTOCOL
    assert Pickle(protocol=3).PROTOCOL == 3
    assert Pickle(marshal.dumps, marshal.loads).PROTOCOL is None
    assert Pickle(python_pickle.dumps, python_pickle.loads, None).PROTOCOL == python_pickle.HIGHEST_PROTOCOL
    with pytest.raises(AttributeError):
        Pickle().PROTOKOL = 3


def test_out_of_band_by_hand():
    array = np.arange(100_000)
    data, buffers = Pickle(protocol=4).dumps_oob(array)
    assert len(buffers) == 1
    assert (Pickle().loads_oob(data, buffers) == array).all()
    assert Pickle().dumps_oob(np.zeros(4))[1] == []


@pytest.mark.parametrize(
    ("data", "error"), [("abc", TypeError), (b"", EOFError), (b"junk", python_pickle.UnpicklingError)]
)
def test_what_is_no_pickle(data, error):
    with pytest.raises(error):
        Pickle().loads(data)


def test_an_object_that_cannot_be_pickled():
    with pytest.raises((AttributeError, python_pickle.PicklingError, TypeError)):
        dumps_parts(lambda: None)
