"""Who may come in: the real daemon, asked from the machine, through proxies, and from elsewhere."""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import re
import sqlite3
import stat
import subprocess
import time

import pytest

from conftest import BINARY, wait_until
from spool import picture, put

CONFIG = "[camera:porch]\nlocation = Porch\n[detection]\nenabled = no\n"
ALWAYS = "[web]\nlogin = always\n"
PASSWORD = "a quiet porch"
OTHER_PASSWORD = "staple in the rain"
ELSEWHERE = "10.9.8.7"  # of a network of its own

# What a machine elsewhere says: requests as JSON on standard input, answers on standard output.
CLIENT = """
import http.client, json, sys
answers = []
for ask in json.load(sys.stdin):
    c = http.client.HTTPConnection(ask["host"], ask["port"], timeout=60)
    c.request(ask["method"], ask["path"], ask["body"], ask["headers"])
    r = c.getresponse()
    answers.append([r.status, r.getheaders(), r.read().decode("latin-1")])
json.dump(answers, sys.stdout)
"""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, dict(headers), body
        try:
            self.json = json.loads(body)
        except ValueError:
            self.json = None

    @property
    def code(self):
        return self.json["error"]["code"]


class Near:
    """Asks from the machine itself."""

    def __init__(self, d):
        self.d = d

    def __call__(self, method, path, body=None, **headers):
        c = http.client.HTTPConnection("127.0.0.1", self.d.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        c.request(method, path, json.dumps(body) if body is not None else None, names)
        r = c.getresponse()
        return Answer(r.status, r.getheaders(), r.read().decode("latin-1"))


class Elsewhere:
    """Asks the daemon from an address that is not the machine's loopback."""

    def __init__(self, d):
        self.d = d

    def __call__(self, method, path, body=None, **headers):
        ask = {"host": ELSEWHERE, "port": self.d.port, "method": method, "path": path,
               "body": json.dumps(body) if body is not None else None,
               "headers": {name.replace("_", "-"): value for name, value in headers.items()}}
        done = subprocess.run(["nsenter", "-t", str(self.d.child.pid), "-n", "/usr/bin/python3",
                               "-c", CLIENT], input=json.dumps([ask]), text=True, timeout=90,
                              capture_output=True, check=True)
        return Answer(*json.loads(done.stdout)[0])


def visitor(ask, user, password=PASSWORD):
    """A logged-in browser: ask(...) with its cookie and its word."""
    answer = ask("POST", "/api/v1/login", {"user": user, "password": password})
    assert answer.status == 200, answer.body
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    csrf = answer.json["csrf"]

    def go(method, path, body=None, word=csrf, **headers):
        if word and method != "GET":
            headers["X_CSRF_Token"] = word
        return ask(method, path, body, Cookie=cookie, **headers)

    return go


def many(go, count=12):
    """Twelve at once: how fast the machine is does not matter, tries count when they begin."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return [f.result() for f in [pool.submit(go) for _ in range(count)]]


def command(d, *words, text="", env=None):
    return subprocess.run([BINARY, *words, "-c", d.config, "--set", f"app.data_dir={d.data}",
                           "--set", f"web.listen=127.0.0.1:{d.port}"], input=text, text=True,
                          capture_output=True, timeout=60, check=False,
                          env={**os.environ, **(env or {})})


def add_user(d, name, *words, password=PASSWORD):
    done = command(d, "user", "add", name, *words, text=password + "\n")
    assert done.returncode == 0, done.stderr


def add_token(d, *words):
    done = command(d, "token", "add", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def one_picture(d):
    put(d.data / "ftp/uploads/porch/1.jpg", picture(1))

    def there():
        return Near(d)("GET", "/api/v1/snapshots", Authorization=d.look).json["snapshots"]

    return wait_until(there, "the picture")[0]["id"]


@pytest.fixture
def guarded(launch):
    """A daemon on loopback that asks everybody for a login, and one picture in it."""
    d = launch.daemon(CONFIG + ALWAYS)
    d.look = "Bearer " + add_token(d, "reader")
    d.picture = one_picture(d)
    return d


@pytest.fixture
def remote(launch):
    """A daemon in a network of its own, which listens everywhere in it."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "true"], capture_output=True,
                                           check=False).returncode:
        pytest.skip("a network of its own needs root")
    up = f"ip link set lo up && ip addr add {ELSEWHERE}/32 dev lo && exec \"$@\""
    d = launch.daemon(CONFIG + "[web]\nallow_remote = yes\n", "--set", "web.listen=0.0.0.0:0",
                      wrapper=("unshare", "-n", "sh", "-c", up, "sh"), wait=False)
    d.port = int(d.wait_line(r"API on http://0\.0\.0\.0:(\d+)").group(1))
    d.wait_line(r"\[ready\]")
    return d


# ---- at the machine ----

def test_at_the_machine_nobody_is_asked_and_nothing_is_kept_of_it(launch):
    d = launch.daemon(CONFIG)
    ask = Near(d)
    assert ask("GET", "/api/v1/session").json == {
        "user": None, "role": "admin", "how": "loopback", "login_required": False, "csrf": ""}
    for path in ("/api/v1/status", "/api/v1/users", "/api/v1/tokens", "/api/v1/audit", "/metrics"):
        assert ask("GET", path).status == 200
    assert ask("POST", "/api/v1/cameras/porch/trigger").status != 401
    assert not list(d.data.glob("access.db*"))


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via",
                                    "X-Forwarded-Proto", "X-Forwarded-Host"])
def test_a_proxy_beside_us_does_not_open_the_door(launch, header):
    d = launch.daemon(CONFIG)
    ask = Near(d)
    for value in ("127.0.0.1", "203.0.113.9", ""):
        answer = ask("GET", "/api/v1/snapshots", **{header.replace("-", "_"): value})
        assert (answer.status, answer.code) == (401, "login-required")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert ask("POST", "/api/v1/cameras/porch/trigger", X_Forwarded_For=value).status == 401
        assert ask("GET", "/metrics", X_Forwarded_For=value).status == 401
        assert ask("GET", "/healthz", X_Forwarded_For=value).status == 200


@pytest.fixture
def proxied(launch):
    """Behind a proxy on this machine that says who has logged in there."""
    return launch.daemon(CONFIG + "[web]\ntrusted_proxies = 127.0.0.1\n"
                         "proxy_user_header = X-Remote-User\n")


def test_a_trusted_proxy_vouches_for_users(proxied):
    ask = Near(proxied)
    add_user(proxied, "anna")
    assert ask("GET", "/api/v1/snapshots").status == 401, "from the machine is from the proxy now"
    seen = ask("GET", "/api/v1/session", X_Remote_User="anna", X_Forwarded_For="192.0.2.7").json
    assert (seen["user"], seen["role"], seen["how"]) == ("anna", "admin", "proxy")
    assert ask("GET", "/api/v1/users", X_Remote_User="anna").status == 200
    assert ask("GET", "/api/v1/snapshots", X_Remote_User="carl").status == 200
    assert ask("GET", "/api/v1/users", X_Remote_User="carl").code == "not-allowed"
    assert ask("DELETE", "/api/v1/users/x", X_Remote_User="anna").code == "csrf"
    assert ask("DELETE", "/api/v1/users/x", X_Remote_User="anna",
               X_CSRF_Token=seen["csrf"]).code == "unknown"


def test_a_proxys_clients_are_told_apart(proxied):
    ask = Near(proxied)
    add_user(proxied, "anna")
    wrong, right = ({"user": "anna", "password": p} for p in ("wrong wrong", PASSWORD))
    answers = many(lambda: ask("POST", "/api/v1/login", wrong, X_Forwarded_For="192.0.2.7"))
    assert {a.status for a in answers} == {401, 429}
    answer = ask("POST", "/api/v1/login", right, X_Forwarded_For="192.0.2.8",
                 X_Forwarded_Proto="https")
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-snapshotd=") and "; Secure" in cookie
    events = ask("GET", "/api/v1/audit", X_Remote_User="anna").json["audit"]
    assert {e["address"] for e in events if e["what"] == "login-failed"} == {"192.0.2.7"}
    assert [e["address"] for e in events if e["what"] == "login"] == ["192.0.2.8"]


def test_login_always_asks_at_the_machine_too(guarded):
    ask = Near(guarded)
    for method, path in (("GET", "/api/v1/snapshots"), ("GET", "/api/v1/status"),
                         ("GET", f"/api/v1/snapshots/{guarded.picture}/image"),
                         ("GET", "/metrics"), ("POST", "/api/v1/cameras/porch/trigger"),
                         ("POST", f"/api/v1/snapshots/{guarded.picture}/star"),
                         ("GET", "/api/v1/users"), ("POST", "/api/v1/users"),
                         ("DELETE", "/api/v1/users/anna"), ("POST", "/api/v1/tokens"),
                         ("GET", "/api/v1/audit"),
                         ("POST", f"/api/v1/snapshots/{guarded.picture}/link")):
        answer = ask(method, path)
        assert (answer.status, answer.code) == (401, "login-required"), path
    assert ask("GET", "/healthz").json == {"status": "ok"}


def test_our_commands_get_in_where_their_user_may_write(guarded):
    assert command(guarded, "status").returncode == 0
    assert command(guarded, "star", guarded.picture).returncode == 0
    # Elsewhere there are no files; a token does it.
    there = ["--url", f"http://127.0.0.1:{guarded.port}"]
    done = command(guarded, "status", *there)
    assert done.returncode == 1 and "SNAPSHOTD_TOKEN" in done.stdout + done.stderr
    token = add_token(guarded, "laptop", "--scopes", "read")
    assert command(guarded, "status", *there, env={"SNAPSHOTD_TOKEN": token}).returncode == 0
    listed = json.loads(command(guarded, "token", "list", "--json").stdout)["tokens"]
    assert sorted(t["name"] for t in listed) == ["laptop", "reader"], "what the commands made for themselves is gone"
    assert next(t for t in listed if t["name"] == "laptop")["scopes"] == ["read"], "as the API shows it"


# ---- from elsewhere ----

def test_from_elsewhere_a_login_is_required(remote):
    ask = Elsewhere(remote)
    remote.wait_line(r"no-users")
    assert ask("GET", "/api/v1/session").json == {
        "user": None, "role": None, "how": None, "login_required": True, "csrf": ""}
    for method, path in (("GET", "/api/v1/snapshots"), ("GET", "/api/v1/status"),
                         ("GET", "/metrics"), ("POST", "/api/v1/cameras/porch/trigger"),
                         ("GET", "/api/v1/users"), ("POST", "/api/v1/users")):
        assert ask(method, path).status == 401, path
    assert ask("GET", "/healthz").json == {"status": "ok"}
    assert set(ask("GET", "/readyz").json) == {"status"}
    for name, password in (("admin", "admin"), ("admin", "password"), ("root", "root")):
        assert ask("POST", "/api/v1/login", {"user": name, "password": password}).status == 401
    add_user(remote, "anna")
    anna = visitor(ask, "anna")
    assert anna("GET", "/api/v1/status").status == 200
    assert "parts" in anna("GET", "/readyz").json
    assert anna("POST", "/api/v1/cameras/porch/trigger").status in (202, 409, 503)
    assert anna("POST", "/api/v1/cameras/porch/trigger", word=None).code == "csrf"


def test_check_says_how_to_get_in(tmp_path):
    config = tmp_path / "x.conf"
    config.write_text("[web]\nlisten = 0.0.0.0:8080\n")
    done = subprocess.run([BINARY, "check", "-c", config], cwd=tmp_path, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "allow_remote = yes" in done.stderr and "snapshotd user add" in done.stderr
    config.write_text("[web]\nlisten = 0.0.0.0:8080\nallow_remote = yes\n")
    done = subprocess.run([BINARY, "check", "-c", config], cwd=tmp_path, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert ("users      none, so nobody can log in: add one with 'snapshotd user add NAME'"
            in done.stdout)


# ---- users, roles, sessions ----

def test_a_user_comes_changes_and_goes_while_the_daemon_runs(guarded):
    ask = Near(guarded)
    login = {"user": "anna", "password": PASSWORD}
    assert ask("POST", "/api/v1/login", login).status == 401
    add_user(guarded, "root-of-all")
    add_user(guarded, "anna", "--role", "admin")
    anna = visitor(ask, "anna")
    assert anna("GET", "/api/v1/users").status == 200
    assert command(guarded, "user", "role", "anna", "viewer").returncode == 0
    assert anna("GET", "/api/v1/users").status == 401, "a lesser role ends what was begun before"
    anna = visitor(ask, "anna")
    assert anna("GET", "/api/v1/snapshots").status == 200
    assert anna("GET", "/api/v1/users").code == "not-allowed"
    assert command(guarded, "user", "passwd", "anna", text=OTHER_PASSWORD + "\n").returncode == 0
    assert anna("GET", "/api/v1/snapshots").status == 401
    assert ask("POST", "/api/v1/login", login).status == 401
    anna = visitor(ask, "anna", OTHER_PASSWORD)
    assert command(guarded, "user", "remove", "anna").returncode == 0
    assert anna("GET", "/api/v1/snapshots").status == 401


def test_users_are_made_before_the_daemon_runs(launch, tmp_path):
    data = tmp_path / "daemon/data"
    data.mkdir(parents=True)
    done = subprocess.run([BINARY, "user", "add", "anna", "--set", f"app.data_dir={data}"],
                          input=PASSWORD, text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "anna may log in now, as admin\n")
    assert stat.S_IMODE((data / "access.db").stat().st_mode) == 0o600
    d = launch.daemon(CONFIG + ALWAYS)
    anna = visitor(Near(d), "anna")
    assert anna("GET", "/api/v1/users").json["users"][0]["name"] == "anna"
    assert stat.S_IMODE((data / "access.db-wal").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_what_root_makes_belongs_to_the_daemons_user(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    done = subprocess.run([BINARY, "user", "add", "anna", "--set", f"app.data_dir={data}"],
                          input=PASSWORD, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for file in data.glob("access.db*"):
        assert file.stat().st_uid == 65534, file


def test_a_viewer_looks_and_an_admin_acts(guarded):
    ask = Near(guarded)
    add_user(guarded, "anna")
    add_user(guarded, "ben")
    anna, ben = visitor(ask, "anna"), visitor(ask, "ben")
    star = f"/api/v1/snapshots/{guarded.picture}/star"
    image = f"/api/v1/snapshots/{guarded.picture}/image"
    assert ben("GET", "/api/v1/session").json["role"] == "viewer"
    for path in ("/api/v1/snapshots", "/api/v1/cameras", "/api/v1/status", image, "/metrics"):
        assert ben("GET", path).status == 200, path
    for method, path in (("POST", star), ("POST", "/api/v1/cameras/porch/trigger"),
                         ("GET", "/api/v1/users"), ("GET", "/api/v1/tokens"),
                         ("GET", "/api/v1/audit"), ("POST", "/api/v1/tokens"),
                         ("POST", f"/api/v1/snapshots/{guarded.picture}/link")):
        answer = ben(method, path)
        assert (answer.status, answer.code) == (403, "not-allowed"), path
    assert anna("POST", star).json["starred"] is True
    assert anna("POST", star, word=None).code == "csrf"
    assert anna("POST", star, word="0" * 64).code == "csrf"
    assert anna("POST", star, Origin="http://evil.test").code == "cross-origin"
    made = anna("POST", "/api/v1/users",
                {"name": "carl", "role": "viewer", "password": OTHER_PASSWORD})
    assert made.status == 201
    assert visitor(ask, "carl", OTHER_PASSWORD)("GET", "/api/v1/snapshots").status == 200


def test_a_logout_ends_the_session(guarded):
    ask = Near(guarded)
    add_user(guarded, "anna")
    one, two = visitor(ask, "anna"), visitor(ask, "anna")
    answer = one("POST", "/api/v1/logout")
    assert answer.status == 200 and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert one("GET", "/api/v1/users").status == 401
    assert two("GET", "/api/v1/users").status == 200


def test_sessions_outlive_a_restart_of_the_daemon(launch):
    d = launch.daemon(CONFIG + ALWAYS)
    add_user(d, "anna")
    anna = visitor(Near(d), "anna")
    assert d.stop() == 0
    again = launch.daemon(CONFIG + ALWAYS)
    d.port = again.port  # the browser's tab
    assert anna("GET", "/api/v1/users").status == 200
    assert anna("POST", "/api/v1/logout").status == 200


def test_a_session_that_is_not_used_ends(launch):
    d = launch.daemon(CONFIG + ALWAYS + "session_idle = 60s\n")
    add_user(d, "anna")
    anna = visitor(Near(d), "anna")
    assert anna("GET", "/api/v1/users").status == 200
    with contextlib.closing(sqlite3.connect(d.data / "access.db")) as db:
        db.execute("UPDATE sessions SET seen_at = seen_at - 61000000")
        db.commit()
    assert anna("GET", "/api/v1/users").status == 401


def test_guessing_is_slow_and_looks_the_same_for_everybody(guarded):
    ask = Near(guarded)
    add_user(guarded, "anna")
    names = itertools.cycle(("anna", "zoe"))
    answers = many(lambda: ask("POST", "/api/v1/login",
                               {"user": next(names), "password": "wrong wrong"}))
    wrong = [a for a in answers if a.status == 401]
    refused = [a for a in answers if a.status == 429]
    assert len(wrong) >= 5 and len(refused) >= 1 and len(wrong + refused) == 12
    assert len({a.body for a in wrong}) == 1
    assert {a.code for a in refused} == {"too-many-logins"}
    assert all(1 <= int(a.headers["Retry-After"]) <= 10 for a in refused)
    assert ask("GET", "/api/v1/snapshots", Authorization=guarded.look).status == 200
    assert f'snapshotd_http_logins_total{{result="wrong"}} {len(wrong)}' in ask(
        "GET", "/metrics", Authorization=guarded.look).body


def test_a_login_holds_up_nobody_else(guarded):
    """Five hashes take some 100 ms each, one after the other; answers in between take their usual
    time."""
    ask = Near(guarded)
    add_user(guarded, "anna")
    login = {"user": "anna", "password": "wrong wrong"}
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        logins = [pool.submit(ask, "POST", "/api/v1/login", login) for _ in range(5)]
        between, slowest = 0, 0.0
        while not all(f.done() for f in logins):
            begin = time.monotonic()
            assert ask("GET", "/healthz").status == 200
            slowest = max(slowest, time.monotonic() - begin)
            between += 1
        assert all(f.result().status == 401 for f in logins)
    assert between >= 10, f"{between} answers, the slowest after {slowest:.3f} s"


# ---- tokens ----

def test_a_token_does_what_its_scopes_say(guarded):
    ask = Near(guarded)
    star = f"/api/v1/snapshots/{guarded.picture}/star"
    routes = {"read": ("GET", "/api/v1/snapshots"),
              "trigger": ("POST", "/api/v1/cameras/porch/trigger"), "manage": ("POST", star),
              "push": ("POST", "/api/v1/cameras/porch/snapshots")}
    for scope in ("read", "trigger", "push", "manage"):
        token = "Bearer " + add_token(guarded, scope, "--scopes", scope)
        for needed, (method, path) in routes.items():
            answer = ask(method, path, Authorization=token)
            if needed == scope:
                assert answer.status in (200, 202, 409, 415, 503), answer.body
            else:
                assert (answer.status, answer.code) == (403, "not-allowed")
        for path in ("/api/v1/users", "/api/v1/tokens", "/api/v1/audit"):
            assert ask("GET", path, Authorization=token).code == "not-allowed"
        assert ask("POST", "/api/v1/tokens", {"name": "more", "scopes": ["manage"]},
                   Authorization=token).code == "not-allowed"


def test_a_stranger_sends_no_large_body(guarded):
    """He is refused by his headers: what follows is not even read."""
    token = "Bearer " + add_token(guarded, "door", "--scopes", "push")
    large = picture(2, 300_000)
    path = "/api/v1/cameras/porch/snapshots"
    for credentials, status in (({}, 401), ({"Authorization": guarded.look}, 403)):
        c = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=60)
        c.putrequest("POST", path)
        for name, value in {"Content-Type": "image/jpeg", "Content-Length": str(len(large)),
                            **credentials}.items():
            c.putheader(name, value)
        c.endheaders()  # and no body
        assert c.getresponse().status == status
    c = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=60)
    c.request("POST", path, large, {"Content-Type": "image/jpeg", "Authorization": token})
    assert c.getresponse().status == 201


def test_a_token_ends_at_once_and_by_itself(guarded):
    ask = Near(guarded)
    token = "Bearer " + add_token(guarded, "door")
    soon = "Bearer " + add_token(guarded, "soon", "--expires", "1s")
    assert ask("GET", "/api/v1/status", Authorization=token).status == 200
    wait_until(lambda: ask("GET", "/api/v1/status", Authorization=soon).status == 401,
               "the token to expire", 10)
    rows = command(guarded, "token", "list").stdout
    number = re.search(r"^([0-9a-f]{16})  door ", rows, re.M).group(1)
    assert re.search(r"^[0-9a-f]{16}  soon .* over ", rows, re.M)
    assert command(guarded, "token", "remove", number).returncode == 0
    assert ask("GET", "/api/v1/status", Authorization=token).status == 401
    assert command(guarded, "token", "remove", number).returncode == 1


# ---- links and the log ----

def test_a_link_shows_its_picture_to_anybody(guarded):
    ask = Near(guarded)
    add_user(guarded, "anna")
    anna = visitor(ask, "anna")
    url = anna("POST", f"/api/v1/snapshots/{guarded.picture}/link").json["url"]
    soon = anna("POST", f"/api/v1/snapshots/{guarded.picture}/link?expires=1").json["url"]
    assert url.startswith(f"/s/{guarded.picture}.")
    shown = ask("GET", url)
    assert shown.status == 200 and shown.headers["Content-Type"] == "image/jpeg"
    assert shown.body.encode("latin-1") == picture(1)
    assert ask("GET", url[:-1] + ("0" if url[-1] != "0" else "1")).status == 404
    assert ask("GET", f"/api/v1/snapshots/{guarded.picture}/image").status == 401
    wait_until(lambda: ask("GET", soon).status == 410, "the link to expire", 10)
    assert ask("GET", url).status == 200


def test_the_log_tells_who_did_what_and_no_secret(guarded):
    ask = Near(guarded)
    add_user(guarded, "anna")
    anna = visitor(ask, "anna")
    ask("POST", "/api/v1/login", {"user": "anna", "password": "wrong-canary"})
    ask("POST", "/api/v1/login", {"user": "wrong-field-canary", "password": "x"})
    anna("POST", f"/api/v1/snapshots/{guarded.picture}/star")
    made = anna("POST", "/api/v1/tokens", {"name": "door", "scopes": ["push"]}).json["token"]
    anna("POST", "/api/v1/logout")
    assert command(guarded, "user", "role", "anna", "admin").returncode == 0
    anna = visitor(ask, "anna")
    events = anna("GET", "/api/v1/audit?limit=500").json["audit"]
    seen = {(e["what"], e["who"], e["how"]) for e in events}
    assert {("login", "anna", "session"), ("logout", "anna", "session"),
            ("token-add", "anna", "session"), ("change", "anna", "session"),
            ("login-failed", None, ""), ("user-add", None, "command"),
            ("user-role", None, "command")} <= seen
    assert all(e["address"] == "127.0.0.1" for e in events if e["how"] == "session")
    first = anna("GET", "/api/v1/audit?limit=3").json
    second = anna("GET", first["next"]).json
    assert [e["id"] for e in first["audit"] + second["audit"]] == [e["id"] for e in events][:6]
    files = "".join(p.read_bytes().decode("latin-1") for p in guarded.data.glob("access.db*"))
    for place in (guarded.text(), files, json.dumps(events)):
        for secret in (PASSWORD, "wrong-canary", "wrong-field-canary", made,
                       guarded.look.split()[1]):
            assert secret not in place
