"""``MPI.buffer`` and the functions about memory."""

from __future__ import annotations

import copy
import ctypes
import gc
import io

import numpy as np
import pytest

from fmi_mpi import MPI
from fmi_mpi.api.buffer import Aint_add, Aint_diff, Alloc_mem, Free_mem, Get_address, buffer

BOTTOM, IN_PLACE, BUFFER_AUTOMATIC = MPI.BOTTOM, MPI.IN_PLACE, MPI.BUFFER_AUTOMATIC


def test_empty():
    buf = buffer()
    assert (buf.address, buf.obj, buf.nbytes, buf.readonly, len(buf)) == (0, None, 0, False, 0)
    assert (buf.format, buf.itemsize) == ("B", 1)
    buf[:] = 0
    buf[:] = buffer()
    view = memoryview(buf)
    assert (view.format, view.shape, view.strides, view.readonly) == ("B", (0,), (1,), False)
    assert not buf


@pytest.mark.parametrize("obj", [None, 0, 0.0, [], (), "abc"])
def test_objects_without_memory(obj):
    with pytest.raises(TypeError):
        buffer(obj)
    with pytest.raises(TypeError):
        buffer.frombuffer(obj)


def test_memory_of_an_object():
    obj = bytearray(b"abc")
    buf = buffer(obj)
    assert (buf.obj, buf.nbytes, buf.readonly) == (obj, 3, False)
    buf[0] = ord("x")
    memoryview(buf)[2] = ord("z")
    assert obj == b"xbz"
    assert np.frombuffer(buf, "u1").tolist() == list(b"xbz")
    assert bytes(buf) == b"xbz"
    assert buf == obj
    assert buffer(np.zeros((2, 3)).T).nbytes == 48


@pytest.mark.parametrize("write", [lambda buf: io.BytesIO(b"123").readinto(buf), ctypes.c_char.from_buffer])
def test_nobody_gets_read_only_memory_to_write(write):
    with pytest.raises((BufferError, TypeError)):
        write(buffer(b"abc"))
    assert np.frombuffer(buffer(b"abc"), "u1").tolist() == list(b"abc")


def test_exports_keep_the_memory():
    buf = buffer(bytearray(b"abc"))
    views = [memoryview(buf) for _ in range(3)]
    del buf
    gc.collect()
    assert all(view == b"abc" for view in views)


def test_read_only():
    buf = buffer(b"abc")
    assert buf.readonly
    assert memoryview(buf).readonly
    with pytest.raises(TypeError):
        buf[:] = 0
    assert buffer.frombuffer(b"abc", readonly=True).obj == b"abc"
    with pytest.raises(BufferError):
        buffer.frombuffer(b"abc")
    obj = bytearray(2)
    one, other = buffer.frombuffer(obj), buffer.frombuffer(obj).toreadonly()
    assert (one.readonly, other.readonly) == (False, True)
    assert (one.address, one.obj) == (other.address, other.obj)


@pytest.mark.parametrize("size", [0, 1, 1024])
def test_allocate(size):
    buf = buffer.allocate(size, clear=True)
    assert buf.nbytes == memoryview(buf.obj).nbytes == size
    assert buf.address
    assert buf.tobytes() == bytes(size)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: buffer.allocate(None), TypeError),
        (lambda: buffer.allocate(-1), ValueError),
        (lambda: buffer.fromaddress(0, 1), ValueError),
        (lambda: buffer.fromaddress(1, -1), ValueError),
        (lambda: buffer.fromaddress("a", 0), TypeError),
    ],
)
def test_sizes_and_addresses_that_cannot_be(call, error):
    with pytest.raises(error):
        call()


def test_memory_at_an_address():
    obj = np.arange(3, dtype="u1")
    buf = buffer.fromaddress(obj.ctypes.data, 3)
    buf[1:] = b"xy"
    assert obj.tolist() == [0, ord("x"), ord("y")]
    assert (buf.address, buf.obj) == (obj.ctypes.data, None)
    assert buffer.fromaddress(0, 0).address == 0
    assert buffer.fromaddress(obj.ctypes.data, 3, readonly=True).readonly


def test_items():
    buf = buffer(bytearray(range(8)))
    assert (buf[0], buf[-1]) == (0, 7)
    assert buf[2:4].tobytes() == b"\2\3"
    assert buf[2:4].obj is buf
    assert len(buf[4:2]) == 0
    assert list(buf) == list(range(8))
    buf[:] = 255
    buf[1:3] = np.zeros(2, "u1")
    assert buf.tobytes() == b"\xff\0\0" + 5 * b"\xff"


@pytest.mark.parametrize(
    ("item", "error"),
    [(8, IndexError), (-9, IndexError), (slice(None, None, 2), IndexError), (None, TypeError), (1.0, TypeError)],
)
def test_items_that_are_not_there(item, error):
    buf = buffer(bytearray(8))
    with pytest.raises(error):
        buf[item]
    with pytest.raises(error):
        buf[item] = 0


@pytest.mark.parametrize(
    ("value", "error"), [(256, OverflowError), (-1, OverflowError), ("a", TypeError), (1.5, TypeError)]
)
@pytest.mark.parametrize("item", [0, slice(None)])
def test_values_that_are_no_bytes(item, value, error):
    with pytest.raises(error):
        buffer(bytearray(4))[item] = value


def test_the_item_size_is_the_exporters():
    assert buffer(np.zeros(2)).itemsize == 8
    assert buffer(np.zeros(2, ">i2")).toreadonly().itemsize == 2
    assert buffer(np.zeros(2))[1:].itemsize == 1


def test_lengths_do_not_change():
    buf = buffer(bytearray(3))
    with pytest.raises(ValueError, match="length"):
        buf[0:1] = buf[1:3]
    with pytest.raises(NotImplementedError):
        del buf[0]


def test_cast():
    buf = buffer.allocate(24)
    view = buf.cast("i", (2, 3))
    view[1, 2] = 5
    assert buf.cast("i")[5] == 5
    with pytest.raises(TypeError):
        buffer(bytearray(5)).cast("i")


def test_release():
    buf = buffer(bytearray(3))
    buf.release()
    assert (buf.address, buf.nbytes, buf.readonly, buf.obj) == (0, 0, False, None)


def test_memory_of_devices_is_not_looked_into():
    class Device:
        def __init__(self):
            self.array = np.arange(4, dtype="u1")
            self.__cuda_array_interface__ = {**self.array.__array_interface__, "strides": None}

    buf = buffer.frombuffer(Device())
    assert buf.nbytes == 4
    for call in (lambda: buf.cast("B"), buf.tobytes, lambda: buf[0], lambda: buf[1:].tobytes()):
        with pytest.raises(BufferError):
            call()


def test_buffers_are_final_and_do_not_pickle():
    with pytest.raises(TypeError):
        copy.copy(buffer(b"a"))
    assert buffer.__module__ == "fmi_mpi.MPI"
    assert MPI.memory is MPI.buffer


def test_allocated_memory():
    for size in (0, 100):
        mem = Alloc_mem(size, MPI.INFO_NULL)
        assert type(mem) is buffer
        assert len(mem) == size
        assert mem.address
        assert mem.obj is None
        Free_mem(mem)
        assert (len(mem), mem.address) == (0, 0)
    with pytest.raises(MPI.Exception):
        Alloc_mem(-1)
    with pytest.raises(TypeError):
        Free_mem(None)


def test_addresses():
    array = np.arange(4)
    assert Get_address(array) == array.ctypes.data
    assert Get_address(buffer(array)) == array.ctypes.data
    assert Get_address(None) == 0
    for constant in (BOTTOM, IN_PLACE, BUFFER_AUTOMATIC):
        assert Get_address(constant) == constant
    with pytest.raises(TypeError):
        Get_address(1)


def test_address_arithmetic():
    assert Aint_add(2**63 - 1, 1) == -(2**63)
    assert Aint_diff(-1, 1) == -2
    with pytest.raises(OverflowError):
        Aint_add(2**64, 1)
    base = Get_address(bytearray(8))
    assert Aint_diff(Aint_add(base, 8), base) == 8
