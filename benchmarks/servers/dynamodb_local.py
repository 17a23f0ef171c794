"""DynamoDB Local on loopback: it listens on every address, so it runs in a network namespace of its own.

``python dynamodb_local.py PORT JAR_DIRECTORY DATA_DIRECTORY`` forwards to it from that port of 127.0.0.1; without
arguments this only tells, by its exit code, whether such a namespace can be made.
"""

from __future__ import annotations

import ctypes
import fcntl
import selectors
import socket
import struct
import subprocess
import sys
import threading

_NEW_USER, _NEW_NET = 0x1000_0000, 0x4000_0000
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1


def _enter_namespace() -> None:
    """Leave for a network namespace with nothing but loopback; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NET) and libc.unshare(_NEW_USER | _NEW_NET):
        raise OSError(ctypes.get_errno(), "no network namespace can be made")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0)))[1]
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


def _forward(near: socket.socket, inner: int) -> None:
    try:
        far = socket.create_connection(("127.0.0.1", inner))
    except OSError:
        near.close()
        return
    with near, far, selectors.DefaultSelector() as selector:
        for sock, other in ((near, far), (far, near)):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(sock, selectors.EVENT_READ, other)
        try:
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
        except OSError:
            return


def _serve(port: str, jar: str, directory: str) -> None:
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    _enter_namespace()
    options = "-Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.library.path=DynamoDBLocal_lib"
    command = ["java", *options.split(), "-jar", "DynamoDBLocal.jar", "-port", port, "-sharedDb", "-dbPath", directory]
    subprocess.Popen(command, cwd=jar)
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_forward, args=(near, int(port)), daemon=True).start()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve(*sys.argv[1:])
    else:
        _enter_namespace()
