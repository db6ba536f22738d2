"""The faults of our Drive, seen from a client that speaks HTTP by hand."""

import concurrent.futures
import contextlib
import email.utils
import hashlib
import itertools
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest

import drive_rig
from conftest import wait_until
from fakes import faults
from fakes.drive import FOLDER, FakeDrive

JPEG = b"\xff\xd8picture\xff\xd9" * 1000
# What a broken connection looks like to http.client.
BROKEN = (ConnectionError, http.client.BadStatusLine, http.client.IncompleteRead)


class Client:
    """One connection with a login."""

    def __init__(self, drive, timeout=30):
        self.token = drive.issue()["access_token"]
        place = urllib.parse.urlsplit(drive.origin())
        self.http = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout)

    def call(self, method, path, body=None, **headers):
        """Status, headers and body."""
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        headers.setdefault("Authorization", f"Bearer {self.token}")
        try:
            self.http.request(method, path, body, headers)
            answer = self.http.getresponse()
            return answer.status, answer.headers, answer.read()
        except Exception:
            self.http.close()
            raise

    def upload(self, name="a.jpg", data=JPEG, **meta):
        body = (b"--B\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
                + json.dumps({"name": name, **meta}).encode()
                + b"\r\n--B\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n--B--\r\n")
        return self.call("POST", "/upload/drive/v3/files?uploadType=multipart", body,
                         Content_Type="multipart/related; boundary=B")

    def begin(self, size, name="a.jpg", **meta):
        """The path of a new session."""
        status, headers, _ = self.call(
            "POST", "/upload/drive/v3/files?uploadType=resumable",
            json.dumps({"name": name, **meta}).encode(), X_Upload_Content_Length=str(size))
        if status != 200:
            raise ValueError(f"no session: HTTP {status}")
        place = urllib.parse.urlsplit(headers["Location"])
        return f"{place.path}?{place.query}"

    def put(self, path, data, start, total):
        return self.call("PUT", path, data,
                         Content_Range=f"bytes {start}-{start + len(data) - 1}/{total}")

    def close(self):
        self.http.close()


@pytest.fixture
def drive():
    with FakeDrive() as d:
        yield d


@pytest.fixture
def client(drive):
    with contextlib.closing(Client(drive)) as c:
        yield c


def test_an_answer_can_be_lost_after_the_work(drive, client):
    for reset in (False, True):
        drive.fault("lost", where="upload", count=1, reset=reset)
        with pytest.raises(BROKEN):
            client.upload()
    assert len(drive.pictures()) == 2
    assert client.upload()[0] == 200
    assert [(r["status"], r["fault"]) for r in drive.requests()] == [
        (0, "lost"), (0, "lost"), (200, None)]


def test_the_work_can_be_done_late(drive, client):
    file_id = json.loads(client.call("GET", "/drive/v3/files/generateIds?count=1")[2])["ids"][0]
    drive.fault("late", where="upload", count=1, seconds=0.2)
    with pytest.raises(BROKEN):
        client.upload(id=file_id)
    assert drive.count()["late"] == 1
    assert client.call("GET", f"/drive/v3/files/{file_id}")[0] == 404  # and yet it comes
    wait_until(lambda: not drive.count()["late"], "the late work")
    assert client.call("GET", f"/drive/v3/files/{file_id}")[0] == 200
    assert client.upload(id=file_id)[0] == 409


def test_late_work_meets_what_has_happened_meanwhile(drive, client):
    file_id = json.loads(client.call("GET", "/drive/v3/files/generateIds?count=1")[2])["ids"][0]
    drive.fault("late", where="upload", count=1, seconds=0.2)
    with pytest.raises(BROKEN):
        client.upload(id=file_id)
    assert client.upload(id=file_id)[0] == 200
    wait_until(lambda: not drive.count()["late"], "the late work")
    assert [p["commits"] for p in drive.pictures()] == [1]


def test_an_answer_can_be_torn(drive, client):
    drive.fault("torn", where="upload")
    with pytest.raises(http.client.IncompleteRead):
        client.upload()
    assert len(drive.pictures()) == 1


def test_a_body_can_be_cut(drive, client):
    drive.fault("cut", where="upload", count=1)
    with pytest.raises(BROKEN):
        client.upload(data=JPEG * 100)
    assert drive.pictures() == []
    assert client.upload()[0] == 200


def test_a_client_that_goes_away_leaves_no_file(drive, client):
    client.http.connect()
    client.http.sock.sendall(b"POST /upload/drive/v3/files?uploadType=multipart HTTP/1.1\r\n"
                             b"Host: a\r\nContent-Length: 1000\r\n\r\n--B\r\n")
    client.close()
    wait_until(lambda: drive.requests(), "the request to be in the books")
    assert drive.requests()[0]["fault"] == "client went away"
    assert drive.files() == []


@pytest.mark.parametrize("when, left", [("before", 0), ("after", 1)])
def test_an_answer_can_never_come(drive, when, left):
    drive.fault("hang", where="upload", when=when)
    with contextlib.closing(Client(drive, timeout=0.2)) as client:
        with pytest.raises(TimeoutError):
            client.upload()
    assert len(drive.pictures()) == left


def test_a_connection_can_be_half_open(drive):
    drive.fault("half_open", where="upload")
    with contextlib.closing(Client(drive, timeout=0.2)) as client:
        with pytest.raises(TimeoutError):
            client.upload(data=JPEG * 1000)  # more than the kernel takes for nobody
    assert drive.pictures() == []


def test_an_answer_can_be_slow(drive, client):
    drive.fault("slow", where="about", rate=2000)
    start = time.monotonic()
    status, _, body = client.call("GET", "/drive/v3/about?fields=*")
    assert status == 200 and json.loads(body)
    assert time.monotonic() - start >= len(body) / 2000


def test_the_answer_time_is_kept(drive, client):
    drive.set(answer_ms=50)
    start = time.monotonic()
    for _ in range(4):
        assert client.upload()[0] == 200
    assert time.monotonic() - start >= 0.2
    drive.set(answer_ms=0)
    drive.fault("delay", where="upload", seconds=0.1)
    start = time.monotonic()
    client.upload()
    assert time.monotonic() - start >= 0.1


@pytest.mark.parametrize("form, content", [("html", "text/html"), ("empty", None),
                                           ("garbage", "application/json"),
                                           ("rpc", "application/json")])
def test_errors_have_several_forms(drive, client, form, content):
    drive.fault("error", where="upload", status=503, form=form)
    status, headers, body = client.upload()
    assert status == 503 and (headers["Content-Type"] or "").startswith(content or "")
    if form == "rpc":
        error = json.loads(body)["error"]
        assert (error["status"], error["details"][0]["reason"]) == ("UNAVAILABLE", "BACKEND_ERROR")
    elif form != "empty":
        with pytest.raises(ValueError):
            json.loads(body)
    else:
        assert body == b""
    assert drive.files() == []


def test_a_good_status_can_lie(drive, client):
    drive.fault("garbage", where="upload", count=1)
    status, _, body = client.upload()
    assert status == 200
    with pytest.raises(ValueError):
        json.loads(body)
    drive.fault("html", where="upload", status=200)
    assert client.upload()[:1] == (200,)
    assert len(drive.pictures()) == 1  # the proxy let nothing through


def test_an_error_can_come_after_the_work(drive, client):
    drive.fault("error", where="upload", status=500, when="after")
    assert client.upload()[0] == 500
    assert len(drive.pictures()) == 1


def test_retry_after_in_seconds_and_as_a_date(drive, client):
    drive.fault("error", where="upload", status=429, retry_after=7, count=1)
    assert client.upload()[1]["Retry-After"] == "7"
    drive.set(clock_offset_s=-7200)
    drive.fault("html", where="about", status=503, retry_after="date:30")
    _, headers, _ = client.call("GET", "/drive/v3/about?fields=*")
    dates = [email.utils.parsedate_to_datetime(headers[n]) for n in ("Retry-After", "Date")]
    assert 29 <= (dates[0] - dates[1]).total_seconds() <= 30
    assert 7100 < time.time() - dates[1].timestamp() < 7300


def test_content_can_be_damaged(drive, client):
    drive.fault("wrong_md5", where="upload", nth=1)
    drive.fault("wrong_size", where="upload", nth=2)
    for _ in range(3):
        client.upload()
    rows = drive.pictures()
    assert [r["damaged"] for r in rows] == [True, True, False]
    assert rows[0]["size"] == rows[2]["size"] > rows[1]["size"]
    assert len({r["md5Checksum"] for r in rows}) == 3


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_can_be_forgotten(drive, client, status):
    path = client.begin(len(JPEG))
    drive.fault("session_gone", where="chunk", status=status)
    assert client.put(path, JPEG, 0, len(JPEG))[0] == status
    drive.clear()
    assert client.put(path, JPEG, 0, len(JPEG))[0] == 404


def test_the_rules_of_a_session(drive, client):
    unit = 256 << 10
    data = bytes(3 * unit + 1)
    path = client.begin(len(data))

    def state():
        status, headers, _ = client.call("PUT", path, b"", Content_Range=f"bytes */{len(data)}")
        return status, headers["Range"]

    assert state() == (308, None)
    # What is no multiple is not kept.
    status, headers, _ = client.put(path, data[:unit + 5], 0, len(data))
    assert (status, headers["Range"]) == (308, f"bytes=0-{unit - 1}") and state()[0] == 308
    assert [o["what"] for o in drive.oddities()] == [f"a chunk of {unit + 5} bytes"]
    assert client.put(path, data[2 * unit:], 2 * unit, len(data))[0] == 503  # a gap
    for wrong in ("bytes 0-9", "bytes 9-0/100", "0-99/100", "bytes 0-9/5", "bytes 0-99/7777777",
                  "bytes x-y/100"):
        assert client.call("PUT", path, bytes(100), Content_Range=wrong)[0] == 400
    # An overlap is nothing bad.
    assert client.put(path, data[:2 * unit], 0, len(data))[1]["Range"] == f"bytes=0-{2 * unit - 1}"
    # A dead token does not kill the session.
    good, client.token = client.token, "ya29.none"
    assert client.put(path, data[2 * unit:], 2 * unit, len(data))[0] == 401
    client.token = good
    status, _, body = client.put(path, data[2 * unit:], 2 * unit, len(data))
    assert status == 200 and state()[0] == 200
    assert drive.pictures()[0]["size"] == len(data)
    assert drive.pictures()[0]["id"] == json.loads(body)["id"]
    other = client.begin(0)
    assert client.call("PUT", other, b"", Content_Range="bytes */0")[0] == 200
    whole = client.begin(len(JPEG))
    assert client.call("PUT", whole, JPEG)[0] == 200
    cancelled = client.begin(5)
    assert client.call("DELETE", cancelled)[0] == 499
    assert client.put(cancelled, b"12345", 0, 5)[0] == 404


def test_a_session_needs_no_token_but_takes_no_bad_one(drive, client):
    path = client.begin(5)
    client.http.request("PUT", path, b"12345")
    assert client.http.getresponse().read() and len(drive.pictures()) == 1


def test_bad_tokens_are_refused(drive, client):
    for words in ("Bearer none", "Basic abc", "Bearer", "Bearer a b"):
        status, headers, body = client.call("GET", "/drive/v3/files", Authorization=words)
        assert status == 401 and "invalid_token" in headers["WWW-Authenticate"]
        assert json.loads(body)["error"]["errors"][0]["reason"] == "authError"
    drive.fault("token_expired", where="list", nth=1)
    assert client.call("GET", "/drive/v3/files")[0] == 401
    client.token = drive.issue()["access_token"]
    assert client.call("GET", "/drive/v3/files")[0] == 200
    drive.set(clock_offset_s=3601)
    assert client.call("GET", "/drive/v3/files")[0] == 401


def test_unknown_parameters_are_refused(client):
    assert client.call("GET", "/drive/v3/files?maxResults=5")[0] == 400
    assert client.call("GET", "/drive/v3/nothing")[0] == 404
    assert client.call("POST", "/drive/v3/files", b"{")[0] == 400
    assert client.call("POST", "/drive/v3/files", b"[]")[0] == 400
    assert client.call("POST", "/upload/drive/v3/files?uploadType=multipart", b"--B--",
                       Content_Type="multipart/related; boundary=B")[0] == 400


def test_bodies_in_chunks_and_asked_for(drive, client):
    client.http.request("POST", "/drive/v3/files", iter([b'{"name"', b': "a"}']),
                        {"Authorization": f"Bearer {client.token}"}, encode_chunked=True)
    assert client.http.getresponse().read()
    assert drive.files()[0]["name"] == "a"
    sock = socket.create_connection(("127.0.0.1", drive.port))
    with sock:
        sock.sendall(b"POST /drive/v3/files HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                     b"Content-Length: 2\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert sock.recv(100).startswith(b"HTTP/1.1 401 ")


def test_faults_choose_their_requests(drive, client):
    drive.fault("rateLimitExceeded", where="upload", every=3)
    assert [client.upload()[0] for _ in range(6)] == [200, 200, 403] * 2
    drive.clear()
    drive.fault("backendError", where=["upload", "about"], name="bad", after=1, count=2)
    assert [client.upload("a bad one")[0] for _ in range(4)] == [200, 500, 500, 200]
    assert client.upload("good")[0] == 200
    number = drive.fault("badGateway", where="upload")
    assert client.upload()[0] == 502
    drive.clear(number)
    assert client.upload()[0] == 200


def test_a_fault_of_one_file_meets_its_session(drive, client):
    drive.fault("backendError", where="chunk", name="bad")
    for name, status in (("bad.jpg", 500), ("good.jpg", 200)):
        assert client.put(client.begin(5, name), b"12345", 0, 5)[0] == status


def test_draws_can_be_repeated(drive, client):
    def draw(seed):
        drive.clear()
        drive.fault("backendError", where="about", probability=0.5, seed=seed)
        return [client.call("GET", "/drive/v3/about?fields=*")[0] for _ in range(40)]

    first = draw(1)
    assert draw(1) == first != draw(2)
    assert 8 < first.count(500) < 32


def test_wrong_faults_are_refused(drive):
    for wrong in ({"kind": "fire"}, {"kind": "lost", "where": "nowhere"}, {"kind": "error"},
                  {"kind": "slow", "speed": 1}):
        with pytest.raises(ValueError):
            drive.fault(**wrong)
    with pytest.raises(ValueError):
        drive.set(speed=1)


def test_too_many_writes_are_refused(drive, client):
    drive.set(write_rate=0.001, write_burst=2, write_refusal="rateLimitExceeded")
    assert [client.upload()[0] for _ in range(3)] == [200, 200, 403]
    assert client.call("GET", "/drive/v3/files")[0] == 200


def test_each_kind_has_its_parameters():
    assert set(faults.KINDS) == set(faults.PARAMETERS)


def test_a_service_can_be_away_and_come_back(drive, client):
    client.upload()
    drive.down()
    with pytest.raises(BROKEN):
        client.upload()
    with pytest.raises(ConnectionRefusedError):
        client.upload()
    drive.up()
    assert client.upload()[0] == 200
    assert len(drive.pictures()) == 2


def test_it_stops_with_connections_that_hang(drive):
    drive.fault("hang", where="upload", nth=1)
    drive.fault("half_open", where="upload")
    clients = [Client(drive) for _ in range(3)]
    for client in clients:
        client.http.putrequest("POST", "/upload/drive/v3/files?uploadType=multipart")
        client.http.putheader("Content-Length", "0")
        client.http.endheaders()
    wait_until(lambda: len(drive.requests()) == 3, "three requests that hang")
    start = time.monotonic()
    drive.stop()
    assert time.monotonic() - start < 5
    for client in clients:
        client.close()


def test_a_process_serves_and_remembers(tmp_path):
    state = tmp_path / "state.json"
    with drive_rig.drive_process(state=state, answer_ms=1) as drive:
        with contextlib.closing(Client(drive)) as client:
            parent = json.loads(client.call("POST", "/drive/v3/files", json.dumps(
                {"name": "cameras", "mimeType": FOLDER}).encode())[2])["id"]
            assert client.upload(parents=[parent])[0] == 200
            path = client.begin(300 << 10)
            assert client.put(path, bytes(256 << 10), 0, 300 << 10)[0] == 308
            token = client.token
        drive.fault("lost", where="upload", nth=1)
        with pytest.raises(AttributeError):
            drive.nothing()
        before = drive.files()
        assert drive.find("cameras/a.jpg")[0]["parents"] == [parent]
    with drive_rig.drive_process(state=state) as drive:
        assert drive.files() == before and drive.faults() == []
        with contextlib.closing(Client(drive)) as client:
            client.token = token
            assert client.upload(parents=[parent])[0] == 200
            assert client.put(path, bytes(44 << 10), 256 << 10, 300 << 10)[0] == 200
        assert drive.count()["pictures"] == 3


def test_people_do_things_in_the_browser(drive, client):
    parent = drive.add("cameras", mimeType=FOLDER)
    file_id = drive.add("a.jpg", parent=parent, text="abc")
    drive.star(file_id)
    drive.backdate(file_id, "2020-01-01T00:00:00.000Z")
    _, _, body = client.call("GET", f"/drive/v3/files/{file_id}?fields=starred,createdTime,size")
    assert json.loads(body) == {"starred": True, "createdTime": "2020-01-01T00:00:00.000Z",
                                "size": "3"}
    drive.delete(parent)
    assert client.call("GET", f"/drive/v3/files/{file_id}")[0] == 404
    assert client.upload(parents=[parent])[0] == 404


def test_lists_can_be_incomplete(drive, client):
    drive.fault("incomplete", where="list", nth=1)
    answers = [json.loads(client.call("GET", "/drive/v3/files")[2]) for _ in range(2)]
    assert [a["incompleteSearch"] for a in answers] == [True, False]


def test_a_connection_can_close_without_warning(drive, client):
    drive.fault("close", where="about", nth=1)
    status, headers, _ = client.call("GET", "/drive/v3/about?fields=*")
    assert status == 200 and headers["Connection"] is None
    with pytest.raises(BROKEN):
        client.call("GET", "/drive/v3/about?fields=*")


def refresh(client, login):
    form = urllib.parse.urlencode({"grant_type": "refresh_token", **{
        k: login[k] for k in ("refresh_token", "client_id", "client_secret")}})
    status, headers, body = client.call("POST", "/token", form)
    return status, headers, json.loads(body)


def test_the_login_can_be_taken_back_in_the_middle(drive, client):
    login = drive.credentials()
    assert refresh(client, login)[0] == 200
    drive.fault("token_revoked", where="list")
    assert client.call("GET", "/drive/v3/files")[0] == 401
    status, _, answer = refresh(client, login)
    assert (status, answer["error"]) == (400, "invalid_grant")
    rows = drive.requests(operation="token")
    assert [(r["name"], r["reason"]) for r in rows] == [
        ("refresh_token", None), ("refresh_token", "invalid_grant")]


def test_logins_have_faults_of_their_own(drive, client):
    login = drive.credentials()
    drive.fault("error", where="token", reason="invalid_grant", nth=1)
    drive.fault("error", where="token", status=503, retry_after=9, nth=2)
    drive.fault("error", where="device", status=403, reason="rate_limit_exceeded")
    assert refresh(client, login)[::2] == (400, {"error": "invalid_grant"})
    status, headers, _ = refresh(client, login)
    assert (status, headers["Retry-After"]) == (503, "9")
    assert refresh(client, login)[0] == 200
    status, _, body = client.call("POST", "/device/code", "client_id=a")
    assert (status, json.loads(body)) == (403, {"error_code": "rate_limit_exceeded"})


def test_a_login_meets_drives_reasons_in_its_own_words(drive, client):
    login = drive.credentials()
    drive.fault("userRateLimitExceeded", where="any", count=1)
    assert refresh(client, login)[::2] == (429, {"error": "rate_limit_exceeded"})
    drive.fault("backendError", where="any", count=1)
    assert refresh(client, login)[::2] == (500, {"error": "internal_failure"})
    drive.fault("storageQuotaExceeded", where="any")
    assert refresh(client, login)[0] == 200
    assert client.upload()[0] == 403
    with pytest.raises(ValueError):
        drive.fault("storageQuotaExceeded", where="token")


def test_a_cut_for_one_file_leaves_half_of_it(drive, client):
    unit = 256 << 10
    drive.fault("cut", where="chunk", name="bad")
    path = client.begin(2 * unit + 2, "bad.jpg")
    with pytest.raises(BROKEN):
        client.put(path, bytes(2 * unit + 2), 0, 2 * unit + 2)
    _, headers, _ = client.call("PUT", path, b"", Content_Range=f"bytes */{2 * unit + 2}")
    assert headers["Range"] == f"bytes=0-{unit - 1}"


def test_it_speaks_tls(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=drive",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    with drive_rig.drive_process(tls=(cert, key)) as drive:
        place = urllib.parse.urlsplit(drive.origin())
        assert place.scheme == "https"
        for trust, status in ((ssl.create_default_context(cafile=cert), 401),
                              (ssl.create_default_context(), None)):
            with contextlib.closing(http.client.HTTPSConnection(
                    place.hostname, place.port, context=trust, timeout=30)) as link:
                if status:
                    link.request("GET", "/drive/v3/files")
                    assert link.getresponse().status == status
                else:
                    with pytest.raises(ssl.SSLCertVerificationError):
                        link.request("GET", "/drive/v3/files")


def test_the_book_keeper_finds_what_is_wrong(drive, client):
    right = hashlib.md5(JPEG).hexdigest()
    for name in ("a", "b", "b", "c", "d"):
        client.upload(name, JPEG + b"!" if name == "d" else JPEG)
    for _ in range(2):
        drive.add("2026", mimeType=FOLDER)
    drive.trash(drive.add("a", text="an attempt that was wrong"))
    assert drive_rig.kept_wrong(drive, dict.fromkeys("abde", right)) == [
        "b: 2 times, in b, b", "c: not expected", f"d: other content, {len(JPEG) + 1} bytes",
        "e: missing", "folder 2026: twice"]


def new_id(drive, client):
    while True:
        with contextlib.suppress(*BROKEN, ValueError, KeyError):
            status, _, body = client.call("GET", "/drive/v3/files/generateIds?count=1")
            if status == 401:
                client.token = drive.issue()["access_token"]
            return json.loads(body)["ids"][0]


def keep(drive, client, name, data):
    """Brings a picture to its place as a careful client does: whatever has no good answer is looked
    up by id before it is sent again, and what is wrong is made anew under another id."""
    file_id = new_id(drive, client)
    while True:
        with contextlib.suppress(*BROKEN, ValueError):
            status, _, body = client.call(
                "GET", f"/drive/v3/files/{file_id}?fields=md5Checksum,trashed")
            there = json.loads(body) if status == 200 else None
            if there and there["md5Checksum"] == hashlib.md5(data).hexdigest():
                return
            if there and not there["trashed"]:
                client.call("PATCH", f"/drive/v3/files/{file_id}", b'{"trashed": true}')
                continue
            if there:
                file_id = new_id(drive, client)
            if status == 401:
                client.token = drive.issue()["access_token"]
            elif len(data) % 2:
                client.upload(name, data, id=file_id)
            else:
                path = client.begin(len(data), name, id=file_id)
                client.put(path, data, 0, len(data))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_careful_client_keeps_each_picture_once(drive, seed):
    for number, (kind, more) in enumerate([
            ("lost", {}), ("torn", {}), ("cut", {}), ("garbage", {}), ("html", {}),
            ("wrong_md5", {}), ("wrong_size", {}), ("token_expired", {}), ("session_gone", {}),
            ("close", {}), ("short308", {}), ("late", {"seconds": 0.005}),
            ("error", {"status": 500, "when": "after"}), ("userRateLimitExceeded", {})]):
        drive.fault(kind, probability=0.03, seed=100 * seed + number, **more)
    pictures = {}
    lock = threading.Lock()

    def invent():
        """200, and on until each fault has come: which request draws which is the threads' chance."""
        for i in itertools.count():
            if i >= 200 and all(f["hits"] for f in drive.faults()):
                return
            pictures[f"{i}.jpg"] = bytes([i % 256]) * (1000 + i)
            yield f"{i}.jpg"

    names = invent()

    def work():
        client = Client(drive)
        while True:
            with lock:
                name = next(names, None)
            if name is None:
                return client.close()
            keep(drive, client, name, pictures[name])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    wait_until(lambda: not drive.count()["late"], "late work")
    expected = {name: hashlib.md5(data).hexdigest() for name, data in pictures.items()}
    assert drive_rig.kept_wrong(drive, expected) == []
    assert drive.oddities() == []
