"""Objects in a bucket, below a prefix.

Rules of this file:
- S3 shows what has been written at once, in listings too (strong consistency since 2020).
- Long objects are written in parts at a time (multipart upload); an upload that fails is aborted, and what a dead process
  has left of one is by the bucket's lifecycle.
- Directory buckets (S3 Express One Zone) list in no order, and only what is below a slash: all prefixes here end with one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.backoff import Passing
from fmi_mpi.channels.mailbox.keys import Found
from fmi_mpi.channels.mailbox.store import Usage
from fmi_mpi.channels.s3.client import Absent, Client, Refused
from fmi_mpi.channels.s3.url import Bucket

__all__ = ["S3Keys"]

_PIECE: Final = 8 << 20
_PART: Final = 8 << 20
_PARTS: Final = 2 * _PART
"""Bytes from which on an object is written in parts."""
_UPLOADS: Final = 4
_MOST: Final = 1000
"""Objects that one request can remove."""
_CHUNK: Final = 1 << 20


class S3Keys:
    """See ``mailbox.keys.Keys``."""

    name = "s3"
    piece = _PIECE
    span = _PIECE
    threads = 16

    def __init__(self, bucket: Bucket) -> None:
        self.label = bucket.label
        self.usage = Usage()
        self._bucket = bucket
        self._client = Client(bucket)

    def check(self) -> None:
        try:
            self._client.ask("list_objects_v2", MaxKeys=1, Prefix=self._bucket.prefix)
        except Absent:  # some servers answer so where there is no bucket
            raise ChannelError(
                f"s3: {self.label}: there is no such bucket; fmi-mpi setup s3://{self._bucket.name} makes it"
            ) from None
        self.usage.count("other")

    def put(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> None:
        if length > _PARTS:
            self._put_long(key, b"".join(parts))
            return
        body = parts[0] if len(parts) == 1 and type(parts[0]) is bytes else b"".join(parts)
        self._client.ask("put_object", Key=self._bucket.prefix + key, Body=body)
        self.usage.count("put", length)

    def put_new(self, key: str, parts: Sequence[bytes | memoryview], length: int) -> bool:
        try:
            self._client.ask("put_object", Key=self._bucket.prefix + key, Body=b"".join(parts), IfNoneMatch="*")
        except Refused:
            return False
        finally:
            self.usage.count("put", length)
        return True

    def find(self, prefix: str, after: str = "") -> Sequence[Found]:
        cut = len(self._bucket.prefix)
        arguments: dict[str, Any] = {"Prefix": self._bucket.prefix + prefix}
        if after and not self._bucket.is_directory:
            arguments["StartAfter"] = self._bucket.prefix + after
        found: list[Found] = []
        while True:
            answer = self._client.ask("list_objects_v2", **arguments)
            page = [Found(one["Key"][cut:], one["Size"]) for one in answer.get("Contents", ())]
            found += page
            self.usage.count("list" if page else "empty")
            if not answer.get("IsTruncated"):
                break
            arguments["ContinuationToken"] = answer["NextContinuationToken"]
        if self._bucket.is_directory:
            found = sorted(one for one in found if one.key > after)
        return found

    def fetch(self, key: str, start: int, into: memoryview) -> bool:
        wanted = f"bytes={start}-{start + len(into) - 1}"

        def attempt(sdk: Any) -> None:
            answer = sdk.get_object(Bucket=self._bucket.name, Key=self._bucket.prefix + key, Range=wanted)
            at = 0
            for chunk in answer["Body"].iter_chunks(_CHUNK):
                if at + len(chunk) > len(into):
                    raise Passing(f"s3: {self.label}: more bytes than were asked for")
                into[at : at + len(chunk)] = chunk
                at += len(chunk)
            if at < len(into):
                raise Absent(key)

        try:
            self._client.persist(lambda: self._client.guarded(attempt))
        except Absent:
            self.usage.count("empty_get")
            return False
        self.usage.count("get", 0, len(into))
        return True

    def get(self, key: str) -> bytes | None:
        def attempt(sdk: Any) -> bytes:
            body: bytes = sdk.get_object(Bucket=self._bucket.name, Key=self._bucket.prefix + key)["Body"].read()
            return body

        try:
            body: bytes = self._client.persist(lambda: self._client.guarded(attempt))
        except Absent:
            self.usage.count("empty_get")
            return None
        self.usage.count("get", 0, len(body))
        return body

    def remove(self, keys: Collection[str]) -> None:
        doomed = [{"Key": self._bucket.prefix + key} for key in keys]
        for at in range(0, len(doomed), _MOST):
            batch = {"Objects": doomed[at : at + _MOST], "Quiet": True}
            self._client.ask("delete_objects", Delete=batch)
            self.usage.count("delete")

    def close(self) -> None:
        self._client.close()

    def _put_long(self, key: str, body: bytes) -> None:
        """Write an object in parts, several at a time."""
        place = self._bucket.prefix + key
        client = self._client
        upload = client.ask("create_multipart_upload", Key=place)["UploadId"]

        def send(number: int) -> dict[str, Any]:
            part = body[(number - 1) * _PART : number * _PART]
            answer = client.ask("upload_part", Key=place, UploadId=upload, PartNumber=number, Body=part)
            self.usage.count("put", len(part))
            return {"ETag": answer["ETag"], "PartNumber": number}

        try:
            with ThreadPoolExecutor(_UPLOADS) as pool:
                parts = list(pool.map(send, range(1, -(-len(body) // _PART) + 1)))
            client.ask("complete_multipart_upload", Key=place, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(ChannelError, Absent):
                client.ask("abort_multipart_upload", Key=place, UploadId=upload)
            raise
        self.usage.count("put")
        self.usage.count("put")
