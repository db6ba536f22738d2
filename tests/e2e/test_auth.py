"""`snapshotd auth gdrive`: logging in to a Drive of ours by a code and by a browser, which the test
plays; and the login that is kept, given to python3-oauth2client, whose files our predecessor has."""

import contextlib
import json
import os
import pathlib
import pty
import shutil
import signal
import stat
import subprocess
import urllib.error
import urllib.request

import httplib2
import pytest
from oauth2client.client import HttpAccessTokenRefreshError
from oauth2client.file import Storage

from conftest import BINARY, PATIENCE, ROOT, Process
from fakes.aws import FakeAws, Fault, Key
from drive_rig import drive_in_thread, write_login
from fakes.oauth import DESKTOP_CLIENT, DEVICE_CLIENT, DRIVE, DRIVE_FILE
from ports import free_port

PROGRAMS = pathlib.Path(os.environ.get("BUILD_ROOT", ROOT / "build")) / "tests/unit/storage"
DRIVER = PROGRAMS / "google_login_drive"


@pytest.fixture
def drive():
    with drive_in_thread(device_interval_s=1) as d:
        yield d


class Login:
    """A run of the command, and what belongs to it."""

    def __init__(self, folder, drive, client, more=""):
        self.drive = drive
        self.folder = folder
        self.token_file = folder / "data/tokens/gdrive.json"
        self.client_file = folder / "client.json"
        self.client_file.write_text(json.dumps(drive.client_file(client_id=client)))
        self.config = folder / "test.conf"
        origin = drive.origin()
        self.config.write_text(
            f"[app]\ndata_dir = {folder}/data\n[gdrive]\ntoken_url = {origin}/token\n"
            f"auth_url = {origin}/o/oauth2/v2/auth\ndevice_url = {origin}/device/code\n{more}")
        self.process = None

    def start(self, *options, client=True, stdin=subprocess.DEVNULL, wrapper=()):
        named = ["--client", self.client_file] if client else []
        self.process = Process([*wrapper, BINARY, "auth", "gdrive", "-c", self.config, *named,
                                *options],
                               self.folder / "auth.log", stdin=stdin)
        return self.process

    def event(self, kind):
        return json.loads(self.process.wait_line(f'^{{"event":"{kind}".*').group(0))

    def ends(self, code, *words):
        assert self.process.wait() == code, self.process.text()
        for word in words:
            assert word in self.process.text()
        self.no_secrets()

    def secrets(self):
        """All that nobody but the file may know."""
        yield DEVICE_CLIENT["secret"]
        yield DESKTOP_CLIENT["secret"]
        oauth = self.drive.oauth
        yield from (*oauth.access, *oauth.refresh, *oauth.devices, *oauth.codes)

    def no_secrets(self):
        shown = self.process.text() + " ".join(self.process.argv)
        for secret in self.secrets():
            assert secret not in shown

    def kept(self):
        return json.loads(self.token_file.read_text())


def browse(url):
    """A person's browser that agrees: follows the redirects; status and page of the last."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def redirect_of(url):
    """Where the sign-in page sends the browser; not followed."""
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.build_opener(Stay).open(url, timeout=PATIENCE)
    assert found.value.code == 302
    return found.value.headers["Location"]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# ---- by a code ----

def test_a_person_types_a_code(tmp_path, drive):
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.start("--json")
    assert login.event("way")["way"] == "device"
    shown = login.event("device_code")
    assert shown["url"] == drive.origin() + "/device"
    assert drive.approve(shown["code"])
    done = login.event("done")
    login.ends(0)
    assert done["token_file"] == str(login.token_file) and done["scope"] == DRIVE_FILE
    assert mode(login.token_file) == 0o600 and mode(login.token_file.parent) == 0o700
    assert login.kept()["refresh_token"] in drive.oauth.refresh


def test_people_are_told_in_words(tmp_path, drive):
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.start()
    login.process.wait_line("by a code that is typed in a browser: Google gives this client device")
    code = login.process.wait_line(r"^  Enter  (\S+)$").group(1)
    login.process.wait_line("The code is good for 30 min")
    drive.approve(code)
    login.ends(0, "Logged in, to the files that this program makes.", str(login.token_file))


def test_a_person_says_no(tmp_path, drive):
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.start("--json")
    drive.approve(login.event("device_code")["code"], allow=False)
    login.ends(1, "not logged in", "denied in the browser")
    assert not login.token_file.exists()


def test_nobody_types_the_code_in_time(tmp_path, drive):
    drive.set(device_life_s=2)
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.start("--json")
    login.ends(1, "start again")


def test_a_wrong_secret_is_told(tmp_path, drive):
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    wrong = json.loads(login.client_file.read_text())
    wrong["installed"]["client_secret"] = "GOCSPX-canary"
    login.client_file.write_text(json.dumps(wrong))
    login.start("--json")
    login.ends(1, "its id, its secret or its type")
    assert "canary" not in login.process.text()


# ---- by a browser ----

def test_a_browser_comes_back(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.start("--json")
    way = login.event("way")
    assert way["way"] == "loopback" and "no device codes" in way["why"]
    shown = login.event("browser")
    status, page = browse(shown["url"])
    assert status == 200 and "Thank you" in page
    login.event("done")
    login.ends(0)
    assert login.kept()["refresh_token"] in drive.oauth.refresh
    assert drive.oddities() == []


def test_the_port_can_be_chosen_for_a_tunnel(tmp_path, drive):
    port = free_port()
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.start("--port", port)
    login.process.wait_line(f"ssh -L {port}:127.0.0.1:{port}")
    browse(login.process.wait_line(r"^  (http\S+)$").group(1))
    login.ends(0, "Logged in")


def test_a_foreign_page_cannot_end_or_steal_the_login(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.start("--json")
    shown = login.event("browser")
    back = f"http://127.0.0.1:{shown['port']}/"
    for query in ("", "?code=x", "?code=x&state=y", "?error=access_denied", "favicon.ico"):
        assert browse(back + query)[0] in (400, 404)
    assert browse(shown["url"])[0] == 200
    login.ends(0)


def test_the_last_address_can_be_pasted(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.start("--paste", stdin=subprocess.PIPE)
    url = login.process.wait_line(r"^  (http\S+)$").group(1)
    login.process.child.stdin.write("4/0Acode\n" + redirect_of(url) + "\n")
    login.process.child.stdin.flush()
    login.ends(0, "that is not the whole address", "Logged in")
    assert login.kept()["refresh_token"] in drive.oauth.refresh


def test_on_a_terminal_the_browser_or_a_paste_will_do(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    ours, theirs = pty.openpty()
    try:
        login.start("--loopback", stdin=theirs)
        url = login.process.wait_line(r"^  (http\S+)$").group(1)
        os.write(ours, (redirect_of(url) + "\n").encode())
        login.ends(0, "Logged in")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_web_client_uses_the_redirect_that_it_has(tmp_path, drive):
    redirect = f"http://localhost:{free_port()}/done"
    drive.add_client(client_id="333-web", secret="GOCSPX-web", kind="web", redirects=[redirect])
    login = Login(tmp_path, drive, "333-web")
    client = json.loads(login.client_file.read_text())
    client["web"]["redirect_uris"] = ["https://x.example/", redirect]
    login.client_file.write_text(json.dumps(client))
    login.start("--json")
    assert browse(login.event("browser")["url"])[0] == 200
    login.ends(0)


def test_a_signal_ends_it(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.start("--json")
    login.event("browser")
    login.process.signal(signal.SIGTERM)  # SIGINT may be ignored by whoever started the tests
    assert login.process.wait() == -signal.SIGTERM
    assert not login.token_file.exists()


# ---- what was granted ----

def test_less_than_was_asked_is_no_login_and_leaves_the_old_one(tmp_path, drive):
    drive.set(granted_scope="email")
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.token_file.parent.mkdir(parents=True)
    before = write_login(drive, login.token_file).read_text()
    login.start("--json")
    browse(login.event("browser")["url"])
    login.ends(1, "granted less than was asked for (email)")
    assert login.token_file.read_text() == before


def test_a_login_in_testing_is_told_to_end(tmp_path, drive):
    drive.set(refresh_life_s=604800)
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.start()
    drive.approve(login.process.wait_line(r"^  Enter  (\S+)$").group(1))
    login.ends(0, "This login ends in 7 d", "publish it in Google's console")


def test_the_old_logins_client_serves_for_a_new_one(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.token_file.parent.mkdir(parents=True)
    write_login(drive, login.token_file)
    old = login.kept()["refresh_token"]
    login.start("--json", client=False)
    browse(login.event("browser")["url"])
    login.ends(0)
    assert login.kept()["refresh_token"] != old


def test_a_login_by_root_belongs_to_the_daemons_user(tmp_path, drive):
    if os.geteuid() != 0:
        pytest.skip("not root")
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    login.start("--json")
    drive.approve(login.event("device_code")["code"])
    login.ends(0)
    assert (login.token_file.stat().st_uid, login.token_file.parent.stat().st_uid) == (65534, 65534)


def test_a_login_by_root_stays_with_who_has_the_old_one(tmp_path, drive):
    if os.geteuid() != 0:
        pytest.skip("not root")
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.token_file.parent.mkdir(parents=True)  # of root's, as /etc is
    write_login(drive, login.token_file)
    os.chown(login.token_file, 65534, 65533)
    login.start("--json")
    drive.approve(login.event("device_code")["code"])
    login.ends(0)
    now = login.token_file.stat()
    assert (now.st_uid, now.st_gid, mode(login.token_file)) == (65534, 65533, 0o600)
    assert login.token_file.parent.stat().st_uid == 0


def test_a_login_that_cannot_be_given_away_is_told(tmp_path, drive):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("not root, or no setpriv")
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.token_file.parent.mkdir(parents=True)
    write_login(drive, login.token_file)
    os.chown(login.token_file, 65534, 65534)
    # As root in a container that may not change owners.
    login.start("--json", wrapper=["setpriv", "--bounding-set", "-chown", "--inh-caps", "-chown"])
    drive.approve(login.event("device_code")["code"])
    login.ends(1, "cannot be given to user 65534", f"chown 65534 {login.token_file}")
    assert login.kept()["refresh_token"] in drive.oauth.refresh


def test_the_configuration_names_the_client(tmp_path, drive):
    client = tmp_path / "client.json"
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"], f"client_secret_file = {client}\n")
    login.start("--json", client=False)
    drive.approve(login.event("device_code")["code"])
    login.ends(0)
    assert login.kept()["refresh_token"] in drive.oauth.refresh


# ---- wrong usage ----

@pytest.mark.parametrize("arguments, code, words", [
    ([], 2, "where to"), (["s3"], 2, '"s3" needs no login'), (["gdrive", "x"], 2, "one place"),
    (["gdrive", "--device", "--paste"], 2, "one way"), (["gdrive", "--port", "0"], 2, "no port"),
    (["gdrive"], 2, "no OAuth client is known"),
    (["gdrive", "--client", "missing.json"], 1, "missing.json"),
    (["gdrive", "--client", "service.json"], 1, "service_account_file"),
    (["gdrive", "--client", "broken.json"], 1, "no JSON"),
])
def test_wrong_usage_says_what_is_right(tmp_path, arguments, code, words):
    (tmp_path / "service.json").write_text('{"type": "service_account", "private_key": "canary"}')
    (tmp_path / "broken.json").write_text('{"installed": {"client_secret": "canary"')
    done = subprocess.run([BINARY, "auth", *arguments], cwd=tmp_path, text=True, timeout=PATIENCE,
                          capture_output=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr and "canary" not in done.stderr
    assert not (tmp_path / "data").exists()


# ---- the file, seen by oauth2client and by us ----

class Driver(Process):
    """tests/unit/storage/google_login_drive.c"""

    def __init__(self, folder, drive, token_file, *more):
        super().__init__([DRIVER, token_file, drive.origin() + "/token", *more],
                         folder / "driver.log", stdin=subprocess.PIPE)

    def say(self, command):
        start = len(self.lines)
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return self.wait_line("^(ok|error).*", start).group(0)

    def end(self):
        self.child.stdin.close()
        assert self.wait() == 0


@contextlib.contextmanager
def driven(*arguments):
    d = Driver(*arguments)
    try:
        yield d
        d.end()
    finally:
        d.kill()


def refreshed_by_oauth2client(drive, token_file):
    credentials = Storage(str(token_file)).get()
    assert credentials is not None and not credentials.invalid
    credentials.token_uri = drive.origin() + "/token"
    credentials.refresh(httplib2.Http())
    return credentials


def test_what_we_leave_serves_oauth2client(tmp_path, drive):
    login = Login(tmp_path, drive, DEVICE_CLIENT["id"])
    login.start("--json")
    drive.approve(login.event("device_code")["code"])
    login.ends(0)
    credentials = Storage(str(login.token_file)).get()
    assert not credentials.access_token_expired
    assert drive.oauth.check(credentials.access_token)
    assert credentials.scopes == {DRIVE_FILE}
    after = refreshed_by_oauth2client(drive, login.token_file)
    assert drive.oauth.check(after.access_token)
    # and what it leaves serves us
    with driven(tmp_path, drive, login.token_file) as d:
        assert d.say("token") == "ok " + after.access_token
        assert d.say("refused") == "ok"
        word, token = d.say("token").split()
        assert word == "ok" and token != after.access_token and drive.oauth.check(token)
    # by turns, as when one goes back
    assert Storage(str(login.token_file)).get().access_token == token
    assert mode(login.token_file) == 0o600


def test_the_predecessors_login_goes_on_without_a_new_one(tmp_path, drive):
    file = write_login(drive, tmp_path / "snapshot_processor_creds", scope=DRIVE, expired=True)
    before = json.loads(file.read_text())
    with driven(tmp_path, drive, file) as d:
        word, token = d.say("token").split()
        assert word == "ok" and drive.oauth.check(token)
    after = json.loads(file.read_text())
    changed = {k for k in after if after[k] != before.get(k)}
    assert changed == {"access_token", "token_expiry", "token_response"}
    assert set(after) == set(before)
    assert refreshed_by_oauth2client(drive, file).refresh_token == before["refresh_token"]


def test_a_refresh_token_that_changes_serves_both(tmp_path, drive):
    drive.set(rotate_refresh=True)
    file = write_login(drive, tmp_path / "creds", expired=True)
    with driven(tmp_path, drive, file) as d:
        assert d.say("token").startswith("ok ")
        refreshed_by_oauth2client(drive, file)
        assert d.say("token").startswith("ok ")
        assert d.say("refused") == "ok"
        assert d.say("token").startswith("ok ")
    refreshed_by_oauth2client(drive, file)


def test_a_login_that_google_ended_is_told_and_renewed_while_it_runs(tmp_path, drive):
    login = Login(tmp_path, drive, DESKTOP_CLIENT["id"])
    login.token_file.parent.mkdir(parents=True)
    write_login(drive, login.token_file, expired=True)
    drive.revoke_tokens()
    with driven(tmp_path, drive, login.token_file) as d:
        answer = d.say("token")
        assert answer.startswith("error 128 never ") and "publish the app" in answer
        refreshes = len(drive.requests())
        assert d.say("token") == answer
        assert len(drive.requests()) == refreshes, "asked once"
        assert Storage(str(login.token_file)).get().invalid  # as oauth2client marks it
        login.start("--json", client=False)
        browse(login.event("browser")["url"])
        login.ends(0)
        word, token = d.say("token").split()
        assert word == "ok" and drive.oauth.check(token)
        assert d.say("state").startswith("ok signed in; token good for ")
        for secret in login.secrets():
            assert secret not in d.text() or secret == token


def test_oauth2client_is_told_the_same(tmp_path, drive):
    file = write_login(drive, tmp_path / "creds", expired=True)
    drive.revoke_tokens()
    credentials = Storage(str(file)).get()
    credentials.token_uri = drive.origin() + "/token"
    with pytest.raises(HttpAccessTokenRefreshError):
        credentials.refresh(httplib2.Http())
    theirs = json.loads(file.read_text())
    write_login(drive, file, expired=True)
    drive.revoke_tokens()
    with driven(tmp_path, drive, file) as d:
        assert d.say("token").startswith("error 128 ")
    ours = json.loads(file.read_text())
    assert theirs["invalid"] is ours["invalid"] is True and set(ours) == set(theirs)


def test_a_service_account_signs_what_another_library_accepts(tmp_path, drive):
    key = drive.make_service_account()
    (tmp_path / "key.json").write_text(json.dumps(key))
    with driven(tmp_path, drive, tmp_path / "none", tmp_path / "key.json") as d:
        word, token = d.say("token").split()
        assert word == "ok" and drive.oauth.check(token)
        assert key["client_email"] in d.say("state")
    assert not (tmp_path / "none").exists()


# ---- the copy in the bucket ----

@pytest.fixture
def aws():
    fake = FakeAws()
    fake.keys["AKIDCANARY"] = Key("canary-aws-secret")
    fake.bucket("backups")
    yield fake
    fake.close()


def backup_turn(aws, token_file, bucket="backups"):
    """(ms until the next, words, error) of a turn."""
    done = subprocess.run(
        [PROGRAMS / "token_backup_drive", bucket, aws.url, token_file], text=True, timeout=PATIENCE,
        capture_output=True, env={**os.environ, "AWS_ACCESS_KEY_ID": "AKIDCANARY",
                                  "AWS_SECRET_ACCESS_KEY": "canary-aws-secret",
                                  "AWS_EC2_METADATA_DISABLED": "true"})
    assert "canary" not in done.stdout + done.stderr and "1//" not in done.stdout
    ms, words, error = done.stdout.strip("\n").split(" | ")
    return int(ms), words, error.strip()


def test_a_login_survives_the_loss_of_the_machine(tmp_path, drive, aws):
    file = write_login(drive, tmp_path / "creds")
    before = json.loads(file.read_text())
    ms, words, error = backup_turn(aws, file)
    assert 0 < ms <= 1800_000 and "saved" in words and not error
    assert "up to date" in backup_turn(aws, file)[1]
    file.unlink()
    assert "restored" in backup_turn(aws, file)[1]
    assert json.loads(file.read_text()) == before and mode(file) == 0o600
    assert refreshed_by_oauth2client(drive, file)
    with driven(tmp_path, drive, file) as d:
        assert d.say("token").startswith("ok ")


def test_without_a_login_nothing_is_made(tmp_path, aws):
    assert "there is none yet" in backup_turn(aws, tmp_path / "creds")[1]
    assert not (tmp_path / "creds").exists()


def test_a_bucket_in_trouble_is_asked_again_soon(tmp_path, drive, aws):
    file = write_login(drive, tmp_path / "creds")
    aws.faults.append(Fault(lambda r: True, status=503, code="SlowDown", times=100))
    ms, _, error = backup_turn(aws, file)
    assert 0 < ms <= 300_000 and "the copy of the login" in error
    assert json.loads(file.read_text())


def test_a_bucket_that_is_not_ours_is_told(tmp_path, drive, aws):
    _, _, error = backup_turn(aws, write_login(drive, tmp_path / "creds"), "nobodys")
    assert "the copy of the login" in error
