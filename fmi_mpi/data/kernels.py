"""Reduction operations and their kernels: ``inout = in_ op inout`` over packed bytes.

Rules of this file:
- Predefined operations run on numpy views of the bytes, in place; a kernel is made once per (operation, type).
- Which types an operation takes follows MPI-4.1, 6.9.2; others raise MPIError of class ERR_OP.
- User functions get memory views of the packed elements and the datatype, as mpi4py gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fmi_mpi.constants import ERR_OP
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import TYPES
from fmi_mpi.errors import MPIError

__all__ = ["OPS", "Kernel", "OpImpl", "kernel"]

Array = np.ndarray[Any, Any]
Function = Callable[[Array, Array], None]
UserFunction = Callable[[memoryview, memoryview, Any], None]

_PAIRS: Final = frozenset(
    id(TYPES[name]) for name in ("SHORT_INT", "TWOINT", "LONG_INT", "FLOAT_INT", "DOUBLE_INT", "LONG_DOUBLE_INT")
)
_BYTES: Final = frozenset((id(TYPES["BYTE"]),))
_TEXT: Final = frozenset(id(TYPES[name]) for name in ("CHAR", "WCHAR", "CHARACTER", "PACKED"))


class OpImpl:
    """The state of an operation.

    ``function`` combines arrays for a predefined operation; ``user`` is a user's function.
    """

    __slots__ = ("__weakref__", "commutative", "function", "name", "permanent", "user")

    def __init__(self, name: str, commutative: bool, function: Function | None, user: UserFunction | None) -> None:
        self.name = name
        self.commutative = commutative
        self.function = function
        self.user = user
        self.permanent = user is None


class Kernel:
    """A reduction of one operation on one type (coll.steps.Kernel)."""

    __slots__ = ("_dtype", "_function", "commutative", "granule")

    def __init__(self, function: Function, dtype: np.dtype[Any], commutative: bool) -> None:
        self._function = function
        self._dtype = dtype
        self.commutative = commutative
        self.granule = dtype.itemsize

    def __call__(self, in_: memoryview, inout: memoryview) -> None:
        dtype = self._dtype
        self._function(np.frombuffer(in_, dtype), np.frombuffer(inout, dtype))


class UserKernel:
    """A reduction by a user's function on elements of one type."""

    __slots__ = ("_datatype", "_holder", "_user", "commutative", "granule")

    def __init__(self, user: UserFunction, datatype: Type, holder: Any, commutative: bool) -> None:
        self._user = user
        self._datatype = datatype
        self._holder = holder
        self.commutative = commutative
        self.granule = max(datatype.size, 1)

    def __call__(self, in_: memoryview, inout: memoryview) -> None:
        datatype = self._datatype
        if datatype.dense:
            self._user(in_, inout, self._holder)
            return
        # The function expects the type's own layout.
        count = len(inout) // self.granule
        low, high = datatype.span(count)
        spread_in, spread = (memoryview(bytearray(high - low)) for _ in range(2))
        datatype.unpack(in_, spread_in, count, -low)
        datatype.unpack(inout, spread, count, -low)
        self._user(spread_in, spread, self._holder)
        datatype.pack(spread, count, inout, -low)


def kernel(op: OpImpl, datatype: Type, holder: Any = None) -> Kernel | UserKernel:
    """Return the kernel of an operation on a datatype; raises MPIError if it does not take it.

    Args:
        holder: the datatype object that a user's function is given.
    """
    found = _kernels.get((id(op), id(datatype)))
    if found is not None:
        return found
    if op.user is not None:
        return UserKernel(op.user, datatype, holder, op.commutative)
    function = op.function
    assert function is not None
    basic = datatype if datatype.permanent else datatype.basic
    if basic is None or not datatype.permanent:
        raise MPIError(ERR_OP, f"{op.name} takes predefined datatypes only; make an operation with Op.Create")
    dtype = basic.dtype
    assert dtype is not None
    if not _takes(op.name, basic, dtype):
        raise MPIError(ERR_OP, f"{op.name} does not take {basic.name}")
    if id(basic) in _PAIRS and op.name not in ("MPI_REPLACE", "MPI_NO_OP"):
        function = _packed_pairs(function, dtype)
        dtype = np.dtype(f"V{basic.size}")
    made = Kernel(function, dtype, op.commutative)
    _kernels[id(op), id(datatype)] = made
    return made


_kernels: dict[tuple[int, int], Kernel] = {}


def _takes(name: str, basic: Type, dtype: np.dtype[Any]) -> bool:
    """Tell whether a predefined operation takes a predefined type."""
    if name in ("MPI_REPLACE", "MPI_NO_OP"):
        return True
    if id(basic) in _PAIRS:
        return name in ("MPI_MAXLOC", "MPI_MINLOC")
    if id(basic) in _TEXT or name in ("MPI_MAXLOC", "MPI_MINLOC"):
        return False
    bitwise = name in ("MPI_BAND", "MPI_BOR", "MPI_BXOR")
    logical = name in ("MPI_LAND", "MPI_LOR", "MPI_LXOR")
    if id(basic) in _BYTES:
        return bitwise
    if dtype.kind in "iu":
        return True
    if dtype.kind == "b":
        return True
    if dtype.kind == "f":
        return not bitwise
    return name in ("MPI_SUM", "MPI_PROD") or logical  # complex


def _packed_pairs(function: Function, dtype: np.dtype[Any]) -> Function:
    """Return a function on packed (gap-free) pairs for one on the type's own layout."""
    assert dtype.fields is not None
    gapless = np.dtype([("value", dtype.fields["value"][0]), ("index", "i")])

    def combine(in_: Array, inout: Array) -> None:
        function(in_.view(gapless), inout.view(gapless))

    return combine


def _ufunc(ufunc: np.ufunc) -> Function:
    def combine(in_: Array, inout: Array) -> None:
        ufunc(in_, inout, out=inout)

    return combine


def _logical(ufunc: np.ufunc) -> Function:
    def combine(in_: Array, inout: Array) -> None:
        inout[:] = ufunc(in_, inout)

    return combine


def _located(better: np.ufunc) -> Function:
    def combine(in_: Array, inout: Array) -> None:
        wins = better(in_["value"], inout["value"])
        ties = (in_["value"] == inout["value"]) & (in_["index"] < inout["index"])
        take = wins | ties
        inout[take] = in_[take]

    return combine


def _boolean_or(ufunc: np.ufunc, boolean: np.ufunc) -> Function:
    def combine(in_: Array, inout: Array) -> None:
        (boolean if inout.dtype.kind == "b" else ufunc)(in_, inout, out=inout)

    return combine


def _replace(in_: Array, inout: Array) -> None:
    inout[:] = in_


def _nothing(in_: Array, inout: Array) -> None:
    pass


OPS: Final[dict[str, OpImpl]] = {
    name: OpImpl(f"MPI_{name}", name not in ("REPLACE", "NO_OP"), function, None)
    for name, function in {
        "MAX": _ufunc(np.maximum),
        "MIN": _ufunc(np.minimum),
        "SUM": _ufunc(np.add),
        "PROD": _ufunc(np.multiply),
        "LAND": _logical(np.logical_and),
        "BAND": _boolean_or(np.bitwise_and, np.logical_and),
        "LOR": _logical(np.logical_or),
        "BOR": _boolean_or(np.bitwise_or, np.logical_or),
        "LXOR": _logical(np.logical_xor),
        "BXOR": _boolean_or(np.bitwise_xor, np.logical_xor),
        "MAXLOC": _located(np.greater),
        "MINLOC": _located(np.less),
        "REPLACE": _replace,
        "NO_OP": _nothing,
    }.items()
}
"""The predefined operations by their names in ``MPI``."""
