"""``fmi-mpi rendezvous``: the service where the ranks of jobs on several hosts meet."""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace

from fmi_mpi.bootstrap import place
from fmi_mpi.errors import ConfigError
from fmi_mpi.launch.process import raise_descriptor_limit
from fmi_mpi.launch.rendezvous import keyfile
from fmi_mpi.launch.rendezvous.limits import Limits
from fmi_mpi.launch.rendezvous.scrape import Scrape
from fmi_mpi.launch.rendezvous.server import Server

__all__ = ["add_arguments", "run"]

_DESCRIPTORS = 1 << 16
_LOOPBACK = "127.0.0.1"
_HELP = {
    "jobs": "jobs at once, ended ones that are remembered included",
    "ranks": "ranks of one job",
    "message": "bytes of one message",
    "followers": "launchers that follow one job",
    "assembly": "seconds for all ranks of a job to join",
    "grace": "seconds for a rank whose connection ended to come back",
    "remember": "seconds to remember an ended job",
    "idle": "seconds to keep a job without connections",
    "relay": "bytes that one job may send through the relay",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--bind", default="tcp://*:7600", metavar="ENDPOINT", help="where to listen; default %(default)s"
    )
    parser.add_argument(
        "--key-file", metavar="FILE", help="keep the service's key here, so that its URL stays the same"
    )
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="answer Prometheus here, on the loopback address"
    )
    parser.add_argument("--host", help="name or address under which ranks find this host; default: its own")
    for field in fields(Limits):
        parser.add_argument(
            f"--max-{field.name}" if field.type == "int" else f"--{field.name}",
            dest=f"limit_{field.name}",
            type=int if field.type == "int" else float,
            default=field.default,
            metavar="N" if field.type == "int" else "SECONDS",
            help=f"{_HELP[field.name]}; default %(default)s",
        )


def run(options: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    place.load_zmq()
    values = {field.name: getattr(options, f"limit_{field.name}") for field in fields(Limits)}
    for name, value in values.items():
        if value <= 0:
            raise ConfigError(f"--{name} {value}: expecting more than 0")
    if not options.bind.startswith("tcp://"):
        raise ConfigError(f"--bind {options.bind}: expecting tcp://address:port, such as tcp://*:7600")
    raise_descriptor_limit(_DESCRIPTORS)
    keys = keyfile.load(options.key_file) if options.key_file else keyfile.make()
    selector = selectors.DefaultSelector()
    server = Server(options.bind, keys, replace(Limits(), **values), selector)
    scrape = None
    try:
        if options.metrics_port is not None:
            scrape = Scrape(selector, _LOOPBACK, options.metrics_port, server.registry.metrics_text)
        where = server.place(options.host or _host(options.bind))
        signalled = _signalled(selector)  # before anybody knows that there is somebody to signal to
        print(f"FMI_RENDEZVOUS={where.url}", flush=True)
        _serve(server, selector, signalled)
    finally:
        if scrape is not None:
            scrape.close()
        server.close()
        selector.close()
    return 0


def _signalled(selector: selectors.BaseSelector) -> Callable[[], bool]:
    """Take the signals that end a service; return what tells whether one has come."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    seen: list[int] = []
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: seen.append(number))
    selector.register(reader, selectors.EVENT_READ, lambda: None)
    return lambda: bool(seen)


def _serve(server: Server, selector: selectors.BaseSelector, ended: Callable[[], bool]) -> None:
    while not ended():
        for key, _ in selector.select(max(0.0, server.due() - time.monotonic())):
            with contextlib.suppress(BrokenPipeError):
                key.data()
        server.serve()
    sys.stdout.flush()


def _host(bind: str) -> str:
    """Return the name or address that a place to listen at has for others."""
    host = bind.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return socket.gethostname() if host in ("*", "0.0.0.0", "::", "") else host
