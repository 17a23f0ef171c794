"""The protocol of Redis, version 3: commands out, replies in.

Rules of this file:
- Replies are parsed from a buffer that holds the beginning of what the server says; ``Incomplete`` asks for more.
- An error of the server is a value like others, ``ReplyError``: who asked knows what it means.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["NOTHING", "Incomplete", "ProtocolError", "Push", "ReplyError", "pack", "parse", "stream_id"]

NOTHING: Final = b"$0\r\n\r\n"
"""A word without letters, at the end of a command that is to be completed."""

_DEEPEST: Final = 8
_LONGEST: Final = 1 << 20  # elements of an array


class Incomplete(Exception):
    """The rest of the reply has not come yet."""


class ProtocolError(Exception):
    """These bytes are not a reply of a Redis server."""


class ReplyError(Exception):
    """The server's answer is an error; ``code`` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class Push(list[Any]):
    """Something that the server says unasked."""


def pack(*words: str | bytes) -> bytes:
    """Return a command."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode() if isinstance(word, str) else word
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def parse(buffer: bytearray, position: int, end: int, depth: int = 0) -> tuple[Any, int]:
    """Return the reply that begins at ``position``, and where it ends; raises Incomplete and ProtocolError."""
    stop = buffer.find(b"\r\n", position, end)
    if stop < 0:
        if end - position > _LONGEST or depth > _DEEPEST:
            raise ProtocolError("a line without an end")
        raise Incomplete
    kind = buffer[position : position + 1]
    text = bytes(buffer[position + 1 : stop])
    after = stop + 2
    if kind == b"+" or kind in b",#(":
        return text, after
    if kind == b"-":
        return ReplyError(text.decode(errors="replace")), after
    if kind == b"_":
        return None, after
    number = _number(text)
    if kind == b":":
        return number, after
    if number < 0:
        return None, after
    if kind in b"$=!":
        if after + number + 2 > end:
            raise Incomplete
        data = bytes(buffer[after : after + number])
        return (ReplyError(data.decode(errors="replace")) if kind == b"!" else data), after + number + 2
    if kind not in b"*%~>" or depth > _DEEPEST or number > _LONGEST:
        raise ProtocolError(f"a reply that begins with {bytes(kind)!r}")
    values: list[Any] = Push() if kind == b">" else []
    for _ in range(2 * number if kind == b"%" else number):
        value, after = parse(buffer, after, end, depth + 1)
        values.append(value)
    return values, after


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise ProtocolError(f"{text[:20]!r} where a number should be") from None


def stream_id(text: Any) -> tuple[int, int]:
    """Return the two numbers of a stream entry's id; raises ProtocolError."""
    first, _, second = text.partition(b"-") if isinstance(text, bytes) else (b"", b"", b"")
    return _number(first), _number(second)
