"""Stores that are restarted, throttle, evict, or have another clock than the ranks, while messages are on their way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("boto3")
from botocore.awsrequest import AWSResponse

from benchmarks.servers.dynamodb import CREDENTIALS, KEEPS_DATA, DynamoServer, shared
from benchmarks.servers.redis import KINDS, RedisServer, ask
from fmi_mpi.channels.conformance import Subject, pump
from fmi_mpi.channels.dynamodb import DynamoKeys, keys, make_table, parse
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.recorder import Recorder
from fmi_mpi.channels.registry import Membership, create
from fmi_mpi.config import Settings

from .pairs import Frames, pair
from .subjects import JOB, SECRET, over_dynamodb, over_s3

FRAMES = Frames((10, 70_000, 1_000_000, 0))


def of(subject: Subject) -> Callable[[int, Recorder], MailboxChannel]:
    return lambda proc, recorder: cast(MailboxChannel, subject.make(proc, 2, recorder))


def sdk(channel: MailboxChannel) -> Any:
    """Return the SDK's client of a channel."""
    return channel._store.keys._client._connect()  # type: ignore[attr-defined]


# -- restarted -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", KEEPS_DATA or [pytest.param("local", marks=pytest.mark.skip("no DynamoDB Local"))])
def test_a_restart_of_dynamodb_loses_and_doubles_nothing(kind: str) -> None:
    server = DynamoServer(kind)
    url = "dynamodb://messages?patience=30"
    settings = Settings({"FMI_CHANNELS": url, "FMI_AWS_ENDPOINT_URL": server.endpoint})
    make_table(parse(url, server.endpoint))

    def end(proc: int, recorder: Recorder) -> MailboxChannel:
        return cast(MailboxChannel, create("dynamodb", Membership(proc, 2, JOB, SECRET, settings), recorder))

    with pair(end) as (channels, recorders):
        FRAMES.send(channels[0], 1, range(6))
        server.kill()
        FRAMES.send(channels[0], 1, range(6, 12))
        FRAMES.send(channels[1], 0, range(12))
        server.start()
        pump(channels, lambda: all(len(recorder.frames) >= 12 for recorder in recorders), "all frames", 60)
        for recorder in recorders:
            FRAMES.check(recorder, range(12))
            assert not recorder.gone
        box = channels[1]._box
    left = DynamoKeys(parse(url, server.endpoint))
    assert left.find(f"{box}/") == []
    left.close()
    server.remove()


# -- throttled -------------------------------------------------------------------------------------------------------


class _Body:
    """The body of an answer that no server has given."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def stream(self) -> Iterator[bytes]:
        yield self.data


def refusal(channel: str) -> AWSResponse:
    """Return what the service answers when it is asked too much."""
    if channel == "s3":
        status, text = 503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    else:
        status, text = 400, b'{"__type": "ProvisionedThroughputExceededException", "message": "too much"}'
    return AWSResponse("", status, {}, _Body(text))


@pytest.mark.parametrize("subject", [over_s3(), over_dynamodb("ministack")], ids=lambda subject: subject.name)
def test_throttling_loses_and_doubles_nothing(subject: Subject) -> None:
    """Of all requests a third is refused."""
    dice = random.Random(5)
    refused: list[str] = []

    def before(request: Any, **_: Any) -> AWSResponse | None:
        if dice.random() < 0.7:
            return None
        refused.append(request.method)
        return refusal(subject.name.partition("-")[0])

    with pair(of(subject)) as (channels, recorders):
        for channel in channels:
            sdk(channel).meta.events.register("before-send", before)
        for proc in (0, 1):
            FRAMES.send(channels[proc], 1 - proc, range(12))
        pump(channels, lambda: all(len(recorder.frames) >= 12 for recorder in recorders), "all frames")
        for recorder in recorders:
            FRAMES.check(recorder, range(12))
            assert not recorder.gone
        assert len(refused) > 5


@pytest.mark.parametrize("subject", [over_s3(), over_dynamodb("ministack")], ids=lambda subject: subject.name)
def test_throttling_without_end_is_an_error(subject: Subject) -> None:
    name = subject.name.partition("-")[0]
    with pair(of(subject)) as (channels, recorders):
        for channel in channels:
            sdk(channel).meta.events.register("before-send", lambda **_: refusal(name))
        FRAMES.send(channels[0], 1, range(1))
        pump(channels, lambda: all(recorder.gone for recorder in recorders), "the end of patience")
        for recorder in recorders:
            reason = recorder.gone[0][1]
            assert reason.startswith(f"{name}: ") and reason.endswith("for 2 s"), reason
            assert "SlowDown" in reason or "ProvisionedThroughputExceeded" in reason


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", [-3600, 0, 3600])
@pytest.mark.parametrize("reader", [-3600, 0, 3600])
def test_clocks_that_are_an_hour_off_lose_nothing(monkeypatch: pytest.MonkeyPatch, writer: int, reader: int) -> None:
    """With the shortest time to live; the service itself must not find what lives expired either."""
    server = shared("ministack")
    table = parse("dynamodb://clocks?ttl=3600", server.endpoint)
    make_table(table)
    store = DynamoKeys(table)
    offset = 0
    monkeypatch.setattr(keys, "time", SimpleNamespace(time=lambda: time.time() + offset))
    box = f"box{writer}{reader}"
    offset = writer
    store.put(f"{box}/1", (b"live",), 4)
    assert store.put_new(f"{box}/2", (b"claimed",), 7)
    offset = reader
    assert [one.key for one in store.find(f"{box}/")] == [f"{box}/1", f"{box}/2"]
    assert store.get(f"{box}/1") == b"live"
    assert not store.put_new(f"{box}/2", (b"stolen",), 6)
    items = store._client.ask("scan", TableName="clocks", ConsistentRead=True)["Items"]
    assert all(float(item["ttl"]["N"]) > time.time() + 3500 for item in items if item["p"]["S"] == box)
    offset = 0
    store.remove([f"{box}/{number}" for number in (1, 2)])
    store.close()


# -- evicting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_evicts_is_an_error(kind: str) -> None:
    """Not all that lies there fits, and a stranger's keys are read more often than the mailboxes."""
    server = RedisServer(kind, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
    settings = Settings({"FMI_CHANNELS": f"{server.url}?patience=2"})

    def end(proc: int, recorder: Recorder) -> MailboxChannel:
        return cast(MailboxChannel, create("redis", Membership(proc, 2, JOB, SECRET, settings), recorder))

    with pair(end) as (channels, recorders):
        FRAMES.send(channels[0], 1, range(4))
        pump(channels[:1], lambda: not channels[0].pending(), "the frames to be stored")
        ask(server.port, "CONFIG", "SET", "maxmemory", "1mb")
        ask(server.port, "SET", "a stranger's", bytes(100_000))
        pump(channels, lambda: all(recorder.gone for recorder in recorders), "the loss to be noticed")
        for recorder in recorders:
            assert "maxmemory-policy noeviction" in recorder.gone[0][1]
    server.remove()
