"""S3 as the SDK speaks to it, and what its error codes mean."""

from __future__ import annotations

from typing import Any, Final

from fmi_mpi.channels.mailbox.sdk import LOGIN, Absent, Refused, SdkClient, Service
from fmi_mpi.channels.s3.url import Bucket

__all__ = ["Absent", "Client", "Refused"]

_SERVICE: Final = Service(
    "s3",
    passing=frozenset(
        [
            "SlowDown",
            "ServiceUnavailable",
            "InternalError",
            "RequestTimeout",
            "OperationAborted",
            "ConditionalRequestConflict",
            "Throttling",
            "ThrottlingException",
            "RequestLimitExceeded",
        ]
    ),
    refused=frozenset(["PreconditionFailed", "412"]),
    absent=frozenset(["NoSuchKey", "404", "NotFound", "InvalidRange", "416"]),
    remedies={
        "NoSuchBucket": "fmi-mpi setup s3://{name} makes it",
        "InvalidAccessKeyId": LOGIN,
        "SignatureDoesNotMatch": LOGIN,
        "ExpiredToken": "the credentials have expired: log in again",
        "RequestTimeTooSkewed": "set this machine's clock",
        "AccessDenied": "allow s3:ListBucket on the bucket, and s3:GetObject, PutObject and DeleteObject on its objects",
        "PermanentRedirect": "the bucket is in another region: write s3://{name}?region=...",
        "AuthorizationHeaderMalformed": "the bucket is in another region: write s3://{name}?region=...",
        "QuotaExceeded": "make room, or take another bucket",
    },
    options={
        "request_checksum_calculation": "when_required",  # each object carries a code of its own
        "response_checksum_validation": "when_required",
    },
)


class Client(SdkClient):
    """Requests to one bucket; from any thread."""

    def __init__(self, bucket: Bucket) -> None:
        style = {"s3": {"addressing_style": "path"}} if bucket.endpoint else {}
        super().__init__(_SERVICE, bucket.name, bucket.label, bucket.patience, bucket.region, bucket.endpoint, style)
        self.bucket = bucket

    def once(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to a request to the bucket; raises Passing, Absent, Refused, ChannelError."""
        return super().once(operation, Bucket=self.bucket.name, **arguments)
