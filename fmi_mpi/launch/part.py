"""A part of a job: this launcher's ranks, while others start the rest elsewhere. They meet at a rendezvous service.

Rules of this file:
- The launcher claims its ranks in one claim and speaks for them, so ranks need neither zmq nor a connection of their
  own, and go on when the service is started again.
- What the ranks of all parts print is printed by the launcher of rank 0 (``launch.merging``), which stays until the others
  have told that there is no more.
- ``embed`` in place of a service's URL: the service lives in this launcher, and with it.
- Entries of the launcher's selector carry a callable. Nothing blocks except ``start``, before any rank runs.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from fmi_mpi.bootstrap import local
from fmi_mpi.bootstrap.messages import Message
from fmi_mpi.bootstrap.place import Place, parse
from fmi_mpi.bootstrap.rendezvous import family_of, reflectors_of, relay_of
from fmi_mpi.bootstrap.session import Session
from fmi_mpi.launch.merging import Collector, Forward
from fmi_mpi.launch.output import Sink
from fmi_mpi.launch.share import EMBED, Share

if TYPE_CHECKING:
    from fmi_mpi.launch.rendezvous.server import Server

__all__ = ["Listener", "Part"]

_OTHERS: Final = 10.0  # seconds for the others to leave an embedded service
_OTHERS_FAILED: Final = 2.0
_TOLD: Final = 1.0  # seconds for the service to take the news of a failure
_OUTPUT: Final = 5.0  # seconds for output to be delivered after a failure, or without the service
_LOOPBACK: Final = "127.0.0.1"


class Listener(Protocol):
    """Who wants to know what comes from the rest of the job."""

    def on_message(self, message: Message) -> None:
        """The service has news for the ranks."""

    def on_end(self, rank: int, code: int, message: str) -> None:
        """The job ends."""


class Part:
    """This launcher's part of a job.

    Args:
        share: what it is. job, size, recover: of the job.
        selector: the launcher's.
        sinks: standard output and error. prefix: gives what stands before each line of a rank.

    Raises BootstrapError, ConfigError.
    """

    def __init__(
        self,
        share: Share,
        job: str,
        size: int,
        recover: bool,
        selector: selectors.BaseSelector,
        listener: Listener,
        sinks: Sequence[Sink],
        prefix: Callable[[int], bytes],
    ) -> None:
        self.joined = False
        self.deadline = time.monotonic() + share.patience
        self._share = share
        self._job = job
        self._size = size
        self._selector = selector
        self._listener = listener
        self._welcome: Message = {}
        self._failed = False
        self._noted = False
        self._left = 0.0
        self._apart = 0.0
        self.forward: Forward | None = None
        self._collector: Collector | None = None
        if 0 not in share.ranks:
            self.forward = Forward(min(share.ranks), lambda message: self._session.tell("output", message))
        elif len(share.ranks) < size:
            self._collector = Collector(
                sinks, prefix, lambda message: self._session.tell(("printed", message["to"]), message)
            )
        self._server: Server | None = None
        if share.rendezvous == EMBED:
            from fmi_mpi.launch.rendezvous import keyfile
            from fmi_mpi.launch.rendezvous.limits import Limits
            from fmi_mpi.launch.rendezvous.server import Server

            self._server = Server(share.bind, keyfile.make(), Limits(), selector)
            self._where = self._server.place(_LOOPBACK)
        else:
            self._where = parse(share.rendezvous)
        self._session = Session(
            self._where, job, size, share.ranks, share.secret, recover=recover, anew=True, merges=True
        )
        selector.register(self._session.fileno(), selectors.EVENT_READ, self._receive)

    def start(self) -> None:
        """Begin to claim; raises BootstrapError if the service cannot be reached."""
        self._session.start(socket.AF_INET if self._server else family_of(self._where, self.deadline))

    def identity(self) -> dict[str, str]:
        """Return the variables by which the ranks learn what the service offers."""
        variables = {}
        if len(self._share.ranks) < self._size:
            variables[local.SPANS_HOSTS] = "1"
            variables[local.REFLECTORS] = ",".join(f"{h}:{p}" for h, p in reflectors_of(self._welcome, self._where))
        if (relay := relay_of(self._welcome, self._where)) is not None:
            variables[local.RELAY] = f"{relay[0]}:{relay[1]}:{relay[2].hex()}"
        return variables

    def invitation(self) -> str:
        """Return how the others join an embedded service, nothing if there are none."""
        if self._server is None or len(self._share.ranks) == self._size:
            return ""
        url = Place(socket.gethostname(), self._server.port, self._server.key).url
        return f"the other ranks join with: fmirun --rendezvous '{url}' --job {self._job} -n {self._size} --ranks ..."

    def rejected(self) -> bool:
        """Tell whether what answers at the service's address does not hold its key."""
        return self._session.rejected

    def problem(self) -> str:
        """Return why the claim has not been granted."""
        if self._session.rejected:
            return f"the rendezvous service at {self._where.label} does not hold the key in its URL"
        return f"no answer from a rendezvous service at {self._where.label} within {self._share.patience:g} s"

    def say(self, message: Message) -> None:
        """Pass on what a rank has said."""
        kind, rank = message["type"], message["rank"]
        if kind in ("who", "signal"):
            self._session.say(message)
        else:
            self._session.tell((kind, rank), message)

    def fail(self, rank: int, code: int, message: str, final: bool) -> None:
        """A rank has failed (-1: none in particular)."""
        self._failed = True
        fields = {"rank": rank, "code": code, "message": message[: 1 << 15], "final": final}
        self._session.tell(("lost", rank), {"type": "lost", **fields})

    def due(self) -> float:
        """Return when ``serve`` must be called at the latest."""
        return self._server.due() if self._server else float("inf")

    def serve(self) -> None:
        """Serve the others, where the service lives here."""
        if self._server is not None:
            self._server.serve()

    def until(self, hurry: bool) -> float:
        """All ranks here have ended: return until when to serve the others, the past if nobody needs it.

        Args:
            hurry: the job has failed, or shall end.
        """
        now = time.monotonic()
        self._left = self._left or now
        self._apart = 0.0 if self._session.joined else self._apart or now
        return max(self._until_served(), self._until_printed(hurry or self._failed))

    def _until_printed(self, hurry: bool) -> float:
        if not self.awaited():
            return 0.0
        if hurry or (self.forward is not None and not self.forward.directed):
            return self._left + _OUTPUT
        return self._apart + _OUTPUT if self._apart else float("inf")

    def awaited(self) -> str:
        """Return whose output is not complete yet, or not delivered; nothing if all is."""
        if self._collector is not None and self._collector.open:
            return "the output of the launchers of rank " + ", ".join(map(str, sorted(self._collector.open)))
        if self.forward is not None and not self.forward.done:
            return "the launcher of rank 0, which prints the output"
        return ""

    def give_up(self) -> str:
        """Print here what could not be delivered; return what is to be said of that, if anything."""
        if self.forward is not None and self.forward.give_up():
            return "some output has not been taken by the launcher of rank 0, and is printed here"
        if self._collector is not None and self._collector.open:
            return f"incomplete: {self.awaited()}"
        return ""

    def _until_served(self) -> float:
        if self._server is None:
            return self._left + _TOLD if self._failed and self._session.joined and not self._noted else 0.0
        job = self._server.registry.job(self._job)
        if job is None or job.connections() <= 1:
            return 0.0
        return self._left + (_OTHERS_FAILED if job.ended and job.ended[1] else _OTHERS)

    def close(self) -> None:
        """Leave. Idempotent."""
        if self._session.fileno() >= 0:
            self._selector.unregister(self._session.fileno())
        self._session.close()
        if self._server is not None:
            self._server.serve()
            self._server.close()

    def _receive(self) -> None:
        for message in self._session.receive():
            kind = message["type"]
            if kind == "welcome":
                self.joined = True
                self._welcome = message
            elif kind == "noted":
                self._noted = True
            elif kind in ("collector", "sources", "output", "printed"):
                self._merge(kind, message)
            elif kind == "leave":
                ranks = ", ".join(map(str, message["ranks"]))
                self._listener.on_end(-1, 1, f"rank {ranks} of job {self._job} has been claimed by another launcher")
            elif kind == "refuse":
                self._listener.on_end(-1, 1, f"the rendezvous service refuses this part: {message.get('reason')}")
            elif kind == "abort":
                self._listener.on_end(message["rank"], message["code"], message["message"])
            elif kind == "lost" and message["rank"] in self._share.ranks:
                pass  # from here
            elif kind in ("table", "missing", "incomplete", "signal", "lost"):
                self._listener.on_message(message)

    def _merge(self, kind: str, message: Message) -> None:
        if self.forward is not None and kind == "collector":
            self.forward.direct(message["here"])
        elif self.forward is not None and kind == "printed":
            self.forward.printed(message["number"])
        elif self._collector is not None and kind == "sources":
            self._collector.expect(message["ranks"])
        elif self._collector is not None and kind == "output":
            self._collector.take(message)
