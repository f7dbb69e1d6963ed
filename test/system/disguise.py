"""Connects to the Workload API as nobody, and lets a child ask for an SVID.

usage: disguise.py SOCKET [PROGRAM]

With a program, the process that connected runs it in its own place before the child asks. What the agent answers goes to standard output.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from workload_call import ask, connect  # noqa: E402

NOBODY = 65534

os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
connection = connect(sys.argv[1])
if os.fork() == 0:
    time.sleep(0.5)
    sys.stdout.buffer.write(ask(connection))
elif len(sys.argv) > 2:
    os.execv(sys.argv[2], [sys.argv[2], "3"])
else:
    os.wait()
