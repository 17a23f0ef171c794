"""Cached attributes of communicators, datatypes and windows (MPI-4.1, 7.7).

Rules of this file:
- ``attributes`` of a state maps keyvals to (value, key), or is None as long as there are none: an attribute outlives
  its key's ``Free_keyval``.
- An exception in a user's callback is printed and becomes an error of its own class or ERR_OTHER; only while an object is being
  freed it is printed and no more, since the object is gone anyway.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable
from operator import index
from typing import Any

from fmi_mpi.api.exception import boundary, call_back, comm_boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.constants import ERR_KEYVAL, KEYVAL_INVALID
from fmi_mpi.errors import MPIError

__all__ = ["Attributes", "copy_attributes", "delete_attributes"]

_FIRST_KEYVAL = 1000
_WORD = 1 << 64


class _Keyval:
    """An attribute key: for which class, and what happens on copying and deleting."""

    __slots__ = ("copy", "delete", "kind", "nopython")

    def __init__(self, kind: str, copy: Any, delete: Any, nopython: bool) -> None:
        self.kind = kind
        self.copy = copy
        self.delete = delete
        self.nopython = nopython


_keyvals: dict[int, _Keyval] = {}
_next_keyval = itertools.count(_FIRST_KEYVAL)


class Attributes(Handle):
    """Mixin of the classes that have attributes."""

    __slots__ = ()

    def _attributes_of(self) -> Any:
        """Return the state that has the attributes; raises MPIError if the object is null."""
        raise NotImplementedError

    def _predefined_attribute(self, keyval: int) -> tuple[bool, Any]:
        """Return (known, value) of an attribute that MPI itself sets."""
        return False, None

    @comm_boundary
    def Get_attr(self, keyval: int) -> int | Any | None:
        """Return the value of an attribute, None if it is not set."""
        state = self._attributes_of()
        known, value = self._predefined_attribute(index(keyval))
        if known:
            return value
        entry = None if state.attributes is None else state.attributes.get(keyval)
        if entry is None:
            _find(self, keyval)
            return None
        return entry[0]

    @comm_boundary
    def Set_attr(self, keyval: int, attrval: Any) -> None:
        """Set the value of an attribute, after deleting its present one."""
        state = self._attributes_of()
        key = _find(self, keyval)
        value = index(attrval) % _WORD if key.nopython else attrval
        if state.attributes is None:
            state.attributes = {}
        elif keyval in state.attributes:
            self.Delete_attr(keyval)
        state.attributes[keyval] = value, key

    @comm_boundary
    def Delete_attr(self, keyval: int) -> None:
        """Delete an attribute; does nothing if it is not set."""
        state = self._attributes_of()
        entry = None if state.attributes is None else state.attributes.get(keyval)
        if entry is None:
            _find(self, keyval)
            return
        value, key = entry
        if key.delete is not None:
            call_back(key.delete, self, keyval, value)
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
        keyval = next(_next_keyval)
        _keyvals[keyval] = _Keyval(cls._kind().__name__, copy_fn, delete_fn, nopython)
        return keyval

    @classmethod
    @boundary
    def Free_keyval(cls, keyval: int) -> int:
        """Free an attribute key and return KEYVAL_INVALID; attributes that are set stay until their object goes."""
        _find(cls, keyval)
        del _keyvals[keyval]
        return KEYVAL_INVALID


def _find(owner: Attributes | type[Attributes], keyval: int) -> _Keyval:
    """Return an attribute key of the owner's class; raises MPIError if it is none."""
    found = _keyvals.get(index(keyval))
    kind = owner._kind().__name__
    if found is None or found.kind != kind:
        raise MPIError(ERR_KEYVAL, f"{keyval} is not an attribute key of a {kind}")
    return found


def copy_attributes(old: Attributes, state: Any) -> None:
    """Give a duplicate's state the attributes that are to be copied."""
    attributes = old._handle.attributes
    if not attributes:
        return
    for keyval, (value, key) in list(attributes.items()):
        if key.copy is None or key.copy is False:
            continue
        new = value if key.copy is True else call_back(key.copy, old, keyval, value)
        if new is NotImplemented:
            continue
        if state.attributes is None:
            state.attributes = {}
        state.attributes[keyval] = new, key


def delete_attributes(obj: Attributes) -> None:
    """Run the delete callbacks of an object that is being freed, the newest attribute first."""
    attributes = obj._handle.attributes
    while attributes:
        keyval, (value, key) = attributes.popitem()
        if key.delete is not None:
            try:
                key.delete(obj, keyval, value)
            except Exception:
                traceback.print_exc()
