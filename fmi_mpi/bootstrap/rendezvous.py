"""A rank's end of the rendezvous service: the meeting place of a job whose ranks no launcher of ours holds together.

Rules of this file:
- ``FMI_RENDEZVOUS`` names the service, ``FMI_JOB_*`` the place in the job (``bootstrap.local`` has the names).
- The service gives a rank to its first claimant; a later one, such as a retried invocation, is told to leave and does not
  run. A child of a rank, told by what the rank leaves in its environment, is a world of its own.
- A job goes on without the service while it needs nothing of it; ranks come back to it when it is there again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

from fmi_mpi.bootstrap import local
from fmi_mpi.bootstrap.base import Event, Identity, Record, Relay
from fmi_mpi.bootstrap.foreign import identify
from fmi_mpi.bootstrap.messages import Message
from fmi_mpi.bootstrap.place import Place, parse
from fmi_mpi.bootstrap.session import Session
from fmi_mpi.config import Settings
from fmi_mpi.errors import AbortError, BootstrapError

__all__ = ["CLAIMED", "VARIABLE", "RendezvousBootstrap", "family_of", "join", "reflectors_of", "relay_of", "with_rank"]

VARIABLE: Final = "FMI_RENDEZVOUS"

CLAIMED: Final = "FMI_JOB_CLAIMED"
_WHO_TIMEOUT: Final = 5.0
_NOTED_TIMEOUT: Final = 3.0
_TRY: Final = 5.0  # seconds for one attempt to reach one address
_PAUSE: Final = 0.2


def join(environ: Mapping[str, str]) -> RendezvousBootstrap | None:
    """Claim the rank that ``environ`` names; None in a child of the rank. Raises BootstrapError, ConfigError."""
    where = parse(environ[VARIABLE])
    identity = local.read_identity(with_rank(environ), VARIABLE)
    claim = f"{identity.job}/{identity.rank}"
    if environ.get(CLAIMED) == claim:
        return None
    bootstrap = RendezvousBootstrap(where, identity)
    try:
        bootstrap.claim(Settings(environ).join_timeout)
    except BaseException:
        bootstrap.close()
        raise
    os.environ[CLAIMED] = claim
    return bootstrap


def with_rank(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables with rank and size of another launcher (mpirun, srun) where they say neither."""
    found = None if local.RANK in environ else identify(environ)
    return {**environ, local.RANK: str(found.rank), local.SIZE: str(found.size)} if found else environ


def family_of(where: Place, deadline: float) -> int:
    """Return the address family over which the service can be reached, waiting for it until ``deadline``.

    Raises BootstrapError.
    """
    while True:
        error: OSError
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(
                where.host, where.port, type=socket.SOCK_STREAM
            ):
                try:
                    with socket.socket(family, kind, protocol) as probe:
                        probe.settimeout(min(_TRY, max(0.1, deadline - time.monotonic())))
                        probe.connect(address)
                        return family
                except OSError as problem:
                    error = problem
        except OSError as problem:
            error = problem
        if time.monotonic() + _PAUSE > deadline:
            reason = error.strerror or error
            raise BootstrapError(f"the rendezvous service at {where.label} cannot be reached: {reason}") from None
        time.sleep(_PAUSE)


def reflectors_of(welcome: Message, where: Place) -> Sequence[tuple[str, int]]:
    """Return the reflectors that the service offers."""
    return [(where.host, int(port)) for port in welcome.get("reflectors", ())]


def relay_of(welcome: Message, where: Place) -> Relay | None:
    """Return host, port and key of the relay that the service offers."""
    offer = welcome.get("relay")
    return (where.host, int(offer["port"]), bytes.fromhex(offer["key"])) if offer else None


class RendezvousBootstrap:
    """The meeting place of a job at the rendezvous service; see ``bootstrap.base.Bootstrap``.

    Args:
        where: the service.
        identity: who this process wants to be.
    """

    directory: str | None = None
    spans_hosts = True

    def __init__(self, where: Place, identity: Identity) -> None:
        self.identity = identity
        self.reflectors: Sequence[tuple[str, int]] = ()
        self.relay: Relay | None = None
        self._session = Session(where, identity.job, identity.size, [identity.rank], identity.secret)
        self._table: Sequence[Record] | None = None
        self._incomplete: Message | None = None
        self._missing: Sequence[int] | None = None
        self._news: list[Event] = []

    def claim(self, timeout: float) -> None:
        """Claim the rank, waiting at most ``timeout`` seconds; raises BootstrapError."""
        identity, session = self.identity, self._session
        who = f"rank {identity.rank} cannot join job {identity.job}: "
        deadline = time.monotonic() + timeout
        try:
            session.start(family_of(session.where, deadline))
        except BootstrapError as error:
            raise BootstrapError(who + str(error)) from None
        while True:
            for message in session.receive():
                if message["type"] == "welcome":
                    self.reflectors = reflectors_of(message, session.where)
                    self.relay = relay_of(message, session.where)
                    return
                if message["type"] == "leave":
                    raise BootstrapError(f"{who}another process has the rank already; this one must leave")
                if message["type"] == "refuse":
                    raise BootstrapError(f"{who}the rendezvous service refuses it: {message.get('reason')}")
            if session.rejected:
                raise BootstrapError(
                    f"{who}the rendezvous service at {session.where.label} does not hold the key in {VARIABLE}; "
                    "use the URL that it prints when it starts"
                )
            if time.monotonic() > deadline:
                raise BootstrapError(
                    f"{who}no answer from a rendezvous service at {session.where.label} within {timeout:g} s"
                )
            session.wait(deadline - time.monotonic())

    def publish(self, record: Record) -> None:
        """Send this rank's record to the service."""
        self._session.tell("publish", self._message("publish", record=record))

    def table(self, timeout: float) -> Sequence[Record]:
        """Return every rank's record, waiting at most ``timeout`` seconds.

        Raises BootstrapError naming the missing ranks; AbortError if the job ends.
        """
        if self._table is None:
            self._session.tell("wait", self._message("wait"))
            self._wait(time.monotonic() + timeout)
        if self._table is not None:
            return self._table
        if self._incomplete is None:
            raise BootstrapError(self._who_is_missing(timeout))
        raise BootstrapError(f"rank {self.identity.rank} waits in vain: {self._incomplete.get('reason')}")

    def fileno(self) -> int:
        """Return the session's descriptor."""
        return self._session.fileno()

    def events(self) -> Sequence[Event]:
        """Return news without blocking."""
        self._receive()
        news, self._news = self._news, []
        return news

    def signal(self, rank: int, message: Record) -> None:
        """Have the service pass a message on."""
        self._session.say(self._message("signal", to=rank, data=message))

    def abort(self, code: int, message: str) -> None:
        """Ask that all ranks be ended, and see that the service has heard it: the caller exits without looking back."""
        self._end(self._message("abort", code=code, message=message))

    def failed(self, code: int) -> None:
        """Tell the service before the others see this rank's connections end."""
        self._end(self._message("failed", code=code))

    def finalized(self) -> None:
        """Tell the service that this rank's exit is no failure from now on."""
        self._session.tell("finalized", self._message("finalized"))

    def close(self) -> None:
        """Leave, with everything said delivered. Idempotent."""
        self._session.close()

    # -- the session ---------------------------------------------------------------------------------------------

    def _message(self, kind: str, **fields: object) -> Message:
        return {"type": kind, "rank": self.identity.rank, **fields}

    def _end(self, message: Message) -> None:
        self._session.tell("end", message)
        self._session.take("noted", _NOTED_TIMEOUT)

    def _receive(self) -> None:
        for message in self._session.receive():
            kind = message["type"]
            if kind == "table":
                self._table = message["records"]
            elif kind == "incomplete":
                self._incomplete = message
            elif kind == "missing":
                self._missing = message["ranks"]
            elif kind in ("abort", "lost"):
                self._news.append(Event(kind, message["rank"], message["message"], message.get("code", 1)))
            elif kind == "signal":
                self._news.append(Event(kind, message["rank"], data=message["data"]))
            elif kind in ("leave", "refuse"):
                reason = message.get("reason", "another process has this rank")
                self._news.append(Event("abort", -1, f"rank {self.identity.rank} must leave its job: {reason}"))

    def _wait(self, deadline: float) -> None:
        """Receive until the table, or the news that it never comes; raises AbortError."""
        while True:
            self._receive()
            for event in self._news:
                if event.kind == "abort":
                    who = f"rank {self.identity.rank} was joining, but the job ends: "
                    raise AbortError(who + event.message, event.code)
            if self._table is not None or self._incomplete is not None or self._missing is not None:
                return
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._session.wait(remaining)

    def _who_is_missing(self, timeout: float) -> str:
        """Ask the service who is missing, and say it."""
        self._session.say(self._message("who"))
        self._wait(time.monotonic() + _WHO_TIMEOUT)
        identity = self.identity
        if self._missing is None:
            who = f"the rendezvous service at {self._session.where.label} does not say which"
        else:
            who = ", ".join(map(str, self._missing))
        return (
            f"rank {identity.rank} of {identity.size}: not all ranks joined job {identity.job} within {timeout:g} s;"
            f" missing: {who}. Every rank must import MPI; FMI_JOIN_TIMEOUT sets the time to wait"
        )
