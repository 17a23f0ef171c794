"""``MPI.Datatype`` (MPI-4.1, chapter 5).

Rules of this file:
- Methods check, delegate to ``data.constructors``, and wrap what comes back.
- A predefined type is one object: decoding gives the same one back.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any, Self

from fmi_mpi import constants as c
from fmi_mpi.api.attributes import Attributes, delete_attributes
from fmi_mpi.api.exception import boundary
from fmi_mpi.data import constructors, external32, predefined
from fmi_mpi.data.datatype import Type, TypeHolder
from fmi_mpi.data.message import message_recv, message_send
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.typing import BufSpec

__all__ = ["DATATYPE_NULL", "PREDEFINED", "Datatype", "typealign", "typecode"]

_NAMES = {
    value: name.removeprefix("COMBINER_")
    for name, value in vars(c).items()
    if name.startswith("COMBINER_") and name != "COMBINER_F90"
}


def _numbers(items: Sequence[int]) -> list[int]:
    return [index(item) for item in items]


def _same(first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise ValueError(f"expecting {len(first)} items, got {len(second)}")


class Datatype(Attributes, TypeHolder, family=True):
    """Datatype object."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, datatype: Datatype | None = None) -> Self:
        return super().__new__(cls, datatype)

    def _state(self) -> Type:
        state: Type | None = self._handle
        if state is None:
            raise MPIError(c.ERR_TYPE, "the datatype is null")
        return state

    def _attributes_of(self) -> Any:
        return self._state()

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
    def size(self) -> int:
        """Bytes of data."""
        return self.Get_size()

    @property
    def extent(self) -> int:
        """Extent."""
        return self.Get_extent()[1]

    @property
    def lb(self) -> int:
        """Lower bound."""
        return self.Get_extent()[0]

    @property
    def ub(self) -> int:
        """Upper bound."""
        return sum(self.Get_extent())

    @property
    def true_extent(self) -> int:
        """True extent."""
        return self.Get_true_extent()[1]

    @property
    def true_lb(self) -> int:
        """True lower bound."""
        return self.Get_true_extent()[0]

    @property
    def true_ub(self) -> int:
        """True upper bound."""
        return sum(self.Get_true_extent())

    # -- constructors --------------------------------------------------------------------------------------------

    @boundary
    def Dup(self) -> Self:
        """Return a copy of the type."""
        return self._wrap(constructors.dup(self._state()))

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
        parts = [part._state() for part in datatypes]
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
        return cls._wrap(predefined.value_index(value._state(), index._state()))

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
        self._state()
        return self

    @boundary
    def Free(self) -> None:
        """Free the type."""
        state = self._state()
        if state.permanent:
            raise MPIError(c.ERR_TYPE, "a predefined datatype cannot be freed")
        delete_attributes(self)
        self._handle = None

    def free(self) -> None:
        """Free the type if it is neither null nor predefined."""
        if self._handle is not None and not self._handle.permanent:
            self.Free()

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
    def combiner(self) -> int:
        """Combiner."""
        return self.Get_envelope()[4]

    @property
    def is_named(self) -> bool:
        """Is a named type."""
        return self.combiner == c.COMBINER_NAMED

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
        old: Datatype = self if not state.parts or name == "STRUCT" else _known(state.parts[0])
        if name == "STRUCT":
            old = DATATYPE_NULL
        if name.startswith("F90"):
            old = DATATYPE_NULL
        return old, name, _arguments(state, name)

    @boundary
    def Get_name(self) -> str:
        """Return the print name."""
        return "MPI_DATATYPE_NULL" if self._handle is None else self._state().name

    @boundary
    def Set_name(self, name: str) -> None:
        """Set the print name."""
        self._state().name = str(name)

    @property
    def name(self) -> str:
        """Print name."""
        return self.Get_name()

    @name.setter
    def name(self, value: str) -> None:
        self.Set_name(value)

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

    # -- packing -------------------------------------------------------------------------------------------------

    @boundary
    def Pack(self, inbuf: BufSpec, outbuf: BufSpec, position: int, comm: Any) -> int:
        """Pack elements into contiguous memory (MPI-4.1, 5.2).

        Args:
            inbuf: elements of this type. outbuf: where to pack.
            position: first byte in ``outbuf``. Returns the byte behind the packed data.
        """
        given = self._elements(inbuf, False)
        into = message_recv(_as_bytes(outbuf)).view
        end: int = position + given.nbytes
        if end > len(into) or position < 0:
            raise MPIError(c.ERR_ARG, f"{given.nbytes} bytes do not fit at byte {position} of {len(into)}")
        into[position:end] = given.payload()
        return end

    @boundary
    def Unpack(self, inbuf: BufSpec, position: int, outbuf: BufSpec, comm: Any) -> int:
        """Unpack elements from contiguous memory; the reverse of Pack."""
        packed = message_send(_as_bytes(inbuf)).view
        wanted = self._elements(outbuf, True)
        end: int = position + wanted.nbytes
        if end > len(packed) or position < 0:
            raise MPIError(c.ERR_ARG, f"{wanted.nbytes} bytes are not there at byte {position} of {len(packed)}")
        sink, finish = wanted.sink()
        sink[:] = packed[position:end]
        if finish is not None:
            finish(wanted.nbytes)
        return end

    @boundary
    def Pack_size(self, count: int, comm: Any) -> int:
        """Return the bytes that ``count`` packed elements take at most."""
        return index(count) * self._state().size

    @boundary
    def Pack_external(self, datarep: str, inbuf: BufSpec, outbuf: BufSpec, position: int) -> int:
        """Pack elements in a portable representation.

        Args:
            datarep: "external32". inbuf, outbuf, position: as in Pack.
        """
        external32.check(datarep)
        given = self._elements(inbuf, False)
        data = external32.to_external(self._state(), given.payload())
        into = message_recv(_as_bytes(outbuf)).view
        end: int = position + len(data)
        if end > len(into) or position < 0:
            raise MPIError(c.ERR_ARG, f"{len(data)} bytes do not fit at byte {position} of {len(into)}")
        into[position:end] = data
        return end

    @boundary
    def Unpack_external(self, datarep: str, inbuf: BufSpec, position: int, outbuf: BufSpec) -> int:
        """Unpack elements from a portable representation; the reverse of Pack_external."""
        external32.check(datarep)
        packed = message_send(_as_bytes(inbuf)).view
        wanted = self._elements(outbuf, True)
        end: int = position + external32.external_size(self._state(), wanted.count)
        if end > len(packed) or position < 0:
            raise MPIError(c.ERR_ARG, f"{end - position} bytes are not there at byte {position} of {len(packed)}")
        sink, finish = wanted.sink()
        sink[:] = external32.from_external(self._state(), packed[position:end], wanted.count)
        if finish is not None:
            finish(wanted.nbytes)
        return end

    @boundary
    def Pack_external_size(self, datarep: str, count: int) -> int:
        """Return the bytes that ``count`` elements take in a portable representation."""
        external32.check(datarep)
        return external32.external_size(self._state(), index(count))

    def _elements(self, buf: Any, writable: bool) -> Any:
        """Return the message of all elements of this type in a buffer."""
        self._state()
        return (message_recv if writable else message_send)([buf[0] if isinstance(buf, (list, tuple)) else buf, self])


def _as_bytes(buf: Any) -> Any:
    return [buf[0] if isinstance(buf, (list, tuple)) else buf, BYTE]


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
    if name == "RESIZED":
        return {"lb": counts[0], "extent": counts[1]}
    if name == "F90_INTEGER":
        return {"r": ints[0]}
    if name in ("F90_REAL", "F90_COMPLEX"):
        return {"p": ints[0], "r": ints[1]}
    return {}


DATATYPE_NULL = Datatype()
PREDEFINED: dict[str, Datatype] = {}
_by_state: dict[int, Datatype] = {}
for _name, _type in predefined.TYPES.items():
    if _type is None:
        PREDEFINED[_name] = DATATYPE_NULL
    else:
        PREDEFINED[_name] = _by_state.setdefault(id(_type), Datatype._wrap(_type))
BYTE = PREDEFINED["BYTE"]


def _known(state: Type) -> Datatype:
    """Return the object of a type: the one there is for a predefined type, a new one for others."""
    return _by_state.get(id(state)) or Datatype._wrap(state)


def typecode(datatype: Datatype) -> str | None:
    """Return the code of a predefined type, or None."""
    return None if datatype._handle is None else datatype._handle.code


def typealign(datatype: Datatype) -> int | None:
    """Return the alignment of a predefined type in bytes, or None."""
    state = datatype._handle
    return state.align if state is not None and state.named else None
