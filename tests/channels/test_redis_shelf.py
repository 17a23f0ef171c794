"""Shelves in Redis: what is put is found once, by all, whatever happens to the connections; what is not put is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.servers.redis import KINDS, RedisServer, ask, shared
from fmi_mpi.channels.base import FAILED, Shelf
from fmi_mpi.channels.conformance import Recorder, pump
from fmi_mpi.channels.mailbox.objects import HEAD, SHELVED, Sealer
from fmi_mpi.channels.redis import reader
from fmi_mpi.channels.redis.shelf import PIECE

from .subjects import JOB
from .test_redis import ANY, end, store

SIZE = 3
SHELF = "s"


class Party:
    """Some ranks with a shelf in common, and what they have found on it."""

    def __init__(self, url: str, size: int = SIZE) -> None:
        self.recorders = [Recorder() for _ in range(size)]
        self.channels = [end(url, proc, recorder, size) for proc, recorder in enumerate(self.recorders)]
        addresses = dict(enumerate(channel.address() for channel in self.channels))
        for proc, channel in enumerate(self.channels):
            channel.connect({peer: address for peer, address in addresses.items() if peer != proc})
        self.shelves = [channel.shelf(range(size), SHELF, proc) for proc, channel in enumerate(self.channels)]
        self.found: list[list[bytes | str]] = [[] for _ in range(size)]
        self.stored: list[str] = []
        self.met = [0] * size

    def put(self, proc: int, number: int, *blocks: bytes, turn: int = 0) -> None:
        self.shelves[proc].put(number, turn, [memoryview(block) for block in blocks], self.stored.append)

    def get(self, proc: int, number: int, place: int, nbytes: int = -1, block: int = 0, turn: int = 0) -> None:
        def done(data: memoryview | None, failure: str) -> None:
            self.found[proc].append(failure if data is None else bytes(data))

        self.shelves[proc].get(number, turn, place, block, 0, nbytes, done)

    def meet(self, proc: int, number: int) -> None:
        def done(count: int, failure: str) -> None:
            assert (count, failure) == (len(self.channels), "")
            self.met[proc] += 1

        self.shelves[proc].count(number, lambda failure: None)
        self.shelves[proc].counted(number, done)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        pump(self.channels, condition, what)

    def settle(self) -> None:
        """Until the server has answered to all that has been put."""
        self.until(lambda: not any(channel.pending() for channel in self.channels), "the answers")

    def key(self, name: object) -> str:
        return f"{self.channels[0]._box}~{SHELF}/{name}"

    def sealer(self) -> Sealer:
        return Sealer(b"another key", JOB, self.key("")[:-1])


@contextmanager
def party(url: str, size: int = SIZE) -> Iterator[Party]:
    gathering = Party(url, size)
    try:
        yield gathering
    finally:
        for channel in gathering.channels:
            channel.close()


def entries(server: RedisServer, key: str) -> int:
    return int(ask(server.port, "XLEN", key)[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_all_who_wait_find_what_is_put(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_BLOCK", 600_000)  # a read that is not cut short for a new wish ends too late
    with party(shared(kind).url) as ranks:
        ranks.until(lambda: all(store(channel)._reader.asked for channel in ranks.channels), "reads of the mailboxes")
        for proc in (0, 2):
            ranks.get(proc, 0, 1, 5)
        ranks.until(lambda: all(store(ranks.channels[proc])._reader._asked for proc in (0, 2)), "the wishes' reads")
        ranks.put(1, 0, b"hello")
        ranks.put(2, 1, b"later")
        ranks.get(0, 1, 2)
        ranks.until(lambda: len(ranks.found[0]) == 2 and len(ranks.found[2]) == 1, "what was put")
        assert ranks.found == [[b"hello", b"later"], [], [b"hello"]]
        assert [channel.usage.get for channel in ranks.channels] == [2, 0, 1]


def test_a_read_is_cut_short_even_if_the_server_has_not_got_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_BLOCK", 600_000)
    with party(shared(ANY).url) as ranks:
        for number in range(200):
            ranks.channels[1].poll()  # which asks for the mailbox
            ranks.get(1, number, 0)
            ranks.put(0, number, b"block")
            ranks.until(lambda: len(ranks.found[1]) == number + 1, "the block")  # noqa: B023


def test_blocks_are_read_alone_and_long_ones_in_pieces() -> None:
    blocks = [bytes([number]) * length for number, length in enumerate((0, 3 * PIECE + 5, 2 * PIECE, 7, PIECE))]
    with party(shared(ANY).url) as ranks:
        ranks.put(0, 4, *blocks)
        ranks.put(0, 4, b"second", turn=1)
        for at, block in enumerate(blocks):
            ranks.get(1, 4, 0, len(block), at)
            ranks.get(2, 4, 0, -1, at)
        ranks.get(1, 4, 0, 6, turn=1)
        ranks.until(lambda: [len(found) for found in ranks.found] == [0, 6, 5], "all blocks")
        assert ranks.found[1] == [*blocks, b"second"]
        assert ranks.found[2] == blocks
        ranks.settle()
        assert ranks.stored == [""] * 2
        assert ranks.channels[1].usage.read < sum(map(len, blocks)) + len(blocks) * (PIECE // 2)


@pytest.mark.parametrize("length", [3, 7])
def test_a_block_of_another_length_comes_as_it_is(length: int) -> None:
    with party(shared(ANY).url) as ranks:
        ranks.put(0, 0, b"hello")
        ranks.get(1, 0, 0, length)
        ranks.until(lambda: bool(ranks.found[1]), "the block")
        assert len(ranks.found[1][0]) == 5


@pytest.mark.parametrize(
    ("number", "turn", "reason"),
    [
        (3, FAILED, "rank 0 has failed in this collective"),
        (3, 1, "rank 0 has put something else"),
        (4, 0, "something else"),
    ],
    ids=["failed", "another turn", "another collective"],
)
def test_what_will_never_come_is_an_error_at_once(number: int, turn: int, reason: str) -> None:
    with party(shared(ANY).url) as ranks:
        ranks.get(1, 3, 0)
        ranks.put(0, number, b"", turn=turn)
        ranks.until(lambda: bool(ranks.found[1]), "the reason")
        assert reason in str(ranks.found[1][0])


def test_what_a_stranger_puts_is_not_taken() -> None:
    server = shared(ANY)
    with party(server.url) as ranks:
        ranks.get(1, 0, 0)
        ranks.get(2, 0, 0)
        forged = b"".join(ranks.sealer().seal(SHELVED, 0, 0, 1, (b"evil",)))
        ask(server.port, "XADD", ranks.key(0), "0-1", "o", forged)
        ranks.until(lambda: all(ranks.found[1:]), "the reason")
        assert all("without the job's key" in str(found[0]) for found in ranks.found[1:])


def test_an_entry_that_has_been_moved_is_not_taken() -> None:
    server = shared(ANY)
    with party(server.url) as ranks:
        ranks.put(0, 0, b"old")
        ranks.settle()
        text = ask(server.port, "XRANGE", ranks.key(0), "-", "+")
        size = HEAD + 3
        thing = text[text.index(b"$%d\r\n" % size) + 5 :][:size]
        ask(server.port, "XADD", ranks.key(0), "1-1", "o", thing)
        ranks.get(1, 1, 0)
        ranks.until(lambda: bool(ranks.found[1]), "the reason")
        assert "without the job's key" in str(ranks.found[1][0])


def test_nobody_waits_for_who_is_gone() -> None:
    with party(shared(ANY).url) as ranks:
        failures: list[str] = []
        ranks.get(0, 0, 1)
        ranks.get(0, 0, 2)
        ranks.shelves[0].counted(0, lambda count, failure: failures.append(failure))
        ranks.channels[0].desert(1, "it is gone")
        assert ranks.found[0] == failures == ["it is gone"]
        ranks.put(2, 0, b"here")
        ranks.until(lambda: len(ranks.found[0]) == 2, "what the other has put")
        assert ranks.found[0][1] == b"here"


def test_none_meets_before_the_last_has_come() -> None:
    with party(shared(ANY).url) as ranks:
        for number in range(0, 9, 2):
            turn = number // 2
            for proc in (0, 1):
                ranks.meet(proc, number)
            ranks.settle()
            ranks.until(lambda: all(store(channel)._reader.asked for channel in ranks.channels[:2]), "their reads")
            assert ranks.met == [turn] * SIZE
            ranks.meet(2, number)
            ranks.until(lambda: ranks.met == [turn + 1] * SIZE, "the meeting")  # noqa: B023
        assert [channel.usage.put for channel in ranks.channels] == [5] * SIZE


def test_strangers_are_not_counted() -> None:
    server = shared(ANY)
    with party(server.url) as ranks:
        ranks.meet(0, 0)
        ranks.settle()
        sign = ask(server.port, "HGET", ranks.key("present"), "0")[5:-2]
        ask(server.port, "HSET", ranks.key("present"), "1", sign, "2", "forged", "3", sign)
        ranks.meet(1, 0)
        ranks.settle()
        ranks.until(lambda: all(store(channel)._reader.asked for channel in ranks.channels[:2]), "their reads")
        assert ranks.met == [0] * SIZE
        ranks.meet(2, 0)
        ranks.until(lambda: ranks.met == [1] * SIZE, "the meeting")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_connections_put_and_count_nothing_twice(kind: str) -> None:
    server = shared(kind)
    with party(server.url) as ranks:
        for number in range(0, 60, 2):
            for proc in (0, 1):
                ranks.put(proc, number, bytes([number]), bytes(PIECE))
                ranks.get(2, number, proc, PIECE, 1)
                ranks.get(2, number, proc, 1)
                ranks.meet(proc, number + 1)
            if number % 6 == 0:
                ask(server.port, "CLIENT", "KILL", "TYPE", "normal" if number % 4 else "pubsub")
            ranks.until(lambda: len(ranks.found[2]) == 2 * number + 4, "what was put")  # noqa: B023
            assert set(ranks.found[2][-4:]) == {bytes([number]), bytes(PIECE)}
            ranks.settle()
            assert ranks.met[0] == number // 2, "met before all were there"
            ranks.meet(2, number + 1)
            ranks.until(lambda: ranks.met == [number // 2 + 1] * SIZE, "the meeting")  # noqa: B023
        assert entries(server, ranks.key(0)) == 30 * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_restarted_server_goes_on(kind: str) -> None:
    server = RedisServer(kind)
    with party(server.url) as ranks:
        ranks.put(0, 0, b"before")
        ranks.settle()
        ranks.get(1, 0, 2)
        ranks.meet(0, 1)
        ranks.until(lambda: bool(store(ranks.channels[1])._reader._asked), "the read")
        server.kill()
        ranks.put(2, 0, b"meanwhile")
        ranks.meet(1, 1)
        ranks.get(2, 0, 0)
        ranks.until(lambda: store(ranks.channels[1])._reader.connection.stage == "down", "the outage")
        server.start()
        ranks.until(lambda: all(ranks.found[1:]), "what was put")
        assert ranks.found[1:] == [[b"meanwhile"], [b"before"]]
        ranks.meet(2, 1)
        ranks.until(lambda: ranks.met == [1] * SIZE, "the meeting")
        assert not any(recorder.gone for recorder in ranks.recorders)
    assert server.names() == []
    server.remove()


def test_entries_that_a_restarted_server_has_lost_are_an_error() -> None:
    server = RedisServer(ANY, "--appendonly", "no")
    with party(server.url) as ranks:
        ask(server.port, "SAVE")
        ranks.put(0, 0, b"lost")
        ranks.settle()
        ranks.get(0, 0, 1)
        server.kill()
        server.start()  # with the data of the moment before
        pump(ranks.channels[:1], lambda: bool(ranks.found[0]), "the loss to be noticed")
        assert "has lost messages" in str(ranks.found[0][0])
    server.remove()


@pytest.mark.parametrize("how", ["flushed", "away"])
def test_a_server_that_is_no_use_any_more_is_an_error(how: str) -> None:
    server = RedisServer(ANY, "--appendonly", "no")
    with party(server.url + "?patience=1") as ranks:
        ranks.get(1, 0, 0)
        ranks.until(lambda: bool(store(ranks.channels[1])._reader._asked), "the read")
        if how == "flushed":
            ask(server.port, "FLUSHALL")
        else:
            server.kill()
            ranks.put(1, 0, bytes(2 * PIECE))
        ranks.until(lambda: bool(ranks.found[1]), "the loss to be noticed")
        assert f"redis: 127.0.0.1:{server.port}" in str(ranks.found[1][0])
        ranks.put(1, 1, bytes(2 * PIECE))
        assert all(f"127.0.0.1:{server.port}" in failure for failure in ranks.stored) and ranks.stored
    server.remove()


def test_nothing_is_left_and_everything_expires() -> None:
    server = RedisServer(ANY)
    with party(server.url + "?ttl=100") as ranks:
        for proc in range(SIZE):
            ranks.put(proc, 0, b"here")
            ranks.meet(proc, 1)
        ranks.until(lambda: ranks.met == [1] * SIZE, "the meeting")
        ranks.settle()
        keys = server.names()
        assert len(keys) == SIZE + SIZE + 2
        for key in keys:
            assert key.startswith(b"fmi/{conformance}/")
            assert 90 <= int(ask(server.port, "TTL", key)[1:]) <= 100
    assert server.names() == []
    server.remove()


def test_what_nobody_reads_any_more_is_removed() -> None:
    server = shared(ANY)
    with party(server.url) as ranks:
        for number in range(6):
            ranks.put(0, number, b"block", b"block")
        shelf: Shelf = ranks.shelves[0]
        for number, left in ((0, 12), (4, 4), (4, 4), (9, 0)):
            shelf.remove(number)
            ranks.settle()
            ranks.until(lambda: not store(ranks.channels[0])._writer.commands, "the removal")
            assert entries(server, ranks.key(0)) == left
        assert ranks.channels[0].usage.delete == 2


def test_a_key_of_another_type_is_an_error() -> None:
    server = shared(ANY)
    with party(server.url) as ranks:
        ask(server.port, "SET", ranks.key(0), "spam")
        ranks.put(0, 0, bytes(PIECE))
        ranks.until(lambda: bool(ranks.stored), "the refusal")
        assert "WRONGTYPE" in ranks.stored[0]
        assert ranks.channels[0]._failure
        ask(server.port, "DEL", ranks.key(0))
