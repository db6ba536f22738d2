"""The HTTP server of the running daemon: the pages, events as they happen, zip files, pictures by
POST, and clients that do everything wrong."""

import contextlib
import http.client
import io
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import threading
import time
import urllib.request
import zipfile

import pytest

import rabbit
from conftest import BINARY, PATIENCE, SANITIZED, books_agree, sha256, wait_until

OFF = "[detection]\nenabled = no\n"
PUSH = "[camera:porch]\nkind = push\n[camera:yard]\nkind = push\n"
PICTURES = "/api/v1/cameras/porch/snapshots"


def post(d, picture, query="", path=PICTURES, kind="image/jpeg"):
    """(status, document) of a picture that is sent."""
    c = http.client.HTTPConnection("127.0.0.1", d.port, timeout=PATIENCE)
    with contextlib.closing(c):
        c.request("POST", path + query, picture, {"Content-Type": kind})
        answer = c.getresponse()
        return answer.status, json.loads(answer.read())


def unlike(picture, number):
    """The same picture in other bytes: what stands behind the end mark is no part of it."""
    return picture + b"%d" % number


class Events:
    """An EventSource."""

    def __init__(self, d, query="", last_id=None):
        self.socket = socket.create_connection(("127.0.0.1", d.port), timeout=PATIENCE)
        header = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(f"GET /api/v1/events{query} HTTP/1.0\r\n{header}\r\n".encode())
        self.file = self.socket.makefile("rb")
        assert b" 200 " in self.file.readline()
        while self.file.readline().strip():
            pass
        self.last_id = None

    def next(self, *names):
        """(name, data, when it came) of the next event of these names."""
        name, data, end = None, "", time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, f"no event {' or '.join(names)}: only comments"
            line = self.file.readline()
            assert line, "the stream ended"
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "id":
                self.last_id = value
            elif field == "" and not value:
                if name and (not names or name in names):
                    return name, json.loads(data), time.monotonic()
                name, data = None, ""

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def picture(people):
    return people.read_bytes()


# ---- pictures by POST ----

def test_a_posted_picture_is_kept_once(launch, picture):
    d = launch.daemon(PUSH + OFF)
    query = "?event_at=2026-01-31T17:30:00Z"
    status, doc = post(d, picture, query)
    assert status == 201 and not doc["repeated"]
    stored = d.get(doc["links"]["self"])
    assert stored["source"] == "pushed" and stored["event_at"] == "2026-01-31T17:30:00.000Z"
    assert d.request(doc["links"]["image"])[2] == picture
    assert post(d, picture, query) == (200, {**doc, "repeated": True})
    other = post(d, picture, "?event_at=2026-01-31T17:30:01Z")[1]
    assert other["id"] != doc["id"]
    assert post(d, picture)[0] == post(d, picture)[0] == 201, "without a time each is a new one"
    assert books_agree(d, []) == 4


def test_forms_are_taken_as_curl_sends_them(launch, people, picture):
    d = launch.daemon(PUSH + OFF)
    done = subprocess.run(["curl", "-sS", "-F", "note=hello", "-F", f"file=@{people}",
                           f"http://127.0.0.1:{d.port}{PICTURES}?event_at=2026-01-31"],
                          capture_output=True, text=True, check=True)
    doc = json.loads(done.stdout)
    stored = d.get(doc["links"]["self"])
    assert stored["sha256"] == sha256(picture)
    assert stored["path"].endswith(people.name)


def test_what_is_no_picture_is_refused_with_its_reason(launch, picture):
    d = launch.daemon(PUSH + OFF + "[camera:off]\nkind = push\nenabled = no\n")
    cases = [
        (b"hello", PICTURES, "image/jpeg", 422, "not-a-picture"),
        (b"", PICTURES, "image/jpeg", 422, "not-a-picture"),
        (picture, PICTURES, "text/plain", 415, "not-a-picture"),
        (b"--x", PICTURES, "multipart/form-data; boundary=x", 422, "bad-form"),
        (picture, "/api/v1/cameras/nobody/snapshots", "image/jpeg", 404, "unknown-camera"),
        (picture, "/api/v1/cameras/off/snapshots", "image/jpeg", 409, "camera-disabled"),
    ]
    for body, path, kind, status, code in cases:
        got, doc = post(d, body, path=path, kind=kind)
        assert (got, doc["error"]["code"]) == (status, code), (path, kind, doc)
    assert books_agree(d, []) == 0
    with contextlib.closing(socket.create_connection(("127.0.0.1", d.port))) as s:
        s.sendall(f"POST {PICTURES} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
                  "Content-Length: 99999999\r\n\r\n".encode())
        assert b" 413 " in s.recv(100)


def test_a_full_disk_answers_507_and_keeps_nothing(launch, picture):
    d = launch.daemon(PUSH + OFF + "[store]\nreserve = 1TB\n")
    status, doc = post(d, picture)
    assert (status, doc["error"]["code"]) == (507, "disk-full"), doc
    assert books_agree(d, []) == 0


def test_what_was_answered_survives_a_kill(launch, picture):
    d = launch.daemon(PUSH + OFF)
    kept, stop = [], threading.Event()

    def send(number):
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                at = f"2026-01-31T00:{number // 60 % 60:02}:{number % 60:02}Z"
                status, doc = post(d, unlike(picture, number), f"?event_at={at}")
                if status == 201:
                    kept.append(doc["id"])
            number += 4

    senders = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for s in senders:
        s.start()
    wait_until(lambda: len(kept) > 40, "pictures")
    d.signal(signal.SIGKILL)
    stop.set()
    for s in senders:
        s.join()
    d.kill()
    launch.started.remove(d)
    d = launch.daemon(PUSH + OFF)
    rows = books_agree(d, [])
    ids = {s["id"] for s in d.snapshots()}
    assert rows >= len(kept) and (rows > 500 or set(kept) <= ids)


# ---- events ----

def test_listeners_hear_of_a_picture_as_it_happens(launch, picture, model):
    d = launch.daemon(PUSH + f"[detection]\nmodel = {model}\n")
    everything, yard = Events(d), Events(d, "?camera=yard")
    doc = post(d, picture)[1]
    _, stored, at = everything.next("snapshot")
    assert stored["id"] == doc["id"] and stored["verdict"] is None
    _, verdict, _ = everything.next("verdict")
    assert verdict["id"] == doc["id"] and verdict["verdict"]["persons"] >= 1
    sent = time.monotonic()
    assert d.request(f"/api/v1/snapshots/{doc['id']}/star", "POST")[0] == 200
    _, changed, at = everything.next("changed")
    while changed["what"] != "starred":
        _, changed, at = everything.next("changed")
    assert changed["id"] == doc["id"] and at - sent < 5, "bench/ has the speed"
    other = post(d, picture, path="/api/v1/cameras/yard/snapshots")[1]
    assert yard.next("snapshot")[1]["id"] == other["id"], "that of the other camera was not told"
    last = everything.last_id
    everything.close()
    third = post(d, unlike(picture, 3))[1]
    again = Events(d, last_id=last)
    ids = []
    while third["id"] not in ids:
        name, document, _ = again.next("snapshot", "reset")
        assert name != "reset"
        ids.append(document["id"])
    again.close()
    yard.close()


def test_an_old_place_is_told_to_load_anew(launch):
    d = launch.daemon(PUSH + OFF)
    late = Events(d, last_id="5f0c0ffee-17")
    assert late.next()[0] == "reset"
    late.close()


def test_a_camera_that_fails_is_told(launch, people):
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    d = launch.daemon(f"[camera:porch]\nkind = foscam\naddress = {sim.address}\nuser = admin\n"
                      "password = secret1234\n" + OFF)
    events = Events(d)
    d.trigger("porch", wait=30)
    assert events.next("camera")[1]["state"] == "ok"
    sim.stop()
    d.trigger("porch")
    name, camera, _ = events.next("camera")
    assert camera["name"] == "porch" and camera["state"] != "ok" and camera["last_error"]
    events.close()


# ---- zip files ----

def test_a_zip_file_has_the_pictures_of_a_filter(launch, picture):
    d = launch.daemon(PUSH + OFF)
    for i in range(30):
        assert post(d, unlike(picture, i), f"?event_at=2026-01-31T10:00:{i:02}Z")[0] == 201
    assert post(d, picture, path="/api/v1/cameras/yard/snapshots")[0] == 201
    status, headers, body = d.request("/api/v1/snapshots.zip?camera=porch&order=oldest")
    assert status == 200 and headers["Content-Type"] == "application/zip"
    z = zipfile.ZipFile(io.BytesIO(body))
    assert z.testzip() is None
    names = z.namelist()
    assert len(names) == 32 and names[-2:] == ["manifest.csv", "manifest.json"]
    assert [z.read(n) for n in names[:30]] == [unlike(picture, i) for i in range(30)]
    assert len(json.loads(z.read("manifest.json"))["snapshots"]) == 30
    threads = len(list(pathlib.Path(f"/proc/{d.child.pid}/task").iterdir()))
    wait_until(lambda: "export" not in [
        (t / "comm").read_text().strip()
        for t in pathlib.Path(f"/proc/{d.child.pid}/task").iterdir()], f"{threads} threads fewer")


def test_a_zip_file_is_left_half_way_without_trouble(launch, picture):
    d = launch.daemon(PUSH + OFF)
    for i in range(10):
        post(d, unlike(picture, i))
    for _ in range(5):
        with contextlib.closing(socket.create_connection(("127.0.0.1", d.port))) as s:
            s.sendall(b"GET /api/v1/snapshots.zip HTTP/1.0\r\n\r\n")
            s.recv(10000)
        wait_until(lambda: d.request("/api/v1/snapshots.zip", "HEAD")[0] == 200, "a place")
    assert d.request("/api/v1/snapshots.zip")[0] == 200


# ---- TLS ----

def peer_certificate(d):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", d.port), timeout=PATIENCE) as s, \
            context.wrap_socket(s) as t:
        return t.getpeercert(binary_form=True), t.version()


def test_tls_takes_a_new_certificate_at_a_reload(launch, tmp_path):
    authority = rabbit.Authority(tmp_path)
    cert, key = tmp_path / "now.pem", tmp_path / "now.key"

    def install(name):
        made = authority.sign(name, "DNS:localhost,IP:127.0.0.1")
        shutil.copy(made[0], cert)
        shutil.copy(made[1], key)

    install("first")
    d = launch.daemon(PUSH + OFF + f"[web]\ntls_cert_file = {cert}\ntls_key_file = {key}\n",
                      wait=False)
    d.port = int(d.wait_line(r"API on https://127\.0\.0\.1:(\d+)").group(1))
    d.wait_line(r"\[ready\]")
    first, version = peer_certificate(d)
    assert version == "TLSv1.3"
    context = ssl.create_default_context(cafile=authority.ca)
    with urllib.request.urlopen(f"https://localhost:{d.port}/readyz", context=context) as r:
        assert r.status == 200
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with urllib.request.urlopen(f"https://localhost:{d.port}/api/v1/status", context=context) as r:
        assert r.status == 200
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):
        with socket.create_connection(("127.0.0.1", d.port), timeout=PATIENCE) as s:
            old.wrap_socket(s)
    with pytest.raises((OSError, http.client.HTTPException)):
        d.request("/readyz")  # not without TLS

    install("second")
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]")
    wait_until(lambda: peer_certificate(d)[0] != first, "the new certificate")
    key.write_text("nonsense")
    d.signal(signal.SIGHUP)
    assert "certificate stays as it was" in d.wait_line(r".*\[reload-failed\]").group(0)
    assert peer_certificate(d)[0] != first
    with urllib.request.urlopen(f"https://localhost:{d.port}/readyz", context=context) as r:
        assert r.status == 200
    done = subprocess.run([BINARY, "status", "--url", f"https://127.0.0.1:{d.port}"],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0, "an address that was given is verified"


def test_a_key_of_another_certificate_is_refused(launch, tmp_path):
    authority = rabbit.Authority(tmp_path)
    cert = authority.sign("one", "DNS:localhost")[0]
    key = authority.sign("two", "DNS:localhost")[1]
    d = launch.daemon(PUSH + OFF + f"[web]\ntls_cert_file = {cert}\ntls_key_file = {key}\n",
                      wait=False)
    d.wait_line("is not that of the certificate")
    assert d.wait() != 0
    launch.started.remove(d)


# ---- the pages ----

def test_browsers_get_the_page_and_scripts_the_list(launch):
    d = launch.daemon(PUSH + OFF)
    for path in ("/", "/timeline", "/cameras/porch"):
        status, headers, body = d.request(path, headers={"Accept": "text/html"})
        assert status == 200 and b"<!doctype html>" in body.lower(), path
        assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert d.request("/")[1]["Content-Type"].startswith("text/plain")


# ---- clients that do everything wrong ----

def rss_kb(d):
    for line in pathlib.Path(f"/proc/{d.child.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def sent_ms(d, picture):
    """How long a picture takes, from the first byte to the 201."""
    at = time.monotonic()
    status, doc = post(d, picture)
    assert status == 201, doc
    return (time.monotonic() - at) * 1000


def metrics_of(d):
    return d.request("/metrics")[2].decode()


def number(metrics, name):
    return float(re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.MULTILINE)[1])


def test_idle_slow_and_deaf_clients_disturb_nobody(launch, picture):
    """500 connections that say nothing, and 50 that listen and never read. A second daemon that
    they leave alone is asked in turns: what else runs on this machine slows both."""
    d, alone = (launch.daemon(PUSH + OFF, name=name) for name in ("daemon", "alone"))
    for each in (d, alone):
        sent_ms(each, picture)
    memory = rss_kb(d)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.enter_context(contextlib.closing(s))
            s.connect(("127.0.0.1", d.port))
            s.sendall(b"GET /api/v1/events HTTP/1.0\r\n\r\n")
        wait_until(lambda: number(metrics_of(d), "snapshotd_http_streams") == 50, "50 to listen")
        for i in range(500):
            s = socket.create_connection(("127.0.0.1", d.port), timeout=PATIENCE)
            stack.enter_context(contextlib.closing(s))
            with contextlib.suppress(OSError):  # closed to make room for others
                s.sendall(b"" if i % 2 else b"GET / HTTP/1.1\r\nX: ")
        took = {d: [], alone: []}
        for i in range(60):
            for each, times in took.items():
                times.append(sent_ms(each, unlike(picture, i)))
        events = Events(d)
        post(d, unlike(picture, 5000))
        assert events.next("snapshot")
        events.close()
        grown = rss_kb(d) - memory
        wait_until(lambda: number(metrics_of(d), "snapshotd_http_streams") == 50,
                   "the same 50 to be left")
    beside, by_itself = (statistics.median(took[each]) for each in (d, alone))
    print(f"a picture: {by_itself:.1f} ms alone, {beside:.1f} ms beside them; {grown} kB more")
    assert beside < 3 * by_itself + 10
    if not SANITIZED:
        assert grown < 24 * 1024
    assert d.request("/healthz")[0] == 200


def test_a_body_that_dribbles_is_cut_off(launch, picture):
    d = launch.daemon(PUSH + OFF + "[web]\nrequest_timeout = 3s\n")
    with contextlib.closing(socket.create_connection(("127.0.0.1", d.port),
                                                     timeout=PATIENCE)) as s:
        s.sendall(f"POST {PICTURES} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
                  f"Content-Length: {len(picture)}\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for byte in picture:
                s.sendall(bytes([byte]))
                s.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    if s.recv(1) == b"":
                        break
        assert b"slow" in d.request("/metrics")[2]
    assert post(d, picture)[0] == 201
    assert books_agree(d, []) == 1


def test_stopping_ends_all_who_listen(launch, picture):
    d = launch.daemon(PUSH + OFF)
    listeners = [Events(d) for _ in range(10)]
    post(d, picture)
    assert d.stop() == 0
    for e in listeners:
        with contextlib.suppress(OSError):
            e.socket.recv(1 << 20)
        e.close()
