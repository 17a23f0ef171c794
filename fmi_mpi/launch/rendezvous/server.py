"""The service's loop: zmq on one side, the rules (``registry``) on the other.

Rules of this file:
- Everything is registered with one selector whose entries carry a callable, so the service runs alone or in a launcher.
- zmq's descriptors show edges only: whoever is called takes everything that is there.
- That a connection has ended is learnt from zmq's monitor, which knows descriptors; messages tell which peer is behind
  which. Before a peer counts as gone it is sent something: zmq refuses that if it is.
- A peer that does not read is cut off when its queue is full: nothing here waits for anybody.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Final

from fmi_mpi.bootstrap import place
from fmi_mpi.bootstrap.messages import Message, encode
from fmi_mpi.bootstrap.place import Place
from fmi_mpi.bootstrap.relaying import TAG_SIZE
from fmi_mpi.errors import BootstrapError
from fmi_mpi.launch.reflector import Reflector
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.registry import Registry
from fmi_mpi.launch.rendezvous.relay import Relay
from fmi_mpi.launch.rendezvous.tickets import derive

__all__ = ["Server"]

_TICK: Final = 1.0
_BACKLOG: Final = 4096
_HEARTBEAT: Final = 2_000  # ms
_SILENCE: Final = 10_000  # ms
_HANDSHAKE: Final = 10_000  # ms for a connection to prove its key
_QUEUE: Final = 10_000  # messages for one peer
_LINGER: Final = 1_000  # ms to deliver when closing
_SUSPECT: Final = 3.0  # seconds during which a peer whose connection has ended is asked again
_PING: Final = encode({"type": "ping"})


class Server:
    """The rendezvous service.

    Args:
        bind: where to listen, as zmq has it, such as ``tcp://*:7600``; port 0 or ``*`` takes a free one. The relay
            listens at the next port, the reflector at the two after that; or at free ones, too.
        keys: public and secret key (Z85).
        limits: quotas and deadlines.
        selector: that the service runs on; the caller's.

    Raises BootstrapError.
    """

    def __init__(self, bind: str, keys: tuple[str, str], limits: Limits, selector: selectors.BaseSelector) -> None:
        place.load_zmq()
        import zmq

        self._selector = selector
        self._secret = keys[1].encode()
        self._registry = Registry(limits, self._secret, self._post, self._welcome, time.time)
        self._by_fd: dict[int, bytes] = {}
        self._suspects: dict[bytes, float] = {}
        self._tick_due = 0.0
        self._closed = False
        self._context = zmq.Context()
        self._context.setsockopt(zmq.MAX_SOCKETS, 1 << 16)
        self._door = self._context.socket(zmq.REP)
        self._door.bind("inproc://zeromq.zap.01")
        self._router = router = self._context.socket(zmq.ROUTER)
        options = {
            zmq.ROUTER_MANDATORY: 1,
            zmq.IPV6: 1,
            zmq.LINGER: _LINGER,
            zmq.BACKLOG: _BACKLOG,
            zmq.SNDHWM: _QUEUE,
            zmq.MAXMSGSIZE: limits.message,
            zmq.HANDSHAKE_IVL: _HANDSHAKE,
            zmq.HEARTBEAT_IVL: _HEARTBEAT,
            zmq.HEARTBEAT_TIMEOUT: _SILENCE,
            zmq.CURVE_SERVER: 1,
        }
        for option, value in options.items():
            router.setsockopt(option, value)
        router.curve_publickey, router.curve_secretkey = (key.encode() for key in keys)
        self._monitor = router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            router.bind(bind)
        except zmq.ZMQError as error:
            self._context.destroy(0)
            raise BootstrapError(f"the rendezvous service cannot listen at {bind}: {error.strerror}") from None
        self.port = int(router.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self.key = keys[0]
        host, fixed = _listening(bind), not bind.endswith((":0", ":*"))
        try:
            port = self.port + 1 if fixed else 0
            self._relay = Relay(selector, host, port, self._relay_key, limits.relay, self._registry.metrics)
        except OSError as error:
            self._context.destroy(0)
            raise BootstrapError(f"the relay cannot listen at port {port} of {host}: {error.strerror}") from None
        try:
            ports = (self.port + 2, self.port + 3) if fixed else (0, 0)
            self._reflector = Reflector(selector, "0.0.0.0" if host == "::" else host, ports)
        except OSError as error:
            self._relay.close()
            self._context.destroy(0)
            raise BootstrapError(f"the reflector cannot listen at ports {ports}: {error.strerror}") from None
        for end in (self._door, router, self._monitor):
            selector.register(place.descriptor_of(end), selectors.EVENT_READ, self.serve)

    @property
    def registry(self) -> Registry:
        """The service's state."""
        return self._registry

    def place(self, host: str) -> Place:
        """Return the service as members find it under this name or address."""
        return Place(host, self.port, self.key)

    def due(self) -> float:
        """Return when ``serve`` must be called at the latest."""
        return self._tick_due

    def serve(self) -> None:
        """Do everything that there is to do."""
        if self._closed:
            return

        busy = True
        while busy:
            busy = False
            while place.has_message(self._door):
                self._admit()
                busy = True
            while place.has_message(self._router):
                self._receive()
                busy = True
            while place.has_message(self._monitor):
                self._notice()
                busy = True
        now = time.monotonic()
        if now >= self._tick_due or now >= self._registry.due():
            self._tick(now)

    def close(self) -> None:
        """Stop. Idempotent."""
        if self._closed:
            return

        self._closed = True
        self._relay.close()
        self._reflector.close()
        for end in (self._door, self._router, self._monitor):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(place.descriptor_of(end))
        self._router.disable_monitor()
        self._monitor.close(0)
        self._door.close(0)
        self._router.close(_LINGER)
        self._context.term()

    # -- zmq -----------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Let in whoever has proved a key: which one counts when it claims."""
        from zmq.utils import z85

        version, request, *_, mechanism, credentials = self._door.recv_multipart()
        known = mechanism == b"CURVE" and len(credentials) == 32
        user = z85.encode(credentials) if known else b""
        self._door.send_multipart([version, request, b"200" if known else b"400", b"", user, b""])

    def _receive(self) -> None:
        import zmq

        frames = self._router.recv_multipart(copy=False)
        peer, last = frames[0].bytes, frames[-1]
        try:
            key, address = str(last.get("User-Id")), str(last.get("Peer-Address"))
            self._by_fd[int(last.get(zmq.SRCFD))] = peer
        except zmq.ZMQError:
            return
        if len(frames) == 2:
            self._registry.receive(peer, key, address, last.bytes, time.monotonic())

    def _notice(self) -> None:
        """A connection has ended."""
        from zmq.utils.monitor import recv_monitor_message

        descriptor = int(recv_monitor_message(self._monitor)["value"])
        peer = self._by_fd.pop(descriptor, None)
        if peer is not None:
            self._suspects[peer] = time.monotonic() + _SUSPECT
            self._tick_due = 0.0

    def _tick(self, now: float) -> None:
        for peer, until in list(self._suspects.items()):
            self._post(peer, _PING)
            if until < now:
                self._suspects.pop(peer, None)
        self._registry.tick(now)
        self._relay.tick(now)
        self._tick_due = min(now + (0.05 if self._suspects else _TICK), max(now, self._registry.due()))

    def _post(self, peer: bytes, data: bytes) -> None:
        import zmq

        try:
            self._router.send_multipart((peer, data), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno == zmq.EAGAIN:
                self._registry.metrics["dropped"] += 1
            self._suspects.pop(peer, None)
            self._registry.gone(peer, time.monotonic())

    def _welcome(self, job: str, key: str, ranks: Sequence[int]) -> Message:
        """Return what a member learns of the relay and the reflectors."""
        tag = derive(self._secret, "tag", job, key)[:TAG_SIZE]
        relay = {"port": self._relay.port, "key": (tag + self._relay_key(tag)).hex()}
        return {"relay": relay, "reflectors": list(self._reflector.ports)}

    def _relay_key(self, tag: bytes) -> bytes:
        return derive(self._secret, "relay", tag.hex())


def _listening(bind: str) -> str:
    """Return the numeric address of a zmq endpoint to listen at."""
    host = bind.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host != "*":
        return host
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
