"""DynamoDB as a key store, over real servers: long objects, expiry, throttling, servers that die, credentials, tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

pytest.importorskip("boto3")
from botocore.stub import Stubber

from benchmarks.servers.dynamodb import CREDENTIALS, KEEPS_DATA, KINDS, DynamoServer, shared
from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.dynamodb import DynamoKeys, Table, make_table, parse
from fmi_mpi.channels.dynamodb.keys import PIECE
from fmi_mpi.errors import ConfigError

BOX = "fmi/{job}/1/abc"
_made: set[int] = set()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def table(server: DynamoServer, **options: str) -> Table:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return parse("dynamodb://messages" + (f"?{query}" if query else ""), server.endpoint)


@contextmanager
def opened(server: DynamoServer, **options: str) -> Iterator[DynamoKeys]:
    where = table(server, **options)
    if server.port not in _made:
        make_table(where)
        _made.add(server.port)
    keys = DynamoKeys(where)
    try:
        yield keys
    finally:
        keys.close()


def items(keys: DynamoKeys) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = keys._client.ask("scan", TableName="messages", ConsistentRead=True)["Items"]
    return found


def put(keys: DynamoKeys, key: str, body: bytes) -> None:
    keys.put(key, (body[:3], memoryview(body)[3:]), len(body))


# -- objects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 70_000, PIECE, PIECE + 1, 5_000_003])
def test_an_object_is_put_found_fetched_and_removed(kind: str, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    with opened(shared(kind)) as keys, opened(shared(kind)) as other:
        key = f"{BOX}/{size}"
        assert keys.get(key) is None
        put(keys, key, body)
        assert other.get(key) == body
        found = other.find(f"{BOX}/")
        assert [(one.key, one.size) for one in found] == [(key, size)]
        assert found[0].body == (body if size <= PIECE else None)
        for start, length in ((0, size), (size // 2, size - size // 2), (size // 3, min(10, size - size // 3))):
            into = bytearray(length)
            assert other.fetch(key, start, memoryview(into))
            assert into == body[start : start + length]
        assert not other.fetch(key, size, memoryview(bytearray(1)))
        other.remove([key, key, "nothing/here"])
        assert not keys.fetch(key, 0, memoryview(bytearray(max(1, size))))
        assert items(keys) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_listing_is_sorted_whole_and_goes_on(kind: str) -> None:
    with opened(shared(kind)) as keys:
        names = [f"{BOX}/{number:04}" for number in range(60)]
        for name in reversed(names):
            put(keys, name, bytes(50_000))
        put(keys, f"{BOX}/other", b"x")
        put(keys, f"{BOX}x/0000", b"y")
        assert [one.key for one in keys.find(f"{BOX}/0")] == names
        assert [one.key for one in keys.find(f"{BOX}/0", names[29])] == names[30:]
        assert [one.key for one in keys.find(f"{BOX}/", names[-1])] == [f"{BOX}/other"]
        assert keys.find(f"{BOX}/", f"{BOX}/other") == []
        assert keys.usage.empty >= 1 and keys.usage.list >= 3  # DynamoDB Local returns a megabyte at a time
        assert keys.units.read_units > 0 and keys.units.write_units >= 62
        keys.remove([*names, f"{BOX}/other", f"{BOX}x/0000"])
        assert items(keys) == []
        assert keys.usage.delete == 3


@pytest.mark.parametrize("kind", KINDS)
def test_of_several_exactly_one_makes_a_new_object(kind: str) -> None:
    with opened(shared(kind)) as keys:
        made: list[bytes] = []

        def attempt(name: bytes) -> None:
            if keys.put_new(f"{BOX}/new", (name,), len(name)):
                made.append(name)

        in_threads([partial(attempt, str(number).encode()) for number in range(8)])
        assert [keys.get(f"{BOX}/new")] == made
        keys.remove([f"{BOX}/new"])


def in_threads(actions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_expired_items_are_passed_over_and_those_of_other_clocks_are_not() -> None:
    with opened(shared(KINDS[0])) as keys:
        for name, age in (("dead", 4000), ("slow", 1800), ("live", -4000)):
            put(keys, f"{BOX}/{name}", b"x")
            keys._client.ask(
                "update_item",
                TableName="messages",
                Key={"p": {"S": BOX}, "k": {"S": name}},
                UpdateExpression="SET #t = :t",
                ExpressionAttributeNames={"#t": "ttl"},
                ExpressionAttributeValues={":t": {"N": str(int(time.time()) - age)}},
            )
        assert [one.key for one in keys.find(f"{BOX}/")] == [f"{BOX}/live", f"{BOX}/slow"]
        assert keys.get(f"{BOX}/dead") is None
        assert not keys.fetch(f"{BOX}/dead", 0, memoryview(bytearray(1)))
        assert keys.put_new(f"{BOX}/dead", (b"new",), 3)
        assert not keys.put_new(f"{BOX}/slow", (b"new",), 3)
        keys.remove([f"{BOX}/{name}" for name in ("dead", "slow", "live")])


# -- what goes wrong -------------------------------------------------------------------------------------------------


@contextmanager
def stubbed(keys: DynamoKeys) -> Iterator[Stubber]:
    with Stubber(keys._client._connect()) as stub:
        yield stub


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"]
)
def test_throttling_is_waited_for(code: str) -> None:
    with opened(shared(KINDS[0])) as keys, stubbed(keys) as stub:
        for _ in range(3):
            stub.add_client_error("put_item", code, "slow down", 400)
        stub.add_response("put_item", {})
        put(keys, f"{BOX}/1", b"body")
        stub.assert_no_pending_responses()
        assert keys.usage.put == 1


def test_unprocessed_items_are_asked_for_again() -> None:
    with opened(shared(KINDS[0])) as keys, stubbed(keys) as stub:
        requests = [{"DeleteRequest": {"Key": {"p": {"S": BOX}, "k": {"S": str(number)}}}} for number in range(3)]
        for count in (3, 2, 1):
            answer = {"UnprocessedItems": {"messages": requests[4 - count :]} if count > 1 else {}}
            expected = {"RequestItems": {"messages": requests[3 - count :]}, "ReturnConsumedCapacity": "TOTAL"}
            stub.add_response("batch_write_item", answer, expected)
        keys.remove([f"{BOX}/{number}" for number in range(3)])
        stub.assert_no_pending_responses()


def test_throttling_without_end_is_an_error() -> None:
    with opened(shared(KINDS[0]), patience="0.2") as keys, stubbed(keys) as stub:
        for _ in range(30):
            stub.add_client_error("get_item", "ThrottlingException", "slow down", 400)
        with pytest.raises(ChannelError, match=r"dynamodb: table 'messages'.*ThrottlingException.*for 0.2 s"):
            keys.get("a/b")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("UnrecognizedClientException", "right credentials"),
        ("InvalidSignatureException", "clock"),
        ("ExpiredTokenException", "log in again"),
        ("AccessDeniedException", "allow dynamodb:GetItem"),
        ("ResourceNotFoundException", "fmi-mpi setup dynamodb://messages"),
    ],
)
def test_what_does_not_pass_is_an_error_at_once(code: str, remedy: str) -> None:
    with opened(shared(KINDS[0])) as keys, stubbed(keys) as stub:
        stub.add_client_error("get_item", code, "no", 400)
        with pytest.raises(ChannelError, match=remedy):
            keys.check()


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ChannelError, match="no region"):
        DynamoKeys(table(shared(KINDS[0]))).check()
    with pytest.raises(ChannelError, match="no credentials"):
        DynamoKeys(table(shared(KINDS[0]), region="eu-west-1")).check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_made_once_and_missed_by_name(kind: str) -> None:
    where = parse("dynamodb://another.table", shared(kind).endpoint)
    with pytest.raises(ChannelError, match=r"fmi-mpi setup dynamodb://another\.table"):
        DynamoKeys(where).check()
    assert "made" in make_table(where)
    assert "was there" in make_table(where)
    DynamoKeys(where).check()


def test_a_table_with_other_keys_is_an_error() -> None:
    where = parse("dynamodb://strange", shared(KINDS[0]).endpoint)
    keys = DynamoKeys(where)
    keys._client.ask(
        "create_table",
        TableName="strange",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(ChannelError, match="other keys"):
        make_table(where)
    with pytest.raises(ChannelError, match="other keys"):
        keys.check()


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_a_server_that_stays_away_is_an_error(how: str) -> None:
    server = DynamoServer(KINDS[0])
    with opened(server, patience="0.5") as keys:
        keys.check()
        server.kill() if how == "killed" else server.pause(True)
        started = time.monotonic()
        with pytest.raises(ChannelError, match=rf"dynamodb: .*{server.port}.*can be reached.*for 0.5 s"):
            put(keys, f"{BOX}/1", b"body")
        assert time.monotonic() - started < 5
    server.remove()


@pytest.mark.parametrize("kind", KEEPS_DATA or [pytest.param("local", marks=pytest.mark.skip("no DynamoDB Local"))])
def test_a_restart_loses_nothing(kind: str) -> None:
    server = DynamoServer(kind)
    with opened(server) as keys:
        put(keys, f"{BOX}/1", b"before")
        server.kill()
        threading.Timer(0.3, server.start).start()
        put(keys, f"{BOX}/2", b"after")
        assert [keys.get(f"{BOX}/{number}") for number in (1, 2)] == [b"before", b"after"]
    server.remove()


# -- URLs ------------------------------------------------------------------------------------------------------------


def test_what_a_url_says() -> None:
    told = parse("dynamodb://my.table?patience=2&ttl=7200&window=1MiB&region=eu-west-1")
    assert told == Table("my.table", 2.0, 7200, 1 << 20, "eu-west-1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dynamodb://", "a table's name"),
        ("dynamodb://messages/more", "a table's name"),
        ("dynamodb://key:hush@messages", "SDK's own chain"),
        ("dynamodb://messages?patienc=1", "nearest known one is 'patience'"),
        ("dynamodb://messages?ttl=5", "ttl must be 3600"),
        ("dynamodb://messages?window=0", "more than 0"),
    ],
)
def test_a_bad_url_is_an_error(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse(url)
    assert "hush" not in str(caught.value)
