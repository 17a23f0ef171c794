"""Error classes, codes and strings, and those that users add (MPI-4.1, 9.5).

Rules of this file:
- A predefined error code is its error class. User classes and codes come after ERR_LASTCODE.
- Removal follows MPI-4.1: only what a user has added, codes before their class.
"""

from __future__ import annotations

from typing import Final

from fmi_mpi import constants
from fmi_mpi.constants import ERR_ARG, ERR_LASTCODE
from fmi_mpi.errors import MPIError

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

_TEXTS: Final = {
    "SUCCESS": "no error",
    "ERR_ABI": "ABI mismatch",
    "ERR_ACCESS": "permission denied",
    "ERR_AMODE": "invalid access mode",
    "ERR_ARG": "invalid argument",
    "ERR_ASSERT": "invalid assertion",
    "ERR_BAD_FILE": "invalid file name",
    "ERR_BASE": "invalid base address",
    "ERR_BUFFER": "invalid buffer",
    "ERR_COMM": "invalid communicator",
    "ERR_CONVERSION": "data conversion failed",
    "ERR_COUNT": "invalid count",
    "ERR_DIMS": "invalid dimensions",
    "ERR_DISP": "invalid displacement",
    "ERR_DUP_DATAREP": "data representation exists already",
    "ERR_ERRHANDLER": "invalid error handler",
    "ERR_FILE": "invalid file handle",
    "ERR_FILE_EXISTS": "file exists",
    "ERR_FILE_IN_USE": "file is in use",
    "ERR_GROUP": "invalid group",
    "ERR_INFO": "invalid info object",
    "ERR_INFO_KEY": "invalid info key",
    "ERR_INFO_NOKEY": "no such info key",
    "ERR_INFO_VALUE": "invalid info value",
    "ERR_INTERN": "internal error",
    "ERR_IN_STATUS": "see the error field of the statuses",
    "ERR_IO": "input or output failed",
    "ERR_KEYVAL": "invalid attribute key",
    "ERR_LASTCODE": "last predefined error code",
    "ERR_LOCKTYPE": "invalid lock type",
    "ERR_NAME": "service name is not published",
    "ERR_NOT_SAME": "arguments differ between processes",
    "ERR_NO_MEM": "out of memory",
    "ERR_NO_SPACE": "no space left",
    "ERR_NO_SUCH_FILE": "no such file",
    "ERR_OP": "invalid operation",
    "ERR_OTHER": "other error",
    "ERR_PENDING": "request is pending",
    "ERR_PORT": "invalid port",
    "ERR_PROC_ABORTED": "a process has aborted",
    "ERR_PROC_FAILED": "a process has failed",
    "ERR_PROC_FAILED_PENDING": "a process has failed, the operation may still complete",
    "ERR_QUOTA": "quota exceeded",
    "ERR_RANK": "invalid rank",
    "ERR_READ_ONLY": "read-only file or file system",
    "ERR_REQUEST": "invalid request",
    "ERR_REVOKED": "the communicator has been revoked",
    "ERR_RMA_ATTACH": "memory cannot be attached",
    "ERR_RMA_CONFLICT": "conflicting accesses to a window",
    "ERR_RMA_FLAVOR": "wrong kind of window",
    "ERR_RMA_RANGE": "target memory is not part of the window",
    "ERR_RMA_SHARED": "memory cannot be shared",
    "ERR_RMA_SYNC": "wrong synchronization of a window",
    "ERR_ROOT": "invalid root",
    "ERR_SERVICE": "invalid service name",
    "ERR_SESSION": "invalid session",
    "ERR_SIZE": "invalid size",
    "ERR_SPAWN": "processes could not be spawned",
    "ERR_TAG": "invalid tag",
    "ERR_TOPOLOGY": "invalid topology",
    "ERR_TRUNCATE": "message truncated",
    "ERR_TYPE": "invalid datatype",
    "ERR_UNKNOWN": "unknown error",
    "ERR_UNSUPPORTED_DATAREP": "unsupported data representation",
    "ERR_UNSUPPORTED_OPERATION": "unsupported operation",
    "ERR_VALUE_TOO_LARGE": "value does not fit its type",
    "ERR_WIN": "invalid window",
}

_STRINGS: Final = {
    getattr(constants, name): ("MPI_SUCCESS" if name == "SUCCESS" else f"MPI_{name}") + f": {text}"
    for name, text in _TEXTS.items()
}

_classes: dict[int, set[int]] = {}
_codes: dict[int, int] = {}
_user_strings: dict[int, str] = {}
_used: list[int] = []


def last_used_code() -> int:
    """Return the largest code in use (attribute LASTUSEDCODE)."""
    return max(_used, default=ERR_LASTCODE)


def _fresh() -> int:
    code = last_used_code() + 1
    _used.append(code)
    return code


def Get_error_class(errorcode: int) -> int:
    """Return the error class of an error code."""
    if errorcode in _STRINGS:
        return errorcode
    if errorcode in _classes:
        return errorcode
    if errorcode in _codes:
        return _codes[errorcode]
    raise MPIError(ERR_ARG, f"{errorcode} is not an error code")


def Get_error_string(errorcode: int) -> str:
    """Return the error string of an error code or class."""
    if errorcode in _STRINGS:
        return _STRINGS[errorcode]
    if errorcode in _classes or errorcode in _codes:
        return _user_strings.get(errorcode, "")
    raise MPIError(ERR_ARG, f"{errorcode} is not an error code")


def Add_error_class() -> int:
    """Add an error class and return it."""
    code = _fresh()
    _classes[code] = set()
    return code


def Remove_error_class(errorclass: int) -> None:
    """Remove an error class that was added and has no codes."""
    if errorclass not in _classes:
        raise MPIError(ERR_ARG, f"{errorclass} is not an error class that was added")
    if _classes[errorclass]:
        raise MPIError(ERR_ARG, f"error class {errorclass} still has codes; remove them first")
    if errorclass in _user_strings:
        raise MPIError(ERR_ARG, f"error class {errorclass} still has a string; remove it first")
    del _classes[errorclass]
    _used.remove(errorclass)


def Add_error_code(errorclass: int) -> int:
    """Add an error code to an error class and return it."""
    if errorclass not in _classes and errorclass not in _STRINGS:
        raise MPIError(ERR_ARG, f"{errorclass} is not an error class")
    code = _fresh()
    _codes[code] = errorclass
    if errorclass in _classes:
        _classes[errorclass].add(code)
    return code


def Remove_error_code(errorcode: int) -> None:
    """Remove an error code that was added."""
    if errorcode not in _codes:
        raise MPIError(ERR_ARG, f"{errorcode} is not an error code that was added")
    if errorcode in _user_strings:
        raise MPIError(ERR_ARG, f"error code {errorcode} still has a string; remove it first")
    _classes.get(_codes.pop(errorcode), set()).discard(errorcode)
    _used.remove(errorcode)


def Add_error_string(errorcode: int, string: str) -> None:
    """Set the string of an error class or code that was added."""
    if errorcode not in _classes and errorcode not in _codes:
        raise MPIError(ERR_ARG, f"{errorcode} is not an error class or code that was added")
    _user_strings[errorcode] = string


def Remove_error_string(errorcode: int) -> None:
    """Remove the string of an error class or code that was added."""
    if (errorcode not in _classes and errorcode not in _codes) or errorcode not in _user_strings:
        raise MPIError(ERR_ARG, f"{errorcode} has no string that was added")
    del _user_strings[errorcode]
