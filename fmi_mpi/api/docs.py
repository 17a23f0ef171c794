"""Docstrings in mpi4py's form: the signature, then the summary.

Rules of this file:
- Sources hold plain docstrings; the signature is put before them when ``MPI`` is imported, from what Python knows
  of the function, so the two cannot differ.
- It runs at each import: no ``inspect``, no evaluation of annotations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from fmi_mpi.api.objects import Handle

__all__ = ["embed_signatures", "signature"]

_names: dict[int, str] = {}
"""id of a predefined object -> its name, to be shown as a parameter's default"""
_KEYWORDS = 0x08
_ARGS = 0x04


def signature(function: FunctionType) -> str:
    """Return a function's name, parameters with annotations and defaults, and return annotation."""
    code = function.__code__
    names = code.co_varnames
    count, keyword_only = code.co_argcount, code.co_kwonlyargcount
    defaults = dict(zip(reversed(names[:count]), reversed(function.__defaults__ or ())))
    defaults.update(function.__kwdefaults__ or {})
    hints = function.__annotations__
    shown = [_parameter(name, hints, defaults) for name in names[:count]]
    if code.co_posonlyargcount:
        shown.insert(code.co_posonlyargcount, "/")
    extra = iter(names[count + keyword_only :])
    if code.co_flags & _ARGS:
        shown.append(f"*{_parameter(next(extra), hints, {})}")
    elif keyword_only:
        shown.append("*")
    shown.extend(_parameter(name, hints, defaults) for name in names[count : count + keyword_only])
    if code.co_flags & _KEYWORDS:
        shown.append(f"**{_parameter(next(extra), hints, {})}")
    returns = f" -> {hints['return']}" if "return" in hints else ""
    return f"{function.__name__}({', '.join(shown)}){returns}"


def _parameter(name: str, hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    text = f"{name}: {hints[name]}" if name in hints else name
    if name not in defaults:
        return text
    value = defaults[name]
    plain = isinstance(value, (int, str, tuple)) or value is None
    equals = " = " if name in hints else "="
    return f"{text}{equals}{_names.get(id(value)) or (repr(value) if plain else '...')}"


def embed_signatures(namespace: Mapping[str, Any]) -> None:
    """Put the docstrings of the classes and functions of a namespace into mpi4py's form; once."""
    _names.update((id(value), name) for name, value in namespace.items() if isinstance(value, Handle))
    for value in namespace.values():
        if isinstance(value, FunctionType):
            _embed(value, value)
        elif isinstance(value, type):
            _embed_members(value)


def _embed_members(cls: type) -> None:
    for base in cls.__mro__:
        package = getattr(base, "__module__", "").partition(".")[0]
        if package != __name__.partition(".")[0] or "_documented" in vars(base):
            continue
        if base.__doc__:
            base.__doc__ = base.__doc__.strip()
        for member, function in _functions(base):
            _embed(member, function)
        base._documented = True  # type: ignore[attr-defined]


def _functions(cls: type) -> Iterator[tuple[Any, FunctionType]]:
    """Yield (object with the docstring, function with the signature) for all methods and properties."""
    for member in vars(cls).values():
        if isinstance(member, FunctionType):
            yield member, member
        elif isinstance(member, (classmethod, staticmethod)) and isinstance(member.__func__, FunctionType):
            yield member.__func__, member.__func__
        elif isinstance(member, property) and isinstance(member.fget, FunctionType):
            yield member, member.fget


def _embed(member: Any, function: FunctionType) -> None:
    doc = member.__doc__
    if not doc:
        return
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if isinstance(member, property):
        head = f"{function.__name__}: {function.__annotations__.get('return', 'Any')}"
    else:
        head = signature(function)
    if not doc.startswith(head):
        member.__doc__ = f"{head}\n{doc.strip()}"
