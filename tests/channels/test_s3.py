"""What only the s3 channel has: servers that die, throttle, refuse; objects that are forged or deleted; the bill."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from threading import Barrier, Thread
from typing import Any, cast

import pytest

from benchmarks.servers.redis import free_port
from benchmarks.servers.s3 import BUCKET, S3Server, shared_s3
from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.conformance import Recorder, header_of, pump
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.objects import FRAME, MORE, Sealer
from fmi_mpi.channels.registry import Membership, create
from fmi_mpi.channels.s3 import S3Keys, setup
from fmi_mpi.channels.s3.url import parse
from fmi_mpi.config import Settings
from fmi_mpi.errors import ConfigError

from . import pairs
from .pairs import Frames, made
from .subjects import JOB, SECRET

SIZES = (10, 70_000, 3_000_000, 0)
FRAMES = Frames(SIZES)
send, check_frames, payload = FRAMES.send, FRAMES.check, FRAMES.payload


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**shared_s3().environment, "AWS_CONFIG_FILE": "/nowhere"}.items():
        if not name.startswith("FMI_"):
            monkeypatch.setenv(name, value)


def keys(server: S3Server, options: str = "?patience=2", bucket: str = BUCKET) -> S3Keys:
    return S3Keys(parse(f"s3://{bucket}/tests{options}", server.endpoint))


def end(server: S3Server, proc: int, recorder: Recorder, options: str = "", job: str = JOB) -> MailboxChannel:
    variables = {"FMI_CHANNELS": f"s3://{BUCKET}/tests{options}", "FMI_AWS_ENDPOINT_URL": server.endpoint}
    return cast(MailboxChannel, create("s3", Membership(proc, 2, job, SECRET, Settings(variables)), recorder))


def pair(server: S3Server, options: str = "") -> AbstractContextManager[tuple[list[MailboxChannel], list[Recorder]]]:
    return pairs.pair(lambda proc, recorder: end(server, proc, recorder, options))


def fresh() -> S3Server:
    """Return a server of the test's own that has stored something: for its first object it takes longer than patience."""
    server = S3Server()
    server.client().put_object(Bucket=BUCKET, Key="first", Body=b"x")
    server.client().delete_object(Bucket=BUCKET, Key="first")
    return server


# -- keys ------------------------------------------------------------------------------------------------------------


def test_objects_by_their_keys() -> None:
    store = keys(shared_s3())
    store.check()
    store.put("box/2", (b"two", memoryview(b"half")), 7)
    store.put("box/1", (), 0)
    store.put("other/1", (b"x",), 1)
    assert [(one.key, one.size, one.body) for one in store.find("box/")] == [("box/1", 0, None), ("box/2", 7, None)]
    assert [one.key for one in store.find("box/", "box/1")] == ["box/2"]
    assert store.get("box/2") == b"twohalf" and store.get("box/1") == b"" and store.get("box/3") is None
    into = memoryview(bytearray(4))
    assert store.fetch("box/2", 2, into) and into == b"ohal"
    assert not store.fetch("box/2", 5, into) and not store.fetch("box/3", 0, into)
    store.remove(["box/1", "box/2", "box/3", "other/1"])
    assert not store.find("box/") and not store.find("other/")
    store.close()
    with pytest.raises(ChannelError):
        store.get("box/2")


def test_a_long_object_is_written_in_parts() -> None:
    store = keys(shared_s3(), "?patience=10")
    body = bytes(range(256)) * (20 << 12)
    store.put("long", (body[:100], memoryview(body)[100:]), len(body))
    assert store.get("long") == body
    into = memoryview(bytearray(1000))
    assert store.fetch("long", (16 << 20) - 500, into) and into == body[(16 << 20) - 500 :][:1000]
    assert store.usage.written == len(body) and store.usage.put == 5
    store.remove(["long"])
    store.close()


def test_one_of_many_makes_an_object() -> None:
    store = keys(shared_s3(), "?patience=10")
    together = Barrier(8)
    made: list[bool] = []

    def run(number: int) -> None:
        together.wait()
        made.append(store.put_new("once", (b"%d" % number,), 1))

    threads = [Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    store.remove(["once"])
    store.close()


@pytest.mark.parametrize(
    ("code", "status"),
    [("SlowDown", 503), ("ConditionalRequestConflict", 409), ("InternalError", 500), ("OperationAborted", 409)],
)
def test_what_passes_is_tried_again(code: str, status: int) -> None:
    """No server here shows them, so the SDK is made to say it."""
    from botocore.stub import Stubber

    store = keys(shared_s3(), "?patience=10")
    store.check()
    with Stubber(store._client._sdk) as stub:
        for _ in range(3):
            stub.add_client_error("put_object", code, "slowly", status)
        stub.add_response("put_object", {})
        assert store.put_new("a", (b"x",), 1)
        stub.assert_no_pending_responses()
    assert store.usage.put == 1
    store.close()


def test_throttling_without_end_is_an_error() -> None:
    from botocore.stub import Stubber

    store = keys(shared_s3(), "?patience=0.3")
    store.check()
    with Stubber(store._client._sdk) as stub:
        for _ in range(20):
            stub.add_client_error("put_object", "SlowDown", "reduce your request rate", 503)
        with pytest.raises(ChannelError, match=r"s3: bucket .* SlowDown: reduce .*, for 0.3 s"):
            store.put("a", (b"x",), 1)
    store.close()


# -- at the start ----------------------------------------------------------------------------------------------------


def test_no_server_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    store = S3Keys(parse(f"s3://{BUCKET}?patience=0.3", url))
    started = time.monotonic()
    with pytest.raises(ChannelError, match=f"{url}.*see that the service can be reached"):
        store.check()
    assert time.monotonic() - started < 5
    store.close()


@pytest.mark.parametrize(
    ("user", "secret", "words"),
    [
        ("AKIANOBODY", "x", "AWS_ACCESS_KEY_ID"),
        (S3Server.key, "wrong", "AWS_SECRET_ACCESS_KEY"),
        ("AKIAWEAK", "weak", "s3:ListBucket"),
    ],
)
def test_a_server_that_does_not_let_one_in(monkeypatch: pytest.MonkeyPatch, user: str, secret: str, words: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    store = keys(shared_s3())
    with pytest.raises(ChannelError, match=words) as caught:
        store.check()
    assert S3Server.secret not in str(caught.value)
    store.close()


def test_no_bucket() -> None:
    store = keys(shared_s3(), bucket="not-there")
    with pytest.raises(ChannelError, match="fmi-mpi setup s3://not-there makes it"):
        store.check()
    store.close()


@pytest.mark.parametrize("url", ["s3://", "s3://a", "s3://UPPER/x", "s3://me:pw@bucket", "s3://bucket?patients=1"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(ConfigError, match="is no URL of an S3 bucket"):
        parse(url)


def test_setup_makes_the_bucket_and_lets_objects_expire() -> None:
    server = shared_s3()
    settings = Settings({"FMI_AWS_ENDPOINT_URL": server.endpoint})
    assert "made" in setup("s3://fmi-made/some", settings)
    assert "was there" in setup("s3://fmi-made/some", settings)
    rules: Any = server.client().get_bucket_lifecycle_configuration(Bucket="fmi-made")["Rules"]
    assert [rule["Expiration"]["Days"] for rule in rules] == [1]


# -- outages and strangers -------------------------------------------------------------------------------------------


def test_a_server_that_is_restarted_loses_and_doubles_nothing() -> None:
    server = fresh()
    with pair(server, "?patience=30") as (channels, recorders):
        send(channels[0], 1, range(6))
        server.kill()
        send(channels[0], 1, range(6, 12))
        send(channels[1], 0, range(12))
        server.start()
        every = lambda: all(len(recorder.frames) >= 12 for recorder in recorders)  # noqa: E731
        pump(channels, every, "all frames", 60)  # the server answers long before all of it works again
        for recorder in recorders:
            check_frames(recorder, range(12))
            assert not recorder.gone
    assert server.names() == []
    server.remove()


def test_a_server_that_stays_away_is_an_error() -> None:
    server = fresh()
    with pair(server, "?patience=3") as (channels, recorders):
        server.kill()
        started = time.monotonic()
        pump(channels, lambda: all(recorder.gone for recorder in recorders), "the loss of the server")
        assert time.monotonic() - started < 15
        for recorder in recorders:
            assert len(recorder.gone) == 1
            assert server.endpoint in recorder.gone[0][1]
        assert channels[0].send(1, header_of(1, 0), None, 5) is False
        assert not channels[0].pending()
    server.remove()


def test_nothing_of_a_stranger_is_used() -> None:
    server = shared_s3()
    with pair(server) as (channels, recorders):
        box = channels[1]._box
        number = channels[0]._outboxes[1]._number
        forger, mover = Sealer(b"another key", JOB, box), Sealer(SECRET, JOB, channels[0]._box)
        body = header_of(9, 4) + b"evil"
        things = [made(sealer, kind, 0, number, body) for kind in (FRAME, MORE) for sealer in (forger, mover)]
        for index, thing in enumerate([*things, b"", b"short", bytes(3_000_000)]):
            server.client().put_object(Bucket=BUCKET, Key=f"tests/{box}/{index}", Body=thing)
        send(channels[0], 1, range(4))
        pump(channels, lambda: len(recorders[1].frames) >= 4 and channels[1].forged == 7, "the genuine frames")
        check_frames(recorders[1], range(4))
        assert not recorders[1].gone


def test_a_deleted_object_is_an_error() -> None:
    server = shared_s3()
    with pair(server, "?patience=1") as (channels, recorders):
        send(channels[0], 1, range(1))
        pump(channels[:1], lambda: not channels[0].pending(), "the frame to be stored")
        client = server.client()
        for name in server.names(f"tests/{channels[1]._box}/"):
            client.delete_object(Bucket=BUCKET, Key=name)
        send(channels[0], 1, range(1, 4))
        pump(channels, lambda: bool(recorders[1].gone), "the loss to be noticed")
        assert "the store has lost object" in recorders[1].gone[0][1]


def test_nothing_is_left_and_requests_are_counted() -> None:
    server = shared_s3()
    with pair(server) as (channels, recorders):
        before, read = channels[0].usage.put, channels[1].usage.get
        send(channels[0], 1, range(8))
        pump(channels, lambda: len(recorders[1].frames) == 8, "all frames")
        pump(channels, lambda: not channels[0].pending(), "all answers")
        assert channels[0].usage.put == before + 8
        assert channels[1].usage.get == read + 8
    assert server.names(f"tests/fmi/{{{JOB}}}/") == []
