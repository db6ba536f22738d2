"""The program is killed at every named point between two steps, restarted, and the books agree.
Needs a build with -Dfaults=true; on another one the points do nothing and the tests are skipped."""

import hashlib
import http.client
import re
import signal

import pytest

import drive_rig
from conftest import BINARY, ROOT, books_agree, wait_until
from spool import digest_of, digests, picture, put, quiet, tree

CAMERA = """
[camera:c]
kind = foscam
address = {address}
user = admin
password = secret1234
"""


def named_points():
    """Every FAULT_POINT that the daemon can pass."""
    found = set()
    for file in sorted((ROOT / "src").rglob("*.c")):
        found |= set(re.findall(r'FAULT_POINT\("([^"]+)"\)', file.read_text()))
    return sorted(found)


def has_points():
    return b"SNAPSHOTD_CRASH_AT" in BINARY.read_bytes()


# Points that a healthy run of a few pictures does not pass: first start, retries, recovery, and the
# broker's (tests/broker/test_control.py), and those of pushed pictures (tests/fault/test_upload_kill.c),
# of storages and of old pictures (tests/fault/test_keep_kill.c).
ELSEWHERE = {"before-migration-commit", "before-outbox-retry-commit", "before-trigger-retry-commit",
             "before-recovery-discard", "before-store-sync", "after-store-sync",
             "before-settle-commit", "before-trigger-ack", "ftp-before-sync", "ftp-before-rename",
             "ftp-before-folder-sync", "ftp-after-folder-sync",
             "before-removed-commit", "retention-before-unlink", "retention-unlinked",
             "retention-removed", "directory-written", "directory-noted", "directory-renamed"}
# What people do with pictures: tests/fault/test_again_kill.c, test_keep_kill.c.
ELSEWHERE |= {"before-delete-commit", "before-undelete-commit", "before-leave-commit",
              "retention-leaving", "before-again-commit", "before-again-examined-commit",
              "after-again-examined-commit", "before-old-copy-unlink", "after-old-copy-unlink",
              "before-again-cleared-commit"}
# What only a failure passes.
ELSEWHERE |= {"before-upload-retry-commit"}
# Only what goes to Google Drive passes these.
DRIVE = ["drive-before-upload", "drive-after-upload", "drive-in-session", "drive-after-move",
         "drive-after-shortcut"]
# Of what costs money: tests/fault/test_cloud_points.py.
ELSEWHERE |= {"before-cloud-reserve-commit", "after-cloud-reserve-commit", "cloud-before-call",
              "cloud-after-call", "before-cloud-answer-commit", "after-cloud-answer-commit",
              "cloud-before-hand-over"}
# Only pictures that are kept elsewhere pass these.
UPLOADED = ["upload-before-put", "upload-after-put", "upload-before-commit", "upload-after-commit",
            "before-upload-mark-commit", "after-upload-mark-commit", "before-upload-done-commit",
            "after-upload-done-commit"]
# Only pushed pictures pass these, and these as well.
PUSHED = ["after-store-link", "after-push-recorded", "before-push-remove", "after-push-aside",
          "after-push-remove", "before-push-refuse", "after-push-move"]
PUSHED_TOO = ["after-store-put", "before-snapshot-commit", "after-snapshot-commit",
              "before-group-commit", "after-group-commit", "before-store-place",
              "after-store-place", "after-store-mkdirs", "record-before-commit",
              "record-after-commit", "after-outbox-done-commit"]


def pending(d):
    counts = d.get("/api/v1/status")["counts"]
    return counts["triggers_pending"] + counts["stored"] + counts["outbox_pending"]


def run_and_recover(launch, config, crash_at):
    """A daemon that dies at the point (or not at all), then one that goes on."""
    d = launch.daemon(config, env={"SNAPSHOTD_CRASH_AT": crash_at}, wait=False)
    accepted, died = [], False
    try:
        d.wait_ready()
        for _ in range(6):
            status, doc = d.trigger("c", wait=60)
            if status in (200, 202):
                accepted.append(doc["id"])
    except (AssertionError, OSError, http.client.HTTPException):
        died = True  # it hung up on us; whether by the point, its end tells
    if died:
        assert d.wait() == -signal.SIGKILL
    else:
        d.child.terminate()
        code = d.wait()
        assert code in (0, -signal.SIGKILL)
        died = code != 0
    again = launch.daemon(config)
    wait_until(lambda: pending(again) == 0, "the backlog to drain")
    again.trigger("c", wait=60)
    wait_until(lambda: pending(again) == 0 and not again.undrawn(), "one more picture")
    assert again.stop() == 0
    books_agree(again, accepted)
    return died


@pytest.mark.parametrize("point", [
    p for p in named_points() if p not in {*ELSEWHERE, *PUSHED, *UPLOADED, *DRIVE}])
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_at(launch, people, model, point, nth):
    if not has_points():
        pytest.skip("this build has no crash points")
    if (point, nth) == ("after-store-mkdirs", 2):
        pytest.skip("folders of a day are made once")
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    config = CAMERA.format(address=sim.address) + f"[detection]\nmodel = {model}\n"
    assert run_and_recover(launch, config, f"{point}:{nth}"), "the point was passed"


@pytest.mark.parametrize("point", UPLOADED)
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_at_with_uploads(launch, people, tmp_path, point, nth):
    """Each picture is kept there once, whole."""
    if not has_points():
        pytest.skip("this build has no crash points")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    config = (f"[camera:c]\n[detection]\nenabled = no\n[directory:shelf]\npath = {shelf}\n"
              "require_mount = no\nupload = all\nparallel = 1\n")
    d = launch.daemon(config, env={"SNAPSHOTD_CRASH_AT": f"{point}:{nth}"}, wait=False)
    pictures = [picture(i) for i in range(6)]
    put(d.data / "ftp/uploads/c/0.jpg", pictures[0])
    for i, data in enumerate(pictures[1:], 1):
        # One after the other, so that there is a second time.
        wait_until(lambda: d.child.poll() is not None or len(tree(shelf)) >= i, "the one before")
        put(d.data / f"ftp/uploads/c/{i}.jpg", data)
    assert d.wait() == -signal.SIGKILL, "the point is passed"
    again = launch.daemon(config)
    wait_until(lambda: tree(d.data / "ftp") == [] and quiet(again), "all to be taken")
    wait_until(lambda: again.get("/api/v1/status")["storages"][0]["pending"] == 0, "all to be kept")
    assert again.stop() == 0
    assert books_agree(again, []) == 6
    assert sorted((shelf / n).read_bytes() for n in tree(shelf)) == sorted(pictures)


def test_the_points_of_google_drive_are_all_named():
    assert set(DRIVE) == {p for p in named_points() if p.startswith("drive-")}


@pytest.mark.parametrize("point", DRIVE)
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_at_with_google_drive(launch, tmp_path, point, nth):
    """Each picture is there once and whole, what is old is in its day, once, and each star has one
    shortcut."""
    if not has_points():
        pytest.skip("this build has no crash points")
    with drive_rig.drive_in_thread() as drive:
        login = drive_rig.write_login(drive, tmp_path / "login.json")
        top = drive.add("cameras", mimeType="application/vnd.google-apps.folder")
        for i in range(6):
            drive.add(f"old{i}.jpg", parent=top, text=f"{i}", createdTime="2026-01-02T10:00:00Z",
                      starred=i < 3)
        drive.fault("short308", where="chunk", keep=1 << 20, count=4)
        config = ("[camera:c]\n[detection]\nenabled = no\n[store]\nreserve = 64k\n"
                  + drive_rig.config(drive, "cameras", login)
                  + "upload = all\nparallel = 1\nwrites_per_second = 0\n")
        d = launch.daemon(config, env={"SNAPSHOTD_CRASH_AT": f"{point}:{nth}"}, wait=False)
        sent = {f"p{i}.jpg": picture(i, 6 << 20 if i == 1 else 1000) for i in range(4)}
        for name, data in sent.items():
            put(d.data / "ftp/uploads/c" / name, data)
        assert d.wait() == -signal.SIGKILL, "the point is passed"
        again = launch.daemon(config)
        wait_until(lambda: tree(d.data / "ftp") == [] and quiet(again), "all to be taken")
        wait_until(lambda: again.get("/api/v1/status")["storages"][0]["pending"] == 0,
                   "all to be kept")
        again.wait_line(r"\[archive-done\]")
        assert again.stop() == 0
        assert books_agree(again, []) == len(sent)
        kept = {name: hashlib.md5(data).hexdigest() for name, data in sent.items()}
        kept |= {f"old{i}.jpg": hashlib.md5(b"%d" % i).hexdigest() for i in range(6)}
        assert drive_rig.kept_wrong(drive, kept) == []
        day = "cameras/2026/01/02/"
        assert sorted(f["path"] for f in drive.files(trashed=False, folders=False)
                      if f["name"].startswith("old")) == sorted(
            [f"cameras/old{i}.jpg" for i in range(3)] + [f"{day}old{i}.jpg" for i in range(6)])
        assert drive.oddities() == []


def test_killed_in_the_first_migration(launch, people):
    if not has_points():
        pytest.skip("this build has no crash points")
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    config = CAMERA.format(address=sim.address) + "[detection]\nenabled = no\n"
    assert run_and_recover(launch, config, "before-migration-commit")


def test_the_points_of_pushed_pictures_are_all_named():
    assert set(PUSHED) == {p for p in named_points() if "push" in p} | {"after-store-link"}
    assert set(PUSHED_TOO) <= set(named_points())


@pytest.mark.parametrize("point", PUSHED + PUSHED_TOO)
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_at_with_pushed_pictures(launch, point, nth):
    """Each file is one picture, or refused once; nothing is left in the folders."""
    if not has_points():
        pytest.skip("this build has no crash points")
    if (point, nth) == ("after-store-mkdirs", 2):
        pytest.skip("folders of a day are made once")
    config = "[camera:c]\n[detection]\nenabled = no\n"
    d = launch.daemon(config, env={"SNAPSHOTD_CRASH_AT": f"{point}:{nth}"}, wait=False)
    folder = d.data / "ftp/uploads/c"
    pictures = [picture(i) for i in range(6)]
    for i, data in enumerate(pictures[:5]):
        put(folder / f"{i}.jpg", data)
    for i in range(2):
        put(folder / f"bad{i}.jpg", b"<html>%d" % i)
    put(folder / "snap.jpg", pictures[5])
    assert d.wait() == -signal.SIGKILL, "the point is passed"
    again = launch.daemon(config)
    wait_until(lambda: tree(d.data / "ftp") == [] and quiet(again), "all to be taken")
    assert digests(again) == digest_of(*pictures)
    assert sorted(n.rsplit("-", 1)[1] for n in tree(d.data / "refused")) == ["bad0.jpg", "bad1.jpg"]
    assert again.stop() == 0
    assert books_agree(again, []) == 6
