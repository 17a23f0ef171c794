"""The proof of the job's key where nobody accepts: honest ends agree, everybody else learns nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.channels.tcp.greeting import HELLO_SIZE, PROBE_SIZE, Greeting, GreetingError

JOB, SECRET = "job", b"the key of the job"


def end(proc: int, peer: int = -1, epoch: int = 0, secret: bytes = SECRET, job: str = JOB) -> Greeting:
    return Greeting(job, secret, proc, peer, epoch)


def talk(one: Greeting, other: Greeting, probe: bool = False) -> None:
    """Carry bytes until nobody has any; the lower number chooses once it may."""
    wires = {one: b"", other: b""}
    while True:
        for sender, receiver in ((one, other), (other, one)):
            wires[receiver] += sender.out
            sender.out = b""
        ready = [end for end, wire in wires.items() if end.want and len(wire) >= end.want]
        if not ready:
            return
        for end in ready:
            data, wires[end] = wires[end][: end.want], wires[end][end.want :]
            end.feed(data)
            if end.proved and end.decides and not end.chosen:
                end.choose(probe)


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("accepting", [(), (0,), (1,)], ids=["both connect", "lower accepts", "higher accepts"])
def test_honest_ends_agree(accepting: tuple[int, ...], probe: bool) -> None:
    ends = [end(proc) if proc in accepting else end(proc, 1 - proc, 3) for proc in (0, 1)]
    talk(*ends, probe)
    assert all(end.ready and end.proved and end.epoch == 3 for end in ends)
    assert [end.peer for end in ends] == [1, 0]
    assert ends[0].nonces == ends[1].nonces


@pytest.mark.parametrize(
    "stranger",
    [
        lambda: end(1, 0, 3, secret=b"another key"),
        lambda: end(1, 0, 3, job="another job"),
        lambda: end(1, 0, 4),
        lambda: end(2, 0, 3),
        lambda: end(1, 2, 3),
        lambda: end(0, 1, 3),
    ],
    ids=["key", "job", "epoch", "sender", "receiver", "reflected"],
)
def test_others_are_refused(stranger: object) -> None:
    assert callable(stranger)
    one, other = end(0, 1, 3), stranger()
    with pytest.raises(GreetingError):
        talk(one, other)
    assert not one.ready and not other.ready


def test_a_silent_listener_tells_strangers_nothing() -> None:
    listener = end(0)
    assert not listener.out
    with pytest.raises(GreetingError):
        listener.feed(bytes(HELLO_SIZE))
    assert not listener.out


def test_what_was_said_before_is_worthless() -> None:
    one, other = end(0, 1, 3), end(1, 0, 3)
    said = other.out
    one.feed(said)
    other.feed(one.out[:HELLO_SIZE])
    proof = other.out[HELLO_SIZE:]
    again = end(0, 1, 3)
    again.feed(said)  # the same hello, but this end's nonce is new
    with pytest.raises(GreetingError):
        again.feed(proof)


@settings(max_examples=200)
@given(st.data())
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    one, other = end(0, 1, 3), end(1, 0, 3)
    stage = data.draw(st.sampled_from(["hello", "proof", "choice"]))
    size = HELLO_SIZE if stage == "hello" else 32
    at, mask = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, 255))

    def changed(said: bytes) -> bytes:
        return said[:at] + bytes([said[at] ^ mask]) + said[at + 1 :]

    hellos = one.out, other.out
    one.out = other.out = b""
    with pytest.raises(GreetingError):
        other.feed(changed(hellos[0]) if stage == "hello" else hellos[0])
        one.feed(hellos[1])
        proofs = one.out, other.out
        one.out = other.out = b""
        other.feed(changed(proofs[0]) if stage == "proof" else proofs[0])
        one.feed(proofs[1])
        one.choose(False)
        other.feed(changed(one.out))
    assert not other.ready


@given(st.binary(min_size=HELLO_SIZE, max_size=HELLO_SIZE))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert Greeting.claim(data) is None or data.startswith(b"FMI-MEET")
    with pytest.raises(GreetingError):
        end(0).feed(data)


def test_a_path_that_changes_data_is_noticed() -> None:
    one, other = end(0, 1, 3), end(1, 0, 3)
    noise = bytearray()
    for _ in range(2):
        hellos = one.out, other.out
        one.out = other.out = b""
        one.feed(hellos[1][: one.want])
        other.feed(hellos[0][: other.want])
    one.choose(True)
    other.feed(one.out[:32])
    noise += one.out[32:]
    assert len(noise) == other.want == PROBE_SIZE
    noise[70_000] ^= 1
    with pytest.raises(GreetingError, match="changes what is sent"):
        other.feed(bytes(noise))
