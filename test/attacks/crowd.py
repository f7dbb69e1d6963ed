"""A user that takes up as much of the agent as it can: connections, each with as many calls as it may have.

usage: crowd.py SOCKET CONNECTIONS CALLS

Tries to open so many connections, makes so many calls on each, and sends no request. Then prints, once and again for each line that it is sent,
how many connections are open and how many of their calls were answered. Ends with its standard input.
"""

import json
import selectors
import socket
import struct
import sys
import time

QUIET = 0.5


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


HEADERS = (
    b"\x83\x86"
    + literal(b":path", b"/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets")
    + literal(b":authority", b"localhost")
    + literal(b"content-type", b"application/grpc")
    + literal(b"te", b"trailers")
)


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.received = b""
        self.answered = 0

    def call(self, count):
        calls = [frame(1, 4, 2 * n + 1, HEADERS) for n in range(count)]
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + b"".join(calls))

    def receive(self):
        """Whether it is still open."""
        chunk = self.socket.recv(65536)
        self.received += chunk
        while len(self.received) >= 9:
            end = 9 + int.from_bytes(self.received[:3], "big")
            if len(self.received) < end:
                break
            # Headers that end the stream.
            if self.received[3] == 1 and self.received[4] & 1:
                self.answered += 1
            self.received = self.received[end:]
        return chunk != b""


def main():
    path, connections, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    crowd = set()

    def listen(seconds):
        """Until nothing comes for so long. Whether standard input has something to say."""
        while events := selector.select(seconds):
            for key, _ in events:
                if key.data is None:
                    return True
                try:
                    is_open = key.data.receive()
                except OSError:
                    is_open = False
                if not is_open:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    crowd.discard(key.data)
        return False

    def tell():
        answered = sum(one.answered for one in crowd)
        print(json.dumps({"connections": len(crowd), "answered": answered}), flush=True)

    for _ in range(connections):
        try:
            one = Connection(path)
            one.call(calls)
        except OSError:
            time.sleep(0.001)
            continue
        crowd.add(one)
        selector.register(one.socket, selectors.EVENT_READ, one)
        listen(0)
    listen(QUIET)
    tell()
    while True:
        if listen(None):
            if sys.stdin.readline() == "":
                return
            tell()


main()
