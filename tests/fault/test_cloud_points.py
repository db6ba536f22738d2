"""The program is killed wherever an answer that costs money is under way, and started again. No picture
is lost, no answer that was kept is paid for twice, and no call goes uncounted. Needs a build with
-Dfaults=true, as test_points.py."""

import contextlib
import signal
import sqlite3

import pytest
from PIL import Image

from conftest import BINARY, books_agree, wait_until
from fakes.aws import FakeAws, Key
from fakes.rekognition import FakeRekognition

PICTURES = 3
# Point, and how many answers are lost there with what they cost. Verdicts are recorded by another
# thread, while the next call may be under way.
POINTS = [("before-cloud-reserve-commit", {0}), ("after-cloud-reserve-commit", {0}),
          ("cloud-before-call", {0}), ("cloud-after-call", {1}),
          ("before-cloud-answer-commit", {1}), ("after-cloud-answer-commit", {0}),
          ("cloud-before-hand-over", {0}), ("record-before-commit", {0, 1}),
          ("record-after-commit", {0, 1})]


@pytest.fixture
def cloud():
    account = FakeAws()
    account.keys["AKID"] = Key("secret")
    fake = FakeRekognition("eu-west-1", account)
    yield fake
    fake.close()
    account.close()


def config(sim, cloud):
    return (f"[camera:c]\nkind = http\nurl = http://{sim.address}/snapshot.jpg\ncheck_fresh = no\n"
            "[detection]\ndetector = cloud\n[cloud]\ncalls_per_day = 100\n[rekognition]\n"
            f"primary_region = eu-west-1\nprimary_endpoint = {cloud.url}\naccess_key = AKID\n"
            "secret_key = secret\nin_flight = 1\ncalls_per_second = 0\n")


def ask(d, sql):
    with contextlib.closing(sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


@pytest.mark.skipif(b"SNAPSHOTD_CRASH_AT" not in BINARY.read_bytes(),
                    reason="this build has no crash points")
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point, lost", POINTS)
def test_a_kill_costs_nothing_twice(launch, cloud, tmp_path, point, lost, nth):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(PICTURES):
        Image.new("RGB", (160, 120), (80 * n, 0, 0)).save(folder / f"{n}.jpg")
    sim = launch.camera(folder)
    text = config(sim, cloud)
    d = launch.daemon(text, env={"SNAPSHOTD_CRASH_AT": f"{point}:{nth}"})
    accepted = []
    for _ in range(PICTURES):
        try:
            status, doc = d.trigger("c")
            assert status == 202
            accepted.append(doc["id"])
        except OSError:
            break  # it is gone already; what it accepted counts
    died = d.wait() == -signal.SIGKILL
    assert died
    d = launch.daemon(text)
    wait_until(lambda: len(ask(d, "SELECT 1 FROM snapshots WHERE state = 1")) >= len(accepted),
               "every picture")
    wait_until(lambda: d.get("/api/v1/status")["counts"]["outbox_pending"] == 0, "the events")
    wait_until(lambda: not d.undrawn(), "the copies")
    counted = d.get("/api/v1/status")["cloud"]["day"]["calls"]
    pictures = len(ask(d, "SELECT DISTINCT sha256 FROM snapshots"))
    assert d.stop() == 0
    assert cloud.billed - pictures in lost
    assert cloud.billed <= counted <= cloud.billed + 1
    assert ask(d, "SELECT count(*) FROM snapshots WHERE persons = 1") == [(books_agree(d, accepted),)]
