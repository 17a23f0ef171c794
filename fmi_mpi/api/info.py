"""``MPI.Info``: ordered string pairs (MPI-4.1, chapter 10).

Rules of this file:
- Upper-case calls on the null handle fail; as a mapping it is empty and cannot be changed.
- INFO_ENV describes how this process was started; it is complete once MPI has been initialised.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Any, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
from fmi_mpi.api.traits import text
from fmi_mpi.constants import (
    ERR_ARG,
    ERR_INFO,
    ERR_INFO_KEY,
    ERR_INFO_NOKEY,
    ERR_INFO_VALUE,
    MAX_INFO_KEY,
    MAX_INFO_VAL,
)
from fmi_mpi.errors import MPIError

__all__ = ["INFO_ENV", "INFO_NULL", "Info", "InfoImpl", "describe"]


class InfoImpl:
    """The state of an info object."""

    __slots__ = ("__weakref__", "pairs", "permanent")

    def __init__(self, pairs: Mapping[str, str] | None = None, permanent: bool = False) -> None:
        self.pairs = dict(pairs or {})
        self.permanent = permanent


def _key(key: str) -> str:
    name = text(key)
    if not name or len(name.encode()) > MAX_INFO_KEY:
        raise MPIError(ERR_INFO_KEY, f"a key has 1 to {MAX_INFO_KEY} bytes, not {len(name.encode())}")
    return name


def _value(value: str) -> str:
    content = text(value)
    if len(content.encode()) > MAX_INFO_VAL:
        raise MPIError(ERR_INFO_VALUE, f"a value has at most {MAX_INFO_VAL} bytes, not {len(content.encode())}")
    return content


def _pairs(items: Info | Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Iterable[tuple[str, str]]:
    if items is None:
        return ()
    if isinstance(items, Info):
        return items.items() if items else ()
    if hasattr(items, "keys"):
        mapping: Any = items
        return [(key, mapping[key]) for key in mapping.keys()]  # noqa: SIM118
    return items


class Info(Handle, family=True):
    """Info object."""

    __slots__ = ()
    __module__ = "fmi_mpi.MPI"

    def __new__(cls, info: Info | None = None) -> Self:
        return super().__new__(cls, info)

    def _state(self) -> InfoImpl:
        state: InfoImpl | None = self._handle
        if state is None:
            raise MPIError(ERR_INFO, "the info object is null")
        return state

    def _changeable(self) -> dict[str, str]:
        state = self._state()
        if state.permanent:
            raise MPIError(ERR_INFO, "the predefined info object cannot be changed; change a Dup of it")
        return state.pairs

    def __reduce__(self) -> str | tuple[Any, ...]:
        return super().__reduce__() if self._is_predefined() else (type(self).Create, (self.items(),))

    @classmethod
    @boundary
    def Create(cls, items: Info | Mapping[str, str] | Iterable[tuple[str, str]] | None = None) -> Self:
        """Create an info object.

        Args:
            items: pairs to begin with.
        """
        info = cls._wrap(InfoImpl())
        info.update(() if items is None else items)
        return info

    @classmethod
    def Create_env(cls, args: Sequence[str] | None = None) -> Self:
        """Create an info object with the pairs that INFO_ENV would have if the process had these arguments.

        Args:
            args: command and its arguments; those of this process by default.
        """
        info = cls._wrap(InfoImpl(INFO_ENV._handle.pairs))
        words = [text(word) for word in ((args,) if isinstance(args, (str, bytes)) else args or ())]
        if words:
            info._handle.pairs.update(_command(words))
        return info

    @boundary
    def Free(self) -> None:
        """Free the info object."""
        self._changeable()
        self._handle = None

    @boundary
    def Dup(self) -> Self:
        """Return a copy."""
        return type(self)._wrap(InfoImpl(self._state().pairs))

    @boundary
    def Get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        return self._state().pairs.get(_key(key))

    @boundary
    def Set(self, key: str, value: str) -> None:
        """Set the value of a key."""
        self._changeable()[_key(key)] = _value(value)

    @boundary
    def Delete(self, key: str) -> None:
        """Remove a key; raises Exception (ERR_INFO_NOKEY) if it is not there."""
        pairs = self._changeable()
        if pairs.pop(_key(key), None) is None:
            raise MPIError(ERR_INFO_NOKEY, f"there is no key {key!r}")

    @boundary
    def Get_nkeys(self) -> int:
        """Return the number of keys."""
        return len(self._state().pairs)

    @boundary
    def Get_nthkey(self, n: int) -> str:
        """Return a key by its position."""
        keys = list(self._state().pairs)
        if not 0 <= index(n) < len(keys):
            raise MPIError(ERR_ARG, f"{n} is not the position of one of {len(keys)} keys")
        return keys[n]

    # -- as a mapping --------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.Get_nkeys() if self else 0

    def __contains__(self, key: str) -> bool:
        return bool(self) and self.Get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, key: str) -> str:
        value = self.Get(key) if self else None
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: str) -> None:
        if not self:
            raise KeyError(key)
        self.Set(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self.Delete(key)

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the value of a key, or a default."""
        value = self.Get(key) if self else None
        return default if value is None else value

    def keys(self) -> list[str]:
        """Return the keys."""
        return [key for key, _ in self.items()]

    def values(self) -> list[str]:
        """Return the values."""
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, str]]:
        """Return the pairs."""
        return list(self._handle.pairs.items()) if self else []

    def update(self, items: Info | Mapping[str, str] | Iterable[tuple[str, str]] = (), **kwds: str) -> None:
        """Set the pairs of another info object, mapping or iterable."""
        if not self:
            raise KeyError("the info object is null")
        for key, value in (*_pairs(items), *kwds.items()):
            self.Set(key, value)

    def pop(self, key: str, *default: str) -> str:
        """Remove a key and return its value, or the default."""
        if len(default) > 1:
            raise ValueError(f"expecting a key and at most one default, got {len(default)}")
        value = self.get(key)
        if value is not None:
            self.Delete(key)
            return value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[str, str]:
        """Remove the last pair and return it."""
        keys = self.keys()
        if not keys:
            raise KeyError("the info object is empty")
        return keys[-1], self.pop(keys[-1])

    def copy(self) -> Self:
        """Return a copy."""
        return self.Dup() if self else type(self)()

    @boundary
    def clear(self) -> None:
        """Remove all pairs."""
        if self:
            self._changeable().clear()


def _command(argv: Sequence[str]) -> dict[str, str]:
    """Return the pairs that describe a command line, as far as they fit."""
    pairs = {"command": argv[0], "argv": " ".join(argv[1:])}
    return {key: value for key, value in pairs.items() if value and len(value.encode()) <= MAX_INFO_VAL}


def describe(**pairs: str) -> None:
    """Give INFO_ENV its pairs: those of the command line and these, as far as they are known and fit."""
    argv = getattr(sys, "argv", None) or [""]
    found = {**_command(argv), **pairs}
    INFO_ENV._handle.pairs = {key: value for key, value in found.items() if value and len(value) <= MAX_INFO_VAL}


INFO_NULL = Info()
INFO_ENV = Info._wrap(InfoImpl(permanent=True))
