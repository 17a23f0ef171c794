"""One job as the service knows it: who has claimed which ranks, what they have published, how it ends.

Rules of this file:
- No sockets and no clock: ``post`` takes what is to be sent, times come in as arguments (seconds, monotonic).
- The first claimant of a rank keeps it; another is told to leave. A member whose connection has ended may come back
  with its ticket until ``limits.grace`` has passed; then its ranks are lost.
- The table of records goes out once to each member, in one message, when the last rank has published.
- The first failure decides how the job ends, and is told to all. With ``recover`` a lost rank is only told.
- What the ranks of launchers print goes to the launcher of rank 0, if one has started that, and to followers; it answers
  when it has printed it (``launch.merging``).
- A job that has ended is remembered, so that a late duplicate is told to leave and not taken for a new job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fmi_mpi.bootstrap.messages import Message, encode
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.metrics import Metrics
from fmi_mpi.launch.rendezvous.tickets import Moment

__all__ = ["Claim", "Job", "Post", "listed"]

Post = Callable[[bytes, bytes], None]
"""Send bytes to a peer."""

_NAMED = 20
_LATE = 30.0  # seconds after a failure during which those who come late are told of it


def listed(ranks: Iterable[int]) -> str:
    """Return ranks as words: the first ones, and how many more."""
    ordered = sorted(ranks)
    text = ", ".join(map(str, ordered[:_NAMED]))
    return text if len(ordered) <= _NAMED else f"{text} and {len(ordered) - _NAMED} more"


@dataclass(eq=False)
class Claim:
    """One member: a process that is some ranks, or a launcher that speaks for those it has started.

    ``peer`` is its connection, empty while it is away, then until ``away`` at most. ``merges``: it is a launcher, whose
    ranks' output is merged with that of others.
    """

    peer: bytes
    ranks: Sequence[int]
    moment: Moment
    merges: bool = False
    away: float = float("inf")


class Job:
    """A job; see the rules of this file.

    Args:
        name, size: of the job. key: what its members prove to hold (their CURVE public key).
        recover: a lost rank does not end it.
        deadline: when all ranks must have joined.
    """

    def __init__(
        self,
        name: str,
        key: str,
        size: int,
        recover: bool,
        deadline: float,
        limits: Limits,
        post: Post,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.key = key
        self.size = size
        self.ended: tuple[int, str] | None = None
        self.expires = float("inf")
        self._recover = recover
        self._limits = limits
        self._post = post
        self._metrics = metrics
        self._deadline = deadline
        self._claims: dict[int, Claim] = {}
        self._members: dict[bytes, Claim] = {}
        self._away: set[Claim] = set()
        self._followers: set[bytes] = set()
        self._records: dict[int, object] = {}
        self._finalized: set[int] = set()
        self._lost: set[int] = set()
        self._absent: set[int] = set()
        self._waiting: dict[int, bytes] = {}
        self._warned = False
        self._renewable = float("inf")

    # -- members -------------------------------------------------------------------------------------------------

    def taken(self, ranks: Iterable[int], moment: Moment | None) -> list[int]:
        """Return those ranks that an earlier claim than that of ``moment`` (None: one made now) has."""
        return [
            rank
            for rank in ranks
            if rank in self._claims and (moment is None or self._claims[rank].moment < moment or rank in self._lost)
        ]

    def join(self, peer: bytes, ranks: Sequence[int], moment: Moment, merges: bool = False) -> None:
        """Give these ranks, which are free or its own, to a member."""
        claim = Claim(peer, ranks, moment, merges)
        for former in {id(self._claims[rank]): self._claims[rank] for rank in ranks if rank in self._claims}.values():
            self._evict(former, same=former.moment == moment)
        self._claims.update(dict.fromkeys(ranks, claim))
        self._members[peer] = claim

    def follow(self, peer: bytes) -> bool:
        """Tell this peer from now on what is printed and how the job ends; False if too many want that."""
        if len(self._followers) >= self._limits.followers:
            return False
        self._followers.add(peer)
        return True

    def greet(self, peer: bytes) -> None:
        """Tell a peer that has just joined where output goes, and how the job has ended, if it has."""
        if peer in self._members:
            self._introduce(self._members[peer])
        if self.ended is None:
            return
        code, message = self.ended
        if code or message:
            self._tell([peer], {"type": "abort", "rank": -1, "code": code, "message": message})
        elif peer in self._followers:
            self._tell([peer], {"type": "ended", "code": 0})

    def _introduce(self, claim: Claim) -> None:
        """Tell launchers whether the launcher of rank 0 prints what their ranks do, and that one who they are."""
        first = self._claims.get(0)
        if claim is first:
            others = [other for other in self._members.values() if other.merges and other is not claim]
        else:
            others = [claim] if claim.merges else []
        if first is None or not others:
            return
        self._tell([other.peer for other in others], {"type": "collector", "here": first.merges})
        if first.merges and first.peer:
            self._tell([first.peer], {"type": "sources", "ranks": [min(other.ranks) for other in others]})

    def may_begin_anew(self, now: float) -> bool:
        """Tell whether another job may take the name: this one has ended, and nobody is on his way to it any more."""
        return now >= self._renewable and not self._members

    def _evict(self, claim: Claim, *, same: bool) -> None:
        """A member is replaced: by itself over a new connection, or by one with an older claim."""
        self._away.discard(claim)
        if claim.peer:
            self._members.pop(claim.peer, None)
            if not same:
                self._metrics["duplicates"] += 1
                self._tell([claim.peer], {"type": "leave", "ranks": list(claim.ranks)})
        for rank in claim.ranks:
            self._claims.pop(rank, None)
            self._waiting.pop(rank, None)

    def holds(self, peer: bytes, rank: int) -> bool:
        """Tell whether this member may speak for this rank."""
        claim = self._claims.get(rank)
        return claim is not None and claim.peer == peer

    def gone(self, peer: bytes, now: float) -> None:
        """A connection has ended; its member may come back for a while."""
        self._followers.discard(peer)
        claim = self._members.pop(peer, None)
        if claim is None:
            return
        claim.peer = b""
        claim.away = now + self._limits.grace
        self._away.add(claim)

    def connections(self) -> int:
        """Return how many connections belong to this job."""
        return len(self._members) + len(self._followers)

    # -- what members say ----------------------------------------------------------------------------------------

    def publish(self, peer: bytes, rank: int, record: object) -> None:
        """Keep a rank's record; the last one completes the table."""
        was_complete = len(self._records) == self.size
        self._records.setdefault(rank, record)
        if len(self._records) == self.size:
            self._tell([peer] if was_complete else self._members, {"type": "table", "records": self._table()})

    def _table(self) -> list[object]:
        return [self._records[rank] for rank in range(self.size)]

    def wait(self, peer: bytes, rank: int) -> None:
        """A rank waits for the table."""
        if len(self._records) < self.size:
            self._waiting[rank] = peer
            self._tell_waiting()

    def who(self, peer: bytes, rank: int) -> None:
        """A rank wants to know who is missing."""
        self._tell([peer], {"type": "missing", "rank": rank, "ranks": self.missing()})

    def missing(self) -> list[int]:
        """Return the ranks that have not published."""
        return sorted(set(range(self.size)) - set(self._records))

    def absent(self, rank: int) -> None:
        """A launcher says that a rank's process has ended without joining."""
        if rank not in self._records:
            self._absent.add(rank)
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Tell one who waits for the table that it never comes: its error ends the others."""
        if not self._absent or self._warned:
            return
        ranks = listed(self._absent)
        reason = f"rank {ranks} exited without joining; every rank must import MPI and start with the same job"
        for rank, peer in sorted(self._waiting.items()):
            if peer in self._members:
                self._warned = True
                message = {"type": "incomplete", "rank": rank, "ranks": sorted(self._absent), "reason": reason}
                self._tell([peer], message)
                return

    def finalize(self, rank: int, now: float) -> None:
        """A rank has finalised: its end is no failure from now on."""
        self._finalized.add(rank)
        if len(self._finalized | self._lost) == self.size and self.ended is None:
            self._metrics["finished"] += 1
            self._end(0, "", now)
            self._tell(self._followers, {"type": "ended", "code": 0})

    def lose(self, ranks: Sequence[int], code: int, message: str, now: float, *, final: bool = False) -> None:
        """These ranks have failed or are gone: tell the others, and end the job unless it is to go on without them."""
        if self.ended is not None:
            return
        fresh = [rank for rank in ranks if rank not in self._lost]
        self._lost.update(fresh)
        self._metrics["lost"] += len(fresh)
        if self._recover and not final:
            for rank in fresh:
                self._tell(self._everybody(), {"type": "lost", "rank": rank, "message": message})
                self.absent(rank)
            return
        self._metrics["aborted"] += 1
        self._end(code, message, now)
        first = ranks[0] if ranks else -1
        self._tell(self._everybody(), {"type": "abort", "rank": first, "code": code, "message": message})

    def signal(self, rank: int, to: int, data: object) -> None:
        """Carry a message to another rank, if it is here."""
        claim = self._claims.get(to)
        if claim is not None and claim.peer:
            self._metrics["signals"] += 1
            self._tell([claim.peer], {"type": "signal", "rank": rank, "to": to, "data": data})

    def output(self, peer: bytes, message: Message) -> None:
        """Carry what a launcher's ranks have printed to the launcher of rank 0, and to those who follow the job."""
        if not all(self.holds(peer, rank) for rank, _, _ in message["pieces"]):
            return
        self._metrics["pieces"] += len(message["pieces"])
        first = self._claims.get(0)
        collector = [first.peer] if first is not None and first.merges and first.peer else []
        self._tell([*collector, *self._followers], message)

    def printed(self, to: int, number: int) -> None:
        """Tell a launcher that the launcher of rank 0 has printed what it has sent."""
        claim = self._claims.get(to)
        if claim is not None and claim.peer:
            self._tell([claim.peer], {"type": "printed", "rank": to, "number": number})

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        for claim in [claim for claim in self._away if claim.away <= now]:
            self._away.discard(claim)
            if 0 in claim.ranks and claim.merges:
                launchers = [peer for peer, other in self._members.items() if other.merges]
                self._tell(launchers, {"type": "collector", "here": False})
            ranks = [rank for rank in claim.ranks if rank not in self._finalized]
            if ranks:
                self.lose(
                    ranks, 1, f"rank {listed(ranks)} is gone: its connection to the rendezvous service ended", now
                )
        if self.ended is None and now >= self._deadline and (missing := self.missing()):
            self._deadline = float("inf")
            text = f"not all ranks joined within {self._limits.assembly:g} s; missing: {listed(missing)} of {self.size}"
            self.lose([], 1, text, now, final=True)
        if self.ended is None:
            self.expires = float("inf") if self.connections() else min(self.expires, now + self._limits.idle)

    def due(self) -> float:
        """Return when ``tick`` should be called next."""
        waiting = [self._deadline] if self.ended is None and len(self._records) < self.size else []
        return min(waiting + [claim.away for claim in self._away] + [self.expires])

    def _end(self, code: int, message: str, now: float) -> None:
        self.ended = code, message
        self.expires = now + self._limits.remember
        self._renewable = now + _LATE if message else now
        self._away.clear()
        self._records.clear()

    def _everybody(self) -> list[bytes]:
        return [*self._members, *self._followers]

    def _tell(self, peers: Iterable[bytes], message: Message) -> None:
        data = encode(message, compress=True)
        for peer in list(peers):
            self._post(peer, data)
