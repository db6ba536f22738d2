"""The login to Google in the real daemon: where it comes from, how it ends, how soon another one is
taken, and its copy in a bucket."""

import contextlib
import datetime
import http.server
import json
import signal
import threading
import time

import pytest

import drive_rig
from conftest import wait_until
# The fixtures among these are asked for by name.
from keeping import (CAMERAS, OFF, drained, drive, gdrive, kept_right, login,  # noqa: F401
                     push, storage, taken)

CONFIG = CAMERAS + OFF
SOON_S = 3  # a person who has logged in does not wait longer
TESTING = 'while the app\'s consent screen is in "Testing" a login ends after 7 days'
AWS = {"AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": "canary-aws-secret",
       "AWS_EC2_METADATA_DISABLED": "true"}


def metric(d, name):
    head = f'{name}{{storage="gdrive"}} '
    return next((float(line[len(head):]) for line in d.request("/metrics")[2].decode().splitlines()
                 if line.startswith(head)), None)


def troubled(d, state="login"):
    wait_until(lambda: storage(d)["state"] == state, "the trouble to be told")
    return storage(d)


def all_there_soon(d):
    """Without a signal, and well before any pause is over."""
    start = time.monotonic()
    wait_until(lambda: storage(d)["pending"] == 0, "Drive to have all")
    assert time.monotonic() - start < SOON_S
    assert storage(d)["state"] == "well"


def changed(login, **keys):
    login.write_text(json.dumps({**json.loads(login.read_text()), **keys}))


# ---- how it ends ----

def test_a_login_that_google_ended_is_told_everywhere_and_nothing_is_lost(launch, drive, login):
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, [0])
    taken(d, 1)
    drained(d)
    drive.revoke_tokens()
    push(d, range(1, 4))
    taken(d, 4)
    s = troubled(d)
    assert TESTING in s["last_error"] and "invalid_grant" in s["last_error"], s
    assert "snapshotd auth gdrive" in s["last_error"], s
    assert (s["pending"], s["dead"], s["failed"]) == (3, 0, 0), s
    status, _, body = d.request("/readyz")
    note = json.loads(body)["note"]
    assert status == 200 and TESTING in note and "snapshotd auth gdrive" in note, note
    wait_until(lambda: metric(d, "snapshotd_storage_trouble") == 4, "the metric of the trouble")
    assert metric(d, "snapshotd_uploads_pending") == 3
    assert d.text().count("[storage-paused]") == 1
    drive_rig.write_login(drive, login)
    all_there_soon(d)
    kept_right(drive, d)
    wait_until(lambda: metric(d, "snapshotd_storage_trouble") == 0, "the metric to be well")
    assert "note" not in json.loads(d.request("/readyz")[2])


def test_after_a_token_that_is_refused_twice_another_login_is_taken_at_once(launch, drive, login):
    drive.fault("authError", where="drive")
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, range(3))
    taken(d, 3)
    s = troubled(d)
    assert "401" in s["last_error"] and 60_000 < s["next_try_ms"] <= 300_000, s
    drive.clear()
    drive_rig.write_login(drive, login)
    all_there_soon(d)
    kept_right(drive, d)


@pytest.mark.parametrize("reason", ["insufficientPermissions", "appNotAuthorizedToFile"])
def test_after_a_refusal_that_a_login_cures_it_is_taken_at_once(launch, drive, login, reason):
    drive.fault(reason, where="drive")
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, range(3))
    taken(d, 3)
    s = troubled(d)
    assert reason in s["last_error"] and s["next_try_ms"] > 300_000, s
    drive.clear()
    drive_rig.write_login(drive, login)
    all_there_soon(d)
    kept_right(drive, d)


def wrong_client(drive, login, how):
    """A login whose client Google does not know any more."""
    drive_rig.write_login(drive, login, expired=True)
    given = json.loads(login.read_text())
    changed(login, **how)
    return given


def test_the_same_login_with_a_mended_secret_is_taken_at_once(launch, drive, login):
    given = wrong_client(drive, login, {"client_secret": "GOCSPX-old"})
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, range(3))
    taken(d, 3)
    assert "invalid_client" in troubled(d)["last_error"]
    changed(login, client_secret=given["client_secret"])
    all_there_soon(d)
    kept_right(drive, d)


def test_a_reload_asks_google_anew(launch, drive, login):
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, [0])
    taken(d, 1)
    drained(d)
    (client,) = [c for c in drive.oauth.clients.values() if c["id"] in login.read_text()]
    right = client["secret"]
    client["secret"] = "GOCSPX-another"  # changed in Google's console
    drive.expire_tokens()
    push(d, range(1, 4))
    taken(d, 4)
    assert "invalid_client" in troubled(d)["last_error"]
    client["secret"] = right  # and back, which no file here shows
    d.signal(signal.SIGHUP)
    all_there_soon(d)
    kept_right(drive, d)


# ---- where it comes from ----

def test_the_environment_may_give_the_login(launch, drive, tmp_path):
    login = tmp_path / "login.json"
    given = drive.credentials(expired=True)
    d = launch.daemon(CONFIG + gdrive(drive, login), env={"GOOGLE_OAUTH_TOKEN": json.dumps(given)})
    push(d, range(3))
    taken(d, 3)
    drained(d)
    kept_right(drive, d)
    assert json.loads(login.read_text())["refresh_token"] == given["refresh_token"]
    assert login.stat().st_mode & 0o777 == 0o600
    d.stop()
    assert given["refresh_token"] not in d.text()


def test_a_service_account_keeps_pictures_in_a_shared_drive(launch, drive, tmp_path):
    key = tmp_path / "key.json"
    key.write_text(json.dumps(drive.make_service_account()))
    shared = drive.add_shared_drive("Cameras of the house")
    d = launch.daemon(CONFIG + gdrive(drive, tmp_path / "none", service_account_file=key,
                                      parent=shared))
    push(d, range(3))
    taken(d, 3)
    drained(d)
    assert sorted(f["path"] for f in drive.pictures()) == [
        f"Cameras of the house/cameras/p{n}.jpg" for n in range(3)]
    assert "service account robot@" in storage(d)["description"]
    assert not (tmp_path / "none").exists()


@contextlib.contextmanager
def proxy():
    """Refuses all, and remembers what was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self):
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_login_and_drive_go_through_the_proxy(launch, drive, login):
    with proxy() as (url, asked):
        d = launch.daemon(CONFIG + f"[gdrive]\nfolder = cameras\ncreds_file = {login}\n",
                          env={"https_proxy": url, "no_proxy": "", "NO_PROXY": ""})
        push(d, [0])
        taken(d, 1)
        wait_until(lambda: "www.googleapis.com:443" in asked, "Drive's turn")
        drive_rig.write_login(drive, login, expired=True)
        changed(login, token_uri="https://oauth2.googleapis.com/token")
        wait_until(lambda: "oauth2.googleapis.com:443" in asked, "the login's turn")
        d.stop()


# ---- its copy ----

@pytest.fixture
def aws():
    fake = pytest.importorskip("fakes.aws", reason="install python3-boto3")
    server = fake.FakeAws()
    server.keys[AWS["AWS_ACCESS_KEY_ID"]] = fake.Key(AWS["AWS_SECRET_ACCESS_KEY"])
    server.bucket("backups")
    yield server
    server.close()


def copied(launch, drive, login, aws, env=None, **rows):
    return launch.daemon(
        CONFIG + gdrive(drive, login, backup_s3_endpoint=aws.url, **rows),
        env={**AWS, "BACKUP_S3_BUCKET": "backups", **(env or {})})


def copy_of(aws):
    kept = aws.buckets["backups"].objects.get("snapshot_processor_creds")
    return kept and json.loads(kept.body)


def put_copy(aws, text):
    import fakes.aws as fake
    aws.buckets["backups"].objects["snapshot_processor_creds"] = fake.Object(text.encode(), {})


def test_a_login_is_copied_and_what_replaces_it_as_well(launch, drive, login, aws):
    d = copied(launch, drive, login, aws)
    wait_until(lambda: copy_of(aws) == json.loads(login.read_text()), "the first copy")
    wait_until(lambda: "copy of the login in S3 bucket 'backups': saved" in
               storage(d)["description"], "the words")
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    new = drive.credentials()
    login.write_text(json.dumps({**new, "token_expiry": later.strftime("%Y-%m-%dT%H:%M:%SZ")}))
    start = time.monotonic()
    wait_until(lambda: copy_of(aws) == json.loads(login.read_text()), "the second copy")
    assert time.monotonic() - start < SOON_S
    assert json.loads(login.read_text())["refresh_token"] not in d.text()


def test_a_login_that_is_missing_is_restored_before_anybody_is_asked(launch, drive, login, aws):
    text = login.read_text()
    put_copy(aws, text)
    login.unlink()
    d = copied(launch, drive, login, aws)
    d.wait_line(r"\[login-restored\]")
    push(d, range(3))
    taken(d, 3)
    all_there_soon(d)
    kept_right(drive, d)
    assert json.loads(login.read_text()) == json.loads(text)
    assert login.stat().st_mode & 0o777 == 0o600
    assert "[storage-paused]" not in d.text()


def test_a_copy_goes_before_the_older_login_of_the_environment(launch, drive, login, aws):
    copy = json.loads(login.read_text())
    put_copy(aws, login.read_text())
    login.unlink()
    given = {"GOOGLE_OAUTH_TOKEN": json.dumps(drive.credentials(expired=True))}
    d = copied(launch, drive, login, aws, env=given)
    d.wait_line(r"\[login-restored\]")
    assert json.loads(login.read_text())["refresh_token"] == copy["refresh_token"]


def test_while_the_bucket_is_away_the_older_login_does_not_take_its_copys_place(
        launch, drive, login, aws):
    import fakes.aws as fake
    copy = json.loads(login.read_text())
    put_copy(aws, login.read_text())
    login.unlink()
    aws.faults.append(fake.Fault(lambda r: True, status=403, code="AccessDenied", times=1000))
    given = {"GOOGLE_OAUTH_TOKEN": json.dumps(drive.credentials(expired=True))}
    d = copied(launch, drive, login, aws, env=given)
    d.wait_line(r"\[login-copy\]")
    push(d, [0])
    taken(d, 1)
    wait_until(lambda: storage(d)["state"] == "login", "the pause")
    assert not login.exists()
    assert "GOOGLE_OAUTH_TOKEN waits for the copy" in storage(d)["last_error"]
    aws.faults.clear()
    d.wait_line(r"\[login-restored\]", patience=60)
    assert json.loads(login.read_text())["refresh_token"] == copy["refresh_token"]
    all_there_soon(d)


def test_without_a_copy_the_login_of_the_environment_serves(launch, drive, login, aws):
    login.unlink()
    given = drive.credentials()
    d = copied(launch, drive, login, aws, env={"GOOGLE_OAUTH_TOKEN": json.dumps(given)})
    wait_until(lambda: copy_of(aws), "the copy of what was given")
    assert copy_of(aws)["refresh_token"] == given["refresh_token"]
    push(d, [0])
    taken(d, 1)
    all_there_soon(d)


@pytest.mark.parametrize("bad", ["cut", "refused", "older"])
def test_a_bad_login_never_overwrites_a_good_copy(launch, drive, login, aws, bad):
    good = login.read_text()
    put_copy(aws, good)
    if bad == "cut":
        login.write_text(good[:len(good) // 2])
    elif bad == "refused":
        changed(login, invalid=True)
    else:
        drive_rig.write_login(drive, login, expired=True)
    d = copied(launch, drive, login, aws, archive="off")
    wait_until(lambda: any(r.method == "GET" for r in aws.requests) or
               "[login-copy]" in d.text(), "the turn")
    wait_until(lambda: "not looked at yet" not in storage(d)["description"] or
               "[login-copy]" in d.text(), "its end")
    d.stop()
    assert copy_of(aws) == json.loads(good)
    assert not [r for r in aws.requests if r.method == "PUT"]


def test_a_bucket_that_is_away_is_told_and_holds_nothing_up(launch, drive, login, aws):
    import fakes.aws as fake
    aws.faults.append(fake.Fault(lambda r: True, status=403, code="AccessDenied", times=1000))
    d = copied(launch, drive, login, aws)
    push(d, range(3))
    taken(d, 3)
    wait_until(lambda: storage(d)["pending"] == 0, "Drive to have all")
    kept_right(drive, d)
    wait_until(lambda: "the copy of the login" in storage(d)["last_error"], "the words")
    assert storage(d)["state"] == "well"
    assert d.text().count("[login-copy]") == 1
