"""The functions of ``MPI`` about error classes, codes and strings (MPI-4.1, 9.4 and 9.5); see ``errortable``."""

from __future__ import annotations

from operator import index

from fmi_mpi.api.errortable import TABLE
from fmi_mpi.api.exception import boundary

__all__ = [
    "Add_error_class",
    "Add_error_code",
    "Add_error_string",
    "Get_error_class",
    "Get_error_string",
    "Remove_error_class",
    "Remove_error_code",
    "Remove_error_string",
    "last_used_code",
]


def last_used_code() -> int:
    """Return the largest code in use (attribute LASTUSEDCODE)."""
    return TABLE.last_used


def Get_error_class(errorcode: int) -> int:
    """Return the error class of an error code, ERR_UNKNOWN if the code is unknown."""
    return TABLE.class_of(index(errorcode))


def Get_error_string(errorcode: int) -> str:
    """Return the error string of an error code or class."""
    return TABLE.string_of(index(errorcode))


def Add_error_class() -> int:
    """Add an error class and return it."""
    return TABLE.add_class()


@boundary
def Remove_error_class(errorclass: int) -> None:
    """Remove an error class that was added and has neither codes nor a string."""
    TABLE.remove_class(index(errorclass))


@boundary
def Add_error_code(errorclass: int) -> int:
    """Add an error code to an error class and return it."""
    return TABLE.add_code(index(errorclass))


@boundary
def Remove_error_code(errorcode: int) -> None:
    """Remove an error code that was added and has no string."""
    TABLE.remove_code(index(errorcode))


@boundary
def Add_error_string(errorcode: int, string: str) -> None:
    """Set the string of an error class or code that was added."""
    TABLE.add_string(index(errorcode), string.decode() if isinstance(string, bytes) else _text(string))


@boundary
def Remove_error_string(errorcode: int) -> None:
    """Remove the string of an error class or code that was added."""
    TABLE.remove_string(index(errorcode))


def _text(string: str) -> str:
    if not isinstance(string, str):
        raise TypeError(f"expecting a string, got {type(string).__name__}")
    return string
