"""The shared-memory channel: rings in memory that the processes of a host share.

Rules of this file:
- Sending and polling make no system call while the peer is awake; ``poll`` finds all arrivals by one comparison.
- Going to sleep: say so, be a barrier for all senders, look once more. Waking: take the flag down.
- Collectives may meet on boards (``board``), of which all members were reachable when it was opened.
- A peer is given up once: when it ends, when its channel closes, or when what it wrote is not frames.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from fmi_mpi.channels.base import Address, Capabilities, ChannelError, Path, Payload, Receiver
from fmi_mpi.channels.shm import barrier
from fmi_mpi.channels.shm.board import Board, Member
from fmi_mpi.channels.shm.boards import Boards
from fmi_mpi.channels.shm.doorbell import Bell, Doorbell, Silence
from fmi_mpi.channels.shm.inbox import ASLEEP, NONCE_SIZE, Inbox, Record, host_identity, ring_size
from fmi_mpi.channels.shm.incoming import Incoming
from fmi_mpi.channels.shm.memory import AddressSpaces, address_of, allow
from fmi_mpi.channels.shm.outgoing import Outgoing
from fmi_mpi.engine.frames import FrameError

__all__ = ["ShmChannel"]

_IDLE_POLLS: Final = 1 << 12
"""Idle polls between looks at the doorbell, for programs that test without ever sleeping."""


class ShmChannel:
    """See ``channels.base.Channel``.

    Args:
        proc: this process's number in the job. size: the job's size.
        job: the job's id. secret: its key.
        receiver: takes frames and news.
        ring: bytes of a ring, rounded up to a power of two; 0 chooses by job size.

    Raises ChannelError where the system has no anonymous shared memory.
    """

    name = "shm"
    capabilities = Capabilities(latency=2e-6, bandwidth=1.2e10, publish=True)

    def __init__(self, proc: int, size: int, job: str, secret: bytes, receiver: Receiver, ring: int = 0) -> None:
        self.proc = proc
        self.job = job
        self._secret = secret
        self._receiver = receiver
        self._host = host_identity()
        self._fence = barrier.Fence()
        self._enrolled = barrier.enrol()
        self._nonce = os.urandom(NONCE_SIZE)
        self._probe = address_of(memoryview(self._nonce))
        self._spaces = AddressSpaces()
        itself = Member(proc, os.getpid(), self._probe, self._enrolled, self._nonce)
        self._boards = Boards(itself, self._spaces, self._fence, self._introduce, self._wake, self._nudge)
        self._meetings = self._boards.meetings
        allow()
        ring = 1 << (max(ring, 4096) - 1).bit_length() if ring else ring_size(size)
        self._inbox = Inbox.create(proc, size, ring, job, secret, self._nonce, self._probe, self._enrolled)
        self._doorbell = Doorbell()
        self._addresses: dict[int, Address] = {}
        self._bells: dict[int, Bell] = {}
        self._outgoing: dict[int, Outgoing] = {}
        self._incoming: dict[int, Incoming] = {}
        self._gone = {proc}
        self._busy: set[Outgoing] = set()
        self._stalled: set[Incoming] = set()
        self._attention = False
        self._armed = False
        self._idle = _IDLE_POLLS
        self._memory = self._inbox.memory
        self._arrivals = self._inbox.arrivals()
        self._unpack = struct.Struct(f"{size}Q").unpack
        self._board = self._memory[self._arrivals]
        self._tails = self._unpack(self._board)
        self._closed = False

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def address(self) -> Address:
        return {
            "host": self._host,
            "proc": self.proc,
            "pid": os.getpid(),
            "inbox": self._inbox.fd,
            "door": self._doorbell.write,
            "inode": self._doorbell.inode,
        }

    def reachable(self, address: Address) -> bool:
        """The peer is on this host and lets this process in; found out by opening its inbox, which stays open."""
        if not self._host or address["host"] != self._host:
            return False
        if address["proc"] not in self._outgoing:
            try:
                self._open(address)
            except ChannelError:
                return False
        return True

    def connect(self, peers: Mapping[int, Address]) -> None:
        self._addresses.update(peers)

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        outgoing = self._outgoing.get(peer)
        if outgoing is None:
            outgoing = self._meet(peer)
            if outgoing is None:
                return False
        return outgoing.send(header, payload, token)

    def path(self, peer: int) -> Path:
        outgoing = self._outgoing.get(peer)
        return partial(self.send, peer) if outgoing is None else outgoing.send

    def poll(self) -> bool:
        board = self._memory[self._arrivals]
        if board != self._board:
            self._receive(board)
            if self._attention:
                self._attend()
            return True
        if self._attention and self._attend():
            return True
        if self._meetings and self._boards.look():
            return True
        self._idle -= 1
        return not self._idle and self._look()

    def arm(self) -> bool:
        self._armed = True
        self._inbox.words[ASLEEP] = 1
        for outgoing in self._busy:
            outgoing.arm()
        self._boards.arm()
        self._fence()
        if self._enrolled:
            barrier.expedite()
        return not (
            self._memory[self._arrivals] != self._board
            or any(outgoing.moved() for outgoing in self._busy)
            or any(incoming.moved() for incoming in self._stalled)
            or self._boards.moved()
        )

    def disarm(self) -> None:
        self._armed = False
        self._inbox.words[ASLEEP] = 0
        for outgoing in self._busy:
            outgoing.disarm()
        self._boards.disarm()
        self._idle = 1  # the next poll that finds nothing looks at the doorbell

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return ((self._doorbell.epoll.fileno(), select.POLLIN),)

    def pending(self) -> bool:
        return bool(self._busy)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for bell in self._bells.values():
            bell.close()
        self._doorbell.close()
        for outgoing in self._outgoing.values():
            outgoing.inbox.close()
        self._inbox.close()
        self._boards.close()
        for peers in (self._bells, self._outgoing, self._incoming, self._busy, self._stalled):
            peers.clear()

    # -- channels.base.Publisher ---------------------------------------------------------------------------------

    def make_board(self, size: int, inline: int) -> Board:
        return self._boards.make(size, inline)

    def open_board(self, address: Address, place: int) -> Board:
        return self._boards.open(address, place)

    def desert(self, proc: int, reason: str) -> None:
        self._boards.desert(proc, reason)

    def _introduce(self, member: Member) -> bool:
        """Get ready to wake another member of a board, and to hear of its end."""
        if member.proc == self.proc:
            return True
        address = self._addresses.get(member.proc)
        if member.proc in self._gone or address is None or address["pid"] != member.pid:
            return False
        try:
            self._bell(member.proc, member.pid, address["door"], address["inode"])
        except ChannelError:
            return False
        return True

    def _wake(self, procs: Sequence[int]) -> None:
        for proc in procs:
            bell = self._bells.get(proc)
            if bell is not None:
                bell.ring()

    def _nudge(self) -> None:
        """Let a sleeping thread of this process look at what it must be woken for from now on."""
        if self._armed:
            self._doorbell.ring()

    # -- peers ---------------------------------------------------------------------------------------------------

    def _meet(self, peer: int) -> Outgoing | None:
        """Return the way to a peer, opening it on first use; None if the peer is gone."""
        if peer in self._gone:
            return None
        address = self._addresses.get(peer)
        if address is None:
            self._lose(peer, "has no address; it does not offer this channel")
            return None
        try:
            return self._open(address)
        except ChannelError as error:
            self._lose(peer, str(error))
            return None

    def _open(self, address: Address) -> Outgoing:
        """Open a peer's inbox and doorbell, and show that this process holds the job's key."""
        peer = address["proc"]
        if peer in self._gone:
            raise ChannelError(f"shm: process {peer} is gone")
        inbox = Inbox.open(f"/proc/{address['pid']}/fd/{address['inbox']}", peer, self.job, self._secret)
        record = Record(os.getpid(), self._doorbell.write, self._doorbell.inode, self._probe, self._nonce)
        try:
            bell = self._bell(peer, address["pid"], address["door"], address["inode"])
            inbox.enter(self.proc, record, self.job, self._secret)
        except ChannelError:
            inbox.close()
            raise
        readable = self._spaces.probe(bell.pid, inbox.probe, inbox.nonce)
        fenced = not (inbox.expedites and self._enrolled)
        outgoing = Outgoing(
            self.proc, inbox, bell, self._receiver, self._engage, self._spaces, self._fence, readable, fenced
        )
        self._outgoing[peer] = outgoing
        return outgoing

    def _admit(self, peer: int) -> Incoming | None:
        """Something arrived in a slot for the first time: read it only if the sender holds the job's key."""
        if peer in self._gone:
            return None
        record = self._inbox.record(peer, self.job, self._secret)
        if record is None:
            self._lose(peer, "whoever wrote into its slot does not know the job's key")
            return None
        try:
            bell = self._bell(peer, record.pid, record.door, record.inode)
        except ChannelError:
            bell = Silence(record.pid)
        readable = self._spaces.probe(record.pid, record.probe, record.nonce)
        incoming = Incoming(peer, self._inbox, bell, self._receiver, self._spaces, self._fence, readable)
        self._incoming[peer] = incoming
        if type(bell) is Silence:  # its first words were its last
            self._drain(incoming)
            self._lose(peer, "the process has ended")
            return None
        return incoming

    def _bell(self, peer: int, pid: int, door: int, inode: int) -> Bell:
        bell = self._bells.get(peer)
        if bell is None:
            bell = self._bells[peer] = Bell(pid, door, inode)
            self._doorbell.watch(peer, bell)
        return bell

    def _lose(self, peer: int, reason: str) -> None:
        if peer in self._gone:
            return
        self._gone.add(peer)
        bell = self._bells.pop(peer, None)
        if bell is not None:
            self._doorbell.forget(bell)
        outgoing = self._outgoing.pop(peer, None)
        if outgoing is not None:
            outgoing.drop()
            self._busy.discard(outgoing)
        incoming = self._incoming.pop(peer, None)
        if incoming is not None:
            self._stalled.discard(incoming)
        self._receiver.lost(peer, f"shm: process {peer}: {reason}")

    # -- progress ------------------------------------------------------------------------------------------------

    def _receive(self, board: bytes) -> None:
        tails, before = self._unpack(board), self._tails
        self._board, self._tails = board, tails
        for peer, tail in enumerate(tails):
            if tail != before[peer]:
                incoming = self._incoming.get(peer) or self._admit(peer)
                if incoming is None:
                    continue
                try:  # what `_drain` does, on the way of every message
                    if not incoming.drain():
                        self._stalled.add(incoming)
                        self._attention = True
                except FrameError as error:
                    self._lose(peer, str(error))

    def _drain(self, incoming: Incoming) -> None:
        try:
            if not incoming.drain():
                self._stalled.add(incoming)
                self._attention = True
        except FrameError as error:
            self._lose(incoming.peer, str(error))

    def _engage(self, outgoing: Outgoing) -> None:
        """A peer must be attended to from now on."""
        self._busy.add(outgoing)
        self._attention = True
        self._nudge()

    def _attend(self) -> bool:
        """Continue what arrivals do not tell of: queues, and transfers on either side."""
        moved = False
        for incoming in tuple(self._stalled):
            try:
                if not incoming.resume():
                    continue
            except FrameError as error:
                self._lose(incoming.peer, str(error))
                continue
            moved = True
            self._stalled.discard(incoming)
            self._drain(incoming)
        for outgoing in tuple(self._busy):
            if outgoing.progress():
                moved = True
                if not outgoing.busy:
                    self._busy.discard(outgoing)
        self._attention = bool(self._stalled or self._busy)
        return moved

    def _look(self) -> bool:
        """See whether the doorbell rang, and which peers have ended; those that have wrote their last words."""
        self._idle = _IDLE_POLLS
        ended = self._doorbell.look(silence=not self._armed)
        if ended and (board := self._memory[self._arrivals]) != self._board:
            self._receive(board)
        for peer in ended:
            incoming = self._incoming.get(peer)
            if incoming is not None:
                self._drain(incoming)
            self._lose(peer, "the process has ended or left the job")
        return bool(ended)
