"""``MPI.Op``: reduction operations.

Rules of this file:
- Called on Python objects, a predefined operation does what it does on elements; MAXLOC and MINLOC take pairs.
- At most 32 user operations exist at a time, as in mpi4py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from fmi_mpi.api.buffer import buffer
from fmi_mpi.api.datatype import Datatype
from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.constants import ERR_OP
from fmi_mpi.data.kernels import OPS, OpImpl, kernel
from fmi_mpi.data.message import message_recv, message_send
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.typing import Buffer, BufSpec

__all__ = [
    "BAND",
    "BOR",
    "BXOR",
    "LAND",
    "LOR",
    "LXOR",
    "MAX",
    "MAXLOC",
    "MIN",
    "MINLOC",
    "NO_OP",
    "OP_NULL",
    "PROD",
    "REPLACE",
    "SUM",
    "Op",
]

_USER_LIMIT = 32
_users: set[int] = set()


def _as_buffer(memory: memoryview) -> buffer:
    return buffer._of(memory, None)


def _max(x: Any, y: Any) -> Any:
    return x if y < x else y


def _min(x: Any, y: Any) -> Any:
    return y if y < x else x


def _located(better: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def combine(x: Any, y: Any) -> Any:
        (u, i), (v, j) = x, y
        if better(u, v):
            return u, i
        if better(v, u):
            return v, j
        return (u, i) if i <= j else (v, j)

    return combine


_ON_OBJECTS: dict[str, Callable[[Any, Any], Any]] = {
    "MPI_MAX": _max,
    "MPI_MIN": _min,
    "MPI_SUM": operator.add,
    "MPI_PROD": operator.mul,
    "MPI_LAND": lambda x, y: bool(x) & bool(y),
    "MPI_BAND": operator.and_,
    "MPI_LOR": lambda x, y: bool(x) | bool(y),
    "MPI_BOR": operator.or_,
    "MPI_LXOR": lambda x, y: bool(x) ^ bool(y),
    "MPI_BXOR": operator.xor,
    "MPI_MAXLOC": _located(operator.gt),
    "MPI_MINLOC": _located(operator.lt),
    "MPI_REPLACE": lambda x, y: y,
    "MPI_NO_OP": lambda x, y: x,
}


class Op(Handle, family=True):
    """Reduction operation."""

    __slots__ = ("_bare",)
    __module__ = "fmi_mpi.MPI"
    _bare: bool
    """Made from a handle, which tells nothing of the user's function, as in mpi4py."""

    def __new__(cls, op: Op | None = None) -> Self:
        self = super().__new__(cls, op)
        self._bare = False
        return self

    def _state(self) -> OpImpl:
        state: OpImpl | None = self._handle
        if state is None:
            raise MPIError(ERR_OP, "the operation is null")
        return state

    def __call__(self, x: Any, y: Any, /) -> Any:
        state: OpImpl | None = self._handle
        if state is None:
            raise ValueError("cannot call the null operation")
        if state.user is not None:
            return state.user(x, y, None)
        return _ON_OBJECTS[state.name](x, y)

    def __reduce__(self) -> str | tuple[Any, ...]:
        state: OpImpl | None = self._handle
        if state is not None and state.user is not None:
            if self._bare:
                raise ValueError("cannot pickle an operation that was made from a handle")
            return type(self).Create, (state.user, state.commutative)
        known = OP_NULL if state is None else _by_state[state]
        return super().__reduce__() if self is known else (type(self), (known,))

    @classmethod
    def fromhandle(cls, handle: int) -> Self:
        """Return the operation of a handle that ``handle`` gave."""
        made = super().fromhandle(handle)
        made._bare = True
        return made

    @classmethod
    def fromint(cls, arg: int, /) -> Self:
        """Return the operation of an integer that ``toint`` gave."""
        return cls.fromhandle(arg)

    @classmethod
    def f2py(cls, arg: int) -> Self:
        """Return the operation of a Fortran integer that ``py2f`` gave."""
        return cls.fromhandle(arg)

    @classmethod
    def Create(cls, function: Callable[[Buffer, Buffer, Datatype], None], commute: bool = False) -> Self:
        """Create an operation from a function (inbuf, inoutbuf, datatype) that leaves the result in inoutbuf.

        Args:
            commute: the operation is commutative; it is always taken to be associative.
        """
        if not callable(function):
            raise TypeError("expecting a function")
        if len(_users) >= _USER_LIMIT:
            raise RuntimeError(f"cannot create more than {_USER_LIMIT} user operations; free some first")
        state = OpImpl("user", bool(commute), None, function, _as_buffer)
        _users.add(id(state))
        return cls._wrap(state)

    @boundary
    def Free(self) -> None:
        """Free the operation."""
        state = self._state()
        if state.permanent:
            raise MPIError(ERR_OP, "a predefined operation cannot be freed")
        _users.discard(id(state))
        self._handle = None

    def _is_predefined(self) -> bool:
        return self._handle is None or self._handle.permanent

    @boundary
    def Is_commutative(self) -> bool:
        """Tell whether the operation is commutative."""
        return self._state().commutative

    @property
    def is_commutative(self) -> bool:
        """Is commutative."""
        return self.Is_commutative()

    @property
    def is_predefined(self) -> bool:
        """Is a predefined operation."""
        state: OpImpl | None = self._handle
        return state is None or state.permanent

    @boundary
    def Reduce_local(self, inbuf: BufSpec, inoutbuf: BufSpec) -> None:
        """Combine two buffers of this process; the result is left in the second (MPI-4.1, 6.9.7)."""
        state = self._state()
        given = message_send(inbuf)
        combined = message_recv(inoutbuf)
        if given.datatype is not combined.datatype:
            raise ValueError("mismatch in send and receive MPI datatypes")
        if given.count != combined.count:
            raise ValueError(f"mismatch in send count {given.count} and receive count {combined.count}")
        combine = kernel(state, combined.datatype, Datatype._wrap(combined.datatype))
        if not given.nbytes:
            return
        into = combined.payload()
        combine(given.payload(), into)
        sink, finish = combined.sink()
        if finish is not None:
            sink[:] = into
            finish(len(into))


OP_NULL = Op()
MAX = Op._wrap(OPS["MAX"])
MIN = Op._wrap(OPS["MIN"])
SUM = Op._wrap(OPS["SUM"])
PROD = Op._wrap(OPS["PROD"])
LAND = Op._wrap(OPS["LAND"])
BAND = Op._wrap(OPS["BAND"])
LOR = Op._wrap(OPS["LOR"])
BOR = Op._wrap(OPS["BOR"])
LXOR = Op._wrap(OPS["LXOR"])
BXOR = Op._wrap(OPS["BXOR"])
MAXLOC = Op._wrap(OPS["MAXLOC"])
MINLOC = Op._wrap(OPS["MINLOC"])
REPLACE = Op._wrap(OPS["REPLACE"])
NO_OP = Op._wrap(OPS["NO_OP"])

_by_state: dict[OpImpl, Op] = {
    op._handle: op for op in (MAX, MIN, SUM, PROD, LAND, BAND, LOR, BOR, LXOR, BXOR, MAXLOC, MINLOC, REPLACE, NO_OP)
}
