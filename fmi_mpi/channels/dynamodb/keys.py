"""Objects as items of one table: partition key ``p`` (a key up to its last slash), sort key ``k`` (the rest).

Rules of this file:
- An item has a body ``b`` or, of a longer object, its length ``n`` and the size ``s`` of its parts,
  which are items with partitions of their own: one partition takes a megabyte per second, no more. The parts are
  written first, so that who sees the object sees all of it.
- Every item expires at ``ttl``. The service removes it some time after that, so readers pass over it. The writer's clock
  sets it: with an hour added there and allowed for here, clocks that differ by an hour lose nothing that lives.
- Reading is consistent. Units are counted as the service tells them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.dynamodb.client import Client, Refused
from fmi_mpi.channels.dynamodb.url import Table
from fmi_mpi.channels.mailbox.backoff import Passing
from fmi_mpi.channels.mailbox.keys import Found
from fmi_mpi.channels.mailbox.store import Usage

__all__ = ["PIECE", "DynamoKeys", "Units"]

_ITEM: Final = 400 << 10
PIECE: Final = _ITEM - (4 << 10)
"""The longest body of an item; the rest is for keys and names."""

_SKEW: Final = 3600  # seconds that clocks may differ
_AT_ONCE: Final = 8  # long items in one request
_MOST: Final = 25  # items in one request that writes
_PART: Final = "-"
_Item = dict[str, dict[str, Any]]
_Where = dict[str, dict[str, str]]


@dataclass(slots=True)
class Units(Usage):
    """What is billed besides: capacity units."""

    read_units: float = 0.0
    write_units: float = 0.0

    def consume(self, answer: dict[str, Any], writes: bool) -> None:
        """Count the units that an answer tells."""
        told = answer.get("ConsumedCapacity") or ()
        units = sum(float(one.get("CapacityUnits", 0)) for one in ([told] if isinstance(told, dict) else told))
        with self._lock:
            if writes:
                self.write_units += units
            else:
                self.read_units += units


def _split(key: str) -> tuple[str, str]:
    partition, _, rest = key.rpartition("/")
    return partition, rest


def _where(key: str) -> _Where:
    partition, rest = _split(key)
    return {"p": {"S": partition}, "k": {"S": rest}}


def _part(key: str, index: int) -> _Where:
    return {"p": {"S": f"{key}#{index}"}, "k": {"S": _PART}}


class DynamoKeys:
    """See ``mailbox.keys.Keys``."""

    name = "dynamodb"
    piece = PIECE
    span = _AT_ONCE * PIECE
    threads = 8

    def __init__(self, table: Table) -> None:
        self.label = table.label
        self.units = Units()
        self.usage: Usage = self.units
        self._client = Client(table)
        self._table = table.name
        self._ttl = table.ttl
        self._long: dict[str, tuple[int, int]] = {}  # known objects of several items: length, size of the parts

    # -- mailbox.keys.Keys ---------------------------------------------------------------------------------------

    def check(self) -> None:
        self._get("fmi/check")

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None:
        self._write("put_item", length, Item=self._item(key, parts, length))

    def put_new(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> bool:
        if length > PIECE:
            raise ChannelError(f"{self.name}: {length} bytes are too many for an object that must be new")
        try:
            self._write(
                "put_item",
                length,
                Item=self._item(key, parts, length),
                ConditionExpression="attribute_not_exists(p) OR #t < :now",
                ExpressionAttributeNames={"#t": "ttl"},
                ExpressionAttributeValues={":now": {"N": str(int(time.time()) - _SKEW)}},
            )
        except Refused:
            return False
        return True

    def find(self, prefix: str, after: str = "") -> Sequence[Found]:
        partition, rest = _split(prefix)
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
            "KeyConditionExpression": "p = :p AND begins_with(k, :k)" if rest else "p = :p",
            "ExpressionAttributeValues": {":p": {"S": partition}, **({":k": {"S": rest}} if rest else {})},
        }
        if after > prefix:
            arguments["ExclusiveStartKey"] = _where(after)
        found: list[Found] = []
        while True:
            answer = self._client.ask("query", **arguments)
            items = answer.get("Items", ())
            page = [self._found(f"{partition}/{item['k']['S']}", item) for item in items if not self._expired(item)]
            found += page
            self.usage.count("list" if items else "empty", 0, sum(len(one.body or b"") for one in page))
            self.units.consume(answer, False)
            if not answer.get("LastEvaluatedKey"):
                return found
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def fetch(self, key: str, start: int, into: memoryview) -> bool:
        known = self._long.get(key)
        if known is None:
            item = self._get(key)
            if item is None:
                return False
            if "b" in item:
                body = item["b"]["B"]
                if start + len(into) > len(body):
                    return False
                into[:] = body[start : start + len(into)]
                return True
            known = self._learn(key, item)
        length, size = known
        if start + len(into) > length:
            return False
        return self._gather(key, size, start, into)

    def get(self, key: str) -> bytes | None:
        item = self._get(key)
        if item is None:
            return None
        if "b" in item:
            return bytes(item["b"]["B"])
        if "n" not in item:
            return None
        length, size = self._learn(key, item)
        body = bytearray(length)
        return bytes(body) if self._gather(key, size, 0, memoryview(body)) else None

    def remove(self, keys: Collection[str]) -> None:
        places = [place for key in dict.fromkeys(keys) for place in (_where(key), *self._parts_of(key))]
        requests = [{"DeleteRequest": {"Key": place}} for place in places]
        for at in range(0, len(requests), _MOST):
            self._write_batch(requests[at : at + _MOST], "delete", 0)

    def close(self) -> None:
        self._client.close()

    # -- items ---------------------------------------------------------------------------------------------------

    def _expiry(self) -> dict[str, str]:
        return {"N": str(int(time.time()) + self._ttl + _SKEW)}

    def _expired(self, item: _Item) -> bool:
        return "ttl" in item and float(item["ttl"]["N"]) < time.time() - _SKEW

    def _item(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> _Item:
        """Return the item of an object, after its parts, if it has any, have been written."""
        item: _Item = {**_where(key), "ttl": self._expiry()}
        if length <= PIECE:
            return {**item, "b": {"B": b"".join(parts)}}
        whole = memoryview(b"".join(parts))
        pieces: list[_Item] = [
            {**_part(key, at // PIECE), "ttl": self._expiry(), "b": {"B": bytes(whole[at : at + PIECE])}}
            for at in range(0, length, PIECE)
        ]
        for at in range(0, len(pieces), _AT_ONCE):
            batch = pieces[at : at + _AT_ONCE]
            size = sum(len(piece["b"]["B"]) for piece in batch)
            self._write_batch([{"PutRequest": {"Item": piece}} for piece in batch], "put", size)
        self._long[key] = (length, PIECE)
        return {**item, "n": {"N": str(length)}, "s": {"N": str(PIECE)}}

    def _found(self, key: str, item: _Item) -> Found:
        if "n" in item:
            return Found(key, self._learn(key, item)[0])
        body = bytes(item["b"]["B"]) if "b" in item else b""
        return Found(key, len(body), body)

    def _learn(self, key: str, item: _Item) -> tuple[int, int]:
        known = self._long[key] = (int(item["n"]["N"]), int(item["s"]["N"]))
        return known

    def _parts_of(self, key: str) -> Iterator[_Where]:
        length, size = self._long.pop(key, (0, 1))
        return (_part(key, index) for index in range(-(-length // size)))

    # -- requests ------------------------------------------------------------------------------------------------

    def _get(self, key: str) -> _Item | None:
        answer = self._client.ask(
            "get_item",
            TableName=self._table,
            Key=_where(key),
            ConsistentRead=True,
            ReturnConsumedCapacity="TOTAL",
        )
        item: _Item | None = answer.get("Item")
        self.usage.count("get" if item else "empty_get", 0, len(item["b"]["B"]) if item and "b" in item else 0)
        self.units.consume(answer, False)
        return None if not item or self._expired(item) else item

    def _write(self, operation: str, written: int, **arguments: Any) -> dict[str, Any]:
        answer = self._client.ask(operation, TableName=self._table, ReturnConsumedCapacity="TOTAL", **arguments)
        self.usage.count("put", written if written <= PIECE else 0)
        self.units.consume(answer, True)
        return answer

    def _write_batch(self, requests: list[dict[str, Any]], kind: str, written: int) -> None:
        self._batch("batch_write_item", "UnprocessedItems", requests, kind, written, lambda answer: None)

    def _gather(self, key: str, size: int, start: int, into: memoryview) -> bool:
        """Fill ``into`` from the parts of a long object."""
        indices = range(start // size, -(-(start + len(into)) // size))
        places = {f"{key}#{index}": index * size - start for index in indices}
        filled = 0

        def take(answer: dict[str, Any]) -> None:
            nonlocal filled
            for item in answer.get("Responses", {}).get(self._table, ()):
                at = places[item["p"]["S"]]
                body = item["b"]["B"][max(0, -at) : max(0, len(into) - at)]
                at = max(0, at)
                into[at : at + len(body)] = body
                filled += len(body)
                self.usage.count("get", 0, len(body))

        for first in range(0, len(indices), _AT_ONCE):
            keys = [_part(key, index) for index in indices[first : first + _AT_ONCE]]
            self._batch("batch_get_item", "UnprocessedKeys", {"Keys": keys, "ConsistentRead": True}, "", 0, take)
        if filled != len(into):
            self._long.pop(key, None)
        return filled == len(into)

    def _batch(
        self,
        operation: str,
        unprocessed: str,
        rest: Any,
        kind: str,
        written: int,
        take: Callable[[dict[str, Any]], None],
    ) -> None:
        """Ask for several things at once, and again for those that have not been dealt with."""

        def attempt() -> None:
            nonlocal rest
            answer = self._client.once(operation, RequestItems={self._table: rest}, ReturnConsumedCapacity="TOTAL")
            self.units.consume(answer, bool(kind))
            take(answer)
            rest = (answer.get(unprocessed) or {}).get(self._table)
            if rest:
                raise Passing(f"{self.name}: {self.label}: throttled: items are left unprocessed")

        self._client.persist(attempt)
        if kind:
            self.usage.count(kind, written)
