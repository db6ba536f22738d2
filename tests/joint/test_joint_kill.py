"""The daemon is killed while cameras push, triggers come by API and by broker, somebody reads the
events, and the Drive loses answers: each picture that anybody was told of is there once, everywhere.
Goal R1.

SNAPSHOT_JOINT_FULL=1 kills 50 times instead of 4."""

import random
import shutil

import pytest

import ftp_load
import ftp_trace
from conftest import wait_until
from joint import full, joint  # noqa: F401, a fixture

KILLS = full(4, 50)
UPLOADS_MAX = full(60, 150)  # between two kills: 35 a second
WAYS = {"kept": 3, "store": 1, "reset": 0.1, "abor": 0.1}
# What happens to exchanges with the Drive, now and then.
FAULTS = ("lost", "torn", "cut", "backendError", "userRateLimitExceeded", "token_expired")


def test_whoever_was_told_of_a_picture_finds_it_once_after_kills_at_any_moment(joint, tmp_path):
    rng = random.Random(1)
    rig = joint()
    for kind in FAULTS:
        rig.drive.fault(kind, probability=0.01, seed=rng.randrange(1 << 30))
    points = list(ftp_trace.POINTS) if shutil.which("strace") else []
    # The writing of uploads' bytes is the first.
    points.sort(key=lambda p: not p.startswith("write"))
    for number in range(KILLS):
        rig.start()
        point = points[number // 2 % len(points)] if points and number % 2 else None
        had = len(rig.ledger.of("ok"))
        with rig.under_load(seed=number, ways=WAYS) as (_, asking):
            if number == 0:  # not before somebody has been told of each kind
                wait_until(lambda a=asking: a.accepted and rig.sent[-1].confirmed, "triggers")
            if point:
                fall_at(rig, point, rng, tmp_path / f"strace{number}")
            else:
                wanted = had + rng.randrange(1, UPLOADS_MAX)
                wait_until(lambda w=wanted: len(rig.ledger.of("ok")) >= w, "some uploads")
            rig.kill()
    rig.drive.clear()
    rig.start()
    told = rig.check()
    print(f"{KILLS} kills: {told}")
    assert told["uploads"]["ok"] >= KILLS // 2 and told["asked"] and told["messages"]


def fall_at(rig, point, rng, log):
    """The axe falls at one of such system calls, of any thread."""
    n = rng.randrange(1, ftp_trace.POINTS[point])
    with ftp_trace.Attached(ftp_trace.threads(rig.pid, ""), f"{point}:signal=KILL:when={n}", log):
        wait_until(lambda: rig.daemon.child.poll() is not None, f"the {n}th {point}")


def test_the_joined_books_find_what_is_lost_doubled_or_made_up(joint):
    """Who keeps them is believed above, so he is put to the test as well."""
    rig = joint()
    rig.start()
    with rig.under_load() as (_, asking):
        wait_until(lambda: asking.accepted and rig.sent[-1].confirmed
                   and len(rig.ledger.of("ok")) > 5, "pictures of each kind")
    rig.check()
    id = asking.accepted[0]
    kept = rig.drive.pictures()[0]
    upload = rig.ledger.of("ok")[0]

    def wrong(message):
        with pytest.raises(AssertionError, match=message):
            rig.check()

    asking.accepted.append("0" * 32)
    wrong("1 of .* triggers of the API are lost")
    asking.accepted.pop()
    rig.sent[-1].confirmed.append(1)
    wrong("1 of .* triggers of the broker are lost")
    rig.sent[-1].confirmed.pop()
    told = rig.reader.told.pop(id)
    wrong("1 pictures without event, 0 events without picture")
    rig.reader.told[id] = [*told, "another"]
    wrong("1 events show another picture")
    rig.reader.told[id] = told * 2  # repeats with the same id are allowed
    rig.reader.told["f" * 32] = told
    wrong("0 pictures without event, 1 events without picture")
    del rig.reader.told["f" * 32]
    twin = rig.drive.add(kept["name"], parent=kept["parents"][0])
    wrong("2 times")
    rig.drive.delete(twin)
    upload.outcome = "refused"
    wrong("ghost")
    upload.outcome = "ok"
    rig.ledger.add(ftp_load.Row(9, 9, "kept", "lost.jpg", "0" * 64, 1, 0, "ok"))
    wrong("lost: lost.jpg")
    rig.ledger.rows.pop()
    rig.check()
    rig.drive.trash(kept["id"])
    wrong("missing")
