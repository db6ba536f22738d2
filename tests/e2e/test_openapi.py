"""The API's description is OpenAPI 3.1, tells of all routes that the running daemon has and of no
others, and the daemon's answers are as it says. Validators from npm judge."""

import json
import re
import subprocess
import urllib.parse

import pytest

from conftest import ROOT, missing, wait_until
from test_http import Events

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
        c.ask("GET", one + "/thumbnail", id=snapshot, headers={"Range": "bytes=0-9"})
        c.ask("GET", one + "/thumbnail", id=snapshot, headers={"Range": "bytes=999999999-"})
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


def change_ones_password(c):
    """As somebody who has logged in."""
    who = {"user": "anna", "password": "correct horse battery"}
    _, headers, body = c.send("POST", "/api/v1/login", {}, who)
    session = {"Cookie": headers["Set-Cookie"].split(";")[0],
               "X-CSRF-Token": json.loads(body)["csrf"]}
    c.ask("POST", "/api/v1/password", headers=session, body={"password": "x", "new": "a new porch"})
    c.ask("POST", "/api/v1/password", headers=session,
          body={"password": who["password"], "new": "a new porch"})


def show_a_picture_to_a_stranger(c, picture):
    path = "/s/{link}"
    for annotated in ("", "?annotated=1"):
        _, link = c.ask("POST", "/api/v1/snapshots/{id}/link", id=picture["id"], query=annotated)
        secret = link["url"].removeprefix("/s/").partition("?")[0]
        for query in (annotated, annotated + ("&" if annotated else "?") + "download=1"):
            c.ask("GET", path, link=secret, query=query)
        c.ask("GET", path, link=secret, query=annotated, headers={"Range": "bytes=0-9"})
        c.ask("GET", path, link=secret, query=annotated, headers={"Range": "bytes=999999999-"})
        c.ask("GET", path, link=secret, query="?download=perhaps")
        _, headers, _ = c.send("GET", path.replace("{link}", secret) + annotated, {}, None)
        status, _ = c.ask("GET", path, link=secret, query=annotated,
                          headers={"If-None-Match": headers["ETag"]})
        assert status == 304
    c.ask("GET", path, link="x")


# Its success is a stream: see below.
ELSEWHERE = {("GET", "/api/v1/events")}


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
    change_ones_password(c)
    show_a_picture_to_a_stranger(c, picture)
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


def parameters(document, method, path):
    """Those of the query, by name."""
    listed = document["paths"][path][method.lower()].get("parameters", [])
    found = [document["components"]["parameters"][p["$ref"].rpartition("/")[2]]
             if "$ref" in p else p for p in listed]
    return {p["name"]: p["schema"] for p in found if p["in"] == "query"}


def ask_with(c, method, path, query):
    """A picture's type, so that the route for those looks further."""
    return c.ask(method, path, query="?" + query, headers={"Content-Type": "image/jpeg"},
                 body=b"x" if method == "POST" else None, id=NOBODY, name="porch", link="x", path="x")


def test_each_route_takes_the_parameters_that_are_described_and_no_other(house):
    document, c = house.get("/api/openapi.json"), Client(house)
    for method, path in sorted(c.known):
        status, answer = ask_with(c, method, path, "no-such=1")
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        taken = set()
        if status == 400 and error.get("parameter") == "no-such":
            taken = set(re.findall(r"[a-z_]+", error["message"].partition("right would be one of")[2]))
        assert taken == set(parameters(document, method, path)), (method, path)


def samples(name, schema):
    by_name = {"cursor": ["60a24181e4000-5"], "from": ["2026-01-31", "2026-01-31T17:30:00%2B01:00"],
               "to": ["2026-01-31T17:30:00Z"]}
    ends = [schema[end] for end in ("minimum", "maximum") if end in schema]
    if schema["type"] == "boolean":
        return ["true", "false", "1", "0"]
    return schema.get("enum") or ends or by_name.get(name, ["some%20words"])


def test_what_is_described_of_a_parameter_is_so(house):
    """Its values, and whether there may be several of it."""
    document, c = house.get("/api/openapi.json"), Client(house)
    asked = 0
    for method, path in sorted(c.known - ELSEWHERE):
        for name, schema in parameters(document, method, path).items() if method == "GET" else ():
            several = schema["type"] == "array"
            for value in samples(name, schema["items"] if several else schema):
                status, answer = ask_with(c, method, path, f"{name}={value}")
                assert status != 400, (path, name, value, answer)
                asked += 1
            status, _ = ask_with(c, method, path, f"{name}={value}&{name}={value}")
            assert (status == 400) is not several, (path, name, "twice")
            if schema["type"] not in ("string", "array") or "enum" in schema:
                assert ask_with(c, method, path, f"{name}=rubbish")[0] == 400, (path, name)
    assert asked > 100


def test_events_are_as_described(house):
    """One of each kind; a daemon that was there before has its own numbers."""
    document = house.get("/api/openapi.json")
    told, anew = Events(house), Events(house, last_id="5f0-3")
    heard = [(name, data) for name, data, _ in [anew.next("reset"), told.next("status")]]
    status, picture = house.trigger("porch", wait=60)
    assert status == 200
    one = f"/api/v1/snapshots/{picture['id']}"
    house.request(one + "/star", "POST")
    house.request("/api/v1/cameras/porch/disable", "POST")
    wanted = {"snapshot", "verdict", "camera", "drawn", "delivered", "starred"}
    while wanted:
        name, data, _ = told.next()
        heard.append((name, data))
        wanted -= {name, data.get("what")}
    for stream in (told, anew):
        stream.close()
    exchanges = [{"method": "GET", "path": "/api/v1/events", "event": name, "body": json.dumps(data)}
                 for name, data in heard]
    assert check(document, exchanges) == []
    exchanges[0]["body"] = '{"secret": 1}'
    assert len(check(document, exchanges)) == 1
    media = document["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]
    assert set(media["text/event-stream"]["x-events"]) == {name for name, _ in heard}
