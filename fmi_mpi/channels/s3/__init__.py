"""S3 as a channel: objects in a bucket, a listing finds all that waits for a process."""

from __future__ import annotations

from fmi_mpi.channels.base import Capabilities, Channel, Receiver
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.keys import Keys
from fmi_mpi.channels.mailbox.polled import PolledStore
from fmi_mpi.channels.registry import Membership
from fmi_mpi.channels.s3.keys import S3Keys
from fmi_mpi.channels.s3.setup import make_bucket
from fmi_mpi.channels.s3.url import parse
from fmi_mpi.config import Settings
from fmi_mpi.errors import ConfigError

__all__ = ["S3Keys", "create", "open_keys", "setup"]

_CAPABILITIES = Capabilities(store=1, spin=False, latency=0.04, bandwidth=5e7)


def create(membership: Membership, receiver: Receiver) -> Channel:
    """Return the s3 channel of a process; see ``channels.registry``."""
    settings = membership.settings
    url = settings.urls.get("s3")
    if url is None:
        raise ConfigError("the s3 channel needs a bucket: write s3://bucket/prefix in FMI_CHANNELS")
    bucket = parse(url, settings.aws_endpoint_url)
    return MailboxChannel(
        "s3",
        _CAPABILITIES,
        PolledStore(S3Keys(bucket), membership.expects),
        membership,
        receiver,
        bucket.window,
        bucket.patience,
    )


def open_keys(url: str, settings: Settings) -> Keys:
    """Return the bucket that a URL names as a store of keys; see ``runtime.meeting``."""
    return S3Keys(parse(url, settings.aws_endpoint_url))


def setup(url: str, settings: Settings) -> str:
    """Make what ``url`` names ready for jobs, and return what was done; see ``fmi-mpi setup``."""
    return make_bucket(parse(url, settings.aws_endpoint_url))
