"""TLS in front of a server that has none, and at times not the TLS that it should be.

While `share` is above 0, that share of the handshakes fails, half of them cut in the middle, half with the
certificate of an authority that nobody trusts. `wrapper` starts a program that trusts the door's
own authority as if it were the system's, in a mount namespace of its own."""

import os
import random
import select
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from rabbit import Authority

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# After an answer a client that is silent for so long must shake hands again.
IDLE_S = 0.1


class TlsDoor:
    def __init__(self, folder, port, seed=1):
        if os.geteuid() != 0 or not os.path.exists(BUNDLE) or subprocess.run(
                ["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            pytest.skip("needs a mount namespace")
        self.to, self.share, self.handshakes, self.hits = port, 0, 0, 0
        self.random = random.Random(seed)
        trusted, stranger = (Authority(folder / name) for name in ("trusted", "stranger"))
        self.good, self.bad = (context(a) for a in (trusted, stranger))
        self.wrapper = ("unshare", "-m", "sh", "-c",
                        f'mount --bind "{trusted.ca}" {BUNDLE} && exec "$@"', "sh")
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.origin = f"https://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self.thread.join()
        self.socket.close()

    def _serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.handshakes += 1
            fault = self.random.choice(["cut", "stranger"]) if self.random.random() < self.share else None
            self.hits += fault is not None
            threading.Thread(target=self._answer, args=(client, fault), daemon=True).start()

    def _answer(self, client, fault):
        with client:
            client.settimeout(30)
            try:
                if fault == "cut":
                    client.recv(100)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                context = self.bad if fault else self.good
                with (context.wrap_socket(client, server_side=True) as outside,
                      socket.create_connection(("127.0.0.1", self.to)) as inside):
                    relay(outside, inside)
            except OSError:  # ssl.SSLError is one
                pass


def context(authority):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(*authority.sign("door", "IP:127.0.0.1"))
    return c


def relay(outside, inside):
    answered = False
    while True:
        ready = [outside] if outside.pending() else select.select(
            [outside, inside], [], [], IDLE_S if answered else 30)[0]
        if not ready:
            return
        for one in ready:
            data = one.recv(65536)
            if not data:
                return
            (inside if one is outside else outside).sendall(data)
            answered = one is inside
