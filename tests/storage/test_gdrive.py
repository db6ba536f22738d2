"""The Drive storage against a Drive of ours with faults: each picture exactly once, one folder, and
the archive."""

import base64
import collections
import errno
import json
import random
import re
import ssl
import subprocess
import threading

import pytest

import drive_rig
from conftest import wait_until
from fakes import faults
from storages import Storage, picture

PATH = "cameras"
DAY = "2026-01-02T03:04:05Z"
NOW = "2026-01-03T12:00:00Z"
LARGE = 6 << 20  # above what goes in one request
FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"


@pytest.fixture
def drive():
    with drive_rig.drive_in_thread(keep_content=True) as d:
        yield d
        assert d.oddities() == []


@pytest.fixture
def opened(tmp_path, drive):
    """Opens storages before this Drive; instance N has a ledger of its own."""
    storages = []

    def open_one(instance="a", to=None, **rows):
        folder = tmp_path / instance
        folder.mkdir(exist_ok=True)
        login = folder / "login.json"
        if not login.exists():
            drive_rig.write_login(drive, login)
        rows = {"writes_per_second": 0, **rows}
        text = drive_rig.config(drive, "cameras", login)
        if to:
            text = text.replace(f"api_url = {drive.origin()}", f"api_url = {to.origin()}")
        text += "".join(f"{k} = {v}\n" for k, v in rows.items())
        storages.append(Storage(folder, text))
        return storages[-1]

    yield open_one
    for s in storages:
        if s.child.poll() is None:
            s.finish()


def expect_once(drive, sizes, where=None):
    """Each picture once, with its bytes, and nothing else that lives."""
    found = collections.Counter(f["name"] for f in drive.pictures())
    assert found == collections.Counter(sizes.keys())
    for f in drive.pictures():
        assert base64.b64decode(drive.content(f["id"])) == picture(f["name"], sizes[f["name"]])
        if where:
            assert f["path"].startswith(where), f["path"]


def live_folders(drive):
    return sorted(f["path"] for f in drive.files(trashed=False) if f["mimeType"] == FOLDER)


def test_a_picture_is_there_with_all_that_is_known_of_it(drive, opened):
    s = opened()
    answer = s.do(f"put human_a_1.jpg 1000 taken={DAY} camera=front labels=person,car")
    (f,) = drive.pictures()
    assert f["path"] == "cameras/human_a_1.jpg" and f["id"] in answer
    assert f["createdTime"].startswith("2026-01-02T03:04:05")
    assert f["description"] == "Front Door: person,car"
    assert f["appProperties"]["camera"] == "front" and f["appProperties"]["labels"] == "person,car"
    assert len(f["appProperties"]["sd_key"]) == 64
    assert s.do("verify human_a_1.jpg 1000") == f["id"]
    expect_once(drive, {"human_a_1.jpg": 1000})
    folder = next(f for f in drive.files() if f["mimeType"] == FOLDER)
    assert folder["id"] in s.do("describe")
    assert int(s.do("free")) > 0
    # The second time it is known to be there, and nothing is sent.
    s.do("put human_a_1.jpg 1000")
    assert len(drive.requests(operation="multipart")) == 1


@pytest.mark.parametrize("size", [0, 1, 300_000, LARGE])
def test_sizes(drive, opened, size):
    opened().do(f"put x.jpg {size}")
    expect_once(drive, {"x.jpg": size})


# What each of Google's reasons means for a picture on its way: the code, the storage's trouble, and how
# often it has to come until the picture is told of it.
SLOWED, FULL, LOGIN, AWAY = ((errno.EBUSY, "slowed", 1), (errno.EDQUOT, "full", 1),
                             (errno.EACCES, "login", 1), (errno.EAGAIN, "away", 1))
WRONG = (errno.EINVAL, "well", 2)  # the first time the id may be at fault
REFUSALS = {
    "badRequest": WRONG, "invalidParameter": WRONG, "invalid": WRONG, "required": WRONG,
    "parseError": WRONG, "invalidSharingRequest": WRONG, "cannotAddParent": WRONG,
    "fieldNotWritable": WRONG,
    "authError": (errno.EACCES, "login", 2),  # the first time the token may be
    "rateLimitExceeded": SLOWED, "userRateLimitExceeded": SLOWED, "sharingRateLimitExceeded": SLOWED,
    "tooManyRequests": SLOWED, "dailyLimitExceeded": SLOWED, "quotaExceeded": LOGIN,
    "storageQuotaExceeded": FULL, "numChildrenInNonRootLimitExceeded": FULL,
    "accessNotConfigured": LOGIN, "insufficientPermissions": LOGIN, "domainPolicy": LOGIN,
    "appNotAuthorizedToFile": (errno.EPERM, "login", 1),
    "insufficientFilePermissions": (errno.EPERM, "login", 1),
    "notFound": (errno.EIO, "well", 4),  # the folder is looked for, and found, each time
    "fileIdInUse": (errno.EAGAIN, "well", 1),  # and nothing is to be seen of the file
    "conditionNotMet": (errno.ERANGE, "well", 1),
    "requestedRangeNotSatisfiable": (errno.ERANGE, "well", 1),
    "backendError": AWAY, "internalError": AWAY, "badGateway": AWAY, "serviceUnavailable": AWAY,
    "gatewayTimeout": AWAY,
}


@pytest.mark.parametrize("form", ["legacy", "rpc"])
@pytest.mark.parametrize("reason", sorted(faults.REASONS))
def test_a_refusal_is_told_and_passes(drive, opened, reason, form):
    number, trouble, count = REFUSALS[reason]
    s = opened()
    drive.fault(reason, where="multipart", count=count, form=form)
    s.fail("put a.jpg 100", number, trouble, "drive: ")
    s.do("put a.jpg 100")
    expect_once(drive, {"a.jpg": 100})


@pytest.mark.parametrize("reason", sorted(faults.REASONS))
def test_a_refusal_in_a_session_passes(drive, opened, reason):
    s = opened()
    drive.fault(reason, where="chunk", count=1)
    for _ in range(3):
        line = s.say(f"put a.jpg {LARGE}")
        if line.startswith("ok"):
            break
        assert " retry=later " in line, line
    assert line.startswith("ok"), line
    expect_once(drive, {"a.jpg": LARGE})


@pytest.mark.parametrize("where", ["list", "create", "generateIds"])
@pytest.mark.parametrize("reason", ["badRequest", "insufficientFilePermissions"])
def test_a_refusal_of_the_folder_or_of_ids_costs_no_picture(drive, opened, where, reason):
    s = opened()
    drive.fault(reason, where=where)
    for _ in range(2):
        pause = s.fail("put a.jpg 100", errno.EACCES, "login")
        assert reason != "badRequest" or pause == 300_000
    drive.clear()
    s.do("put a.jpg 100")
    expect_once(drive, {"a.jpg": 100})
    assert live_folders(drive) == [PATH]


# One file's trouble: another one goes at once.
@pytest.mark.parametrize("kind,spec,size", [
    ("no_md5", {"name": "bad"}, 100), ("other_file", {"name": "bad"}, 100),
    ("appNotAuthorizedToFile", {"where": ["chunk", "status"], "name": "bad"}, LARGE),
    ("short308", {"name": "bad"}, LARGE),
    ("error", {"status": 400, "form": "html", "where": ["chunk", "status"], "name": "bad"}, LARGE),
    ("error", {"status": 403, "form": "empty", "where": ["chunk", "status"], "name": "bad"}, LARGE),
])
def test_one_files_trouble_is_its_own(drive, opened, kind, spec, size):
    s = opened()
    drive.fault(kind, **spec)
    for _ in range(3):
        line = s.say(f"put bad.jpg {size}")
        assert re.match(r"error put errno=\d+ retry=later trouble=well ", line), line
    s.do("put good.jpg 100")
    drive.clear()
    s.do(f"put bad.jpg {size}")
    expect_once(drive, {"bad.jpg": size, "good.jpg": 100})


@pytest.mark.parametrize("kind,spec", [
    ("backendError", {}), ("hang", {}), ("cut", {"bytes": 0}), ("html", {"status": 502})])
def test_a_session_that_fails_again_and_again_is_begun_anew(drive, opened, kind, spec):
    s = opened()
    if kind == "hang":
        s.do("stall 200")
    drive.fault(kind, where=["chunk", "status"], name="bad", **spec)
    for i in range(5):
        s.fail(f"put bad.jpg {LARGE}", errno.EIO if i == 4 else errno.EAGAIN,
               "well" if i == 4 else "away")
    s.do("stall 0")  # as it is by itself
    s.do("put good.jpg 100")
    drive.clear()
    s.do(f"put bad.jpg {LARGE}")
    expect_once(drive, {"bad.jpg": LARGE, "good.jpg": 100})
    assert len(drive.requests(operation="session")) == 2


def test_what_is_not_to_be_seen_yet_is_not_sent_under_another_id(drive, opened):
    s = opened()
    s.do("put before.jpg 10")
    drive.set(get_lag_s=3600)
    drive.fault("lost", where="multipart", count=1)
    for _ in range(8):
        s.fail("put a.jpg 100", errno.EAGAIN, "well", "its id is in use")
    with drive.lock:
        for f in drive.files_by_id.values():
            f["found_at"] = 0
    s.do("put a.jpg 100")
    expect_once(drive, {"before.jpg": 10, "a.jpg": 100})


def test_after_a_login_to_another_account_ids_of_before_serve_nobody(drive, opened):
    s = opened()
    s.do("put a.jpg 10")
    with drive.lock:
        drive.ids_given.clear()
    s.do("many p 5 10 2")
    expect_once(drive, {"a.jpg": 10, **{f"p{i}.jpg": 10 for i in range(5)}})
    assert len(drive.requests(operation="generateIds")) <= 4


def test_a_star_of_what_is_gone_is_given_up(drive, opened):
    s = opened()
    s.do("put a.jpg 10")
    drive.delete(drive.pictures()[0]["id"])
    assert " retry=never trouble=well " in s.say("star a.jpg 1")


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_that_drive_asks_for_is_told(drive, opened, status):
    s = opened()
    drive.fault("error", status=status, retry_after=9, where="multipart", count=1)
    assert s.fail("put a.jpg 100", errno.EBUSY if status == 429 else errno.EAGAIN,
                  "slowed" if status == 429 else "away") == 9000


# What happens to an exchange, at each of its requests, and whether the picture comes without
# another attempt of the stage's.
@pytest.mark.parametrize("where", ["multipart", "session", "chunk"])
@pytest.mark.parametrize("kind,spec", [
    ("lost", {}), ("lost", {"reset": True}), ("torn", {}), ("cut", {}), ("garbage", {}),
    ("html", {"status": 502}), ("html", {"status": 403}), ("html", {"status": 200}),
    ("backendError", {"when": "after"}), ("close", {}), ("wrong_md5", {}), ("wrong_size", {}),
    ("token_expired", {}),
])
def test_whatever_happens_the_picture_is_there_once(drive, opened, where, kind, spec):
    s = opened()
    size = 500 if where == "multipart" else LARGE
    s.do("put before.jpg 10")  # so that the connection is one that was used
    drive.fault(kind, where=where, count=2, **spec)
    for _ in range(5):
        line = s.say(f"put a.jpg {size}")
        if line.startswith("ok"):
            break
        assert " retry=later trouble=" in line, line
    assert line.startswith("ok"), line
    drive.clear()
    s.do(f"verify a.jpg {size}")
    expect_once(drive, {"before.jpg": 10, "a.jpg": size})


@pytest.mark.parametrize("keep", [0, 262144, 1 << 20])
def test_a_session_that_keeps_less_is_given_the_rest(drive, opened, keep):
    s = opened()
    drive.fault("short308", where="chunk", count=1, keep=keep)
    s.do(f"put a.jpg {LARGE}")
    expect_once(drive, {"a.jpg": LARGE})
    wait_until(lambda: len(drive.requests(operation="chunk")) == 2, "the second piece")
    chunks = drive.requests(operation="chunk")
    assert [c["body"] for c in chunks] == [LARGE, LARGE - keep]


@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_is_gone_is_begun_anew(drive, opened, status):
    s = opened()
    drive.fault("session_gone", where="chunk", count=1, status=status)
    s.do(f"put a.jpg {LARGE}")
    expect_once(drive, {"a.jpg": LARGE})


def test_a_session_goes_on_after_a_kill(drive, opened):
    s = opened()
    drive.fault("cut", where="chunk", count=2, bytes=4 << 20)
    s.fail(f"put a.jpg {LARGE}", errno.EAGAIN, "away")
    s.kill()
    opened().do(f"put a.jpg {LARGE}")
    expect_once(drive, {"a.jpg": LARGE})
    assert len(drive.requests(operation="session")) == 1
    wait_until(lambda: drive.requests(operation="chunk")[-1]["body"] < LARGE, "the rest alone")


# ---- the way there ----

# What stands still is ended: before the work and after it, at each request.
@pytest.mark.parametrize("where", ["generateIds", "list", "create", "multipart", "session", "chunk",
                                   "status"])
@pytest.mark.parametrize("kind,spec", [
    ("hang", {}), ("hang", {"when": "after"}), ("half_open", {}), ("slow", {"rate": 5})])
def test_what_stands_still_is_ended_and_repeated(drive, opened, where, kind, spec):
    size = 500 if where in ("multipart", "generateIds", "list", "create") else LARGE
    s = opened()
    s.do("stall 300")
    if where == "status":
        drive.fault("cut", where="chunk", count=2)
        s.fail(f"put a.jpg {size}", errno.EAGAIN, "away")
    drive.fault(kind, where=where, count=2, **spec)
    for _ in range(8):
        line = s.say(f"put a.jpg {size}")
        if line.startswith("ok"):
            break
        assert " retry=later trouble=away " in line, line
    assert line.startswith("ok"), line
    assert drive.faults()[-1]["hits"] > 0
    drive.clear()
    expect_once(drive, {"a.jpg": size})
    assert live_folders(drive) == [PATH]


def test_a_late_answer_is_waited_for(drive, opened):
    s = opened()
    s.do("stall 5000")
    drive.fault("delay", seconds=0.5, where="multipart", count=1)
    s.do("put a.jpg 100")
    assert len(drive.requests(operation="multipart")) == 1


def test_a_certificate_that_is_no_good_is_waited_out(drive, opened, tmp_path):
    """Not the picture's fault, nor the login's: some middlebox, or a clock."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
                    cert, "-days", "1", "-subj", "/CN=elsewhere.example"], check=True,
                   capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with drive_rig.drive_in_thread(tls=tls) as stranger:
        s = opened(to=stranger)
        for _ in range(2):
            s.fail("put a.jpg 100", errno.EAGAIN, "away", "certificate")
        assert stranger.requests() == []


@pytest.mark.parametrize("offset", [-7200, 7200])
@pytest.mark.parametrize("expired", [False, True])
def test_another_clock_than_ours_changes_nothing(drive, opened, offset, expired, tmp_path):
    drive.set(clock_offset_s=offset)
    (tmp_path / "a").mkdir()
    drive_rig.write_login(drive, tmp_path / "a/login.json", expired=expired)
    s = opened(archive="at_upload")
    s.do(f"put a.jpg 100 taken={DAY}")
    drive.fault("cut", where="chunk", count=2)
    s.fail(f"put b.jpg {LARGE} taken={DAY}", errno.EAGAIN, "away")
    s.do(f"put b.jpg {LARGE} taken={DAY}")
    drive.fault("error", status=503, retry_after="date:9", where="multipart", count=1)
    assert 8000 <= s.fail("put c.jpg 100", errno.EAGAIN, "away") <= 9000
    drive.expire_tokens()
    s.do(f"put c.jpg 100 taken={DAY}")
    s.do("verify a.jpg 100")
    assert s.do(f"archive now={NOW}") == "0"
    expect_once(drive, {"a.jpg": 100, "b.jpg": LARGE, "c.jpg": 100}, PATH + "/2026/01/02/")


# ---- shared drives ----

def shared(drive, opened, tmp_path, instance="a", **rows):
    key = tmp_path / "service.json"
    if not key.exists():
        key.write_text(json.dumps(drive.make_service_account()))
    return opened(instance, service_account_file=key, **rows)


def test_in_a_shared_drive_all_goes_as_elsewhere(drive, opened, tmp_path):
    parent = drive.add_shared_drive()
    both = [shared(drive, opened, tmp_path, i, parent=parent) for i in ("a", "b")]
    s = both[0]
    s.do(f"put a.jpg 100 taken={DAY}")
    s.do(f"put b.jpg {LARGE} taken={DAY}")
    s.do(f"put c.jpg 10 taken={DAY}")
    s.do("star a.jpg 1")
    s.do(f"verify b.jpg {LARGE}")
    for i in both:  # the second finds folders and shortcut of the first
        i.do(f"archive now={NOW}")
    assert sorted(f["path"] for f in drive.files(trashed=False, folders=False)) == [
        "team/cameras/2026/01/02/a.jpg", "team/cameras/2026/01/02/b.jpg",
        "team/cameras/2026/01/02/c.jpg", "team/cameras/a.jpg"]
    assert live_folders(drive) == ["team/cameras", "team/cameras/2026", "team/cameras/2026/01",
                                   "team/cameras/2026/01/02"]
    s.do("star a.jpg 0")
    assert s.do(f"archive now={NOW}") == "1"
    expect_once(drive, {"a.jpg": 100, "b.jpg": LARGE, "c.jpg": 10}, "team/cameras/2026/01/02/")


def test_a_shared_drive_that_is_not_to_be_seen_is_told(drive, opened):
    s = opened(parent=drive.add_shared_drive())  # a person's login sees what it made, and no more
    s.fail("put a.jpg 10", errno.EACCES, "login", "parent", "not visible")


def test_a_revoked_login_is_told_in_words(drive, opened):
    s = opened()
    s.do("put a.jpg 10")
    drive.revoke_tokens()
    s.fail("put b.jpg 10", errno.EACCES, "login")
    error = s.do("describe").split(" | ")[1]
    assert "invalid_grant" in error and "snapshotd auth gdrive" in error, error
    assert 'in "Testing" a login ends after 7 days: publish the app' in error, error


# ---- folders ----

@pytest.mark.parametrize("how", ["trash", "delete"])
def test_a_folder_that_a_person_removed_is_made_again(drive, opened, how):
    s = opened()
    s.do("put a.jpg 10")
    getattr(drive, how)(next(f["id"] for f in drive.files() if f["mimeType"] == FOLDER))
    s.do("put b.jpg 10")
    assert [f["path"] for f in drive.pictures()] == ["cameras/b.jpg"]
    assert live_folders(drive) == [PATH]


def test_a_folder_that_a_person_made_stays_unused(drive, opened):
    drive.add("cameras", mimeType=FOLDER, ours=False)
    s = opened()
    s.do("put a.jpg 10")
    assert live_folders(drive) == [PATH, PATH]
    assert "made by hand" in s.text()


def test_of_several_folders_the_oldest_serves(drive, opened):
    ids = [drive.add("cameras", mimeType=FOLDER) for _ in range(3)]
    drive.backdate(ids[1], "2020-01-01T00:00:00Z")
    s = opened()
    s.do("put a.jpg 10")
    assert drive.pictures()[0]["parents"] == [ids[1]]
    assert "3 folders 'cameras'" in s.text()


@pytest.mark.parametrize("lag", [0, 3600])
def test_two_instances_make_one_tree(drive, opened, lag):
    """Both start at the same moment with empty ledgers, in slow answers, so that they meet; with a lag
    neither list shows what the other made."""
    drive.set(answer_ms=20, list_lag_s=lag)
    both = [opened("a", archive="at_upload"), opened("b", archive="at_upload")]
    for i, s in enumerate(both):
        s.begin(f"put {i}.jpg 10 taken={DAY}")
    for s in both:
        s.wait_line("^ok put")
    drive.set(answer_ms=0, list_lag_s=0)
    if lag:
        assert len(live_folders(drive)) == 8
        with drive.lock:
            for f in drive.files_by_id.values():
                f["visible_at"] = 0
    for n in range(3 if lag else 0):
        for i, s in enumerate(both):
            s.do("later 61000")
            s.do(f"put more{n}{i}.jpg 10 taken={DAY}")
    assert live_folders(drive) == [PATH, "cameras/2026", "cameras/2026/01", "cameras/2026/01/02"]
    names = ["0.jpg", "1.jpg"] + [f"more{n}{i}.jpg" for n in range(3) for i in range(2) if lag]
    expect_once(drive, {n: 10 for n in names}, "cameras/2026/01/02/")


def test_a_list_that_is_not_complete_makes_no_second_folder(drive, opened):
    s = opened()
    s.do(f"put a.jpg 10 taken={DAY}")
    s.finish()
    drive.fault("incomplete")
    for instance in ("b", "c"):
        opened(instance).fail("put b.jpg 10", errno.EAGAIN, "away", "not complete")
    assert live_folders(drive) == [PATH]
    s = opened()
    s.do("put c.jpg 10")
    s.fail(f"archive now={NOW}", errno.EAGAIN, "away", "not complete")
    drive.clear()
    assert s.do(f"archive now={NOW}") == "1"
    assert len(live_folders(drive)) == 4


def test_at_upload_pictures_go_to_their_day(drive, opened):
    s = opened(archive="at_upload")
    s.do(f"put a.jpg 10 taken={DAY}")
    s.do("put b.jpg 10 taken=2025-12-31T23:59:59Z")
    assert sorted(f["path"] for f in drive.pictures()) == [
        "cameras/2025/12/31/b.jpg", "cameras/2026/01/02/a.jpg"]


# ---- the archive ----

def fill(drive, count, starred):
    """A folder with pictures over some days, the last ones of today."""
    top = drive.add("cameras", mimeType=FOLDER)
    for i in range(count):
        day = 1 + i % 3
        drive.add(f"p{i}.jpg", parent=top, text=f"{i}", createdTime=f"2026-01-0{day}T10:00:00Z",
                  starred=i < starred)
    return top


def expect_archived(drive, count, starred):
    paths = collections.Counter(f["path"] for f in drive.pictures())
    links = collections.Counter(f["path"] for f in drive.files(trashed=False)
                                if f["mimeType"] == SHORTCUT)
    for i in range(count):
        day = 1 + i % 3
        stays = i < starred or day == 3
        assert paths.pop(f"cameras/p{i}.jpg" if stays
                         else f"cameras/2026/01/0{day}/p{i}.jpg") == 1
        if i < starred and day < 3:
            assert links.pop(f"cameras/2026/01/0{day}/p{i}.jpg") == 1
    assert not paths and not links


def expect_one_tree(drive):
    assert live_folders(drive) == [PATH, "cameras/2026", "cameras/2026/01",
                                   "cameras/2026/01/01", "cameras/2026/01/02"]


def test_the_archive_moves_what_is_old_and_links_what_has_a_star(drive, opened):
    fill(drive, 60, 9)
    s = opened()
    assert s.do(f"archive now={NOW}") == "34"
    expect_archived(drive, 60, 9)
    expect_one_tree(drive)
    # The last request of a run is a list, and the Drive enters a request before it reads the next.
    before = len(drive.requests(operation="write"))
    assert s.do(f"archive now={NOW}") == "0"
    assert len(drive.requests(operation="write")) == before


@pytest.mark.parametrize("seed", range(4))
def test_the_archive_survives_kills_and_faults(drive, opened, seed):
    fill(drive, 40, 8)
    rnd = random.Random(seed)
    for kind in ("lost", "backendError", "userRateLimitExceeded", "torn", "html"):
        drive.fault(kind, where=["update", "create", "list", "generateIds", "get"],
                    probability=0.05, seed=rnd.randrange(1 << 30))
    for _ in range(6):
        s = opened()
        s.begin(f"archive now={NOW}")
        n = drive.count()["requests"] + rnd.randrange(2, 40)
        wait_until(lambda: drive.count()["requests"] >= n or s.child.poll() is not None
                   or any(x.startswith(("ok archive", "error archive")) for x in s.lines),
                   "requests of the archive")
        s.kill()
    drive.clear()
    s = opened()
    s.do(f"archive now={NOW}")
    expect_archived(drive, 40, 8)
    expect_one_tree(drive)
    assert s.do(f"archive now={NOW}") == "0"


@pytest.mark.parametrize("lag", [0, 3600])
def test_two_archives_at_once_end_as_one(drive, opened, lag):
    """With a lag each has folders and shortcuts of its own until the lists show the other's."""
    fill(drive, 30, 6)
    drive.set(answer_ms=5, list_lag_s=lag)
    both = [opened("a"), opened("b")]
    for s in both:
        s.begin(f"archive now={NOW}")
    for s in both:
        s.wait_line("^(ok|error) archive")
    drive.set(answer_ms=0, list_lag_s=0)
    with drive.lock:
        for f in drive.files_by_id.values():
            f["visible_at"] = 0
    for _ in range(5 if lag else 0):
        for s in both:
            s.do("later 61000")
            s.do(f"archive now={NOW}")
    both[0].do(f"archive now={NOW}")
    expect_archived(drive, 30, 6)
    if not lag:  # else empty ones stay until their day is wanted again
        expect_one_tree(drive)


def test_without_its_star_a_picture_moves_and_loses_its_shortcut(drive, opened):
    s = opened()
    s.do(f"put a.jpg 10 taken={DAY} starred=1")
    assert s.do(f"archive now={NOW}") == "0"
    assert drive.find("cameras/a.jpg") and drive.find("cameras/2026/01/02/a.jpg")
    s.do("star a.jpg 0")
    assert s.do(f"archive now={NOW}") == "1"
    (f,) = [f for f in drive.files(trashed=False) if f["name"] == "a.jpg"]
    assert f["path"] == "cameras/2026/01/02/a.jpg" and f["mimeType"] == "image/jpeg"


# ---- many at once ----

@pytest.mark.parametrize("seed", range(3))
def test_many_with_kills_and_faults_are_there_once(drive, opened, seed):
    count, size = 80, 4000
    rnd = random.Random(seed)
    for kind in ("lost", "torn", "cut", "backendError", "garbage", "html", "wrong_md5",
                 "userRateLimitExceeded", "token_expired"):
        drive.fault(kind, where="drive", probability=0.02, seed=rnd.randrange(1 << 30))
    for _ in range(6):
        s = opened()
        s.begin(f"many p {count} {size} 4 taken={DAY}")
        n = drive.count()["requests"] + rnd.randrange(1, 60)
        wait_until(lambda: drive.count()["requests"] >= n
                   or any(x.startswith(("ok many", "error many")) for x in s.lines), "requests")
        s.kill()
    opened().do(f"many p {count} {size} 4 taken={DAY}")
    drive.clear()
    expect_once(drive, {f"p{i}.jpg": size for i in range(count)}, where=PATH + "/")
    assert live_folders(drive) == [PATH]


def test_an_outage_is_waited_for(drive, opened):
    s = opened()
    s.do("put a.jpg 10")
    drive.down()
    s.fail("put b.jpg 10", errno.EAGAIN, "away", "no connection")
    threading.Timer(0, drive.up).start()
    s.do("many b 1 10 1")
