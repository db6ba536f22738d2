"""The program is killed at every named point between two steps, restarted, and the books agree.
Needs a build with -Dfaults=true; on another one the points do nothing and the tests are skipped."""

import http.client
import re
import signal

import pytest

from conftest import BINARY, ROOT, books_agree, wait_until

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
# broker's (tests/broker/test_control.py), those of storages and of old pictures
# (tests/fault/test_keep_kill.c).
ELSEWHERE = {"before-migration-commit", "before-outbox-retry-commit", "before-trigger-retry-commit",
             "before-recovery-discard", "before-store-sync", "after-store-sync",
             "before-settle-commit", "before-trigger-ack", "before-removed-commit",
             "retention-before-unlink", "retention-unlinked", "retention-removed",
             "directory-written", "directory-noted", "directory-renamed"}


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


@pytest.mark.parametrize("point", [p for p in named_points() if p not in ELSEWHERE])
@pytest.mark.parametrize("nth", [1, 2])
def test_killed_at(launch, people, model, point, nth):
    if not has_points():
        pytest.skip("this build has no crash points")
    if (point, nth) == ("after-store-mkdirs", 2):
        pytest.skip("folders of a day are made once")
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    config = CAMERA.format(address=sim.address) + f"[detection]\nmodel = {model}\n"
    assert run_and_recover(launch, config, f"{point}:{nth}"), "the point was passed"


def test_killed_in_the_first_migration(launch, people):
    if not has_points():
        pytest.skip("this build has no crash points")
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    config = CAMERA.format(address=sim.address) + "[detection]\nenabled = no\n"
    assert run_and_recover(launch, config, "before-migration-commit")
