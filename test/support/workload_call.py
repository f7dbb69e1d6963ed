"""One call of the Workload API over a socket that is already connected, byte by byte: for programs that must do nothing else."""

import socket

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


def opening() -> bytes:
    """RFC 9113: the preface and empty settings."""
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


def call(stream: int) -> bytes:
    """A request with an empty message."""
    return frame(1, 4, stream, HEADERS) + frame(0, 1, stream, bytes(5))


def connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def ask(connection: socket.socket, seconds: float = 1.5) -> bytes:
    """What is answered in that time."""
    try:
        connection.sendall(opening() + call(1))
    except ConnectionError:
        # Turned away before a word was said.
        return b""
    return answer(connection, seconds)


def answer(connection: socket.socket, seconds: float) -> bytes:
    connection.settimeout(seconds)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
            # Trailers, or an SVID with all that belongs to it.
            if has_ended(received):
                break
    except (TimeoutError, ConnectionError):
        pass
    return received


def has_ended(received: bytes) -> bool:
    at = 0
    while at + 9 <= len(received):
        length = int.from_bytes(received[at : at + 3], "big")
        kind, flags = received[at + 3], received[at + 4]
        stream = int.from_bytes(received[at + 5 : at + 9], "big")
        at += 9 + length
        if stream == 1 and at <= len(received) and (kind == 0 or (kind == 1 and flags & 1)):
            return True
    return False
