"""Asks for its SVID many times at once, and waits for nothing.

usage: ask_often.py SOCKET CONNECTIONS CALLS

Each connection has that many calls. Says "asked", and stays until it is ended.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from workload_call import call, connect, opening  # noqa: E402

calls = b"".join(call(2 * number + 1) for number in range(int(sys.argv[3])))
connections = [connect(sys.argv[1]) for _ in range(int(sys.argv[2]))]
for connection in connections:
    connection.sendall(opening() + calls)
print("asked", flush=True)
signal.pause()
