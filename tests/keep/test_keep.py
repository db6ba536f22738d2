"""Pictures kept elsewhere: the real daemon with a Drive, a bucket and a mounted folder."""

import json
import pathlib
import re
import signal

import pytest

import drive_rig
from conftest import wait_until
# The fixtures among these are asked for by name.
from keeping import (CAMERAS, LARGE, OFF, ask, bucket, directory, drained, drive,  # noqa: F401
                     expected, gdrive, kept_right, login, nas, push, same_files, storage, taken)

CONFIG = CAMERAS + OFF
PORCH = """
[camera:porch]
kind = foscam
address = {address}
user = admin
password = secret1234
location = Front Door
"""


def test_persons_and_pushed_pictures_arrive_everywhere_under_their_names(
        launch, people, model, drive, login, bucket, nas):
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    d = launch.daemon(PORCH.format(address=sim.address) + "[camera:garden]\n"
                      + f"[detection]\nmodel = {model}\n[store]\nreserve = 64k\n"
                      + gdrive(drive, login) + bucket.section(prefix="home/cams") + directory(nas))
    status, doc = d.trigger("porch", wait=60)
    assert status == 200, doc
    push(d, [1], camera="garden")
    taken(d, 2)
    wait_until(lambda: not d.undrawn(), "the copy to be drawn")
    drained(d, "gdrive", "s3:box", "directory:nas")
    names = {path: pathlib.PurePath(path).name for path in expected(d)}
    words = sorted(re.sub(r"\d{10}", "TIME", n) for n in names.values())
    assert words == ["detect_front-door-camera_TIME.jpg", "human_front-door-camera_TIME.jpg",
                     "p1.jpg"]
    assert all(re.fullmatch(r"(frontdoor|garden)/\d{4}/\d\d/\d\d/[^/]+", p) for p in names)
    kept_right(drive, d)
    assert {f["path"] for f in drive.pictures()} == {f"cameras/{n}" for n in names.values()}
    assert bucket.content() == {f"home/cams/{p}": b for p, b in expected(d).items()}
    same_files(nas, expected(d))
    for name in ("gdrive", "s3:box", "directory:nas"):
        s = storage(d, name)
        assert (s["state"], s["kept"], s["dead"]) == ("well", 3, 0), s


def test_a_picture_without_persons_stays_here_unless_it_is_pushed(launch, people, drive, login, nas):
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    d = launch.daemon(PORCH.format(address=sim.address) + OFF + gdrive(drive, login)
                      + directory(nas, upload="all"))
    d.trigger("porch", wait=60)
    push(d, [1], camera="frontdoor")
    taken(d, 2)
    drained(d, "gdrive", "directory:nas")
    kept_right(drive, d, "source = 1")
    same_files(nas, expected(d))


def test_events_tell_where_pictures_are_kept(launch, broker, people, drive, login):
    import house as broker_house
    house = broker_house.House(launch, broker, "kept", people)
    consumer = house.consumer()
    try:
        house.start(more="[store]\nreserve = 64k\n" + gdrive(drive, login, upload="all"))
        house.trigger(1)
        drained(house.daemon)
        (folder,) = [f for f in drive.files() if f["name"] == "cameras"]
        house.trigger(1)  # this one is told when the folder is known
        bodies = [broker_house.decode(m.body) for m in consumer.wait_events(2)]
        assert bodies[1]["inputs"][0]["storage_url"] == (
            f"https://drive.google.com/drive/folders/{folder['id']}")
    finally:
        consumer.close()


def test_a_missing_login_is_told_in_words_and_taken_when_it_comes(launch, drive, tmp_path, nas):
    login = tmp_path / "login.json"
    d = launch.daemon(CONFIG + gdrive(drive, login) + directory(nas))
    push(d, range(3))
    taken(d, 3)
    wait_until(lambda: storage(d)["state"] != "well", "the trouble to be told")
    s = storage(d)
    assert s["state"] == "login" and "snapshotd auth gdrive" in s["last_error"], s
    assert s["pending"] == 3 and s["dead"] == 0
    status, _, body = d.request("/readyz")
    assert status == 200 and "snapshotd auth gdrive" in body.decode(), body
    wait_until(lambda: 'snapshotd_uploads_pending{storage="gdrive"} 3\n'
               in d.request("/metrics")[2].decode(), "the metrics to tell")
    wait_until(lambda: storage(d, "directory:nas")["pending"] == 0, "the other to have all")
    same_files(nas, expected(d))
    assert drive.pictures() == []
    drive_rig.write_login(drive, login)
    assert 0 < storage(d)["next_try_ms"] <= 30000, "it is taken without a word"
    drained(d)
    kept_right(drive, d)
    wait_until(lambda: "snapshotd auth" not in d.request("/readyz")[2].decode(), "the words to go")


def test_a_missing_login_is_told_before_the_first_picture(launch, drive, tmp_path):
    d = launch.daemon(CONFIG + gdrive(drive, tmp_path / "login.json"))
    wait_until(lambda: "snapshotd auth gdrive" in d.request("/readyz")[2].decode(), "the words")
    assert d.request("/readyz")[0] == 200


def test_a_bad_file_does_not_block_the_next(launch, drive, login):
    drive.fault("badRequest", where="multipart", name="bad")
    drive.fault("serviceUnavailable", where="drive", count=2)
    d = launch.daemon(CONFIG + gdrive(drive, login, parallel=1))
    push(d, range(2), word="bad")
    push(d, range(2, 12))
    taken(d, 12)
    d.signal(signal.SIGHUP)
    wait_until(lambda: storage(d)["kept"] == 10, "the good ones")
    assert storage(d)["state"] == "well"
    wait_until(lambda: ask(d, "SELECT count(*) FROM uploads WHERE error LIKE '%Bad Request%'")
               == [(2,)], "their reason")
    assert sorted(f["name"] for f in drive.pictures()) == sorted(f"p{n}.jpg" for n in range(2, 12))


@pytest.mark.parametrize("what", ["removed", "changed"])
def test_a_file_that_cannot_be_read_any_more_ends_with_a_reason(launch, drive, login, what):
    drive.down()
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, range(4))
    taken(d, 4)
    wait_until(lambda: storage(d)["state"] == "away", "the trouble")
    (path,), = ask(d, "SELECT path FROM snapshots WHERE path LIKE '%/p1.jpg'")
    d.stop()  # what was just taken is in memory, and would be sent from there
    file = d.data / "store" / path
    if what == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes() + b"!")
    drive.up()
    d = launch.daemon(d.config.read_text())
    drained(d)
    s = storage(d)
    assert (s["kept"], s["dead"]) == (3, 1), s
    (why,), = ask(d, "SELECT error FROM uploads WHERE state = 2")
    assert ("bytes have changed" if what == "changed" else "p1.jpg") in why, why
    assert sorted(f["name"] for f in drive.pictures()) == ["p0.jpg", "p2.jpg", "p3.jpg"]


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_while_drive_is_away_all_else_goes_on_and_then_it_is_drained_in_order(
        launch, drive, login, nas, tmp_path, order):
    events = tmp_path / "events.json"
    drive.down()
    d = launch.daemon(CONFIG + f"[events]\nformat = json\nfile = {events}\n"
                      + gdrive(drive, login, parallel=1, order=order) + directory(nas))
    push(d, range(40))
    taken(d, 40)
    wait_until(lambda: len(events.read_text().splitlines()) == 40, "all events")
    drained(d, "directory:nas")
    same_files(nas, expected(d))
    s = storage(d)
    assert s["state"] == "away" and s["pending"] == 40 and s["dead"] == 0
    drive.up()
    drained(d)
    kept_right(drive, d)
    sent = [r["name"] for r in drive.requests(operation="multipart")]
    came = [pathlib.PurePath(p).name for p, in ask(
        d, "SELECT path FROM uploads u JOIN snapshots s ON s.row = u.snapshot"
        " JOIN storages p ON p.id = u.storage WHERE p.name = 'gdrive' ORDER BY u.row")]
    if order == "newest":
        came.reverse()
        # The one that was tried alone while Drive was away may be any.
        came.remove(sent[0])
        came.insert(0, sent[0])
    assert sent == came
    ids = [json.loads(line)["id"] for line in events.read_text().splitlines()]
    assert len(set(ids)) == 40


def test_a_reload_changes_the_rule_for_what_comes_then(launch, drive, login):
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, [1])
    push(d, [2], camera="porch")
    taken(d, 2)
    drained(d)
    d.config.write_text(CONFIG + gdrive(drive, login, cameras="porch"))
    seen = len(d.lines)
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]", start=seen)
    push(d, [3])
    push(d, [4], camera="porch")
    taken(d, 4)
    drained(d)
    assert sorted(f["name"] for f in drive.pictures()) == ["p1.jpg", "p2.jpg", "p4.jpg"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_large_picture_goes_on_where_it_was_after_a_restart(launch, drive, login, end):
    drive.fault("cut", where="chunk", count=1, bytes=4 << 20)
    drive.fault("serviceUnavailable", where=["chunk", "status"], after=1)
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, [1], size=LARGE)
    taken(d, 1)
    wait_until(lambda: drive.faults()[0]["hits"] == 1 and storage(d)["state"] == "away",
               "the cut")
    getattr(d, end)()
    drive.clear()
    d = launch.daemon(d.config.read_text())
    drained(d)
    kept_right(drive, d)
    assert len(drive.requests(operation="session")) == 1
    wait_until(lambda: drive.requests(operation="chunk")[-1]["body"] < LARGE, "the rest alone")


def test_secrets_are_in_no_log_and_no_answer(launch, drive, login, tmp_path):
    fake = pytest.importorskip("fakes.aws", reason="install python3-boto3")
    aws = fake.FakeAws()
    secrets = ["S3-canary/secret+key"]
    try:
        aws.keys["AKIDCANARY"] = fake.Key("another")  # so that signatures are wrong
        aws.bucket("pictures")
        given = json.loads(login.read_text())
        secrets += [given[k] for k in ("access_token", "refresh_token", "client_secret")]
        d = launch.daemon(
            CONFIG + "[app]\nlog_level = debug\n" + gdrive(drive, login)
            + f"[s3:box]\nbucket = pictures\nendpoint = {aws.url}\naccess_key = AKIDCANARY\n"
            f"secret_key = {secrets[0]}\nregion = us-east-1\n")
        push(d, range(3))
        taken(d, 3)
        drained(d)
        drive.expire_tokens()
        push(d, range(3, 5))
        taken(d, 5)
        drained(d)
        secrets.append(json.loads(login.read_text())["access_token"])
        drive.revoke_tokens()
        push(d, [5])
        taken(d, 6)
        wait_until(lambda: storage(d)["state"] == "login"
                   and storage(d, "s3:box")["state"] == "login", "both to be refused")
        text = "".join(d.request(p)[2].decode("utf-8", "replace") for p in
                       ("/", "/api/v1/status", "/api/v1/config", "/readyz", "/metrics",
                        "/api/v1/snapshots"))
        d.stop()
        text += d.text() + json.dumps(ask(d, "SELECT * FROM uploads"), default=str)
    finally:
        aws.close()
    assert len(set(secrets)) == 5
    for s in secrets:
        assert s not in text and json.dumps(s)[1:-1] not in text


def test_the_originals_credential_file_serves_and_what_is_left_loads_there(launch, drive, login):
    file = pytest.importorskip("oauth2client.file", reason="install python3-oauth2client")
    drive_rig.write_login(drive, login, expired=True)  # the client inside is all that is needed
    before = json.loads(login.read_text())
    d = launch.daemon(CONFIG + gdrive(drive, login))
    push(d, range(3))
    taken(d, 3)
    drained(d)
    kept_right(drive, d)
    d.stop()
    after = file.Storage(str(login)).get()
    assert not after.invalid and not after.access_token_expired
    assert after.refresh_token == before["refresh_token"]
    assert after.access_token != before["access_token"]
    assert login.stat().st_mode & 0o777 == 0o600
