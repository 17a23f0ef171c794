"""A process that is killed while it writes a long object in pieces: nobody ever sees a part of it, and it can be written again."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from fmi_mpi.channels.dynamodb import DynamoKeys
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.recorder import Recorder
from fmi_mpi.channels.s3 import S3Keys

from .subjects import over_dynamodb, over_s3

STORES = {"s3": over_s3, "dynamodb": lambda: over_dynamodb("ministack")}


def opened(name: str) -> Any:
    channel = cast(MailboxChannel, STORES[name]().make(0, 1, Recorder()))
    channel.address()
    return channel._store.keys  # type: ignore[attr-defined]


def write_until(name: str, request: int, key: str, body: bytes) -> None:
    """Have another process write an object, which dies when it is about to make this request."""
    pid = os.fork()
    if not pid:
        try:
            keys = opened(name)
            once, made = keys._client.once, []

            def dying(operation: str, **arguments: Any) -> Any:
                made.append(operation)
                if len(made) == request:
                    os._exit(7)
                return once(operation, **arguments)

            keys._client.once = dying
            keys.put(key, (body,), len(body))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, "the object took fewer requests"


def pieces(keys: S3Keys | DynamoKeys, key: str) -> int:
    """Return how many pieces lie there of an object that is not whole."""
    if isinstance(keys, S3Keys):
        place = keys._bucket.prefix + key
        (upload,) = (one for one in keys._client.ask("list_multipart_uploads")["Uploads"] if one["Key"] == place)
        return len(keys._client.ask("list_parts", Key=place, UploadId=upload["UploadId"])["Parts"])
    items = keys._client.ask("scan", TableName="conformance", ConsistentRead=True)["Items"]
    return sum(item["p"]["S"].startswith(f"{key}#") for item in items)


@pytest.mark.parametrize(
    ("name", "size", "requests", "written"), [("s3", 20 << 20, 5, 3), ("dynamodb", 4 << 20, 3, 11)], ids=list(STORES)
)
def test_a_half_written_object_is_not_there(name: str, size: int, requests: int, written: int) -> None:
    keys = opened(name)
    key, body = f"{os.urandom(8).hex()}/long", os.urandom(size)
    write_until(name, requests, key, body)
    assert pieces(keys, key) == written
    assert not keys.find(key.partition("/")[0] + "/")
    assert keys.get(key) is None
    assert not keys.fetch(key, 0, memoryview(bytearray(1)))
    keys.put(key, (body,), size)
    assert keys.get(key) == body
    keys.remove([key])
    keys.close()
