"""DLPack capsules and CUDA array interfaces on host memory."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from fmi_mpi.data.buffers import acquire, is_on_device, type_of_code
from fmi_mpi.data.dlpack import _Tensor, _Versioned
from fmi_mpi.data.predefined import simple

CPU, CUDA = 1, 2
INT, UINT, FLOAT, OPAQUE, COMPLEX = 0, 1, 2, 3, 5

_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Producer:
    """An object that offers an array as DLPack, with whatever is changed in ``managed`` and ``device``."""

    def __init__(self, array, version=1, code=INT, bits=None, lanes=1):
        self.array = array
        self.version = version
        self.device = (CPU, 0)
        self.streams = []
        self.managed = _Versioned(major=1, minor=0, flags=0)
        tensor = self.managed.tensor
        tensor.data = array.ctypes.data
        tensor.dtype.code, tensor.dtype.lanes = code, lanes
        tensor.dtype.bits = bits or array.itemsize * 8 // lanes
        self.shape(array.shape)

    def shape(self, shape, strides=None):
        tensor = self.managed.tensor
        tensor.ndim = len(shape)
        self.memory = ((ctypes.c_int64 * len(shape))(*shape), strides and (ctypes.c_int64 * len(strides))(*strides))
        tensor.shape = ctypes.cast(self.memory[0], ctypes.POINTER(ctypes.c_int64))
        tensor.strides = ctypes.cast(self.memory[1], ctypes.POINTER(ctypes.c_int64)) if strides else None

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, stream=None, max_version=None, copy=None):
        self.streams.append(stream)
        if self.version:
            return _capsule(ctypes.addressof(self.managed), b"dltensor_versioned", None)
        return _capsule(ctypes.addressof(self.managed.tensor), b"dltensor", None)


class OldProducer(Producer):
    """One that knows no versions."""

    def __init__(self, array):
        super().__init__(array, version=0)

    def __dlpack__(self, stream=None):
        return super().__dlpack__(stream)


@pytest.fixture
def array():
    return np.arange(8, dtype="i4")


@pytest.mark.parametrize("kind", [Producer, OldProducer])
def test_memory_and_type(array, kind):
    producer = kind(array)
    view, code = acquire(producer, True)
    assert view == array.tobytes()
    assert type_of_code(code) is simple("INT32_T")
    view[0] = 99
    assert array[0] == 99
    assert producer.streams == [None]


@pytest.mark.parametrize(
    ("dtype", "code", "lanes", "name"),
    [
        ("u2", UINT, 1, "UINT16_T"),
        ("f8", FLOAT, 1, "DOUBLE"),
        ("g", FLOAT, 1, "LONG_DOUBLE"),
        ("D", COMPLEX, 1, "C_DOUBLE_COMPLEX"),
        ("G", FLOAT, 2, "C_LONG_DOUBLE_COMPLEX"),
        ("u2", OPAQUE, 1, "UNSIGNED_CHAR"),
        ("u4", UINT, 2, "UNSIGNED_CHAR"),
    ],
)
def test_types(dtype, code, lanes, name):
    array = np.ones(3, dtype)
    view, found = acquire(Producer(array, code=code, lanes=lanes), False)
    assert view == array.tobytes()
    assert type_of_code(found) is simple(name)


def test_pointers_of_devices_are_taken_as_the_hosts(array):
    producer = Producer(array)
    producer.device = (CUDA, 0)
    assert acquire(producer, False)[0] == array.tobytes()
    assert producer.streams == [-1]
    assert is_on_device(producer)


def test_offsets_and_shapes(array):
    producer = Producer(array)
    producer.managed.tensor.byte_offset = 8
    producer.shape((2, 3))
    assert acquire(producer, False)[0] == array[2:].tobytes()
    for shape, strides in [((2, 2, 2), (4, 2, 1)), ((2, 2, 2), (1, 2, 4)), ((1, 3, 1), (5, 1, 9)), ((), None)]:
        producer.shape(shape, strides)
        assert len(acquire(producer, False)[0]) == 4 * int(np.prod(shape))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: setattr(p.managed, "major", 0),
        lambda p: setattr(p.managed, "major", 2),
        lambda p: setattr(p.managed, "flags", 1),
        lambda p: setattr(p.managed.tensor, "ndim", -1),
        lambda p: setattr(p.managed.tensor, "shape", None),
        lambda p: p.shape((-1,)),
        lambda p: p.shape((2, 2, 2), (4, 1, 2)),
        lambda p: p.shape((8,), (-1,)),
        lambda p: p.shape((1, 3, 1), (1, 0, 1)),
        lambda p: setattr(p, "__dlpack__", lambda **kwargs: None),
    ],
)
def test_what_is_refused(array, change):
    producer = Producer(array)
    change(producer)
    with pytest.raises(BufferError):
        acquire(producer, True)


def test_a_used_capsule(array):
    producer = Producer(array)
    capsule = producer.__dlpack__()
    used = ctypes.create_string_buffer(b"used_dltensor_versioned")
    ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), used)
    producer.__dlpack__ = lambda **kwargs: capsule
    with pytest.raises(BufferError):
        acquire(producer, False)


def test_read_only_capsules_may_be_read(array):
    producer = Producer(array)
    producer.managed.flags = 1
    assert acquire(producer, False)[0].readonly


@pytest.mark.parametrize(
    ("device", "error"),
    [(None, TypeError), ((None, 0), TypeError), ((1, None), TypeError), ((1,), ValueError), ((1, 0, 1), ValueError)],
)
def test_devices_that_are_none(array, device, error):
    producer = Producer(array)
    producer.device = device
    with pytest.raises(error):
        acquire(producer, False)


def test_structures_are_those_of_the_header():
    assert ctypes.sizeof(_Tensor) == 48
    assert ctypes.sizeof(_Versioned) == 80


# -- CUDA array interface ----------------------------------------------------------------------------------------------


class Device:
    """An object with an array interface of host memory."""

    def __init__(self, array, **changes):
        self.array = array
        self.__cuda_array_interface__ = {
            "version": 3,
            "data": (array.ctypes.data, False),
            "typestr": array.dtype.str,
            "shape": array.shape,
            **changes,
        }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strides": None},
        {"strides": (4,)},
        {"shape": (8, 1, 1), "strides": (4, 0, 7)},
        {"shape": [2, 4]},
        {"mask": None},
        {"descr": None},
        {"descr": [("", "<i4")]},
        {"typestr": "|i4"},
    ],
)
def test_array_interfaces(array, changes):
    device = Device(array, **changes)
    view, code = acquire(device, True)
    assert view == array.tobytes()
    assert type_of_code(code) is simple("INT32_T")
    assert is_on_device(device)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data": None}, TypeError),
        ({"data": 0}, TypeError),
        ({"data": (1,)}, ValueError),
        ({"data": ()}, ValueError),
        ({"data": (1, False, None)}, ValueError),
        ({"data": (1, True)}, BufferError),
        ({"mask": True}, BufferError),
        ({"typestr": None}, TypeError),
        ({"typestr": 42}, TypeError),
        ({"typestr": "<iX"}, ValueError),
        ({"typestr": "#i4"}, BufferError),
        ({"shape": None}, TypeError),
        ({"shape": 3}, TypeError),
        ({"shape": (3, -1)}, BufferError),
        ({"strides": 42}, TypeError),
        ({"strides": (7,)}, BufferError),
        ({"descr": 42}, TypeError),
    ],
)
def test_array_interfaces_that_are_refused(array, changes, error):
    with pytest.raises(error):
        acquire(Device(array, **changes), True)


@pytest.mark.parametrize("missing", ["data", "typestr", "shape"])
def test_incomplete_array_interfaces(array, missing):
    device = Device(array)
    del device.__cuda_array_interface__[missing]
    with pytest.raises(KeyError):
        acquire(device, False)


@pytest.mark.parametrize(("interface", "error"), [(None, TypeError), ({}, KeyError), ([("data", 1)], TypeError)])
def test_interfaces_that_are_none(array, interface, error):
    device = Device(array)
    device.__cuda_array_interface__ = interface
    with pytest.raises(error):
        acquire(device, False)


def test_the_other_byte_order(array):
    with pytest.raises(BufferError):
        type_of_code(acquire(Device(array, typestr=">i4"), False)[1])


def test_records_are_bytes_and_their_description_is_ignored(array):
    device = Device(array, shape=(4,), typestr="|V8", descr=[("", "<i4")] * 2)
    with pytest.warns(RuntimeWarning):
        view, code = acquire(device, False)
    assert (len(view), code) == (32, "B")
