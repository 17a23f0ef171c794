"""The channels under test, as the conformance suite wants them. A new channel is one more entry of ``SUBJECTS``."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import cast

from benchmarks.servers import dynamodb as dynamodb_server
from benchmarks.servers.redis import KINDS, shared
from benchmarks.servers.s3 import s3_settings, shared_s3
from fmi_mpi.channels import dynamodb
from fmi_mpi.channels.base import Channel, Receiver
from fmi_mpi.channels.conformance import Subject
from fmi_mpi.channels.lasting import Lasting, Peer
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.objects import FRAME
from fmi_mpi.channels.registry import Membership, create
from fmi_mpi.channels.shm import ShmChannel
from fmi_mpi.channels.tcp import TcpChannel
from fmi_mpi.config import Settings

from .relays import settling

__all__ = ["SUBJECTS", "subject", "write_into_ring"]

JOB = "conformance"
SECRET = b"the key of the job"


def write_into_ring(channel: Channel, peer: int, data: bytes) -> None:
    """Put bytes where the peer expects the next entry, as a peer with a broken channel could."""
    outgoing = cast(ShmChannel, channel)._outgoing[peer]
    data = data[: outgoing._ring // 2]
    size = (len(data) + 63) & -64
    at = outgoing._reserve(size)
    outgoing._memory[at : at + len(data)] = data
    outgoing._tail += size
    outgoing._publish()


def write_into_socket(channel: Channel, peer: int, data: bytes) -> None:
    cast(TcpChannel, channel)._connections[peer].sock.send(data)


def subject(name: str, label: str = "", **variables: str) -> Subject:
    """Return the registered channel ``name`` as a subject, with these settings."""
    settings = Settings(variables)

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        membership = Membership(proc, size, JOB, SECRET, settings)
        return cast(Channel, import_module(f"fmi_mpi.channels.{name}").create(membership, receiver))

    tamper = {"shm": write_into_ring, "tcp": write_into_socket}.get(name)
    return Subject(label or name, make, tamper)


def write_under_session(channel: Channel, peer: int, data: bytes) -> None:
    connection = cast(Lasting[Peer], channel)._peers[peer].connection
    assert connection is not None
    connection.sock.send(data)


def between_hosts(label: str = "tcp-distant", **variables: str) -> Subject:
    """TCP as in a job that spans hosts; there is no meeting place, for here everybody can be connected to."""
    settings = Settings(variables)

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        return create("tcp", Membership(proc, size, JOB, SECRET, settings, spans_hosts=True), receiver)

    return Subject(label, make, write_under_session)


def without_direct_copies() -> Subject:
    """Shared memory where the kernel denies access to other address spaces."""
    usual = subject("shm")

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        channel = cast(ShmChannel, usual.make(proc, size, receiver))
        channel._spaces.probe = lambda pid, address, expected: False  # type: ignore[method-assign]
        return channel

    return Subject("shm-no-direct", make, write_into_ring)


def seal_noise(channel: Channel, peer: int, data: bytes) -> None:
    """Put a genuine object into the peer's mailbox that holds these bytes."""
    cast(MailboxChannel, channel)._outboxes[peer]._put(FRAME, (data,), len(data), None)


def over_redis(kind: str, **variables: str) -> Subject:
    """Redis with this kind of server, started on first use."""

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        settings = Settings({"FMI_CHANNELS": f"{shared(kind).url}?patience=2", **variables})
        return create("redis", Membership(proc, size, JOB, SECRET, settings), receiver)

    label = (["redis"] if kind == "redis" else ["redis", kind]) + ["encrypted"] * bool(variables)
    return Subject("-".join(label), make, seal_noise)


def over_s3(**variables: str) -> Subject:
    """S3, with a server of its own, started on first use."""

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        settings = s3_settings(shared_s3(), "conformance?patience=2", **variables)
        return create("s3", Membership(proc, size, JOB, SECRET, settings), receiver)

    return Subject("s3", make, seal_noise, notices=False)


@cache
def _dynamodb(kind: str) -> dict[str, str]:
    """Variables of a rank that uses a server of this kind with a table, started on first use."""
    url = "dynamodb://conformance?patience=2"
    variables = {"FMI_CHANNELS": url, "FMI_AWS_ENDPOINT_URL": dynamodb_server.shared(kind).endpoint}
    dynamodb.setup(url, Settings(variables))
    return variables


def over_dynamodb(kind: str, **variables: str) -> Subject:
    """DynamoDB with this kind of server."""

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        os.environ.update(dynamodb_server.CREDENTIALS)  # each time: a test may have restored what was there before
        settings = Settings({**_dynamodb(kind), **variables})
        return create("dynamodb", Membership(proc, size, JOB, SECRET, settings), receiver)

    return Subject(f"dynamodb-{kind}", make, seal_noise, notices=False)


def over_relay(label: str = "relay", **variables: str) -> Subject:
    """The relay of a rendezvous service that runs beside the tests; its ends may not even say where they are."""
    settings = Settings(variables)

    def make(proc: int, size: int, receiver: Receiver) -> Channel:
        return settling(Membership(proc, size, JOB, SECRET, settings), receiver)

    return Subject(label, make, write_under_session)


SUBJECTS = (
    subject("shm"),
    without_direct_copies(),
    subject("shm", "shm-small-ring", FMI_SHM_RING="4KiB"),
    subject("tcp"),
    between_hosts(FMI_RECONNECT="0"),
    between_hosts("tcp-distant-renewing", FMI_RECONNECT="0.5"),
    between_hosts("tcp-distant-encrypted", FMI_RECONNECT="0", FMI_ENCRYPT="1"),
    over_relay(FMI_RECONNECT="0"),
    over_relay("relay-renewing", FMI_RECONNECT="0.5"),
    over_relay("relay-encrypted", FMI_RECONNECT="0", FMI_ENCRYPT="1"),
    *map(over_redis, KINDS),
    over_redis(next(iter(KINDS)), FMI_ENCRYPT="1"),
    over_s3(),
    over_dynamodb("ministack"),
)
