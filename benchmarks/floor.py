"""The floor: two processes and a plain socket, with as much of MPI's surface as the loops need, and no matching.

A message is a 64-byte header and the data, as in any framed protocol; a receiver polls a while before it blocks.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterable

import numpy as np

__all__ = ["COMM_WORLD", "Request"]

_SPIN = 1e-3  # seconds
_HEADER = bytes(64)


class Request:
    """What is done when it is waited for."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.wait = action

    @staticmethod
    def Waitall(requests: Iterable[Request]) -> None:
        for request in requests:
            request.wait()


class _Comm:
    def __init__(self) -> None:
        self._rank = int(os.environ["PEER_RANK"])
        listener = socket.socket(fileno=int(os.environ["PEER_FD"]))
        if self._rank == 0:
            self._socket, _ = listener.accept()
        else:
            self._socket = socket.create_connection(listener.getsockname())
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._header = memoryview(bytearray(64))
        self._token = np.zeros(1)

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return 2

    def Send(self, data: np.ndarray, dest: int = 0, tag: int = 0) -> None:
        view = memoryview(data).cast("B")
        done = self._socket.sendmsg((_HEADER, view)) - len(_HEADER)
        if done < len(view):
            self._socket.sendall(view[done:])

    def Recv(self, data: np.ndarray, source: int = 0, tag: int = 0) -> None:
        poll, end = self._poll.poll, 0.0
        while not poll(0):
            end = end or time.perf_counter() + _SPIN
            if time.perf_counter() > end:
                break
        view = memoryview(data).cast("B")
        got = self._socket.recvmsg_into((self._header, view))[0] - len(_HEADER)
        while got < len(view):
            got += self._socket.recv_into(view[got:])

    def Isend(self, data: np.ndarray, dest: int, tag: int) -> Request:
        self.Send(data)
        return Request(lambda: None)

    def Irecv(self, data: np.ndarray, source: int, tag: int) -> Request:
        return Request(lambda: self.Recv(data))

    def Barrier(self) -> None:
        self.Send(self._token)
        self.Recv(self._token)


COMM_WORLD = _Comm()
