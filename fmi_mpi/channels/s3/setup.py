"""The bucket, made once for all jobs: what dead processes leave in it expires."""

from __future__ import annotations

from typing import Any, Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.s3.client import Absent, Client
from fmi_mpi.channels.s3.url import Bucket

__all__ = ["make_bucket"]

_RULE: Final = "fmi_mpi"
_DAYS: Final = 1


def make_bucket(bucket: Bucket) -> str:
    """Make the bucket unless it is there, let objects below the prefix expire; return what was done.

    Raises ChannelError.
    """
    client = Client(bucket)
    try:
        made = _make(client)
        if bucket.is_directory:
            expiry = "directory buckets: remove what is left of killed jobs by hand"
        else:
            _let_expire(client)
            expiry = f"objects below {bucket.prefix + 'fmi/'!r} expire after {_DAYS} day"
        return f"s3: {bucket.label}: {'made' if made else 'was there'}; {expiry}"
    finally:
        client.close()


def _make(client: Client) -> bool:
    bucket = client.bucket
    try:
        client.ask("head_bucket")
        return False
    except Absent:
        pass
    if bucket.is_directory:
        raise ChannelError(f"s3: {bucket.label} is not there; make a directory bucket in the zone of your functions")
    region = client.guarded(lambda sdk: sdk.meta.region_name)
    arguments: dict[str, Any] = {}
    if region and region != "us-east-1":
        arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}
    client.ask("create_bucket", **arguments)
    return True


def _let_expire(client: Client) -> None:
    """Add a rule for our objects to those that the bucket has."""
    rule = {
        "ID": _RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": client.bucket.prefix + "fmi/"},
        "Expiration": {"Days": _DAYS},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _DAYS},
    }
    try:
        known = client.ask("get_bucket_lifecycle_configuration").get("Rules", [])
    except (Absent, ChannelError) as error:
        if "NoSuchLifecycleConfiguration" not in str(error) and not isinstance(error, Absent):
            raise
        known = []
    rules = [one for one in known if one.get("ID") != _RULE] + [rule]
    client.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules})
