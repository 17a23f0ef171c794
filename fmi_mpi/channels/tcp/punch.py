"""One attempt of two processes to meet: both connect to each other at once, through whatever NATs are between.

Rules of this file:
- One port both listens and connects. For the first meeting it is the process's own, whose public endpoint is known
  already; for later ones a fresh port, for what a NAT remembers of the old one may be in the way.
- Each end tells its endpoints through the meeting place and connects to all of the other's that may work: to the private
  ones if both are seen at one public address or one does not know its own, and to the public one.
- A SYN that comes before the other's NAT has opened is dropped, or answered with RST, which only means: again, soon. Where
  RST comes both SYNs must cross on the way: once both ends are known to take part, they try again for a moment after as
  long as the RST took, more or less, so that they do not miss each other each time in the same way.
- A SYN that is not answered is left to the kernel: its port is open for the other end's SYN, which comes once that has heard
  of the attempt. To begin it anew could cross with that SYN, and NATs that have seen both take the connection for closed.
- What is proved first is taken. Whatever else comes of an attempt is closed with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fmi_mpi.bootstrap.reflector import Endpoint, Inquiry
from fmi_mpi.channels.tcp.greeting import Greeting, GreetingError
from fmi_mpi.channels.tcp.loop import READ, WRITE, Loop

__all__ = ["Attempt", "Place", "listen", "read_place"]

_BACKLOG: Final = 1024
_SPRINT: Final = 0.3  # seconds of trying again soon
_PAUSE: Final = 0.01  # seconds after a refusal, at first; up to twice that
_LONGEST_PAUSE: Final = 0.3
_GROWTH: Final = 1.5


@dataclass(frozen=True)
class Place:
    """Where a process can be met: its private endpoint, and the public one if known.

    ``symmetric``: the public port is another for everybody, so nobody finds it; ``public`` then has port 0.
    """

    private: Endpoint
    public: Endpoint | None
    symmetric: bool

    def record(self) -> dict[str, Any]:
        """Return the place as a record."""
        return {
            "host": self.private[0],
            "port": self.private[1],
            "public": list(self.public) if self.public else None,
            "symmetric": self.symmetric,
        }

    def targets(self, other: Place) -> list[Endpoint]:
        """Return the endpoints of ``other`` to try from here."""
        near = not (self.public and other.public) or self.public[0] == other.public[0]
        found = [other.private] if near else []
        if other.public and other.public[1] and other.public not in found:
            found.append(other.public)
        return found

    def obstacle(self, other: Place) -> str:
        """Say why the two can never meet, if that is known."""
        if self.public and other.public and self.public[0] == other.public[0]:
            return ""
        for one, another in ((self, other), (other, self)):
            if one.symmetric and another.public != another.private:
                return "a symmetric NAT shows every port of it to everybody as another"
        return ""


def read_place(record: Mapping[str, Any]) -> Place | None:
    """Return the place that a record tells of, None if it tells of none."""
    try:
        public = record["public"]
        seen = None if public is None else (str(public[0]), int(public[1]))
        return Place((str(record["host"]), int(record["port"])), seen, record["symmetric"] is True)
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _reusable(family: int) -> socket.socket:
    """Return a socket that can share its port with others of this process."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return sock


def listen(family: int) -> socket.socket:
    """Return a listening socket on a free port of all addresses."""
    sock = _reusable(family)
    sock.bind(("", 0))
    sock.listen(_BACKLOG)
    return sock


class _Visit:
    """A socket on which the two greet each other; ``target`` is where it was connected to, None if it was accepted."""

    def __init__(self, sock: socket.socket, greeting: Greeting, target: Endpoint | None) -> None:
        self.sock = sock
        self.greeting = greeting
        self.target = target
        self.connected = target is None
        self.begun = time.monotonic()
        self.data = bytearray()


class Attempt:
    """One meeting; see the file's head.

    Args:
        loop: that it turns on.
        greet: makes a greeting for a peer and an epoch (-1, 0: for whoever comes).
        peer, epoch: whom to meet, for how manyth time.
        met: told the socket, and its greeting, once.
    """

    def __init__(
        self,
        loop: Loop,
        greet: Callable[[int, int], Greeting],
        peer: int,
        epoch: int,
        met: Callable[[socket.socket, Greeting], None],
    ) -> None:
        self.peer = peer
        self.epoch = epoch
        self.answered = False  # the peer takes part
        self.refusals = 0
        self.place: Place | None = None  # of this process, for this meeting
        self.reason = "the other end's NAT or firewall lets nothing through"
        self._loop = loop
        self._greet = greet
        self._met = met
        self._port = 0
        self._sprint = 0.0
        self._listener: socket.socket | None = None
        self._inquiry: Inquiry | None = None
        self._other: Place | None = None
        self._visits: set[_Visit] = set()
        self._pause: dict[Endpoint, float] = {}
        self._over = False

    # -- places --------------------------------------------------------------------------------------------------

    def use(self, place: Place) -> None:
        """Meet at the process's own port; somebody else accepts there, see ``adopt``."""
        self.place = place
        self._port = place.private[1]
        self._begin()

    def use_fresh(self, private: str, reflectors: list[Endpoint], ready: Callable[[], None]) -> None:
        """Meet at a port of its own, whose endpoints are to be asked for first; ``ready`` is told when they are."""
        self._listener = listen(socket.AF_INET6 if ":" in private else socket.AF_INET)
        self._port = self._listener.getsockname()[1]
        self._loop.watch(self._listener.fileno(), READ, self._accept)
        inquiry = self._inquiry = Inquiry(reflectors, self._port)

        def advance(fd: int) -> None:
            inquiry.advance(fd)
            if fd in inquiry.descriptors() and not self._over:
                self._loop.watch(fd, WRITE if inquiry.wants_write(fd) else READ, lambda _: advance(fd))
            else:
                self._loop.forget(fd)
            settle()

        def settle() -> None:
            if inquiry.done and self.place is None and not self._over:
                self.place = Place((private, self._port), inquiry.public, inquiry.symmetric)
                ready()
                self._begin()

        for fd in inquiry.descriptors():
            self._loop.watch(fd, WRITE, lambda _, fd=fd: advance(fd))  # type: ignore[misc]
        settle()

    def expect(self, other: Place, answered: bool) -> None:
        """The peer is at this place; ``answered``: it has said so for this meeting, and is connecting now."""
        self._other = other
        self.answered = self.answered or answered
        if answered:
            self._pause.clear()
            self._sprint = time.monotonic() + _SPRINT
        self._begin()

    def close(self) -> None:
        """Give up what is not met. Idempotent."""
        self._over = True
        for visit in list(self._visits):
            self._loop.drop(visit.sock)
        self._visits.clear()
        if self._listener is not None:
            self._loop.drop(self._listener)
        if self._inquiry is not None:
            for fd in self._inquiry.descriptors():
                self._loop.forget(fd)
            self._inquiry.close()

    # -- connecting ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.place is None or self._other is None or self._over:
            return
        for target in self.place.targets(self._other):
            self._dial(target)

    def _dial(self, target: Endpoint) -> None:
        """Connect to the target, unless that is under way, or done."""
        if self._over or any(visit.target == target or visit.greeting.chosen for visit in self._visits):
            return
        sock = _reusable(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
        try:
            sock.bind(("", self._port))
            error = sock.connect_ex(target)
        except OSError as failed:
            error = failed.errno or errno.EINVAL
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            self.reason = f"cannot connect to {target[0]}:{target[1]}: {os.strerror(error)}"
            self._dial_later(target)
            return
        visit = _Visit(sock, self._greet(self.peer, self.epoch), target)
        self._visits.add(visit)
        self._loop.watch(sock.fileno(), WRITE, lambda _: self._turn(visit))

    def _dial_later(self, target: Endpoint, took: float = 0.0) -> None:
        """Dial again; ``took``: seconds until the refusal came."""
        now = time.monotonic()
        if now < self._sprint and took:
            self._loop.at(2 * took * random.random(), lambda: self._dial(target))
            return
        pause = self._pause.get(target, _PAUSE)
        self._pause[target] = min(pause * _GROWTH, _LONGEST_PAUSE)
        self._loop.at(pause * (1 + random.random()), lambda: self._dial(target))

    def _accept(self, mask: int) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self.adopt(sock, self._greet(-1, 0))

    def adopt(self, sock: socket.socket, greeting: Greeting) -> None:
        """Take a socket that has been accepted."""
        visit = _Visit(sock, greeting, None)
        self._visits.add(visit)
        self._loop.watch(sock.fileno(), READ, lambda _: self._turn(visit))
        self._turn(visit)

    # -- greeting ------------------------------------------------------------------------------------------------

    def _turn(self, visit: _Visit) -> None:
        """Go on with a socket; any irregularity ends it, and it is dialled again."""
        if visit not in self._visits:
            return
        try:
            if not visit.connected:
                error = visit.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, os.strerror(error))
                visit.connected = True
                visit.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._talk(visit)
        except (OSError, EOFError, GreetingError) as error:
            self.reason = self._describe(visit, error)
            self._end(visit)
            if visit.target is not None:
                self.refusals += isinstance(error, ConnectionRefusedError)
                self._dial_later(visit.target, time.monotonic() - visit.begun)

    def _talk(self, visit: _Visit) -> None:
        greeting = visit.greeting
        while not self._over:
            self._flush(visit)
            if greeting.ready and not greeting.out:
                self._finish(visit)
                return
            if not greeting.want:
                break
            try:
                data = visit.sock.recv(greeting.want - len(visit.data))
            except BlockingIOError:
                break
            if not data:
                raise EOFError("the other end hung up")
            visit.data += data
            if len(visit.data) < greeting.want:
                continue
            whole = bytes(visit.data)
            visit.data.clear()
            greeting.feed(whole)
            if (greeting.peer, greeting.epoch) != (self.peer, self.epoch):
                raise GreetingError("another process is there, or from another meeting")
            self.answered = True
            if greeting.proved and greeting.decides and not greeting.chosen:
                self._choose(visit)
        self._loop.watch(visit.sock.fileno(), READ | WRITE if greeting.out else READ, lambda _: self._turn(visit))

    def _choose(self, visit: _Visit) -> None:
        """This end decides, and takes what is proved first."""
        if any(other.greeting.chosen for other in self._visits):
            raise GreetingError("another socket is kept")
        peer = visit.sock.getpeername()
        near = self._other is not None and (peer[0], peer[1]) == self._other.private
        visit.greeting.choose(probe=not near)

    def _flush(self, visit: _Visit) -> None:
        greeting = visit.greeting
        with contextlib.suppress(BlockingIOError):
            while greeting.out:
                greeting.out = greeting.out[visit.sock.send(greeting.out) :]

    def _finish(self, visit: _Visit) -> None:
        self._visits.discard(visit)
        self._loop.forget(visit.sock.fileno())
        self.close()
        self._met(visit.sock, visit.greeting)

    def _end(self, visit: _Visit) -> None:
        self._visits.discard(visit)
        self._loop.drop(visit.sock)

    def _describe(self, visit: _Visit, error: Exception) -> str:
        where = "who came from there" if visit.target is None else f"{visit.target[0]}:{visit.target[1]}"
        if visit.greeting.chosen:
            return f"the path to {where} loses data: a probe did not come through ({error})"
        return f"{where}: {error}"
