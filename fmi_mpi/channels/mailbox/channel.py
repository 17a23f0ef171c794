"""The channel over a key store: one outbox and one inbox for each peer that there is something to say to or to hear from.

Rules of this file:
- A mailbox's name holds the job's id in braces (stores that spread keys keep those of a job together), the owner's
  number and a nonce: what an earlier process has left is never read.
- Who closes says so to all peers that it has had to do with, and removes its own mailbox.
- Of objects that are not genuine nothing is used; ``forged`` counts them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast
from urllib.parse import quote

from fmi_mpi.channels.base import Address, Capabilities, Path, Payload, Receiver, Shelf
from fmi_mpi.channels.ciphers import require
from fmi_mpi.channels.mailbox.inbox import Inbox, Left
from fmi_mpi.channels.mailbox.objects import BYE, HEAD, Sealer, read_head
from fmi_mpi.channels.mailbox.outbox import Frame, Outbox
from fmi_mpi.channels.mailbox.sealed import CipherSealer
from fmi_mpi.channels.mailbox.store import ShelfStore, Store, Usage
from fmi_mpi.channels.registry import Membership
from fmi_mpi.engine.frames import FrameError

__all__ = ["MailboxChannel"]

_NONCE = 8
_LOOK = 256  # polls between looks at the clock


class MailboxChannel:
    """See ``channels.base.Channel``.

    Args:
        name: of the channel. capabilities: what it promises.
        store: where the mailboxes are.
        membership: this process's in its job.
        receiver: takes frames and news.
        window: bytes that may lie in the store unread from one process to another.
        patience: seconds after which an object that does not come though later ones have is lost.
    """

    def __init__(
        self,
        name: str,
        capabilities: Capabilities,
        store: Store,
        membership: Membership,
        receiver: Receiver,
        window: int,
        patience: float,
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self.proc = membership.proc
        self.forged = 0
        self._store = store
        self._size = membership.size
        self._job = membership.job
        self._secret = membership.secret
        self._receiver = receiver
        self._window = window
        self._patience = patience
        self._prefix = f"fmi/{{{quote(self._job, safe='')}}}/"
        self._box = f"{self._prefix}{self.proc}/{os.urandom(_NONCE).hex()}"
        self._encrypts = membership.settings.encrypt
        if self._encrypts:
            require()
        self._own = self._sealer(self._box)
        self._opened = False
        self._closed = False
        self._boxes: dict[int, str] = {}
        self._here: dict[str, bool] = {}
        self._outboxes: dict[int, Outbox] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._gone: set[int] = set()
        self._landing = -1  # the peer whose object is being read to its place, if any is
        self._failure = ""
        self._idle = _LOOK
        self.arm = store.arm
        self.disarm = store.disarm

    @property
    def usage(self) -> Usage:
        """What the store will be billed for so far."""
        return self._store.usage

    # -- channels.base.Channel -----------------------------------------------------------------------------------

    def address(self) -> Address:
        if not self._opened:
            self._store.open(self._box, self)
            self._opened = True
        return {"box": self._box, "encrypts": self._encrypts}

    def obstacle(self, address: Address) -> str:
        """Say why a peer with this address cannot be reached; empty if nothing is known against it."""
        if address.get("encrypts", False) != self._encrypts:
            return "the other end has FMI_ENCRYPT set otherwise; all ranks must have the same"
        return ""

    def reachable(self, address: Address) -> bool:
        if self.obstacle(address):
            return False
        box = str(address.get("box", ""))
        if box not in self._here:
            self._look([box])
        return self._here[box]

    def connect(self, peers: Mapping[int, Address]) -> None:
        self._boxes.update({peer: str(address.get("box", "")) for peer, address in peers.items()})
        self._look([box for box in self._boxes.values() if box not in self._here])

    def send(self, peer: int, header: bytes, payload: Payload, token: object) -> bool:
        outbox = self._outboxes.get(peer) or self._outbox(peer)
        if outbox is None:
            return False
        return outbox.send(header, payload, token)

    def path(self, peer: int) -> Path:
        outbox = self._outbox(peer)
        return partial(self.send, peer) if outbox is None else outbox.send

    def poll(self) -> bool:
        self._idle -= 1
        if not self._idle:
            self._idle = _LOOK
            self._find_gaps()
        return self._store.poll()

    def descriptors(self) -> Sequence[tuple[int, int]]:
        return self._store.descriptors()

    def pending(self) -> bool:
        return self._store.pending() or any(outbox.queue for outbox in self._outboxes.values())

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for outbox in self._outboxes.values():
            outbox.queue.clear()
            outbox.leave()
        self._outboxes.clear()
        self._store.close()

    def shelf(self, procs: Sequence[int], name: str, place: int) -> Shelf:
        """See ``channels.base.Storing``; it is kept beside the first process's mailbox."""
        store = cast(ShelfStore, self._store)
        boxes = [self._box if proc == self.proc else self._boxes[proc] for proc in procs]
        for box in boxes:
            if box != self._box:
                store.watch(box)
        label = f"{boxes[0]}~{name}"
        return store.shelf(label, procs, place, self._sealer(label))

    def desert(self, proc: int, reason: str) -> None:
        """See ``channels.base.Storing``."""
        cast(ShelfStore, self._store).desert(proc, reason)

    # -- mailbox.store.Events ------------------------------------------------------------------------------------

    def arrived(self, thing: memoryview) -> bool:
        head = read_head(thing)
        body = self._own.open(thing[:HEAD], thing[HEAD:]) if head is not None and self._is_peer(head[1]) else None
        if head is None or body is None:
            self.forged += 1
            return False
        if head[1] not in self._gone:
            inbox = self._inboxes.get(head[1]) or self._inbox(head[1])
            self._take(inbox, head, body, False)
        return True

    def landing(self, head: memoryview) -> memoryview | None:
        fields = read_head(head)
        inbox = self._inboxes.get(fields[1]) if fields is not None else None
        if inbox is None or fields is None:
            return None
        self._landing = fields[1]
        return inbox.landing(fields)

    def landed(self, head: memoryview) -> None:
        fields = read_head(head)
        assert fields is not None
        inbox = self._inboxes[fields[1]]
        place = inbox.landing(fields)
        assert place is not None
        body = self._own.open(head, place)
        if body is None:
            self.forged += 1
        else:
            self._take(inbox, fields, body, True)

    def stored(self, ticket: object) -> None:
        if type(ticket) is Frame:
            if not ticket.stored():
                return
            ticket = ticket.token
        if ticket is not None:
            self._receiver.sent(ticket)

    def refused(self, box: str, reason: str) -> None:
        for peer, known in tuple(self._boxes.items()):
            if known == box:
                self._lose(peer, reason)

    def farewell(self, head: memoryview) -> bool:
        fields = read_head(head)
        return fields is not None and fields[0] == BYE

    def broken(self, reason: str) -> None:
        self._failure = reason
        for peer in range(self._size):
            if peer != self.proc:
                self._lose(peer, reason)

    # -- peers ---------------------------------------------------------------------------------------------------

    def _sealer(self, box: str) -> Sealer:
        return (CipherSealer if self._encrypts else Sealer)(self._secret, self._job, box)

    def _is_peer(self, peer: int) -> bool:
        return 0 <= peer < self._size and peer != self.proc

    def _look(self, boxes: Sequence[str]) -> None:
        """Ask the store for mailboxes of this job, once for each."""
        asked = [box for box in boxes if box.startswith(self._prefix)]
        found = self._store.exist(asked) if asked else ()
        self._here.update({box: box in found for box in boxes})

    def _outbox(self, peer: int) -> Outbox | None:
        """Return the way to a peer; None if there is none."""
        if peer in self._outboxes:
            return self._outboxes[peer]
        box = self._boxes.get(peer, "")
        if peer in self._gone or self._closed:
            return None
        if self._failure or not box:
            self._lose(peer, self._failure or f"process {peer} has no mailbox; it does not offer this channel")
            return None
        outbox = self._outboxes[peer] = Outbox(
            self.proc, box, self._sealer(box), self._store, self._window, self._receiver.sent
        )
        self._store.watch(box)
        outbox.introduce(self._box)
        return outbox

    def _inbox(self, peer: int) -> Inbox:
        """Return the way from a peer, which has proved that it is one."""
        inbox = self._inboxes[peer] = Inbox(
            peer,
            self._receiver,
            self._window,
            partial(self._acknowledged, peer),
            partial(self._introduced, peer),
        )
        return inbox

    def _introduced(self, peer: int, box: str) -> None:
        """A peer has told its mailbox: it is watched from now on, and told what has been consumed."""
        if box.startswith(self._prefix):
            self._boxes.setdefault(peer, box)
            self._outbox(peer)

    def _acknowledged(self, peer: int, consumed: int) -> None:
        outbox = self._outboxes.get(peer)
        if outbox is not None:
            outbox.acknowledged(consumed)

    def _acknowledge(self, outbox: Outbox) -> None:
        """Tell a peer what has been consumed if it may soon have to wait for that."""
        if outbox.consumed - outbox.told >= self._window >> 2:
            outbox.acknowledge()

    def _take(self, inbox: Inbox, head: tuple[int, int, int, int, int], body: memoryview, landed: bool) -> None:
        peer = head[1]
        try:
            inbox.take(head, body, landed)
        except Left:
            self._lose(peer, "it has left the job")
        except FrameError as error:
            self._lose(peer, str(error))
        else:
            outbox = self._outboxes.get(peer)
            if outbox is not None:
                outbox.consumed = inbox.consumed
                self._acknowledge(outbox)

    def _find_gaps(self) -> None:
        for peer, inbox in tuple(self._inboxes.items()):
            if inbox.gap and time.monotonic() - inbox.gap > self._patience:
                self._lose(
                    peer,
                    f"the store has lost object {inbox.expected} from process {peer}, though later ones came: it was "
                    "deleted, evicted or not saved before a restart; see that the store keeps what it has accepted",
                )

    def _lose(self, peer: int, reason: str) -> None:
        if peer in self._gone:
            return
        self._gone.add(peer)
        self._inboxes.pop(peer, None)
        if peer == self._landing:
            self._store.divert()
        outbox = self._outboxes.pop(peer, None)
        if outbox is not None:
            self._store.forget(outbox.box)
            outbox.close()
        self._receiver.lost(peer, f"{self.name}: {reason.removeprefix(f'{self.name}: ')}")
