"""A day without Google Drive, by a clock of the test's own: the daemon's minutes pass as fast as it can
look. Needs a build with -Dfaults=true, whose clock a file moves."""

import mmap
import re
import struct

import pytest

from conftest import BINARY, wait_until
from keeping import (CAMERAS, OFF, ask, drained, drive, full, gdrive, kept_right,  # noqa: F401
                     login, push, storage, taken)

HOURS = 24
STEP_S = 30 * 60  # below what a thread may be silent for, see `patience`
STEPS = HOURS * 3600 // STEP_S
# No thread counts as hanging because half an hour passed at once.
CONFIG = CAMERAS + OFF + "[health]\npatience = 100\n"
LATE_MAX = 16  # four under way and twice as many in the queue; who is ready first begins first


class Clock:
    """The daemon's two clocks, ahead of ours by what the file says."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(struct.pack("q", 0))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 8)
        self.ahead_s = 0

    def forward(self, seconds):
        self.ahead_s += seconds
        self.memory[:] = struct.pack("q", self.ahead_s * 1_000_000)


def beats(d):
    """Whether every thread has turned since the last step: more than three at once look like one that hangs."""
    ages = re.findall(r"^snapshotd_stage_heartbeat_age_seconds\{.*\} (.*)$", d.request("/metrics")[2].decode(), re.M)
    return ages and max(map(float, ages)) < STEP_S


@pytest.mark.skipif(b"SNAPSHOTD_CLOCK_FILE" not in BINARY.read_bytes(),
                    reason="this build's clock cannot be moved")
def test_after_a_day_without_drive_all_is_drained_in_order_and_once(launch, drive, login, tmp_path):
    """Half of the day nobody answers, the other half answers that all is broken."""
    count = full(480, 10_000)
    clock = Clock(tmp_path / "ahead")
    d = launch.daemon(CONFIG + gdrive(drive, login, parallel=4),
                      env={"SNAPSHOTD_CLOCK_FILE": str(clock.path)})
    drive.down()
    for step in range(STEPS):
        if step == STEPS // 2:
            drive.fault("backendError")
            drive.up()
        push(d, range(step * count // STEPS, (step + 1) * count // STEPS), size=500)
        taken(d, (step + 1) * count // STEPS)
        wait_until(lambda: storage(d)["state"] == "away", "the trouble")
        wait_until(lambda: beats(d), "all threads to turn")
        clock.forward(STEP_S)
    s = storage(d)
    assert (s["pending"], s["dead"]) == (count, 0)
    first, last = ask(d, "SELECT min(created_at), max(created_at) FROM uploads")[0]
    assert last - first > (HOURS - 1) * 3600 * 1_000_000, "a day of pictures"
    assert d.get("/api/v1/status")["uptime_s"] > HOURS * 3600
    tried = drive.count()["requests"]
    print(f"{count} pictures, {tried} requests while all was broken")
    assert tried < STEPS * 60, f"{tried} requests in half a day: it was not left alone"
    drive.clear()
    drained(d)
    kept_right(drive, d)
    place = {row[0].rsplit("/", 1)[1]: i for i, row in enumerate(ask(
        d, "SELECT path FROM uploads u JOIN snapshots s ON s.row = u.snapshot ORDER BY u.row"))}
    sent = sorted((r for r in drive.requests(operation="multipart") if r["status"] == 200),
                  key=lambda r: r["began"])
    assert len(sent) == count, "nothing was sent twice"
    # One of the four may be stuck on a busy machine while many pass it: that is one far from its place.
    late = sorted(abs(place[r["name"]] - i) for i, r in enumerate(sent))
    assert late[count * 95 // 100] <= LATE_MAX, late[-20:]
    assert d.stop() == 0
