"""A store of keys in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fmi_mpi.channels.mailbox.keys import Found
from fmi_mpi.channels.mailbox.store import Usage

__all__ = ["MemoryKeys"]


class MemoryKeys:
    """See ``mailbox.keys.Keys``; listings bring bodies. ``finds``: how often it has been listed."""

    name = "memory"
    label = "memory"
    piece = 1 << 16
    span = 1 << 16
    threads = 2

    def __init__(self) -> None:
        self.usage = Usage()
        self.things: dict[str, bytes] = {}
        self.finds = 0

    def check(self) -> None: ...

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None:
        self.things[key] = b"".join(parts)

    def put_new(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> bool:
        return self.things.setdefault(key, whole := b"".join(parts)) is whole

    def find(self, prefix: str, after: str = "") -> Sequence[Found]:
        self.finds += 1
        names = sorted(key for key in self.things if key.startswith(prefix) and key > after)
        found = [Found(key, len(self.things[key]), self.things[key]) for key in names]
        self.usage.count("list" if found else "empty")
        return found

    def fetch(self, key: str, start: int, into: memoryview) -> bool:
        body = self.things.get(key, b"")[start : start + len(into)]
        if len(body) == len(into):
            into[:] = body
        return len(body) == len(into)

    def get(self, key: str) -> bytes | None:
        return self.things.get(key)

    def remove(self, keys: Collection[str]) -> None:
        for key in keys:
            self.things.pop(key, None)

    def close(self) -> None: ...
