"""What the chapters share: communicators by name, comparable forms of values, error classes by name, typed arrays.

Rules of this file:
- nothing here knows an implementation: the module comes in as an argument, public names only;
- freeze() accepts plain values, arrays and exceptions, and refuses the rest, so that nothing is compared by address.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

COMMS = ("world", "self", "reversed", "halves")
DIGEST_FROM = 1 << 12

# MPI datatype -> numpy type code, for every predefined type whose elements numpy has.
NUMERIC = {
    "SIGNED_CHAR": "b", "SHORT": "h", "INT": "i", "LONG": "l", "LONG_LONG": "q",
    "UNSIGNED_CHAR": "B", "UNSIGNED_SHORT": "H", "UNSIGNED": "I", "UNSIGNED_LONG": "L", "UNSIGNED_LONG_LONG": "Q",
    "INT8_T": "i1", "INT16_T": "i2", "INT32_T": "i4", "INT64_T": "i8",
    "UINT8_T": "u1", "UINT16_T": "u2", "UINT32_T": "u4", "UINT64_T": "u8",
    "AINT": "p", "OFFSET": "i8", "COUNT": "i8",
    "INTEGER": "i4", "INTEGER1": "i1", "INTEGER2": "i2", "INTEGER4": "i4", "INTEGER8": "i8",
}  # fmt: skip
REAL = {
    "FLOAT": "f", "DOUBLE": "d", "LONG_DOUBLE": "g", "FLOAT32_T": "f4", "FLOAT64_T": "f8",
    "REAL": "f4", "REAL4": "f4", "REAL8": "f8", "DOUBLE_PRECISION": "f8",
}  # fmt: skip
COMPLEX = {
    "C_COMPLEX": "F", "C_FLOAT_COMPLEX": "F", "C_DOUBLE_COMPLEX": "D", "C_LONG_DOUBLE_COMPLEX": "G",
    "CXX_FLOAT_COMPLEX": "F", "CXX_DOUBLE_COMPLEX": "D", "CXX_LONG_DOUBLE_COMPLEX": "G",
    "COMPLEX": "F", "DOUBLE_COMPLEX": "D", "COMPLEX8": "F", "COMPLEX16": "D",
}  # fmt: skip
BOOLEAN = {"C_BOOL": "?", "CXX_BOOL": "?"}
BYTES = {"BYTE": "u1"}
CHARACTERS = {"CHAR": "S1", "CHARACTER": "S1", "WCHAR": "U1"}
PAIRS = {
    "FLOAT_INT": "f", "DOUBLE_INT": "d", "LONG_INT": "l", "TWOINT": "i", "SHORT_INT": "h", "LONG_DOUBLE_INT": "g",
}  # fmt: skip
ELEMENTS = NUMERIC | REAL | COMPLEX | BOOLEAN | BYTES


def make_comm(MPI: Any, name: str) -> Any:
    """Make one of COMMS: a copy of the world or of SELF, the world in reverse order, or its even and odd ranks."""
    world = MPI.COMM_WORLD
    rank = world.Get_rank()
    if name == "self":
        return MPI.COMM_SELF.Dup()
    if name == "reversed":
        return world.Split(0, -rank)
    if name == "halves":
        return world.Split(rank % 2, rank)
    return world.Dup()


def pair_dtype(code: str) -> np.dtype[Any]:
    """Return the layout of a value-index pair of C."""
    return np.dtype([("value", code), ("index", "i")], align=True)


def values(code: str, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return small whole values, exact in any order of summation, that differ by seed and position."""
    plain = (np.arange(count) * 7 + seed * 3 + 1) % 11
    if np.dtype(code).kind in "SU":
        return np.array([chr(97 + n) for n in plain], code).reshape(count)
    return plain.astype(code)


def freeze(value: Any) -> Any:
    """Return a copy in a form that compares by value on both implementations; long arrays become digests."""
    if isinstance(value, bool | int | str | type(None) | complex):
        return value
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return data if len(data) < DIGEST_FROM else ("digest", len(data), hashlib.sha256(data).hexdigest())
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.char in "gG":  # items of a long double would stay numpy's
            return ("long", freeze(value.astype(value.dtype.char.translate({103: "d", 71: "D"}))))
        items = (
            value.tolist() if value.size < DIGEST_FROM else hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
        )
        return ("array", value.dtype.str, value.shape, freeze(items))
    if isinstance(value, tuple | list):
        return type(value)(map(freeze, value))
    if isinstance(value, dict):
        return {key: freeze(item) for key, item in value.items()}
    if isinstance(value, BaseException):
        return (type(value).__name__, str(value))
    raise TypeError(f"cannot be compared between implementations: {value!r}")


def error_name(MPI: Any, code: int) -> str:
    """Return the name of an error class or code's class, ERR_SOMETHING."""
    error_class = MPI.Get_error_class(code)
    names = (name for name in dir(MPI) if name.startswith("ERR_") and name != "ERR_LASTCODE")
    return next((name for name in names if getattr(MPI, name) == error_class), f"class {error_class}")


def constant_name(MPI: Any, value: int, *names: str) -> str:
    """Return which of the named constants has this value."""
    return next((name for name in names if getattr(MPI, name) == value), str(value))


def outcome(MPI: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Call and return "fine" or what was raised: an MPI error class by name, or the name of a Python exception."""
    try:
        function(*args, **kwargs)
    except MPI.Exception as error:
        return error_name(MPI, error.Get_error_class())
    except Exception as error:
        return type(error).__name__
    return "fine"


def status_fields(MPI: Any, status: Any, datatype: Any = None) -> tuple[Any, ...]:
    """Return source, tag, error class, counts and the cancelled flag of a status."""
    datatype = datatype or MPI.BYTE
    return (
        constant_name(MPI, status.Get_source(), "ANY_SOURCE", "PROC_NULL"),
        constant_name(MPI, status.Get_tag(), "ANY_TAG"),
        constant_name(MPI, status.Get_error(), "SUCCESS"),
        constant_name(MPI, status.Get_count(datatype), "UNDEFINED"),
        constant_name(MPI, status.Get_elements(datatype), "UNDEFINED"),
        status.Is_cancelled(),
    )


def neighbours(comm: Any) -> tuple[int, int]:
    """Return the ranks before and after on a ring."""
    rank, size = comm.Get_rank(), comm.Get_size()
    return (rank - 1) % size, (rank + 1) % size


CALLS = ("blocking", "nonblocking", "persistent")


def collective(comm: Any, call: str, name: str, *args: Any, **kwargs: Any) -> None:
    """Run a collective by its blocking name in one of the three forms, to its end."""
    if call == "blocking":
        getattr(comm, name)(*args, **kwargs)
    elif call == "nonblocking":
        getattr(comm, f"I{name.lower()}")(*args, **kwargs).Wait()
    else:
        request = getattr(comm, f"{name}_init")(*args, **kwargs)
        request.Start()
        request.Wait()
        request.Free()
