"""Memory of objects that are no Python buffers: DLPack capsules and CUDA array interfaces.

Rules of this file:
- Pointers are taken as host memory, as an MPI library without device support takes them.
- Whatever a producer says is checked: kinds, signs, contiguity, version, flags.
"""

from __future__ import annotations

import ctypes
import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

from fmi_mpi.data.buffers import EMPTY, Memory, contiguous, memory_at

__all__ = ["from_cuda_array", "from_dlpack"]


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint), ("number", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_READ_ONLY = 1
_MAJOR = 1
_CPU = 1
_KINDS = {0: "i", 1: "u", 2: "f", 4: "bf", 5: "c", 6: "b"}

_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype = ctypes.c_int
_is_valid.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _check_contiguous(shape: Sequence[int], strides: Sequence[int], unit: int) -> None:
    """Raise BufferError unless the strides are those of a C or Fortran contiguous array."""
    if not contiguous(shape, strides, unit):
        raise BufferError("the buffer is not contiguous")


def from_dlpack(obj: Any, writable: bool) -> Memory:
    """Return the memory of an object that offers DLPack capsules."""
    kind, number = obj.__dlpack_device__()
    kind = operator.index(kind)
    operator.index(number)
    stream = None if kind == _CPU else -1
    try:
        capsule = obj.__dlpack__(stream=stream, max_version=(_MAJOR, 0), copy=False)
    except TypeError:
        capsule = obj.__dlpack__(stream=stream)
    read_only = False
    if _is_valid(capsule, b"dltensor_versioned"):
        managed = _Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        if managed.major != _MAJOR:
            raise BufferError(f"DLPack version {managed.major} is not supported")
        tensor = managed.tensor
        read_only = bool(managed.flags & _READ_ONLY)
    elif _is_valid(capsule, b"dltensor"):
        tensor = _Tensor.from_address(_pointer(capsule, b"dltensor"))
    else:
        raise BufferError("the DLPack capsule is not valid, or has been used already")
    if writable and read_only:
        raise BufferError("the DLPack buffer is read-only, but is to be written")
    nbytes = _tensor_bytes(tensor)
    address = (tensor.data or 0) + tensor.byte_offset
    view = memory_at(address, nbytes, read_only, (capsule, obj))
    return view, _tensor_format(tensor)


def _tensor_bytes(tensor: _Tensor) -> int:
    ndim = tensor.ndim
    if ndim < 0:
        raise BufferError("DLPack: the number of dimensions is negative")
    if ndim and not tensor.shape:
        raise BufferError("DLPack: the shape is missing")
    shape: list[int] = [tensor.shape[i] for i in range(ndim)]
    if any(size < 0 for size in shape):
        raise BufferError("DLPack: a dimension is negative")
    if ndim and tensor.strides:
        _check_contiguous(shape, [tensor.strides[i] for i in range(ndim)], 1)
    dtype = tensor.dtype
    itemsize: int = (dtype.bits * dtype.lanes + 7) // 8
    return math.prod(shape) * itemsize


def _tensor_format(tensor: _Tensor) -> str:
    dtype = tensor.dtype
    letter = _KINDS.get(dtype.code)
    if letter == "f" and dtype.lanes == 2:  # complex numbers too wide for the field of bits
        return f"c{dtype.bits // 4}"
    if dtype.lanes != 1 or letter is None or dtype.bits % 8:
        return "B"
    return f"{letter}{dtype.bits // 8}"


def from_cuda_array(obj: Any, writable: bool) -> Memory:
    """Return the memory of an object that has a CUDA array interface."""
    found = obj.__cuda_array_interface__
    if not isinstance(found, dict):
        raise TypeError("__cuda_array_interface__: expecting a dict")
    data, typestr, shape = found["data"], found["typestr"], found["shape"]
    if not isinstance(data, tuple):
        raise TypeError("__cuda_array_interface__: 'data' is not a tuple")
    if len(data) != 2:
        raise ValueError("__cuda_array_interface__: 'data' is not (address, read-only)")
    address, read_only = data
    if found.get("mask") is not None:
        raise BufferError("__cuda_array_interface__: masked arrays are not supported")
    if not isinstance(typestr, str):
        raise TypeError("__cuda_array_interface__: 'typestr' is not a string")
    if not isinstance(shape, (tuple, list)):
        raise TypeError("__cuda_array_interface__: 'shape' is not a tuple")
    itemsize = int(typestr[2:])
    if itemsize < 1:
        raise ValueError("__cuda_array_interface__: 'typestr' has no item size")
    sizes = [operator.index(size) for size in shape]
    if any(size < 0 for size in sizes):
        raise BufferError("__cuda_array_interface__: a dimension is negative")
    strides = found.get("strides")
    if strides is not None:
        if not isinstance(strides, tuple):
            raise TypeError("__cuda_array_interface__: 'strides' is not a tuple")
        _check_contiguous(sizes, [operator.index(stride) for stride in strides], itemsize)
    _check_description(found.get("descr"), typestr)
    if writable and read_only:
        raise BufferError("the buffer is read-only, but is to be written")
    nbytes = math.prod(sizes) * itemsize
    if nbytes and address is None:
        raise BufferError("__cuda_array_interface__: the address is missing")
    view = memory_at(operator.index(address or 0), nbytes, bool(read_only), obj) if nbytes else EMPTY
    if typestr[:1] not in "<>=|":
        raise BufferError(f"__cuda_array_interface__: 'typestr' {typestr!r} has no known byte order")
    if typestr[1] == "V":
        return view, "B"
    return view, typestr[1:] if typestr[0] == "|" else typestr


def _check_description(description: Any, typestr: str) -> None:
    if description is None:
        return
    if not isinstance(description, list):
        raise TypeError("__cuda_array_interface__: 'descr' is not a list")
    if description != [("", typestr)]:
        warnings.warn("__cuda_array_interface__: 'descr' is ignored", RuntimeWarning, stacklevel=5)
