"""Data representations: the standard's and those that users register (MPI-4.1, 14.5).

Rules of this file:
- "native" and "internal" are the bytes of memory, "external32" is converted by ``data.external32``.
- A registered representation has no conversion functions (as in MPICH, where others are refused): it is "native".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fmi_mpi.api.datatype import Datatype, datatype_create
from fmi_mpi.api.exception import boundary
from fmi_mpi.api.traits import text
from fmi_mpi.constants import ERR_ARG, ERR_DUP_DATAREP, ERR_UNSUPPORTED_DATAREP, MAX_DATAREP_STRING
from fmi_mpi.data import external32
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.predefined import BYTE
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    from fmi_mpi.typing import Buffer

__all__ = ["Register_datarep", "in_file", "known"]

_STANDARD = ("native", "internal", "external32")
_registered: dict[str, Callable[[Datatype], int] | None] = {}


@boundary
def Register_datarep(
    datarep: str,
    read_fn: Callable[[Buffer, Datatype, int, Buffer, int], None] | None,
    write_fn: Callable[[Buffer, Datatype, int, Buffer, int], None] | None,
    extent_fn: Callable[[Datatype], int] | None,
) -> None:
    """Register a data representation.

    Args:
        datarep: its name, of at most MAX_DATAREP_STRING characters.
        read_fn, write_fn: conversions from and to the file; only None is supported (ERR_UNSUPPORTED_DATAREP).
        extent_fn: returns the extent of a datatype in the file.
    """
    name = text(datarep)
    if not name or len(name) > MAX_DATAREP_STRING:
        raise MPIError(ERR_ARG, f"the name of a data representation has 1 to {MAX_DATAREP_STRING} characters")
    if name in _registered or name in _STANDARD:
        raise MPIError(ERR_DUP_DATAREP, f"there is a data representation {name!r} already")
    if read_fn is not None or write_fn is not None:
        raise MPIError(ERR_UNSUPPORTED_DATAREP, "conversion functions are not supported; convert data before writing")
    _registered[name] = extent_fn


def known(datarep: str) -> str:
    """Return the name of a data representation in its usual form; raises MPIError if there is none."""
    name = text(datarep)
    if name in _registered:
        return name
    if name.lower() in _STANDARD:
        return name.lower()
    names = ", ".join((*_STANDARD, *_registered))
    raise MPIError(ERR_UNSUPPORTED_DATAREP, f"there is no data representation {name!r}; there are {names}")


def in_file(datatype: Type, datarep: str) -> Type:
    """Return a type as it is in a file of a data representation: other primitives, the same displacements in bytes."""
    if datarep != "external32" or not datatype.size:
        return datatype
    size = external32.external_size(datatype, 1)
    if size == datatype.size:
        return datatype
    base, combiner, params = Datatype._wrap(datatype).decode()
    if combiner == "STRUCT":
        params = {**params, "datatypes": [_wrapped(part._state(), datarep) for part in params["datatypes"]]}
        made = datatype_create(base, combiner, params)
    elif datatype.named or not base:
        made = Datatype._wrap(BYTE).Create_contiguous(size)
    else:
        made = datatype_create(_wrapped(base._state(), datarep), combiner, params)
    return made.Commit()._state()


def _wrapped(datatype: Type, datarep: str) -> Datatype:
    return Datatype._wrap(in_file(datatype, datarep))
