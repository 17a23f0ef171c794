"""Copying between the address spaces of two processes (process_vm_readv(2)), without a stop in shared memory.

Rules of this file:
- The kernel asks for ptrace permission: same user, dumpable, no Yama in the way. ``allow`` opens Yama's
  "children only" mode for this process, as other MPI libraries do; whether it worked is found out by ``probe``.
- Addresses that a peer names are only ever used in that peer's address space.
- Vectors of addresses are written into memory that is kept: building ctypes objects costs more than the call.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from time import perf_counter_ns
from typing import Final

__all__ = ["AddressSpaces", "Regions", "address_of", "allow", "dumpable", "regions_of"]

_MOST_REGIONS: Final = 1024  # in one system call (IOV_MAX)
_BLOCK: Final = 1 << 16
_TRIALS: Final = 5
_QUICK: Final = 4.0
"""Times that copying a block within this process takes, up to which copying between processes is quick."""
_ONE, _NONE = ctypes.c_ulong(1), ctypes.c_ulong(0)
_VECTOR: Final = 16  # bytes of a struct iovec: address, size

_PR_GET_DUMPABLE: Final = 3
_PR_SET_PTRACER: Final = 0x59616D61
_PR_SET_PTRACER_ANY: Final = (1 << 64) - 1
_YAMA: Final = "/proc/sys/kernel/yama/ptrace_scope"

_addressof: Final = ctypes.addressof
_from_buffer: Final = ctypes.c_char.from_buffer  # quicker, but for writable memory only
_PY_BUFFER: Final = bytearray(96)  # a Py_buffer: its first word is the memory's address
_PY_BUFFER_ADDRESS: Final = ctypes.addressof(ctypes.c_char.from_buffer(_PY_BUFFER))
_get_buffer: Final = ctypes.pythonapi["PyObject_GetBuffer"]  # not the attribute, whose types all modules share
_get_buffer.argtypes = (ctypes.py_object, ctypes.c_void_p, ctypes.c_int)
_release_buffer: Final = ctypes.pythonapi["PyBuffer_Release"]
_release_buffer.argtypes = (ctypes.c_void_p,)
_release_buffer.restype = None


def address_of(view: memoryview) -> int:
    """Return the address of a view's memory."""
    if not view.readonly:
        return _addressof(_from_buffer(view))
    _get_buffer(view, _PY_BUFFER_ADDRESS, 0)
    address = int.from_bytes(_PY_BUFFER[:8], "little")
    _release_buffer(_PY_BUFFER_ADDRESS)
    return address


class Regions:
    """Pieces of one address space that are one message, in order.

    Args:
        addresses, sizes: of the pieces; none is empty, and there is at least one.
    """

    __slots__ = ("_addresses", "_sizes", "_starts", "nbytes")

    def __init__(self, addresses: Sequence[int], sizes: Sequence[int]) -> None:
        self._addresses = addresses
        self._sizes = sizes
        self._starts = list(accumulate(sizes, initial=0)) if len(sizes) > 1 else [0, sizes[0]]
        self.nbytes = self._starts[-1]

    def write(self, memory: mmap.mmap, at: int) -> None:
        """Write address, size, address, size ... as 64-bit words."""
        flat = [word for region in zip(self._addresses, self._sizes) for word in region]
        struct.pack_into(f"={len(flat)}Q", memory, at, *flat)

    def fill(self, vectors: memoryview, at: int, start: int, stop: int) -> int:
        """Write the vectors of the bytes from ``start`` to ``stop``, as many as one call takes; return their number."""
        if len(self._sizes) == 1:
            vectors[at] = self._addresses[0] + start
            vectors[at + 1] = stop - start
            return 1
        index = bisect_right(self._starts, start) - 1
        skip = start - self._starts[index]
        count = 0
        while start < stop and count < _MOST_REGIONS:
            size = min(self._sizes[index] - skip, stop - start)
            vectors[at] = self._addresses[index] + skip
            vectors[at + 1] = size
            at += 2
            start += size
            skip = 0
            index += 1
            count += 1
        return count


def regions_of(views: Sequence[memoryview]) -> Regions:
    """Return where views lie."""
    return Regions([address_of(view) for view in views], [len(view) for view in views])


class AddressSpaces:
    """Copies to and from other processes; one per channel, since the vectors must have one user at a time."""

    def __init__(self) -> None:
        block = bytearray(2 * _MOST_REGIONS * _VECTOR)
        self._vectors = memoryview(block).cast("Q")
        self._remote_at = 2 * _MOST_REGIONS
        self._here = address_of(memoryview(block))
        self._there = self._here + _MOST_REGIONS * _VECTOR
        libc = ctypes.CDLL(None, use_errno=True)
        self._readv = self._prepared(libc, "process_vm_readv")
        self._writev = self._prepared(libc, "process_vm_writev")
        # Without conversions, and without errno, a call takes half a microsecond less.
        self._read_one: Callable[..., int] = lambda *args: -1
        if self._readv is not None:
            call = ctypes.CDLL(None).process_vm_readv
            call.restype = ctypes.c_ssize_t
            self._read_one = call
        self._vector_here, self._vector_there = ctypes.c_void_p(self._here), ctypes.c_void_p(self._there)
        self._quick: bool | None = None

    @staticmethod
    def _prepared(libc: ctypes.CDLL, name: str) -> Callable[..., int] | None:
        call = getattr(libc, name, None)
        if call is not None:
            size, address = ctypes.c_ulong, ctypes.c_void_p
            call.argtypes = (ctypes.c_int, address, size, address, size, size)
            call.restype = ctypes.c_ssize_t
        return call

    def _copy(
        self, call: Callable[..., int] | None, pid: int, local: Regions, remote: Regions, start: int, stop: int
    ) -> None:
        if call is None:
            raise OSError("this system does not copy between processes")
        while start < stop:
            here = local.fill(self._vectors, 0, start, stop)
            there = remote.fill(self._vectors, self._remote_at, start, stop)
            done = call(pid, self._here, here, self._there, there, 0)
            if done <= 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
            start += done

    def pull_one(self, pid: int, local: int, remote: int, nbytes: int) -> None:
        """Copy ``nbytes`` from an address in process ``pid`` to an address here; raises OSError."""
        vectors, at = self._vectors, self._remote_at
        vectors[0] = local
        vectors[at] = remote
        vectors[1] = vectors[at + 1] = nbytes
        if self._read_one(pid, self._vector_here, _ONE, self._vector_there, _ONE, _NONE) != nbytes:
            self.pull(pid, Regions((local,), (nbytes,)), Regions((remote,), (nbytes,)), 0, nbytes)

    def pull(self, pid: int, local: Regions, remote: Regions, start: int, stop: int) -> None:
        """Copy bytes ``start`` to ``stop`` of a message from process ``pid``; raises OSError."""
        self._copy(self._readv, pid, local, remote, start, stop)

    def push(self, pid: int, local: Regions, remote: Regions, start: int, stop: int) -> None:
        """Copy bytes ``start`` to ``stop`` of a message to process ``pid``; raises OSError."""
        self._copy(self._writev, pid, local, remote, start, stop)

    def quick(self) -> bool:
        """Copying 64 KiB between processes takes little longer than within one; tried once, within this process."""
        if self._quick is None:
            here, there = (memoryview(bytearray(_BLOCK)) for _ in range(2))
            pid, addresses = os.getpid(), (address_of(here), address_of(there))
            between, within = [], []
            for _ in range(_TRIALS):
                begun = perf_counter_ns()
                self.pull_one(pid, *addresses, _BLOCK)
                halfway = perf_counter_ns()
                here[:] = there
                within.append(perf_counter_ns() - halfway)
                between.append(halfway - begun)
            self._quick = min(between) < _QUICK * min(within)
        return self._quick

    def probe(self, pid: int, address: int, expected: bytes) -> bool:
        """The memory of process ``pid`` can be read, and holds ``expected`` at ``address``."""
        nbytes = len(expected)
        found = bytearray(nbytes)
        try:
            self.pull_one(pid, address_of(memoryview(found)), address, nbytes)
        except OSError:
            return False
        return found == expected


def dumpable() -> bool:
    """Others of the same user may look into this process; false after a change of user, for instance."""
    zero = ctypes.c_ulong(0)
    return bool(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, zero, zero, zero, zero) == 1)


def allow() -> None:
    """Let peers of this host reach this process's memory where Yama would restrict that to its parents."""
    try:
        with open(_YAMA, encoding="ascii") as file:
            restricted = file.read().strip() == "1"
    except OSError:
        return
    if restricted:
        zero = ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_PR_SET_PTRACER_ANY), zero, zero, zero)
