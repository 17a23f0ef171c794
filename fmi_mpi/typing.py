"""Types of the arguments of MPI calls, for annotations.

Rules of this file:
- The names are those of mpi4py's module; a specification is a buffer, or a tuple or list of a buffer and what
  describes it. ``BOTTOM`` stands for a buffer when datatypes hold absolute addresses.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol, SupportsIndex, TypeAlias, TypeVar

from fmi_mpi.MPI import BottomType, Datatype, InPlaceType

__all__ = [
    "Aint",
    "Bottom",
    "BufSpec",
    "BufSpecB",
    "BufSpecV",
    "BufSpecW",
    "Buffer",
    "Count",
    "Displ",
    "InPlace",
    "Offset",
    "SupportsBuffer",
    "SupportsCAI",
    "SupportsDLPack",
    "TargetSpec",
    "TypeSpec",
]

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class SupportsBuffer(Protocol):
    """An object that exposes its memory through Python's buffer protocol."""

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            """Return a view of the memory."""


class SupportsDLPack(Protocol):
    """An object that exposes its memory through the DLPack protocol."""

    def __dlpack__(self, /, *, stream: int | Any | None = None) -> object:
        """Return a capsule that describes the memory."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the kind and the number of the device that has the memory."""


class SupportsCAI(Protocol):
    """An object that exposes its memory through the CUDA array interface."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Description of the memory."""


Buffer: TypeAlias = SupportsBuffer | SupportsDLPack | SupportsCAI
"""Any object with memory that MPI can read or write."""

Bottom: TypeAlias = BottomType | None
"""The start of the address space."""

InPlace: TypeAlias = InPlaceType | None
"""A buffer argument that is left out because the other buffer serves for both."""

Aint: TypeAlias = SupportsIndex
"""An address or a distance in bytes."""

Count: TypeAlias = SupportsIndex
"""A number of elements."""

Displ: TypeAlias = SupportsIndex
"""A displacement, in elements or in bytes as the call says."""

Offset: TypeAlias = SupportsIndex
"""A position in a file."""

TypeSpec: TypeAlias = Datatype | str
"""A datatype, or the code of one."""

BufSpec: TypeAlias = (
    Buffer
    | tuple[Buffer, Count]
    | tuple[Buffer, TypeSpec]
    | tuple[Buffer, Count, TypeSpec]
    | tuple[Bottom, Count, Datatype]
    | list[Any]
)
"""A message."""

BufSpecB: TypeAlias = (
    Buffer | tuple[Buffer, Count] | tuple[Buffer, TypeSpec] | tuple[Buffer, Count, TypeSpec] | list[Any]
)
"""A message in blocks of the same size, one a rank."""

BufSpecV: TypeAlias = (
    Buffer
    | tuple[Buffer, Sequence[Count]]
    | tuple[Buffer, tuple[Sequence[Count], Sequence[Displ]]]
    | tuple[Buffer, TypeSpec]
    | tuple[Buffer, Sequence[Count], TypeSpec]
    | tuple[Buffer, tuple[Sequence[Count], Sequence[Displ]], TypeSpec]
    | tuple[Buffer, Sequence[Count], Sequence[Displ], TypeSpec]
    | tuple[Bottom, tuple[Sequence[Count], Sequence[Displ]], Datatype]
    | tuple[Bottom, Sequence[Count], Sequence[Displ], Datatype]
    | list[Any]
)
"""A message in blocks with their own counts and displacements, one a rank."""

BufSpecW: TypeAlias = (
    tuple[Buffer, Sequence[Datatype]]
    | tuple[Buffer, tuple[Sequence[Count], Sequence[Displ]], Sequence[Datatype]]
    | tuple[Buffer, Sequence[Count], Sequence[Displ], Sequence[Datatype]]
    | tuple[Bottom, tuple[Sequence[Count], Sequence[Displ]], Sequence[Datatype]]
    | tuple[Bottom, Sequence[Count], Sequence[Displ], Sequence[Datatype]]
    | list[Any]
)
"""A message in blocks with their own counts, displacements in bytes and datatypes, one a rank."""

TargetSpec: TypeAlias = (
    Displ | tuple[()] | tuple[Displ] | tuple[Displ, Count] | tuple[Displ, Count, TypeSpec] | list[Any]
)
"""A place in a window."""
