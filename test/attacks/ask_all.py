"""Many users ask for their SVIDs, many times at once; prints how many of the calls got one.

usage: ask_all.py SOCKET CONNECTIONS CALLS UID...

Each user has that many connections, and each connection that many calls.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from workload_call import call, connect, frame, opening  # noqa: E402

path, connections, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# The connection may carry all that comes.
unbounded = frame(8, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))


def served(connection) -> int:
    """How many calls got a message, once each has had an answer."""
    connection.settimeout(30)
    received, with_message, answered = b"", set(), set()
    while len(answered) < calls:
        try:
            piece = connection.recv(1 << 20)
        except TimeoutError:
            break
        if not piece:
            break
        received += piece
        while len(received) >= 9:
            length = int.from_bytes(received[:3], "big")
            if len(received) < 9 + length:
                break
            kind, flags = received[3], received[4]
            stream = int.from_bytes(received[5:9], "big")
            received = received[9 + length :]
            if kind == 0 and length > 5:
                with_message.add(stream)
                answered.add(stream)
            elif stream != 0 and (kind == 3 or (kind == 1 and flags & 1)):
                answered.add(stream)
    return len(with_message)


def ask_as(uid: int) -> int:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    opened = [connect(path) for _ in range(connections)]
    requests = opening() + unbounded + b"".join(call(2 * number + 1) for number in range(calls))
    for connection in opened:
        connection.sendall(requests)
    return sum(served(connection) for connection in opened)


results = []
for uid in map(int, sys.argv[4:]):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, str(ask_as(uid)).encode())
        os._exit(0)
    os.close(writing)
    results.append(reading)
print(sum(int(os.read(reading, 100) or 0) for reading in results))
