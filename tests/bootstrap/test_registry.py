"""The rendezvous service's rules: no socket, no process, and a clock that the tests turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmi_mpi.bootstrap.messages import Message, decode, encode
from fmi_mpi.bootstrap.wire import WireError
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.messages import MessageError, read
from fmi_mpi.launch.rendezvous.registry import Registry

LIMITS = Limits(jobs=4, ranks=100, assembly=60.0, grace=5.0, remember=1000.0, idle=200.0, followers=2)


class Hall:
    """A service and its peers; ``said`` are the messages that each peer has got and not yet taken."""

    def __init__(self, secret: bytes = b"service") -> None:
        self.now = 1000.0
        self.said: dict[bytes, list[Message]] = {}
        self.registry = Registry(LIMITS, secret, self._post, lambda job, key, ranks: {"extra": 1}, lambda: self.now)
        self._count = 0

    def _post(self, peer: bytes, data: bytes) -> None:
        self.said.setdefault(peer, []).append(decode(data))

    def say(self, peer: bytes, kind: str, key: str = "key", **fields: Any) -> list[Message]:
        """Say something, and take what the peer gets."""
        self.registry.receive(peer, key, "192.0.2.1", encode({"type": kind, **fields}), self.now)
        return self.take(peer)

    def take(self, peer: bytes) -> list[Message]:
        return self.said.pop(peer, [])

    def claim(
        self, *ranks: int, key: str = "key", size: int = 3, job: str = "job", **more: Any
    ) -> tuple[bytes, Message]:
        """Claim over a new connection; the peer and the first answer."""
        self._count += 1
        peer = b"%d" % self._count
        fields = {"job": job, "size": size, "ranks": list(ranks), "ticket": "", "recover": False, "anew": False}
        fields |= {"merges": False}
        answers = self.say(peer, "claim", key, **(fields | more))
        self.said.setdefault(peer, []).extend(answers[1:])
        return peer, answers[0]

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.registry.tick(self.now)


def full(size: int = 3, **more: Any) -> tuple[Hall, list[bytes]]:
    """A job that is complete."""
    hall = Hall()
    peers = [hall.claim(rank, size=size, **more)[0] for rank in range(size)]
    for rank, peer in enumerate(peers):
        hall.say(peer, "publish", rank=rank, record={"at": rank})
    return hall, peers


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


def test_the_table_goes_out_once_when_all_have_published() -> None:
    hall = Hall()
    peers = [hall.claim(rank)[0] for rank in (2, 0, 1)]
    for peer, rank in zip(peers, (2, 0, 1)):
        assert not hall.said.get(peer)
        hall.say(peer, "publish", rank=rank, record={"at": rank})
    expected = {"type": "table", "records": [{"at": 0}, {"at": 1}, {"at": 2}]}
    assert [hall.take(peer) for peer in peers[:2]] == [[expected], [expected]]


def test_a_launcher_claims_several_ranks_and_gets_one_table() -> None:
    hall = Hall()
    launcher, welcome = hall.claim(0, 1)
    assert welcome["type"] == "welcome" and welcome["extra"] == 1
    other, _ = hall.claim(2)
    for peer, rank in ((launcher, 0), (other, 2), (launcher, 1)):
        answers = hall.say(peer, "publish", rank=rank, record={})
    assert kinds(answers) == ["table"] and kinds(hall.take(other)) == ["table"]


def test_the_first_claimant_keeps_a_rank() -> None:
    hall = Hall()
    hall.claim(1)
    assert hall.claim(1)[1] == {"type": "leave", "ranks": [1]}
    assert hall.claim(0, 1)[1] == {"type": "leave", "ranks": [1]}
    assert hall.claim(0)[1]["type"] == "welcome"


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"key": "other"}, "its secret is not that of job job"),
    ({"size": 4}, "says that job job has 4 ranks, but the job was begun with 3"),
    ({"job": "large", "size": 101}, "larger than the 100"),
]


@pytest.mark.parametrize(("claim", "reason"), REFUSALS)
def test_what_is_refused(claim: dict[str, Any], reason: str) -> None:
    hall = Hall()
    hall.claim(0)
    answer = hall.claim(1, **claim)[1]
    assert answer["type"] == "refuse" and reason in answer["reason"]


def test_a_rank_outside_of_the_job_is_refused() -> None:
    assert "rank 3 is not a rank of a job of 3" in Hall().claim(3)[1]["reason"]


def test_jobs_are_limited_and_ended_ones_make_room() -> None:
    hall, peers = full(job="first")
    for name in ("a", "b", "c"):
        hall.claim(0, job=name)
    assert "has 4 jobs already" in hall.claim(0, job="d")[1]["reason"]
    for rank, peer in enumerate(peers):
        hall.say(peer, "finalized", rank=rank)
    assert hall.claim(0, job="d")[1]["type"] == "welcome"


@pytest.mark.parametrize("kind", ["publish", "finalized", "failed", "abort", "signal", "lost", "output"])
def test_nobody_speaks_for_a_rank_of_another(kind: str) -> None:
    hall, peers = full()
    before = [hall.take(peer) for peer in peers]
    fields = {
        "rank": 1,
        "record": {},
        "code": 3,
        "message": "",
        "to": 2,
        "data": {},
        "final": True,
        "number": 1,
        "pieces": [[1, 1, "x"]],
        "last": False,
    }
    assert before and hall.say(peers[0], kind, **fields) == []
    assert hall.say(peers[1], kind, "another key", **fields) == [{"type": "unknown"}]
    assert hall.say(b"stranger", kind, **fields) == [{"type": "unknown"}]
    assert not any(hall.take(peer) for peer in peers)


ENDS: list[tuple[str, dict[str, Any], int, str]] = [
    ("abort", {"code": 7, "message": "no more"}, 7, "rank 1 called MPI_Abort(MPI_COMM_WORLD, 7): no more"),
    ("failed", {"code": 3}, 3, "rank 1 exited with code 3"),
    ("failed", {"code": 256}, 1, "rank 1 exited with code 1"),
    ("lost", {"code": 137, "message": "rank 1 was killed", "final": False}, 137, "rank 1 was killed"),
]


@pytest.mark.parametrize(("kind", "fields", "code", "text"), ENDS)
def test_the_first_failure_ends_the_job_and_is_told_to_all(
    kind: str, fields: dict[str, Any], code: int, text: str
) -> None:
    hall, peers = full()
    for peer in peers:
        hall.take(peer)
    answers = hall.say(peers[1], kind, rank=1, **fields)
    abort = {"type": "abort", "rank": 1, "code": code, "message": text}
    assert answers == [abort, {"type": "noted", "of": kind}]
    assert hall.take(peers[0]) == hall.take(peers[2]) == [abort]
    hall.say(peers[2], "failed", rank=2, code=9)
    assert hall.take(peers[0]) == []


def test_with_recovery_a_lost_rank_is_only_told() -> None:
    hall, peers = full(recover=True)
    hall.take(peers[0])
    hall.say(peers[1], "failed", rank=1, code=3)
    assert hall.take(peers[0]) == [{"type": "lost", "rank": 1, "message": "rank 1 exited with code 3"}]
    assert hall.claim(1, recover=True)[1]["type"] == "leave"


def test_a_connection_that_ends_is_waited_for_and_then_the_rank_is_lost() -> None:
    hall, peers = full()
    hall.take(peers[0])
    hall.registry.gone(peers[2], hall.now)
    hall.pass_time(4.9)
    assert hall.take(peers[0]) == []
    hall.pass_time(0.2)
    (news,) = hall.take(peers[0])
    assert (news["type"], news["rank"]) == ("abort", 2) and "rank 2 is gone" in news["message"]


def test_who_has_finalised_may_go() -> None:
    hall, peers = full()
    hall.say(peers[2], "finalized", rank=2)
    hall.take(peers[0])
    hall.registry.gone(peers[2], hall.now)
    hall.pass_time(100)
    assert hall.take(peers[0]) == []


def test_a_member_comes_back_with_its_ticket_only() -> None:
    hall = Hall()
    peer, welcome = hall.claim(0)
    hall.registry.gone(peer, hall.now)
    assert hall.claim(0)[1]["type"] == "leave"
    assert hall.claim(0, ticket=welcome["ticket"][:-1] + "x")[1]["type"] == "leave"
    assert hall.claim(0, ticket=welcome["ticket"])[1]["type"] == "welcome"
    hall.pass_time(100)
    assert hall.registry.job("job") is not None


def test_a_ticket_is_of_one_service_one_job_and_its_ranks() -> None:
    ticket = Hall().claim(0)[1]["ticket"]
    for other, more in ((Hall(b"another"), {}), (Hall(), {"job": "two"})):
        other.claim(0, **more)
        assert other.claim(0, ticket=ticket, **more)[1]["type"] == "leave"
    hall = Hall()
    hall.claim(0, 1)
    assert hall.claim(0, 1, ticket=ticket)[1]["type"] == "leave"


def test_a_service_that_was_started_again_rebuilds_a_job_from_what_its_members_say() -> None:
    before, peers = full()
    tickets = [before.registry._tickets.issue("job", "key", [rank], 900.0)[1] for rank in range(3)]
    hall = Hall()
    newcomer, _ = hall.claim(1)
    again = [hall.claim(rank, ticket=tickets[rank])[0] for rank in range(3)]
    assert hall.take(newcomer) == [{"type": "leave", "ranks": [1]}]
    for rank, peer in enumerate(again):
        answers = hall.say(peer, "publish", rank=rank, record={"at": rank})
    assert kinds(answers) == ["table"] and kinds(hall.take(again[0])) == ["table"]
    hall.pass_time(LIMITS.assembly + 1)
    assert hall.take(again[0]) == []
    assert peers


def test_a_job_that_does_not_come_together_ends_and_says_who_is_missing() -> None:
    hall = Hall()
    peer, _ = hall.claim(1)
    hall.say(peer, "publish", rank=1, record={})
    hall.pass_time(59)
    assert hall.say(peer, "who", rank=1) == [{"type": "missing", "rank": 1, "ranks": [0, 2]}]
    hall.pass_time(2)
    (news,) = hall.take(peer)
    assert news["type"] == "abort" and "missing: 0, 2 of 3" in news["message"]
    assert kinds(hall.take(hall.claim(0)[0])) == ["abort"]


def test_one_who_waits_is_told_of_a_rank_that_never_comes() -> None:
    hall = Hall()
    (launcher, _), (other, _) = hall.claim(0, 1), hall.claim(2)
    hall.say(other, "wait", rank=2)
    hall.say(launcher, "absent", rank=1)
    (news,) = hall.take(other)
    assert news["type"] == "incomplete" and "rank 1 exited without joining" in news["reason"]


def test_signals_go_to_the_rank_that_is_named() -> None:
    hall, peers = full()
    for peer in peers:
        hall.take(peer)
    hall.say(peers[0], "signal", rank=0, to=2, data={"x": 1})
    assert hall.take(peers[2]) == [{"type": "signal", "rank": 0, "to": 2, "data": {"x": 1}}]
    assert hall.take(peers[1]) == []


def test_followers_get_the_output_and_the_end() -> None:
    hall, peers = full()
    follower, welcome = hall.claim()
    assert welcome["type"] == "welcome"
    output = {"rank": 1, "number": 1, "pieces": [[1, 1, "hello\n"]], "last": False}
    hall.say(peers[1], "output", **output)
    hall.say(peers[1], "output", **(output | {"pieces": [[0, 1, "not of rank 0"]]}))
    for rank, peer in enumerate(peers):
        hall.say(peer, "finalized", rank=rank)
    assert hall.take(follower) == [
        {"type": "output", **output},
        {"type": "ended", "code": 0},
    ]
    assert hall.claim()[1]["type"] == "welcome"
    assert "followers" in hall.claim()[1]["reason"]


@pytest.mark.parametrize("first", [0, 1], ids=["rank 0 comes first", "rank 0 comes later"])
def test_output_goes_to_the_launcher_of_rank_0_which_answers(first: int) -> None:
    hall = Hall()
    claims = [(0,), (2, 1)]
    peers = {ranks[-1]: hall.claim(*ranks, merges=True)[0] for ranks in (claims[first], claims[1 - first])}
    assert hall.take(peers[0]) == [{"type": "sources", "ranks": [1]}]
    assert hall.take(peers[1]) == [{"type": "collector", "here": True}]
    output = {"rank": 1, "number": 1, "pieces": [[1, 1, "one\n"], [2, 2, "two\n"]], "last": True}
    hall.say(peers[1], "output", **output)
    assert hall.take(peers[0]) == [{"type": "output", **output}]
    hall.say(peers[0], "printed", rank=0, to=1, number=1)
    assert hall.take(peers[1]) == [{"type": "printed", "rank": 1, "number": 1}]
    hall.registry.gone(peers[0], hall.now)
    hall.pass_time(LIMITS.grace + 1)
    assert kinds(hall.take(peers[1])) == ["collector", "abort"]


def test_a_rank_0_without_a_launcher_prints_nothing_for_others() -> None:
    hall = Hall()
    launcher, _ = hall.claim(1, 2, merges=True)
    first, _ = hall.claim(0)
    assert hall.take(launcher) == [{"type": "collector", "here": False}]
    hall.say(launcher, "output", rank=1, number=1, pieces=[[1, 1, "x"]], last=False)
    assert hall.take(first) == []


def test_ended_jobs_are_remembered_for_a_while_and_idle_ones_forgotten() -> None:
    hall, peers = full()
    for rank, peer in enumerate(peers):
        hall.say(peer, "finalized", rank=rank)
        hall.registry.gone(peer, hall.now)
    hall.pass_time(900)
    assert hall.claim(0)[1]["type"] == "leave"
    hall.pass_time(200)
    assert hall.registry.job("job") is None
    ticket = hall.registry._tickets.issue("idle", "key", [0], 900.0)[1]
    peer, _ = hall.claim(0, job="idle", ticket=ticket)
    hall.say(peer, "finalized", rank=0)
    hall.pass_time(LIMITS.idle + 1)
    assert hall.registry.job("idle") is not None
    hall.registry.gone(peer, hall.now)
    hall.pass_time(1)
    hall.pass_time(LIMITS.idle + 1)
    assert hall.registry.job("idle") is None


def test_a_name_may_be_used_again_by_those_who_say_so() -> None:
    hall, peers = full()
    assert hall.claim(0, anew=True)[1]["type"] == "leave"
    for rank, peer in enumerate(peers):
        hall.say(peer, "finalized", rank=rank)
        hall.registry.gone(peer, hall.now)
    assert hall.claim(0, anew=False)[1]["type"] == "leave"
    assert hall.claim(0, anew=True)[1]["type"] == "welcome"
    assert hall.claim(1, anew=True)[1]["type"] == "welcome"
    assert hall.claim(1, anew=True)[1]["type"] == "leave"


def test_metrics_are_told_to_whoever_knows_the_service() -> None:
    hall, _ = full()
    (answer,) = hall.say(b"monitor", "metrics")
    assert "fmi_rendezvous_claims_total 3\n" in answer["text"] and "fmi_rendezvous_jobs 1\n" in answer["text"]


def test_nothing_secret_is_said() -> None:
    hall, peers = full()
    text = repr(hall.said) + repr(peers)
    assert "service" not in text


# -- bytes -----------------------------------------------------------------------------------------------------------

NAMES = (
    "claim",
    "publish",
    "wait",
    "who",
    "abort",
    "failed",
    "lost",
    "absent",
    "finalized",
    "signal",
    "output",
    "metrics",
)
FIELDS = (
    "job",
    "size",
    "ranks",
    "ticket",
    "recover",
    "anew",
    "rank",
    "record",
    "code",
    "message",
    "final",
    "to",
    "data",
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NEARLY: st.SearchStrategy[bytes] = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}).encode(),
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from((*FIELDS, "stream", "text")), VALUES, max_size=8),
)
VALID: dict[str, Callable[[], dict[str, Any]]] = {
    "claim": lambda: {
        "job": "job",
        "size": 3,
        "ranks": [2],
        "ticket": "1.a.b",
        "recover": False,
        "anew": False,
        "merges": True,
    },
    "signal": lambda: {"rank": 0, "to": 1, "data": {"x": [1]}},
    "lost": lambda: {"rank": 0, "code": 1, "message": "m", "final": True},
}


@pytest.mark.parametrize("kind", VALID)
def test_truncated_messages_are_none(kind: str) -> None:
    data = encode({"type": kind, **VALID[kind]()})
    assert read(data)["type"] == kind
    for length in range(len(data)):
        with pytest.raises(MessageError):
            read(data[:length])
    for name in VALID[kind]():
        fields = VALID[kind]()
        del fields[name]
        with pytest.raises(MessageError):
            read(encode({"type": kind, **fields}))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from([b"1", b"2", b"9"]), NEARLY | st.binary(max_size=200)), max_size=12))
def test_whatever_is_said_nothing_is_raised_and_other_jobs_go_on(messages: list[tuple[bytes, bytes]]) -> None:
    hall = Hall()
    attackers = [hall.claim(rank, key="evil", job="evil")[0] for rank in (0, 1)]
    peers = [hall.claim(rank)[0] for rank in range(3)]
    for peer, data in messages:
        hall.registry.receive(peer, "evil" if peer in attackers else "stranger", "192.0.2.2", data, hall.now)
        hall.registry.tick(hall.now)
    for peer in peers:
        assert hall.take(peer) == []
    for rank, peer in enumerate(peers):
        answers = hall.say(peer, "publish", rank=rank, record={})
    assert kinds(answers) == ["table"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_a_member_reads_what_the_service_sends_or_says_that_it_is_nothing(data: bytes) -> None:
    try:
        assert isinstance(decode(data)["type"], str)
    except WireError:
        pass


def test_long_messages_are_compressed_and_limited() -> None:
    message = {"type": "table", "records": [{"tcp": {"host": "10.0.0.1", "port": 7000}}] * 1000}
    data = encode(message, compress=True)
    assert len(data) < len(encode(message)) // 5 and decode(data) == message
    with pytest.raises(WireError):
        decode(data[:-10])
