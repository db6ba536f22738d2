"""One request to our Drive: what a good client may ask, what Google refuses and how, and the
faults on its way. The state that it works on, and its lock, are FakeDrive's."""

import base64
import email.utils
import hashlib
import html
import json
import re
import secrets
import time

from fakes import drive_query, faults, oauth, wire
from fakes.drive_query import Fields, FieldsError, Query, QueryError
from fakes.wire import Answer

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
NATIVE = "application/vnd.google-apps."
NATIVE_WITH_ID = {FOLDER, SHORTCUT, NATIVE + "drive-sdk"}
PROPERTY_MAX = 124  # bytes of key and value
PROPERTIES_MAX = 30  # private ones of one app
DEPTH_MAX = 100
DEFAULT_FIELDS = "kind,id,name,mimeType"
SESSION_LIFE_S = 7 * 86400
MEDIA_PATH, PATH = "/upload/drive/v3", "/drive/v3"
# Parameters that every method takes.
COMMON = {"fields", "alt", "prettyPrint", "key", "quotaUser", "userIp", "access_token", "$.xgafv",
          "supportsAllDrives", "supportsTeamDrives", "enforceSingleParent", "keepRevisionForever",
          "ignoreDefaultVisibility", "useContentAsIndexableText", "uploadType", "acknowledgeAbuse",
          "includeLabels", "includePermissionsForView", "ocrLanguage"}
LIST_PARAMETERS = {"q", "pageSize", "pageToken", "orderBy", "spaces", "corpora", "corpus",
                   "driveId", "includeItemsFromAllDrives", "includeTeamDriveItems", "teamDriveId"}
PARAMETERS = {"list": LIST_PARAMETERS, "generateIds": {"count", "space", "type"},
              "update": {"addParents", "removeParents"},
              "chunk": {"upload_id"}, "status": {"upload_id"}, "cancel": {"upload_id"}}
READ_ONLY_FIELDS = {"kind", "size", "md5Checksum", "sha1Checksum", "sha256Checksum", "webViewLink",
                    "webContentLink", "version", "thumbnailLink", "owners", "ownedByMe", "shared",
                    "capabilities", "trashedTime", "explicitlyTrashed", "spaces", "headRevisionId",
                    "iconLink", "hasThumbnail", "quotaBytesUsed", "lastModifyingUser"}
WRITABLE_FIELDS = {"id", "name", "mimeType", "description", "starred", "trashed", "parents",
                   "createdTime", "modifiedTime", "appProperties", "properties", "shortcutDetails",
                   "originalFilename", "folderColorRgb", "writersCanShare", "contentHints",
                   "copyRequiresWriterPermission", "viewedByMeTime"}
FIXED_LATER = {"id", "parents", "createdTime", "shortcutDetails"}

DRIVE_OPERATIONS = ["create", "multipart", "simple", "session", "chunk", "status", "cancel", "get",
                    "download", "list", "generateIds", "update", "delete", "emptyTrash", "about"]
OAUTH_OPERATIONS = sorted(set(oauth.ROUTES.values()))
GROUPS = {name: {name} for name in DRIVE_OPERATIONS + OAUTH_OPERATIONS}
GROUPS.update({
    "drive": set(DRIVE_OPERATIONS), "oauth": set(OAUTH_OPERATIONS),
    "any": set(DRIVE_OPERATIONS + OAUTH_OPERATIONS),
    "upload": {"multipart", "simple", "session", "chunk", "status"},
    "write": {"create", "multipart", "simple", "session", "chunk", "update", "delete"},
    "read": {"get", "list", "generateIds", "about", "download"},
})


class Problem(Exception):
    """An error answer of the API."""

    def __init__(self, reason, message=None, location=None, status=None, kind="parameter",
                 headers=()):
        super().__init__(reason)
        known = faults.REASONS.get(reason, (status or 400, "global", reason))
        self.status = status or known[0]
        self.reason = reason
        self.domain = known[1]
        self.message = message or known[2]
        self.location = location
        self.kind = kind
        self.headers = list(headers)

    def answer(self, form="legacy"):
        entry = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location:
            entry.update(location=self.location, locationType=self.kind)
        error = {"code": self.status, "message": self.message, "errors": [entry]}
        if form == "rpc":
            error["status"] = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED",
                               403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                               409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED",
                               503: "UNAVAILABLE"}.get(self.status, "INTERNAL")
            capitals = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.reason).upper()
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                                 "reason": capitals, "domain": "googleapis.com"}]
        return as_json({"error": error}, self.status, self.headers)


def as_json(value, status=200, headers=()):
    return Answer(status, json.dumps(value, indent=1).encode(), "application/json; charset=UTF-8",
                  headers)


def html_page(status):
    words = f"Error {status} ({wire.PHRASES.get(status, 'Error')})!!1"
    return Answer(status, (f"<!DOCTYPE html>\n<html lang=en><title>{html.escape(words)}</title>\n"
                           "<p>That’s an error.\n").encode(), "text/html; charset=UTF-8")


def good_time(text):
    """Files want RFC 3339 with a zone."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text):
        return False
    try:
        drive_query.parse_time(text)
    except ValueError:
        return False
    return True


def normal_time(text):
    """Google tells times in UTC with milliseconds."""
    if not text:
        return None
    seconds = drive_query.parse_time(text)
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds // 1))
            + f".{round(seconds % 1 * 1000) % 1000:03d}Z")


class Call:
    """One request, from its head to its answer."""

    def __init__(self, drive, operation, request, row):
        self.drive = drive
        self.settings = drive.settings
        self.operation = operation
        self.request = request
        self.connection = request.connection
        self.row = row
        self.fault = None
        self.project = None
        self.account = None
        self.everything = self.all_drives = False
        self.body = b""
        self.fields = None
        match = re.fullmatch(r"(?:/upload)?/drive/v3/files/([^/]+)", request.path)
        self.file_id = drive._alias(match.group(1)) if match else None
        row["file"] = self.file_id

    # ---- the way of a request, with its faults ----

    def run(self):
        """Returns whether the connection is kept."""
        if self.operation is None:
            self.request.read_body()
            self.row["status"] = 404
            return self.send(html_page(404))
        needs_name = any(f.get("name") for f in self.drive.plan.faults)
        if not needs_name:
            self.fault = self.drive.plan.choose(self.operation)
            if self.fault and self.fault_at_head():
                return False
        self.read_body()
        if needs_name:
            self.fault = self.drive.plan.choose(self.operation, self.guess_name())
            if self.fault and self.fault_at_head():
                return False
        done = time.monotonic()
        if self.is_fault("late"):
            return self.work_late()
        answer = self.answer()
        self.row["status"] = answer.status
        left = done + self.settings.answer_ms / 1000 - time.monotonic()
        if self.is_fault("delay"):
            left += self.fault.get("seconds", 1)
        if left > 0 and self.drive.server.stopped.wait(left):
            return False
        return self.send(answer)

    def work_late(self):
        drive = self.drive
        with drive.lock:
            drive.late += 1
        drive._record(self.row)
        self.connection.close()
        if not drive.server.stopped.wait(self.fault.get("seconds", 1)):
            self.answer()
        with drive.lock:
            drive.late -= 1
        return False

    def is_fault(self, *kinds):
        return self.fault is not None and self.fault.kind in kinds

    def fault_at_head(self):
        """Faults that come before the work. True: the connection is finished."""
        self.row["fault"] = self.fault.kind
        kind = self.fault.kind
        if kind == "half_open":
            self.drive._record(self.row)
            self.drive.server.stopped.wait(self.fault.get("seconds"))
            return True
        if kind == "cut":
            count = self.fault.get("bytes", self.request.length // 2)
            try:  # a fault for one file comes when all has been read
                data = (self.request.body[:count] if self.request.body is not None
                        else self.request.read_some(count))
            except wire.BodyCut as e:
                data = e.data
            self.row["body"] = len(data)
            self.keep_part(data)
            self.drive._record(self.row)
            self.connection.reset()
            return True
        if kind == "hang" and self.fault.get("when", "before") == "before":
            self.read_body()
            self.drive._record(self.row)
            self.connection.wait_for_the_end(self.fault.get("seconds"))
            return True
        if kind == "token_expired":
            self.drive.oauth.expire_access()
        if kind == "token_revoked":
            self.drive.oauth.revoke_all()
        return False

    def read_body(self):
        try:
            self.body = self.request.read_body()
        except wire.BodyCut as e:
            self.row["body"] = len(e.data)
            self.row["fault"] = self.row["fault"] or "client went away"
            self.keep_part(e.data)
            raise
        self.row["body"] = len(self.body)

    def keep_part(self, data):
        """A session keeps what it got of a chunk whose connection broke."""
        if self.operation != "chunk":
            return
        with self.drive.lock:
            session = self.drive.sessions.get(self.request.query.get("upload_id"))
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)",
                                self.request.headers.get("content-range", ""))
            start = int(span.group(1)) if span else 0
            if session and not session["file"] and start <= len(session["kept"]):
                self.append(session, start, data, False)

    def guess_name(self):
        """The name of the file that this request is about, for faults of one file."""
        if self.file_id in self.drive.files_by_id:
            return self.drive.files_by_id[self.file_id]["name"]
        session = self.drive.sessions.get(self.request.query.get("upload_id"))
        if session:
            return session["meta"].get("name")
        match = re.search(rb'"name"\s*:\s*("(?:[^"\\]|\\.)*")', self.body[:65536])
        return json.loads(match.group(1)) if match else None

    def answer(self):
        if self.operation in OAUTH_OPERATIONS:
            return self.with_faults(self.oauth_answer, self.oauth_fault)
        return self.with_faults(self.drive_answer, self.drive_fault)

    def with_faults(self, work, fault_answer):
        if not self.is_fault("error", "html"):
            return work()
        if self.fault.get("when", "before") == "after":
            work()
        return fault_answer()

    def oauth_answer(self):
        answer, grant, error = self.drive.oauth.serve(self.operation, self.request, self.body)
        self.row["name"], self.row["reason"] = grant, error
        return answer

    def oauth_fault(self):
        status, word = faults.login_word(self.fault.get("reason", "internal_failure"),
                                         self.fault.get("status", 502))
        # Too many device codes are told in another way than all the rest.
        several = word == "rate_limit_exceeded" and self.operation == "device"
        self.row["reason"] = word
        return self.fault_answer(
            lambda *_: oauth.document({"error_code" if several else "error": word}, status))

    def drive_fault(self):
        def usual(status, form):
            reason = self.fault.get("reason") or faults.DEFAULT_REASONS.get(
                status, "internalError")
            self.row["reason"] = reason
            return Problem(reason, self.fault.get("message"), status=status).answer(form)

        return self.fault_answer(usual)

    def fault_answer(self, usual):
        """The error that a fault stands for; usual(status, form) makes the one in JSON."""
        fault = self.fault
        status = fault.get("status", 502)
        headers = []
        wait = fault.get("retry_after")
        if wait is not None:
            if isinstance(wait, str) and wait.startswith("date:"):
                wait = email.utils.formatdate(self.drive.now() + float(wait[5:]), usegmt=True)
            headers.append(("Retry-After", str(wait)))
        form = fault.get("form", "legacy")
        if fault.kind == "html" or form == "html":
            answer = html_page(status)
        elif form == "empty":
            answer = Answer(status, b"", None)
        elif form == "garbage":
            answer = Answer(status, b'{"error": {"code": ', "application/json; charset=UTF-8")
        else:
            answer = usual(status, form)
        answer.headers += headers
        return answer

    def drive_answer(self):
        try:
            with self.drive.lock:
                self.authorize()
                self.check_parameters()
                if self.operation in GROUPS["write"]:
                    self.limit_rate()
                return getattr(self, "do_" + self.operation)()
        except Problem as e:
            self.row["reason"] = e.reason
            return e.answer()

    def send(self, answer):
        wire_bytes = answer.wire(self.drive.now())
        kind = self.fault.kind if self.fault else None
        if kind in ("lost", "hang"):
            self.row["status"] = 0
        elif kind == "garbage":
            self.row["status"] = 200
        self.drive._record(self.row)
        if kind == "lost":
            if self.fault.get("reset"):
                self.connection.reset()
            return False
        if kind == "hang":
            self.connection.wait_for_the_end(self.fault.get("seconds"))
            return False
        if kind == "torn":
            self.connection.send(wire_bytes[:max(len(wire_bytes) - max(len(answer.body), 2) // 2,
                                                 1)])
            return False
        if kind == "garbage":
            broken = Answer(200, answer.body[:len(answer.body) // 2] + b"\xff}",
                            "application/json; charset=UTF-8")
            self.connection.send(broken.wire(self.drive.now()))
            return True
        if kind == "slow":
            return self.send_slowly(wire_bytes, self.fault.get("rate", 10))
        self.connection.send(wire_bytes)
        return kind != "close"

    def send_slowly(self, data, rate):
        for at in range(len(data)):
            self.connection.send(data[at:at + 1])
            if self.drive.server.stopped.wait(1 / rate):
                return False
        return True

    # ---- what every request must have ----

    def authorize(self):
        words = self.request.headers.get("authorization", "").split(" ")
        if words == [""] and self.operation in ("chunk", "status", "cancel"):
            return  # a session's address is a credential itself
        grant = None
        if len(words) == 2 and words[0].lower() == "bearer":
            grant = self.drive.oauth.check(words[1])
        if not grant:
            raise Problem("authError" if words != [""] else "required",
                          "Invalid Credentials" if words != [""] else "Login Required",
                          "Authorization", 401, "header",
                          [("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/",'
                            ' error="invalid_token"')])
        scopes = grant["scope"].split()
        self.everything = oauth.DRIVE in scopes
        if not self.everything and oauth.DRIVE_FILE not in scopes:
            raise Problem("insufficientPermissions")
        self.project = grant["project"]
        self.account = grant["account"]
        self.all_drives = self.request.query.get("supportsAllDrives") == "true"

    def check_parameters(self):
        known = COMMON | PARAMETERS.get(self.operation, set())
        if self.operation in GROUPS["upload"]:
            known |= PARAMETERS["update"]
        seen = set()
        for name, _ in self.request.query_list:
            if name not in known:
                raise Problem("badRequest", f'Invalid JSON payload received. Unknown name "{name}"'
                              ": Cannot bind query parameter.")
            if name in seen:
                self.note(f"parameter {name} twice")
            seen.add(name)

    def limit_rate(self):
        rate = self.settings.write_rate
        if not rate:
            return
        now = time.monotonic()
        level, at = self.drive.bucket or (self.settings.write_burst, now)
        level = min(self.settings.write_burst, level + (now - at) * rate)
        self.drive.bucket = (max(level - 1, 0), now)
        if level < 1:
            raise Problem(self.settings.write_refusal)

    def note(self, words):
        self.drive.odd.append({"operation": self.operation, "target": self.request.target,
                               "what": words})

    def select(self, schema, default):
        text = self.request.query.get("fields") or default
        try:
            return Fields(text, schema)
        except FieldsError as e:
            raise Problem("invalidParameter", f"Invalid field selection {e}", "fields") from e

    def file_fields(self):
        return self.select(drive_query.FILE, DEFAULT_FIELDS)

    def visible(self, file_id, location="fileId"):
        file = self.drive.files_by_id.get(self.drive._alias(file_id))
        if (not file or file["found_at"] > time.monotonic()
                or file.get("driveId") and not self.all_drives
                or not (self.everything or file["id"] == self.drive.root
                        or file["project"] == self.project)):
            raise Problem("notFound", f"File not found: {file_id}.", location)
        return file

    def resource(self, file):
        out = {"kind": "drive#file", **{k: v for k, v in file.items() if k in drive_query.FILE}}
        if "size" in file:
            out["size"] = out["quotaBytesUsed"] = str(file["size"])
        else:
            out["quotaBytesUsed"] = "0"
        for name in ("appProperties", "properties"):
            if not file[name]:
                out.pop(name)
        if not file["parents"]:
            out.pop("parents")
        view = {FOLDER: "https://drive.google.com/drive/folders/{}"}.get(
            file["mimeType"], "https://drive.google.com/file/d/{}/view?usp=drivesdk")
        out["webViewLink"] = view.format(file["id"])
        out.update(spaces=["drive"], ownedByMe=True, shared=False, version=str(file["sequence"]),
                   isAppAuthorized=True, owners=[self.user()], lastModifyingUser=self.user())
        return out

    def user(self):
        account = self.account or oauth.ACCOUNT
        return {"kind": "drive#user", "displayName": account.split("@")[0], "me": True,
                "permissionId": "0" * 20, "emailAddress": account}

    def file_answer(self, file, fields=None):
        self.row["file"], self.row["name"] = file["id"], file["name"]
        told = self.resource(file)
        if self.is_fault("no_md5"):
            told.pop("md5Checksum", None)
        if self.is_fault("other_file"):
            told["id"] += "x"
        return as_json((fields or self.file_fields()).cut(told))

    # ---- reading ----

    def do_about(self):
        if not self.request.query.get("fields"):
            raise Problem("required", "The 'fields' parameter is required for this method.",
                          "fields")
        used = self.drive.used
        trash = sum(f.get("size", 0) for f in self.drive.files_by_id.values() if f["trashed"])
        quota = {"usage": str(used), "usageInDrive": str(used), "usageInDriveTrash": str(trash)}
        if self.settings.quota_limit:
            quota["limit"] = str(self.settings.quota_limit)
        return as_json(self.select(drive_query.ABOUT, "*").cut(
            {"kind": "drive#about", "user": self.user(), "storageQuota": quota,
             "maxUploadSize": "5242880000000", "appInstalled": False}))

    def do_get(self):
        return self.file_answer(self.visible(self.file_id))

    def do_download(self):
        file = self.visible(self.file_id)
        if "size" not in file:
            raise Problem("fileNotDownloadable", "Only files with binary content can be downloaded."
                          " Use Export with Docs Editors files.", "alt", 403)
        content = file["content"]
        if content is None:
            raise Problem("internalError", "this fake keeps no content: set keep_content")
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.request.headers.get("range", ""))
        if not span:
            return Answer(200, content, file["mimeType"])
        first = int(span.group(1))
        last = min(int(span.group(2) or len(content)), len(content) - 1)
        if first > last:
            raise Problem("requestedRangeNotSatisfiable")
        return Answer(206, content[first:last + 1], file["mimeType"],
                      [("Content-Range", f"bytes {first}-{last}/{len(content)}")])

    def do_generateIds(self):
        count = self.number("count", 10, 1, 1000)
        space = self.request.query.get("space", "drive")
        kind = self.request.query.get("type", "files")
        if space not in ("drive", "appDataFolder"):
            raise Problem("invalid", location="space")
        if kind not in ("files", "shortcuts"):
            raise Problem("invalid", location="type")
        ids = [self.drive._new_id() for _ in range(count)]
        self.drive.ids_given.update({i: kind for i in ids})
        return as_json(self.select(drive_query.IDS, "*").cut(
            {"kind": "drive#generatedIds", "space": space, "ids": ids}))

    def number(self, name, default, low, high):
        text = self.request.query.get(name, str(default))
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise Problem("invalidParameter", f"Invalid value '{text}'. Values must be within the"
                          f" range: [{low}, {high}]", name)
        return int(text)

    def do_list(self):
        query = self.request.query
        fields = self.select(drive_query.LIST,
                             f"kind,nextPageToken,incompleteSearch,files({DEFAULT_FIELDS})")
        size = self.number("pageSize", 100, 1, 1000)
        if query.get("spaces", "drive") != "drive":
            raise Problem("invalid", location="spaces")
        if query.get("corpora", "user") not in ("user", "drive", "allDrives"):
            raise Problem("invalid", location="corpora")
        if (query.get("corpora") == "drive") != ("driveId" in query):
            raise Problem("invalid", "corpora=drive and driveId go together", "driveId")
        self.shared_too = query.get("includeItemsFromAllDrives") == "true"
        if (self.shared_too or query.get("corpora", "user") != "user") and not self.all_drives:
            raise Problem("invalid", "supportsAllDrives is missing", "includeItemsFromAllDrives")
        try:
            question = Query(query.get("q", ""), self.drive._alias)
        except QueryError as e:
            raise Problem("invalid", f"Invalid Value: {e}", "q") from e
        start = self.page_start()
        found = self.found(question, self.sorter())
        if self.is_fault("empty_page", "incomplete"):
            page, end = [], start
        else:
            page, end = found[start:start + size], start + size
        answer = {"kind": "drive#fileList", "incompleteSearch": self.is_fault("incomplete"),
                  "files": [self.resource(f) for f in page]}
        if end < len(found) and not self.is_fault("incomplete") or self.is_fault("empty_page"):
            answer["nextPageToken"] = self.page_token(end)
        return as_json(fields.cut(answer))

    def found(self, question, order):
        drive = self.drive
        if question.parent is not None:
            if question.parent not in drive.files_by_id or (
                    drive.files_by_id[question.parent].get("driveId") == question.parent
                    and not self.everything):
                raise Problem("notFound", "File not found: .", "fileId")
            pool = [drive.files_by_id[i] for i in drive.children.get(question.parent, ())]
        else:
            pool = drive.files_by_id.values()
        now = time.monotonic()
        found = [f for f in pool if f["id"] not in (drive.root, f.get("driveId"))
                 and f["visible_at"] <= now and self.in_corpora(f, question)
                 and (self.everything or f["project"] == self.project) and question.matches(f)]
        found.sort(key=lambda f: -f["sequence"])  # newest first, which the others keep for equals
        for key, reverse in reversed(order):
            found.sort(key=key, reverse=reverse)
        return found

    def in_corpora(self, file, question):
        """Whether a list that asks so is about what is there, where the file is."""
        shared = file.get("driveId")
        corpora = self.request.query.get("corpora", "user")
        if corpora == "drive":
            return self.shared_too and shared == self.request.query["driveId"]
        if not shared:
            return True
        return self.shared_too and (corpora == "allDrives" or question.parent is not None)

    def sorter(self):
        order = []
        for part in filter(None, (p.strip() for p in self.request.query.get("orderBy", "").split(
                ","))):
            words = part.split()
            keys = {"createdTime": lambda f: f["createdTime"],
                    "modifiedTime": lambda f: f["modifiedTime"],
                    "recency": lambda f: f["modifiedTime"],
                    "modifiedByMeTime": lambda f: f["modifiedTime"],
                    "name": lambda f: f["name"].lower(),
                    "name_natural": lambda f: [int(t) if t.isdigit() else t for t in
                                               re.split(r"(\d+)", f["name"].lower())],
                    "folder": lambda f: f["mimeType"] != FOLDER,
                    "starred": lambda f: not f["starred"],
                    "quotaBytesUsed": lambda f: f.get("size", 0)}
            if words[0] not in keys or words[1:] not in ([], ["desc"]):
                raise Problem("invalid", location="orderBy")
            order.append((keys[words[0]], bool(words[1:])))
        return order

    def page_key(self):
        """A token is good for the question that it came from only."""
        same = [self.request.query.get(n, "")
                for n in ("q", "orderBy", "spaces", "corpora", "driveId")]
        return hashlib.sha256("\n".join(same).encode()).hexdigest()[:16]

    def page_token(self, start):
        # An offset, as bad as Google's: who moves files between two pages misses some.
        return "~!!~" + base64.urlsafe_b64encode(f"{start}:{self.page_key()}".encode()).decode()

    def page_start(self):
        token = self.request.query.get("pageToken")
        if not token:
            return 0
        try:
            start, key = base64.urlsafe_b64decode(token[4:]).decode().split(":")
            if not token.startswith("~!!~") or key != self.page_key():
                raise ValueError
            return int(start)
        except ValueError as e:
            raise Problem("invalid", location="pageToken") from e

    # ---- writing ----

    def json_body(self, data=None):
        data = self.body if data is None else data
        try:
            meta = json.loads(data) if data.strip() else {}
        except ValueError as e:
            raise Problem("parseError") from e
        if not isinstance(meta, dict):
            raise Problem("parseError")
        self.row["name"] = meta.get("name")
        return meta

    def check_meta(self, meta, later=False):
        for name in meta:
            if name in READ_ONLY_FIELDS or (later and name in FIXED_LATER):
                if name == "parents":
                    raise Problem("fieldNotWritable", "The parents field is not directly writable"
                                  " in update requests. Use the addParents and removeParents"
                                  " parameters instead.")
                raise Problem("fieldNotWritable")
            if name not in WRITABLE_FIELDS:
                self.note(f"unknown field {name}")
        for name in ("name", "mimeType", "description", "createdTime", "modifiedTime", "id"):
            if not isinstance(meta.get(name, ""), str):
                raise Problem("invalid", f"Invalid value for: {name}")
        for name in ("starred", "trashed"):
            if not isinstance(meta.get(name, True), bool):
                raise Problem("invalid", f"Invalid value for: {name}")
        for name in ("createdTime", "modifiedTime"):
            if name in meta and not good_time(meta[name]):
                raise Problem("invalid", f"Invalid value for: {name}, not RFC 3339")
        if not isinstance(meta.get("shortcutDetails", {}), dict):
            raise Problem("invalid", "Invalid value for: shortcutDetails")
        for name in ("appProperties", "properties"):
            self.check_properties(name, meta.get(name))

    @staticmethod
    def check_properties(name, properties):
        if properties is None:
            return
        if not isinstance(properties, dict):
            raise Problem("invalid", f"Invalid value for: {name}")
        for key, value in properties.items():
            if value is not None and not isinstance(value, str):
                raise Problem("invalid", f"Invalid value for: {name}.{key}")
            if len((key + (value or "")).encode()) > PROPERTY_MAX:
                raise Problem("invalid", f"{name}: key and value have more than {PROPERTY_MAX}"
                              " bytes")
        if len([v for v in properties.values() if v is not None]) > PROPERTIES_MAX:
            raise Problem("appPropertiesLimitExceeded", status=403)

    def check_new(self, meta, size=0):
        """What must hold when a file is made; asked again when an upload ends."""
        drive = self.drive
        file_id = meta.get("id")
        if file_id is not None:
            if file_id in drive.ids_used or file_id in drive.files_by_id:
                raise Problem("fileIdInUse", location="file.id", kind="other")
            kind = "shortcuts" if meta.get("mimeType") == SHORTCUT else "files"
            if drive.ids_given.get(file_id) != kind:
                raise Problem("invalid", "The provided file ID is not usable.", "file.id",
                              kind="other")
            mime = meta.get("mimeType") or ""
            if mime.startswith(NATIVE) and mime not in NATIVE_WITH_ID:
                raise Problem("invalid", "Generated IDs are not supported for this type.")
        parents = meta.get("parents")
        if parents is not None and (not isinstance(parents, list)
                                    or not all(isinstance(p, str) for p in parents)):
            raise Problem("invalid", "Invalid value for: parents")
        if parents and len(parents) > 1:
            raise Problem("cannotAddParent", "A file cannot be created with more than one parent.")
        for parent in parents or ["root"]:
            self.check_parent(self.visible(parent, "fileId"))
        if meta.get("mimeType") == SHORTCUT:
            self.check_shortcut(meta)
        elif "shortcutDetails" in meta:
            raise Problem("invalid", "shortcutDetails of what is no shortcut")
        limit = self.settings.quota_limit
        if limit and size and drive.used + size > limit:
            raise Problem("storageQuotaExceeded")

    def check_parent(self, parent):
        if parent["mimeType"] != FOLDER:
            raise Problem("parentNotAFolder", "The specified parent is not a folder.", status=403)
        if (parent["id"] != self.drive.root
                and len(self.drive.children[parent["id"]]) >= self.settings.children_max):
            raise Problem("numChildrenInNonRootLimitExceeded")
        if self.drive._depth(parent["id"]) >= DEPTH_MAX:
            raise Problem("myDriveHierarchyDepthLimitExceeded", status=403)

    def check_shortcut(self, meta):
        target = (meta.get("shortcutDetails") or {}).get("targetId")
        if not isinstance(target, str) or not target:
            raise Problem("shortcutTargetInvalid", "The target of a shortcut is missing.")
        if self.visible(target, "file.shortcutDetails.targetId")["mimeType"] == SHORTCUT:
            raise Problem("shortcutTargetInvalid", "The target of a shortcut is a shortcut.",
                          status=403)

    def make(self, meta, data=None, content_type=None):
        """A file comes to be. Returns it."""
        file = self.drive._new_file({**meta, "mimeType": meta.get("mimeType") or content_type},
                                    self.project)
        if data is not None:
            self.fill(file, data)
        if meta.get("trashed"):
            file["explicitlyTrashed"] = True
        self.drive._enter(file)
        if file["explicitlyTrashed"]:
            self.drive._set_trashed(file, True)
        return file

    def fill(self, file, data):
        file["damaged"] = False
        if self.is_fault("wrong_md5") and data:
            file["damaged"] = True
            data = data[:-1] + bytes([data[-1] ^ 1])
        elif self.is_fault("wrong_size"):
            file["damaged"] = True
            data = data[:len(data) * 3 // 4]
        self.drive._fill(file, data)

    def store(self, meta, data, content_type, file_id, fields):
        """The end of each kind of upload: a new file, or new content for one."""
        if file_id:
            file = self.visible(file_id)
            self.change(file, meta)
            self.fill(file, data)
            file["commits"] += 1
        else:
            self.check_new(meta, len(data))
            file = self.make(meta, data, content_type)
        return self.file_answer(file, fields)

    def do_create(self):
        if self.request.path.startswith("/upload"):
            raise Problem("badRequest", "uploadType is missing or unknown", "uploadType")
        meta = self.json_body()
        fields = self.file_fields()
        self.check_meta(meta)
        self.check_new(meta)
        data = None if (meta.get("mimeType") or "").startswith(NATIVE) else b""
        return self.file_answer(self.make(meta, data), fields)

    def do_simple(self):
        fields = self.file_fields()
        return self.store({}, self.body, self.request.headers.get("content-type"), self.file_id,
                          fields)

    def do_multipart(self):
        fields = self.file_fields()
        parts = self.parts()
        if len(parts) != 2 or "json" not in parts[0][0].get("content-type", ""):
            raise Problem("badRequest", "Malformed multipart body.")
        meta = self.json_body(parts[0][1])
        self.check_meta(meta, later=self.file_id is not None)
        headers, data = parts[1]
        if headers.get("content-transfer-encoding", "").lower() == "base64":
            data = base64.b64decode(data)
        if len(data) > 5 << 20:
            self.note(f"{len(data)} bytes in a multipart upload")
        return self.store(meta, data, headers.get("content-type"), self.file_id, fields)

    def parts(self):
        kind = self.request.headers.get("content-type", "")
        match = re.search(r'boundary=(?:"([^"]+)"|([^;\s]+))', kind)
        if not kind.lower().startswith("multipart/related") or not match:
            raise Problem("badRequest", "Content-Type must be multipart/related with a boundary")
        boundary = b"--" + (match.group(1) or match.group(2)).encode()
        body = b"\r\n" + self.body
        if body.count(b"\r\n" + boundary) < 2 and body.count(b"\n" + boundary) > 1:
            body = body.replace(b"\n" + boundary, b"\r\n" + boundary)  # bare line ends
        pieces = body.split(b"\r\n" + boundary)
        if not pieces[-1].startswith(b"--"):
            raise Problem("badRequest", "Missing end boundary in multipart body.")
        parts = []
        for piece in pieces[1:-1]:
            head, mark, data = re.split(rb"(\r?\n\r?\n)", piece, maxsplit=1) if re.search(
                rb"\r?\n\r?\n", piece) else (piece, b"", b"")
            if not mark:
                raise Problem("badRequest", "Malformed multipart body.")
            headers = {}
            for line in head.decode("latin-1").splitlines():
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            parts.append((headers, data))
        return parts

    # ---- resumable uploads ----

    def do_session(self):
        meta = self.json_body()
        length = self.request.headers.get("x-upload-content-length")
        if length is not None and not re.fullmatch(r"\d+", length):
            raise Problem("badRequest", "X-Upload-Content-Length is no number")
        self.check_meta(meta, later=self.file_id is not None)
        if self.file_id:
            self.visible(self.file_id)
        else:
            self.check_new(meta, int(length or 0))
        self.file_fields()  # a wrong selection is refused at once
        upload_id = "ABgVH8" + secrets.token_urlsafe(60)
        self.drive.sessions[upload_id] = {
            "meta": meta, "type": self.request.headers.get("x-upload-content-type"),
            "total": int(length) if length is not None else None, "kept": bytearray(),
            "fields": self.request.query.get("fields"), "project": self.project,
            "account": self.account, "everything": self.everything, "target": self.file_id,
            "all_drives": self.all_drives,
            "file": None, "end": self.drive.now() + self.settings.session_life_s}
        self.row["file"] = meta.get("id")
        location = (f"{self.drive.origin()}{self.request.path}?uploadType=resumable"
                    f"&upload_id={upload_id}")
        return Answer(200, b"", None, [("Location", location), ("X-GUploader-UploadID", upload_id)])

    def session(self):
        upload_id = self.request.query["upload_id"]
        session = self.drive.sessions.get(upload_id)
        if session and session["end"] <= self.drive.now() or self.is_fault("session_gone"):
            self.drive.sessions.pop(upload_id, None)
            session = None
        if not session:
            status = self.settings.session_gone_status
            if self.is_fault("session_gone"):
                status = self.fault.get("status", status)
            raise Problem("notFound", "Upload session not found.", status=status)
        # The file belongs to who began the upload.
        self.project, self.account = session["project"], session["account"]
        self.everything, self.all_drives = session["everything"], session["all_drives"]
        self.row["file"] = session["file"] or session["meta"].get("id")
        self.row["name"] = session["meta"].get("name")
        return session

    def do_cancel(self):
        self.session()
        del self.drive.sessions[self.request.query["upload_id"]]
        return Answer(499, b"", None)

    def do_status(self):
        session = self.session()
        match = re.fullmatch(r"bytes \*/(\d+|\*)", self.request.headers["content-range"])
        if not match or self.body:
            raise Problem("badRequest", "Failed to parse Content-Range header.")
        self.agree(session, match.group(1))
        if session["file"]:
            return self.finished(session)
        if session["total"] == len(session["kept"]):
            return self.finish(session)
        return self.incomplete(session)

    def do_chunk(self):
        session = self.session()
        if session["file"]:
            return self.finished(session)
        text = self.request.headers.get("content-range")
        if text is None:  # everything at once
            self.agree(session, str(len(self.body)))
            start, last, total = 0, len(self.body) - 1, str(len(self.body))
        else:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text)
            if not match:
                raise Problem("badRequest", "Failed to parse Content-Range header.")
            start, last, total = int(match.group(1)), int(match.group(2)), match.group(3)
            if last < start or last + 1 - start != len(self.body):
                raise Problem("badRequest", "Content-Range does not agree with the body.")
            self.agree(session, total)
            if session["total"] is not None and last >= session["total"]:
                raise Problem("badRequest", "Content-Range is beyond the end.")
        if start > len(session["kept"]):
            raise Problem("backendError", "Invalid request. The number of bytes uploaded is"
                          " required to be equal to the offset.", status=503)
        final = session["total"] is not None and last + 1 == session["total"]
        if not final and len(self.body) % self.settings.chunk_multiple:
            self.note(f"a chunk of {len(self.body)} bytes")
        data = self.body
        if self.is_fault("short308"):
            data, final = data[:self.fault.get("keep", 0)], False
            new = data[len(session["kept"]) - start:]
            session["kept"] += new
            return self.incomplete(session)
        self.append(session, start, data, final)
        return self.finish(session) if final else self.incomplete(session)

    def append(self, session, start, data, final):
        """Overlap is ignored, and what is no multiple is not kept unless it is the end."""
        multiple = self.settings.chunk_multiple
        kept = session["kept"]
        kept += data[len(kept) - start:]
        if not final:
            del kept[len(kept) // multiple * multiple:]

    @staticmethod
    def agree(session, total):
        if total == "*":
            return
        if session["total"] is not None and session["total"] != int(total):
            raise Problem("badRequest", "The total does not agree with what was announced.")
        session["total"] = int(total)

    @staticmethod
    def incomplete(session):
        kept = len(session["kept"])
        return Answer(308, b"", None, [("Range", f"bytes=0-{kept - 1}")] if kept else [])

    def session_fields(self, session):
        return Fields(session["fields"] or DEFAULT_FIELDS, drive_query.FILE)

    def finish(self, session):
        data, session["kept"] = bytes(session["kept"]), bytearray()
        try:
            answer = self.store(session["meta"], data, session["type"], session["target"],
                                self.session_fields(session))
        except Problem:
            session["kept"] = bytearray(data)
            raise
        session["file"] = self.row["file"]
        return answer

    def finished(self, session):
        return self.file_answer(self.visible(session["file"]), self.session_fields(session))

    # ---- changing ----

    def do_update(self):
        meta = self.json_body()
        fields = self.file_fields()
        file = self.visible(self.file_id)
        self.check_meta(meta, later=True)
        self.change(file, meta)
        return self.file_answer(file, fields)

    def change(self, file, meta):
        if file["id"] in (self.drive.root, file.get("driveId")):
            raise Problem("insufficientFilePermissions")
        parents = self.new_parents(file)
        properties = {}
        for name in ("appProperties", "properties"):
            properties[name] = {**file[name], **(meta.get(name) or {})}
            properties[name] = {k: v for k, v in properties[name].items() if v is not None}
            self.check_properties(name, properties[name])
        # Nothing is refused from here on.
        file.update(properties)
        for name in ("name", "mimeType", "description", "starred"):
            if name in meta:
                file[name] = meta[name]
        file["modifiedTime"] = normal_time(meta.get("modifiedTime")) or self.drive._time()
        if parents != file["parents"]:
            self.drive._move(file, parents)
        if "trashed" in meta:
            self.drive._set_trashed(file, meta["trashed"])

    def new_parents(self, file):
        query = self.request.query
        lists = {n: [self.drive._alias(p) for p in query.get(n, "").split(",") if p]
                 for n in ("addParents", "removeParents")}
        add, remove = lists["addParents"], lists["removeParents"]
        if set(add) & set(remove):
            raise Problem("badRequest", "The same parent is added and removed.")
        for parent in add:
            self.check_parent(self.visible(parent))
            if parent in file["parents"]:
                raise Problem("badRequest", "A duplicate parent is added.")
            self.check_cycle(file, parent)
        parents = [p for p in file["parents"] if p not in remove] + add
        if len(parents) > max(len(file["parents"]), 1):
            raise Problem("cannotAddParent")
        if not parents:
            raise Problem("badRequest", "A file's last parent cannot be removed.")
        return parents

    def check_cycle(self, file, parent):
        while parent:
            if parent == file["id"]:
                raise Problem("badRequest", "The parent is below the file itself.")
            above = self.drive.files_by_id[parent]["parents"]
            parent = above[0] if above else None

    def do_delete(self):
        file = self.visible(self.file_id)
        if file["id"] in (self.drive.root, file.get("driveId")):
            raise Problem("insufficientFilePermissions")
        self.row["name"] = file["name"]
        self.drive._delete(file)
        return Answer(204)

    def do_emptyTrash(self):
        for file in [f for f in self.drive.files_by_id.values() if f["explicitlyTrashed"]]:
            if file["id"] in self.drive.files_by_id:
                self.drive._delete(file)
        return Answer(204)
