"""Cached attributes of communicators, datatypes and windows (MPI-4.1, 7.7).

Rules of this file:
- ``_handle.attributes`` maps keyvals to values, or is None as long as there are none.
- An exception in a user's callback is printed and becomes an error of class ERR_OTHER.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.constants import ERR_KEYVAL, ERR_OTHER, KEYVAL_INVALID
from fmi_mpi.errors import MPIError

__all__ = ["Attributes", "copy_attributes", "delete_attributes"]

_FIRST_KEYVAL = 1000


class _Keyval:
    __slots__ = ("copy", "delete", "freed", "kind", "nopython")

    def __init__(self, kind: str, copy: Any, delete: Any, nopython: bool) -> None:
        self.kind = kind
        self.copy = copy
        self.delete = delete
        self.nopython = nopython
        self.freed = False


_keyvals: dict[int, _Keyval] = {}
_counter = [_FIRST_KEYVAL]


def _callback(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception:
        traceback.print_exc()
        raise MPIError(ERR_OTHER, "an attribute callback failed") from None


class Attributes(Handle):
    """Mixin of the classes that have attributes."""

    __slots__ = ()

    def _attributes_of(self) -> Any:
        """Return the state that has the attributes; raises MPIError if the object is null."""
        raise NotImplementedError

    def _predefined_attribute(self, keyval: int) -> tuple[bool, Any]:
        """Return (known, value) of an attribute that MPI itself sets."""
        return False, None

    def _check_keyval(self, keyval: int) -> _Keyval:
        found = _keyvals.get(keyval)
        if found is None or found.kind != self._kind().__name__:
            raise MPIError(ERR_KEYVAL, f"{keyval} is not an attribute key of a {self._kind().__name__}")
        return found

    @boundary
    def Get_attr(self, keyval: int) -> int | Any | None:
        """Return the value of an attribute, None if it is not set."""
        state = self._attributes_of()
        known, value = self._predefined_attribute(keyval)
        if known:
            return value
        self._check_keyval(keyval)
        return None if state.attributes is None else state.attributes.get(keyval)

    @boundary
    def Set_attr(self, keyval: int, attrval: Any) -> None:
        """Set the value of an attribute."""
        state = self._attributes_of()
        found = self._check_keyval(keyval)
        if found.nopython and not isinstance(attrval, int):
            raise TypeError("the attribute takes an integer")
        if state.attributes is None:
            state.attributes = {}
        elif keyval in state.attributes and found.delete is not None:
            _callback(found.delete, self, keyval, state.attributes[keyval])
        state.attributes[keyval] = attrval

    @boundary
    def Delete_attr(self, keyval: int) -> None:
        """Delete an attribute."""
        state = self._attributes_of()
        found = self._check_keyval(keyval)
        if state.attributes is not None and keyval in state.attributes:
            if found.delete is not None:
                _callback(found.delete, self, keyval, state.attributes[keyval])
            del state.attributes[keyval]

    @classmethod
    def Create_keyval(
        cls,
        copy_fn: Callable[[Any, int, Any], Any] | None = None,
        delete_fn: Callable[[Any, int, Any], None] | None = None,
        nopython: bool = False,
    ) -> int:
        """Create an attribute key.

        Args:
            copy_fn: called as (object, key, value) on duplication, returns the copy's value or NotImplemented; True
                and None (default) stand for copying the value and for leaving it out.
            delete_fn: called as (object, key, value) on deletion.
            nopython: values are plain integers.
        """
        _counter[0] += 1
        _keyvals[_counter[0]] = _Keyval(cls._kind().__name__, copy_fn, delete_fn, nopython)
        return _counter[0]

    @classmethod
    @boundary
    def Free_keyval(cls, keyval: int) -> int:
        """Free an attribute key; attributes that are set stay. Returns KEYVAL_INVALID."""
        found = _keyvals.get(keyval)
        if found is None or found.freed or found.kind != cls._kind().__name__:
            raise MPIError(ERR_KEYVAL, f"{keyval} is not an attribute key of a {cls._kind().__name__}")
        found.freed = True
        return KEYVAL_INVALID


def copy_attributes(old: Attributes, state: Any) -> None:
    """Give a duplicate's state the attributes that are to be copied."""
    attributes = old._handle.attributes
    if not attributes:
        return
    for keyval, value in list(attributes.items()):
        copy = _keyvals[keyval].copy
        if copy is None or copy is False:
            continue
        new = value if copy is True else _callback(copy, old, keyval, value)
        if new is NotImplemented:
            continue
        if state.attributes is None:
            state.attributes = {}
        state.attributes[keyval] = new


def delete_attributes(obj: Attributes) -> None:
    """Run the delete callbacks of an object that is being freed, the newest attribute first."""
    attributes = obj._handle.attributes
    while attributes:
        keyval, value = attributes.popitem()
        delete = _keyvals[keyval].delete
        if delete is not None:
            _callback(delete, obj, keyval, value)
