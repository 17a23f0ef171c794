"""What only the redis channel has: servers that die, hang, forget, refuse; strangers who write into the store."""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import pytest

from benchmarks.servers.redis import KINDS, RedisServer, ask, free_port, shared
from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.conformance import Recorder, header_of, pump
from fmi_mpi.channels.mailbox import MailboxChannel
from fmi_mpi.channels.mailbox.objects import ACK, BYE, FRAME, HEAD, MORE, Sealer
from fmi_mpi.channels.redis import store as redis_store
from fmi_mpi.channels.redis.store import RedisStore
from fmi_mpi.channels.redis.url import RIGHTS
from fmi_mpi.channels.registry import Membership, create
from fmi_mpi.config import Settings

from . import pairs
from .jobs import ROOT
from .pairs import Frames, made
from .subjects import JOB, SECRET

ANY = next(iter(KINDS))
SIZES = (10, 70_000, 700_000, 0)
FRAMES = Frames(SIZES)
send, check_frames, payload = FRAMES.send, FRAMES.check, FRAMES.payload


def end(url: str, proc: int, recorder: Recorder, size: int = 2, job: str = JOB) -> MailboxChannel:
    membership = Membership(proc, size, job, SECRET, Settings({"FMI_CHANNELS": url}))
    return cast(MailboxChannel, create("redis", membership, recorder))


def pair(url: str) -> AbstractContextManager[tuple[list[MailboxChannel], list[Recorder]]]:
    return pairs.pair(lambda proc, recorder: end(url, proc, recorder))


def store(channel: MailboxChannel) -> RedisStore:
    return cast(RedisStore, channel._store)


def add(server: RedisServer, box: str, *fields: bytes) -> bytes:
    return ask(server.port, "XADD", box, "*", *fields)


# -- outages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_restarted_with_its_data_loses_and_doubles_nothing(kind: str) -> None:
    server = RedisServer(kind)
    with pair(server.url) as (channels, recorders):
        for turn in range(3):
            numbers = range(turn * 20, turn * 20 + 20)
            send(channels[0], 1, numbers)
            pump(channels, lambda: len(recorders[1].frames) >= numbers.start + 3, "some frames")  # noqa: B023
            server.kill()
            send(channels[1], 0, numbers)
            pump(channels, lambda: store(channels[0])._writer.connection.stage == "down", "the outage to be seen")
            server.start()
            pump(
                channels,
                lambda: all(len(recorder.frames) >= numbers.stop for recorder in recorders),  # noqa: B023
                "all frames after the restart",
            )
        pump(channels, lambda: not any(channel.pending() for channel in channels), "the last answers")
        for recorder in recorders:
            check_frames(recorder, range(60))
            assert not recorder.gone
    assert server.names() == []
    server.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_cut_connections_lose_and_double_nothing(kind: str) -> None:
    server = shared(kind)
    count = 200
    with pair(server.url) as (channels, recorders):
        for proc in (0, 1):
            send(channels[proc], 1 - proc, range(count))
        for cut in range(1, 8):
            until = count * cut // 10
            pump(channels, lambda: len(recorders[1].frames) >= until, "some frames")  # noqa: B023
            ask(server.port, "CLIENT", "KILL", "TYPE", "normal")
        pump(channels, lambda: all(len(recorder.frames) >= count for recorder in recorders), "all frames")
        for recorder in recorders:
            check_frames(recorder, range(count))
            assert not recorder.gone


@pytest.mark.parametrize("number", [0, 2], ids=["small", "large"])
def test_a_send_on_a_broken_connection_does_not_fail(number: int) -> None:
    with pair(shared(ANY).url) as (channels, recorders):
        numbers = range(number, number + 9, 4)
        for line in (store(channels[0])._writer, store(channels[0])._reader):
            sock = line.connection._sock
            assert sock is not None
            sock.shutdown(socket.SHUT_RDWR)
        for single in numbers:
            send(channels[0], 1, range(single, single + 1))
        pump(channels, lambda: len(recorders[1].frames) >= len(numbers), "all frames")
        assert [frame[1] for frame in recorders[1].frames] == list(numbers)
        assert not recorders[1].gone


def test_a_server_that_hangs_for_a_while_does_no_harm() -> None:
    server = RedisServer(ANY)
    with pair(server.url + "?patience=10") as (channels, recorders):
        server.pause(True)
        send(channels[0], 1, range(8))
        reader = store(channels[1])._reader
        sockets = reader.connection._attempts
        pump(channels, lambda: reader.connection._attempts > sockets, "the silence to be noticed")
        server.pause(False)
        pump(channels, lambda: len(recorders[1].frames) >= 8, "all frames")
        check_frames(recorders[1], range(8))
        assert not recorders[1].gone
    server.remove()


def test_time_in_which_nobody_polls_does_not_count_against_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "_TICK", 0.05)
    server = RedisServer(ANY)
    with pair(server.url + "?patience=0.5") as (channels, recorders):
        server.kill()
        pump(channels, lambda: all(store(channel)._writer.backoff for channel in channels), "the outage")
        attempts = store(channels[0])._writer.connection._attempts
        time.sleep(0.7)  # as a rank that computes
        pump(channels, lambda: store(channels[0])._writer.connection._attempts > attempts + 1, "a failed attempt more")
        assert not any(recorder.gone for recorder in recorders)
        server.start()
        send(channels[0], 1, range(4))
        pump(channels, lambda: len(recorders[1].frames) == 4, "all frames")
    server.remove()


def test_who_does_not_poll_is_told_to_when_its_connection_breaks() -> None:
    server = RedisServer(ANY)
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()
    membership = Membership(0, 2, JOB, SECRET, Settings({"FMI_CHANNELS": server.url}), told.put)
    channel = cast(MailboxChannel, create("redis", membership, Recorder()))
    channel.address()
    for _ in range(2):
        ask(server.port, "CLIENT", "KILL", "TYPE", "pubsub")
        assert told.get(timeout=20) is True
        pump([channel], lambda: not told.empty(), "the connection")
        assert told.get() is False
    channel.close()
    assert told.empty()
    server.remove()


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_a_server_that_stays_away_is_an_error(how: str) -> None:
    server = RedisServer(ANY)
    with pair(server.url + "?patience=1") as (channels, recorders):
        if how == "killed":
            server.kill()
        else:
            server.pause(True)
        started = time.monotonic()
        pump(channels, lambda: all(recorder.gone for recorder in recorders), "the loss of the server")
        assert time.monotonic() - started < 10
        for recorder in recorders:
            assert len(recorder.gone) == 1
            assert f"redis: 127.0.0.1:{server.port}" in recorder.gone[0][1]
        assert channels[0].send(1, header_of(1, 0), None, 5) is False
        assert not channels[0].pending()
    server.remove()


@pytest.mark.parametrize("how", ["flushed", "restarted without data"])
def test_a_server_that_forgets_is_an_error(how: str) -> None:
    server = RedisServer(ANY, "--appendonly", "no")
    with pair(server.url) as (channels, recorders):
        if how == "flushed":
            ask(server.port, "FLUSHALL")
        else:
            server.kill()
            server.start()
        pump(channels, lambda: all(recorder.gone for recorder in recorders), "the loss to be noticed")
        assert "appendonly yes" in recorders[0].gone[0][1]
    server.remove()


def test_messages_that_a_restarted_server_has_lost_are_an_error() -> None:
    server = RedisServer(ANY, "--appendonly", "no")
    with pair(server.url) as (channels, recorders):
        ask(server.port, "SAVE")
        send(channels[0], 1, range(1))
        pump(channels[:1], lambda: not channels[0].pending(), "the frame to be stored")
        server.kill()
        server.start()  # with the data of the moment before
        pump(channels[:1], lambda: bool(recorders[0].gone), "the loss to be noticed")
        assert "has lost messages" in recorders[0].gone[0][1]
    server.remove()


def test_a_full_server_is_waited_for() -> None:
    server = RedisServer(ANY)
    with pair(server.url) as (channels, recorders):
        ask(server.port, "CONFIG", "SET", "maxmemory", "1")
        send(channels[0], 1, range(12))
        pump(channels, lambda: store(channels[0])._writer.backoff is not None, "the refusal")
        ask(server.port, "CONFIG", "SET", "maxmemory", "0")
        pump(channels, lambda: len(recorders[1].frames) >= 12, "all frames")
        check_frames(recorders[1], range(12))
    server.remove()


def test_a_server_that_stays_full_is_an_error() -> None:
    server = RedisServer(ANY)
    with pair(server.url + "?patience=1") as (channels, recorders):
        ask(server.port, "CONFIG", "SET", "maxmemory", "1")
        send(channels[0], 1, range(1))
        pump(channels, lambda: bool(recorders[0].gone), "the loss")
        assert "OOM" in recorders[0].gone[0][1]
    server.remove()


# -- at the start ----------------------------------------------------------------------------------------------------


def test_no_server_at_the_start() -> None:
    port = free_port()
    channel = end(f"redis://user:hush@127.0.0.1:{port}?patience=0.3", 0, Recorder())
    with pytest.raises(ChannelError, match=f"127.0.0.1:{port}: Connection refused; see that a Redis") as caught:
        channel.address()
    assert "hush" not in str(caught.value)
    channel.close()


@pytest.mark.parametrize(
    ("login", "words"),
    [("", "NOAUTH"), (":wrong@", "check the user and the password"), ("weak:pw@", "NOPERM")],
    ids=["no password", "wrong password", "user without rights"],
)
def test_a_server_that_does_not_let_one_in(login: str, words: str) -> None:
    server = RedisServer(ANY)
    ask(server.port, "ACL", "SETUSER", "weak", "on", ">pw", "~other/*", "&*", "+@all")
    ask(server.port, "CONFIG", "SET", "requirepass", "right")
    channel = end(f"redis://{login}127.0.0.1:{server.port}", 0, Recorder())
    with pytest.raises(ChannelError, match=words) as caught:
        channel.address()
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "").replace("wrong number", "")
    server.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_the_rights_that_the_remedy_names_are_enough(kind: str) -> None:
    server = RedisServer(kind)
    ask(server.port, "ACL", "SETUSER", "worker", "on", ">p/w@:%", "resetchannels", *RIGHTS.split())
    with pair(f"redis://worker:p%2Fw%40%3A%25@127.0.0.1:{server.port}/3?patience=1") as (channels, recorders):
        for numbers in (range(150), range(150, 300)):  # enough for what has been read to be removed
            send(channels[0], 1, numbers)
            pump(channels, lambda: len(recorders[1].frames) == numbers.stop, "all frames")  # noqa: B023
            ask(server.port, "CLIENT", "KILL", "TYPE", "normal")
        pump(channels, lambda: store(channels[0])._looking, "a look for life")
        pump(channels, lambda: not store(channels[0])._looking, "its answer")
        assert not recorders[0].gone
    assert ask(server.port, "ACL", "LOG") == b"*0\r\n"
    server.remove()


def test_the_readme_names_the_rights() -> None:
    assert f"`{RIGHTS}`" in (ROOT / "README.md").read_text()


# -- strangers -------------------------------------------------------------------------------------------------------


def test_nothing_of_a_stranger_is_used() -> None:
    server = shared(ANY)
    with pair(server.url) as (channels, recorders):
        box, other = channels[1]._box, channels[0]._box
        number = channels[0]._outboxes[1]._number
        forger, mover = Sealer(b"another key", JOB, box), Sealer(SECRET, JOB, other)
        header = header_of(9, 4)
        for kind in (FRAME, MORE, ACK, BYE):
            for sealer in (forger, mover):
                body = header + b"evil"
                add(server, box, b"o", made(sealer, kind, 0, number, body))
        genuine = Sealer(SECRET, JOB, box)
        head = made(genuine, FRAME, 0, number, header + b"good")[:HEAD]
        add(server, box, b"o", head + header + b"evil")
        add(server, box, b"o", head + header + b"good" + b"more")
        add(server, box, b"o", head[: HEAD - 1])
        add(server, box, b"o", made(genuine, FRAME, 7, 0, header))
        add(server, box, b"o", made(genuine, FRAME, 1, 0, header))
        add(server, box, b"o", b"")
        add(server, box, b"o", bytes(3_000_000))
        add(server, box, b"other", b"field", b"and", b"more")
        add(server, box, b"p", bytes(100_000))
        send(channels[0], 1, range(8))
        pump(channels, lambda: len(recorders[1].frames) >= 8, "the genuine frames")
        check_frames(recorders[1], range(8))
        assert channels[1].forged == 17
        assert not recorders[1].gone


def test_forged_bytes_of_a_body_are_replaced() -> None:
    server = shared(ANY)
    with pair(server.url) as (channels, recorders):
        data = memoryview(bytes(range(256)) * 4000)
        channels[0].send(1, header_of(1, len(data)), data, None)
        outbox = channels[0]._outboxes[1]
        first = outbox._number - 4
        forged = Sealer(b"another key", JOB, channels[1]._box)
        length = store(channels[0]).limit - HEAD
        for number in range(first, outbox._number):
            add(server, channels[1]._box, b"o", made(forged, MORE, 0, number, bytes(length)))
        pump(channels, lambda: bool(recorders[1].frames), "the frame")
        assert recorders[1].frames[0][2] == bytes(data)


def test_objects_that_come_again_are_dropped() -> None:
    server = shared(ANY)
    with pair(server.url) as (channels, recorders):
        send(channels[0], 1, range(2))
        pump(channels[:1], lambda: not channels[0].pending(), "the frames to be stored")
        text = ask(server.port, "XREVRANGE", channels[1]._box, "+", "-", "COUNT", "1")
        start = text.index(b"$1\r\no\r\n$") + 8
        size, _, rest = text[start:].partition(b"\r\n")
        for _ in range(3):
            add(server, channels[1]._box, b"o", rest[: int(size)])
        send(channels[0], 1, range(2, 4))
        pump(channels, lambda: len(recorders[1].frames) >= 4, "all frames")
        check_frames(recorders[1], range(4))


def test_a_deleted_object_is_an_error() -> None:
    server = shared(ANY)
    with pair(server.url + "?patience=1") as (channels, recorders):
        send(channels[0], 1, range(1))
        pump(channels[:1], lambda: not channels[0].pending(), "the frame to be stored")
        ask(server.port, "XTRIM", channels[1]._box, "MAXLEN", "0")
        send(channels[0], 1, range(1, 4))
        pump(channels, lambda: bool(recorders[1].gone), "the loss to be noticed")
        assert "the store has lost object" in recorders[1].gone[0][1]
        assert not recorders[1].frames


def test_a_mailbox_of_another_type_is_an_error() -> None:
    server = shared(ANY)
    with pair(server.url) as (channels, recorders):
        ask(server.port, "SET", channels[1]._box, "spam")
        send(channels[0], 1, range(1))
        pump(channels, lambda: all(recorder.gone for recorder in recorders), "the loss to be noticed")
        assert "WRONGTYPE" in recorders[0].gone[0][1]


# -- what is left, what it costs, where it is ------------------------------------------------------------------------


def test_nothing_is_left_and_everything_expires() -> None:
    server = RedisServer(ANY)
    with pair(server.url + "?ttl=100") as (channels, recorders):
        send(channels[0], 1, range(40))
        keys = server.names()
        assert len(keys) == 2
        for key in keys:
            assert key.startswith(b"fmi/{conformance}/")
            assert 90 <= int(ask(server.port, "TTL", key)[1:]) <= 100
        pump(channels, lambda: len(recorders[1].frames) == 40, "all frames")
    assert server.names() == []
    server.remove()


def test_what_has_been_read_is_removed() -> None:
    server = shared(ANY)
    with pair(server.url) as (channels, recorders):
        for turn in range(20):
            send(channels[0], 1, range(turn * 40, turn * 40 + 40))
            pump(channels, lambda: len(recorders[1].frames) == turn * 40 + 40, "all frames")  # noqa: B023
        assert int(ask(server.port, "XLEN", channels[1]._box)[1:]) < 300


def test_requests_and_bytes_are_counted() -> None:
    with pair(shared(ANY).url) as (channels, recorders):
        before = channels[0].usage.requests
        send(channels[0], 1, range(3))  # one object each, but for 700,000 bytes: a header and three pieces
        assert channels[0].usage.requests == before + 6
        assert channels[0].usage.written >= sum(SIZES[:3]) + 6 * HEAD
        pump(channels, lambda: len(recorders[1].frames) == 3, "all frames")
        assert channels[1].usage.read >= sum(SIZES[:3]) + 6 * HEAD


def test_jobs_and_servers_are_kept_apart() -> None:
    server, another = shared(ANY), RedisServer(ANY)
    ends = [
        end(server.url, 0, Recorder()),
        end(server.url, 1, Recorder(), job="other}{"),
        end(another.url, 1, Recorder()),
    ]
    for channel in ends[1:]:
        assert not ends[0].reachable(channel.address() if ends[0].address() else {})
    for channel in ends:
        channel.close()
    another.remove()


def test_the_servers_of_a_cluster(tmp_path: Path) -> None:
    """The first server has none of the job's keys, and says who has."""
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    try:
        servers = [RedisServer(ANY, *options, "--cluster-port", str(free_port())) for _ in range(2)]
    except AssertionError:
        pytest.skip("this server has no cluster mode")
    first, second = servers
    bus = second._options[second._options.index("--cluster-port") + 1]
    ask(second.port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    ask(first.port, "CLUSTER", "MEET", "127.0.0.1", str(second.port), bus)
    until = time.monotonic() + 20
    while b"cluster_slots_ok:16384" not in ask(first.port, "CLUSTER", "INFO"):
        assert time.monotonic() < until, "the servers do not meet"
        time.sleep(0.05)
    with pair(first.url) as (channels, recorders):
        send(channels[0], 1, range(8))
        pump(channels, lambda: len(recorders[1].frames) == 8, "all frames")
        assert all(key.startswith(b"fmi/{") for key in second.names())
        assert len(second.names()) == 2
    for server in servers:
        server.remove()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_tls(tmp_path: Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    port = free_port()
    options = (
        "--tls-port",
        str(port),
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    )
    try:
        server = RedisServer(ANY, *options)
    except AssertionError:
        pytest.skip("this server was built without TLS")
    with pair(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}") as (channels, recorders):
        for proc in (0, 1):
            send(channels[proc], 1 - proc, range(60))
        pump(channels, lambda: all(len(recorder.frames) == 60 for recorder in recorders), "all frames")
        for recorder in recorders:
            check_frames(recorder, range(60))
    with pytest.raises(ChannelError, match="certificate"):
        end(f"rediss://127.0.0.1:{port}?patience=0.5", 0, Recorder()).address()
    server.remove()
