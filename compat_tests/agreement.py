"""Ranks agree about every test: one that fails anywhere fails everywhere, and one that hangs ends the job.

Rules of this file:
- agree() is collective over all ranks of the run, on a communicator of its own that no test touches;
- the usual agreement is one small reduction; texts travel only when something went wrong;
- the watchdog belongs to no MPI call: when it fires, every rank prints its stacks and leaves with a failure status.
"""

from __future__ import annotations

import faulthandler
import os
import re
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import pytest

PASSED, SKIPPED, FAILED = 1, 2, 4
LINGER = 3.0
PAUSE = 1e-4


class Agreement:
    """The ranks of a run, seen through a private communicator of the first implementation."""

    def __init__(self, modules: Sequence[Any]) -> None:
        mpi = self.mpi = modules[0]
        self.others = modules[1:]
        self.comm = mpi.COMM_WORLD.Dup()
        self.rank: int = self.comm.Get_rank()
        self.size: int = self.comm.Get_size()

    def close(self) -> None:
        self.comm.Free()

    def agree(self, kind: int, text: str) -> tuple[int, str]:
        """Return the union of the kinds of all ranks and, unless all passed, their texts under their ranks' numbers."""
        if self.size == 1:
            return kind, ""
        union = array("i", [kind])
        request = self.comm.Iallreduce(self.mpi.IN_PLACE, union, self.mpi.BOR)
        while not request.Test():
            for mpi in self.others:  # progress: a peer may still be receiving what this rank has sent
                mpi.COMM_SELF.Iprobe()
            time.sleep(PAUSE)  # leaves the cores to the ranks that are still in the test
        if union[0] == PASSED:
            return PASSED, ""
        texts = self.comm.allgather(text if kind != PASSED else "")
        return union[0], "\n".join(each_once(texts))

    def same(self, value: object) -> bool:
        """Tell whether all ranks hold an equal value."""
        return all(other == value for other in self.comm.allgather(value))

    @contextmanager
    def step(self, describe: Callable[[BaseException], str]) -> Iterator[None]:
        """Run a block on all ranks: raise on every rank when any raised; skips must be unanimous."""
        error: BaseException | None = None
        try:
            yield
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as caught:
            error = caught
        kind, text = verdict(error), ""
        if error is not None and kind == FAILED and self.size > 1:
            text = describe(error)
            Watchdog.last_word = f"rank {self.rank} failed:\n{text}"
        union, texts = self.agree(kind, text or str(error or ""))
        Watchdog.last_word = ""
        if error is not None and (self.size == 1 or union == SKIPPED):
            raise error
        if union & FAILED:
            raise pytest.fail.Exception(texts, pytrace=False) from None
        if union != PASSED:
            raise pytest.fail.Exception(f"only some ranks skipped:\n{texts}", pytrace=False) from None


def each_once(texts: list[str]) -> Iterator[str]:
    """Yield the texts under their ranks' numbers, those that end in the same errors only once."""
    ranks: dict[str, list[int]] = {}
    for rank, text in enumerate(texts):
        if text:
            errors = "\n".join(line for line in text.splitlines() if line.startswith("E "))
            ranks.setdefault(re.sub("0x[0-9a-f]+", "", errors or text), []).append(rank)
    for those in ranks.values():
        yield f"rank {', '.join(map(str, those))}: {texts[those[0]]}"


def verdict(error: BaseException | None) -> int:
    if error is None:
        return PASSED
    return SKIPPED if isinstance(error, pytest.skip.Exception) else FAILED


class Watchdog:
    """Ends the process when a test has not ended in time, after every thread's stack is on stderr."""

    last_word = ""

    def __init__(self, rank: int, seconds: float, stderr: TextIO) -> None:
        self.rank = rank
        self.seconds = seconds
        self.stderr = stderr

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        timer = threading.Timer(self.seconds, self.bite, [name])
        timer.daemon = True
        timer.start()
        faulthandler.dump_traceback_later(self.seconds + 2 * LINGER, exit=True, file=self.stderr)
        try:
            yield
        finally:
            timer.cancel()
            faulthandler.cancel_dump_traceback_later()

    def bite(self, name: str) -> None:
        with suppress(OSError):
            self.stderr.write(f"\nrank {self.rank}: {name} did not end in {self.seconds:g} s\n{Watchdog.last_word}\n")
            self.stderr.flush()
            faulthandler.dump_traceback(self.stderr, all_threads=True)
        threading.Event().wait(LINGER)  # the other ranks are about to print theirs; the first to leave ends the job
        os._exit(3)
