"""What a member may say to the service, and the check of every field of it.

Rules of this file:
- A message is one UTF-8 JSON object with a string "type". ``read`` returns it with exactly the fields of its row, each
  of the right kind and size, or raises MessageError; nothing else escapes, whatever the bytes.
- Nothing in a message proves who its sender is: the connection does (``registry``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

__all__ = ["LONGEST_NAME", "Message", "MessageError", "read"]

Message = dict[str, Any]
Check = Callable[[Any], bool]

LONGEST_NAME: Final = 200
_LONGEST_TEXT: Final = 1 << 16
_LARGEST: Final = 1 << 31
_MOST_PIECES: Final = 2000


class MessageError(Exception):
    """The bytes are not a message of a member; the text says why."""


def _number(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value < high


def _text(longest: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= longest


def _name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _ranks(value: Any) -> bool:
    return isinstance(value, list) and all(map(_RANK, value)) and len(set(value)) == len(value)


def _pieces(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_PIECES and all(map(_piece, value))


def _piece(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    rank, stream, text = value
    return _RANK(rank) and _number(1, 3)(stream) and isinstance(text, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _record(value: Any) -> bool:
    return isinstance(value, dict)


def _anything(value: Any) -> bool:
    return True


_RANK: Final = _number(0, _LARGEST)
_CODE: Final = _number(-_LARGEST, _LARGEST)

_FIELDS: Final[dict[str, dict[str, Check]]] = {
    "claim": {
        "job": _name,
        "size": _number(1, _LARGEST),
        "ranks": _ranks,
        "ticket": _text(256),
        "recover": _flag,
        "anew": _flag,
        "merges": _flag,
    },
    "publish": {"rank": _RANK, "record": _record},
    "wait": {"rank": _RANK},
    "who": {"rank": _RANK},
    "abort": {"rank": _RANK, "code": _CODE, "message": _text(_LONGEST_TEXT)},
    "failed": {"rank": _RANK, "code": _CODE},
    "lost": {"rank": _number(-1, _LARGEST), "code": _CODE, "message": _text(_LONGEST_TEXT), "final": _flag},
    "absent": {"rank": _RANK},
    "finalized": {"rank": _RANK},
    "signal": {"rank": _RANK, "to": _RANK, "data": _anything},
    "output": {"rank": _RANK, "number": _number(1, 1 << 53), "pieces": _pieces, "last": _flag},
    "printed": {"rank": _number(0, 1), "to": _RANK, "number": _number(1, 1 << 53)},
    "metrics": {},
}
"""Type -> field -> check. ``claim`` comes first; ``metrics`` may be asked by anybody who knows the service's key."""


def read(data: bytes) -> Message:
    """Return the message that these bytes are; raises MessageError."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MessageError("not an object with a type")
    fields = _FIELDS.get(message["type"])
    if fields is None:
        raise MessageError(f"unknown type {message['type'][:40]!r}")
    for name, check in fields.items():
        if name not in message:
            raise MessageError(f"{message['type']} without {name}")
        if not check(message[name]):
            raise MessageError(f"{message['type']} with a wrong {name}")
    return {name: message[name] for name in ("type", *fields)}
