"""``MPI.Datatype`` (MPI-4.1, chapter 5).

Rules of this file:
- Methods check, delegate to ``data.constructors``, and wrap what comes back.
- A predefined type is one object: decoding gives the same one back.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any, Self

from fmi_mpi import constants as c
from fmi_mpi.api.attributes import copy_attributes, delete_attributes
from fmi_mpi.api.datatype_packing import Packing
from fmi_mpi.api.exception import boundary
from fmi_mpi.api.traits import Named
from fmi_mpi.data import constructors, predefined
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.errors import MPIError

__all__ = [
    "DATATYPE_NULL",
    "PREDEFINED",
    "TYPEDICT",
    "TYPEDICT_C",
    "TYPEDICT_F",
    "Datatype",
    "datatype_create",
    "datatype_decode",
    "typealign",
    "typecode",
]

_NAMES = {value: name.removeprefix("COMBINER_") for name, value in vars(c).items() if name.startswith("COMBINER_")}


def _numbers(items: Sequence[int]) -> list[int]:
    return [index(item) for item in items]


def _same(first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise ValueError(f"expecting {len(first)} items, got {len(second)}")


class Datatype(Packing, Named, TypeHolder, family=True):
    """Datatype object."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, datatype: Datatype | None = None) -> Self:
        return super().__new__(cls, datatype)

    @classmethod
    def _wrap(cls, state: Type | None) -> Self:
        self = object.__new__(cls)
        self._handle = state
        return self

    def _state(self) -> Type:
        state: Type | None = self._handle
        if state is None:
            raise MPIError(c.ERR_TYPE, "the datatype is null")
        return state

    def _attributes_of(self) -> Type:
        return self._state()

    def __reduce__(self) -> str | tuple[Any, ...]:
        state: Type | None = self._handle
        if state is None or state.named:
            known = DATATYPE_NULL if state is None else _known(state)
            return super().__reduce__() if self is known else (type(self), (known,))
        return datatype_create, (*self.decode(), True)

    # -- size and bounds -----------------------------------------------------------------------------------------

    @boundary
    def Get_size(self) -> int:
        """Return the bytes of data of one element."""
        return self._state().size

    @boundary
    def Get_extent(self) -> tuple[int, int]:
        """Return lower bound and extent."""
        state = self._state()
        return state.lb, state.extent

    @boundary
    def Get_true_extent(self) -> tuple[int, int]:
        """Return lower bound and extent of the data itself."""
        state = self._state()
        return state.true_lb, state.true_extent

    @property
    @boundary
    def size(self) -> int:
        """Bytes of data."""
        return self._state().size

    @property
    @boundary
    def extent(self) -> int:
        """Extent."""
        return self._state().extent

    @property
    @boundary
    def lb(self) -> int:
        """Lower bound."""
        return self._state().lb

    @property
    @boundary
    def ub(self) -> int:
        """Upper bound."""
        state = self._state()
        return state.lb + state.extent

    @property
    @boundary
    def true_extent(self) -> int:
        """True extent."""
        return self._state().true_extent

    @property
    @boundary
    def true_lb(self) -> int:
        """True lower bound."""
        return self._state().true_lb

    @property
    @boundary
    def true_ub(self) -> int:
        """True upper bound."""
        state = self._state()
        return state.true_lb + state.true_extent

    # -- constructors --------------------------------------------------------------------------------------------

    @boundary
    def Dup(self) -> Self:
        """Return a copy of the type, with its attributes as their callbacks want it."""
        new = self._wrap(constructors.dup(self._state()))
        if self._state().attributes is not None:
            copy_attributes(self, new._handle)
        return new

    Create_dup = Dup

    @boundary
    def Create_contiguous(self, count: int) -> Self:
        """Return a type of ``count`` elements one after another."""
        return self._wrap(constructors.contiguous(self._state(), index(count)))

    @boundary
    def Create_vector(self, count: int, blocklength: int, stride: int) -> Self:
        """Return a type of ``count`` blocks, ``stride`` elements apart."""
        return self._wrap(constructors.vector(self._state(), index(count), index(blocklength), index(stride)))

    @boundary
    def Create_hvector(self, count: int, blocklength: int, stride: int) -> Self:
        """Return a type of ``count`` blocks, ``stride`` bytes apart."""
        return self._wrap(constructors.hvector(self._state(), index(count), index(blocklength), index(stride)))

    @boundary
    def Create_indexed(self, blocklengths: Sequence[int], displacements: Sequence[int]) -> Self:
        """Return a type of blocks of different lengths at displacements in elements."""
        _same(blocklengths, displacements)
        return self._wrap(constructors.indexed(self._state(), _numbers(blocklengths), _numbers(displacements)))

    @boundary
    def Create_hindexed(self, blocklengths: Sequence[int], displacements: Sequence[int]) -> Self:
        """Return a type of blocks of different lengths at displacements in bytes."""
        _same(blocklengths, displacements)
        return self._wrap(constructors.hindexed(self._state(), _numbers(blocklengths), _numbers(displacements)))

    @boundary
    def Create_indexed_block(self, blocklength: int, displacements: Sequence[int]) -> Self:
        """Return a type of blocks of one length at displacements in elements."""
        return self._wrap(constructors.indexed_block(self._state(), index(blocklength), _numbers(displacements)))

    @boundary
    def Create_hindexed_block(self, blocklength: int, displacements: Sequence[int]) -> Self:
        """Return a type of blocks of one length at displacements in bytes."""
        return self._wrap(constructors.hindexed_block(self._state(), index(blocklength), _numbers(displacements)))

    @classmethod
    @boundary
    def Create_struct(
        cls, blocklengths: Sequence[int], displacements: Sequence[int], datatypes: Sequence[Datatype]
    ) -> Self:
        """Return a type of blocks of different types at displacements in bytes."""
        _same(blocklengths, displacements)
        _same(blocklengths, datatypes)
        parts = [_type_of(part) for part in datatypes]
        return cls._wrap(constructors.struct(_numbers(blocklengths), _numbers(displacements), parts))

    @boundary
    def Create_subarray(
        self, sizes: Sequence[int], subsizes: Sequence[int], starts: Sequence[int], order: int = c.ORDER_C
    ) -> Self:
        """Return a type of a part of an array.

        Args:
            sizes, subsizes, starts: per dimension, of the array, of the part, and where the part begins.
            order: ORDER_C or ORDER_F.
        """
        _same(sizes, subsizes)
        _same(sizes, starts)
        made = constructors.subarray(self._state(), _numbers(sizes), _numbers(subsizes), _numbers(starts), order)
        return self._wrap(made)

    @boundary
    def Create_darray(
        self,
        size: int,
        rank: int,
        gsizes: Sequence[int],
        distribs: Sequence[int],
        dargs: Sequence[int],
        psizes: Sequence[int],
        order: int = c.ORDER_C,
    ) -> Self:
        """Return a type of one process's part of a distributed array (MPI-4.1, 5.1.4)."""
        for items in (distribs, dargs, psizes):
            _same(gsizes, items)
        grid, kinds, arguments, processes = (_numbers(items) for items in (gsizes, distribs, dargs, psizes))
        made = constructors.darray(self._state(), size, rank, grid, kinds, arguments, processes, order)
        return self._wrap(made)

    @boundary
    def Create_resized(self, lb: int, extent: int) -> Self:
        """Return a type with other bounds."""
        return self._wrap(constructors.resized(self._state(), index(lb), index(extent)))

    Resized = Create_resized

    @classmethod
    @boundary
    def Get_value_index(cls, value: Datatype, index: Datatype) -> Self:
        """Return the predefined type of a value and an index, DATATYPE_NULL if there is none."""
        return cls._wrap(predefined.value_index(_type_of(value), _type_of(index)))

    @classmethod
    @boundary
    def Create_f90_integer(cls, r: int) -> Self:
        """Return the type of a Fortran integer with ``r`` decimal digits."""
        return cls._wrap(predefined.f90("integer", index(r)))

    @classmethod
    @boundary
    def Create_f90_real(cls, p: int, r: int) -> Self:
        """Return the type of a Fortran real with ``p`` digits and an exponent range of ``r``."""
        return cls._wrap(predefined.f90("real", index(p), index(r)))

    @classmethod
    @boundary
    def Create_f90_complex(cls, p: int, r: int) -> Self:
        """Return the type of a Fortran complex number with ``p`` digits and an exponent range of ``r``."""
        return cls._wrap(predefined.f90("complex", index(p), index(r)))

    @classmethod
    @boundary
    def Match_size(cls, typeclass: int, size: int) -> Self:
        """Return the predefined type of a class (TYPECLASS_REAL, ...) and a size in bytes."""
        return cls._wrap(predefined.match_size(typeclass, size))

    @boundary
    def Commit(self) -> Self:
        """Make the type ready for communication."""
        self._state().ready = True
        return self

    @boundary
    def Free(self) -> None:
        """Free the type."""
        state = self._state()
        if state.permanent:
            raise MPIError(c.ERR_TYPE, "a predefined datatype cannot be freed")
        if state.attributes is not None:
            delete_attributes(self)
        self._handle = None

    def _is_predefined(self) -> bool:
        return self._handle is None or self._handle.permanent

    # -- introspection -------------------------------------------------------------------------------------------

    @boundary
    def Get_envelope(self) -> tuple[int, int, int, int, int]:
        """Return the numbers of integers, addresses, counts and datatypes it was made from, and the combiner."""
        state = self._state()
        return len(state.integers), 0, len(state.counts), len(state.parts), state.combiner

    @boundary
    def Get_contents(self) -> tuple[list[int], list[int], list[int], list[Datatype]]:
        """Return the integers, addresses, counts and datatypes it was made from."""
        state = self._state()
        if state.named:
            raise MPIError(c.ERR_TYPE, "a predefined datatype has no contents")
        return list(state.integers), [], list(state.counts), [_known(part) for part in state.parts]

    @property
    def envelope(self) -> tuple[int, int, int, int, int]:
        """Envelope."""
        return self.Get_envelope()

    @property
    def contents(self) -> tuple[list[int], list[int], list[int], list[Datatype]]:
        """Contents."""
        return self.Get_contents()

    @property
    @boundary
    def combiner(self) -> int:
        """Combiner."""
        return self._state().combiner

    @property
    @boundary
    def is_named(self) -> bool:
        """Is a named type."""
        return self._state().named

    @property
    def is_predefined(self) -> bool:
        """Is a predefined type."""
        return self._handle is None or bool(self._handle.permanent)

    @boundary
    def decode(self) -> tuple[Datatype, str, dict[str, Any]]:
        """Return the type it was made from, the combiner's name, and the constructor's arguments."""
        state = self._state()
        name = _NAMES[state.combiner]
        if state.named:
            return self, name, {}
        base = DATATYPE_NULL if name in _WITHOUT_BASE else _known(state.parts[0])
        return base, name, _arguments(state, name)

    @boundary
    def Get_name(self) -> str:
        """Return the print name."""
        return "MPI_DATATYPE_NULL" if self._handle is None else self._state().name

    @boundary
    def Set_name(self, name: str) -> None:
        """Set the print name."""
        self._state().name = str(name)

    @property
    def typechar(self) -> str:
        """Character code."""
        return "" if self._handle is None else self._state().char

    @property
    def typestr(self) -> str:
        """Array-protocol code."""
        return "" if self._handle is None else self._state().string

    def tocode(self) -> str:
        """Return a character or array-protocol code of a predefined type."""
        state: Type | None = self._handle
        if state is None:
            raise ValueError("cannot map the null datatype to a code")
        if state.code is None:
            raise ValueError(f"cannot map {state.name or 'a derived datatype'} to a code")
        return state.code

    @classmethod
    def fromcode(cls, code: str) -> Datatype:
        """Return the predefined type of a character or array-protocol code."""
        found = predefined.BY_CODE.get(code)
        if found is None:
            raise ValueError(f"cannot map code {code!r} to an MPI datatype")
        return _known(found)


_WITHOUT_BASE = ("STRUCT", "VALUE_INDEX", "F90_INTEGER", "F90_REAL", "F90_COMPLEX")


def _type_of(datatype: Datatype) -> Type:
    """Return the type of a datatype argument."""
    return _checked(datatype)._state()


def _arguments(state: Type, name: str) -> dict[str, Any]:
    """Return the constructor's arguments by name."""
    ints, counts = list(state.integers), list(state.counts)
    n = counts[0] if counts else 0
    if name in ("CONTIGUOUS",):
        return {"count": n}
    if name in ("VECTOR", "HVECTOR"):
        return dict(zip(("count", "blocklength", "stride"), counts))
    if name in ("INDEXED", "HINDEXED"):
        return {"blocklengths": counts[1 : n + 1], "displacements": counts[n + 1 :]}
    if name in ("INDEXED_BLOCK", "HINDEXED_BLOCK"):
        return {"blocklength": counts[1], "displacements": counts[2:]}
    if name == "STRUCT":
        parts = [_known(part) for part in state.parts]
        return {"blocklengths": counts[1 : n + 1], "displacements": counts[n + 1 :], "datatypes": parts}
    if name == "SUBARRAY":
        dims, order = ints
        parts3 = [counts[i * dims : (i + 1) * dims] for i in range(3)]
        return {"sizes": parts3[0], "subsizes": parts3[1], "starts": parts3[2], "order": order}
    if name == "DARRAY":
        size, rank, dims = ints[:3]
        rows = [ints[3 + i * dims : 3 + (i + 1) * dims] for i in range(3)]
        lists = {"distribs": rows[0], "dargs": rows[1], "psizes": rows[2]}
        return {"size": size, "rank": rank, "gsizes": counts, **lists, "order": ints[-1]}
    if name == "VALUE_INDEX":
        return dict(zip(("value", "index"), map(_known, state.parts)))
    if name == "RESIZED":
        return {"lb": counts[0], "extent": counts[1]}
    if name == "F90_INTEGER":
        return {"r": ints[0]}
    if name in ("F90_REAL", "F90_COMPLEX"):
        return {"p": ints[0], "r": ints[1]}
    return {}


DATATYPE_NULL = Datatype()
PREDEFINED: dict[str, Datatype] = {}
"""Attribute of ``MPI`` -> datatype; names of one type have one object."""
_by_state: dict[Type, Datatype] = {}
for _name, _type in predefined.TYPES.items():
    PREDEFINED[_name] = DATATYPE_NULL if _type is None else _by_state.setdefault(_type, Datatype._wrap(_type))
TYPEDICT = {code: _by_state[found] for code, found in predefined.BY_CODE.items()}
TYPEDICT_C = {code: _by_state[found] for code, found in predefined.BY_CODE_C.items()}
TYPEDICT_F = {code: _by_state[found] for code, found in predefined.BY_CODE_F.items()}


def _known(state: Type) -> Datatype:
    """Return the object of a type: the one there is for a predefined type, a new one for others."""
    return _by_state.get(state) or Datatype._wrap(state)


def datatype_create(datatype: Datatype, combiner: str, params: dict[str, Any], free: bool = False) -> Datatype:
    """Return the datatype that ``decode`` decoded.

    Args:
        datatype: what the constructor is called on.
        combiner: name of the constructor, in capitals.
        params: its arguments.
        free: free the datatypes that it is made from.
    """
    if combiner == "NAMED":
        return datatype
    prefix = "Get" if combiner == "VALUE_INDEX" else "Create"
    made: Datatype = getattr(datatype, f"{prefix}_{combiner.lower()}")(**params)
    if free:
        for part in (datatype, *params.get("datatypes", ())):
            part.free()
    return made


def datatype_decode(datatype: Datatype, mark: bool = False) -> tuple[Datatype, str, dict[str, Any]]:
    """Return the base, the constructor's name and its arguments of a datatype; ``mark`` is of no meaning here."""
    return datatype.decode()


def typecode(datatype: Datatype) -> str | None:
    """Return the code of a predefined type, or None."""
    state: Type | None = _checked(datatype)._handle
    return None if state is None else state.code


def typealign(datatype: Datatype) -> int | None:
    """Return the alignment of a predefined type in bytes, or None."""
    state: Type | None = _checked(datatype)._handle
    return None if state is None or not (state.named or state.code) else state.align


def _checked(datatype: Datatype) -> Datatype:
    if not isinstance(datatype, Datatype):
        raise TypeError(f"expecting Datatype, got {type(datatype).__name__}")
    return datatype
