"""``MPI.Info``: ordered string pairs (MPI-4.1, chapter 10)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from fmi_mpi.api.exception import boundary
from fmi_mpi.api.objects import Handle
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

__all__ = ["INFO_ENV", "INFO_NULL", "Info", "InfoImpl"]


class InfoImpl:
    """The state of an info object."""

    __slots__ = ("__weakref__", "pairs", "permanent")

    def __init__(self, pairs: Mapping[str, str] | None = None, permanent: bool = False) -> None:
        self.pairs = dict(pairs or {})
        self.permanent = permanent


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"expecting a string as key, got {type(key).__name__}")
    if not key or len(key) > MAX_INFO_KEY:
        raise MPIError(ERR_INFO_KEY, f"a key has 1 to {MAX_INFO_KEY} characters")
    return key


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
    @boundary
    def Create_env(cls, args: Sequence[str] | None = None) -> Self:
        """Create an info object with the pairs that INFO_ENV would have for these arguments."""
        argv = list(args) if args is not None else sys.argv
        return cls._wrap(InfoImpl(_environment(argv)))

    @boundary
    def Free(self) -> None:
        """Free the info object."""
        if self._state().permanent:
            raise MPIError(ERR_INFO, "a predefined info object cannot be freed")
        self._handle = None

    def free(self) -> None:
        """Free the info object if it is neither null nor predefined."""
        if self._handle is not None and not self._handle.permanent:
            self.Free()

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
        state = self._state()
        _key(key)
        if not isinstance(value, str):
            raise TypeError(f"expecting a string as value, got {type(value).__name__}")
        if not value or len(value) > MAX_INFO_VAL:
            raise MPIError(ERR_INFO_VALUE, f"a value has 1 to {MAX_INFO_VAL} characters")
        state.pairs[key] = value

    @boundary
    def Delete(self, key: str) -> None:
        """Remove a key."""
        pairs = self._state().pairs
        if _key(key) not in pairs:
            raise MPIError(ERR_INFO_NOKEY, f"there is no key {key!r}")
        del pairs[key]

    @boundary
    def Get_nkeys(self) -> int:
        """Return the number of keys."""
        return len(self._state().pairs)

    @boundary
    def Get_nthkey(self, n: int) -> str:
        """Return a key by its position."""
        keys = list(self._state().pairs)
        if not 0 <= n < len(keys):
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
        return list(self._handle.pairs) if self else []

    def values(self) -> list[str]:
        """Return the values."""
        return list(self._handle.pairs.values()) if self else []

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
            raise TypeError("pop takes a key and at most one default")
        value = self.Get(key) if self else None
        if value is not None:
            self.Delete(key)
            return value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[str, str]:
        """Remove a pair and return it."""
        keys = self.keys()
        if not keys:
            raise KeyError("popitem: the info object is empty")
        key = keys[-1]
        return key, self.pop(key)

    def copy(self) -> Self:
        """Return a copy."""
        return type(self)._wrap(InfoImpl(self._handle.pairs)) if self else type(self)()

    def clear(self) -> None:
        """Remove all pairs."""
        if not self:
            raise KeyError("the info object is null")
        self._state().pairs.clear()


def _environment(argv: Sequence[str]) -> dict[str, str]:
    """Return what MPI-4.1, 10.3 says of the environment, as far as it is known."""
    pairs = {"command": argv[0] if argv else "", "argv": " ".join(argv[1:])}
    return {key: value for key, value in pairs.items() if value}


INFO_NULL = Info()
INFO_ENV = Info._wrap(InfoImpl(_environment(sys.argv if hasattr(sys, "argv") else []), permanent=True))
