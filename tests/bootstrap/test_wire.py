"""Control frames: any cut of the bytes gives the same messages, and nothing malformed gets through."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmi_mpi.bootstrap.wire import Decoder, WireError, encode, proof

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
messages = st.lists(st.dictionaries(st.text(), values, max_size=3).map(lambda m: {**m, "type": "any"}), max_size=4)


@settings(max_examples=50, deadline=None)
@given(messages, st.lists(st.integers(0, 400)))
def test_cuts_do_not_matter(sent: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"".join(map(encode, sent))
    decoder = Decoder(1 << 20)
    received = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        decoder.feed(data[start:end])
        while (message := decoder.next()) is not None:
            received.append(message)
    assert received == sent


def test_limit_holds_before_the_body_comes_and_can_be_raised() -> None:
    decoder = Decoder(10)
    decoder.feed(struct.pack(">I", 11))
    with pytest.raises(WireError, match="11 bytes is longer than the 10 allowed"):
        decoder.next()
    decoder.limit = 11
    assert decoder.next() is None


@pytest.mark.parametrize("body", [b"", b"x", b"\xff", b"[]", b"1", b"{}", b'{"type": null}', b"[" * 100_000])
def test_malformed_bodies(body: bytes) -> None:
    decoder = Decoder(1 << 20)
    decoder.feed(struct.pack(">I", len(body)) + body)
    with pytest.raises(WireError):
        decoder.next()


def test_proof_depends_on_everything() -> None:
    base = (b"secret", "nonce", "job", 1)
    others = [
        (b"Secret", "nonce", "job", 1),
        (b"secret", "Nonce", "job", 1),
        (b"secret", "nonce", "Job", 1),
        (b"secret", "nonce", "job", 2),
    ]
    proofs = {proof(*arguments) for arguments in [base, *others]}
    assert len(proofs) == 5
    assert proof(*base) == proof(*base)
