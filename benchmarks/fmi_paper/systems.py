"""Who is compared on a channel: fmi_mpi, FMI's ways, and FMI's ways with the best polling, all with the same server.

Rules of this file:
- A server is started when its channel is measured, and ends with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers import ROOT, Peer
from benchmarks.servers.dynamodb import CREDENTIALS, DynamoServer
from benchmarks.servers.dynamodb import KINDS as DYNAMODB_KINDS
from benchmarks.servers.redis import KINDS, RedisServer
from benchmarks.servers.s3 import S3Server

__all__ = ["CHANNELS", "FMI", "OURS", "TUNED", "systems"]

CHANNELS = ("shm", "tcp", "redis", "s3", "dynamodb")
OURS, FMI, TUNED = "fmi_mpi", "FMI", "tuned"
_WAYS = {"shm": (), "tcp": (FMI,)}
_BIN = ROOT / ".venv" / "bin"


@contextmanager
def systems(channel: str) -> Iterator[list[Peer]]:
    """Start the channel's server, and give what is compared on it."""
    with _server(channel) as (url, env):
        peers = [_peer(OURS, channel, "fmi_mpi", url, env)]
        for way in _WAYS.get(channel, (FMI, TUNED)):
            peers.append(_peer(way, channel, f"{way.lower()} {channel}", url, env))
        yield peers


def _peer(family: str, channel: str, module: str, url: str, env: dict[str, str]) -> Peer:
    launcher = (str(_BIN / "fmirun"), "--channels", url) if family == OURS else ()
    return Peer(family, channel, module, _BIN / "python", launcher, env, program="benchmarks.fmi_paper.rank")


@contextmanager
def _server(channel: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Give a channel's URL, and the variables by which it is reached."""
    if channel not in ("redis", "s3", "dynamodb"):
        yield channel, {}
        return
    server: RedisServer | S3Server | DynamoServer
    env: dict[str, str] = {}
    if channel == "redis":
        server = RedisServer(next(iter(KINDS)), "--appendonly", "no")
        url = server.url
    elif channel == "s3":
        server = S3Server()
        url, env = server.url("paper"), server.environment
    else:
        server = DynamoServer(DYNAMODB_KINDS[-1])
        url, env = _table(server)
    try:
        yield url, {**env, "PAPER_URL": url}
    finally:
        server.remove()


def _table(server: DynamoServer) -> tuple[str, dict[str, str]]:
    """Make a table; return its URL and how it is reached."""
    from fmi_mpi.channels.dynamodb import setup
    from fmi_mpi.config import Settings

    os.environ.update(CREDENTIALS)  # the SDK finds them there
    settings = {"FMI_CHANNELS": "dynamodb://paper", "FMI_AWS_ENDPOINT_URL": server.endpoint}
    setup(settings["FMI_CHANNELS"], Settings(settings))
    return settings["FMI_CHANNELS"], {**CREDENTIALS, "FMI_AWS_ENDPOINT_URL": server.endpoint}
