"""torch.distributed on gloo with MPI's names for what the loops need; used only where torch is installed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

__all__ = ["COMM_WORLD", "SUM", "Request"]

SUM = dist.ReduceOp.SUM
_tensor = torch.from_numpy


class Request:
    @staticmethod
    def Waitall(requests: Iterable[Any]) -> None:
        for request in requests:
            request.wait()


class _Comm:
    def __init__(self) -> None:
        rank, size = int(os.environ["PEER_RANK"]), int(os.environ["PEER_SIZE"])
        host, port = socket.socket(fileno=os.dup(int(os.environ["PEER_FD"]))).getsockname()
        store = dist.TCPStore(
            host, port, size, rank == 0, master_listen_fd=int(os.environ["PEER_FD"]) if rank == 0 else None
        )
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size)

    def Get_rank(self) -> int:
        return dist.get_rank()

    def Get_size(self) -> int:
        return dist.get_world_size()

    def Send(self, data: np.ndarray, dest: int, tag: int) -> None:
        dist.send(_tensor(data), dest, tag=tag)

    def Recv(self, data: np.ndarray, source: int, tag: int) -> None:
        dist.recv(_tensor(data), source, tag=tag)

    def Isend(self, data: np.ndarray, dest: int, tag: int) -> Any:
        return torch.distributed.isend(_tensor(data), dest, tag=tag)

    def Irecv(self, data: np.ndarray, source: int, tag: int) -> Any:
        return dist.irecv(_tensor(data), source, tag=tag)

    def Barrier(self) -> None:
        dist.barrier()

    def Bcast(self, data: np.ndarray, root: int) -> None:
        dist.broadcast(_tensor(data), root)

    def Reduce(self, out: np.ndarray, into: np.ndarray | None, op: Any, root: int) -> None:
        dist.reduce(_tensor(out if into is None else into), root, op)

    def Allreduce(self, out: np.ndarray, into: np.ndarray) -> None:
        dist.all_reduce(_tensor(into))

    def Allgather(self, out: np.ndarray, into: np.ndarray) -> None:
        dist.all_gather(list(_tensor(into).chunk(self.Get_size())), _tensor(out))


COMM_WORLD = _Comm()
