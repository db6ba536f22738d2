"""The daemon dies; nothing that it accepted is lost, doubled, or left lying about."""

import random
import shutil
import urllib.error

import pytest

from conftest import FOOTAGE, TESTDATA, books_agree, wait_until

ROUNDS = 50


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A dozen different real pictures."""
    found = sorted((TESTDATA / "cctv/images").glob("*.jpg")) or sorted(FOOTAGE.glob("*/*.jpg"))
    if len(found) < 12:
        pytest.skip("no footage: run tools/setup demo")
    folder = tmp_path_factory.mktemp("frames")
    for frame in found[:12]:
        shutil.copy(frame, folder)
    return folder


def pending(d):
    counts = d.get("/api/v1/status")["counts"]
    return counts["triggers_pending"] + counts["stored"] + counts["outbox_pending"]


def test_kill_at_any_moment_under_load(launch, frames, model):
    rng = random.Random(20261123)
    sims = [launch.camera(frames, "--user", "admin", "--password", "secret1234") for _ in range(4)]
    config = "".join(
        f"[camera:c{i}]\nkind = foscam\naddress = {s.address}\nuser = admin\n"
        f"password = secret1234\ngive_up = 10m\n" for i, s in enumerate(sims))
    # Every other round works with the detector, so that renames and annotated copies are under way
    # when the axe falls; the rest turns over faster without it.
    configs = [config + f"[detection]\nmodel = {model}\n", config + "[detection]\nenabled = no\n"]
    accepted = []
    for number in range(ROUNDS):
        d = launch.daemon(configs[number % 2])
        acts = rng.randrange(1, 40)
        for _ in range(acts):
            try:
                status, doc = d.trigger(f"c{rng.randrange(4)}")
            except (urllib.error.URLError, ConnectionError):
                break
            assert status == 202, doc
            accepted.append(doc["id"])
        if rng.random() < 0.5:
            wanted = rng.randrange(1, acts + 1)
            start = len(d.snapshots())
            wait_until(lambda: len(d.snapshots()) >= min(500, start + wanted) or pending(d) == 0,
                       "some progress")
        d.kill()
    d = launch.daemon(configs[0])
    wait_until(lambda: pending(d) == 0, "the backlog to drain", patience=300)
    wait_until(lambda: not d.undrawn(), "the last copy to be drawn", patience=300)
    assert d.stop() == 0
    assert books_agree(d, accepted) >= len(accepted) > ROUNDS

