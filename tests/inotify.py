"""What the kernel tells of files that nobody should touch."""

import ctypes
import os
import struct

ACCESS, MODIFY, ATTRIB, CLOSE_WRITE, OPEN = 0x1, 0x2, 0x4, 0x8, 0x20
MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
OVERFLOW = 0x4000
NAMES = {v: k.lower() for k, v in list(globals().items()) if k.isupper()}
ALL = sum(NAMES) - OVERFLOW
HEADER = struct.Struct("iIII")


class Eyes:
    """Watches these files and folders from now on; events() says in words what happened since, each
    thing once."""

    def __init__(self, *paths):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self.paths = {}
        for path in paths:
            wd = self.libc.inotify_add_watch(self.fd, os.fsencode(path), ALL)
            if wd < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
            self.paths[wd] = str(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def events(self):
        seen = set()
        while True:
            try:
                got = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return sorted(seen)
            while got:
                wd, mask, _, size = HEADER.unpack_from(got)
                name = got[HEADER.size:HEADER.size + size].rstrip(b"\0").decode(errors="replace")
                what = "+".join(text for bit, text in NAMES.items() if mask & bit)
                seen.add(f"{self.paths.get(wd, '')}{name and '/' + name}: {what}")
                got = got[HEADER.size + size:]
