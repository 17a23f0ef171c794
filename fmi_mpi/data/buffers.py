"""Memory of Python objects: which bytes an object exposes, whether they may be written, and of what type they are.

Rules of this file:
- Everything is seen as a one-dimensional memoryview of format 'B'; it keeps its exporter alive.
- numpy arrays and bytes are looked at first; DLPack and the CUDA array interface (host pointers) last.
- An object that has no memory raises TypeError, memory that cannot be used as asked raises BufferError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import BY_CODE, BY_DTYPE

__all__ = [
    "EMPTY",
    "Memory",
    "acquire",
    "address_of",
    "contiguous",
    "is_buffer",
    "is_on_device",
    "item_size",
    "memory_at",
    "readable_bytes",
    "type_of_code",
    "writable_bytes",
]

EMPTY: Final = memoryview(bytearray())
_ARRAY: Final = np.ndarray
_NATIVE: Final = "<" if np.little_endian else ">"
_FOREIGN: Final = ">" if np.little_endian else "<"
_HOST: Final = 1  # kDLCPU

Memory = tuple[memoryview, "str | Type"]
"""(bytes, format code or type of an element)"""


class _Exporter:
    """Describes memory to numpy, whose views then keep the owner alive."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, address: int, nbytes: int, readonly: bool, owner: Any) -> None:
        self.__array_interface__ = {"version": 3, "data": (address, readonly), "shape": (nbytes,), "typestr": "|u1"}
        self.owner = owner


def memory_at(address: int, nbytes: int, readonly: bool = False, owner: Any = None) -> memoryview:
    """Return the memory at an address.

    Args:
        address, nbytes: where, and how many bytes; the caller answers for their being there.
        readonly: the view may not be written.
        owner: kept alive as long as the view.
    """
    if not nbytes:
        return EMPTY.toreadonly() if readonly else EMPTY
    return np.asarray(_Exporter(address, nbytes, readonly, owner)).data


def address_of(view: memoryview) -> int:
    """Return the address of a view's first byte."""
    address: int = np.ndarray(0, np.uint8, view).__array_interface__["data"][0]
    return address


# -- bytes -----------------------------------------------------------------------------------------------------------


def readable_bytes(buf: Any) -> memoryview:
    """Return the memory of an object, as bytes to be read.

    Args:
        buf: an object with contiguous memory. TypeError or BufferError otherwise.
    """
    kind = type(buf)
    if kind is bytes or kind is bytearray:
        return memoryview(buf)
    return acquire(buf, False)[0]


def writable_bytes(buf: Any) -> memoryview:
    """Return the memory of an object, as bytes to be written.

    Args:
        buf: an object with contiguous memory. TypeError or BufferError otherwise.
    """
    if type(buf) is bytearray:
        return memoryview(buf)
    return acquire(buf, True)[0]


def is_buffer(obj: Any) -> bool:
    """Return whether an object exposes memory in one of the known ways."""
    kind = type(obj)
    if kind is _ARRAY or kind is bytearray or kind is bytes:
        return True
    if kind is list or kind is tuple or obj is None:
        return False
    try:
        memoryview(obj)
        return True
    except TypeError:
        pass
    except (BufferError, ValueError):
        return True
    return not isinstance(obj, type) and (hasattr(obj, "__dlpack__") or hasattr(obj, "__cuda_array_interface__"))


def is_on_device(obj: Any) -> bool:
    """Return whether an object says that its memory is not the host's; it is taken as the host's all the same."""
    if type(obj) is _ARRAY:
        return False
    if hasattr(obj, "__dlpack_device__"):
        return bool(obj.__dlpack_device__()[0] != _HOST)
    return hasattr(obj, "__cuda_array_interface__")


# -- acquisition -----------------------------------------------------------------------------------------------------


def acquire(obj: Any, writable: bool) -> Memory:
    """Return the memory of an object and what it consists of.

    Args:
        obj: supports the buffer protocol, DLPack (memory of the host) or the CUDA array interface (pointers that the
            host can follow).
        writable: raise BufferError if the memory is read-only.
    """
    kind = type(obj)
    if kind is bytearray or (kind is bytes and not writable):
        return memoryview(obj), "B"
    if isinstance(obj, _ARRAY):
        return _from_array(obj, writable)
    if kind is not memoryview and not isinstance(obj, type):
        if hasattr(obj, "__dlpack_device__") and hasattr(obj, "__dlpack__"):
            from fmi_mpi.data.dlpack import from_dlpack

            return from_dlpack(obj, writable)
        if hasattr(obj, "__cuda_array_interface__"):
            from fmi_mpi.data.dlpack import from_cuda_array

            return from_cuda_array(obj, writable)
    return _from_view(memoryview(obj), writable)


def _from_array(array: np.ndarray[Any, Any], writable: bool) -> Memory:
    flags = array.flags
    if not flags.forc:
        raise BufferError("the array is not contiguous")
    if writable and not flags.writeable:
        raise BufferError("the array is read-only")
    datatype = BY_DTYPE.get(array.dtype)
    code = _format_of(array.dtype) if datatype is None else datatype
    if not flags.c_contiguous:
        array = array.T
    nbytes = array.nbytes
    return np.ndarray(nbytes, np.uint8, array).data if nbytes else EMPTY, code


def _format_of(dtype: np.dtype[Any]) -> str:
    """Return the character code of a numpy dtype that is not in ``BY_DTYPE``."""
    kind = dtype.kind
    if kind == "S":
        return f"{dtype.itemsize}s"
    if kind == "U":
        return f"{dtype.itemsize // 4}w"
    if kind == "V" and dtype.fields is None:
        return f"{dtype.itemsize}x"
    order = _FOREIGN if not dtype.isnative else ""
    if kind in "Mm":
        return f"{order}{kind}"
    return order + dtype.char if dtype.fields is None else f"T{{{dtype.descr}}}"


def _from_view(view: memoryview, writable: bool) -> Memory:
    if not view.contiguous:
        raise BufferError("the buffer is not contiguous")
    if writable and view.readonly:
        raise BufferError("the buffer is read-only")
    code = view.format
    if not view.nbytes:
        return EMPTY, code
    if code == "B" and view.ndim == 1:
        return view, code
    if not view.c_contiguous:
        view = np.asarray(view).T.data
    try:
        return view.cast("B"), code
    except ValueError:  # a format that memoryview does not know
        return np.ndarray(view.nbytes, np.uint8, view).data, code


def contiguous(shape: Sequence[int], strides: Sequence[int] | None, itemsize: int) -> bool:
    """Return whether memory is gap-free in C or Fortran order; strides of axes of length one do not count."""
    if strides is None or 0 in shape:
        return True
    axes = [(length, stride) for length, stride in zip(shape, strides) if length != 1]
    return _gap_free(reversed(axes), itemsize) or _gap_free(axes, itemsize)


def _gap_free(axes: Any, step: int) -> bool:
    for length, stride in axes:
        if stride != step:
            return False
        step *= length
    return True


# -- types -----------------------------------------------------------------------------------------------------------

_CODES: dict[str, Type] = {}


def type_of_code(code: str | Type) -> Type:
    """Return the datatype of a character code.

    Args:
        code: of the buffer protocol, numpy or struct; a type is returned as it is. Raises KeyError for an unknown
            code, BufferError for one of the other byte order.
    """
    if isinstance(code, Type):
        return code
    found = BY_CODE.get(code) or _CODES.get(code)
    if found is None:
        found = _CODES[code] = _parsed(code)
    return found


def item_size(code: str | Type) -> int:
    """Return the bytes of an element of a buffer's format; 1 if there is no such datatype."""
    if isinstance(code, Type):
        return code.size
    found = BY_CODE.get(code.lstrip("@=<>!|"))
    return 1 if found is None else found.size


def _parsed(code: str) -> Type:
    first, rest = code[:1], code[1:]
    if first == _FOREIGN or (first == "!" and _FOREIGN == ">"):
        if rest not in ("b", "B", "c", "?"):
            raise BufferError(f"the byte order of format {code!r} is not the machine's")
    elif not first or first not in "@=|!" + _NATIVE:
        raise KeyError(f"cannot map {code!r} to MPI datatype")
    found = BY_CODE.get(rest)
    if found is None:
        raise KeyError(f"cannot map {code!r} to MPI datatype")
    return found
