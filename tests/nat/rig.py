"""Real NATs: network namespaces, nftables and veth pairs; nothing is attached to the host's own network.

Rules of this file:
- A rig is a public bridge (203.0.113.1) with routers (203.0.113.11 and on), each with a LAN of its own, whose hosts are one
  namespace each. Names begin with the rig's own prefix; ``close`` removes every trace.
- Routers drop connections that nobody inside has begun, as home and cloud NATs do.
- The meeting place is that of fmirun, whose control socket has a path, which namespaces do not hide, with a reflector on
  the bridge; or the rendezvous service on the bridge, where ranks go by themselves or with a launcher each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

__all__ = ["Rig", "obstacle"]

_KINDS = {
    "independent": "oifname wan masquerade",  # keeps the port: the same endpoint for everybody
    "symmetric": "oifname wan masquerade fully-random",  # another port for each destination
}
_RULES = """
table ip n {{
  chain post {{
    type nat hook postrouting priority 100
    {masquerade}
  }}
}}
table ip f {{
  chain inp {{
    type filter hook input priority 0
    iifname wan ct state new {unsolicited}
  }}
  chain forw {{
    type filter hook forward priority 0
    iifname wan ct state new drop
  }}
}}
"""
_REFLECTOR = """
import selectors
from fmi_mpi.launch.reflector import Reflector
selector = selectors.DefaultSelector()
reflector = Reflector(selector, "203.0.113.1")
print(*reflector.ports, flush=True)
while True:
    for key, _ in selector.select():
        key.data()
"""


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@cache
def obstacle() -> str:
    """Say why there can be no rig here; empty if there can."""
    missing = [tool for tool in ("ip", "nft", "sysctl") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt: iproute2, nftables, procps)"
    try:
        with Rig(["independent"]):
            return ""
    except (RuntimeError, OSError) as error:
        return f"network namespaces or NAT are not permitted here: {error}"


class Rig:
    """Routers and hosts.

    Args:
        kinds: of the routers: "independent" or "symmetric".
        hosts: the router of each host; by default each has its own.
        unsolicited: what the routers do with connections to themselves: "drop", or "accept", which answers RST.
        delay, loss: seconds one way, and the fraction of packets lost, of each router's public link.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        hosts: Sequence[int] | None = None,
        unsolicited: str = "drop",
        delay: float = 0.0,
        loss: float = 0.0,
    ) -> None:
        self._prefix = f"fmi{os.getpid() % 100000}"
        self._names: list[str] = []
        self.hosts = list(range(len(kinds)) if hosts is None else hosts)
        self._servers: list[subprocess.Popen[str]] = []
        self.reflectors = ""
        try:
            self._build(kinds, unsolicited, delay, loss)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down. Idempotent."""
        for server in self._servers:
            server.kill()
            server.communicate()
        self._servers.clear()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        self._names.clear()

    def reflect(self) -> None:
        """Start the reflector."""
        ports = self._serve(sys.executable, "-c", _REFLECTOR).readline().split()
        self.reflectors = ",".join(f"203.0.113.1:{port}" for port in ports)

    def redis(self) -> str:
        """Start a Redis server on the bridge and return its URL."""
        options = ["--bind", "203.0.113.1", "--port", "6379", "--protected-mode", "no", "--save", ""]
        said = self._serve("redis-server", *options)
        while "eady to accept connections" not in (line := said.readline()):
            if not line:
                raise RuntimeError("redis-server does not start")
        return "redis://203.0.113.1:6379"

    def rendezvous(self, *options: str) -> str:
        """Start a rendezvous service on the bridge and return its URL."""
        program = "import sys; from fmi_mpi.launch.tools import main; sys.exit(main())"
        where = ("--bind", "tcp://203.0.113.1:7600", "--host", "203.0.113.1")
        said = self._serve(sys.executable, "-c", program, "rendezvous", *where, *options).readline()
        return said.strip().removeprefix("FMI_RENDEZVOUS=")

    def stop(self) -> None:
        """Kill the server that was started last."""
        server = self._servers.pop()
        server.kill()
        server.communicate()

    def _serve(self, *command: str, inside: bool = True) -> IO[str]:
        """Start a server, on the bridge if it is to be ``inside``, and return what it writes."""
        full = [*(("ip", "netns", "exec", f"{self._prefix}-pub") if inside else ()), *command]
        server = subprocess.Popen(full, stdout=subprocess.PIPE, text=True)
        self._servers.append(server)
        assert server.stdout is not None
        return server.stdout

    def run(
        self,
        program: Sequence[str],
        env: Mapping[str, str] | None = None,
        timeout: float = 40,
        channels: str = "tcp",
    ) -> subprocess.Popen[str]:
        """Start a job with one rank on each host."""
        shell = f'exec ip netns exec {self._prefix}-h$FMI_JOB_RANK "$@"'
        command = [sys.executable, "-m", "fmi_mpi.launch", "-n", str(len(self.hosts)), "--channels", channels]
        command += ["--timeout", str(timeout), "sh", "-c", shell, "sh", sys.executable, *program]
        full = {**os.environ, "FMI_JOB_REFLECTORS": self.reflectors, **(env or {})}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=full)

    def join(
        self, program: Sequence[str], url: str, channels: str = "tcp", launched: bool = False, **variables: str
    ) -> list[subprocess.Popen[str]]:
        """Start a job with one rank on each host, all of which go to the rendezvous service at this URL.

        Args:
            launched: each by a launcher of its own.
        """
        size = str(len(self.hosts))
        identity = {"FMI_JOB_SECRET": "5e" * 32, "FMI_CHANNELS": channels, "FMI_JOIN_TIMEOUT": "50", **variables}
        ranks = []
        for rank in range(len(self.hosts)):
            command = [*self._inside(rank), sys.executable]
            env = {**os.environ, **identity}
            if launched:
                command += ["-m", "fmi_mpi.launch", "--rendezvous", url, "--job", "nat", "-n", size]
                command += ["--ranks", str(rank), sys.executable]
            else:
                env |= {"FMI_RENDEZVOUS": url, "FMI_JOB_ID": "nat", "FMI_JOB_SIZE": size, "FMI_JOB_RANK": str(rank)}
            ranks.append(
                subprocess.Popen(
                    [*command, *program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
                )
            )
        return ranks

    def _inside(self, host: int) -> list[str]:
        return ["ip", "netns", "exec", f"{self._prefix}-h{host}"]

    def lose_syns(self) -> None:
        """Lose every other SYN between the routers, from the first on."""
        rules = """
            table bridge syns {
              chain forw {
                type filter hook forward priority 0
                ether type ip tcp flags & (syn | ack) == syn numgen inc mod 2 0 drop
              }
            }
        """
        _run("ip", "netns", "exec", f"{self._prefix}-pub", "nft", "-f", "-", text=rules)

    def link(self, router: int, state: str, everything: bool = False) -> None:
        """Cut a router off from the others ("down"), or end that ("up"); nobody is told, packets just vanish.

        Args:
            everything: also from the servers on the bridge.
        """
        nft = ["ip", "netns", "exec", f"{self._prefix}-pub", "nft"]
        if state == "up":
            _run(*nft, "delete", "table", "bridge", "cut")
            return
        hooks: dict[str, tuple[str, ...]] = {"forward": ("iifname", "oifname")}
        if everything:
            hooks |= {"input": ("iifname",), "output": ("oifname",)}
        chains = [
            f"chain {hook} {{ type filter hook {hook} priority 0; "
            + "; ".join(f"{side} p{router} drop" for side in sides)
            + "; }"
            for hook, sides in hooks.items()
        ]
        _run(*nft, "-f", "-", text="table bridge cut {\n" + "\n".join(chains) + "\n}\n")

    def _space(self, name: str) -> str:
        full = f"{self._prefix}-{name}"
        _run("ip", "netns", "add", full)
        self._names.append(full)
        _run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def _build(self, kinds: Sequence[str], unsolicited: str, delay: float, loss: float) -> None:
        public = self._space("pub")
        batch = ["link add br0 type bridge", "addr add 203.0.113.1/24 dev br0", "link set br0 up"]
        slow: list[str] = []
        for number in range(len(kinds)):
            router = self._space(f"r{number}")
            if delay or loss:
                slow += [public, f"p{number}", router, "wan"]
            else:
                batch.append(f"link add p{number} type veth peer name wan netns {router}")
        if slow:
            script = str(Path(__file__).with_name("slow.py"))
            if self._serve(sys.executable, script, str(delay), str(loss), *slow, inside=False).readline() != "ready\n":
                raise RuntimeError("TAP devices are not permitted here")
        batch += [f"link set p{number} master br0 up" for number in range(len(kinds))]
        _run("ip", "-n", public, "-batch", "-", text="\n".join(batch))
        for number, kind in enumerate(kinds):
            self._route(number, kind, unsolicited)

    def _route(self, number: int, kind: str, unsolicited: str) -> None:
        router = f"{self._prefix}-r{number}"
        batch = [f"addr add 203.0.113.{11 + number}/24 dev wan", "link set wan up"]
        batch += ["link add lan type bridge", f"addr add 10.0.{number}.1/24 dev lan", "link set lan up"]
        inside = [host for host, at in enumerate(self.hosts) if at == number]
        for host in inside:
            self._space(f"h{host}")
            batch.append(f"link add l{host} type veth peer name eth0 netns {self._prefix}-h{host}")
            batch.append(f"link set l{host} master lan up")
        _run("ip", "-n", router, "-batch", "-", text="\n".join(batch))
        _run("ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = _RULES.format(masquerade=_KINDS[kind], unsolicited=unsolicited)
        _run("ip", "netns", "exec", router, "nft", "-f", "-", text=rules)
        for place, host in enumerate(inside):
            own = [f"addr add 10.0.{number}.{place + 2}/24 dev eth0", "link set eth0 up"]
            own.append(f"route add default via 10.0.{number}.1")
            _run("ip", "-n", f"{self._prefix}-h{host}", "-batch", "-", text="\n".join(own))
