"""Reduction operations and their kernels: ``inout = in_ op inout`` over packed bytes.

Rules of this file:
- Predefined operations run on numpy views of the bytes, in place; a kernel is made once per (operation, type).
- Which types an operation takes follows MPI-4.1, 6.9.2, read as MPICH reads it; others raise MPIError of class ERR_OP.
- User functions see elements in their type's own layout; gap-free types are handed over without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fmi_mpi import constants as c
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import TYPES, simple
from fmi_mpi.errors import MPIError

__all__ = ["OPS", "Kernel", "OpImpl", "UserKernel", "kernel"]

Array = np.ndarray[Any, Any]
Function = Callable[..., object]
"""(in, inout, out=inout): numpy's own functions are of this form"""

UserFunction = Callable[[Any, Any, Any], Any]


class OpImpl:
    """The state of an operation.

    Args:
        name: of MPI's own operations, or any.
        commutative: operands may change places.
        function: combines two arrays; None for a user's operation.
        user: the user's function (inbuf, inoutbuf, datatype).
        wrap: makes of memory what the user's function gets.
    """

    __slots__ = ("__weakref__", "commutative", "function", "name", "permanent", "user", "wrap")

    def __init__(
        self,
        name: str,
        commutative: bool,
        function: Function | None,
        user: UserFunction | None,
        wrap: Callable[[memoryview], Any] = memoryview,
    ) -> None:
        self.wrap = wrap
        self.name = name
        self.commutative = commutative
        self.function = function
        self.user = user
        self.permanent = user is None


class Kernel:
    """A reduction of one predefined operation on one type (coll.steps.Kernel)."""

    __slots__ = ("_dtype", "_function", "commutative", "granule")

    def __init__(self, function: Function, dtype: np.dtype[Any], commutative: bool) -> None:
        self._function = function
        self._dtype = dtype
        self.commutative = commutative
        self.granule = dtype.itemsize

    def __call__(self, in_: memoryview, inout: memoryview) -> None:
        dtype = self._dtype
        out = np.frombuffer(inout, dtype)
        self._function(np.frombuffer(in_, dtype), out, out=out)


class UserKernel:
    """A reduction by a user's function on elements of one type (coll.steps.Kernel).

    Args:
        op: the operation. datatype: type of the elements. holder: what the function gets as datatype.
    """

    __slots__ = ("_datatype", "_holder", "_user", "_wrap", "commutative", "granule")

    def __init__(self, op: OpImpl, datatype: Type, holder: Any) -> None:
        assert op.user is not None
        self._user = op.user
        self._wrap = op.wrap
        self._datatype = datatype
        self._holder = holder
        self.commutative = op.commutative
        self.granule = max(datatype.size, 1)

    def __call__(self, in_: memoryview, inout: memoryview) -> None:
        datatype, wrap = self._datatype, self._wrap
        if datatype.dense:
            self._user(wrap(in_), wrap(inout), self._holder)
            return
        count = len(inout) // self.granule
        low, high = datatype.span(count)
        begin, end = datatype.lb, datatype.lb + count * datatype.extent
        low, high = min(low, begin), max(high, end)
        memories = [memoryview(bytearray(high - low)) for _ in range(2)]
        for packed, memory in zip((in_, inout), memories):
            datatype.unpack(packed, memory, count, -low)
        given, result = (wrap(memory[begin - low : end - low]) for memory in memories)
        self._user(given, result, self._holder)
        datatype.pack(memories[1], count, inout, -low)


def kernel(op: OpImpl, datatype: Type, holder: Any = None, accumulate: bool = False) -> Kernel | UserKernel:
    """Return the kernel of an operation on a datatype; raises MPIError of class ERR_OP if it does not take it.

    Args:
        holder: the datatype object that a user's function is given.
        accumulate: for one-sided communication, which alone has REPLACE and NO_OP.
    """
    found = _kernels.get((op, datatype))
    if found is not None:
        return found
    if op.user is not None:
        return UserKernel(op, datatype, holder)
    assert op.function is not None
    if op.name in _ACCUMULATIONS:
        if not accumulate:
            raise MPIError(c.ERR_OP, f"{op.name} is for one-sided communication only")
        return Kernel(op.function, np.dtype(f"V{datatype.size}"), op.commutative)
    if op.name not in _operations(datatype):
        name = datatype.name or "a derived datatype"
        raise MPIError(c.ERR_OP, f"{op.name} does not take {name}; Op.Create makes operations that do")
    made = _kernels[op, datatype] = Kernel(_adapted(op.function, datatype), _packed_dtype(datatype), op.commutative)
    return made


_kernels: dict[tuple[OpImpl, Type], Kernel] = {}

# -- which operation takes which type -----------------------------------------------------------------------------------

_ARITHMETIC: Final = frozenset(("MPI_MAX", "MPI_MIN", "MPI_SUM", "MPI_PROD"))
_LOGICAL: Final = frozenset(("MPI_LAND", "MPI_LOR", "MPI_LXOR"))
_BITWISE: Final = frozenset(("MPI_BAND", "MPI_BOR", "MPI_BXOR"))
_LOCATIONS: Final = frozenset(("MPI_MAXLOC", "MPI_MINLOC"))
_COMPLEX: Final = frozenset(("MPI_SUM", "MPI_PROD"))
_ACCUMULATIONS: Final = frozenset(("MPI_REPLACE", "MPI_NO_OP"))

_EXCEPTIONS: Final[dict[Type | None, frozenset[str]]] = {
    TYPES["BFLOAT16_T"]: _ARITHMETIC,
    simple("BYTE"): _BITWISE,
    **dict.fromkeys([simple(name) for name in ("PACKED", "CHARACTER", "WCHAR")], frozenset[str]()),
    **dict.fromkeys([simple(name) for name in ("LOGICAL", "LOGICAL1", "LOGICAL2", "LOGICAL4", "LOGICAL8")], _LOGICAL),
    **dict.fromkeys(
        [simple(name) for name in ("INTEGER", "INTEGER1", "INTEGER2", "INTEGER4", "INTEGER8")], _ARITHMETIC | _BITWISE
    ),
}
_BY_KIND: Final = {
    "i": _ARITHMETIC | _LOGICAL | _BITWISE,
    "u": _ARITHMETIC | _LOGICAL | _BITWISE,
    "b": _LOGICAL,
    "f": _ARITHMETIC,
    "c": _COMPLEX,
    "V": _LOCATIONS,
}


def _operations(datatype: Type) -> frozenset[str]:
    """Return the names of the predefined operations that take a type."""
    if datatype in _EXCEPTIONS:
        return _EXCEPTIONS[datatype]
    if datatype.dtype is None:
        return frozenset()
    if datatype.combiner == c.COMBINER_F90_INTEGER:
        return _ARITHMETIC | _BITWISE
    return _BY_KIND[datatype.dtype.kind]


# -- what they do to arrays ---------------------------------------------------------------------------------------------


def _packed_dtype(datatype: Type) -> np.dtype[Any]:
    """Return the dtype of an element in packed data."""
    dtype = datatype.dtype
    if dtype is None:
        return np.dtype(np.uint16)
    if dtype.fields is None:
        return dtype
    return np.dtype([(name, dtype.fields[name][0]) for name in ("value", "index")])


def _adapted(function: Function, datatype: Type) -> Function:
    """Return a function that does for a type what ``function`` does for numpy's own."""
    return function if datatype.dtype is not None else _on_bfloat16(function)


def _on_bfloat16(function: Function) -> Function:
    """Return ``function`` on bfloat16: computed as float, rounded to the nearest, ties to even."""

    def combine(in_: Array, inout: Array, out: Array) -> None:
        wide = _widened(inout)
        function(_widened(in_), wide, out=wide)
        bits = wide.view(np.uint32)
        rounded = (bits + (0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        out[:] = np.where(np.isnan(wide), np.uint16(0x7FC0), rounded)

    return combine


def _widened(half: Array) -> Array:
    return (half.astype(np.uint32) << 16).view(np.float32)


def _located(better: np.ufunc) -> Function:
    def combine(in_: Array, inout: Array, out: Array) -> None:
        values, others = in_["value"], inout["value"]
        take = better(values, others) | ((values == others) & (in_["index"] < inout["index"]))
        out[take] = in_[take]

    return combine


def _replace(in_: Array, inout: Array, out: Array) -> None:
    out[:] = in_


def _nothing(in_: Array, inout: Array, out: Array) -> None:
    pass


_FUNCTIONS: Final[dict[str, Function]] = {
    "MAX": np.maximum,
    "MIN": np.minimum,
    "SUM": np.add,
    "PROD": np.multiply,
    "LAND": np.logical_and,
    "BAND": np.bitwise_and,
    "LOR": np.logical_or,
    "BOR": np.bitwise_or,
    "LXOR": np.logical_xor,
    "BXOR": np.bitwise_xor,
    "MAXLOC": _located(np.greater),
    "MINLOC": _located(np.less),
    "REPLACE": _replace,
    "NO_OP": _nothing,
}
OPS: Final[dict[str, OpImpl]] = {
    name: OpImpl(f"MPI_{name}", name not in ("REPLACE", "NO_OP"), function, None)
    for name, function in _FUNCTIONS.items()
}
"""The predefined operations by their names in ``MPI``."""
