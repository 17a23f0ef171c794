"""The options at the end of a store's URL: ``?name=value&...``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from fmi_mpi.config import without_password
from fmi_mpi.errors import ConfigError

__all__ = ["Options", "no_url", "read_options"]

Options = Mapping[str, tuple[Callable[[str], Any], Any]]
"""Name -> how its text is read, and the default."""


def read_options(query: str, known: Options) -> dict[str, Any]:
    """Return the values of all known options; raises ValueError naming an unknown one and the nearest known."""
    given = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise ValueError(f"unknown option {name!r}, the nearest known one is {near!r}")
    return {name: read(given[name]) if name in given else default for name, (read, default) in known.items()}


def no_url(url: str, what: str, form: str, error: ValueError) -> ConfigError:
    """Return the error for a URL that is none of ``what``, which is written like ``form``."""
    return ConfigError(f"{without_password(url)!r} is no URL of {what}: {error}; write {form}")
