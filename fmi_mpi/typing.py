"""Types for annotations of code that uses MPI, as in mpi4py.typing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, SupportsIndex

from fmi_mpi.api.datatype import Datatype
from fmi_mpi.data.special import BottomType, InPlaceType

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


class SupportsBuffer(Protocol):
    """Offers memory by Python's buffer protocol."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the memory."""


class SupportsDLPack(Protocol):
    """Offers memory as DLPack capsules."""

    def __dlpack__(self, /, *, stream: Any = None) -> Any:
        """Return a capsule."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return kind and number of the device."""


class SupportsCAI(Protocol):
    """Offers memory by the CUDA array interface."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Description of the memory."""


Buffer = Any
"""Anything that offers memory: the buffer protocol, DLPack, the CUDA array interface."""
Bottom = BottomType | None
"""Start of the address range."""
InPlace = InPlaceType | None
"""In-place buffer argument."""
Aint = SupportsIndex
"""Address-sized integer."""
Count = SupportsIndex
"""Integer that counts."""
Displ = SupportsIndex
"""Displacement."""
Offset = SupportsIndex
"""Offset in a file."""
TypeSpec = Datatype | str
"""Datatype or its character code."""
BufSpec = Buffer | tuple[Any, ...] | list[Any]
"""Buffer, or [buffer, count or datatype], [buffer, count, datatype], [buffer, count, displacement, datatype]."""
BufSpecB = Buffer | tuple[Any, ...] | list[Any]
"""Like BufSpec, of one block for each of several processes."""
BufSpecV = Buffer | tuple[Any, ...] | list[Any]
"""Like BufSpec, with a count and a displacement for each of several processes."""
BufSpecW = tuple[Any, ...] | list[Any]
"""Like BufSpecV, with a datatype for each of several processes; displacements in bytes."""
TargetSpec = SupportsIndex | Sequence[Any]
"""Displacement, or [displacement, count, datatype] in a window."""
