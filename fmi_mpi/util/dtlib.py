"""Conversion of MPI datatypes to numpy dtypes and back.

Rules of this file:
- A type is described together with its alignment, from its parts upwards; handles that decoding made are freed.
- Without numpy (``_np_dtype`` is None), descriptions stay what ``numpy.dtype`` would take: codes, tuples, dicts.
- What has no counterpart on the other side raises ValueError: objects, foreign byte order, partial subarrays, new bounds
  of anything but structs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

from fmi_mpi import MPI
from fmi_mpi.api.datatype import typealign, typecode

if TYPE_CHECKING:
    from numpy import dtype as Dtype
    from numpy.typing import DTypeLike

__all__ = ["from_numpy_dtype", "to_numpy_dtype"]

_np_dtype: Any = numpy.dtype

_PAIRS = (
    (MPI.SHORT_INT, "h,i"),
    (MPI.TWOINT, "i,i"),
    (MPI.LONG_INT, "l,i"),
    (MPI.FLOAT_INT, "f,i"),
    (MPI.DOUBLE_INT, "d,i"),
    (MPI.LONG_DOUBLE_INT, "g,i"),
)

Described = tuple[Any, int]
"""(dtype or what ``numpy.dtype`` takes, alignment in bytes)"""


def from_numpy_dtype(dtype: DTypeLike) -> MPI.Datatype:
    """Return a new datatype for a numpy dtype.

    Raises:
        ValueError: the dtype has objects, foreign byte order, or elements that MPI does not know.
    """
    if _np_dtype is None:
        raise RuntimeError("numpy is not available")
    given = _np_dtype(dtype)
    if given.hasobject:
        raise ValueError("a numpy dtype of objects has no MPI datatype")
    if not given.isnative:
        raise ValueError("a numpy dtype of foreign byte order has no MPI datatype")
    if given.subdtype is not None:
        return _from_array(*given.subdtype)
    if given.names:
        return _from_struct(given)
    return MPI.Datatype.fromcode(given.char).Dup()


def _from_array(element: Any, shape: tuple[int, ...]) -> MPI.Datatype:
    base = from_numpy_dtype(element)
    try:
        if len(shape) == 1:
            return base.Create_contiguous(shape[0])
        return base.Create_subarray(shape, shape, (0,) * len(shape))
    finally:
        base.Free()


def _from_struct(given: Any) -> MPI.Datatype:
    parts: list[MPI.Datatype] = []
    offsets: list[int] = []
    try:
        for name in given.names:
            element, offset = given.fields[name][:2]
            parts.append(from_numpy_dtype(element))
            offsets.append(offset)
        struct = MPI.Datatype.Create_struct([1] * len(parts), offsets, parts)
    finally:
        for part in parts:
            part.Free()
    try:
        return struct.Create_resized(0, given.itemsize)
    finally:
        struct.Free()


def to_numpy_dtype(datatype: MPI.Datatype) -> Dtype[Any]:
    """Return the numpy dtype of a datatype.

    Raises:
        ValueError: the datatype is null, or numpy has no counterpart.
    """
    if datatype == MPI.DATATYPE_NULL:
        raise ValueError("the null datatype has no numpy dtype")
    described: Dtype[Any] = _describe(datatype)[0]
    return described


def _describe(datatype: MPI.Datatype) -> Described:
    code, align = typecode(datatype), typealign(datatype)
    if code is not None and align is not None:
        return _dtype(datatype.typestr if datatype.typechar == "U" else code), align
    for pair, codes in _PAIRS:
        if datatype == pair:
            return _pair(codes, align or 1)
    base, combiner, arguments = datatype.decode()
    try:
        return _describe_derived(datatype, base, combiner, arguments)
    finally:
        for part in (base, *arguments.get("datatypes", ())):
            part.free()


def _describe_derived(
    datatype: MPI.Datatype, base: MPI.Datatype, combiner: str, arguments: dict[str, Any]
) -> Described:
    match combiner:
        case "DUP":
            return _describe(base)
        case "CONTIGUOUS":
            return _array(_describe(base), (arguments["count"],))
        case "SUBARRAY":
            return _describe_subarray(base, **arguments)
        case "VECTOR" | "HVECTOR":
            count, stride = arguments["count"], arguments["stride"]
            displacements = [i * stride for i in range(count)]
            return _blocks(base, combiner, [arguments["blocklength"]] * count, displacements, datatype.extent)
        case "INDEXED" | "HINDEXED":
            return _blocks(base, combiner, arguments["blocklengths"], arguments["displacements"], None)
        case "INDEXED_BLOCK" | "HINDEXED_BLOCK":
            displacements = arguments["displacements"]
            lengths = [arguments["blocklength"]] * len(displacements)
            return _blocks(base, combiner, lengths, displacements, None)
        case "STRUCT":
            return _describe_struct(**arguments, extent=datatype.extent)
        case "RESIZED" if base.combiner == MPI.COMBINER_STRUCT and arguments["lb"] == 0:
            parts = base.decode()[2]
            try:
                return _describe_struct(**parts, extent=datatype.extent)
            finally:
                for part in parts["datatypes"]:
                    part.free()
        case "VALUE_INDEX":
            pair = arguments["value"], arguments["index"]
            return _pair(",".join(part.tocode() for part in pair), max(typealign(part) or 1 for part in pair))
    raise ValueError(f"a datatype made by {combiner} of {base.name or 'a derived datatype'} has no numpy dtype")


def _describe_subarray(
    base: MPI.Datatype, sizes: list[int], subsizes: list[int], starts: list[int], order: int
) -> Described:
    if sizes != subsizes or any(starts):
        raise ValueError("a subarray that is not the whole array has no numpy dtype")
    return _array(_describe(base), tuple(sizes if order == MPI.ORDER_C else reversed(sizes)))


def _describe_struct(
    blocklengths: list[int], displacements: list[int], datatypes: list[MPI.Datatype], extent: int
) -> Described:
    elements = [_describe(part) for part in datatypes]
    fields = [element if length == 1 else _array(element, length) for element, length in zip(elements, blocklengths)]
    return _record(fields, displacements, extent)


def _blocks(
    base: MPI.Datatype, combiner: str, blocklengths: Sequence[int], displacements: Sequence[int], extent: int | None
) -> Described:
    """Describe blocks of one type as a record with a field for each; displacements of H types are bytes."""
    unit = 1 if combiner.startswith("H") else base.extent
    element = _describe(base)
    fields = [_array(element, (length,)) for length in blocklengths]
    return _record(fields, [unit * at for at in displacements], extent)


# -- descriptions ------------------------------------------------------------------------------------------------------


def _dtype(description: Any) -> Any:
    return description if _np_dtype is None else _np_dtype(description)


def _array(element: Described, shape: int | tuple[int, ...]) -> Described:
    description, align = element
    return _dtype((description, shape)), align


def _pair(codes: str, align: int) -> Described:
    return (codes, {"align": True}) if _np_dtype is None else _np_dtype(codes, align=True), align


def _record(fields: Sequence[Described], offsets: Sequence[int], itemsize: int | None) -> Described:
    """Describe fields at byte offsets; aligned as a C compiler would if all of them are.

    Args:
        itemsize: bytes of the record; None leaves it to numpy.
    """
    align = math.lcm(*(each for _, each in fields))
    aligned = not (itemsize or 0) % align and not any(at % each for at, (_, each) in zip(offsets, fields))
    record: dict[str, Any] = {
        "names": [f"f{i}" for i in range(len(fields))],
        "formats": [description for description, _ in fields],
        "offsets": list(offsets),
        "aligned": aligned,
    }
    if itemsize is not None:
        record["itemsize"] = itemsize
    return _dtype(record), align if aligned else 1
