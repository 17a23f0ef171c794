"""One-sided communication: accesses to the windows of other processes, locks, and what synchronises them. No I/O.

Rules of this file:
- An origin's requests to a target are numbered per window and take effect in that order, whichever channels they came
  by; a number seen before is a duplicate and is dropped. So an answered FLUSH answers for all before it.
- Nothing waits at the target but locks: data goes to its place as it comes, a run of bytes without another copy.
- An access that the target's memory does not admit fails where it is answered; one that is not, at the next answer.
- Accumulations are whole frames applied one at a time, hence atomic; their origins cut them to bounded size.
- Accesses to the process's own window do not pass here, locks and notifications do.
- Not thread-safe: the runtime calls everything under its lock.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from fmi_mpi.constants import ERR_PROC_FAILED, ERR_WIN
from fmi_mpi.engine.engine import Engine
from fmi_mpi.engine.extension import Arrival, RawHeader
from fmi_mpi.engine.frames import (
    ACCUMULATE,
    COMPLETE,
    DATA,
    DONE,
    FETCH,
    FLUSH,
    GET,
    HEADER_SIZE,
    LAYOUT,
    LOCK,
    POST,
    PUT,
    SWAP,
    UNLOCK,
    FrameError,
    pack_header,
    unpack_header,
)
from fmi_mpi.engine.operations import Operation, Payload, RecvOp, SendOp
from fmi_mpi.engine.payloads import allocate, joined
from fmi_mpi.engine.windows import Exposed, Peer, WindowState
from fmi_mpi.errors import MPIError

__all__ = ["OneSided"]

_LENGTH = struct.Struct("<Q")
_WORD = 1 << 64
_LAYOUTS = 256  # datatypes that a target remembers of an origin
Asked = TypeVar("Asked", bound=Operation)


class _Request(NamedTuple):
    """What a target is asked for; fields as in ``engine.frames``."""

    layout: int
    tag: int
    number: int
    address: int
    data: memoryview


class _Arriving(Arrival):
    """A request whose payload is still coming: into the window itself, or, with ``header``, into memory of its own."""

    __slots__ = ("header", "owner", "peer", "sink", "window")

    def __init__(
        self, owner: OneSided, window: WindowState | None, peer: int, sink: memoryview, header: bytes | None
    ) -> None:
        self.owner = owner
        self.window = window
        self.peer = peer
        self.sink = sink
        self.header = header

    def arrived(self) -> None:
        if self.header is not None:
            self.owner.frame(self.peer, self.header, self.sink)
        elif self.window is not None:
            peer = self.window.peer(self.peer)
            peer.arriving = False
            peer.next_in += 1
            self.owner.catch_up(self.window, peer)


class OneSided:
    """One-sided communication of one process, an extension of its engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.windows: dict[int, WindowState] = {}
        self._actions: dict[int, Callable[..., None]] = {
            LAYOUT: self._layout,
            PUT: self._put,
            GET: self._get,
            ACCUMULATE: self._accumulate,
            FETCH: self._fetch,
            SWAP: self._swap,
            LOCK: self._lock,
            UNLOCK: self._unlock,
            FLUSH: self._flush,
            POST: self._post,
            COMPLETE: self._complete,
        }
        engine.extend((*self._actions, DONE), self)

    def open(self, context: int, exposed: Exposed) -> WindowState:
        """Let others access a window from now on."""
        window = self.windows[context] = WindowState(context, exposed)
        return window

    def close(self, window: WindowState) -> None:
        """The window is gone; late requests are refused."""
        self.windows.pop(window.context, None)

    # -- origin: accesses --------------------------------------------------------------------------------------------

    def ship(self, window: WindowState, target: int, key: Hashable, encode: Callable[[], bytes]) -> int:
        """Return the number by which a target knows a datatype, after telling it if it does not know it yet.

        Args:
            key: identifies the datatype. encode: returns what ``Exposed.layout`` takes.
        """
        peer = window.peer(target)
        number = peer.shipped.get(key)
        if number is None:
            number = len(peer.shipped) + 1
            if number > _LAYOUTS:
                peer.shipped.clear()
                number = 1
            peer.shipped[key] = number
            encoded = memoryview(encode())
            self._send(window, peer, LAYOUT, None, len(encoded), encoded, source=number)
        return number

    def put(
        self, window: WindowState, target: int, address: int, payload: Payload, length: int, layout: int = 0
    ) -> SendOp:
        """Write ``length`` bytes; the operation is complete when the payload's memory may change."""
        return self._tell(window, target, PUT, length, payload, source=layout, argument=address % _WORD)

    def accumulate(
        self, window: WindowState, target: int, address: int, payload: Payload, length: int, code: int, layout: int = 0
    ) -> SendOp:
        """Combine ``length`` bytes into the target's; the operation is complete when the payload's memory may change."""
        return self._tell(
            window, target, ACCUMULATE, length, payload, source=layout, tag=code, argument=address % _WORD
        )

    def get(self, window: WindowState, target: int, address: int, op: RecvOp, layout: int = 0) -> RecvOp:
        """Read as many bytes as the operation's buffer takes."""
        assert op.buffer is not None
        op.count = len(op.buffer)
        wanted = memoryview(_LENGTH.pack(op.count))
        return self._ask(window, target, GET, op, len(wanted), wanted, source=layout, argument=address % _WORD)

    def fetch(
        self, window: WindowState, target: int, address: int, payload: Payload, op: RecvOp, code: int, layout: int = 0
    ) -> RecvOp:
        """Combine as many bytes as the operation's buffer takes, and receive what was there before."""
        assert op.buffer is not None
        op.count = len(op.buffer)
        argument = address % _WORD
        return self._ask(window, target, FETCH, op, op.count, payload, source=layout, tag=code, argument=argument)

    def swap(self, window: WindowState, target: int, address: int, values: bytes, op: RecvOp) -> RecvOp:
        """Write the first half of ``values`` if its second half is there, and receive what was there before."""
        op.count = len(values) // 2
        return self._ask(window, target, SWAP, op, len(values), memoryview(values), argument=address % _WORD)

    # -- origin: synchronisation -------------------------------------------------------------------------------------

    def lock(self, window: WindowState, target: int, exclusive: bool) -> Operation:
        """Ask for the lock of a target's window; complete when it is granted."""
        return self._ask(window, target, LOCK, Operation(), tag=int(exclusive))

    def unlock(self, window: WindowState, target: int, answer: bool) -> Operation:
        """Release the lock of a target's window; complete at once, or if ``answer``, when all accesses are."""
        if answer:
            return self._ask(window, target, UNLOCK, Operation())
        return self._tell(window, target, UNLOCK)

    def flush(self, window: WindowState, target: int) -> Operation:
        """Complete when all accesses to a target are."""
        return self._ask(window, target, FLUSH, Operation())

    def post(self, window: WindowState, target: int) -> None:
        """Tell a process that it may access this process's window."""
        self._tell(window, target, POST)

    def complete(self, window: WindowState, target: int) -> None:
        """Tell a target that all accesses have been made."""
        self._tell(window, target, COMPLETE)

    def _tell(
        self,
        window: WindowState,
        target: int,
        kind: int,
        length: int = 0,
        payload: Payload = None,
        *,
        source: int = 0,
        tag: int = 0,
        argument: int = 0,
    ) -> SendOp:
        """Send a request that has no answer."""
        op = SendOp(target)
        link = self.engine.link(target)
        if link.failure:
            _fail(op, ERR_PROC_FAILED, link.failure)
        elif self._send(window, window.peer(target), kind, op, length, payload, source, tag, 0, argument):
            op.done = True
        else:
            link.flight.add(op)
        return op

    def _ask(
        self,
        window: WindowState,
        target: int,
        kind: int,
        op: Asked,
        length: int = 0,
        payload: Payload = None,
        *,
        source: int = 0,
        tag: int = 0,
        argument: int = 0,
    ) -> Asked:
        """Send a request whose answer completes the operation."""
        op.peer = target
        link = self.engine.link(target)
        if link.failure:
            _fail(op, ERR_PROC_FAILED, link.failure)
        else:
            number = self.engine.number_of(op)
            self._send(window, window.peer(target), kind, None, length, payload, source, tag, number, argument)
        return op

    def _send(
        self,
        window: WindowState,
        peer: Peer,
        kind: int,
        token: SendOp | None,
        length: int = 0,
        payload: Payload = None,
        source: int = 0,
        tag: int = 0,
        number: int = 0,
        argument: int = 0,
    ) -> bool:
        """Send a request, or carry it out if the target is this process; see ``engine.Emit``."""
        engine = self.engine
        if peer.number == engine.proc:
            self._actions[kind](window, peer, _Request(source, tag, number, argument, joined(payload)))
            return True
        sequence = peer.next_out
        peer.next_out = sequence + 1
        header = pack_header(kind, 0, engine.proc, 0, source, tag, window.context, sequence, length, number, argument)
        return engine.emit(peer.number, header, payload if length else None, token)

    # -- frames in (engine.extension.Extension) ------------------------------------------------------------------------

    def frame(self, peer: int, header: RawHeader, payload: memoryview) -> None:
        """Take a whole frame."""
        word, _, _, _, source, tag, context, sequence, _, number, argument = unpack_header(header)
        if word == DONE:
            self._done(peer, number, tag)
            return
        window = self.windows.get(context)
        if window is None:
            if number:
                self._answer(peer, number, ERR_WIN)
            return
        origin = window.peer(peer)
        if sequence != origin.next_in or origin.arriving:
            if sequence > origin.next_in:
                origin.early[sequence] = (bytes(header[:HEADER_SIZE]), memoryview(bytes(payload)))
            return
        origin.next_in = sequence + 1
        self._actions[word](window, origin, _Request(source, tag, number, argument, payload))
        if origin.early:
            self.catch_up(window, origin)

    def begin(self, peer: int, header: RawHeader) -> tuple[memoryview, Arrival]:
        """Take a header whose payload is still to come."""
        word, _, _, _, source, _, context, sequence, length, _, argument = unpack_header(header)
        window = self.windows.get(context)
        if window is not None and word == PUT and not source:
            origin = window.peer(peer)
            if sequence == origin.next_in and not origin.arriving:
                try:
                    sink = window.exposed.run(argument, length)
                    origin.arriving = True
                    return sink, _Arriving(self, window, peer, sink, None)
                except MPIError:
                    pass  # it fails when it is complete
        sink = allocate(length)
        return sink, _Arriving(self, window, peer, sink, bytes(header[:HEADER_SIZE]))

    def catch_up(self, window: WindowState, origin: Peer) -> None:
        """Take requests that came too early and whose turn it is now."""
        while (early := origin.early.pop(origin.next_in, None)) is not None:
            header, payload = early
            word, _, _, _, source, tag, _, _, _, number, argument = unpack_header(header)
            origin.next_in += 1
            self._actions[word](window, origin, _Request(source, tag, number, argument, payload))

    def lost(self, peer: int) -> None:
        """A process is gone: its locks are free."""
        for window in list(self.windows.values()):
            window.holders.pop(peer, None)
            window.waiting = deque(entry for entry in window.waiting if entry[0] != peer)
            self._grant(window)

    # -- target ----------------------------------------------------------------------------------------------------------

    def _access(self, origin: Peer, number: int, access: Callable[[], memoryview | None]) -> None:
        """Answer with what an access gives, or with its error; without a number, keep the error for the next answer."""
        try:
            data = access()
        except MPIError as error:
            if number:
                self._answer(origin.number, number, error.error_class)
            elif not origin.fault:
                origin.fault = error.error_class
            return
        if data is not None:
            header = pack_header(DATA, 0, self.engine.proc, 0, 0, 0, 0, 0, len(data), 0, number)
            self.engine.emit(origin.number, header, data, None)

    def _known(self, origin: Peer, layout: int) -> Any:
        """Return the datatype of a number, None for a run of bytes."""
        if not layout:
            return None
        try:
            return origin.layouts[layout]
        except KeyError:
            raise FrameError(f"process {origin.number} names a datatype {layout} that it has not sent") from None

    def _layout(self, window: WindowState, origin: Peer, request: _Request) -> None:
        try:
            origin.layouts[request.layout] = window.exposed.layout(request.data)
        except MPIError as error:
            raise FrameError(f"process {origin.number} sends a malformed datatype: {error}") from None

    def _put(self, window: WindowState, origin: Peer, request: _Request) -> None:
        layout = self._known(origin, request.layout)
        self._access(origin, 0, lambda: window.exposed.write(request.address, request.data, layout))

    def _get(self, window: WindowState, origin: Peer, request: _Request) -> None:
        if len(request.data) != _LENGTH.size:
            raise FrameError(f"process {origin.number} asks for an unknown number of bytes")
        (nbytes,) = _LENGTH.unpack(request.data)
        layout = self._known(origin, request.layout)
        self._access(origin, request.number, lambda: window.exposed.read(request.address, nbytes, layout))

    def _accumulate(self, window: WindowState, origin: Peer, request: _Request) -> None:
        layout = self._known(origin, request.layout)
        self._access(origin, 0, lambda: window.exposed.combine(request.address, request.data, layout, request.tag))

    def _fetch(self, window: WindowState, origin: Peer, request: _Request) -> None:
        layout = self._known(origin, request.layout)

        def access() -> memoryview:
            before = memoryview(bytes(window.exposed.read(request.address, len(request.data), layout)))
            window.exposed.combine(request.address, request.data, layout, request.tag)
            return before

        self._access(origin, request.number, access)

    def _swap(self, window: WindowState, origin: Peer, request: _Request) -> None:
        half = len(request.data) // 2

        def access() -> memoryview:
            there = window.exposed.run(request.address, half)
            before = memoryview(bytes(there))
            if before == request.data[half:]:
                there[:] = request.data[:half]
            return before

        self._access(origin, request.number, access)

    def _lock(self, window: WindowState, origin: Peer, request: _Request) -> None:
        window.waiting.append((origin.number, bool(request.tag), request.number))
        self._grant(window)

    def _unlock(self, window: WindowState, origin: Peer, request: _Request) -> None:
        window.holders.pop(origin.number, None)
        if request.number:
            self._flush(window, origin, request)
        self._grant(window)

    def _flush(self, window: WindowState, origin: Peer, request: _Request) -> None:
        fault, origin.fault = origin.fault, 0
        self._answer(origin.number, request.number, fault)

    def _post(self, window: WindowState, origin: Peer, request: _Request) -> None:
        origin.posted += 1

    def _complete(self, window: WindowState, origin: Peer, request: _Request) -> None:
        origin.completed += 1

    def _grant(self, window: WindowState) -> None:
        for peer, number in window.grants():
            self._answer(peer, number, 0)

    def _answer(self, peer: int, number: int, error: int) -> None:
        if peer == self.engine.proc:
            self._done(peer, number, error)
        else:
            header = pack_header(DONE, 0, self.engine.proc, 0, 0, error, 0, 0, 0, number, 0)
            self.engine.emit(peer, header, None, None)

    def _done(self, peer: int, number: int, error: int) -> None:
        """The answer to a request has come."""
        op = self.engine.named(number, peer)
        if op is not None:
            if error:
                _fail(op, error, f"process {peer} refused the access")
            else:
                op.complete()


def _fail(op: Operation, error: int, detail: str) -> None:
    op.error = error
    op.detail = detail
    op.complete()
