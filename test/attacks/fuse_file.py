"""A file system of one file, served from memory: what a user can make with FUSE.

usage: fuse_file.py DIRECTORY FILE OTHER UID

Mounts itself at DIRECTORY on behalf of UID; the file `program` has the bytes of FILE, until a file DIRECTORY.switch exists: then
whoever opens it reads those of OTHER, under the same size and times. Says "mounted". Needs root, as fusermount has it.
"""

import ctypes
import os
import struct
import sys

directory, first, other, uid = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
contents = [open(name, "rb").read() for name in (first, other)]
size = max(map(len, contents))
contents = [content.ljust(size, b"\0") for content in contents]

device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode=40000,user_id={uid},group_id={uid},allow_other".encode()
if libc.mount(b"fuse", directory.encode(), b"fuse", 0, options) != 0:
    sys.exit(f"mount: errno {ctypes.get_errno()}")
print("mounted", flush=True)

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, ACCESS = 1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 34
ENOENT, ENOSYS = 2, 38


def attributes(node: int) -> bytes:
    mode, length = (0o40755, 0) if node == 1 else (0o100755, size)
    return struct.pack("<QQQQQQIIIIIIIIII", node, length, -(-length // 512), 1, 1, 1, 0, 0, 0, mode, 1, uid, uid, 0, 4096, 0)


def answer(kind: int, node: int, body: bytes):
    """The answer's body, or an error number."""
    if kind == INIT:
        return struct.pack("<IIIIHHIIHHIIHHIIII", 7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    if kind == LOOKUP:
        return struct.pack("<QQQQII", 2, 0, 0, 0, 0, 0) + attributes(2) if body == b"program\0" else ENOENT
    if kind == GETATTR:
        return struct.pack("<QII", 0, 0, 0) + attributes(node)
    if kind in (OPEN, OPENDIR):
        return struct.pack("<QII", 0, 0, 0)
    if kind == READ:
        _handle, offset, length = struct.unpack("<QQI", body[:20])
        content = contents[os.path.exists(f"{directory}.switch")]
        return content[offset : offset + length]
    if kind == STATFS:
        return bytes(80)
    return b"" if kind in (RELEASE, FLUSH, ACCESS) else ENOSYS


while True:
    request = os.read(device, 1 << 20)
    length, kind, unique, node = struct.unpack("<IIQQ", request[:24])
    if kind == FORGET:
        continue
    result = answer(kind, node, request[40:length])
    body, error = (b"", -result) if isinstance(result, int) else (result, 0)
    os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
