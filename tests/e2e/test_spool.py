"""Pictures in folders: the real daemon, and everything that puts files there.

WATCH_FLOOD sets how many come at once (50,000 is goal R15 of reliability)."""

import contextlib
import ftplib
import http.client
import io
import json
import os
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import PATIENCE, books_agree, sha256, tmpfs, wait_until
from spool import (WRITERS, count_rows, digest_of, digests, folder, picture, put, quiet, rows, tree)

CAMERAS = "[camera:front]\nlocation = Front Door\n[camera:porch]\n"
OFF = "[detection]\nenabled = no\n"
CONFIG = CAMERAS + OFF
FRONT = "ftp/uploads/frontdoor"
FLOOD = int(os.environ.get("WATCH_FLOOD", 2000))
FLOOD_FOLDERS = 20


def settled(d, count, name="ftp"):
    wait_until(lambda: len(rows(d)) >= count and quiet(d, name), f"{count} pictures")
    assert len(rows(d)) == count


def place(d):
    (d.data / FRONT).mkdir(parents=True, exist_ok=True)
    return d.data / FRONT


# ---- who writes ----

@pytest.mark.parametrize("writer", WRITERS)
def test_every_way_to_put_a_file_there_gives_one_picture(launch, tmp_path, writer):
    d = launch.daemon(CONFIG + "[spool]\nsettle_unsure = 500ms\n")
    target = place(d)
    sources = []
    for i in range(5):
        source = tmp_path / f"source{i}.jpg"
        source.write_bytes(picture(i, padding=50000))
        sources.append(source)
        WRITERS[writer](source, target / f"{i}.jpg")
    settled(d, 5)
    assert digests(d) == digest_of(*(s.read_bytes() for s in sources))
    assert tree(d.data / "ftp") == []
    assert d.stop() == 0
    books_agree(d, [])


def test_the_event_is_told_with_the_pictures_own_name(launch):
    d = launch.daemon(CONFIG + "[events]\nformat = json\n")
    put(place(d) / "2026-11-25/001/jpg/03/04/05[M][0@0][0].jpg", picture(1))
    match = d.wait_line(r'^\{"id".*')
    event = json.loads(match.string)
    assert event["camera"] == "front" and event["device_key"] == "Front Door Camera"
    assert event["source"] == "pushed"
    assert event["path"].endswith("/05[M][0@0][0].jpg")
    [row] = rows(d)
    assert event["id"] == row["id"]
    settled(d, 1)
    document = d.get(f"/api/v1/snapshots/{row['id']}")
    assert document["source"] == "pushed" and document["fetch_ms"] is None
    assert [s["what"] for s in document["story"]] == ["received", "stored", "not examined",
                                                      "delivered"]
    status, _, body = d.request(f"/api/v1/snapshots/{row['id']}/image")
    assert status == 200 and body == picture(1)


def test_names_of_all_kinds_survive(launch):
    names = ["05[M][0@0][0].jpg", "my #1 @home & more.jpg", "Tür – 門.jpg", "a'b\"c.jpg", "%41+%20.jpg",
             "-rf.jpg", "$(reboot).JPG", "x" * 180 + ".jpeg", "fetch_of_theirs.jpg", "two.dots..jpg"]
    d = launch.daemon(CONFIG)
    for i, name in enumerate(names):
        put(place(d) / name, picture(i))
    settled(d, len(names))
    kept = {os.path.basename(r["path"]) for r in rows(d)}
    assert kept == {"push_" + n if n.startswith("fetch_") else n for n in names}
    for row in rows(d):
        status, _, body = d.request(f"/api/v1/snapshots/{row['id']}/image")
        assert status == 200 and sha256(body) == row["sha256"]
    assert d.stop() == 0
    books_agree(d, [])


# ---- restart ----

def test_files_that_came_while_nobody_looked_are_taken_at_the_start(launch):
    d = launch.daemon(CONFIG)
    d.stop()
    for i in range(300):
        put(d.data / "ftp/uploads" / ("frontdoor", "porch")[i % 2] / f"{i % 11}" / f"{i}.jpg",
            picture(i))
    d = launch.daemon(CONFIG)
    settled(d, 300)
    assert digests(d) == digest_of(*(picture(i) for i in range(300)))
    assert tree(d.data / "ftp") == []
    assert d.stop() == 0
    books_agree(d, [])


def test_kill_at_any_moment_takes_each_picture_exactly_once(launch):
    """A writer that goes on all the time, and a daemon that is killed again and again."""
    rng = random.Random(4)
    d = launch.daemon(CONFIG)
    target, written, ended = place(d), [], threading.Event()

    def write():
        while not ended.is_set():
            number = len(written)
            put(target / f"{number % 5}" / f"{number}.jpg", picture(number, 20000))
            written.append(number)
            ended.wait(0.004)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(12):
            seen = len(rows(d))
            wanted = rng.randrange(1, 80)
            wait_until(lambda: len(rows(d)) >= seen + wanted, "some progress")
            d.kill()
            d = launch.daemon(CONFIG)
    finally:
        ended.set()
        thread.join()
    settled(d, len(written))
    assert digests(d) == digest_of(*(picture(n, 20000) for n in written))
    assert tree(d.data / "ftp") == [], "no file is left over, hidden ones neither"
    assert d.stop() == 0
    assert books_agree(d, []) == len(written)


def test_more_than_the_kernel_remembers_at_once_is_each_taken_once(launch):
    """The queue of inotify is filled up while the daemon is held, so nothing is told of the pictures
    that come then: the rescan alone can find them."""
    d = launch.daemon(CONFIG)
    target, expected = place(d), []
    for i in range(FLOOD_FOLDERS):
        (target / f"{i}").mkdir()
    put(target / "0/before.jpg", picture(FLOOD))
    settled(d, 1)
    d.signal(signal.SIGSTOP)
    for i in range(int(pathlib.Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 1):
        # Two names in turn: the kernel drops an event that is like the one before it.
        with open(target / (".incoming-1", ".incoming-2")[i % 2], "w"):
            pass
    for i in range(FLOOD):
        expected.append(sha256(picture(i)))
        put(target / f"{i % FLOOD_FOLDERS}/{i}.jpg", picture(i))
    d.signal(signal.SIGCONT)
    d.wait_line(r"\[watch-overflow\]")
    wait_until(lambda: count_rows(d) > FLOOD, f"{FLOOD} pictures", patience=PATIENCE + FLOOD / 100)
    settled(d, FLOOD + 1)
    assert digests(d) == sorted([*expected, sha256(picture(FLOOD))])
    assert tree(target) == [".incoming-1", ".incoming-2"]
    assert d.stop() == 0
    assert books_agree(d, []) == FLOOD + 1


# ---- fixed names, renames, repeats ----

def test_a_fixed_name_is_a_new_picture_each_time(launch):
    d = launch.daemon(CONFIG)
    path = place(d) / "snap.jpg"
    for i in range(6):
        put(path, picture(7))  # the very same bytes
        settled(d, i + 1)
        assert not path.exists()
    assert {os.path.basename(r["path"]) for r in rows(d)} == \
        {"snap.jpg", *(f"snap-{n}.jpg" for n in range(2, 7))}


def test_a_rename_within_the_settle_time_is_one_picture_of_the_last_name(launch):
    d = launch.daemon(CONFIG + "[spool]\nsettle = 1s\n")
    put(place(d) / "upload001.jpg", picture(1)).rename(place(d) / "MDAlarm.jpg")
    settled(d, 1)
    assert rows(d)[0]["path"].endswith("/MDAlarm.jpg")


def test_an_upload_that_is_repeated_for_the_same_moment_is_dropped(launch):
    d = launch.daemon(CONFIG)
    path = place(d) / time.strftime("MDAlarm_%Y%m%d-%H%M%S.jpg")
    put(path, picture(1))
    settled(d, 1)
    put(path, picture(1))
    d.wait_line(r"was pushed before.*\[push-repeated")
    wait_until(lambda: not path.exists(), "the repeat to go")
    put(path, picture(2))
    settled(d, 2)
    assert len({r["event_at"] for r in rows(d)}) == 1


def test_a_clock_that_is_off_is_told_and_the_arrival_counts(launch):
    d = launch.daemon(CONFIG)
    put(place(d) / "MDAlarm_19700101-000105.jpg", picture(1))
    settled(d, 1)
    assert abs(rows(d)[0]["event_at"] / 1e6 - time.time()) < 60
    assert "[push-clock" in d.text()


# ---- what is left alone ----

def test_videos_and_texts_are_left_alone_and_cleaned_by_rule(launch):
    d = launch.daemon(CONFIG)
    target = place(d)
    for name in ("alarm.mp4", "DH_test.txt", "03.04.05-03.04.35[M][0@0][0].dav"):
        put(target / name, b"no picture")
    put(target / "a.jpg", picture(1))
    settled(d, 1)
    wait_until(lambda: folder(d)["left"] == {"video": 2, "other": 1}, "all to be counted")
    assert len(tree(target)) == 3
    d.stop()
    old = time.time() - 3700
    os.utime(target / "alarm.mp4", (old, old))
    d = launch.daemon(CONFIG + "[spool]\nclean_after = 1s\nclean_folders = 1s\n")
    wait_until(lambda: tree(d.data / "ftp") == [], "the leftovers to go")
    assert target.is_dir(), "a camera's folder stays"


def test_a_folder_of_no_camera_waits_for_one_and_is_told_with_what_to_do(launch):
    d = launch.daemon(CONFIG)
    put(d.data / "ftp/uploads/frontdoor2/a.jpg", picture(1))
    put(d.data / "ftp/uploads/frontdoor2/b.jpg", picture(2))
    put(d.data / "ftp/uploads/front/c.jpg", picture(3))
    d.wait_line(r'pictures in "uploads/frontdoor2".*uploads/<directory of a camera>.*push-unknown')
    d.wait_line(r'pictures in "uploads/front" .*push-unknown')
    wait_until(lambda: folder(d)["left"] == {"without a camera": 3}, "all to be counted")
    assert d.text().count("[push-unknown") == 2
    assert folder(d)["unknown_folder"] in ("uploads/front", "uploads/frontdoor2")
    d.config.write_text(CONFIG + "[camera:new]\nlocation = Front Door 2\n")
    d.signal(signal.SIGHUP)
    settled(d, 2)
    assert {r["camera_name"] for r in rows(d)} == {"new"}
    assert tree(d.data / "ftp") == ["uploads/front/c.jpg"]


def test_pictures_of_a_camera_that_is_off_wait(launch):
    d = launch.daemon("[camera:front]\nlocation = Front Door\nenabled = no\n" + OFF)
    put(place(d) / "a.jpg", picture(1))
    d.wait_line(r"switched off: set enabled = yes in \[camera:front\].*push-off")
    assert rows(d) == []
    d.config.write_text(CONFIG)
    d.signal(signal.SIGHUP)
    settled(d, 1)


# ---- what is no picture ----

def test_what_is_no_picture_goes_to_the_refused_ones_with_a_reason(launch):
    d = launch.daemon(CONFIG + "[spool]\nrefused_files = 3\n")
    put(place(d) / "login [1].jpg", b"<html>please log in</html>")
    line = d.wait_line(r"login \[1\].*HTML.*goes to refused/front \[push-refused ([0-9a-f]{32})\]")
    wait_until(lambda: tree(d.data / "ftp") == [], "the file to go")
    id = line.group(1)
    assert tree(d.data / "refused") == [f"front/{id}-login [1].jpg"]
    for i in range(5):
        put(place(d) / f"{i}.jpg", b"<html>%d" % i)
    wait_until(lambda: folder(d)["refused"] == 6 and tree(d.data / "ftp") == [], "the others to go")
    assert len(tree(d.data / "refused")) == 3, "the oldest went"
    db = sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)
    noted = {i for i, in db.execute("SELECT subject FROM incidents WHERE what = 'refused'")}
    assert noted == {n.split("/")[1][:32] for n in tree(d.data / "refused")}
    put(place(d) / "good.jpg", picture(1))
    settled(d, 1)
    assert d.stop() == 0
    books_agree(d, [])


@pytest.mark.parametrize("room", ("refused_files = 0", "refused_size = 1k"))
def test_what_is_no_picture_and_not_kept_stays_until_it_is_cleaned(launch, room):
    d = launch.daemon(CONFIG + f"[spool]\n{room}\n")
    put(place(d) / "login.jpg", b"<html>" + bytes(2000))
    d.wait_line(r"login.jpg.*HTML.*it stays where it is.*\[push-refused")
    wait_until(lambda: folder(d)["refused"] == 1, "it to be counted")
    d.stop()
    d = launch.daemon(CONFIG + f"[spool]\n{room}\n")
    put(place(d) / "good.jpg", picture(1))
    settled(d, 1)
    put(d.data / "ftp/uploads/attic/of-no-camera.jpg", picture(2))
    assert tree(place(d)) == ["login.jpg"]
    assert "push-refused" not in d.text() and not (d.data / "refused").exists()
    d.stop()
    d = launch.daemon(CONFIG + f"[spool]\n{room}\nclean_after = 1s\n")
    wait_until(lambda: tree(place(d)) == [], "it to go")
    assert len(tree(d.data / "ftp")) == 1, "a picture stays"
    with contextlib.closing(sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)) as db:
        assert db.execute("SELECT count(*) FROM incidents WHERE what = 'refused'").fetchone()[0] == 0


def test_a_picture_above_the_limit_is_refused_and_the_next_goes_on(launch):
    d = launch.daemon(CAMERAS + "size_max = 100k\n" + OFF)
    put(d.data / "ftp/uploads/porch/large.jpg", picture(1, 200000))
    put(d.data / "ftp/uploads/porch/small.jpg", picture(2, 2000))
    settled(d, 1)
    wait_until(lambda: tree(d.data / "ftp") == [], "the large one to go")
    [kept] = tree(d.data / "refused")
    assert kept.startswith("porch/") and kept.endswith("-large.jpg")


# ---- other folders ----

def test_a_watched_folder_keeps_its_files_and_gives_each_once(launch, tmp_path):
    outside = tmp_path / "outside"
    config = CONFIG + f"[watch:cam]\npath = {outside}\ncamera = porch\n"
    for i in range(20):
        put(outside / f"{i % 3}" / f"{i}.jpg", picture(i))
    (outside / "link.jpg").symlink_to(outside / "0/0.jpg")
    before = {p: p.stat() for p in outside.rglob("*.jpg") if not p.is_symlink()}
    d = launch.daemon(config)
    settled(d, 20, "cam")
    put(outside / "late.jpg", picture(99))
    settled(d, 21, "cam")
    d.stop()
    d = launch.daemon(config)
    wait_until(lambda: folder(d, "cam")["repeated"] == 21, "all to be known again")
    settled(d, 21, "cam")
    for path, st in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_nlink, now.st_mtime_ns, now.st_mode) == \
            (st.st_ino, 1, st.st_mtime_ns, st.st_mode)
    assert {r["camera_name"] for r in rows(d)} == {"porch"}
    assert d.stop() == 0
    books_agree(d, [])


def test_a_watched_folder_by_polling_that_is_emptied(launch, tmp_path):
    outside = tmp_path / "outside"
    d = launch.daemon(CONFIG + f"[watch:cam]\npath = {outside}\nafter = remove\npoll = always\n"
                      "poll_interval = 200ms\nsettle_unsure = 300ms\n")
    for i in range(5):
        put(outside / "frontdoor" / f"{i}.jpg", picture(i))
    settled(d, 5, "cam")
    wait_until(lambda: tree(outside) == [], "the files to go")
    assert folder(d, "cam")["polling"]
    text = subprocess.run([d.argv[0], "status", "-c", d.config, "--set",
                           f"web.listen=127.0.0.1:{d.port}"], capture_output=True, text=True).stdout
    assert "watched" in text.lower() and "cam" in text


# ---- disk full ----

@pytest.fixture
def small_disk(tmp_path):
    with tmpfs(tmp_path / "daemon/data", "20m") as mount:
        yield mount


def test_pictures_wait_on_a_full_disk_and_none_is_lost(launch, small_disk, tmp_path):
    outside = tmp_path / "outside"
    d = launch.daemon(CONFIG + "[store]\nreserve = 1m\n"
                      f"[watch:cam]\npath = {outside}\ncamera = porch\nafter = remove\n")
    written = []
    for i in range(10):
        written.append(picture(i, 100000))
        put(place(d) / f"{i}.jpg", written[-1])
    settled(d, 10)
    filler = small_disk / "filler"
    with open(filler, "wb") as f:
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
        os.posix_fallocate(f.fileno(), 0, free - 200 * 1024)
    for i in range(10, 20):
        written.append(picture(i, 100000))
        put(outside / f"{i}.jpg", written[-1])
    d.wait_line(r"it waits in its folder \[picture-refused")
    assert d.request("/healthz")[0] == 200
    assert len(rows(d)) == 10 and len(tree(outside)) == 10
    filler.unlink()
    freed = time.monotonic()
    settled(d, 20, "cam")
    assert time.monotonic() - freed < 20
    wait_until(lambda: tree(outside) == [], "the files to go")
    assert digests(d) == digest_of(*written)
    assert d.stop() == 0
    books_agree(d, [])


# ---- by the FTP server ----

FTP = ("[ftp]\nlisten = 127.0.0.1:0\nuser = original\npassword = long enough\n"
       "[ftp_account:cam7]\npassword = long enough too\ncamera = porch\n")


def ftp_of(d, user="original", password="long enough"):
    port = int(re.search(r"127\.0\.0\.1:(\d+)", d.get("/api/v1/status")["ftp"]["listen"]).group(1))
    ftp = ftplib.FTP()
    ftp.connect("127.0.0.1", port, timeout=30)
    ftp.login(user, password)
    return ftp


def test_an_upload_comes_out_as_a_picture_of_its_camera(launch):
    d = launch.daemon(CONFIG + FTP)
    with ftp_of(d) as ftp:
        ftp.mkd("uploads/frontdoor")
        ftp.cwd("uploads/frontdoor")
        ftp.storbinary("STOR tmp1.jpg", io.BytesIO(picture(1)))
        ftp.rename("tmp1.jpg", "MDAlarm [1].jpg")
        ftp.storbinary("STOR test.txt", io.BytesIO(b"the test button"))
        ftp.delete("test.txt")
    with ftp_of(d, "cam7", "long enough too") as ftp:
        ftp.storbinary("STOR snap/alarm.jpg", io.BytesIO(picture(2)))
    settled(d, 2)
    assert {(r["camera_name"], os.path.basename(r["path"])) for r in rows(d)} == \
        {("front", "MDAlarm [1].jpg"), ("porch", "alarm.jpg")}
    assert digests(d) == digest_of(picture(1), picture(2))
    assert tree(d.data / "ftp") == []


def test_whatever_heard_226_is_taken_or_counted_and_cleaned(launch):
    """Dot names as lftp has them (.in.NAME), whose session died before its RNTO, and a folder that
    a camera hides."""
    d = launch.daemon(CONFIG + FTP + "[spool]\nsettle_unfinished = 1s\nclean_folders = 1s\n")
    with ftp_of(d, "cam7", "long enough too") as ftp:
        for name in (".in.renamed.jpg", ".in.died.jpg", ".cam/2026/hidden.jpg"):
            ftp.storbinary(f"STOR {name}", io.BytesIO(picture(len(name))))
        ftp.rename(".in.renamed.jpg", "renamed.jpg")
        for name in ("clip.mp4.part", ".in.clip.mp4", "_clip.mp4", ".DS_Store", "x.jpg~"):
            ftp.storbinary(f"STOR {name}", io.BytesIO(b"not yet"))
        for name in (".taken-0.jpg", ".snapshot/a.jpg", "@eaDir/a.jpg"):
            with pytest.raises(ftplib.error_perm, match="553 Name not allowed"):
                ftp.storbinary(f"STOR {name}", io.BytesIO(picture(0)))
    settled(d, 3)
    assert {os.path.basename(r["path"]) for r in rows(d)} == \
        {"renamed.jpg", "_in.died.jpg", "hidden.jpg"}
    wait_until(lambda: folder(d)["left"] == {"unfinished": 5}, "all to be counted")
    wait_until(lambda: not (d.data / "ftp/cam7/.cam").exists(), "its empty folders to go")
    assert len(tree(d.data / "ftp")) == 5
    d.stop()
    d = launch.daemon(CONFIG + FTP + "[spool]\nclean_after = 1s\n")
    wait_until(lambda: tree(d.data / "ftp") == [], "the leftovers to go")


@pytest.mark.parametrize("late", (False, True))
def test_a_picture_has_the_name_that_it_has_when_it_has_settled(launch, late):
    """STOR and RNTO: within the settle time the last name counts, and the time in it; after that
    the camera hears 250 all the same, and the picture has its first name."""
    d = launch.daemon(CONFIG + FTP + f"[spool]\nsettle = {'10ms' if late else '1m'}\n")
    said = time.strftime("MDAlarm_%Y%m%d-%H%M%S.jpg", time.localtime(time.time() - 3600))
    with ftp_of(d, "cam7", "long enough too") as ftp:
        ftp.storbinary("STOR upload1.jpg", io.BytesIO(picture(1)))
        if late:
            settled(d, 1)
        assert ftp.rename("upload1.jpg", said).startswith("250")
    if not late:
        wait_until(lambda: folder(d)["settling"] == 1, "it to settle")
        assert rows(d) == []
        d.stop()
        d = launch.daemon(CONFIG + FTP)
    settled(d, 1)
    [row] = rows(d)
    assert os.path.basename(row["path"]) == ("upload1.jpg" if late else said)
    assert (time.time() - row["event_at"] / 1e6 > 3500) != late
    assert tree(d.data / "ftp") == []


def test_a_fixed_name_uploaded_faster_than_it_is_taken_loses_none(launch):
    d = launch.daemon(CONFIG + FTP)
    with ftp_of(d, "cam7", "long enough too") as ftp:
        for i in range(40):
            reply = ftp.storbinary("STOR snap.jpg", io.BytesIO(picture(i, 5000)))
            assert reply.startswith("226")
    settled(d, 40)
    assert digests(d) == digest_of(*(picture(i, 5000) for i in range(40)))
    assert tree(d.data / "ftp") == []
    assert d.stop() == 0
    books_agree(d, [])


def test_uploads_under_kills_are_each_taken_exactly_once(launch):
    """What a client was told to be safe comes out, once; what it was not, once at the most."""
    d = launch.daemon(CONFIG + FTP)
    safe, sent, ended = [], [], threading.Event()
    here = [d]

    def upload(worker):
        number = worker * 100000
        while not ended.is_set():
            try:
                with ftp_of(here[0], "cam7", "long enough too") as ftp:
                    while not ended.is_set():
                        number += 1
                        sent.append(number)
                        ftp.storbinary(f"STOR {worker}/{number}.jpg",
                                       io.BytesIO(picture(number, 20000)))
                        safe.append(number)
            except (OSError, EOFError, ftplib.Error, AttributeError, KeyError,
                    http.client.HTTPException):
                ended.wait(0.05)  # it is down just now

    workers = [threading.Thread(target=upload, args=(w,)) for w in range(8)]
    for w in workers:
        w.start()
    try:
        for i in range(5):
            seen = len(safe)
            wait_until(lambda: len(safe) >= seen + 40, "some uploads")
            here[0].kill()
            here[0] = launch.daemon(CONFIG + FTP)
    finally:
        ended.set()
        for w in workers:
            w.join()
    d = here[0]
    wait_until(lambda: set(digest_of(*(picture(n, 20000) for n in safe))) <= set(digests(d))
               and quiet(d) and tree(d.data / "ftp") == [], "all that was safe")
    known = {sha256(picture(n, 20000)) for n in sent}
    assert set(digests(d)) <= known and len(set(digests(d))) == len(digests(d))
    assert d.stop() == 0
    books_agree(d, [])
