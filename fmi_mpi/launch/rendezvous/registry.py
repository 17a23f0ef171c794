"""All jobs of the service and all connections to it: the rules, without sockets or clocks.

Rules of this file:
- A peer is one connection. zmq's CURVE handshake has proved which key it holds; a job's members hold a key pair made
  from the job's secret (``bootstrap.place``), so the service tells members from strangers and never learns a secret.
  A handshake cannot be replayed, and nothing that is not encrypted with its session key arrives here.
- The first claim of a job creates it, with the claimant's key; claims with another key are refused.
- Whatever a peer sends, nothing but its own job is touched, and nothing is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fmi_mpi.bootstrap.messages import Message, encode
from fmi_mpi.launch.rendezvous.job import Job, Post, listed
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.messages import MessageError, read
from fmi_mpi.launch.rendezvous.metrics import Metrics
from fmi_mpi.launch.rendezvous.tickets import Tickets

__all__ = ["Registry"]


class _Refused(Exception):
    """A claim cannot be granted; the text is for the user."""


class Registry:
    """The state of the service.

    Args:
        limits: quotas and deadlines.
        secret: the service's own, for tickets.
        post: sends bytes to a peer.
        welcome: (job, key, ranks) -> what a member is told besides its ticket.
        wall: the time of day in seconds since the epoch, for tickets.
    """

    def __init__(
        self,
        limits: Limits,
        secret: bytes,
        post: Post,
        welcome: Callable[[str, str, Sequence[int]], Message],
        wall: Callable[[], float],
    ) -> None:
        self.metrics = Metrics()
        self._limits = limits
        self._tickets = Tickets(secret)
        self._post = post
        self._welcome = welcome
        self._wall = wall
        self._jobs: dict[str, Job] = {}
        self._peers: dict[bytes, tuple[Job, str]] = {}

    def receive(self, peer: bytes, key: str, address: str, data: bytes, now: float) -> None:
        """Take a message.

        Args:
            key: that the peer has proved to hold. address: where it comes from.
        """
        self.metrics["messages"] += 1
        try:
            message = read(data)
        except MessageError as error:
            self.metrics["malformed"] += 1
            self._send(peer, {"type": "refuse", "reason": f"malformed message: {error}"})
            return
        if message["type"] == "metrics":
            self._send(peer, {"type": "metrics", "text": self.metrics_text()})
        elif message["type"] == "claim":
            self._claim(peer, key, address, message, now)
        else:
            job, owner = self._peers.get(peer, (None, ""))
            if job is None or owner != key:
                self._send(peer, {"type": "unknown"})
            elif message["rank"] == -1 or job.holds(peer, message["rank"]):
                self._say(job, peer, message, now)

    def gone(self, peer: bytes, now: float) -> None:
        """A connection has ended."""
        job, _ = self._peers.pop(peer, (None, ""))
        if job is not None:
            job.gone(peer, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for job in list(self._jobs.values()):
            job.tick(now)
            if job.expires <= now:
                self._forget(job)
                self.metrics["expired"] += 1

    def due(self) -> float:
        """Return when ``tick`` should be called next."""
        return min((job.due() for job in self._jobs.values()), default=float("inf"))

    def peers(self) -> list[bytes]:
        """Return all connections that belong to a job."""
        return list(self._peers)

    def job(self, name: str) -> Job | None:
        """Return the job of that name."""
        return self._jobs.get(name)

    def metrics_text(self) -> str:
        """Return all figures in Prometheus' text format."""
        running = sum(job.ended is None for job in self._jobs.values())
        return self.metrics.text(
            {
                "jobs": (running, "Jobs that have not ended."),
                "jobs_remembered": (len(self._jobs) - running, "Jobs that have ended and are remembered."),
                "connections": (len(self._peers), "Connections that belong to a job."),
            }
        )

    # -- claims --------------------------------------------------------------------------------------------------

    def _claim(self, peer: bytes, key: str, address: str, message: Message, now: float) -> None:
        name, ranks = message["job"], message["ranks"]
        moment = self._tickets.read(message["ticket"], name, key, ranks) if message["ticket"] else None
        try:
            if peer in self._peers:
                raise _Refused("it has claimed already; a connection claims once")
            job = self._job(key, message, now, returning=moment is not None)
            taken = job.taken(ranks, moment)
            if taken:
                self.metrics["duplicates"] += 1
                self._send(peer, {"type": "leave", "ranks": taken})
                return
            self._admit(job, peer, ranks)
        except _Refused as refusal:
            self.metrics["refused"] += 1
            self._send(peer, {"type": "refuse", "reason": str(refusal)})
            return
        ticket = message["ticket"]
        if moment is None:
            moment, ticket = self._tickets.issue(name, key, ranks, self._wall())
            self.metrics["claims"] += len(ranks)
        else:
            self.metrics["returned"] += 1
        self._peers[peer] = job, key
        if ranks:
            job.join(peer, ranks, moment, message["merges"])
        more = self._welcome(name, key, ranks)
        self._send(peer, {"type": "welcome", "ticket": ticket, "address": address, **more})
        job.greet(peer)

    def _admit(self, job: Job, peer: bytes, ranks: Sequence[int]) -> None:
        if not ranks and not job.follow(peer):
            raise _Refused(f"job {job.name} has {self._limits.followers} followers already")

    def _job(self, key: str, message: Message, now: float, *, returning: bool) -> Job:
        """Return the job that a claim is for, a new one if there is none; raises _Refused."""
        name, size, limits = message["job"], message["size"], self._limits
        if outside := [rank for rank in message["ranks"] if rank >= size]:
            raise _Refused(f"rank {listed(outside)} is not a rank of a job of {size}")
        job = self._jobs.get(name)
        if job is not None and job.key == key and message["anew"] and job.may_begin_anew(now):
            self._forget(job)
            job = None
        if job is None:
            if size > limits.ranks:
                raise _Refused(f"a job of {size} ranks is larger than the {limits.ranks} that this service allows")
            if len(self._jobs) >= limits.jobs and not self._make_room():
                raise _Refused(f"this service has {limits.jobs} jobs already")
            deadline = float("inf") if returning else now + limits.assembly
            job = Job(name, key, size, message["recover"], deadline, limits, self._post, self.metrics)
            self._jobs[name] = job
        if job.key != key:
            raise _Refused(f"its secret is not that of job {name}")
        if job.size != size:
            raise _Refused(f"it says that job {name} has {size} ranks, but the job was begun with {job.size}")
        return job

    def _make_room(self) -> bool:
        """Forget the ended job that would expire first; False if all run."""
        ended = [job for job in self._jobs.values() if job.ended is not None]
        if ended:
            self._forget(min(ended, key=lambda job: job.expires))
        return bool(ended)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.name]
        for peer in [peer for peer, (other, _) in self._peers.items() if other is job]:
            del self._peers[peer]

    # -- what members say ----------------------------------------------------------------------------------------

    def _say(self, job: Job, peer: bytes, message: Message, now: float) -> None:
        kind, rank = message["type"], message["rank"]
        if kind == "publish":
            job.publish(peer, rank, message["record"])
        elif kind == "wait":
            job.wait(peer, rank)
        elif kind == "who":
            job.who(peer, rank)
        elif kind == "finalized":
            job.finalize(rank, now)
        elif kind == "absent":
            job.absent(rank)
        elif kind == "signal":
            job.signal(rank, message["to"], message["data"])
        elif kind == "output":
            job.output(peer, message)
        elif kind == "printed":
            job.printed(message["to"], message["number"])
        else:
            self._fail(job, kind, message, now)
            self._send(peer, {"type": "noted", "of": kind})

    def _fail(self, job: Job, kind: str, message: dict[str, Any], now: float) -> None:
        rank, code = message["rank"], message["code"]
        ranks = [rank] if rank >= 0 else []
        if kind == "abort":
            reason = f": {message['message']}" if message["message"] else ""
            text = f"rank {rank} called MPI_Abort(MPI_COMM_WORLD, {code}){reason}"
            job.lose(ranks, code & 0xFF or int(code != 0), text, now, final=True)
        elif kind == "failed":
            job.lose(ranks, code & 0xFF or 1, f"rank {rank} exited with code {code & 0xFF or 1}", now)
        else:
            job.lose(ranks, code, message["message"], now, final=message["final"])

    def _send(self, peer: bytes, message: Message) -> None:
        self._post(peer, encode(message, compress=True))
