"""Two small languages of the Drive API: `q` of files.list, and `fields`.

Both are strict: what Google refuses is refused, and what we do not know is refused rather than
guessed.
"""

import datetime
import re

TOKEN = re.compile(r"""\s*(?:
    (?P<string>'(?:[^'\\]|\\.)*')
  | (?P<operator><=|>=|!=|=|<|>|\(|\)|\{|\})
  | (?P<word>[A-Za-z]+)
)""", re.VERBOSE | re.DOTALL)

TIMES = {"createdTime", "modifiedTime"}
TEXTS = {"name": {"=", "!=", "contains"}, "mimeType": {"=", "!=", "contains"}}
FLAGS = {"trashed", "starred"}
MAPS = {"appProperties", "properties"}


class QueryError(Exception):
    pass


def parse_time(text):
    """RFC 3339 to seconds; raises ValueError. A zone is a must in files, not in queries."""
    when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return when.timestamp()


class Query:
    """A parsed question: `matches(file)` judges, `parent` is the id that each match has as a
    parent when the question says so at its top, for an index."""

    def __init__(self, text, alias=lambda i: i):
        self.alias = alias
        self.tokens = self._split(text)
        self.at = 0
        self.parent = None
        if not self.tokens:
            self.matches = lambda f: True
            return
        self.matches = self._or(top=True)
        if self.at != len(self.tokens):
            raise QueryError(f"'{self.tokens[self.at][1]}' is not expected")

    @staticmethod
    def _split(text):
        tokens = []
        at = 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if not match:
                raise QueryError(f"not understood: {text[at:at + 20]!r}")
            at = match.end()
            kind = match.lastgroup
            value = match.group(kind)
            if kind == "string":
                value = unquote(value)
            tokens.append((kind, value))
        return tokens

    def _peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else (None, None)

    def _next(self, kind=None, value=None):
        token = self._peek()
        if token[0] is None or (kind and token[0] != kind) or (value and token[1] != value):
            raise QueryError(f"expected {value or kind}, found {token[1]!r}")
        self.at += 1
        return token[1]

    def _or(self, top=False):
        parts = [self._and(top)]
        while self._peek() == ("word", "or"):
            self.at += 1
            parts.append(self._and())
        if len(parts) == 1:
            return parts[0]
        self.parent = None if top else self.parent  # only one side demands it
        return lambda f: any(part(f) for part in parts)

    def _and(self, top=False):
        parts = [self._not(top)]
        while self._peek() == ("word", "and"):
            self.at += 1
            parts.append(self._not(top))
        return parts[0] if len(parts) == 1 else lambda f: all(part(f) for part in parts)

    def _not(self, top=False):
        if self._peek() == ("word", "not"):
            self.at += 1
            inner = self._not()
            return lambda f: not inner(f)
        if self._peek() == ("operator", "("):
            self.at += 1
            inner = self._or()
            self._next("operator", ")")
            return inner
        return self._term(top)

    def _term(self, top):
        kind, value = self._peek()
        if kind == "string":
            return self._membership(top)
        name = self._next("word")
        if name in TEXTS:
            return self._text(name)
        if name in FLAGS:
            operator = self._next("operator")
            if operator not in ("=", "!="):
                raise QueryError(f"{name} {operator}")
            word = self._next("word")
            if word not in ("true", "false"):
                raise QueryError(f"{name} = {word}")
            wanted = (word == "true") == (operator == "=")
            return lambda f: f[name] == wanted
        if name in TIMES:
            return self._time(name)
        if name in MAPS:
            return self._has(name)
        raise QueryError(f"no term '{name}'")

    def _membership(self, top):
        value = self.alias(self._next("string"))
        self._next("word", "in")
        name = self._next("word")
        if name == "parents":
            if top:
                self.parent = value
            return lambda f: value in f["parents"]
        if name in ("owners", "writers", "readers"):
            return lambda f: True  # one account only
        raise QueryError(f"'...' in {name}")

    def _text(self, name):
        operator = self._next()
        value = self._next("string")
        if operator not in TEXTS[name]:
            raise QueryError(f"{name} {operator}")
        if operator == "contains":
            # Google's `name contains` knows beginnings of words only.
            start = re.compile(r"(?:^|[\W_])" + re.escape(value), re.IGNORECASE)
            return lambda f: bool(start.search(f[name]))
        return lambda f: (f[name] == value) == (operator == "=")

    def _time(self, name):
        operator = self._next("operator")
        try:
            value = parse_time(self._next("string"))
        except ValueError as e:
            raise QueryError(str(e)) from e
        compare = {"=": lambda a: a == value, "!=": lambda a: a != value, "<": lambda a: a < value,
                   "<=": lambda a: a <= value, ">": lambda a: a > value,
                   ">=": lambda a: a >= value}.get(operator)
        if not compare:
            raise QueryError(f"{name} {operator}")
        return lambda f: compare(parse_time(f[name]))

    def _has(self, name):
        self._next("word", "has")
        self._next("operator", "{")
        self._next("word", "key")
        self._next("operator", "=")
        key = self._next("string")
        self._next("word", "and")
        self._next("word", "value")
        self._next("operator", "=")
        value = self._next("string")
        self._next("operator", "}")
        return lambda f: f[name].get(key) == value


def unquote(text):
    r"""Within quotes only \' and \\ mean something else than themselves."""
    def replace(match):
        if match.group(1) not in "'\\":
            raise QueryError(f"no escape {match.group(0)!r}")
        return match.group(1)

    return re.sub(r"\\(.)", replace, text[1:-1], flags=re.DOTALL)


# ---- fields ----

USER = {name: None for name in ("kind", "displayName", "photoLink", "me", "permissionId",
                                "emailAddress")}
ANY = "any"  # a map whose keys are the users'
FILE = {name: None for name in (
    "kind", "id", "name", "mimeType", "description", "starred", "trashed", "explicitlyTrashed",
    "trashedTime", "parents", "spaces", "version", "webContentLink", "webViewLink", "iconLink",
    "hasThumbnail", "thumbnailLink", "thumbnailVersion", "viewedByMe", "viewedByMeTime",
    "createdTime", "modifiedTime", "modifiedByMeTime", "modifiedByMe", "sharedWithMeTime",
    "ownedByMe", "driveId", "teamDriveId", "shared", "viewersCanCopyContent", "copyRequiresWriterPermission",
    "writersCanShare", "permissionIds", "hasAugmentedPermissions", "folderColorRgb",
    "originalFilename", "fullFileExtension", "fileExtension", "md5Checksum", "sha1Checksum",
    "sha256Checksum", "size", "quotaBytesUsed", "headRevisionId", "isAppAuthorized", "resourceKey",
    "inheritedPermissionsDisabled")}
FILE.update({
    "properties": ANY, "appProperties": ANY, "capabilities": ANY, "exportLinks": ANY,
    "contentHints": ANY, "imageMediaMetadata": ANY, "videoMediaMetadata": ANY, "permissions": ANY,
    "contentRestrictions": ANY, "linkShareMetadata": ANY, "labelInfo": ANY,
    "downloadRestrictions": ANY,
    "owners": USER, "sharingUser": USER, "trashingUser": USER, "lastModifyingUser": USER,
    "shortcutDetails": {name: None for name in ("targetId", "targetMimeType", "targetResourceKey")},
})
LIST = {"kind": None, "nextPageToken": None, "incompleteSearch": None, "files": FILE}
ABOUT = {"kind": None, "user": USER, "maxUploadSize": None, "appInstalled": None,
         "canCreateDrives": None, "canCreateTeamDrives": None, "exportFormats": ANY,
         "importFormats": ANY, "maxImportSizes": ANY, "folderColorPalette": None,
         "driveThemes": ANY, "teamDriveThemes": ANY,
         "storageQuota": {name: None for name in ("limit", "usage", "usageInDrive",
                                                  "usageInDriveTrash")}}
IDS = {"kind": None, "space": None, "ids": None}


class FieldsError(Exception):
    """Has the name that is wrong."""


class Fields:
    """A parsed selection, checked against what a resource has: `cut(resource)`."""

    def __init__(self, text, schema):
        self.text = text
        self.at = 0
        self.tree = self._list(schema)
        if self.at != len(text):
            raise FieldsError(text[self.at:])

    def _list(self, schema):
        tree = {}
        while True:
            self._path(tree, schema)
            if self.text[self.at:self.at + 1] != ",":
                return tree
            self.at += 1

    def _path(self, tree, schema):
        match = re.compile(r"\s*(\*|[A-Za-z_][A-Za-z0-9_\-]*)\s*").match(self.text, self.at)
        if not match:
            raise FieldsError(self.text[self.at:] or self.text)
        self.at = match.end()
        name = match.group(1)
        if name == "*":
            inner = None
        elif schema == ANY:
            inner = ANY
        elif schema is None or name not in schema:
            raise FieldsError(name)
        else:
            inner = schema[name]
        sign = self.text[self.at:self.at + 1]
        if sign in ("/", "(") and sign:
            self.at += 1
            below = {}
            if sign == "/":
                self._path(below, inner)
            else:
                below = self._list(inner)
                if self.text[self.at:self.at + 1] != ")":
                    raise FieldsError(self.text[self.at:] or self.text)
                self.at += 1
            old = tree.get(name, below)
            tree[name] = None if old is None else {**old, **below}
        else:
            tree[name] = None  # the whole

    def cut(self, resource):
        return cut(resource, self.tree)


def cut(value, tree):
    if tree is None or "*" in tree:
        return value
    if isinstance(value, list):
        return [cut(v, tree) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: cut(v, tree[k]) for k, v in value.items() if k in tree}
