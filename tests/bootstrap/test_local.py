"""A rank's end of the control connection against launchers that are absent, refuse, lie or die."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmi_mpi.bootstrap import discover, local
from fmi_mpi.bootstrap.base import Event
from fmi_mpi.bootstrap.wire import SERVER_LIMIT, Decoder, Message, encode, proof
from fmi_mpi.errors import AbortError, BootstrapError

Script = Callable[[socket.socket, Callable[[], Message]], None]


class FakeLauncher:
    """Accepts one connection and runs a script on it, in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread: threading.Thread | None = None
        self.environ = {
            local.CONTROL: str(path),
            local.JOB: "job",
            local.RANK: "1",
            local.SIZE: "3",
            local.SECRET: "ab" * 32,
        }

    def play(self, script: Script) -> None:
        def serve() -> None:
            connection, _ = self.listener.accept()
            decoder = Decoder(1 << 20)

            def take() -> Message:
                while (message := decoder.next()) is None:
                    data = connection.recv(4096)
                    if not data:
                        raise ConnectionError
                    decoder.feed(data)
                return message

            with connection:
                script(connection, take)

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.listener.close()
        if self.thread is not None:
            self.thread.join(5)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[FakeLauncher]:
    launcher = FakeLauncher(tmp_path / "control")
    yield launcher
    launcher.close()


def send(connection: socket.socket, **message: object) -> None:
    connection.sendall(encode(message))


def welcome(connection: socket.socket, take: Callable[[], Message]) -> None:
    send(connection, type="hello", nonce="n")
    claim = take()
    assert claim["proof"] == proof(bytes.fromhex("ab" * 32), "n", "job", 1)
    send(connection, type="welcome")


def drain(take: Callable[[], Message]) -> None:
    try:
        while True:
            take()
    except ConnectionError:
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({local.RANK: ""}, "malformed"),
        ({local.RANK: "x"}, "malformed"),
        ({local.RANK: "3"}, "FMI_JOB_RANK=3 is not a rank of a job of FMI_JOB_SIZE=3"),
        ({local.RANK: "-1"}, "is not a rank"),
        ({local.SECRET: "xyz"}, "malformed"),
    ],
)
def test_malformed_environment(launcher: FakeLauncher, change: dict[str, str], said: str) -> None:
    with pytest.raises(BootstrapError, match=said):
        discover(launcher.environ | change)


@pytest.mark.parametrize("variable", [local.JOB, local.RANK, local.SIZE, local.SECRET])
def test_incomplete_environment(launcher: FakeLauncher, variable: str) -> None:
    del launcher.environ[variable]
    with pytest.raises(BootstrapError, match=f"{variable} is not set"):
        discover(launcher.environ)


def test_launcher_that_is_gone(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.listener.close()
    for path in (launcher.path, tmp_path / "absent"):
        with pytest.raises(BootstrapError, match="rank 1 cannot join job job: fmirun does not answer"):
            discover(launcher.environ | {local.CONTROL: str(path)})


@pytest.mark.parametrize(
    "answer",
    [b"", struct.pack(">I", SERVER_LIMIT + 1), struct.pack(">I", 2) + b"[]", struct.pack(">I", 3) + b"abc"],
)
def test_launcher_that_speaks_nonsense(launcher: FakeLauncher, answer: bytes) -> None:
    launcher.play(lambda connection, take: connection.sendall(answer))
    with pytest.raises(BootstrapError, match="does not answer"):
        discover(launcher.environ)


def test_refusal_gives_the_reason(launcher: FakeLauncher) -> None:
    def script(connection: socket.socket, take: Callable[[], Message]) -> None:
        send(connection, type="hello", nonce="n")
        take()
        send(connection, type="refuse", reason="its secret is not that of the job")

    launcher.play(script)
    with pytest.raises(BootstrapError, match="rank 1 is refused by fmirun: its secret is not"):
        discover(launcher.environ)


def test_taken_rank_means_a_world_of_one(launcher: FakeLauncher) -> None:
    def script(connection: socket.socket, take: Callable[[], Message]) -> None:
        send(connection, type="hello", nonce="n")
        take()
        send(connection, type="leave")

    launcher.play(script)
    bootstrap = discover(launcher.environ)
    assert (bootstrap.identity.rank, bootstrap.identity.size, bootstrap.directory) == (0, 1, None)
    bootstrap.publish({"a": 1})
    assert bootstrap.table(0) == [{"a": 1}]


def test_news_and_the_end(launcher: FakeLauncher) -> None:
    sent = threading.Event()

    def script(connection: socket.socket, take: Callable[[], Message]) -> None:
        welcome(connection, take)
        assert take() == {"type": "publish", "record": {"a": 1}}
        send(connection, type="lost", rank=2, message="gone")
        send(connection, type="signal", rank=2, data={"b": 2})
        assert take() == {"type": "signal", "rank": 2, "data": {"c": 3}}
        send(connection, type="abort", rank=0, code=4, message="enough")
        connection.shutdown(socket.SHUT_WR)
        sent.set()
        drain(take)

    launcher.play(script)
    bootstrap = discover(launcher.environ)
    assert bootstrap.events() == []
    assert bootstrap.directory == str(launcher.path.parent)
    bootstrap.publish({"a": 1})
    bootstrap.signal(2, {"c": 3})
    assert sent.wait(5)
    assert bootstrap.events() == [
        Event("lost", 2, "gone"),
        Event("signal", 2, data={"b": 2}),
        Event("abort", 0, "enough", 4),
        Event("abort", -1, "the launcher (fmirun) is gone", 1),
    ]
    assert bootstrap.events() == []
    bootstrap.abort(1, "nobody hears")
    bootstrap.close()
    bootstrap.close()
    assert bootstrap.events() == []


def test_table_survives_news_before_it(launcher: FakeLauncher) -> None:
    def script(connection: socket.socket, take: Callable[[], Message]) -> None:
        welcome(connection, take)
        take()
        send(connection, type="lost", rank=0, message="gone")
        send(connection, type="table", records=[1, 2, 3])
        drain(take)

    launcher.play(script)
    bootstrap = discover(launcher.environ)
    assert bootstrap.table(5) == [1, 2, 3]
    assert bootstrap.events() == [Event("lost", 0, "gone")]
    bootstrap.close()


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        (
            [{"type": "incomplete", "ranks": [2], "reason": "rank 2 exited"}],
            BootstrapError,
            "rank 1 waits in vain: rank 2 exited",
        ),
        ([{"type": "abort", "rank": 0, "code": 1, "message": "why"}], AbortError, "the job ends: why"),
        ([], AbortError, "the launcher .* is gone"),
    ],
)
def test_table_that_never_comes(
    launcher: FakeLauncher, answers: list[Message], error: type[Exception], said: str
) -> None:
    def script(connection: socket.socket, take: Callable[[], Message]) -> None:
        welcome(connection, take)
        assert take() == {"type": "wait"}
        for answer in answers:
            send(connection, **answer)

    launcher.play(script)
    bootstrap = discover(launcher.environ)
    with pytest.raises(error, match=said):
        bootstrap.table(5)
    bootstrap.close()


def test_timeout_asks_who_is_missing(launcher: FakeLauncher) -> None:
    def script(connection: socket.socket, take: Callable[[], Message]) -> None:
        welcome(connection, take)
        assert [take()["type"], take()["type"]] == ["wait", "who"]
        send(connection, type="missing", ranks=[0, 2])
        drain(take)

    launcher.play(script)
    bootstrap = discover(launcher.environ)
    with pytest.raises(BootstrapError, match=r"rank 1 of 3: .* within 0.05 s; missing: 0, 2\."):
        bootstrap.table(0.05)
    bootstrap.close()
