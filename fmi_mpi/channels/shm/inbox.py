"""An inbox: the shared memory in which one process receives from all others of its host.

Rules of this file:
- The owner makes the memory (memfd, sealed against shrinking, so that no mapping can be pulled away); peers open it
  as ``/proc/<pid>/fd/<n>``, which the kernel allows to the same user (and to root) only. No name exists anywhere.
- Within one user, the owner's proof in the header and the sender's proof in its slot show that both hold the
  job's key. No frame is read from a slot whose proof is wrong.
- The layout, in order, each part on its own pages: header; board (the owner's ``asleep`` flag, then one tail
  counter a sender: together, so that one comparison finds any arrival); slots; rings.
- Each word has one writer. Counters count bytes since the beginning and never wrap.
"""

from __future__ import annotations

import fcntl
import hmac
import mmap
import os
import struct
from typing import Final

from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.shm.memory import dumpable

__all__ = ["ASLEEP", "BOARD", "NONCE_SIZE", "WORD_SIZE", "Inbox", "Record", "host_identity", "ring_size"]

WORD_SIZE: Final = 8
NONCE_SIZE: Final = 16
_PROOF_SIZE: Final = 32
_PAGE: Final = 4096
_SLOT: Final = 512
_MAGIC: Final = 0x3130_4D48_5349_4D46  # "FMISHM01"

# magic, slots, ring bytes, owner's probe address, owner fences for its senders; nonce; proof
_HEADER: Final = struct.Struct("<QQQQQ16s32s")
# pid, doorbell descriptor, doorbell inode, probe address; nonce; proof
_RECORD: Final = struct.Struct("<QQQQ16s32s")
_RECORD_OFFSET: Final = 192

BOARD: Final = _PAGE
ASLEEP: Final = BOARD // WORD_SIZE
"""Index of the word that is 1 while the owner sleeps and wants its doorbell rung."""

# Words of a slot: first those that the owner writes ...
HEAD: Final = 0  # bytes consumed
OPENED: Final = 1  # number of the transfer that the owner has begun
SINK: Final = 2  # where it goes, in the owner's address space
CLOSED: Final = 3  # number of the transfer in which nothing more may be claimed
COMPLETED: Final = 4  # number of the last complete transfer
DIRECT: Final = 5  # 1: the owner can read the sender's memory, 2: it cannot
OWNER_LINE: Final = 64
FRONT: Final = 8  # bytes that the owner has claimed, from the front
# ... then those that the sender writes.
WAITING: Final = 16  # 1: the sender sleeps and wants its doorbell rung when a word above changes
JOINED: Final = 17  # number of the transfer that the sender helps with
BACK: Final = 18  # the sender has claimed from here to the end
DONE: Final = 19  # the sender has copied from here to the end

_SMALLEST_RING: Final = 1 << 14
_LARGEST_RING: Final = 1 << 21
_JOB_BUDGET: Final = 1 << 28


def ring_size(size: int) -> int:
    """Return the bytes of a ring such that those of ``size`` processes on one host take 256 MiB in all, but 16 KiB at least.

    Memory is taken when a ring is first written to, not before.
    """
    share = _JOB_BUDGET // (size * size)
    return max(_SMALLEST_RING, min(_LARGEST_RING, 1 << (share.bit_length() - 1) if share else 0))


def host_identity() -> str:
    """Return a key that is equal for processes that may open each other's descriptors; empty if others may not ours."""
    if not dumpable():
        return ""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return "/".join((boot, os.readlink("/proc/self/ns/pid"), os.readlink("/proc/self/ns/net"), str(os.geteuid())))
    except OSError:
        return ""


def _aligned(nbytes: int) -> int:
    return (nbytes + _PAGE - 1) & -_PAGE


def _proof(secret: bytes, *parts: object) -> bytes:
    return hmac.digest(secret, repr(parts).encode(), "sha256")


class Record:
    """What a sender tells of itself in its slot."""

    __slots__ = ("door", "inode", "nonce", "pid", "probe")

    def __init__(self, pid: int, door: int, inode: int, probe: int, nonce: bytes) -> None:
        self.pid = pid
        self.door = door
        self.inode = inode
        self.probe = probe
        self.nonce = nonce

    def proof(self, secret: bytes, job: str, sender: int, owner: int, challenge: bytes) -> bytes:
        """Return what shows that process ``sender`` holds the key, to the inbox with the nonce ``challenge`` only."""
        fields = (self.pid, self.door, self.inode, self.probe, self.nonce)
        return _proof(secret, "slot", job, sender, owner, challenge, fields)


class Inbox:
    """A mapped inbox, one's own or a peer's.

    ``words`` is the memory as u64, ``memory`` the mapping (whose slices copy), ``view`` a view of it (whose
    slices do not). ``probe`` is the address of the nonce in the owner's address space. ``expedites``: the owner's
    going to sleep is a barrier in its senders.
    """

    __slots__ = ("expedites", "fd", "memory", "nonce", "owner", "probe", "ring", "slots", "view", "words")

    def __init__(self, fd: int, nbytes: int, owner: int, slots: int, ring: int) -> None:
        self.fd = fd
        self.owner = owner
        self.slots = slots
        self.ring = ring
        self.memory = mmap.mmap(fd, nbytes)
        self.view = memoryview(self.memory)
        self.words = self.view.cast("Q")
        self.nonce = b""
        self.probe = 0
        self.expedites = False

    @classmethod
    def create(
        cls, owner: int, slots: int, ring: int, job: str, secret: bytes, nonce: bytes, probe: int, expedites: bool
    ) -> Inbox:
        """Make the inbox of process ``owner`` for ``slots`` senders; raises ChannelError."""
        nbytes = cls._size(slots, ring)
        try:
            fd = os.memfd_create("fmi-inbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, nbytes)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            inbox = cls(fd, nbytes, owner, slots, ring)
        except (OSError, AttributeError) as error:
            raise ChannelError(f"shm: no shared memory: {error}; leave shm out of FMI_CHANNELS") from error
        inbox.nonce, inbox.probe, inbox.expedites = nonce, probe, expedites
        fields = (slots, ring, probe, int(expedites))
        proof = _proof(secret, "inbox", job, owner, fields, nonce)
        _HEADER.pack_into(inbox.memory, 0, _MAGIC, *fields, nonce, proof)
        return inbox

    @classmethod
    def open(cls, path: str, owner: int, job: str, secret: bytes) -> Inbox:
        """Map the inbox of process ``owner``; raises ChannelError if it is not an inbox of that process and job."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise ChannelError(f"shm: cannot open the inbox of process {owner}: {error.strerror}") from error
        try:
            if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise ValueError("not sealed")
            magic, slots, ring, probe, expedites, nonce, proof = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
            expected = _proof(secret, "inbox", job, owner, (slots, ring, probe, expedites), nonce)
            if magic != _MAGIC or not hmac.compare_digest(proof, expected):
                raise ValueError("its owner does not know the job's key")
            nbytes = cls._size(slots, ring)
            if os.fstat(fd).st_size != nbytes:
                raise ValueError("wrong size")
            inbox = cls(fd, nbytes, owner, slots, ring)
        except (OSError, ValueError, struct.error) as error:
            raise ChannelError(f"shm: this is not the inbox of process {owner}: {error}") from error
        finally:
            os.close(fd)
        inbox.fd = -1
        inbox.nonce, inbox.probe, inbox.expedites = nonce, probe, bool(expedites)
        return inbox

    @staticmethod
    def _size(slots: int, ring: int) -> int:
        return BOARD + _aligned(WORD_SIZE * (slots + 1)) + _aligned(_SLOT * slots) + ring * slots

    def arrivals(self) -> slice:
        """Return where the tail counters of all senders lie, in bytes."""
        start = BOARD + WORD_SIZE
        return slice(start, start + WORD_SIZE * self.slots)

    def tail(self, sender: int) -> int:
        """Return the index of a sender's tail counter."""
        return ASLEEP + 1 + sender

    def slot(self, sender: int) -> int:
        """Return the index of a slot's first word."""
        return (BOARD + _aligned(WORD_SIZE * (self.slots + 1)) + _SLOT * sender) // WORD_SIZE

    def base(self, sender: int) -> int:
        """Return where a sender's ring begins, in bytes."""
        return self.slot(0) * WORD_SIZE + _aligned(_SLOT * self.slots) + self.ring * sender

    def enter(self, sender: int, record: Record, job: str, secret: bytes) -> None:
        """Write a sender's record into its slot; raises ChannelError if the slot is taken."""
        at = self.slot(sender) * WORD_SIZE + _RECORD_OFFSET
        if self.words[at // WORD_SIZE]:
            raise ChannelError(f"shm: another process {sender} already sends to process {self.owner}")
        proof = record.proof(secret, job, sender, self.owner, self.nonce)
        fields = (record.pid, record.door, record.inode, record.probe)
        _RECORD.pack_into(self.memory, at, *fields, record.nonce, proof)

    def record(self, sender: int, job: str, secret: bytes) -> Record | None:
        """Return the record in a slot, or None if its writer does not know the job's key."""
        at = self.slot(sender) * WORD_SIZE + _RECORD_OFFSET
        pid, door, inode, probe, nonce, proof = _RECORD.unpack_from(self.memory, at)
        record = Record(pid, door, inode, probe, nonce)
        known = hmac.compare_digest(proof, record.proof(secret, job, sender, self.owner, self.nonce))
        return record if known else None

    def close(self) -> None:
        """Unmap, unless a receiver still holds a view; then the memory goes with the view."""
        self.words.release()
        self.view.release()
        try:
            self.memory.close()
        except BufferError:
            pass
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
