"""Attacks on the web side of the running daemon, byte for byte: requests with two meanings, paths
that lead elsewhere, other sites' pages, secrets that might come out, names that are code."""

import contextlib
import os
import socket

import pytest

from conftest import PATIENCE, SANITIZED, Daemon
from test_access import Near, add_token, add_user, command, visitor

CONFIG = "[camera:porch]\nkind = push\n[detection]\nenabled = no\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    d = Daemon(folder / "daemon", CONFIG, folder / "log")
    yield d
    assert d.stop() == 0


def raw(d, request):
    """All that comes back until the server closes, which it must do by itself."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", d.port),
                                                     timeout=PATIENCE)) as s:
        s.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while block := s.recv(65536):
                answer += block
        return answer


def statuses(answer):
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


# ---- two meanings ----

SMUGGLED = b"GET /api/v1/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED = b"0\r\n\r\n" + SMUGGLED


@pytest.mark.parametrize("headers, body", [
    ("Content-Length: %d\r\nTransfer-Encoding: chunked" % len(CHUNKED), CHUNKED),
    ("Transfer-Encoding: chunked\r\nContent-Length: %d" % len(CHUNKED), CHUNKED),
    ("Content-Length: 0\r\nContent-Length: %d" % len(SMUGGLED), SMUGGLED),
    ("Content-Length: %d\r\nContent-Length: 0" % len(SMUGGLED), SMUGGLED),
    ("Content-Length: 0\r\nContent-Length: 0", SMUGGLED),
    ("Content-Length: 0, %d" % len(SMUGGLED), SMUGGLED),
    ("Content-Length: +0", SMUGGLED),
    ("Content-Length: -1", SMUGGLED),
    ("Content-Length: 0x0", SMUGGLED),
    ("Content-Length: 18446744073709551616", SMUGGLED),
    ("Content-Length: ", SMUGGLED),
    ("Transfer-Encoding: xchunked", CHUNKED),
    ("Transfer-Encoding: identity", SMUGGLED),
    ("Transfer-Encoding: chunked, identity", CHUNKED),
    ("Transfer-Encoding: gzip, chunked", CHUNKED),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", CHUNKED),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", CHUNKED),
    ("Transfer-Encoding : chunked", CHUNKED),
    ("Transfer-Encoding:\x0bchunked", CHUNKED),
    ("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0x", CHUNKED),
])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_with_two_ends_is_one_and_refused(shared, method, headers, body):
    path = "/api/v1/session" if method == "GET" else "/api/v1/logout"
    answer = raw(shared, f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n"
                 .encode() + body)
    assert set(statuses(answer)) <= {400, 413}, answer


# ---- passwords ----

ALWAYS = "[web]\nlogin = always\n"


def memory_has(d, words):
    """Which of these stand somewhere in the daemon's memory."""
    found = set()
    with open(f"/proc/{d.child.pid}/maps") as maps, open(f"/proc/{d.child.pid}/mem", "rb") as mem:
        for line in maps:
            area, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            begin, end = (int(n, 16) for n in area.split("-"))
            with contextlib.suppress(OSError, ValueError):
                mem.seek(begin)
                block = mem.read(end - begin)
                found |= {w for w in words if w.encode() in block}
    return found


@pytest.mark.skipif(os.geteuid() != 0 or SANITIZED, reason="reads the memory of another process")
def test_no_password_stays_in_memory(launch):
    d = launch.daemon(CONFIG + ALWAYS)
    add_user(d, "anna", password="staple in the rain")
    right, wrong, form = "staple in the rain", "zebra-under-water", "walrus+above+clouds"
    new = "quiet-otter-at-noon"
    ask = Near(d)
    answer = ask("POST", "/api/v1/login", {"user": "anna", "password": right})
    assert answer.status == 200
    assert ask("POST", "/api/v1/login", {"user": "anna", "password": wrong}).status == 401
    assert raw(d, "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                  "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked"
                  f"\r\n\r\n16\r\nuser=anna&password=wal\r\n{len(form) - 3:x}\r\n{form[3:]}\r\n"
                  "0\r\n\r\n".encode()).startswith(b"HTTP/1.1 401")
    headers = {"Cookie": answer.headers["Set-Cookie"].split(";")[0],
               "X_CSRF_Token": answer.json["csrf"]}
    assert ask("POST", "/api/v1/password", {"password": right, "new": new}, **headers).status == 200
    assert ask("GET", "/healthz").status == 200
    assert memory_has(d, [right, wrong, form, form.replace("+", " "), new]) == set()
