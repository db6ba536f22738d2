"""Attacks on the web side of the running daemon, byte for byte: requests with two meanings, paths
that lead elsewhere, other sites' pages, secrets that might come out, names that are code."""

import contextlib
import gzip
import http.client
import io
import json
import os
import socket
import zipfile

import pytest

from conftest import PATIENCE, SANITIZED, Daemon, wait_until
from spool import picture
from test_access import ALWAYS, Near, add_token, add_user, visitor

CONFIG = "[camera:porch]\nkind = push\n[detection]\nenabled = no\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    d = Daemon(folder / "daemon", CONFIG, folder / "log")
    yield d
    assert d.stop() == 0


@pytest.fixture(scope="module")
def jpeg():
    return picture(1)


def push(d, jpeg, credential=None):
    """The id of a picture that is sent."""
    headers = {"Content-Type": "image/jpeg"}
    if credential:
        headers["Authorization"] = credential
    c = http.client.HTTPConnection("127.0.0.1", d.port, timeout=PATIENCE)
    with contextlib.closing(c):
        c.request("POST", "/api/v1/cameras/porch/snapshots", jpeg, headers)
        answer = c.getresponse()
        assert answer.status == 201
        return json.loads(answer.read())["id"]


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
    secrets = [right, wrong, form, form.replace("+", " "), new]
    wait_until(lambda: not memory_has(d, secrets), "the last request to be forgotten")


# ---- what a link, a cache and a log give away ----

def test_a_link_stands_in_no_log_however_it_is_written(launch, jpeg):
    d = launch.daemon(CONFIG, "--set", "app.log_level=debug")
    snapshot = push(d, jpeg)
    link = Near(d)("POST", f"/api/v1/snapshots/{snapshot}/link").json["url"]
    word = link.rsplit(".", 1)[1]
    for target in (link, "/%73" + link[2:], "http://localhost" + link, link + "?download=1",
                   link[:-4] + "".join(f"%{ord(c):x}" for c in link[-4:])):
        answer = raw(d, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                     .encode())
        assert statuses(answer) == [200], target
    d.wait_line(r"GET /s/\*\*\*: 200")
    assert d.stop() == 0
    assert word[:40] not in d.text()


def test_a_browser_asks_anew_for_what_a_link_or_a_login_showed(launch, jpeg):
    d = launch.daemon(CONFIG + ALWAYS)
    add_user(d, "anna")
    snapshot = push(d, jpeg, "Bearer " + add_token(d, "door", "--scopes", "push"))
    ask = Near(d)
    anna = visitor(ask, "anna")
    link = anna("POST", f"/api/v1/snapshots/{snapshot}/link").json["url"]
    shown = ask("GET", link)
    assert (shown.status, shown.headers["Cache-Control"]) == (200, "private, no-cache")
    assert ask("GET", link, If_None_Match=shown.headers["ETag"]).status == 304
    for path in ("/api/v1/snapshots", "/api/v1/status", "/api/v1/session", "/api/v1/users"):
        assert anna("GET", path).headers["Cache-Control"] == "no-store", path
    for path in ("image", "thumbnail"):
        assert "private" in anna("GET", f"/api/v1/snapshots/{snapshot}/{path}").headers[
            "Cache-Control"]
    assert anna("DELETE", f"/api/v1/snapshots/{snapshot}").status == 200
    for headers in ({}, {"If_None_Match": shown.headers["ETag"]}):
        gone = ask("GET", link, **headers)
        assert (gone.status, gone.code) == (404, "picture-gone"), "deleted is deleted, also by links"
    assert anna("POST", f"/api/v1/snapshots/{snapshot}/undelete").status == 200
    assert ask("GET", link).status == 200
    assert anna("POST", "/api/v1/logout").headers["Clear-Site-Data"] == '"cache"'


# ---- pages of others ----

@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_others_read_nothing_and_embed_nothing(shared, site):
    ask = Near(shared)
    for path in ("/api/v1/snapshots", "/api/v1/snapshots/count", "/api/v1/snapshots.zip",
                 "/api/v1/events", "/api/v1/cameras/porch/latest.jpg", "/metrics", "/", "/s/x"):
        for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("no-cors", "script"),
                           ("navigate", "iframe"), ("navigate", "object")):
            answer = ask("GET", path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest)
            assert (answer.status, answer.code) == (403, "cross-origin"), (path, mode)
    assert ask("GET", "/timeline", Accept="text/html", Sec_Fetch_Site=site,
               Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document").status == 200, "a link to us"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain",
                                  "multipart/form-data; boundary=x", "application/json", None])
@pytest.mark.parametrize("origin", ["null", "http://evil.test", "https://localhost.evil.test",
                                    "http://localhost:1", "http://127.0.0.1", "", "file://"])
def test_no_page_of_others_changes_anything(shared, kind, origin):
    kinds = {"Content-Type": kind} if kind else {}
    for method, path in (("POST", "/api/v1/login"), ("POST", "/api/v1/logout"),
                         ("POST", "/api/v1/users"), ("POST", "/api/v1/cameras/porch/trigger"),
                         ("POST", "/api/v1/cameras/porch/disable"), ("DELETE", "/api/v1/users/a"),
                         ("POST", "/api/v1/cameras/porch/snapshots")):
        answer = Near(shared)(method, path, {"user": "a", "password": "b"}, Origin=origin, **kinds)
        assert (answer.status, answer.code) == (403, "cross-origin"), path


def test_no_header_makes_one_method_another(shared):
    ask = Near(shared)
    for name in ("X_HTTP_Method_Override", "X_HTTP_Method", "X_Method_Override"):
        assert ask("GET", "/api/v1/cameras/porch/disable", **{name: "POST"}).status == 405
        assert ask("POST", "/api/v1/users/none", **{name: "DELETE"}).status == 400
    assert ask("GET", "/api/v1/users/none?_method=DELETE").status == 405
    assert "disable" not in shared.text()
    for method in ("TRACE", "CONNECT", "OPTIONS", "PUT", "PATCH", "get", "PROPFIND"):
        answer = ask(method, "/api/v1/snapshots")
        assert answer.status == 405 and "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("host, status", [
    ("evil.test", 403), ("localhost.evil.test", 403), ("127.0.0.1.evil.test", 403),
    ("evil.test:80", 403), ("localhost@evil.test", 400), ("localhost/evil", 400), ("", 400),
    ("[::1", 400), ("[::1]evil.test", 400), ("localhost:99999", 400), ("localhost, evil.test", 400),
    ("localhost", 200), ("LOCALHOST:8080", 200), ("127.0.0.1", 200), ("[::1]:1", 200),
])
def test_only_our_own_names_are_answered(shared, host, status):
    answer = raw(shared, f"GET /api/v1/cameras HTTP/1.1\r\nHost: {host}\r\nConnection: close"
                 "\r\n\r\n".encode())
    assert statuses(answer) == [status]


# ---- paths ----

UP = ["..", "%2e%2e", ".%2e", "..%2f..", "..%5c..", "..;", "%252e%252e", "....//", "%c0%ae%c0%ae",
      "..%00"]


@pytest.mark.parametrize("up", UP)
def test_no_path_leads_out(shared, up):
    for deep in (1, 4):
        climb = "/".join([up] * deep)
        for begin in ("", "/assets", "/assets/~1", "/s", "/api/v1/snapshots", "/api/v1/cameras",
                      "/api/v1/cameras/porch", "/api/v1/users", "/api/v1/tokens"):
            for end in ("etc/passwd", "etc%2fpasswd", "access.db", "snapshotd.db/image",
                        "test.conf/latest.jpg"):
                answer = raw(shared, f"GET {begin}/{climb}/{end} HTTP/1.1\r\nHost: localhost\r\n"
                             "Connection: close\r\n\r\n".encode())
                assert statuses(answer)[0] in (400, 404, 405), (begin, end)
                assert b"root:" not in answer and b"SQLite format" not in answer
                assert b"[camera:" not in answer


@pytest.mark.parametrize("query", [
    "limit=-1", "limit=0", "limit=99999999999999999999", "limit=1e3", "limit=0x10",
    "limit=5%00", "cursor=ffffffffffffffff-1", "cursor=-1-1", "cursor=1-0", "cursor=1-", "cursor=-",
    "cursor=%27%20OR%201=1--", "confidence=nan", "confidence=inf", "confidence=-0.1",
    "confidence=1e999", "from=99999999-01-01", "from=-1", "to=%F0%9F%92%A9", "person=2",
    "state=%27", "source=x", "order=random()", "camera=a&cam%65ra=b&limit=5&limit=6",
    "&".join(f"camera={i}" for i in range(17)), "&".join(f"a{i}=1" for i in range(40)),
    "q=" + "+".join(["a"] * 9), "q=" + "a" * 64, "x" * 5000])
def test_numbers_and_words_out_of_bounds_are_refused(shared, query):
    for path in ("snapshots", "snapshots/count", "snapshots/histogram", "snapshots.zip"):
        answer = Near(shared)("GET", f"/api/v1/{path}?{query}")
        assert answer.status in (400, 414), (path, answer.status, answer.body[:200])


@pytest.mark.parametrize("query", ["expires=0", "expires=-1", "expires=2592001", "expires=1.5",
                                   "expires=9223372036854775808", "annotated=2", "width=320"])
def test_links_are_bounded(shared, query):
    assert Near(shared)("POST", f"/api/v1/snapshots/{'0' * 32}/link?{query}").status == 400


# ---- secrets ----

SECRETS = """
[camera:yard]
kind = http
url = http://127.0.0.1:9/snap.jpg?pwd=canary-query-pass
user = canary-user
password = canary-url-pass
[camera:gate]
kind = foscam
address = 127.0.0.1:9
user = admin
password = canary-camera-pass
[rabbitmq]
server_address = 127.0.0.1:9
user = someone
password = canary-amqp-pass
[ftp]
enabled = yes
listen = 127.0.0.1:0
user = someone
password = canary-ftp-pass
[s3:nas]
bucket = b
endpoint = http://127.0.0.1:9
region = eu-central-1
access_key = someone
secret_key = canary-s3-key
[sentry]
dsn = http://canary-sentry-key@127.0.0.1:9/1
"""


def test_no_secret_comes_out_anywhere(launch):
    d = launch.daemon(CONFIG + SECRETS, "--set", "app.log_level=debug")
    ask = Near(d)
    said = {}
    for camera in ("yard", "gate"):
        said[camera] = ask("POST", f"/api/v1/cameras/{camera}/trigger?wait=5").body
    for path in ("/", "/api/v1/config", "/api/v1/status", "/api/v1/cameras", "/api/v1/cameras/yard",
                 "/api/v1/cameras/gate", "/api/v1/destinations", "/api/openapi.json", "/metrics",
                 "/readyz", "/healthz", "/api/v1/audit", "/api/v1/users", "/api/v1/tokens",
                 "/api/v1/session", "/api/v1/cameras/none", "/api/v1/snapshots?camera=yard"):
        said[path] = ask("GET", path).body
    events = raw_events(d)
    said["events"] = events
    shown = {s["name"] for s in json.loads(said["/api/v1/config"])["sections"]}
    assert {"camera", "rabbitmq", "ftp", "s3", "sentry"} <= shown
    assert d.stop() == 0
    said["log"] = d.text()
    for place, text in said.items():
        for canary in ("url-pass", "query-pass", "camera-pass", "amqp-pass", "ftp-pass", "s3-key",
                       "sentry-key"):
            assert f"canary-{canary}" not in text, (place, canary)


def raw_events(d):
    """What a listener hears within a second."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", d.port), timeout=1)) as s:
        s.sendall(b"GET /api/v1/events HTTP/1.0\r\n\r\n")
        heard = b""
        with contextlib.suppress(TimeoutError):
            while block := s.recv(65536):
                heard += block
        return heard.decode()


# ---- names of files, and bodies that are more than they seem ----

NAMES = ["../../../../etc/cron.d/x.jpg", "..\\..\\x.jpg", "/etc/x.jpg", "C:\\x.jpg", "..jpg", ".x.jpg",
         "<img src=x onerror=alert(1)>.jpg", "=cmd|' -1'!A0.jpg", "a\rSet-Cookie: b=c.jpg",
         "a\tb.jpg", "%2e%2e%2fx.jpg", "\u202egpj.exe.jpg", "a" * 300 + ".jpg", "x.jpg.html", "con.jpg",
         "%s%n.jpg", "$(id).jpg", "a;b.jpg", "\x1b[2J.jpg"]


def test_a_sent_name_leads_nowhere(launch, jpeg):
    d = launch.daemon(CONFIG)
    for n, name in enumerate(NAMES):
        form = (f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
                .encode() + jpeg + b"%d\r\n--x--\r\n" % n)
        status, _, body = d.request("/api/v1/cameras/porch/snapshots", "POST", data=form,
                                    headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert status == 201, (name, body)
    shots = d.snapshots()
    assert len(shots) == len(NAMES)
    store = (d.data / "store").resolve()
    for shot in shots:
        file = (store / shot["path"]).resolve()
        assert store in file.parents and file.is_file(), shot["path"]
        assert not shot["path"].startswith("/") and ".." not in shot["path"].split("/")
        assert "\\" not in shot["path"] and shot["path"].endswith(".jpg")
        assert not any(ord(c) < 32 or ord(c) == 127 for c in shot["path"])
        _, headers, body = d.request(f"/api/v1/snapshots/{shot['id']}/image")
        assert headers["Content-Type"] == "image/jpeg" and headers["Set-Cookie"] is None
        assert headers["X-Content-Type-Options"] == "nosniff" and body.startswith(jpeg)
    paths = {s["path"] for s in shots}
    names = zipfile.ZipFile(io.BytesIO(d.request("/api/v1/snapshots.zip")[2])).namelist()
    assert set(names) == paths | {"manifest.csv", "manifest.json"}
    assert "\x1b" not in d.text()


def test_nothing_is_unpacked(launch):
    d = launch.daemon(CONFIG)
    bomb = gzip.compress(b"\xff\xd8\xff" + bytes(50_000_000))
    for coding in ("gzip", "deflate", "br"):
        status, _, body = d.request("/api/v1/cameras/porch/snapshots", "POST", data=bomb,
                                    headers={"Content-Type": "image/jpeg", "Content-Encoding": coding})
        assert (status, json.loads(body)["error"]["code"]) == (422, "not-a-picture")
    many = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
                    for _ in range(20_000)) + b"--x--\r\n"
    status, _, body = d.request("/api/v1/cameras/porch/snapshots", "POST", data=many,
                                headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (status, json.loads(body)["error"]["code"]) == (422, "bad-form")
    deep = b"[" * 8000 + b"]" * 8000
    assert d.request("/api/v1/login", "POST", data=deep)[0] in (400, 413)
    assert d.request("/healthz")[0] == 200
