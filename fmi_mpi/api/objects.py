"""The object model that all MPI classes share.

Rules of this file:
- An MPI object holds one reference, ``_handle``, to the state that copies of it share; None is the null handle.
- Objects are built in ``__new__``, so that users may subclass freely; they compare by handle and are not hashable.
- A predefined object pickles by its name in the ``MPI`` namespace, a copy of it as a copy; others refuse.
- A handle's integer is given out on request and stays with the state; 0 is null.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from fmi_mpi.api.exception import to_exception
from fmi_mpi.api.status import Status
from fmi_mpi.errors import MPIError

if TYPE_CHECKING:
    import ctypes

__all__ = ["Handle", "address_of", "handle_of", "name_constants", "size_of"]

_constants: dict[type[Handle], dict[str, Handle]] = {}
_constant_ids: set[int] = set()
_numbers: dict[int, int] = {}
"""id of a state -> its integer"""
_states: dict[int, tuple[type[Handle], Callable[[], Any]]] = {}
"""integer -> (family, reference to the state)"""
_next_number = itertools.count(1)
_cells: dict[int, ctypes.c_void_p] = {}
"""id of an object -> the cell that ``address_of`` gave out"""


def name_constants(namespace: Mapping[str, Any]) -> None:
    """Remember the predefined objects of the ``MPI`` namespace by name; null handles before others."""
    named = [(name, value) for name, value in namespace.items() if isinstance(value, Handle) and name[0] != "_"]
    for name, value in sorted(named, key=lambda item: not item[0].endswith("_NULL")):
        _constants.setdefault(value._kind(), {})[name] = value
        _constant_ids.add(id(value))


class Handle:
    """Base of all MPI classes; one declared with ``family=True`` is what its subclasses copy from and compare to."""

    __slots__ = ("__weakref__", "_handle")
    _family: ClassVar[tuple[type[Handle]]]
    _handle: Any

    def __new__(cls, other: Any = None) -> Self:
        self = object.__new__(cls)
        if other is None:
            self._handle = None
        elif isinstance(other, cls._family):
            self._handle = other._handle
        else:
            raise TypeError(f"expecting {cls._kind().__name__}, got {type(other).__name__}")
        return self

    def __init_subclass__(cls, family: bool = False) -> None:
        if family:
            cls._family = (cls,)

    @classmethod
    def _kind(cls) -> type[Handle]:
        return cls._family[0]

    @classmethod
    def _wrap(cls, state: Any) -> Self:
        """Return a new object for a state."""
        self = cls.__new__(cls)
        self._handle = state
        return self

    @classmethod
    def _of_state(cls, state: Any) -> Any:
        """Return a new object for a state that a handle's integer stands for."""
        return cls._wrap(state)

    def _failed(self, error: MPIError) -> NoReturn:
        """Turn the failure of a call into what the caller sees."""
        raise to_exception(error) from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, self._family):
            return NotImplemented
        if _cells:
            _read_cell(self)
            _read_cell(other)
        return self._handle is other._handle

    def __ne__(self, other: object) -> bool:
        if not isinstance(other, self._family):
            return NotImplemented
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self._handle is not None

    def __reduce__(self) -> str | tuple[Any, ...]:
        for name, constant in _equal_constants(self):
            return name if constant is self else (type(self), (constant,))
        raise ValueError(f"cannot pickle a {type(self).__name__} that is not predefined")

    def _is_constant(self) -> bool:
        """Tell whether this very object is a predefined one."""
        return id(self) in _constant_ids

    def _is_predefined(self) -> bool:
        """Tell whether the handle is that of a predefined object."""
        state = self._handle
        return any(constant._handle is state for constant in _constants.get(self._kind(), {}).values())

    def free(self) -> None:
        """Free the object unless it is null; a predefined one stays and a copy of it becomes null."""
        if self._handle is None or id(self) in _constant_ids:
            return
        free = getattr(self, "Free", None)
        if free is None or self._is_predefined():
            self._handle = None
        else:
            free()

    # -- handles as integers -------------------------------------------------------------------------------------

    @property
    def handle(self) -> int:
        """MPI handle."""
        return _number(self)

    @classmethod
    def fromhandle(cls, handle: int) -> Self:
        """Return an object of the handle with this integer; raises ValueError if there is none."""
        made: Self = cls._of_state(_state_of(cls, handle))
        return made

    def toint(self) -> int:
        """Return the handle as an integer."""
        return _number(self)

    @classmethod
    def fromint(cls, arg: int, /) -> Self:
        """Return an object of the integer that ``toint`` gave."""
        return cls.fromhandle(arg)

    def py2f(self) -> int:
        """Return the handle as a Fortran integer."""
        return _number(self)

    @classmethod
    def f2py(cls, arg: int) -> Self:
        """Return an object of the Fortran integer that ``py2f`` gave."""
        return cls.fromhandle(arg)


Handle._family = (Handle,)


def _equal_constants(obj: Handle) -> Iterator[tuple[str, Handle]]:
    """Yield the predefined objects with the same handle, the object itself first if it is one."""
    equal = [item for item in _constants.get(obj._kind(), {}).items() if item[1]._handle is obj._handle]
    return iter(sorted(equal, key=lambda item: item[1] is not obj))


def _number(obj: Handle) -> int:
    """Return the integer of an object's handle, the same as long as the state lives."""
    state = obj._handle
    if state is None:
        return 0
    key = id(state)
    number = _numbers.get(key)
    if number is not None and _states[number][1]() is state:
        return number
    number = _numbers[key] = next(_next_number)

    def forget(_: object, key: int = key, number: int = number) -> None:
        _states.pop(number, None)
        if _numbers.get(key) == number:
            del _numbers[key]

    reference: Callable[[], Any]
    try:
        reference = weakref.ref(state, forget)
    except TypeError:  # a state that cannot be referenced weakly stays
        reference = lambda: state  # noqa: E731
    _states[number] = (obj._kind(), reference)
    return number


def _state_of(cls: type[Handle], number: int) -> Any:
    if index(number) == 0:
        return None
    family, reference = _states.get(number, (None, None))
    if family is not cls._kind() or reference is None or (state := reference()) is None:
        raise ValueError(f"no {cls._kind().__name__} has the handle {number}")
    return state


# -- memory of handles, for foreign-function interfaces ----------------------------------------------------------


def _read_cell(obj: Handle) -> None:
    """Take over the handle that has been written to an object's cell."""
    cell = _cells.get(id(obj))
    if cell is not None and (cell.value or 0) != _number(obj):
        obj._handle = _state_of(type(obj), cell.value or 0)


def handle_of(arg: Handle | Status) -> int:
    """Return the handle of an MPI object as an integer; of a status, its address."""
    if isinstance(arg, Status):
        return arg._address()
    if not isinstance(arg, Handle):
        raise TypeError(f"expecting an MPI object, got {type(arg).__name__}")
    return _number(arg)


def size_of(arg: Handle | Status | type) -> int:
    """Return the bytes that the handle of an object or class takes; of a status, its own."""
    kind = arg if isinstance(arg, type) else type(arg)
    if issubclass(kind, Status):
        return len(Status().tomemory()) * 4
    if not issubclass(kind, Handle):
        raise TypeError(f"expecting an MPI object or class, got {kind.__name__}")
    return 8


def address_of(arg: Handle | Status) -> int:
    """Return the address of a cell that holds the object's handle; it lives as long as the object."""
    import ctypes

    number = handle_of(arg)
    if isinstance(arg, Status):
        return number
    cell = _cells.get(id(arg))
    if cell is None:
        cell = _cells[id(arg)] = ctypes.c_void_p(number)
        weakref.finalize(arg, _cells.pop, id(arg), None)
    cell.value = number
    return ctypes.addressof(cell)
