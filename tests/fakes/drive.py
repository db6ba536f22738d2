#!/usr/bin/python3
"""Google Drive (API v3) and Google's OAuth, as far as a program that keeps pictures there uses
them, with faults that can be switched on.

    python3 tests/fakes/drive.py --port 0 [--state FILE.json]

prints `listening on http://127.0.0.1:PORT` and serves until it is stopped. In tests:

    with FakeDrive() as drive:
        drive.fault("userRateLimitExceeded", where="upload", nth=[1, 2])
        drive.fault("lost", where="multipart", probability=0.1, seed=7)
        ...
        assert [f["name"] for f in drive.files()] == [...]

Everything that a test may do is a method of FakeDrive that takes and returns what JSON can hold,
and so it is there for other processes, too: POST /control/METHOD with its arguments as a JSON
object, or RemoteDrive(url), which has the same methods. The control side is never faulty.

URLs: the origin stands for www.googleapis.com (/drive/v3, /upload/drive/v3), oauth2.googleapis.com
(/device/code, /token, /revoke) and accounts.google.com (/o/oauth2/v2/auth).

Not known of Google and therefore chosen: an id stays used when its file has been deleted for good;
a file's last parent cannot be taken away; a chunk that does not begin where the session ends is
refused with 503 (as others have seen); a shared drive, which a person made, is shown to nobody who
has drive.file alone, and lists that name neither it nor a parent in it are without its files. All
logins share one account's Drive, service accounts included, which Google keeps apart. What a client
sent that Google would silently ignore is in oddities(), for a test to insist that it is empty.
"""

import argparse
import base64
import collections
import hashlib
import itertools
import json
import os
import re
import secrets
import signal
import ssl
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fakes import faults, oauth, wire  # noqa: E402
from fakes.drive_call import (FOLDER, GROUPS, MEDIA_PATH, NATIVE, PATH,  # noqa: E402
                              SESSION_LIFE_S, SHORTCUT, Call, as_json, normal_time)


class Settings:
    """What can be set while it runs: FakeDrive.set(answer_ms=50)."""

    answer_ms = 0  # from a request's last byte to its answer's first, at least
    clock_offset_s = 0  # of the server's clock, which dates, expiries and answers follow
    quota_limit = 15 << 30  # bytes; 0 = no limit
    list_lag_s = 0  # new files are in lists only so much later
    get_lag_s = 0  # and are found by their id so much later, although that is in use
    write_rate = 0  # writes a second that are allowed, 0 = any
    write_burst = 10
    write_refusal = "userRateLimitExceeded"
    keep_content = False  # else sizes and digests are all that is kept of pictures
    chunk_multiple = 256 << 10
    children_max = 500000
    session_gone_status = 404
    session_life_s = SESSION_LIFE_S
    # OAuth:
    access_life_s = 3600
    refresh_life_s = 0  # 0 = for ever; 604800 = the consent screen is in testing
    refresh_tokens_max = 100
    rotate_refresh = False
    token_bytes = 160
    device_life_s = 1800
    device_interval_s = 5
    slow_down_counts = False  # whether each slow_down makes the interval 5 s longer
    rfc_statuses = False
    consent = "allow"  # what the person at the sign-in page does at once: allow, deny, or page
    granted_scope = ""  # less than was asked for


class FakeDrive:
    def __init__(self, port=0, state=None, tls=None, **settings):
        self.settings = Settings()
        self.set(**settings)
        self.lock = threading.RLock()
        self.files_by_id = {}
        self.children = collections.defaultdict(dict)  # parent: {id: None}, in order of arrival
        self.ids_given = {}  # id: its type
        self.ids_used = set()
        self.sessions = {}
        self.used = 0  # bytes
        self.late = 0
        self.sequence = itertools.count(1)
        self.root = "0A" + secrets.token_urlsafe(12) + "PVA"
        self.log = []
        self.request_numbers = itertools.count(1)
        self.odd = []
        self.bucket = None
        self.plan = faults.Plan(GROUPS)
        self.state = state
        self.tls = tls
        self.oauth = oauth.OAuth(self.settings, self.now, self.origin)
        self._add_root()
        if state and os.path.exists(state):
            self._load(state)
        self.server = wire.Server(self._handle, port, tls)
        self.port = self.server.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def origin(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def now(self):
        return time.time() + self.settings.clock_offset_s

    def stop(self):
        self.server.stop()
        if self.state:
            self.save()

    # ---- control: faults and settings ----

    def set(self, **settings):
        for name, value in settings.items():
            if not hasattr(Settings, name):
                raise ValueError(f"no setting '{name}'")
            setattr(self.settings, name, value)

    def fault(self, kind, **spec):
        """Switches a fault on (see faults.py); returns its number."""
        return self.plan.add({"kind": kind, **spec})

    def faults(self):
        """The faults that are on, with how many requests matched (seen) and had them (hits)."""
        return self.plan.describe()

    def clear(self, number=None):
        """Switches one fault off, or all."""
        self.plan.clear(number)

    def down(self):
        """Connections are refused from now on, open ones end. Not for RemoteDrive."""
        self.server.down()

    def up(self):
        self.server.up()

    # ---- control: the books ----

    def files(self, trashed=True, folders=True):
        """Every file that exists, oldest first. `path` is where it is, from the root on."""
        with self.lock:
            rows = [self._row(f) for f in self.files_by_id.values()
                    if f["id"] not in (self.root, f.get("driveId"))]
        return [r for r in rows if (trashed or not r["trashed"])
                and (folders or r["mimeType"] != FOLDER)]

    def pictures(self):
        """The files that are neither folders nor shortcuts nor in the trash."""
        return [r for r in self.files(trashed=False) if not r["mimeType"].startswith(NATIVE)]

    def find(self, path):
        """The files with this path; several may have one name."""
        return [r for r in self.files() if r["path"] == path]

    def requests(self, since=0, operation=None):
        """The requests that were met, in order of their answers. Each has n, operation, method,
        target, began and ended (seconds, monotonic; it ends when its answer begins to leave), wall,
        body, status (0: none was sent), fault, file, name, reason, connection. Of a token request
        `name` is its grant_type."""
        with self.lock:
            rows = [dict(r) for r in self.log if r["n"] > since]
        return [r for r in rows if operation is None or r["operation"] in GROUPS[operation]]

    def forget_requests(self):
        with self.lock:
            self.log.clear()

    def count(self):
        """Numbers for somebody who waits: pictures, files, requests, sessions, refreshes, and late:
        what the fault of that name still has to do."""
        with self.lock:
            pictures = sum(1 for f in self.files_by_id.values()
                           if not f["mimeType"].startswith(NATIVE) and not f["trashed"])
            return {"pictures": pictures, "files": len(self.files_by_id) - 1,
                    "requests": len(self.log), "sessions": len(self.sessions),
                    "refreshes": self.oauth.refreshes, "late": self.late}

    def oddities(self):
        """What clients did that Google would let pass and that is wrong all the same."""
        with self.lock:
            return list(self.odd)

    def content(self, file_id):
        """base64 of a file's bytes; needs keep_content."""
        with self.lock:
            return base64.b64encode(self.files_by_id[file_id]["content"]).decode()

    # ---- control: what people do in the browser ----

    def add(self, name, parent="root", mimeType="image/jpeg", text="", ours=True, **fields):
        """A file or folder out of nowhere. Not `ours`: made by a person or another app, which
        drive.file does not show. Returns its id."""
        with self.lock:
            file = self._new_file({"name": name, "mimeType": mimeType, "parents": [parent],
                                   **fields}, oauth.PROJECT if ours else None)
            if not mimeType.startswith(NATIVE):
                self._fill(file, text.encode())
            self._enter(file)
            return file["id"]

    def add_shared_drive(self, name="team"):
        """A shared drive that a person made and let everybody into. Returns its id, which is that of
        its top folder, too."""
        with self.lock:
            drive = {**self.files_by_id[self.root], "id": "0A" + secrets.token_urlsafe(12) + "PVA",
                     "name": name, "appProperties": {}, "properties": {}}
            drive["driveId"] = drive["id"]
            self.files_by_id[drive["id"]] = drive
            return drive["id"]

    def trash(self, file_id):
        """What a person's "remove" does to a file or folder."""
        with self.lock:
            self._set_trashed(self.files_by_id[file_id], True)

    def untrash(self, file_id):
        with self.lock:
            self._set_trashed(self.files_by_id[file_id], False)

    def delete(self, file_id):
        """For good, with all that is in it."""
        with self.lock:
            self._delete(self.files_by_id[file_id])

    def star(self, file_id, starred=True):
        with self.lock:
            self.files_by_id[file_id]["starred"] = starred

    def backdate(self, file_id, created):
        with self.lock:
            self.files_by_id[file_id]["createdTime"] = created

    # ---- control: logins ----

    def issue(self, **how):
        """Tokens as after a login: client_id, scope, account."""
        return self.oauth.issue(**how)

    def credentials(self, **how):
        """A credential file's content in oauth2client's form: client_id, scope, expired."""
        return self.oauth.credentials(**how)

    def client_file(self, **how):
        return self.oauth.client_file(**how)

    def make_service_account(self):
        return self.oauth.make_service_account()

    def add_client(self, **client):
        self.oauth.add_client(**client)

    def approve(self, user_code, allow=True, scope=None):
        return self.oauth.approve(user_code, allow, scope)

    def pending_codes(self):
        return self.oauth.pending_codes()

    def expire_tokens(self):
        self.oauth.expire_access()

    def revoke_tokens(self):
        self.oauth.revoke_all()

    def end_sessions(self):
        """Every resumable upload under way is forgotten."""
        with self.lock:
            self.sessions.clear()

    # ---- state ----

    def save(self):
        """Writes the state file."""
        with self.lock:
            rows = []
            for f in self.files_by_id.values():
                row = {k: v for k, v in f.items() if k != "content"}
                if f.get("content") is not None:
                    row["content"] = base64.b64encode(f["content"]).decode()
                rows.append(row)
            sessions = {k: {**s, "kept": base64.b64encode(bytes(s["kept"])).decode()}
                        for k, s in self.sessions.items()}
            state = {"root": self.root, "files": rows, "ids_given": self.ids_given,
                     "ids_used": sorted(self.ids_used), "sessions": sessions,
                     "oauth": self.oauth.save()}
        temporary = self.state + ".new"
        with open(temporary, "w", encoding="utf-8") as f:
            json.dump(state, f)
        os.replace(temporary, self.state)

    def _load(self, path):
        with open(path, encoding="utf-8") as f:
            state = json.load(f)
        self.files_by_id.clear()
        self.children.clear()
        self.root = state["root"]
        highest = 0
        for row in state["files"]:
            if row.get("content") is not None:
                row["content"] = base64.b64decode(row["content"])
            self.files_by_id[row["id"]] = row
            highest = max(highest, row["sequence"])
            for parent in row["parents"]:
                self.children[parent][row["id"]] = None
        self.sequence = itertools.count(highest + 1)
        self.used = sum(f.get("size", 0) for f in self.files_by_id.values())
        self.ids_given = state["ids_given"]
        self.ids_used = set(state["ids_used"])
        self.sessions = {k: {**s, "kept": bytearray(base64.b64decode(s["kept"]))}
                         for k, s in state["sessions"].items()}
        self.oauth.load(state["oauth"])

    # ---- one request ----

    def _handle(self, request):
        if request.path.startswith("/control/"):
            return self._control(request)
        began = time.monotonic()
        operation = self._operation(request)
        row = {"n": 0, "operation": operation, "method": request.method, "target": request.target,
               "began": began, "wall": time.time(), "body": 0, "status": 0, "fault": None,
               "file": None, "name": None, "reason": None,
               "range": request.headers.get("content-range"),
               "expect": request.headers.get("expect"),
               "connection": request.connection.number}
        try:
            return Call(self, operation, request, row).run()
        except (wire.Gone, wire.BadRequest, OSError):
            raise
        except Exception as e:  # our own mistake, which must not look like one of Google's
            traceback.print_exc()
            self.odd.append({"operation": operation, "target": request.target,
                             "what": f"this fake failed: {e!r}"})
            row["fault"] = "failed"
            return False
        finally:
            self._record(row)

    def _record(self, row):
        """Once, and before the answer leaves: who has it finds the request in the books."""
        with self.lock:
            if not row["n"]:
                row["n"] = next(self.request_numbers)
                row["ended"] = time.monotonic()
                self.log.append(row)

    def _operation(self, request):
        path, method, query = request.path, request.method, request.query
        if path == MEDIA_PATH + "/files" or path.startswith(MEDIA_PATH + "/files/"):
            if "upload_id" in query:
                if method == "DELETE":
                    return "cancel"
                asks = re.match(r"bytes \*/", request.headers.get("content-range", ""))
                return "status" if asks else "chunk"
            return {"multipart": "multipart", "resumable": "session",
                    "media": "simple"}.get(query.get("uploadType"), "create")
        if path == PATH + "/files":
            return {"GET": "list", "POST": "create"}.get(method)
        if path == PATH + "/files/generateIds":
            return "generateIds"
        if path == PATH + "/about":
            return "about"
        if path == PATH + "/files/trash" and method == "DELETE":
            return "emptyTrash"
        if path.startswith(PATH + "/files/"):
            if method == "GET":
                return "download" if query.get("alt") == "media" else "get"
            return {"PATCH": "update", "DELETE": "delete"}.get(method)
        return self.oauth.route(method, path)

    def _control(self, request):
        name = request.path[len("/control/"):]
        try:
            body = request.read_body()
            arguments = json.loads(body) if body else {}
            method = getattr(self, name, None)
            if name.startswith("_") or name in ("down", "stop", "origin") or not callable(method):
                raise ValueError(f"no control '{name}'")
            answer = as_json({"result": method(**arguments)})
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            answer = as_json({"error": f"{type(e).__name__}: {e}"}, 400)
        request.connection.send(answer.wire(time.time()))
        return True

    # ---- files ----

    def _add_root(self):
        self.files_by_id[self.root] = {
            "id": self.root, "name": "My Drive", "mimeType": FOLDER, "parents": [],
            "trashed": False, "explicitlyTrashed": False, "starred": False, "appProperties": {},
            "properties": {}, "createdTime": self._time(), "modifiedTime": self._time(),
            "project": None, "sequence": 0, "visible_at": 0, "found_at": 0, "content": None,
            "commits": 0, "damaged": False}

    def _time(self):
        now = self.now()
        return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
                + f".{int(now * 1000) % 1000:03d}Z")

    def _alias(self, file_id):
        return self.root if file_id == "root" else file_id

    def _new_file(self, meta, project):
        now = self._time()
        file = {"id": meta.get("id") or self._new_id(), "name": meta.get("name", "Untitled"),
                "mimeType": meta.get("mimeType") or "application/octet-stream",
                "parents": [self._alias(p) for p in meta.get("parents") or ["root"]],
                "explicitlyTrashed": False, "starred": bool(meta.get("starred")),
                "appProperties": dict(meta.get("appProperties") or {}),
                "properties": dict(meta.get("properties") or {}),
                "createdTime": normal_time(meta.get("createdTime")) or now,
                "modifiedTime": normal_time(meta.get("modifiedTime")) or now,
                "project": project, "content": None, "commits": 1, "damaged": False}
        if meta.get("description"):
            file["description"] = meta["description"]
        if file["mimeType"] == SHORTCUT:
            target = self.files_by_id[meta["shortcutDetails"]["targetId"]]
            file["shortcutDetails"] = {"targetId": target["id"],
                                       "targetMimeType": target["mimeType"]}
        return file

    def _new_id(self):
        return "1" + secrets.token_urlsafe(24)

    def _fill(self, file, data):
        """Content for a file that is there or is about to be; it counts from now on."""
        self.used += len(data) - file.get("size", 0)
        file["size"] = len(data)
        file["md5Checksum"] = hashlib.md5(data).hexdigest()
        file["sha1Checksum"] = hashlib.sha1(data).hexdigest()
        file["sha256Checksum"] = hashlib.sha256(data).hexdigest()
        file["content"] = data if self.settings.keep_content else None

    def _enter(self, file):
        """Makes a new file be there."""
        assert file["id"] not in self.files_by_id
        file["sequence"] = next(self.sequence)
        file["visible_at"] = time.monotonic() + self.settings.list_lag_s
        file["found_at"] = time.monotonic() + self.settings.get_lag_s
        self._place(file)
        file["trashed"] = any(self.files_by_id[p]["trashed"] for p in file["parents"])
        self.files_by_id[file["id"]] = file
        self.ids_used.add(file["id"])
        for parent in file["parents"]:
            self.children[parent][file["id"]] = None

    def _place(self, file):
        """A file is in the shared drive that its parent is in."""
        drive = self.files_by_id[file["parents"][0]].get("driveId")
        file.pop("driveId", None)
        if drive:
            file["driveId"] = drive
        for child in self.children.get(file["id"], ()):
            self._place(self.files_by_id[child])

    def _set_trashed(self, file, trashed):
        file["explicitlyTrashed"] = trashed
        self._trash_below(file)

    def _trash_below(self, file):
        """What is in a trashed folder is trashed with it."""
        file["trashed"] = file["explicitlyTrashed"] or any(
            self.files_by_id[p]["trashed"] for p in file["parents"])
        for child in self.children.get(file["id"], ()):
            self._trash_below(self.files_by_id[child])

    def _delete(self, file):
        for child in list(self.children.get(file["id"], ())):
            self._delete(self.files_by_id[child])
        self.children.pop(file["id"], None)
        for parent in file["parents"]:
            self.children[parent].pop(file["id"], None)
        self.used -= file.get("size", 0)
        del self.files_by_id[file["id"]]

    def _move(self, file, parents):
        for parent in file["parents"]:
            self.children[parent].pop(file["id"], None)
        file["parents"] = parents
        for parent in parents:
            self.children[parent][file["id"]] = None
        self._place(file)
        self._trash_below(file)

    def _path(self, file):
        names = [file["name"]]
        while file["parents"] and file["parents"][0] != self.root:
            file = self.files_by_id[file["parents"][0]]
            names.append(file["name"])
        return "/".join(reversed(names))

    def _depth(self, file_id):
        depth = 0
        while self.files_by_id[file_id]["parents"]:
            file_id = self.files_by_id[file_id]["parents"][0]
            depth += 1
        return depth

    def _row(self, file):
        row = {k: v for k, v in file.items() if k not in ("content", "visible_at", "found_at")}
        row["path"] = self._path(file)
        return row


class RemoteDrive:
    """FakeDrive's control methods for another process: RemoteDrive("http://127.0.0.1:PORT")."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def origin(self):
        return self.url

    def __getattr__(self, name):
        if name.startswith("_") or not callable(getattr(FakeDrive, name, None)):
            raise AttributeError(name)

        def call(*positional, **arguments):
            for parameter, value in zip(positional_names(name), positional):
                arguments[parameter] = value
            request = urllib.request.Request(f"{self.url}/control/{name}",
                                             json.dumps(arguments).encode(), method="POST")
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)["result"]
            except urllib.error.HTTPError as e:
                raise ValueError(e.read().decode("utf-8", "replace")) from e

        return call


def positional_names(name):
    code = getattr(FakeDrive, name).__code__
    return code.co_varnames[1:code.co_argcount]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 = a free one")
    parser.add_argument("--state", help="file that keeps everything from one run to the next")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON",
                        help="a setting, such as answer_ms=50 or consent='\"page\"'")
    parser.add_argument("--fault", action="append", default=[], metavar="JSON",
                        help="a fault, such as '{\"kind\": \"lost\", \"probability\": 0.1}'")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="https with these")
    parser.add_argument("--login", metavar="FILE", help="writes a login in oauth2client's form")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = dict(s.split("=", 1) for s in options.set)
    tls = None
    if options.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*options.tls)
    drive = FakeDrive(options.port, options.state, tls,
                      **{k: json.loads(v) for k, v in settings.items()})
    for fault in options.fault:
        drive.fault(**json.loads(fault))
    if options.login:
        with open(options.login, "w", encoding="utf-8") as f:
            json.dump(drive.credentials(), f)
        os.chmod(options.login, 0o600)
    print(f"listening on {drive.origin()}", flush=True)
    stop.wait()
    drive.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
