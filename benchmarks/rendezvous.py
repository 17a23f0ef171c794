"""How long it takes until many ranks have registered with a rendezvous service and hold the table of all records.

    python -m benchmarks.rendezvous [RANKS]

The service runs in a process of its own; one process is all ranks, each with a connection and a CURVE handshake of its
own, so the figure is an upper bound: real ranks bring their own processors.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
import time

from fmi_mpi.bootstrap.place import parse
from fmi_mpi.bootstrap.session import Session

__all__ = ["measure"]

_SERVE = "import sys; from fmi_mpi.launch.tools import main; sys.exit(main(sys.argv[1:]))"
_RECORD = {
    "host": {"key": "5f0c1f6e-2f0d-4c64-a3a5-3b1f6c1f7a11/pid:[4026531836]"},
    "tcp": {"host": "192.0.2.17", "port": 41234},
}


def measure(ranks: int) -> tuple[float, float]:
    """Return seconds until all ranks are welcome, and until all have the table."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    command = [sys.executable, "-c", _SERVE, "rendezvous", "--bind", "tcp://127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            return _register(process.stdout.readline().strip().removeprefix("FMI_RENDEZVOUS="), ranks)
        finally:
            process.terminate()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _register(url: str, ranks: int) -> tuple[float, float]:
    secret = os.urandom(32)
    begin = time.perf_counter()
    poller = select.epoll()
    sessions = {}
    for rank in range(ranks):
        session = Session(parse(url), "many", ranks, [rank], secret)
        session.tell("publish", {"type": "publish", "rank": rank, "record": {**_RECORD, "rank": rank}})
        session.start(socket.AF_INET)
        sessions[session.fileno()] = session
        poller.register(session.fileno(), select.EPOLLIN)
    joined = tables = 0
    welcome = 0.0
    while tables < ranks:
        for fd, _ in poller.poll():
            for message in sessions[fd].receive():
                if message["type"] == "welcome":
                    joined += 1
                    welcome = time.perf_counter() - begin
                elif message["type"] == "table":
                    assert len(message["records"]) == ranks
                    tables += 1
                else:
                    raise AssertionError(message)
    end = time.perf_counter() - begin
    assert joined == ranks
    for session in sessions.values():
        session.close()
    return welcome, end


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    welcome, table = measure(number)
    print(f"{number} ranks: all welcome after {welcome:.2f} s, all have the table after {table:.2f} s", end="")
    print(f" ({table / number * 1e3:.2f} ms a rank)")
