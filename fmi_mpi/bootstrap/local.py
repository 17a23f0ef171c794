"""A rank's end of the control connection to ``fmirun``.

Rules of this file:
- The environment variables ``FMI_JOB_*`` carry everything needed to join; they are not settings.
- One round trip claims the rank. The launcher gives a rank to its first claimant; a later one (a child that
  inherited the environment) is told to leave.
- When the connection ends, the launcher is gone and so is the job: ``events`` says so, once.
"""

from __future__ import annotations

import os
import select
import socket
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Final

from fmi_mpi.bootstrap.base import Event, Identity, Record, Relay
from fmi_mpi.bootstrap.wire import SERVER_LIMIT, Decoder, Message, WireError, encode, proof
from fmi_mpi.errors import AbortError, BootstrapError

__all__ = [
    "CONTROL",
    "JOB",
    "RANK",
    "REFLECTORS",
    "RELAY",
    "SECRET",
    "SIZE",
    "SPANS_HOSTS",
    "LocalBootstrap",
    "join",
    "read_identity",
]

CONTROL: Final = "FMI_JOB_CONTROL"
JOB: Final = "FMI_JOB_ID"
RANK: Final = "FMI_JOB_RANK"
SIZE: Final = "FMI_JOB_SIZE"
SECRET: Final = "FMI_JOB_SECRET"
REFLECTORS: Final = "FMI_JOB_REFLECTORS"
RELAY: Final = "FMI_JOB_RELAY"
SPANS_HOSTS: Final = "FMI_JOB_SPANS_HOSTS"

_CLAIM_TIMEOUT: Final = 60.0
_WHO_TIMEOUT: Final = 5.0
_GONE: Final = Event("abort", -1, "the launcher (fmirun) is gone", 1)


class _LauncherGone(Exception):
    """The control connection ended."""


def join(environ: Mapping[str, str]) -> LocalBootstrap | None:
    """Claim the rank that ``environ`` names; None if another process has it. Raises BootstrapError."""
    identity, path = read_identity(environ, CONTROL), environ[CONTROL]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bootstrap = LocalBootstrap(connection, path, identity, _read_reflectors(environ.get(REFLECTORS, "")))
        bootstrap.spans_hosts = bootstrap.spans_hosts or SPANS_HOSTS in environ
        bootstrap.relay = _read_relay(environ.get(RELAY, ""))
        if bootstrap.claim(_CLAIM_TIMEOUT):
            return bootstrap
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def read_identity(environ: Mapping[str, str], meeting: str) -> Identity:
    """Return who the variables say that this process is; ``meeting`` names the one that says where ranks meet.

    Raises BootstrapError.
    """
    try:
        rank, size = int(environ[RANK]), int(environ[SIZE])
        identity = Identity(environ[JOB], rank, size, bytes.fromhex(environ[SECRET]))
    except KeyError as error:
        raise BootstrapError(f"{error.args[0]} is not set although {meeting} is; start the job with fmirun") from None
    except ValueError as error:
        raise BootstrapError(f"the FMI_JOB_* variables are malformed ({error}); start the job with fmirun") from None
    if not 0 <= rank < size:
        raise BootstrapError(f"{RANK}={rank} is not a rank of a job of {SIZE}={size}; start the job with fmirun")
    return identity


def _read_reflectors(text: str) -> Sequence[tuple[str, int]]:
    """Return the endpoints of a text such as ``192.0.2.1:7001,192.0.2.1:7002``; raises BootstrapError."""
    try:
        parts = (part.rpartition(":") for part in text.split(",") if part)
        return [(host.strip("[]"), int(port)) for host, _, port in parts]
    except ValueError:
        raise BootstrapError(f"{REFLECTORS}={text} is malformed; expecting host:port,host:port") from None


def _read_relay(text: str) -> Relay | None:
    """Return the relay of a text such as ``192.0.2.1:7003:key`` with the key in hexadecimal; raises BootstrapError."""
    host, _, rest = text.rpartition(":")[0].rpartition(":")
    try:
        return (host.strip("[]"), int(rest), bytes.fromhex(text.rpartition(":")[2])) if text else None
    except ValueError:
        raise BootstrapError(f"{RELAY} is malformed; expecting host:port:key") from None


class LocalBootstrap:
    """The meeting place of a job under ``fmirun``.

    Args:
        connection: an unconnected AF_UNIX stream socket; owned from now on.
        path: where the launcher listens.
        identity: who this process wants to be.
        reflectors: if any, ranks are behind different addresses although one launcher has started them.
    """

    def __init__(
        self, connection: socket.socket, path: str, identity: Identity, reflectors: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.identity = identity
        self.reflectors = reflectors
        self.spans_hosts = bool(reflectors)
        self.relay: Relay | None = None
        self.directory: str | None = os.path.dirname(path)
        self._path = path
        self._socket = connection
        self._decoder = Decoder(SERVER_LIMIT)
        self._table: Sequence[Record] | None = None
        self._incomplete: Message | None = None
        self._news: list[Event] = []
        self._gone = False
        os.register_at_fork(after_in_child=_CloseInChild(connection))

    def claim(self, timeout: float) -> bool:
        """Claim the rank, waiting at most ``timeout`` seconds; False if another process has it.

        Raises BootstrapError.
        """
        identity = self.identity
        try:
            deadline = time.monotonic() + timeout
            self._connect(deadline)
            hello = self._expect(deadline)
            token = proof(identity.secret, str(hello.get("nonce")), identity.job, identity.rank)
            self._send({"type": "claim", "rank": identity.rank, "pid": os.getpid(), "proof": token})
            answer = self._expect(deadline)
        except (OSError, WireError, _LauncherGone) as error:
            raise BootstrapError(
                f"rank {identity.rank} cannot join job {identity.job}: fmirun does not answer at {self._path} "
                f"({error}); the job has probably ended"
            ) from None
        self._socket.settimeout(None)
        if answer["type"] == "leave":
            return False
        if answer["type"] != "welcome":
            raise BootstrapError(f"rank {identity.rank} is refused by fmirun: {answer.get('reason', answer['type'])}")
        return True

    def publish(self, record: Record) -> None:
        """Send this rank's record to the launcher."""
        self._send({"type": "publish", "record": record})

    def table(self, timeout: float) -> Sequence[Record]:
        """Return every rank's record, waiting at most ``timeout`` seconds.

        Raises BootstrapError naming the missing ranks, at once if one of them has exited; AbortError if the job ends.
        """
        if self._table is None:
            self._send({"type": "wait"})
            self._wait(time.monotonic() + timeout)
            self._raise_if_aborted()
        if self._table is not None:
            return self._table
        if self._incomplete is None:
            raise BootstrapError(self._missing(timeout))
        raise BootstrapError(f"rank {self.identity.rank} waits in vain: {self._incomplete.get('reason')}")

    def fileno(self) -> int:
        """Return the control connection's descriptor."""
        return self._socket.fileno()

    def events(self) -> Sequence[Event]:
        """Return news without blocking."""
        if self._socket.fileno() >= 0:
            while self._readable(0.0):
                self._receive()
        news, self._news = self._news, []
        return news

    def signal(self, rank: int, message: Record) -> None:
        """Have the launcher pass a message on."""
        self._send({"type": "signal", "rank": rank, "data": message})

    def abort(self, code: int, message: str) -> None:
        """Ask the launcher to end all ranks with exit code ``code``."""
        self._send({"type": "abort", "code": code, "message": message})

    def failed(self, code: int) -> None:
        """Tell the launcher before the others see this rank's connections end."""
        self._send({"type": "failed", "code": code})

    def finalized(self) -> None:
        """Tell the launcher that this rank's exit is no failure from now on."""
        self._send({"type": "finalized"})

    def close(self) -> None:
        """Close the control connection. Idempotent."""
        self._socket.close()

    # -- the connection ------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        """Send a frame; a launcher that is gone is reported by ``events``, not here."""
        if self._gone or self._socket.fileno() < 0:
            return
        try:
            self._socket.sendall(encode(message))
        except OSError:
            self._lose()

    def _lose(self) -> None:
        if not self._gone:
            self._gone = True
            self._news.append(_GONE)

    def _readable(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for bytes; False if there are none or the connection is lost."""
        if self._gone:
            return False
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(max(0.0, timeout) * 1000))

    def _receive(self) -> None:
        """Take the bytes that are there and act on every whole message."""
        try:
            data = self._socket.recv(1 << 18)
            if data:
                self._decoder.feed(data)
                while (message := self._decoder.next()) is not None:
                    self._take(message)
                return
        except BlockingIOError:
            return
        except (OSError, WireError):
            pass
        self._lose()

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "table":
            self._table = message["records"]
        elif kind in ("incomplete", "missing"):
            self._incomplete = message
        elif kind in ("abort", "lost"):
            self._news.append(Event(kind, message["rank"], message["message"], message.get("code", 1)))
        elif kind == "signal":
            self._news.append(Event(kind, message["rank"], data=message["data"]))

    def _connect(self, deadline: float) -> None:
        """Connect; while the launcher's queue is full, again and again."""
        while True:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                self._socket.connect(self._path)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)

    def _expect(self, deadline: float) -> Message:
        """Return the next message of the handshake."""
        while (message := self._decoder.next()) is None:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._socket.recv(1 << 12)
            if not data:
                raise _LauncherGone("it closed the connection")
            self._decoder.feed(data)
        return message

    def _wait(self, deadline: float) -> None:
        """Receive until the table, or the news that it never comes; raises AbortError."""
        while self._table is None and self._incomplete is None:
            self._raise_if_aborted()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            if self._readable(remaining):
                self._receive()

    def _raise_if_aborted(self) -> None:
        for event in self._news:
            if event.kind == "abort":
                raise AbortError(
                    f"rank {self.identity.rank} was joining, but the job ends: {event.message}", event.code
                )

    def _missing(self, timeout: float) -> str:
        """Ask the launcher who is missing, and say it."""
        self._send({"type": "who"})
        self._wait(time.monotonic() + _WHO_TIMEOUT)
        answer, self._incomplete = self._incomplete, None
        who = "the launcher does not say which" if answer is None else ", ".join(map(str, answer["ranks"]))
        return (
            f"rank {self.identity.rank} of {self.identity.size}: not all ranks joined the job within {timeout:g} s;"
            f" missing: {who}. Every rank must import MPI; FMI_JOIN_TIMEOUT sets the time to wait"
        )


class _CloseInChild:
    """Closes a forked child's copy of the connection, so that its end shows when the rank itself ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._reference = weakref.ref(connection)

    def __call__(self) -> None:
        connection = self._reference()
        if connection is not None:
            connection.close()
