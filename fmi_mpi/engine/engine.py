"""The message engine: operations and frames in, completed operations and frames out. No I/O.

Rules of this file:
- Small messages travel *eager*: envelope and payload in one frame. Larger ones, and any that exceed the credit
  a receiver has left to this sender, by *rendezvous*: REQUEST, then CLEAR when matched, then DATA.
- A synchronous message completes only when matched: its rendezvous says so, or an ACK does.
- Envelope frames (EAGER, REQUEST) carry a sequence number per (sender, context). They are taken in that order,
  whichever channels they came by; a number seen before is a duplicate and is dropped.
- Kinds of frames beyond those of messages belong to extensions (engine.onesided).
- CLEAR, DATA and ACK name an operation by its number; unknown numbers are late duplicates and are dropped.
- Not thread-safe: the runtime calls everything under its lock.
"""

from __future__ import annotations

from collections.abc import Iterable

from fmi_mpi.engine.extension import Arrival, Extension, RawHeader
from fmi_mpi.engine.frames import (
    ACK,
    CLEAR,
    CREDIT,
    DATA,
    EAGER,
    FLAG_SYNC,
    HEADER_SIZE,
    REQUEST,
    FrameError,
    pack_header,
    unpack_header,
)
from fmi_mpi.engine.links import Emit, Lane, Link, Links
from fmi_mpi.engine.matching import Matcher
from fmi_mpi.engine.operations import SENT, Fill, Message, Payload, RecvOp, SendOp
from fmi_mpi.engine.payloads import allocate, first_bytes, joined

__all__ = ["Engine"]


class Engine(Links):
    """Matching, ordering and protocols for one process.

    Args:
        proc: this process's number in the job.
        emit: hands a frame to the router.
        eager_limit: largest payload (bytes) that travels eager.
        credit: bytes of unexpected payload that each peer may leave here.
    """

    def __init__(self, proc: int, emit: Emit, eager_limit: int = 1 << 16, credit: int = 1 << 24) -> None:
        super().__init__(proc, emit, credit)
        self.eager_limit = eager_limit
        self.matchers: dict[int, Matcher] = {}
        self.extensions: dict[int, Extension] = {}

    # -- operations in ---------------------------------------------------------------------------------------

    def matcher(self, context: int) -> Matcher:
        """Return the state of a context; messages may arrive before this process has created it."""
        found = self.matchers.get(context)
        if found is None:
            found = self.matchers[context] = Matcher()
        return found

    def lane(self, link: Link, context: int) -> Lane:
        """Return the state of a peer's messages in a context."""
        found = link.lanes.get(context)
        if found is None:
            found = link.lanes[context] = Lane(self.matcher(context))
        return found

    def send(
        self, peer: int, context: int, source: int, tag: int, payload: Payload, length: int, flags: int = 0
    ) -> SendOp:
        """Start a message of ``length`` bytes to ``peer``; ``source`` is this process's rank in the communicator."""
        if peer == self.proc:
            op = SendOp(peer)
            self._send_to_self(op, context, source, tag, payload, length, flags)
            return op
        link = self.links.get(peer) or self.link(peer)
        if link.failure:
            op = SendOp(peer)
            op.fail(link.failure)
            return op
        lane = link.lanes.get(context) or self.lane(link, context)
        sequence = lane.sent
        lane.sent = sequence + 1
        owed = link.owed
        link.owed = 0
        op = link.spare
        if length > self.eager_limit or length > link.credit:
            link.spare = SendOp(peer)
            op.payload = payload
            number = self.number_of(op)
            link.emit(
                pack_header(REQUEST, flags, self.proc, owed, source, tag, context, sequence, 0, number, length),
                None,
                None,
            )
            return op
        link.credit -= length
        number = 0
        if flags & FLAG_SYNC:
            op.waits = 2
            number = self.number_of(op)
        if link.emit(
            pack_header(EAGER, flags, self.proc, owed, source, tag, context, sequence, length, number, 0), payload, op
        ):
            if not number:
                return SENT
            op.waits = 1
        else:
            link.flight.add(op)
        link.spare = SendOp(peer)
        return op

    def recv(self, context: int, op: RecvOp) -> RecvOp:
        """Start a receive, taking an unexpected message if one matches."""
        matcher = self.matchers.get(context) or self.matcher(context)
        if matcher.unexpected:
            message = matcher.take(op.source, op.tag)
            if message is not None:
                self.recv_message(message, op)
                return op
        if op.peer >= 0:
            link = self.links.get(op.peer)
            if link is not None and link.failure:
                op.fail(link.failure)
                return op
        matcher.post(op)
        return op

    def expects(self) -> bool:
        """Tell whether anything is under way that a frame could bring further."""
        return (
            bool(self.numbered)
            or any(matcher.posted or matcher.wild for matcher in self.matchers.values())
            or any(link.flight for link in self.links.values())
        )

    def recv_message(self, message: Message, op: RecvOp) -> None:
        """Receive a message that has been taken out of the queue (by a receive or a matched probe)."""
        op.matched(message.peer, message.source, message.tag, message.flags)
        sender = message.sender
        if sender is not None:
            op.deliver(joined(sender.payload), message.length)
            sender.payload = None
            sender.finish()
            return
        if message.data is None:
            self._clear(message.peer, message.number, message.length, op)
            return
        if message.peer != self.proc:
            self._owe(self.link(message.peer), message.flags, message.number, message.length)
        if message.arriving:
            message.receiver = op
        elif op.buffer is None:
            op.data = message.data
            op.received(message.length)
        else:
            op.deliver(message.data, message.length)

    def cancel(self, context: int, op: RecvOp) -> bool:
        """Cancel a receive; False if it has been matched already."""
        if op.done or not self.matcher(context).withdraw(op):
            return False
        op.cancelled = True
        op.complete()
        return True

    def cancel_send(self, context: int, op: SendOp) -> bool:
        """Cancel a send to oneself that no receive has taken; other sends are past cancelling."""
        if op.done or op.peer != self.proc:
            return False
        matcher = self.matcher(context)
        message = next((message for message in matcher.messages() if message.sender is op), None)
        if message is None:
            return False
        matcher.drop(message)
        op.cancelled = True
        op.payload = None
        op.complete()
        return True

    def forget(self, context: int) -> None:
        """A communicator is gone: drop what nobody can receive any more and give its credit back.

        Operations that are pending here go on: then all stays as it is (MPI-4.1, 7.4.3).
        """
        matcher = self.matchers.get(context)
        if matcher is None or matcher.receives() or any(message.sender for message in matcher.messages()):
            return
        del self.matchers[context]
        for link in self.links.values():
            link.lanes.pop(context, None)
        for message in matcher.messages():
            if message.data is not None and message.peer != self.proc:
                link = self.link(message.peer)
                link.owed += message.length
                self.owe(link)

    # -- frames in (channels.base.Receiver) --------------------------------------------------------------------

    def frame(self, peer: int, header: RawHeader, payload: memoryview) -> None:
        """Take a whole frame; ``payload`` is valid only during the call."""
        word, flags, _, credit, source, tag, context, sequence, length, number, argument = unpack_header(header)
        link = self.links.get(peer) or self.link(peer)
        if credit:
            link.credit += credit
        if word == EAGER:
            lane = link.lanes.get(context) or self.lane(link, context)
            matcher = lane.matcher
            if sequence != lane.received:
                if sequence > lane.received:
                    matcher.early[peer, sequence] = (bytes(header[:HEADER_SIZE]), bytes(payload))
                elif self.begun:
                    self._fill(peer, header, payload)
                return
            lane.received = sequence + 1
            # The hot path: what `match`, `_owe` and `RecvOp.deliver` do, in line for the common case.
            key = (source, tag)
            op = None if matcher.wild else matcher.posted.get(key)
            if type(op) is RecvOp:
                del matcher.posted[key]
            else:
                op = matcher.match(source, tag)
            if op is not None:
                op.source = source
                op.tag = tag
                op.peer = peer
                link.owed += length
                if flags:
                    op.flags = flags
                    if flags & FLAG_SYNC:
                        self.acknowledge(link, number)
                if link.owed > self._debt:
                    self.owe(link)
                buffer = op.buffer
                if buffer is not None and length > len(buffer):
                    op.deliver(payload, length)
                else:
                    if buffer is None:
                        op.data = memoryview(bytearray(payload))
                    elif length:
                        buffer[:length] = payload
                    op.count = length
                    if op.finish is not None:
                        op.finish(length)
                    op.done = True
                    if op.watcher is not None:
                        op.watcher.completed(op)
            else:
                message = Message(peer, source, tag, flags, length, number)
                message.data = memoryview(bytearray(payload))
                matcher.keep(message)
            if matcher.early:
                self._replay(lane, peer)
        elif word == DATA:
            receiver = self.named(argument, peer)
            if isinstance(receiver, RecvOp):
                receiver.place(len(payload))[:] = payload
                receiver.received(receiver.count)
            elif self.begun:
                self._fill(peer, header, payload)
        elif word == REQUEST:
            self._request(peer, flags, source, tag, context, sequence, number, argument, header)
        elif word == CLEAR:
            self._cleared(peer, number, argument, sequence)
        elif word == ACK:
            acked = self.named(number, peer)
            if isinstance(acked, SendOp):
                acked.finish()
        elif word != CREDIT and not (self.begun and self._fill(peer, header, payload)):
            extension = self.extensions.get(word)
            if extension is None:
                raise FrameError(
                    f"unknown frame kind {word:#x} from process {peer}; do all ranks run the same version?"
                )
            extension.frame(peer, header, payload)

    def _fill(self, peer: int, header: RawHeader, payload: memoryview) -> bool:
        """Take a frame that had begun on another channel; False if it is none."""
        begun = self.again(peer, header)
        if begun is not None:
            self.link(peer).credit -= unpack_header(header)[3]  # counted when it began
            begun[0][:] = payload
            self.end(peer, begun[1])
        return begun is not None

    def begin(self, peer: int, header: RawHeader) -> tuple[memoryview, object]:
        """Take a header whose payload is still to come; see ``channels.base.Receiver``."""
        if self.begun and (begun := self.again(peer, header)) is not None:
            return begun
        word, flags, _, credit, source, tag, context, sequence, length, number, argument = unpack_header(header)
        link = self.links.get(peer) or self.link(peer)
        if word != EAGER:
            return self._begin_other(link, peer, word, credit, length, argument, header)
        if length > self.eager_limit:
            raise FrameError(
                f"eager frame of {length} bytes from process {peer}, limit {self.eager_limit}: "
                "set FMI_EAGER_LIMIT to the same value on all ranks"
            )
        lane = link.lanes.get(context) or self.lane(link, context)
        if sequence != lane.received:
            return self._begin_early(header, length)
        link.credit += credit
        lane.received = sequence + 1
        matcher = lane.matcher
        key = (source, tag)
        op = None if matcher.wild else matcher.posted.get(key)
        if type(op) is RecvOp:
            del matcher.posted[key]
        else:
            op = matcher.match(source, tag)
        if op is None:
            message = Message(peer, source, tag, flags, length, number)
            message.arriving = True
            message.data = sink = allocate(length)
            matcher.keep(message)
            token: object = Fill(sink, message=message)
        else:
            op.source = source
            op.tag = tag
            op.peer = peer
            op.flags = flags
            op.count = length
            self._owe(link, flags, number, length)
            buffer = op.buffer
            token = op
            if buffer is None:
                op.buffer = op.data = sink = allocate(length)
            elif length > len(buffer):
                sink = allocate(length)
                token = Fill(sink, op=op)
            else:
                sink = buffer if length == len(buffer) else buffer[:length]
        if matcher.early:
            self._replay(lane, peer)
        return sink, token

    def _begin_early(self, header: RawHeader, length: int) -> tuple[memoryview, Fill]:
        """Return memory for a message that came too early, or again; its header is looked at when it is complete."""
        fill = Fill(allocate(length), header=bytes(header[:HEADER_SIZE]))
        return fill.sink, fill

    def _begin_other(
        self, link: Link, peer: int, word: int, credit: int, length: int, argument: int, header: RawHeader
    ) -> tuple[memoryview, object]:
        if word == DATA:
            link.credit += credit
            op = self.named(argument, peer)
            if not isinstance(op, RecvOp):
                return allocate(length), None
            return op.place(length), op
        extension = self.extensions.get(word)
        if extension is not None:
            return extension.begin(peer, header)
        raise FrameError(f"frame kind {word:#x} from process {peer} cannot carry {length} bytes")

    def end(self, peer: int, token: object) -> None:
        """The payload that ``begin`` gave a place is complete."""
        if type(token) is RecvOp:
            if token.finish is not None or token.buffer is None or token.count > len(token.buffer):
                token.received(token.count)
                return
            token.done = True
            if token.watcher is not None:
                token.watcher.completed(token)
        elif type(token) is Fill:
            if token.header is not None:
                self.frame(peer, token.header, token.sink)
            elif token.op is not None:
                token.op.deliver(token.sink, len(token.sink))
            elif token.message is not None:
                token.message.arriving = False
                if token.message.receiver is not None:
                    token.message.receiver.deliver(token.sink, len(token.sink))
        elif isinstance(token, Arrival):
            token.arrived()

    def sent(self, token: object) -> None:
        """A frame that ``emit`` could not hand over at once is out."""
        if isinstance(token, SendOp):
            self.links[token.peer].flight.discard(token)
            token.finish()

    def lost(self, peer: int, reason: str) -> None:
        """A process is gone: everything that waits for it fails."""
        link = self.link(peer)
        if link.failure:
            return
        self.cut(peer, link, reason or f"process {peer} is gone")
        for matcher in self.matchers.values():
            for receive in matcher.receives():
                if receive.peer == peer:
                    matcher.withdraw(receive)
                    receive.fail(link.failure)
        for extension in dict.fromkeys(self.extensions.values()):
            extension.lost(peer)

    # -- for extensions ------------------------------------------------------------------------------------------

    def extend(self, kinds: Iterable[int], extension: Extension) -> None:
        """Give frames of these kinds to an extension."""
        self.extensions.update(dict.fromkeys(kinds, extension))

    # -- protocol ------------------------------------------------------------------------------------------------

    def _send_to_self(
        self, op: SendOp, context: int, source: int, tag: int, payload: Payload, length: int, flags: int
    ) -> None:
        matcher = self.matcher(context)
        receive = matcher.match(source, tag)
        if receive is not None:
            receive.matched(self.proc, source, tag, flags)
            receive.deliver(joined(payload), length)
            op.done = True
            return
        message = Message(self.proc, source, tag, flags, length, 0)
        if length <= self.eager_limit and not flags & FLAG_SYNC:
            message.data = memoryview(bytearray(joined(payload)))
            op.done = True
        else:
            op.payload = payload
            message.sender = op
        matcher.keep(message)

    def _request(
        self,
        peer: int,
        flags: int,
        source: int,
        tag: int,
        context: int,
        sequence: int,
        number: int,
        length: int,
        header: RawHeader,
    ) -> None:
        lane = self.lane(self.link(peer), context)
        matcher = lane.matcher
        if sequence != lane.received:
            if sequence > lane.received:
                matcher.early[peer, sequence] = (bytes(header[:HEADER_SIZE]), b"")
            return
        lane.received = sequence + 1
        op = matcher.match(source, tag)
        if op is None:
            matcher.keep(Message(peer, source, tag, flags, length, number))
        else:
            op.matched(peer, source, tag, flags)
            self._clear(peer, number, length, op)
        if matcher.early:
            self._replay(lane, peer)

    def _replay(self, lane: Lane, peer: int) -> None:
        """Take frames that came too early and whose turn it is now."""
        while True:
            early = lane.matcher.early.pop((peer, lane.received), None)
            if early is None:
                return
            header, payload = early
            # The credit field was counted when the frame arrived.
            fields = list(unpack_header(header))
            fields[3] = 0
            self.frame(peer, pack_header(*fields), memoryview(payload))

    def _clear(self, peer: int, number: int, length: int, op: RecvOp) -> None:
        """Tell the sender of a rendezvous to go on, with as many bytes as there is room for."""
        if op.buffer is None:
            op.buffer = op.data = allocate(length)
        wanted = min(length, len(op.buffer))
        op.count = length
        link = self.link(peer)
        owed, link.owed = link.owed, 0
        header = pack_header(CLEAR, 0, self.proc, owed, 0, 0, 0, wanted, 0, number, self.number_of(op))
        link.emit(header, None, None)

    def _cleared(self, peer: int, number: int, receiver: int, wanted: int) -> None:
        op = self.named(number, peer)
        if not isinstance(op, SendOp):
            return
        payload, op.payload = first_bytes(op.payload, wanted), None
        link = self.link(op.peer)
        owed, link.owed = link.owed, 0
        header = pack_header(DATA, 0, self.proc, owed, 0, 0, 0, 0, wanted, 0, receiver)
        if link.emit(header, payload, op):
            op.finish()
        else:
            link.flight.add(op)

    def _owe(self, link: Link, flags: int, number: int, length: int) -> None:
        """An eager message of a peer has found its receive: acknowledge, and give the credit back."""
        link.owed += length
        if flags & FLAG_SYNC:
            self.acknowledge(link, number)
        if link.owed > self._debt:
            self.owe(link)
