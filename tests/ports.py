"""Ports of 127.0.0.1 for what a test starts, and for what it wants nobody to answer on."""

import contextlib
import functools
import pathlib
import random
import socket


def free_port():
    """Below the ports that the system gives to clients: one of those may be somebody else's before
    the server starts, and while it is down, a client that tries to reach it may even be given its
    port and connect to itself."""
    first_of_clients = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first_of_clients - 20000, first_of_clients)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


@functools.cache
def refusing():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s


def refusing_port():
    """Connections to it are refused, as long as this process lives: it is taken, and nobody listens."""
    return refusing().getsockname()[1]
