"""The API's description is OpenAPI 3.1, tells of all routes that the running daemon has and of no
others, and the daemon's answers are as it says. Validators from npm judge."""

import json
import re
import subprocess
import urllib.parse

import pytest

from conftest import ROOT, missing, wait_until

METHODS = ("get", "post", "delete")
HOME = ROOT / ".deps/openapi"
NOBODY = "0" * 32
CONFIG = """
[camera:porch]
kind = foscam
address = {address}
location = Front Door
[camera:yard]
location = Back Yard
[camera:cellar]
enabled = no
location = Cellar
[directory:safe]
path = {folder}
[detection]
model = {model}
[web]
thumbnails = asked
"""


def check(document, exchanges):
    """Findings of the validators."""
    if not HOME.exists():
        missing("validators of OpenAPI")
    told = subprocess.run(
        ["node", ROOT / "tests/e2e/openapi_check.mjs", HOME], capture_output=True, text=True,
        input=json.dumps({"document": document, "exchanges": exchanges}), check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def operations(document):
    return {(method.upper(), path) for path, item in document["paths"].items()
            for method in METHODS if method in item}


def routes(d):
    """The daemon's own list; a path with several parts at its end is a plain one here."""
    status, _, body = d.request("/", headers={"Accept": "text/plain"})
    assert status == 200
    found = re.findall(r"^  ([A-Z]+) +(/\S*)  ", body.decode(), re.MULTILINE)
    return {(method, path.replace("...}", "}")) for method, path in found}


class Client:
    """Asks the daemon and remembers what it answered, by route."""

    def __init__(self, d):
        self.d = d
        self.known = routes(d)
        self.exchanges = []

    def ask(self, method, path, /, *, query="", headers=None, body=None, **captures):
        """Nothing happens when the daemon has no such route. (status, document or bytes)"""
        if (method, path) not in self.known:
            return None, None
        target = path
        for name, value in captures.items():
            target = target.replace("{%s}" % name, urllib.parse.quote(value, safe=""))
        status, got, data = self.send(method, target + query, headers or {}, body)
        kind = got.get("Content-Type", "")
        shown = data.decode() if kind.startswith(("application/json", "text/")) else "(bytes)"
        self.exchanges.append({"method": method, "path": path, "status": status, "type": kind,
                               "body": shown if data else ""})
        return status, json.loads(data) if kind == "application/json" else data

    def send(self, method, target, headers, body):
        if body is None or isinstance(body, bytes):
            return self.d.request(target, method, headers=headers, **({"data": body} if body else {}))
        return self.d.request(target, method, data=json.dumps(body).encode(),
                              headers={**headers, "Content-Type": "application/json"})


@pytest.fixture
def house(launch, people, model, tmp_path):
    folder = tmp_path / "safe"
    folder.mkdir()
    sim = launch.camera(people)
    return launch.daemon(CONFIG.format(address=sim.address, folder=folder, model=model))


def test_it_is_openapi_and_describes_what_there_is(house):
    served = house.get("/api/openapi.json")
    assert check(served, []) == []
    assert operations(served) == routes(house)
    source = json.loads((ROOT / "doc/openapi.json").read_text())
    assert check(source, []) == []
    assert operations(source) == routes(house), "in doc/openapi.json"


def look_at_cameras(c):
    c.ask("GET", "/api/v1/cameras")
    c.ask("GET", "/api/v1/cameras/{name}", name="porch")
    c.ask("GET", "/api/v1/cameras/{name}", name="no body")
    c.ask("GET", "/api/v1/cameras/{name}/latest.jpg", name="porch")
    c.ask("GET", "/api/v1/cameras/{name}/latest.jpg", name="porch", query="?width=320")
    c.ask("GET", "/api/v1/cameras/{name}/latest.jpg", name="porch", query="?width=1")
    c.ask("GET", "/api/v1/cameras/{name}/latest.jpg", name="yard")
    for what in ("disable", "enable"):
        c.ask("POST", "/api/v1/cameras/{name}/" + what, name="yard")
        c.ask("POST", "/api/v1/cameras/{name}/" + what, name="nobody")
        c.ask("POST", "/api/v1/cameras/{name}/" + what, name="yard", query="?x=1")
    c.ask("POST", "/api/v1/cameras/{name}/enable", name="cellar")
    c.ask("POST", "/api/v1/cameras/{name}/trigger", name="cellar")
    c.ask("POST", "/api/v1/cameras/{name}/trigger", name="nobody")
    c.ask("POST", "/api/v1/cameras/{name}/trigger", name="porch", query="?wait=x")


def look_at_snapshots(c, picture):
    c.ask("GET", "/api/v1/snapshots", query="?person=1&camera=porch&limit=1")
    c.ask("GET", "/api/v1/snapshots", query="?limit=0")
    for path in ("count", "histogram"):
        c.ask("GET", "/api/v1/snapshots/" + path, query="?camera=porch")
        c.ask("GET", "/api/v1/snapshots/" + path, query="?from=never")
    c.ask("GET", "/api/v1/snapshots.zip", query="?limit=1")
    c.ask("GET", "/api/v1/snapshots.zip", query="?limit=none")
    for snapshot in (picture["id"], NOBODY):
        one = "/api/v1/snapshots/{id}"
        c.ask("GET", one, id=snapshot)
        c.ask("GET", one + "/image", id=snapshot)
        c.ask("GET", one + "/image", id=snapshot, headers={"Range": "bytes=0-9"})
        c.ask("GET", one + "/image", id=snapshot, headers={"Range": "bytes=999999999-"})
        c.ask("GET", one + "/image", id=snapshot, query="?annotated=1")
        c.ask("GET", one + "/thumbnail", id=snapshot)
        c.ask("GET", one + "/thumbnail", id=snapshot, query="?width=5")
        c.ask("GET", one + "/neighbours", id=snapshot)
        c.ask("POST", one + "/star", id=snapshot)
        c.ask("DELETE", one, id=snapshot)  # it has a star
        c.ask("POST", one + "/unstar", id=snapshot)
        c.ask("POST", one + "/upload-again", id=snapshot)
        c.ask("POST", one + "/detect", id=snapshot)
        c.ask("POST", one + "/link", id=snapshot)
        c.ask("DELETE", one, id=snapshot)
        c.ask("POST", one + "/undelete", id=snapshot)
    c.ask("GET", "/api/v1/triggers/{id}", id=picture["id"])
    c.ask("GET", "/api/v1/triggers/{id}", id=NOBODY)


def bring_a_picture(c, bytes_):
    path = "/api/v1/cameras/{name}/snapshots"
    image = {"Content-Type": "image/jpeg"}
    for name in ("yard", "cellar", "nobody"):
        c.ask("POST", path, name=name, headers=image, body=bytes_)
    c.ask("POST", path, name="yard", headers=image, body=b"no picture")
    c.ask("POST", path, name="yard", headers={"Content-Type": "text/plain"}, body=b"x")


def look_at_the_program(c):
    for path in ("/", "/api/v1/status", "/api/v1/destinations", "/api/v1/queues", "/api/v1/config",
                 "/api/openapi.json", "/healthz", "/readyz", "/metrics"):
        c.ask("GET", path)
    c.ask("GET", "/", headers={"Accept": "text/html"})
    c.ask("GET", "/assets/{path}", path="index.html")


def come_in(c):
    c.ask("GET", "/api/v1/session")
    c.ask("POST", "/api/v1/users",
          body={"name": "anna", "role": "admin", "password": "correct horse battery"})
    c.ask("POST", "/api/v1/users", body={"name": "anna", "role": "admin", "password": "x"})
    c.ask("POST", "/api/v1/users",
          body={"name": "ben", "role": "viewer", "password": "a quiet porch"})
    c.ask("POST", "/api/v1/users/{name}", name="ben", body={"role": "admin"})
    c.ask("POST", "/api/v1/users/{name}", name="nobody", body={"role": "admin"})
    c.ask("GET", "/api/v1/users")
    c.ask("POST", "/api/v1/login", body={"user": "anna", "password": "correct horse battery"})
    c.ask("POST", "/api/v1/login", body={"user": "anna", "password": "wrong"})
    c.ask("POST", "/api/v1/password", body={"password": "x", "new": "y"})
    c.ask("POST", "/api/v1/logout")
    c.ask("DELETE", "/api/v1/users/{name}", name="ben")
    c.ask("DELETE", "/api/v1/users/{name}", name="ben")
    _, token = c.ask("POST", "/api/v1/tokens", body={"name": "bell", "scopes": ["read"]})
    c.ask("POST", "/api/v1/tokens", body={"name": "bell", "scopes": ["all"]})
    c.ask("GET", "/api/v1/tokens")
    for _ in range(2):
        c.ask("DELETE", "/api/v1/tokens/{id}", id=token["id"] if token else "0")
    c.ask("GET", "/api/v1/audit")
    c.ask("GET", "/api/v1/audit", query="?limit=0")


# What cannot be asked to its end, or wants a session, is another test's.
ELSEWHERE = {("GET", "/api/v1/events"), ("POST", "/api/v1/password"), ("GET", "/s/{link}")}


def test_answers_are_as_described(house, people):
    c = Client(house)
    c.ask("GET", "/api/v1/snapshots")
    status, picture = c.ask("POST", "/api/v1/cameras/{name}/trigger", name="porch",
                            query="?wait=60")
    assert status == 200, picture
    c.ask("POST", "/api/v1/cameras/{name}/trigger", name="porch")
    wait_until(lambda: not house.undrawn(), "the copies to be drawn")
    look_at_cameras(c)
    look_at_snapshots(c, picture)
    bring_a_picture(c, people.read_bytes())
    look_at_the_program(c)
    come_in(c)
    assert check(house.get("/api/openapi.json"), c.exchanges) == []
    answered = {(e["method"], e["path"]) for e in c.exchanges if e["status"] < 300}
    assert c.known - answered - ELSEWHERE == set(), "no success of theirs was looked at"


def test_a_member_that_nobody_described_is_found(house):
    c = Client(house)
    _, cameras = c.ask("GET", "/api/v1/cameras")
    cameras["cameras"][0]["secret"] = 1
    c.exchanges[0]["body"] = json.dumps(cameras)
    found = check(house.get("/api/openapi.json"), c.exchanges)
    assert len(found) == 1 and "additional properties" in found[0], found
