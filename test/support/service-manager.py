"""A service manager for tests: takes the datagrams of a service, keeps the file descriptors it stores, and starts it again with them.

    service-manager.py ADDRESS      a path, or @NAME for an abstract name

Each line of standard input is a command in JSON, each line of standard output an event:

    {"start": [program, argument, …], "environment": {…}, "log": "FILE"}    → {"event": "started", "pid": …}
    {"signal": NUMBER, "pid": …}
    {"show": true}                                                          → {"event": "store", "descriptors": [{name, size, seals}, …]}
    {"plant": "NAME", "base64": …, "sealed": true}                          puts a descriptor of that content into the store

besides {"event": "message", "pid": …, "lines": […], "descriptors": N} and {"event": "exited", "pid": …, "code": …}.
"""
import array
import base64
import fcntl
import json
import os
import selectors
import socket
import struct
import sys

F_ADD_SEALS, F_GET_SEALS, ALL_SEALS = 1033, 1034, 0xF

address = sys.argv[1]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
manager.bind("\0" + address[1:] if address.startswith("@") else address)
store = []
children = set()


def tell(**event):
    print(json.dumps(event), flush=True)


def receive():
    data, control, _flags, _peer = manager.recvmsg(65536, 4096)
    pid, descriptors = 0, array.array("i")
    for level, kind, value in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = struct.unpack("iii", value)[0]
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(value[: len(value) - len(value) % 4])
    lines = data.decode().split("\n")
    name = next((line[7:] for line in lines if line.startswith("FDNAME=")), "stored")
    if "FDSTORE=1" in lines:
        store.extend((name, descriptor) for descriptor in descriptors)
    else:
        # The program systemd-notify waits until a descriptor that it sends along is closed.
        for descriptor in descriptors:
            os.close(descriptor)
    if "FDSTOREREMOVE=1" in lines:
        for stored in [stored for stored in store if stored[0] == name]:
            os.close(stored[1])
            store.remove(stored)
    tell(event="message", pid=pid, lines=lines, descriptors=len(descriptors))


def start(command):
    pid = os.fork()
    if pid != 0:
        children.add(pid)
        return tell(event="started", pid=pid)
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # First out of the way, then to their places: a place may be taken by one that is still to be moved.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 100) for _name, descriptor in store]
    for place, descriptor in enumerate(moved, 3):
        os.dup2(descriptor, place)
    os.closerange(3 + len(moved), 4096)
    environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": address, **command.get("environment", {})}
    if store:
        environment["LISTEN_PID"] = str(os.getpid())
        environment["LISTEN_FDS"] = str(len(store))
        environment["LISTEN_FDNAMES"] = ":".join(name for name, _descriptor in store)
    os.execve(command["start"][0], command["start"], environment)


def show():
    found = []
    for name, descriptor in store:
        try:
            seals = fcntl.fcntl(descriptor, F_GET_SEALS)
        except OSError:
            seals = -1
        found.append({"name": name, "size": os.fstat(descriptor).st_size, "seals": seals})
    tell(event="store", descriptors=found)


def plant(command):
    descriptor = os.memfd_create("planted", os.MFD_ALLOW_SEALING)
    os.write(descriptor, base64.b64decode(command["base64"]))
    if command["sealed"]:
        fcntl.fcntl(descriptor, F_ADD_SEALS, ALL_SEALS)
    store.append((command["plant"], descriptor))


def obey(command):
    if "start" in command:
        start(command)
    elif "signal" in command:
        os.kill(command["pid"], command["signal"])
    elif "plant" in command:
        plant(command)
    else:
        show()


def reap():
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            tell(event="exited", pid=pid, code=os.waitstatus_to_exitcode(status))


events = selectors.DefaultSelector()
events.register(manager, selectors.EVENT_READ)
events.register(sys.stdin, selectors.EVENT_READ)
os.set_blocking(sys.stdin.fileno(), False)
rest = b""
tell(event="listening")
while True:
    for key, _mask in events.select(0.02):
        if key.fileobj is manager:
            receive()
            continue
        data = os.read(sys.stdin.fileno(), 1 << 20)
        if not data:
            for pid in children:
                os.kill(pid, 9)
            sys.exit(0)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            obey(json.loads(line))
    reap()
