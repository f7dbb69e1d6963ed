"""A workload that asks for its SVID, and prints the first SPIFFE ID in the answer, or "nothing".

usage: ask.py SOCKET [COMMAND]

With a command, the shell runs it first.
"""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from workload_call import ask, connect  # noqa: E402

for command in sys.argv[2:]:
    subprocess.run(["/bin/sh", "-c", command], check=True)
received = ask(connect(sys.argv[1]), 30)
found = re.search(rb"spiffe://[a-z0-9./_-]+", received)
print(found[0].decode() if found else "nothing")
