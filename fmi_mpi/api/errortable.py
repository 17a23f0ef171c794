"""The error classes, codes and strings that this process knows (MPI-4.1, 9.4 and 9.5).

Rules of this file:
- A predefined error code is its error class. User classes and codes come after ERR_LASTCODE.
- Removal follows MPI-4.1: only what a user has added, strings before codes, codes before their class.
- Asking about an unknown code never fails: an exception must be able to print itself.
"""

from __future__ import annotations

from typing import Final

from fmi_mpi import constants
from fmi_mpi.constants import ERR_ARG, ERR_LASTCODE, ERR_UNKNOWN, MAX_ERROR_STRING
from fmi_mpi.errors import MPIError

__all__ = ["TABLE", "ErrorTable"]

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


class ErrorTable:
    """Predefined error classes and those, with codes and strings, that users add."""

    def __init__(self) -> None:
        self._classes: dict[int, set[int]] = {}
        self._codes: dict[int, int] = {}
        self._strings: dict[int, str] = {}
        self._last = ERR_LASTCODE

    @property
    def last_used(self) -> int:
        """The largest code that is or was in use (attribute LASTUSEDCODE)."""
        return self._last

    def class_of(self, code: int) -> int:
        """Return the error class of a code; ERR_UNKNOWN of an unknown one."""
        if code in _STRINGS or code in self._classes:
            return code
        return self._codes.get(code, ERR_UNKNOWN)

    def string_of(self, code: int) -> str:
        """Return the string of a class or code, empty if a user has added it without."""
        found = _STRINGS.get(code)
        if found is not None:
            return found
        if self._added(code):
            return self._strings.get(code, "")
        return f"{_STRINGS[ERR_UNKNOWN]} code {code}"

    def _added(self, code: int) -> bool:
        return code in self._classes or code in self._codes

    def _fresh(self) -> int:
        self._last += 1
        return self._last

    def add_class(self) -> int:
        """Return a new error class."""
        code = self._fresh()
        self._classes[code] = set()
        return code

    def add_code(self, errorclass: int) -> int:
        """Return a new error code of a class; raises MPIError if there is no such class."""
        if errorclass not in self._classes and errorclass not in _STRINGS:
            raise MPIError(ERR_ARG, f"{errorclass} is not an error class")
        code = self._fresh()
        self._codes[code] = errorclass
        if errorclass in self._classes:
            self._classes[errorclass].add(code)
        return code

    def add_string(self, code: int, string: str) -> None:
        """Set the string of a class or code that was added; raises MPIError for others."""
        if not self._added(code):
            raise MPIError(ERR_ARG, f"{code} is not an error class or code that was added")
        self._strings[code] = string[: MAX_ERROR_STRING - 1]

    def remove_class(self, errorclass: int) -> None:
        """Forget a class without codes and string; raises MPIError for others."""
        if errorclass not in self._classes:
            raise MPIError(ERR_ARG, f"{errorclass} is not an error class that was added")
        if self._classes[errorclass]:
            raise MPIError(ERR_ARG, f"error class {errorclass} still has codes; remove them first")
        self._check_no_string(errorclass)
        del self._classes[errorclass]

    def remove_code(self, code: int) -> None:
        """Forget a code without string; raises MPIError for others."""
        if code not in self._codes:
            raise MPIError(ERR_ARG, f"{code} is not an error code that was added")
        self._check_no_string(code)
        self._classes.get(self._codes.pop(code), set()).discard(code)

    def remove_string(self, code: int) -> None:
        """Forget the string of a class or code; raises MPIError if none was added."""
        if code not in self._strings:
            raise MPIError(ERR_ARG, f"{code} has no string that was added")
        del self._strings[code]

    def _check_no_string(self, code: int) -> None:
        if code in self._strings:
            raise MPIError(ERR_ARG, f"error code {code} still has a string; remove it first")


TABLE: Final = ErrorTable()
