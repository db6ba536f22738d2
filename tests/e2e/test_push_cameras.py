"""Simulated cameras of each maker push by FTP into the daemon; their pictures come out of the
pipeline, each once."""

import datetime
import re
import sqlite3
import subprocess

import pytest

from conftest import BINARY, FOOTAGE, Process, sha256, wait_until
from ports import free_port

PASSWORD = "a-password-of-tests"
OFF = "[detection]\nenabled = no\n"
ACCOUNT = ("[camera:porch]\nkind = push\n[ftp]\nlisten = 127.0.0.1:0\n"
           "[ftp_account:porch]\npassword = env:PUSH_PASSWORD\ncamera = porch\n")


@pytest.fixture
def frames(tmp_path):
    """A folder with three pictures that differ."""
    folder = tmp_path / "frames"
    folder.mkdir()
    found = sorted(FOOTAGE.glob("front-door/*.jpg"))[:3]
    if len(found) < 3:
        pytest.skip("no footage: run tools/setup demo")
    for i, frame in enumerate(found):
        (folder / f"{i + 1}.jpg").write_bytes(frame.read_bytes())
    return folder


@pytest.fixture
def place(launch, frames, tmp_path):
    """A daemon with an FTP account, and cameras that push into it."""

    class Place:
        def __init__(self):
            self.daemon = self.port = None

        def start(self, account=ACCOUNT, **kw):
            self.daemon = launch.daemon(OFF + account,
                                        env={"PUSH_PASSWORD": PASSWORD, "TZ": "UTC"}, **kw)
            self.port = int(re.search(r":(\d+)", self.daemon.get("/api/v1/status")["ftp"]["listen"])
                            [1])
            return self.daemon

        def command(self, *options, count=3, user="porch", source=None):
            return [BINARY, "camera-sim", "--push", f"127.0.0.1:{self.port}", "--push-user", user,
                    "--push-password", "env:PUSH_PASSWORD", "--push-count", count, "--interval",
                    "10ms", "--push-retry", "20ms", *options, *(source or [frames])]

        def camera(self, *options, **kw):
            p = Process(self.command(*options, **kw), tmp_path / "push.log",
                        env={"PUSH_PASSWORD": PASSWORD, "TZ": "UTC"})
            launch.started.append(p)
            return p

        def push(self, *options, code=0, **kw):
            """To its end."""
            p = self.camera(*options, **kw)
            assert p.wait() == code, p.text()
            return p

        def pictures(self, count):
            """That many of the camera, and no further ones, the oldest first."""
            wait_until(lambda: len(self.daemon.snapshots()) >= count, f"{count} pictures")
            wait_until(self.is_quiet, "an empty FTP tree")
            found = self.daemon.snapshots()
            assert len(found) == count, [s["path"] for s in found]
            assert {s["camera"] for s in found} == {"porch"}
            return sorted(found, key=lambda s: s["event_at"])

        def is_quiet(self):
            return not [f for f in self.files() if f.endswith(".jpg")]

        def files(self):
            root = self.daemon.data / "ftp"
            return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

    return Place()


def digests(frames):
    return sorted(sha256(p.read_bytes()) for p in frames.glob("*.jpg"))


def lines(process, word):
    return [line for line in process.lines if f": {word}" in line]


def times_in(process):
    """Of Foscam's names."""
    return [datetime.datetime.strptime(t, "%Y%m%d-%H%M%S")
            for t in re.findall(r": pushed .*_(\d{8}-\d{6})\.jpg", process.text())]


def event_times(pictures):
    return [datetime.datetime.fromisoformat(s["event_at"].replace("Z", "+00:00")) for s in pictures]


MAKERS = ["foscam", "dahua", "amcrest", "hikvision", "reolink", "axis", "axis-fixed", "simple",
          "counter"]


@pytest.mark.parametrize("maker", MAKERS)
def test_pictures_of_each_maker_come_through(place, frames, maker):
    place.start()
    p = place.push("--push-as", maker, "--push-test")
    assert lines(p, "test button: success")
    assert lines(p, "3 pictures pushed, 0 lost, 0 failed tries"), p.text()
    assert sorted(s["sha256"] for s in place.pictures(3)) == digests(frames)
    assert place.files() == []


@pytest.mark.parametrize("habits", ["active", "extended", "active,extended", "append", "bare-lf",
                                    "slashes", "cwd-full,backslashes", "rename", "size",
                                    "rename,size,chmod,allo,greet,pwd,old", "type-a,kept",
                                    "stor-path", "cwd-full,mkd-deep"])
def test_pictures_come_through_whatever_the_habits(place, frames, habits):
    place.start()
    p = place.push("--push-habits", habits)
    assert lines(p, "3 pictures pushed, 0 lost, 0 failed tries"), p.text()
    assert sorted(s["sha256"] for s in place.pictures(3)) == digests(frames)


def test_several_at_once(place, frames):
    place.start()
    place.push("--push-as", "hikvision", "--push-parallel", "8", "--burst", "24", count=24)
    found = place.pictures(24)
    assert sorted(s["sha256"] for s in found) == sorted(digests(frames) * 8)


def test_an_event_has_the_time_that_its_name_tells(place):
    place.start()
    p = place.push("--clock", "-7200")
    assert [t.replace(tzinfo=None) for t in event_times(place.pictures(3))] == times_in(p)


def test_a_clock_that_is_off_is_told_and_not_believed(place):
    place.start()
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
    place.push("--clock", "1970-01-01T00:00:10Z", count=1)
    assert event_times(place.pictures(1))[0] > before
    assert "1970" in place.daemon.text()


@pytest.mark.parametrize("fault,reply", [("cut", "451"), ("reset", "426"), ("abort", "426"),
                                         ("vanish", "vanished")])
def test_half_of_a_picture_is_refused_and_sent_again(place, frames, fault, reply):
    place.start()
    p = place.push("--push-fault", f"{fault}@3")
    failed = lines(p, "not pushed")
    assert len(failed) == 1 and reply in failed[0], p.text()
    assert sorted(s["sha256"] for s in place.pictures(3)) == digests(frames)
    assert place.files() == []


def test_a_stalled_upload_is_given_up(place, frames):
    place.start(account=ACCOUNT.replace("[ftp]\n", "[ftp]\nstall_timeout = 1s\n"))
    p = place.push("--push-fault", "stall:600@3")
    assert "426" in lines(p, "not pushed")[0]
    assert sorted(s["sha256"] for s in place.pictures(3)) == digests(frames)


def test_a_slow_upload_comes_through(place, frames):
    place.start()
    place.push("--push-fault", "drip:200000", count=1)
    place.pictures(1)


def test_a_picture_that_is_sent_twice_is_one(place, frames):
    place.start()
    place.push("--push-fault", "twice@2")
    assert sorted(s["sha256"] for s in place.pictures(3)) == digests(frames)


def test_what_is_no_picture_is_put_aside_and_told(place):
    place.start()
    place.push("--push-fault", "text@3")
    place.pictures(2)
    refused = place.daemon.data / "refused"
    wait_until(lambda: [p for p in refused.rglob("*") if p.is_file()], "the refused file")


def test_videos_and_other_files_are_left_alone(place):
    place.start()
    p = place.push("--push-as", "dahua", "--push-fault", "video:5000@2,other@3")
    assert len(lines(p, "beside it")) == 2
    place.pictures(3)
    left = place.files()
    assert sorted(f.rsplit(".", 1)[1] for f in left) == ["idx", "mp4"]


def test_a_wrong_password_is_refused_and_told_to_nobody(place):
    place.start()
    p = place.push("--push-fault", "password@2", count=2)
    assert "530" in lines(p, "not pushed")[0]
    place.pictures(2)
    assert "not-the-password" not in place.daemon.text()
    assert PASSWORD not in place.daemon.text() + p.text()


def test_one_account_for_several_cameras_goes_by_folder(place, frames):
    place.start(account=("[camera:front]\nkind = push\n[camera:frontdoor]\nkind = push\n"
                         "[ftp]\nlisten = 127.0.0.1:0\n"
                         "[ftp_account:recorder]\npassword = env:PUSH_PASSWORD\n"))
    place.push("--push-folder", "{name}", user="recorder",
               source=["--camera", f"front={frames}", "--camera", f"frontdoor={frames}"])
    wait_until(lambda: len(place.daemon.snapshots()) >= 6, "6 pictures")
    cameras = [s["camera"] for s in place.daemon.snapshots()]
    assert sorted(cameras) == ["front"] * 3 + ["frontdoor"] * 3


def test_a_camera_outlives_a_restart_of_the_daemon(place):
    """Nothing that was answered with 226 is lost, and nothing is there twice."""
    place.start(account=ACCOUNT.replace(":0", f":{free_port()}"))
    # A maker whose names tell milliseconds: the same bytes in the same moment are a repeat.
    camera = place.camera("--push-as", "hikvision", "--push-habits", "kept", "--push-tries", "0",
                          "--push-retry", "100ms", count=60)
    camera.wait_line(": pushed .*")
    assert place.daemon.stop() == 0
    place.start(account=ACCOUNT.replace(":0", f":{place.port}"), name="daemon")
    assert camera.wait() == 0, camera.text()
    assert len(place.pictures(60)) == 60


@pytest.fixture
def certificate(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=nas.example", "-keyout", tmp_path / "key.pem",
                    "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("habits", ["", "active", "extended,kept"])
def test_over_tls(place, frames, certificate, habits):
    place.start(account=ACCOUNT.replace("[ftp]\n", "[ftp]\ntls = required\n"
                f"tls_cert_file = {certificate}/cert.pem\ntls_key_file = {certificate}/key.pem\n"))
    p = place.push("--push-tls", certificate / "cert.pem", "--push-habits", habits)
    assert lines(p, "3 pictures pushed, 0 lost, 0 failed tries"), p.text()
    assert sorted(s["sha256"] for s in place.pictures(3)) == digests(frames)
    p = place.push("--push-tries", "1", count=1, code=1)
    assert "needs TLS" in lines(p, "not pushed")[0]


def test_the_ledger_is_sound_after_all_that(place):
    place.start()
    place.push("--push-fault", "vanish@3,cut@4", count=20)
    place.pictures(20)
    place.daemon.stop()
    check = subprocess.run([BINARY, "integrity", "--database",
                            place.daemon.data / "snapshotd.db"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    db = sqlite3.connect(f"file:{place.daemon.data}/snapshotd.db?mode=ro", uri=True)
    assert db.execute("SELECT count(*), count(DISTINCT path) FROM snapshots").fetchone() == (20, 20)
