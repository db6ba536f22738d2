"""The daemon is killed while it uploads with faults switched on, storages misbehave in random order, or
are away for long: in the end each holds each picture exactly once, byte by byte.

SNAPSHOT_KEEP_FULL=1 makes it the goals' numbers: 100 restarts during 2,000 uploads, 10,000 pictures
after an outage, 5,000 in the archive."""

import collections
import random
import signal

import pytest

import drive_rig
from conftest import wait_until
from keeping import (CAMERAS, LARGE, OFF, again, ask, bucket, directory, drained, drive,  # noqa: F401
                     expected, full, gdrive, kept_right, login, nas, push, same_files, storage, taken)

CONFIG = CAMERAS + OFF
# Of what can happen to an exchange, what passes by itself.
FAULTS = ["lost", "torn", "cut", "late", "backendError", "garbage", "html", "wrong_md5", "wrong_size",
          "userRateLimitExceeded", "token_expired", "short308", "session_gone", "close", "rateLimitExceeded",
          "gatewayTimeout"]
SHORTCUT = "application/vnd.google-apps.shortcut"


def switch_on(drive, rnd, probability=0.02):
    for kind in FAULTS:
        drive.fault(kind, probability=probability, seed=rnd.randrange(1 << 30))


@pytest.mark.parametrize("seed", range(full(2, 1)))
def test_kill_at_any_moment_of_uploads_with_faults(launch, drive, login, bucket, nas, seed):
    restarts, count = full(4, 100), full(60, 2000)
    rnd = random.Random(seed)
    switch_on(drive, rnd)
    drive.set(answer_ms=5)
    config = CONFIG + gdrive(drive, login) + bucket.section() + directory(nas)
    given = 0
    for i in range(restarts):
        d = launch.daemon(config)
        more = range(given, count * (i + 1) // restarts)
        given += len(more)
        push(d, more, size=rnd.randrange(100, 20000))
        if i % 20 == 0:
            push(d, [count + i], size=LARGE)
        recorded = given + i // 20 + 1
        n = drive.count()["requests"] + rnd.randrange(2, 3 * count // restarts)

        def enough(d=d, n=n, recorded=recorded):
            s = again(d)  # two 401 in a row look like a refusal
            return drive.count()["requests"] >= n or (s["pending"] == 0 and ask(
                d, "SELECT count(*) FROM uploads WHERE storage = 1")[0][0] >= recorded)
        wait_until(enough, "some requests")
        d.kill()
    assert sum(f["hits"] for f in drive.faults()) > restarts // 2
    drive.clear()
    d = launch.daemon(config)
    taken(d, count + (restarts + 19) // 20)
    drained(d, "gdrive", "s3:box", "directory:nas")
    kept_right(drive, d)
    assert bucket.content() == expected(d)
    same_files(nas, expected(d))
    assert ask(d, "SELECT count(*) FROM uploads WHERE state <> 1") == [(0,)]


# What is switched on for a while, one after the other by chance. None is without an end.
WEATHER = [
    {"kind": "down"},
    {"kind": "lost", "probability": 0.5}, {"kind": "torn", "probability": 0.5},
    {"kind": "late", "probability": 0.3}, {"kind": "cut", "where": "upload", "probability": 0.5},
    {"kind": "hang", "seconds": 0.2, "probability": 0.3},
    {"kind": "hang", "seconds": 0.2, "when": "after", "where": "upload", "probability": 0.3},
    {"kind": "half_open", "seconds": 0.2, "probability": 0.3},
    {"kind": "serviceUnavailable"}, {"kind": "internalError", "when": "after", "where": "write"},
    {"kind": "html", "status": 403}, {"kind": "html", "status": 200, "where": "upload"},
    {"kind": "garbage", "where": "upload", "probability": 0.5},
    {"kind": "userRateLimitExceeded", "retry_after": 1}, {"kind": "tooManyRequests"},
    {"kind": "storageQuotaExceeded", "where": "upload"}, {"kind": "dailyLimitExceeded"},
    {"kind": "accessNotConfigured"}, {"kind": "insufficientPermissions", "where": "write"},
    {"kind": "numChildrenInNonRootLimitExceeded", "where": "upload"},
    {"kind": "error", "status": 401, "where": "drive", "probability": 0.5},
    {"kind": "token_expired", "probability": 0.3},
    {"kind": "error", "status": 503, "where": "token"},
    {"kind": "wrong_md5", "probability": 0.5}, {"kind": "wrong_size", "probability": 0.5},
    {"kind": "session_gone", "status": 410}, {"kind": "short308"}, {"kind": "empty_page"},
    {"kind": "incomplete"}, {"kind": "no_md5", "probability": 0.5},
    {"kind": "domainPolicy"}, {"kind": "appNotAuthorizedToFile", "where": ["get", "create", "multipart"]},
    {"kind": "token_revoked", "count": 1}, {"kind": "badRequest", "where": ["list", "generateIds"]},
    {"kind": "clock", "offset": 7200}, {"kind": "clock", "offset": -7200},
    {"kind": "notFound", "where": "upload", "probability": 0.5},
    {"kind": "fileIdInUse", "where": "upload", "when": "after", "probability": 0.5},
]


@pytest.mark.parametrize("seed", range(full(4, 50)))
def test_any_sequence_of_faults_ends_with_each_picture_once(launch, drive, login, seed):
    rnd = random.Random(seed)
    d = launch.daemon(CONFIG + gdrive(drive, login))
    given = total = 0  # small ones, all
    told = []
    for _ in range(8):
        weather = dict(rnd.choice(WEATHER))
        told.append(weather["kind"])
        if weather["kind"] == "down":
            drive.down()
        elif weather["kind"] == "clock":  # it goes on being so
            drive.set(clock_offset_s=weather["offset"])
        else:
            if "probability" in weather:
                weather["seed"] = rnd.randrange(1 << 30)
            drive.fault(weather.pop("kind"), **weather)
        more = rnd.randrange(3, 12)
        push(d, range(given, given + more), size=rnd.choice([100, 30000]))
        given += more
        total += more
        if rnd.random() < 0.2:
            push(d, [1000 + given], size=LARGE)
            total += 1
        d.signal(signal.SIGHUP)
        wait_until(lambda t=total: ask(d, "SELECT count(*) FROM uploads")[0][0] >= t
                   and (storage(d)["state"] != "well" or storage(d)["pending"] == 0
                        or ask(d, "SELECT count(*) FROM uploads WHERE state = 0 AND attempts > 0")
                        != [(0,)]), f"the daemon to meet it: {told}")
        if rnd.random() < 0.3:
            getattr(d, rnd.choice(["kill", "stop"]))()
            d = launch.daemon(d.config.read_text())
        drive.clear()
        if told[-1] == "down":
            drive.up()
        if told[-1] == "token_revoked":  # somebody logs in again
            drive_rig.write_login(drive, login)
    drained(d)
    kept_right(drive, d)
    assert storage(d)["dead"] == 0, told


def test_after_a_long_outage_all_is_drained_in_order_and_once(launch, drive, login):
    """A day of pictures, as the ledger sees it: they were recorded hours ago, over several starts."""
    count = full(300, 10_000)
    drive.down()
    config = CONFIG + gdrive(drive, login, parallel=4)
    for part in range(3):
        d = launch.daemon(config)
        push(d, range(part * count // 3, (part + 1) * count // 3), size=500)
        taken(d, (part + 1) * count // 3)
        wait_until(lambda: storage(d)["state"] == "away", "the trouble")
        assert d.stop() == 0
    d = launch.daemon(config)
    s = storage(d)
    assert (s["pending"], s["dead"]) == (count, 0)
    drive.up()
    drained(d)
    kept_right(drive, d)
    place = {f"{row[0].rsplit('/', 1)[1]}": i for i, row in enumerate(ask(
        d, "SELECT path FROM uploads u JOIN snapshots s ON s.row = u.snapshot ORDER BY u.row"))}
    sent = sorted(drive.requests(operation="multipart"), key=lambda r: r["began"])
    assert len(sent) == count, "nothing was sent twice"
    late = [abs(place[r["name"]] - i) for i, r in enumerate(sent)]
    # Four under way and twice as many in the queue; who is ready first begins first.
    assert max(late) <= 16


def archive_of(drive, count, starred):
    """Old pictures of three days and their folder, as an earlier time left them."""
    top = drive.add("cameras", mimeType="application/vnd.google-apps.folder")
    for i in range(count):
        drive.add(f"a{i}.jpg", parent=top, text=f"{i}", starred=i < starred,
                  createdTime=f"2026-01-0{1 + i % 3}T10:00:00Z")


@pytest.mark.parametrize("seed", range(full(2, 1)))
def test_the_archive_that_is_killed_in_the_middle_ends_the_same(launch, drive, login, seed):
    count, starred = full(120, 5000), full(6, 50)
    rnd = random.Random(seed)
    archive_of(drive, count, starred)
    config = CONFIG + gdrive(drive, login)
    for kind in ("lost", "backendError", "torn", "html"):
        drive.fault(kind, where=["update", "create", "list", "generateIds", "get"],
                    probability=0.01, seed=rnd.randrange(1 << 30))
    for _ in range(full(4, 10)):
        d = launch.daemon(config)
        n = drive.count()["requests"] + rnd.randrange(5, count // 3)
        wait_until(lambda: drive.count()["requests"] >= n
                   or storage(d)["archive_error"], "requests of the archive")
        d.kill()
    drive.clear()
    d = launch.daemon(config)
    wait_until(lambda: len(at_home(drive)) == starred and len(links_of(drive)) == starred,
               "all to be moved")
    d.stop()
    paths = collections.Counter(f["path"] for f in drive.pictures())
    links = collections.Counter(links_of(drive))
    for i in range(count):
        day = f"cameras/2026/01/0{1 + i % 3}/a{i}.jpg"
        assert paths.pop(f"cameras/a{i}.jpg" if i < starred else day) == 1
        assert links.pop(day, 0) == (i < starred)
    assert not paths and not links
    folders = [f["path"] for f in drive.files(trashed=False) if f["mimeType"].endswith(".folder")]
    assert len(folders) == len(set(folders)) == 6
    # A second run does nothing, to its end.
    before = len(drive.requests(operation="write"))
    d = launch.daemon(config)
    line = d.wait_line(r"^.*\[archive-done\].*").group(0)
    assert "0 files moved, 0 shortcuts made" in line
    assert d.stop() == 0
    assert len(drive.requests(operation="write")) == before


def at_home(drive):
    return [f for f in drive.pictures() if f["path"].count("/") == 1]


def links_of(drive):
    return [f["path"] for f in drive.files(trashed=False) if f["mimeType"] == SHORTCUT]
