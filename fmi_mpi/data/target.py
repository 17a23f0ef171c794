"""Target specifications of one-sided communication: where in the target's window, how many, of which type.

Rules of this file:
- Forms and exceptions are mpi4py's: None; ``displ``; ``[displ]``; ``[displ, count]``; ``[displ, count, type]``. What is
  left out is as at the origin.
"""

from __future__ import annotations

from operator import index
from typing import Any

from fmi_mpi.constants import ERR_COUNT, ERR_TYPE
from fmi_mpi.data.datatype import Type
from fmi_mpi.data.message import Message, type_named
from fmi_mpi.errors import MPIError

__all__ = ["rma_target"]


def rma_target(spec: Any, origin: Message) -> tuple[int, int, Type]:
    """Return displacement (in the window's units), count and type.

    Args:
        spec: target specification (mpi4py's ``TargetSpec``).
        origin: message of the origin's buffer.
    """
    if spec is None:
        return 0, origin.count, origin.datatype
    if not isinstance(spec, (list, tuple)):
        try:
            return index(spec), origin.count, origin.datatype
        except TypeError:
            raise ValueError("target: expecting integral or list/tuple") from None
    if len(spec) > 3:
        raise ValueError("target: expecting 3 items at most")
    displ = index(spec[0]) if len(spec) > 0 else 0
    count = index(spec[1]) if len(spec) > 1 else origin.count
    datatype = type_named(spec[2]) if len(spec) > 2 else origin.datatype
    if count < 0:
        raise MPIError(ERR_COUNT, f"a count is negative: {count}")
    if datatype is None:
        raise MPIError(ERR_TYPE, "the datatype of a target is null")
    return displ, count, datatype
