"""``MPI.BOTTOM`` and the other special buffer arguments."""

from __future__ import annotations

from fmi_mpi.data.special import BOTTOM, BUFFER_AUTOMATIC, IN_PLACE, BottomType, BufferAutomaticType, InPlaceType

__all__ = ["BOTTOM", "BUFFER_AUTOMATIC", "IN_PLACE", "BottomType", "BufferAutomaticType", "InPlaceType"]
