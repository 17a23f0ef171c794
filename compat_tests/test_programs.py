"""Random programs: Hypothesis writes them, every rank sees the same ones, every implementation has to agree.

Rules of this file:
- examples are derandomized and not stored, so that all ranks draw the same; a failure anywhere fails everywhere;
- a program is data (what happens, in which order, on which ranks), and an oracle in plain Python says what comes out;
- only programs that the MPI standard lets end are drawn: each message has its receive, collectives come in one order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compat_tests.agreement import Agreement
from compat_tests.support import freeze, values

together = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
CODES = ("b", "i", "d", "F")
SIZES = st.sampled_from([0, 1, 2, 33, 1000, 9000, 70_000])


def on_each(implementations: dict[str, Any], agreement: Agreement, run: Callable[[Any], Any], expected: Any) -> None:
    """Run a program on every implementation, in agreement between ranks, and compare with the oracle."""
    for name, MPI in implementations.items():
        with agreement.step(naming(name)):
            assert freeze(run(MPI)) == freeze(expected), name


def naming(name: str) -> Callable[[BaseException], str]:
    """Return what describes an error on one implementation."""
    return lambda error: f"on {name}: {type(error).__name__}: {error}"


messages = st.lists(
    st.fixed_dictionaries(
        {
            "source": st.integers(0, 4),
            "dest": st.integers(0, 4),
            "tag": st.integers(0, 2),
            "size": SIZES,
            "code": st.sampled_from(CODES),
            "mode": st.sampled_from(["Isend", "Issend", "isend"]),
            "blocking": st.booleans(),
            "any source": st.booleans(),
        }
    ),
    max_size=12,
)


@together
@given(messages, st.randoms(use_true_random=False))
def test_messages(
    implementations: dict[str, Any], agreement: Agreement, plan: list[dict[str, Any]], random: Any
) -> None:
    """Messages of all kinds; receives in any order of tags and sources that keeps the order of equal ones."""
    size, rank = agreement.size, agreement.rank
    plan = [
        step | {"source": step["source"] % size, "dest": step["dest"] % size, "id": number}
        for number, step in enumerate(plan)
    ]
    lanes: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for step in plan:
        lanes.setdefault((step["source"], step["dest"], step["tag"]), []).append(step)
    order = [lane for lane, steps in lanes.items() for _ in steps]
    random.shuffle(order)
    heads = {lane: iter(steps) for lane, steps in lanes.items()}
    receives = [step for step in (next(heads[lane]) for lane in order) if step["dest"] == rank]

    def payload(step: dict[str, Any]) -> Any:
        return values(step["code"], step["size"], step["id"])

    def receive(MPI: Any, comm: Any, step: dict[str, Any]) -> Any:
        lonely = len({other["source"] for other in plan if (other["dest"], other["tag"]) == (rank, step["tag"])}) == 1
        source = MPI.ANY_SOURCE if step["any source"] and lonely else step["source"]
        if step["mode"] == "isend":
            return comm.recv(source=source, tag=step["tag"])
        target = np.zeros(step["size"], step["code"])
        if step["blocking"]:
            comm.Recv(target, source, step["tag"])
        else:
            comm.Irecv(target, source, step["tag"]).Wait()
        return target

    def run(MPI: Any) -> Any:
        comm = MPI.COMM_WORLD.Dup()
        sends = [
            getattr(comm, step["mode"])(payload(step), step["dest"], step["tag"])
            for step in plan
            if step["source"] == rank
        ]
        got = [receive(MPI, comm, step) for step in receives]
        MPI.Request.Waitall(sends)
        comm.Free()
        return got

    on_each(implementations, agreement, run, [payload(step) for step in receives])


NAMES = ("Bcast", "Allgather", "Allreduce", "Alltoall", "Reduce", "Scan", "Gather", "Scatter", "bcast", "allgather")
collectives = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(NAMES),
            "size": SIZES,
            "code": st.sampled_from(CODES),
            "root": st.integers(0, 4),
            "nonblocking": st.booleans(),
        }
    ),
    max_size=8,
)
splits = st.tuples(
    st.lists(st.integers(0, 2), min_size=5, max_size=5), st.lists(st.integers(-2, 2), min_size=5, max_size=5)
)


class Oracle:
    """What each collective gives to one member of a communicator, computed without communication."""

    def __init__(self, members: list[int], me: int) -> None:
        self.members = members
        self.me = me

    def source(self, step: dict[str, Any], member: int) -> Any:
        blocks = len(self.members) if step["name"] in ("Alltoall", "Scatter") else 1
        return values(step["code"], step["size"] * blocks, self.members[member])

    def result(self, step: dict[str, Any]) -> Any:
        name, count, root = step["name"], len(self.members), step["root"] % len(self.members)
        mine = slice(self.me * step["size"], (self.me + 1) * step["size"])
        everybody = [self.source(step, member) for member in range(count)]
        if name in ("Reduce", "Gather") and self.me != root:
            return None
        results: dict[str, Callable[[], Any]] = {
            "Bcast": lambda: everybody[root],
            "bcast": lambda: everybody[root],
            "Scatter": lambda: everybody[root][mine],
            "Gather": lambda: np.concatenate(everybody),
            "Allgather": lambda: np.concatenate(everybody),
            "allgather": lambda: everybody,
            "Alltoall": lambda: np.concatenate([one[mine] for one in everybody]),
            "Reduce": lambda: np.sum(everybody, axis=0, dtype=step["code"]),
            "Allreduce": lambda: np.sum(everybody, axis=0, dtype=step["code"]),
            "Scan": lambda: np.sum(everybody[: self.me + 1], axis=0, dtype=step["code"]),
        }
        return results[name]()


def perform(comm: Any, oracle: Oracle, step: dict[str, Any]) -> tuple[Any, Any]:
    """Start one collective and return its request (or None) and where the result is."""
    name, root = step["name"], step["root"] % comm.Get_size()
    source = oracle.source(step, oracle.me)
    if name in ("bcast", "allgather"):
        return None, getattr(comm, name)(source, *([root] if name == "bcast" else []))
    call = getattr(comm, f"I{name.lower()}" if step["nonblocking"] else name)
    if name == "Bcast":
        target = source if comm.Get_rank() == root else np.zeros_like(source)
        return call(target, root), target
    blocks = comm.Get_size() if name in ("Allgather", "Alltoall", "Gather") else 1
    at_root = name not in ("Reduce", "Gather") or comm.Get_rank() == root
    target = np.zeros(step["size"] * blocks, step["code"]) if at_root else None
    if name == "Scatter" and comm.Get_rank() != root:
        source = None
    return call(source, target, *([root] if name in ("Gather", "Scatter") else [])) if name != "Reduce" else call(
        source, target, root=root
    ), target


@together
@given(splits, collectives)
def test_collectives_on_splits(
    implementations: dict[str, Any],
    agreement: Agreement,
    split: tuple[list[int], list[int]],
    plan: list[dict[str, Any]],
) -> None:
    """A split of the world, then collectives on the parts, nonblocking ones overlapping until the end."""
    colors, keys = split[0][: agreement.size], split[1][: agreement.size]
    mine = [rank for rank in range(agreement.size) if colors[rank] == colors[agreement.rank]]
    members = sorted(mine, key=lambda rank: (keys[rank], rank))
    oracle = Oracle(members, members.index(agreement.rank))

    def run(MPI: Any) -> Any:
        comm = MPI.COMM_WORLD.Split(colors[agreement.rank], keys[agreement.rank])
        started = [perform(comm, oracle, step) for step in plan]
        MPI.Request.Waitall([request for request, _ in started if request is not None])
        place = comm.Get_rank(), comm.Get_size()
        comm.Free()
        return [place, *[target for _, target in started]]

    place = oracle.me, len(members)
    on_each(implementations, agreement, run, [place, *[oracle.result(step) for step in plan]])


shapes = st.recursive(
    st.sampled_from(["INT", "DOUBLE", "SHORT", "BYTE"]),
    lambda inner: st.one_of(
        st.tuples(st.just("contiguous"), st.integers(0, 3), inner),
        st.tuples(st.just("vector"), st.integers(0, 3), st.integers(0, 2), st.integers(1, 4), inner),
        st.tuples(st.just("indexed"), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=3), inner),
        st.tuples(st.just("struct"), st.lists(st.tuples(st.integers(0, 2), inner), min_size=1, max_size=3)),
        st.tuples(st.just("resized"), st.integers(1, 40), inner),
    ),
    max_leaves=4,
)


def build(MPI: Any, shape: Any) -> Any:
    """Make the datatype of a shape; structs place their parts one after another."""
    if isinstance(shape, str):
        return getattr(MPI, shape)
    kind, *args = shape
    if kind == "contiguous":
        return build(MPI, args[1]).Create_contiguous(args[0])
    if kind == "vector":
        return build(MPI, args[3]).Create_vector(*args[:3])
    if kind == "indexed":
        lengths, starts = [one[0] for one in args[0]], [one[1] for one in args[0]]
        return build(MPI, args[1]).Create_indexed(lengths, starts)
    if kind == "resized":
        return build(MPI, args[1]).Create_resized(0, args[0])
    parts = [build(MPI, inner) for _, inner in args[0]]
    places, at = [], 0
    for (count, _), part in zip(args[0], parts, strict=True):
        places.append(at)
        at += count * max(part.Get_extent()[1], part.Get_true_extent()[1]) + 8
    return MPI.Datatype.Create_struct([count for count, _ in args[0]], places, parts)


@together
@given(shapes, st.integers(0, 3))
def test_datatypes(implementations: dict[str, Any], agreement: Agreement, shape: Any, count: int) -> None:
    """Types of types: what a message to oneself carries, in bytes and back, and what the type says of itself."""
    results: dict[str, Any] = {}
    for name, MPI in implementations.items():
        with agreement.step(naming(name)):
            kind = build(MPI, shape).Dup().Commit()
            reach = kind.Get_true_extent()[0] + kind.Get_true_extent()[1] + 3 * abs(kind.Get_extent()[1]) + 64
            source, packed = values("B", reach, 1), bytearray(count * kind.Get_size())
            MPI.COMM_SELF.Sendrecv([source, count, kind], 0, 0, packed, 0, 0)
            results[name] = [kind.Get_size(), kind.Get_extent(), kind.Get_true_extent(), packed]
            if not overlaps(MPI, kind, count):
                target, status = np.zeros(reach, "B"), MPI.Status()
                MPI.COMM_SELF.Sendrecv(packed, 0, 0, [target, count, kind], 0, 0, status)
                again = bytearray(len(packed))
                MPI.COMM_SELF.Sendrecv([target, count, kind], 0, 0, again, 0, 0)
                assert again == packed
                results[name] += [target, status.Get_elements(MPI.BYTE)]
            kind.Free()
            first = next(iter(results.values()))
            assert freeze(results[name]) == freeze(first), f"{name} differs from {next(iter(results))}"


def overlaps(MPI: Any, kind: Any, count: int) -> bool:
    """Tell whether a message of this type touches a byte twice (then it may not be received)."""
    size = count * kind.Get_size()
    reach = kind.Get_true_extent()[0] + kind.Get_true_extent()[1] + 3 * abs(kind.Get_extent()[1]) + 64
    high = np.arange(reach)
    touched = []
    for shift in (0, 8, 16):  # send the address of every byte, eight bits at a time
        part = bytearray(size)
        MPI.COMM_SELF.Sendrecv([((high >> shift) & 255).astype("B"), count, kind], 0, 0, part, 0, 0)
        touched.append(np.frombuffer(part, "B").astype(int) << shift)
    return bool(len(np.unique(sum(touched))) < size)
