"""Where this process meets the others: what the launcher says, or a store, with no server of ours to run.

Rules of this file:
- It is here and not in ``bootstrap`` because it needs both: a bootstrap made of a channel's key store.
- ``meet/JOB/claim.N`` is put by the first claimant of rank N only; a later one is told to leave. ``rank.N`` is a record;
  rank 0 reads them all with one listing and puts ``table``, which the others wait for. ``abort`` says how the job ends.
- Names hold a digest of the job's id, never a secret; what lies there carries a code made with the job's key, and what has
  no such code is not there.
- A store wakes nobody: a thread looks for news while calls wait, and sees to it that a rank that has died without a word is
  missed (``runtime.heartbeat``).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from fmi_mpi.bootstrap import discover, local
from fmi_mpi.bootstrap.base import Bootstrap, Event, Identity, Record, Relay
from fmi_mpi.bootstrap.rendezvous import CLAIMED, VARIABLE, with_rank
from fmi_mpi.bootstrap.singleton import SingletonBootstrap
from fmi_mpi.channels.base import ChannelError
from fmi_mpi.channels.mailbox.keys import Found, Keys
from fmi_mpi.channels.registry import CHANNELS
from fmi_mpi.config import Settings, channel_name
from fmi_mpi.errors import AbortError, BootstrapError
from fmi_mpi.runtime import heartbeat

__all__ = ["StoreBootstrap", "meet", "open_keys"]

_CODE: Final = 16
_PAUSE: Final = 0.02  # seconds between two looks while waiting for the table: at first
_LONGEST_PAUSE: Final = 1.0
_NEWS_INTERVAL: Final = 2.0  # seconds between two looks for an abort while waiting for the table
_NAMED: Final = 20
_STORES: Final = ("redis", "s3", "dynamodb")
"""Channels whose packages have ``open_keys(url, settings)``."""


def meet(environ: Mapping[str, str]) -> Bootstrap:
    """Return the meeting place that the environment tells of, with this process's rank claimed; raises BootstrapError."""
    url = environ.get(VARIABLE, "")
    if local.CONTROL in environ or channel_name(url) not in _STORES:
        return discover(environ)
    identity = local.read_identity(with_rank(environ), VARIABLE)
    claim = f"{identity.job}/{identity.rank}"
    if environ.get(CLAIMED) == claim:
        return SingletonBootstrap()
    keys = open_keys(url, Settings(environ))
    try:
        bootstrap = StoreBootstrap(keys, identity)
    except BaseException:
        keys.close()
        raise
    os.environ[CLAIMED] = claim
    return bootstrap


def open_keys(url: str, settings: Settings) -> Keys:
    """Return the key store that a URL names; raises ConfigError, ChannelError."""
    opened: Keys = import_module(CHANNELS[channel_name(url)]).open_keys(url, settings)
    return opened


class StoreBootstrap:
    """The meeting place of a job in a store; see ``bootstrap.base.Bootstrap``.

    Args:
        keys: the store; owned from now on.
        identity: who this process wants to be.

    Raises BootstrapError.
    """

    directory: str | None = None
    spans_hosts = True
    reflectors: Sequence[tuple[str, int]] = ()
    relay: Relay | None = None

    def __init__(self, keys: Keys, identity: Identity) -> None:
        self.identity = identity
        self._keys = keys
        self._prefix = f"meet/{hashlib.sha256(identity.job.encode()).hexdigest()[:32]}/"
        self._pid = os.getpid()
        self._closed = False
        self._looked = 0.0
        self._lock = threading.RLock()  # of the store
        self._news: Event | None = None
        self._told = False
        self._heart: heartbeat.Heartbeat | None = None
        try:
            self._claim()
        except ChannelError as error:
            raise BootstrapError(f"rank {identity.rank} cannot join job {identity.job}: {error}") from None

    def publish(self, record: Record) -> None:
        """Put this rank's record into the store, and signs of life from now on."""
        identity = self.identity
        self._write(self._rank(identity.rank), record)
        self._heart = heartbeat.Heartbeat(
            identity.rank,
            identity.size,
            self._read,
            self._write,
            self._look,
            self._miss,
            self._leave,
            heartbeat.STEP,
        )

    def table(self, timeout: float) -> Sequence[Record]:
        """Return every rank's record, waiting at most ``timeout`` seconds.

        Raises BootstrapError naming the missing ranks; AbortError if the job ends.
        """
        identity = self.identity
        deadline = time.monotonic() + timeout
        records: dict[int, Record] = {}
        pause = _PAUSE
        while True:
            table = self._gather(records) if identity.rank == 0 else self._read("table")
            if isinstance(table, list) and len(table) == identity.size:
                return table
            if time.monotonic() - self._looked >= _NEWS_INTERVAL:
                self._looked = time.monotonic()
                self._look()
            for event in self.events():
                raise AbortError(f"rank {identity.rank} was joining, but the job ends: {event.message}", event.code)
            if time.monotonic() > deadline:
                raise BootstrapError(self._missing(timeout))
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def fileno(self) -> int:
        """Return -1: a store wakes nobody."""
        return -1

    def events(self) -> Sequence[Event]:
        """Return how the job has been ended, as far as the heartbeat has found out, which looks while this is called."""
        if self._heart is not None:
            self._heart.attend()
        if self._news is None or self._told or not self._usable():
            return ()
        self._told = True
        return (self._news,)

    def signal(self, rank: int, message: Record) -> None:
        """Do nothing: a store wakes nobody, and ranks that meet there speak through it, too."""

    def abort(self, code: int, message: str) -> None:
        """Put how the job ends where the others look, and say it: no launcher does."""
        reason = f": {message}" if message else ""
        text = f"rank {self.identity.rank} called MPI_Abort(MPI_COMM_WORLD, {code}){reason}"
        print(f"fmi_mpi: {text}", file=sys.stderr, flush=True)
        self._fail(code, text)

    def failed(self, code: int) -> None:
        """End the others; what has happened is on the screen already."""
        self._fail(code, f"rank {self.identity.rank} exited with code {code}")

    def finalized(self) -> None:
        """Beat no more. Rank 0 removes the records; claims stay until they expire: no duplicate starts the job again."""
        if not self._usable():
            return
        if self._heart is not None:
            self._heart.stop()
        names = [f"beat.{self.identity.rank:08}"]
        if self.identity.rank == 0:
            names += [*map(self._rank, range(self.identity.size)), "table"]
        try:
            with self._lock:
                self._keys.remove([self._prefix + name for name in names])
        except ChannelError:
            pass  # they expire

    def close(self) -> None:
        """Close the store. Idempotent."""
        if self._usable():
            self._closed = True
            if self._heart is not None:
                self._heart.stop()
            self._keys.close()

    # -- the end -------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """See whether the job has been ended; True if it has."""
        if self._news is None and self._usable():
            news = self._read("abort")
            if isinstance(news, dict):
                self._news = Event("abort", int(news["rank"]), str(news["message"]), int(news["code"]))
        return self._news is not None

    def _fail(self, code: int, message: str) -> None:
        """This rank ends the job, and itself."""
        self._end(code, message)
        if self._heart is not None and self._usable():
            try:
                self._heart.end()
            except (ChannelError, BootstrapError):
                pass  # it will be missed

    def _miss(self, rank: int) -> None:
        """A rank has died: end the job, and say so unless another has."""
        text = (
            f"rank {rank} is gone: it has given no sign of life at {self._keys.label} for {heartbeat.DEADLINE:g} s; "
            "was it killed, or has it run out of memory or time?"
        )
        if self._end(1, text):
            print(f"fmi_mpi: {text}", file=sys.stderr, flush=True)

    def _leave(self) -> None:
        """End this process, which computes, or waits for something else than the job."""
        if self._news is not None and self._usable():
            os._exit(self._news.code)

    # -- the store -----------------------------------------------------------------------------------------------

    def _usable(self) -> bool:
        return not self._closed and os.getpid() == self._pid

    @staticmethod
    def _rank(rank: int) -> str:
        return f"rank.{rank:08}"

    def _claim(self) -> None:
        name = f"claim.{self.identity.rank:08}"
        own = self._seal(name, os.urandom(16).hex().encode())
        key = self._prefix + name
        if not self._keys.put_new(key, [own], len(own)) and self._keys.get(key) != own:
            raise BootstrapError(
                f"rank {self.identity.rank} cannot join job {self.identity.job}: another process has the rank already; "
                "this one must leave"
            )

    def _gather(self, records: dict[int, Record]) -> list[Record] | None:
        """Take the records that are new; put the table when they are all there."""
        prefix = f"{self._prefix}rank."
        for found in self._find(prefix):
            number = found.key.removeprefix(prefix)
            if not number.isdecimal() or int(number) in records or int(number) >= self.identity.size:
                continue
            name = self._rank(int(number))
            record = self._read(name) if found.body is None else self._unseal(name, found.body)
            if isinstance(record, dict):
                records[int(number)] = record
        if len(records) < self.identity.size:
            return None
        table = [records[rank] for rank in range(self.identity.size)]
        self._write("table", table)
        return table

    def _missing(self, timeout: float) -> str:
        prefix = f"{self._prefix}rank."
        present = {found.key.removeprefix(prefix) for found in self._find(prefix)}
        missing = [rank for rank in range(self.identity.size) if f"{rank:08}" not in present]
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        return (
            f"rank {self.identity.rank} of {self.identity.size}: not all ranks joined job {self.identity.job} at "
            f"{self._keys.label} within {timeout:g} s; missing: {', '.join(map(str, missing[:_NAMED]))}{more}. Every rank "
            "must import MPI, with the same secret; FMI_JOIN_TIMEOUT sets the time to wait"
        )

    def _end(self, code: int, message: str) -> bool:
        """Put how the job ends; True if this is the first word of it."""
        if self._usable():
            body = self._seal(
                "abort", json.dumps({"rank": self.identity.rank, "code": code, "message": message}).encode()
            )
            try:
                with self._lock:
                    return self._keys.put_new(self._prefix + "abort", [body], len(body))
            except ChannelError as error:
                print(f"fmi_mpi: the other ranks could not be told: {error}", file=sys.stderr, flush=True)
        return False

    def _write(self, name: str, value: object) -> None:
        body = self._seal(name, json.dumps(value, separators=(",", ":")).encode())
        try:
            with self._lock:
                self._keys.put(self._prefix + name, [body], len(body))
        except ChannelError as error:
            raise BootstrapError(f"rank {self.identity.rank}: {error}") from None

    def _find(self, prefix: str) -> Sequence[Found]:
        with self._lock:
            return self._keys.find(prefix)

    def _read(self, name: str) -> object:
        with self._lock:
            data = self._keys.get(self._prefix + name)
        return self._unseal(name, data)

    def _seal(self, name: str, body: bytes) -> bytes:
        return self._code(name, body) + body

    def _unseal(self, name: str, data: bytes | None) -> object:
        """Return what a sealed object holds, None if it is not genuine."""
        if data is None or not hmac.compare_digest(self._code(name, data[_CODE:]), data[:_CODE]):
            return None
        value: object = json.loads(data[_CODE:])
        return value

    def _code(self, name: str, body: bytes) -> bytes:
        text = f"fmi_mpi meeting\0{self.identity.job}\0{name}\0".encode()
        return hmac.digest(self.identity.secret, text + body, "sha256")[:_CODE]
