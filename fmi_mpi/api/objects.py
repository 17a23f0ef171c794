"""The object model that all MPI classes share.

Rules of this file:
- An MPI object holds one reference, ``_handle``, to the state that copies of it share; None is the null handle.
- Objects are built in ``__new__``, so that users may subclass freely; they compare by handle and are not hashable.
- Predefined handles pickle by the name they have in the ``MPI`` namespace; others refuse to be pickled.
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar, Self

__all__ = ["Handle", "address_of", "handle_of", "name_constants", "size_of"]

_names: dict[tuple[type, int], str] = {}
"""(class of handles, id of the state) -> name of the predefined object; the states live as long as the process."""

_numbers: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_unreferable: dict[int, tuple[int, Any]] = {}
_states: dict[int, Any] = {}
_next_number = itertools.count(1)
_cells: dict[int, ctypes.c_void_p] = {}


def name_constants(namespace: Mapping[str, Any]) -> None:
    """Remember the names of the predefined objects of the ``MPI`` namespace, for pickling."""
    for name, value in namespace.items():
        if isinstance(value, Handle) and not name.startswith("_"):
            _names.setdefault((value._kind(), id(value._handle)), name)


def _number(state: Any) -> int:
    """Return the integer of a state, the same as long as the state lives."""
    if state is None:
        return 0
    try:
        number = _numbers.get(state)
        if number is None:
            number = next(_next_number)
            _numbers[state] = number
            weakref.finalize(state, _states.pop, number, None)
            _states[number] = weakref.ref(state)
        return number
    except TypeError:  # a state that cannot be referenced weakly, or compared
        found = _unreferable.get(id(state))
        if found is None:
            found = _unreferable[id(state)] = (next(_next_number), state)
            _states[found[0]] = lambda: state
        return found[0]


class Handle:
    """Base of all MPI classes."""

    __slots__ = ("__weakref__", "_handle")
    _family: ClassVar[type[Handle] | None] = None
    """The class whose instances may be copied into each other and compared: ``Comm`` for all communicators."""

    _handle: Any

    def __new__(cls, other: Any = None) -> Self:
        self = object.__new__(cls)
        if other is None:
            self._handle = None
        else:
            kind = cls._kind()
            if not isinstance(other, kind):
                raise TypeError(f"expecting {kind.__name__}, got {type(other).__name__}")
            self._handle = other._handle
        return self

    def __init_subclass__(cls, family: bool = False) -> None:
        if family:
            cls._family = cls

    @classmethod
    def _kind(cls) -> type[Handle]:
        return cls._family or cls

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, self._kind()):
            return NotImplemented
        return self._handle is other._handle

    def __ne__(self, other: object) -> bool:
        if not isinstance(other, self._kind()):
            return NotImplemented
        return self._handle is not other._handle

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self._handle is not None

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = _names.get((self._kind(), id(self._handle)))
        if name is None:
            raise ValueError(f"cannot pickle a {type(self).__name__} that is not predefined")
        return name

    @classmethod
    def _wrap(cls, state: Any) -> Self:
        """Return a new object for a state."""
        self = cls.__new__(cls)
        self._handle = state
        return self

    # -- handles as integers -------------------------------------------------------------------------------------

    @property
    def handle(self) -> int:
        """MPI handle."""
        return _number(self._handle)

    @classmethod
    def fromhandle(cls, handle: int) -> Self:
        """Return the object of a handle that ``handle`` gave."""
        return cls._wrap(_state_of(handle))

    def toint(self) -> int:
        """Return the handle as an integer."""
        return _number(self._handle)

    @classmethod
    def fromint(cls, arg: int, /) -> Self:
        """Return the object of an integer that ``toint`` gave."""
        return cls._wrap(_state_of(arg))

    def py2f(self) -> int:
        """Return the handle as a Fortran integer."""
        return _number(self._handle)

    @classmethod
    def f2py(cls, arg: int) -> Self:
        """Return the object of a Fortran integer that ``py2f`` gave."""
        return cls._wrap(_state_of(arg))


def _state_of(number: int) -> Any:
    if number == 0:
        return None
    reference = _states.get(number)
    state = None if reference is None else reference()
    if state is None:
        raise ValueError(f"no MPI object has the handle {number}")
    return state


def handle_of(arg: Handle) -> int:
    """Return the handle of an MPI object as an integer."""
    if not isinstance(arg, Handle):
        raise TypeError(f"expecting an MPI object, got {type(arg).__name__}")
    return _number(arg._handle)


def size_of(arg: Any) -> int:
    """Return the bytes that a handle takes."""
    kind = arg if isinstance(arg, type) else type(arg)
    if not issubclass(kind, Handle):
        raise TypeError(f"expecting an MPI object or class, got {kind.__name__}")
    return ctypes.sizeof(ctypes.c_void_p)


def address_of(arg: Handle) -> int:
    """Return the address of a cell that holds the object's handle; it lives as long as the object."""
    number = handle_of(arg)
    cell = _cells.get(id(arg))
    if cell is None:
        cell = _cells[id(arg)] = ctypes.c_void_p(number)
        weakref.finalize(arg, _cells.pop, id(arg), None)
    cell.value = number
    return ctypes.addressof(cell)
