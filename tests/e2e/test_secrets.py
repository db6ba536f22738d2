"""Secrets and feature flags out of 1Password, with a Connect that answers, misbehaves, or is away."""

import json
import os
import pathlib
import pty
import re
import shlex
import signal
import stat
import subprocess
import time

import pytest

from conftest import BINARY, wait_until
from fakes.connect import FakeConnect

CANARY = "canary-7c1e93d0aa-secret"
LIST = ("[camera:porch]\naddress = 127.0.0.1:1\nuser = cam\npassword = op://Home/Porch/password\n")


@pytest.fixture(name="connect")
def fixture_connect():
    with FakeConnect() as fake:
        fake.home = fake.add_vault("Home")
        yield fake


def run(*arguments, cwd, env=None, stdin=subprocess.DEVNULL):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OP_", "FEATURE_"))}
    return subprocess.run([BINARY, *map(str, arguments)], cwd=cwd, env={**clean, **(env or {})},
                          capture_output=True, text=True, timeout=60, stdin=stdin, check=False)


def check(tmp_path, connect, config, *more, env=None):
    (tmp_path / "x.conf").write_text(config)
    return run("check", "-c", "x.conf", *more, cwd=tmp_path,
               env={**connect.environment(), "SNAPSHOTD_ONEPASSWORD_SECRETS_DIR": "/nonexistent",
                    **(env or {})})


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def tell(d, ident, words="", start=0):
    """Waits for a log line."""
    d.wait_line(words + r".*\[" + ident + r"\]", start, patience=20)


def one_camera(connect, value=CANARY):
    return connect.add_item(connect.home, "Porch", [("", "password", value)])


# ---- references ----

def test_any_value_may_be_a_reference_and_none_is_shown(tmp_path, connect):
    connect.add_item(connect.home, "House", [
        ("", "name", "name-7c1e93"), ("limits", "reserve", "512MB"), ("", "token", CANARY + "\n"),
        ("", "hosts", "10.0.0.0/8, 192.168.0.0/16"), ("", "place", "Garden Gate")])
    config = ("[app]\ndevice_name = op://Home/House/name\n[store]\n"
              "reserve = op://Home/House/limits/reserve\n"
              "[rabbitmq]\nallow_hosts = op://Home/House/hosts\n"
              "[gdrive]\nfolder = x\ntoken = op://Home/House/token\n"
              "[output_type]\nO1 = Camera\n[output_location]\nO1 = op://Home/House/place\n")
    done = check(tmp_path, connect, config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "name-7c1e93" in done.stdout and "Garden Gate Camera (O1)" in done.stdout
    shown = run("config", "--effective", "-c", "x.conf", cwd=tmp_path, env=connect.environment())
    assert shown.returncode == 0
    for line in ("device_name = op://Home/House/name", "reserve = op://Home/House/limits/reserve",
                 "token = op://Home/House/token", "O1 = op://Home/House/place",
                 "allow_hosts = op://Home/House/hosts"):
        assert line in shown.stdout.splitlines()
    for value in (CANARY, "name-7c1e93", "512MB", "Garden Gate", "10.0.0.0"):
        assert value not in shown.stdout + shown.stderr


def test_ten_references_to_an_item_cost_one_request_for_it(tmp_path, connect):
    item = connect.add_item(connect.home, "Cams", [("", f"p{i}", f"secret{i}") for i in range(10)])
    config = "".join(f"[camera:c{i}]\naddress = 127.0.0.1:{i + 1}\nuser = x\n"
                     f"password = op://Home/Cams/p{i}\n" for i in range(10))
    done = check(tmp_path, connect, config + "[onepassword]\nflags_interval = 0\n")
    assert done.returncode == 0
    wanted = [t for _, t in connect.requests() if t.endswith(item["id"])]
    assert len(wanted) == 1
    assert len([t for _, t in connect.requests() if "filter" in t and "Cams" in t]) == 1
    assert len([t for _, t in connect.requests() if t == "/v1/vaults"]) == 1


def test_what_a_reference_has_is_checked_without_being_told(tmp_path, connect):
    connect.add_item(connect.home, "Odd", [("", "number", CANARY), ("", "two", f"{CANARY}\nx"),
                                           ("", "bell", "a\x07b"), ("", "url", f"x{CANARY}")])
    done = check(tmp_path, connect,
                 "[store]\nreserve = op://Home/Odd/number\n[app]\ndevice_name = op://Home/Odd/two\n"
                 "[gdrive]\ntoken = op://Home/Odd/bell\nbackup_s3_endpoint = op://Home/Odd/url\n"
                 "[web]\nlisten = op://Home/Odd/number\n")
    assert done.returncode == 2
    assert CANARY not in done.stderr
    assert "store.reserve: what 1Password has there is not accepted: right would be size" \
        in done.stderr
    assert "gdrive.token: op://Home/Odd/bell: what 1Password has there holds a control character" \
        in done.stderr
    for key in ("app.device_name", "gdrive.backup_s3_endpoint", "web.listen"):
        assert f"{key}: what 1Password has there is not accepted" in done.stderr


@pytest.mark.parametrize("reference,words", [
    ("op://Hoem/Porch/password", 'there is no vault "Hoem" for this token; there are: Home'),
    ("op://Home/Proch/password", 'the vault has no item "Proch"; its items: Porch, Twins'),
    ("op://Home/Porch/pasword", 'has no field "pasword"; its fields: password, extra'),
    ("op://Home/Porch/net/ip", 'no section "net"; its sections: network'),
    ("op://Home/Porch/network/ip", 'the section has no field "ip"; its fields: extra'),
    ("op://Home/Twins/key", '2 fields are called "key": name the section, or the field by its id'),
    ("op://Home/Double/x", '2 items of the vault are called "Double": give the id'),
    ("op://Home/Porch", "op://vault/item/field or op://vault/item/section/field"),
    ("op://Home/Porch/password?attribute=otp", "behind ? in a reference"),
    ("op://a/b/c/d/e", "op://vault/item/field or op://vault/item/section/field"),
])
def test_what_is_not_there_is_told_with_what_is(tmp_path, connect, reference, words):
    connect.add_item(connect.home, "Porch", [("", "password", CANARY),
                                             ("network", "extra", CANARY)])
    connect.add_item(connect.home, "Twins", [("a", "key", CANARY), ("b", "key", CANARY)])
    if "Double" in reference:
        for _ in range(2):
            connect.add_item(connect.home, "Double", [("", "x", CANARY)])
    done = check(tmp_path, connect, f"[gdrive]\nfolder = x\ntoken = {reference}\n")
    assert done.returncode == 2
    assert f"x.conf:3: gdrive.token: {reference}: " in done.stderr and words in done.stderr
    assert CANARY not in done.stderr


def test_names_are_found_however_they_are_written(tmp_path, connect):
    second = connect.add_vault('My "other" vault')
    title = 'Cam "one" \\ & more + 100% ü'
    item = connect.add_item(second, title, [("S", "a", "value-one"), ("", "b", None)])
    bare = connect.add_item(second, "Bare", [("x", "k", "value-two")], sections_without_label=True)
    section = bare["sections"][0]["id"]
    for plain in (False, True):
        connect.plain_filters = plain
        for reference, value in (
                (f'op://My "other" vault/{title}/S/a', "value-one"),
                (f'op://{second}/{item["id"]}/{item["fields"][0]["id"]}', "value-one"),
                (f"op://{second}/Bare/{section}/k", "value-two")):
            done = check(tmp_path, connect, f"[app]\ndevice_name = {reference}\n".replace("%", "%%%%"))
            assert (done.returncode, done.stderr) == (0, ""), reference
            assert f"device     {value}\n" in done.stdout
    done = check(tmp_path, connect, f"[gdrive]\ntoken = op://{second}/{item['id']}/b\n")
    assert done.returncode == 0 and "is empty in 1Password" in done.stdout
    done = check(tmp_path, connect, f"[gdrive]\ntoken = op://{second}/Bare/none/k\n")
    assert f"its sections: (no label, id {section})" in done.stderr


def test_what_1password_is_asked_with_cannot_come_from_it(tmp_path, connect):
    done = check(tmp_path, connect, "[app]\ndata_dir = op://Home/x/y\n")
    assert done.returncode == 2
    assert "app.data_dir: is needed to ask 1Password and cannot come from there" in done.stderr
    done = check(tmp_path, connect, LIST, env={"OP_CONNECT_HOST": ""})
    assert "1Password is not configured: set OP_CONNECT_HOST" in done.stderr


# ---- how it is reached ----

def test_files_go_before_the_environment_and_are_stripped(tmp_path, connect):
    one_camera(connect)
    folder = tmp_path / "run-secrets"
    folder.mkdir()
    (folder / "op_connect_token").write_text(f"  {connect.token}\r\n\n")
    wrong = {"OP_CONNECT_TOKEN": "wrong", "SNAPSHOTD_ONEPASSWORD_SECRETS_DIR": str(folder)}
    assert check(tmp_path, connect, LIST, env=wrong).returncode == 0
    (folder / "op_connect_token").write_text("\n")
    done = check(tmp_path, connect, LIST, env=wrong)
    assert done.returncode == 2 and "Connect does not accept the token (HTTP 401" in done.stderr
    done = check(tmp_path, connect, LIST, env={"OP_CONNECT_TOKEN": "two words"})
    assert "holds blanks or other characters" in done.stderr and "two words" not in done.stderr


@pytest.mark.parametrize("variable", ["OP_VAULT", "OP_CONNECT_VAULT"])
def test_paths_are_in_the_usual_vault_or_the_only_one(tmp_path, connect, variable):
    conf = "[creds]\nftp_username = FTP/username\n[ftp]\nenabled = yes\nlisten = 127.0.0.1:2199\n"
    connect.add_item(connect.home, "FTP", [("", "username", "cams"),
                                           ("", "password", "a good password")])
    done = check(tmp_path, connect, conf, env={variable: "whatever"})
    assert done.returncode == 0 and "cams: the whole tree" in done.stdout
    other = connect.add_vault("Other")
    done = check(tmp_path, connect, conf, env={variable: "whatever"})
    assert 'there is no vault "whatever" for this token; there are: Home, Other' in done.stderr
    assert "which vault? Set OP_VAULT" in check(tmp_path, connect, conf).stderr
    for vault in (connect.home, "Home"):
        assert "cams: the" in check(tmp_path, connect, conf, env={variable: vault}).stdout
    assert 'no item "FTP"; its items: none' in check(tmp_path, connect, conf,
                                                     env={variable: other}).stderr


def test_the_predecessors_places_are_known(tmp_path, connect):
    conf = "[creds]\nsentry_dsn = Sentry/__APP_NAME__/dsn\n[gdrive]\nfolder = x\n"
    connect.add_item(connect.home, "Google", [("oath", "client_secret", '{"installed": {}}')])
    (tmp_path / "x.conf").write_text(conf)
    shown = run("config", "--effective", "-c", "x.conf", cwd=tmp_path, env=connect.environment())
    assert shown.returncode == 0
    assert "# 1Password\n#client_secret = ***" in shown.stdout
    login = run("auth", "gdrive", "-c", "x.conf", cwd=tmp_path, env=connect.environment())
    assert "the OAuth client of [gdrive] client_secret: it has no client_id" in login.stderr
    # Without that section nothing of his is looked up but flags.
    (tmp_path / "x.conf").write_text("[gdrive]\nfolder = x\n")
    shown = run("config", "--effective", "-c", "x.conf", cwd=tmp_path, env=connect.environment())
    assert "# 1Password" not in shown.stdout


FAULTS = [
    ({"kind": "status", "status": 401, "message": "Invalid bearer token"},
     "does not accept the token (HTTP 401"),
    ({"kind": "status", "status": 500, "message": "database locked"}, 'HTTP 500: "database locked"'),
    ({"kind": "html", "status": 502}, "HTTP 502: no answer of Connect's"),
    ({"kind": "html", "status": 404}, "HTTP 404: no answer of Connect's"),
    ({"kind": "html", "status": 200}, "is no JSON"),
    ({"kind": "garbage"}, "is no JSON"),
    ({"kind": "big", "bytes": 5 << 20}, "2097152"),
    ({"kind": "torn"}, "1Password Connect at"),
    ({"kind": "hang"}, "1Password Connect at"),
    ({"kind": "slow", "seconds": 30}, "1Password Connect at"),
]


@pytest.mark.parametrize("fault,words", FAULTS)
def test_every_way_to_be_away_is_told_and_ends(tmp_path, connect, fault, words):
    one_camera(connect)
    connect.fault = fault
    begin = time.monotonic()
    patience = "300ms" if fault["kind"] in ("hang", "slow") else "5s"
    done = check(tmp_path, connect, LIST, "--set", f"onepassword.timeout={patience}")
    assert done.returncode == 2 and words in done.stderr
    assert connect.token not in done.stderr and "nginx" not in done.stderr
    assert time.monotonic() - begin < 10
    assert len(connect.requests()) <= 2  # the second on a connection that was closed


# ---- the cache ----

def daemon(launch, connect, name, *options, config=LIST, env=None):
    return launch.daemon(
        config, "--set", "onepassword.timeout=1s", "--set", "detection.enabled=no",
        "--set", "onepassword.secrets_dir=/nonexistent", *options, name=name,
        env={**connect.environment(), **(env or {})})


def test_a_start_works_while_connect_is_down(launch, connect):
    one_camera(connect)
    d = daemon(launch, connect, "a")
    assert d.get("/api/v1/status")["secrets"]["state"] == "ok"
    cache = d.data / "secrets.cache"
    assert mode(cache) == 0o600 and mode(d.data / "secrets.key") == 0o600
    assert CANARY.encode() not in cache.read_bytes()
    assert b"Porch" not in cache.read_bytes()
    assert d.stop() == 0
    connect.down()
    d = daemon(launch, connect, "a")
    tell(d, "secrets-cached", r"1Password Connect at .*1 of \d+ values are the last good ones")
    status = d.get("/api/v1/status")["secrets"]
    assert (status["state"], status["cached"]) == ("cached", 1)
    code, _, body = d.request("/readyz")
    assert code == 200 and b"secrets: 1 values are the last good ones" in body
    connect.up()
    seen = len(d.lines)
    d.child.send_signal(signal.SIGHUP)
    tell(d, "reloaded", start=seen)
    wait_until(lambda: d.get("/api/v1/status")["secrets"]["state"] == "ok", "the new state")
    assert b"secrets" not in d.request("/readyz")[2]


def test_without_a_cache_a_start_needs_connect(tmp_path, launch, connect):
    one_camera(connect)
    connect.down()
    d = launch.daemon(
        LIST, name="a", env=connect.environment(), wait=False)
    assert d.child.wait(30) == 2
    d.wait_line(r"camera:porch.password: op://Home/Porch/password: 1Password Connect at")


@pytest.mark.parametrize("harm,words", [
    ("cut", "it is damaged"), ("flip", "it is damaged, or was made with another key"),
    ("key", "it is damaged, or was made with another key"), ("open", "can be read by others"),
    ("other", "no secrets cache of this version")])
def test_a_cache_that_is_no_good_is_told_and_made_anew(launch, connect, harm, words):
    one_camera(connect)
    d = daemon(launch, connect, "a")
    assert d.stop() == 0
    cache, key = d.data / "secrets.cache", d.data / "secrets.key"
    good = cache.read_bytes()
    if harm == "cut":
        cache.write_bytes(good[:30])
    elif harm == "flip":
        cache.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif harm == "key":
        key.write_text("0123456789abcdef" * 4)
    elif harm == "open":
        key.chmod(0o644)
    else:
        cache.write_bytes(b"hello" * 100)
    connect.down()
    done = run("check", "-c", d.config, "--set", f"app.data_dir={d.data}", cwd=d.folder,
               env=connect.environment())
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert CANARY not in done.stderr
    if harm == "open":
        key.chmod(0o600)
    connect.up()
    d = daemon(launch, connect, "a")
    assert d.stop() == 0
    connect.down()
    d = daemon(launch, connect, "a")
    assert d.get("/api/v1/status")["secrets"]["cached"] == 1


def test_the_key_may_be_a_credential_and_no_cache_is_left_when_none_is_wanted(launch, connect,
                                                                              tmp_path):
    one_camera(connect)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "snapshotd.secrets-key").write_bytes(os.urandom(32))
    env = {"CREDENTIALS_DIRECTORY": str(credentials)}
    d = daemon(launch, connect, "a", env=env)
    assert not (d.data / "secrets.key").exists() and (d.data / "secrets.cache").exists()
    assert d.stop() == 0
    connect.down()
    d = daemon(launch, connect, "a", env=env)
    assert d.get("/api/v1/status")["secrets"]["cached"] == 1
    assert d.stop() == 0
    connect.up()
    d = daemon(launch, connect, "a", "--set", "onepassword.cache_max_age=0")
    assert not (d.data / "secrets.cache").exists()


def test_a_reload_with_connect_down_keeps_the_last_values_and_an_item_gone_the_configuration(
        launch, connect):
    item = one_camera(connect)
    d = daemon(launch, connect, "a")
    connect.down()
    seen = len(d.lines)
    d.child.send_signal(signal.SIGHUP)
    tell(d, "secrets-cached", start=seen)
    connect.up()
    connect.remove_item(item)
    seen = len(d.lines)
    d.child.send_signal(signal.SIGHUP)
    tell(d, "config-fault", r".*the vault has no item \"Porch\"; its items: none", seen)
    tell(d, "reload-failed", r"the running configuration stays", seen)
    assert d.request("/readyz")[0] == 200


def test_a_vault_that_was_renamed_is_told_and_a_reload_changes_nothing(launch, connect):
    one_camera(connect)
    other = connect.add_vault("Other")
    connect.add_item(other, FLAGS, [("object-detection", "value", "true")])
    d = daemon(launch, connect, "a", "--set", "onepassword.flags_interval=1s",
               env={"OP_VAULT": "Other"})
    with connect.lock:
        connect.vaults[connect.home]["name"] = "House"
        connect.vaults[other]["name"] = "Another"
    tell(d, "flags-away", r'.*there is no vault "Other" for this token; there are: House, Another')
    seen = len(d.lines)
    d.child.send_signal(signal.SIGHUP)
    tell(d, "config-fault", r'.*there is no vault "Home" for this token; there are: House, Another',
         seen)
    tell(d, "reload-failed", r"the running configuration stays", seen)
    assert d.request("/readyz")[0] == 200
    d.config.write_text(LIST.replace("Home", "House"))
    d.child.send_signal(signal.SIGHUP)
    tell(d, "reloaded", start=seen)
    # By its id a vault may be called what it likes.
    d.config.write_text(LIST.replace("Home", connect.home))
    with connect.lock:
        connect.vaults[connect.home]["name"] = "Home again"
    seen = len(d.lines)
    d.child.send_signal(signal.SIGHUP)
    tell(d, "reloaded", start=seen)


def test_a_stop_does_not_wait_for_connect(launch, connect):
    one_camera(connect)
    d = daemon(launch, connect, "a", "--set", "onepassword.flags_interval=1s",
               "--set", "onepassword.timeout=60s", "--set", "onepassword.deadline=60s")
    connect.fault = {"kind": "hang"}
    asked = len(connect.requests())
    d.child.send_signal(signal.SIGHUP)
    wait_until(lambda: len(connect.requests()) > asked, "a question")
    begin = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - begin < 10


def test_other_commands_do_not_ask(launch, connect, tmp_path):
    one_camera(connect)
    d = daemon(launch, connect, "a")
    connect.fault = {"kind": "hang"}
    (tmp_path / "c.conf").write_text(f"{LIST}[web]\nlisten = 127.0.0.1:{d.port}\n")
    asked = len(connect.requests())
    done = run("status", "-c", "c.conf", cwd=tmp_path, env=connect.environment())
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"secrets   1 of \d values from 1Password\n", done.stdout)
    assert len(connect.requests()) <= asked + 3  # the daemon's own thread for flags


def test_the_canary_is_nowhere(launch, connect, tmp_path):
    connect.add_item(connect.home, "Porch", [("", "password", CANARY), ("", "user", CANARY + "u")])
    d = daemon(launch, connect, "a", "--set", "app.log_level=debug",
               "--set", "camera:porch.user=op://Home/Porch/user")
    d.trigger("porch", wait=10)
    d.child.send_signal(signal.SIGHUP)
    tell(d, "reloaded")
    texts = [d.request(p)[2] for p in ("/api/v1/status", "/metrics", "/readyz", "/healthz",
                                       "/api/v1/snapshots", "/api/v1/cameras")]
    assert d.stop() == 0
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert d.data / "secrets.cache" in files
    for content in [*texts, *(p.read_bytes() for p in files)]:
        assert CANARY.encode() not in content and connect.token.encode() not in content


def test_the_dsn_for_errors_may_come_from_there_also_late(launch, connect):
    connect.add_item(connect.home, "Sentry",
                     [("snapshot-processor", "dsn", "http://key7c1e93@127.0.0.1:9/1")])
    conf = "[creds]\nsentry_dsn = Sentry/__APP_NAME__/dsn\n[onepassword]\nsecrets_dir =\n"
    connect.down()
    d = launch.daemon(conf, name="a", env=connect.environment())
    assert d.get("/api/v1/status")["errors"]["on"] is False
    connect.up()
    start = len(d.lines)
    d.signal(signal.SIGHUP)
    tell(d, "reloaded", start=start)
    errors = d.get("/api/v1/status")["errors"]
    assert (errors["on"], errors["where"]) == (True, "http://127.0.0.1:9")
    assert not any("key7c1e93" in line for line in d.lines)


# ---- flags ----

FLAGS = "flags"


def flags_item(connect, **values):
    return connect.add_item(connect.home, FLAGS, [(name.replace("_", "-"), "value", value)
                                                  for name, value in values.items()])


def set_flag(connect, item, name, value):
    section = next(s["id"] for s in item["sections"] if s["label"] == name)
    field = next(f for f in item["fields"] if f.get("section", {}).get("id") == section)
    with connect.lock:
        field["value"] = value


def flagged(launch, connect, *options, env=None):
    return launch.daemon("[onepassword]\nflags_interval = 1s\nsecrets_dir =\n", *options,
                         name="a", env={**connect.environment(), **(env or {})})


def flag_of(d, name):
    return d.get("/api/v1/status")["secrets"]["flags"][name]


def test_a_flag_changes_without_a_restart_and_is_told(launch, connect):
    item = flags_item(connect, object_detection=" TRUE ", local_object_detection="yes",
                      cloud_storage_management="0")
    d = flagged(launch, connect)
    assert flag_of(d, "object-detection") == {"value": True, "from": "1Password"}
    assert flag_of(d, "cloud-storage-management") == {"value": False, "from": "1Password"}
    set_flag(connect, item, "object-detection", "no")
    tell(d, "flag-changed", r"feature flag object-detection: from true to false, says 1Password "
         r"\(flags/object-detection/value\)")
    assert flag_of(d, "object-detection")["value"] is False
    assert 'snapshotd_feature_flag{flag="object-detection"} 0' in d.request("/metrics")[2].decode()
    set_flag(connect, item, "object-detection", "1")
    tell(d, "flag-changed", r"feature flag object-detection: from false to true")
    # Connect away: the last value stays, and a start has it, too.
    set_flag(connect, item, "object-detection", "maybe")
    tell(d, "flag-odd", r"feature flag object-detection: .* counts as false")
    tell(d, "flag-changed", "from true to false", start=len(d.lines) - 3)
    connect.down()
    tell(d, "flags-away", r"feature flags stay as they are")
    assert flag_of(d, "object-detection")["value"] is False
    assert d.stop() == 0
    d = flagged(launch, connect)
    assert flag_of(d, "object-detection") == {"value": False, "from": "1Password"}
    connect.up()
    set_flag(connect, item, "object-detection", "true")
    tell(d, "flags-back")
    tell(d, "flag-changed", "from false to true")


def test_the_flag_for_the_cloud_changes_who_examines_pictures(launch, connect):
    item = flags_item(connect, object_detection="true", local_object_detection="false",
                      cloud_object_detection="false")
    d = flagged(launch, connect, "--set=detection.enabled=yes", "--set=rekognition.access_key=AKID",
                "--set=rekognition.secret_key=" + CANARY, "--set=rekognition.region=eu-west-1",
                "--set=rekognition.endpoint=http://127.0.0.1:9")
    assert d.get("/api/v1/status")["detector"]["name"] == "none"
    set_flag(connect, item, "cloud-object-detection", "true")
    tell(d, "flag-changed", r"feature flag cloud-object-detection: from false to true")
    assert d.get("/api/v1/status")["detector"]["name"] == "cloud"
    tell(d, "cloud-ready")
    set_flag(connect, item, "cloud-object-detection", "false")
    tell(d, "flag-changed", r"feature flag cloud-object-detection: from true to false")
    assert d.get("/api/v1/status")["detector"]["name"] == "none"


def test_a_flag_that_is_gone_stays_as_it_was(launch, connect):
    item = flags_item(connect, object_detection="false")
    d = flagged(launch, connect)
    tell(d, "flag-missing", r"feature flag local-object-detection is not in 1Password and "
         r"stays as it is: the item has no section")
    assert flag_of(d, "local-object-detection")["value"] is True
    connect.remove_item(item)
    tell(d, "flags-away", r".*the vault has no item \"flags\"")
    assert flag_of(d, "object-detection")["value"] is False


def test_what_is_given_goes_before_1password(launch, connect):
    item = flags_item(connect, object_detection="false", local_object_detection="true")
    d = flagged(launch, connect, "--set", "feature_flags.local_object_detection=true",
                env={"FEATURE_FLAG_OBJECT_DETECTION": "true"})
    assert flag_of(d, "object-detection") == {"value": True, "from": "configuration"}
    set_flag(connect, item, "local-object-detection", "false")
    asked = len(connect.requests())
    wait_until(lambda: len(connect.requests()) > asked + 6, "two rounds")
    assert flag_of(d, "local-object-detection") == {"value": True, "from": "configuration"}
    assert not [line for line in d.lines if "flag-changed" in line]


# ---- the environment file ----

def environment_item(connect):
    return connect.add_item(connect.home, "ENV.snapshot-processor", [
        ("snapshot-processor", "PLAIN", "simple-1.2"), ("snapshot-processor", "SPACED", "a b  "),
        ("snapshot-processor", "QUOTES", f"it's \"{CANARY}\" $HOME `id` \\n \\"),
        ("snapshot-processor", "HASH", "#not a comment; \\'"), ("snapshot-processor", "EMPTY", None),
        ("snapshot-processor", "LINES", "one\ntwo"), ("build", "SHARED", "build"),
        ("build", "PLAIN", "not this"), ("snapshot-processor", "DOLLAR", "$5 ${x}"),
        ("other", "NOT_THIS", "x")])


WANTED = {"PLAIN": "simple-1.2", "SPACED": "a b  ", "EMPTY": "", "LINES": "one\ntwo",
          "QUOTES": f"it's \"{CANARY}\" $HOME `id` \\n \\", "HASH": "#not a comment; \\'",
          "SHARED": "build", "DOLLAR": "$5 ${x}"}


def configure(connect, tmp_path, *arguments):
    return run("configure", *arguments, cwd=tmp_path, env=connect.environment())


def sourced(path, names):
    """As a shell reads it, which knows the quotes that systemd and Compose know."""
    script = f"set -a; . {shlex.quote(str(path))}; exec python3 -c " + shlex.quote(
        "import os, json; print(json.dumps(dict(os.environ)))")
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True)
    found = json.loads(done.stdout)
    return {n: found.get(n) for n in names}


def test_the_environment_file_is_written_after_its_changes_were_shown(tmp_path, connect):
    item = environment_item(connect)
    refused = configure(connect, tmp_path)
    assert refused.returncode == 1 and not (tmp_path / ".env").exists()
    assert "no terminal to ask at; --yes" in refused.stderr
    assert "  + PLAIN=***" in refused.stdout and "  + EMPTY=(empty)" in refused.stdout
    done = configure(connect, tmp_path, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / ".env"
    assert mode(path) == 0o600
    assert CANARY not in done.stdout + refused.stdout
    assert sourced(path, WANTED) == WANTED
    assert "NOT_THIS" not in path.read_text()
    before = path.stat()
    path.chmod(0o644)
    again = configure(connect, tmp_path)
    assert again.returncode == 0 and ".env is up to date" in again.stdout
    assert path.stat().st_mtime_ns == before.st_mtime_ns and mode(path) == 0o600
    item["fields"][0]["value"] = "changed"
    path.write_text(path.read_text() + "MINE=1\n")
    shown = configure(connect, tmp_path, "--show", "--yes")
    assert "  ~ PLAIN=changed, was simple-1.2" in shown.stdout and "  - MINE=1" in shown.stdout
    assert sourced(path, ["PLAIN", "MINE"]) == {"PLAIN": "changed", "MINE": None}


def test_docker_gets_no_quotes_and_no_line_breaks(tmp_path, connect):
    item = environment_item(connect)
    refused = configure(connect, tmp_path, "--yes", "--format", "docker", "-o", "d.env")
    assert refused.returncode == 1 and "LINES has a line break" in refused.stderr
    assert not (tmp_path / "d.env").exists()
    item["fields"] = [f for f in item["fields"] if f["label"] != "LINES"]
    done = configure(connect, tmp_path, "--yes", "--format", "docker", "-o", "d.env")
    assert done.returncode == 0
    lines = [line for line in (tmp_path / "d.env").read_text().split("\n")
             if line and not line.startswith("#")]
    assert dict(line.split("=", 1) for line in lines) == \
        {k: v for k, v in WANTED.items() if k != "LINES"}


def test_a_person_is_asked_at_a_terminal(tmp_path, connect):
    environment_item(connect)
    for answer, there in ((b"n\n", False), (b"y\n", True)):
        main, side = pty.openpty()
        with subprocess.Popen([BINARY, "configure"], cwd=tmp_path, stdin=side, stdout=side,
                              stderr=side, env={**os.environ, **connect.environment()}) as child:
            os.close(side)
            text = b""
            while b"[y/N]" not in text:
                text += os.read(main, 4096)
            os.write(main, answer)
            child.wait(30)
        os.close(main)
        assert (tmp_path / ".env").exists() == there


def test_what_is_missing_for_configure_is_told(tmp_path, connect):
    done = configure(connect, tmp_path)
    assert done.returncode == 1
    assert 'item "ENV.snapshot-processor": the vault has no item' in done.stderr
    connect.add_item(connect.home, "ENV.mine", [("other", "A", "b"), ("mine ", "2X", "y")])
    done = configure(connect, tmp_path, "--project", "mine")
    assert re.search(r'no section "mine"; its sections: other, mine', done.stderr)
    connect.add_item(connect.home, "ENV.odd", [("odd", "2 X", CANARY)])
    done = configure(connect, tmp_path, "--project", "odd")
    assert '"2 X" is no name of a variable' in done.stderr and CANARY not in done.stderr
    assert "nothing" not in done.stdout
    assert not pathlib.Path(tmp_path / ".env").exists()
