"""A name server for one process: it answers, refuses or says nothing, as it is told."""

import os
import random
import socket
import struct
import subprocess
import threading

import pytest

PORT = 53  # the one that resolv.conf can name
ATTEMPTS = 20


class NameServer:
    """Knows each name under `.example` as 127.0.0.1. `mode` is "good", "silent", or "none", which
    is that no name exists. `asked` counts the questions. `wrapper` starts a program that asks
    here, in a mount namespace of its own."""

    def __init__(self, folder, options="", mode="good"):
        self.mode, self.asked = mode, 0
        self.heard = threading.Condition()
        self.socket, address = bound()
        resolv = folder / "resolv.conf"
        resolv.write_text(f"nameserver {address}\n" + (f"options {options}\n" if options else ""))
        self.wrapper = ("unshare", "-m", "sh", "-c",
                        f'mount --bind "{resolv}" /etc/resolv.conf && exec "$@"', "sh")
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A closed socket does not wake who waits on it: a word to it does.
        self.mode = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def wait_asked(self, count=1, patience=60):
        with self.heard:
            assert self.heard.wait_for(lambda: self.asked >= count, patience), "nobody asked"

    def _serve(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            if self.mode is None:
                return
            with self.heard:
                self.asked += 1
                self.heard.notify_all()
            if self.mode != "silent":
                self.socket.sendto(answer(question, self.mode), peer)


def bound():
    """(socket, address) at the port of name servers on an address of loopback."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True,
                                           check=False).returncode:
        pytest.skip("needs a mount namespace")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(ATTEMPTS):
        address = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            s.bind((address, PORT))
            return s, address
        except OSError:
            continue
    pytest.skip("port 53 is not free")


def answer(question, mode):
    """To a question as getaddrinfo() asks it: one name, of type A or AAAA."""
    end = question.index(b"\0", 12) + 5
    name, kind = question[12:end - 4], struct.unpack(">H", question[end - 4:end - 2])[0]
    known = mode == "good" and name.lower().endswith(b"\7example\0")
    found = known and kind == 1
    flags = 0x8180 if known else 0x8183  # 3: no such name
    records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + bytes([127, 0, 0, 1]) if found else b""
    return question[:2] + struct.pack(">HHHHH", flags, 1, int(found), 0, 0) + question[12:end] + records
