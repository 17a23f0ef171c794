"""Memory of objects: protocols, read-only memory, contiguity, formats."""

from __future__ import annotations

import array
import ctypes
import gc
import weakref

import numpy as np
import pytest

from fmi_mpi.data.buffers import (
    EMPTY,
    acquire,
    address_of,
    contiguous,
    is_buffer,
    is_on_device,
    memory_at,
    readable_bytes,
    type_of_code,
    writable_bytes,
)
from fmi_mpi.data.predefined import simple


def datatype(obj):
    return type_of_code(acquire(obj, False)[1])


@pytest.mark.parametrize(
    ("obj", "name"),
    [
        (b"abc", "UNSIGNED_CHAR"),
        (bytearray(2), "UNSIGNED_CHAR"),
        (array.array("i", [1]), "INT"),
        (array.array("u", "ab"), "WCHAR"),
        (memoryview(bytes(8)).cast("n"), "COUNT"),
        (memoryview(bytes(8)).cast("P"), "UNSIGNED_LONG"),
        (memoryview(bytes(8)).cast("c"), "CHAR"),
        ((ctypes.c_int * 3)(1, 2, 3), "INT"),
        (ctypes.c_double(2.0), "DOUBLE"),
        (np.zeros(2, "g"), "LONG_DOUBLE"),
        (np.zeros(2, "G"), "C_LONG_DOUBLE_COMPLEX"),
        (np.zeros(2, "?"), "C_BOOL"),
        (np.zeros(2, "e"), "FLOAT16_T"),
        (np.zeros((2, 2), "F").T, "C_COMPLEX"),
        (np.float32(1), "FLOAT"),
    ],
)
def test_the_type_of_an_element(obj, name):
    assert datatype(obj) is simple(name)
    assert acquire(obj, False)[0] == memoryview(obj).tobytes("A")


@pytest.mark.parametrize(
    "obj",
    [
        bytearray(6),
        np.zeros((2, 3)),
        np.zeros((2, 3), "D").T,
        array.array("d", [1]),
        memoryview(bytearray(8)).cast("i"),
    ],
)
def test_memory_is_not_copied(obj):
    view, _ = acquire(obj, True)
    view[0] = 1
    assert bytes(memoryview(obj).tobytes("A"))[0] == 1
    assert (view.ndim, view.format) == (1, "B")


def test_times_are_integers():
    assert datatype(np.zeros(2, "M8[s]")) is simple("INT64_T")


@pytest.mark.parametrize("code", ["<i", "=i", "@i", "|i", "i"])
def test_byte_orders_of_this_machine(code):
    assert type_of_code(code) is simple("INT")


@pytest.mark.parametrize(
    ("code", "error"), [(">i", BufferError), ("!i", BufferError), ("zz", KeyError), ("", KeyError)]
)
def test_codes_that_are_refused(code, error):
    with pytest.raises(error):
        type_of_code(code)


def test_bytes_have_no_order():
    assert type_of_code(">b") is simple("SIGNED_CHAR")


@pytest.mark.parametrize("obj", [None, 1, "abc", [1], {}, object()])
def test_objects_without_memory(obj):
    assert not is_buffer(obj)
    with pytest.raises(TypeError):
        acquire(obj, False)


@pytest.mark.parametrize("obj", [b"", np.zeros(0), array.array("i"), np.float64(1), np.zeros(4)[::2], memoryview(b"")])
def test_objects_with_memory(obj):
    assert is_buffer(obj)
    assert not is_on_device(obj)


def test_readable_and_writable():
    buf = bytearray(2)
    assert readable_bytes(b"ab") == b"ab"
    writable_bytes(buf)[0] = 7
    assert buf == b"\7\0"
    for obj in (b"ab", memoryview(b"ab"), np.frombuffer(b"ab", "u1")):
        with pytest.raises(BufferError):
            writable_bytes(obj)


def test_memory_at_an_address_keeps_its_owner():
    class Owner:
        pass

    owner = Owner()
    gone = weakref.ref(owner)
    buf = np.arange(4, dtype="u1")
    view = memory_at(buf.ctypes.data, 4, owner=owner)[1:]
    del owner
    gc.collect()
    assert gone() is not None
    assert address_of(view) == buf.ctypes.data + 1
    view[0] = 9
    assert buf[1] == 9
    del view
    gc.collect()
    assert gone() is None


def test_memory_at_an_address_may_be_read_only():
    buf = np.arange(4, dtype="u1")
    assert memory_at(buf.ctypes.data, 4, readonly=True).readonly
    assert memory_at(0, 0) == EMPTY


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((2, 3), None, True),
        ((2, 3), (12, 4), True),
        ((2, 3), (4, 8), True),
        ((2, 3), (4, 4), False),
        ((2, 2, 2), (16, 4, 8), False),
        ((1, 3, 1), (99, 4, 77), True),
        ((3,), (-4,), False),
        ((0, 3), (1, 1), True),
        ((), (), True),
    ],
)
def test_contiguous(shape, strides, expected):
    assert contiguous(shape, strides, 4) is expected
