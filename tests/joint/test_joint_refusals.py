"""A Drive that misbehaves, as the Drive's own book of requests shows it: nothing is lost or doubled, the
events of other cameras come as ever, attempts keep their distance, and who says how long to wait is
obeyed. Goal R9.

SNAPSHOT_JOINT_FULL=1 takes all classes of faults with 200 uploads each and the goals' times; it wants
a quiet machine."""

import time

import pytest

from conftest import wait_until
from ftp_load import percentile
from joint import full, joint  # noqa: F401, a fixture
from tls_door import TlsDoor

UPLOADS = full(10, 200)
# How much later than without faults an event may come: the goal's 100 ms at the 99th percent. Without
# them it is measured before and afterwards, and the worse counts: on a machine with others the two
# differ by more than that. The short form's margins are those of a busy machine.
EVENT_MORE_MS = {0.5: full(300, 100), 0.99: full(2500, 100)}
# A request may come so much later than it should.
LATE_S = full(3, 1)
LARGE = 6 << 20  # above what goes to Drive in one request
CLASSES = {
    "rate": [{"kind": "userRateLimitExceeded", "probability": 0.3}],
    "lost": [{"kind": "lost", "where": "write", "probability": 0.3}],
    "retry after": [{"kind": "tooManyRequests", "probability": 0.1, "retry_after": 2}],
    "5xx": [{"kind": kind, "probability": 0.1} for kind in (
        "internalError", "badGateway", "serviceUnavailable", "gatewayTimeout")],
    "401": [{"kind": "token_expired", "probability": 0.3}],
    "session gone": [{"kind": "session_gone", "probability": 0.3}],
    "partial": [{"kind": "short308", "probability": 0.3}],
    "slow answer": [{"kind": "slow", "where": "upload", "probability": 0.05, "count": 4}],
    "silence": [{"kind": "half_open", "where": "upload", "probability": 0.05, "count": 4}],
    "reset in the middle": [{"kind": "cut", "where": "upload", "probability": 0.3}],
    "wrong md5": [{"kind": "wrong_md5", "probability": 0.3}],
    "garbage": [{"kind": "garbage", "probability": 0.3}],
    "full": [{"kind": "storageQuotaExceeded", "where": "upload", "probability": 0.3, "count": 2}],
    "permission": [{"kind": "insufficientPermissions", "where": "write", "probability": 0.3,
                    "count": 2}],
}
OF_SESSIONS = ("session gone", "partial")


def event_delay(rig, seed, size):
    """{share: milliseconds} from a trigger to its event while another camera pushes."""
    clients = 2
    with rig.under_load(seed=seed, clients=clients, uploads=UPLOADS // clients, asks=10,
                        size=size) as (load, asking):
        load.join()
        wait_until(lambda: len(asking.accepted) >= 30, "triggers")
    wait_until(lambda: rig.reader.ids() >= set(asking.accepted), "the events")
    took = [rig.reader.came[i] - asking.sent_at[i] for i in asking.accepted]
    return {share: round(percentile(took, share) * 1e3, 1) for share in EVENT_MORE_MS}


def costs_nothing(rig, name, begin, hits, end=lambda: None, size=20_000):
    """begin() makes trouble, hits() counts it, end() ends what clear() of the Drive does not."""
    usual = event_delay(rig, 1, size)
    rig.drain()
    begin()
    meanwhile = event_delay(rig, 2, size)
    wait_until(hits, "the fault to happen")
    hits = hits()
    end()
    rig.drain_now()
    afterwards = event_delay(rig, 3, size)
    rig.drain_now()
    told = rig.check()
    print(f"{name}: {hits} faults, events {usual} -> {meanwhile} -> {afterwards} ms, {told}")
    for share, ms in meanwhile.items():
        well = max(usual[share], afterwards[share])
        assert ms <= well + EVENT_MORE_MS[share], f"{share}: {well} -> {ms} ms"


@pytest.mark.parametrize("name", full(["rate", "lost"], list(CLASSES)))
def test_what_a_drive_does_wrong_costs_no_picture_and_no_other_camera_a_moment(joint, name):
    rig = joint()
    rig.start()

    def begin():
        for number, fault in enumerate(CLASSES[name]):
            rig.drive.fault(**fault, seed=number + 1)

    costs_nothing(rig, name, begin, lambda: sum(f["hits"] for f in rig.drive.faults()),
                  size=LARGE if name in OF_SESSIONS else 20_000)


def test_nor_does_tls_that_fails(joint, tmp_path):
    rig = joint()
    with TlsDoor(tmp_path / "door", int(rig.drive.origin().rsplit(":", 1)[1])) as door:
        rig.config = rig.config.replace(rig.drive.origin(), door.origin)
        rig.start(wrapper=door.wrapper)
        costs_nothing(rig, "TLS", lambda: setattr(door, "share", 0.3), lambda: door.hits,
                      lambda: setattr(door, "share", 0))
        assert "certificate" in rig.log(), "the log tells why"


# ---- distance ----

def gaps(rig, count):
    """Seconds between the end of one request and the begin of the next, of the last `count` + 1."""
    rows = sorted(rig.drive.requests(), key=lambda r: r["began"])[-count - 1:]
    return [b["began"] - a["ended"] for a, b in zip(rows, rows[1:])]


def one_refused_picture(rig, count, **fault):
    """Pushes one picture to a Drive that refuses; returns after so many refusals."""
    rig.start()
    wait_until(lambda: rig.drive.count()["requests"] > 0 and rig.status()["state"] == "well",
               "the Drive to be known")
    rig.quiet()
    rig.drive.forget_requests()
    number = rig.drive.fault(**fault)
    rig.load(clients=1, uploads=1, ledger=rig.ledger).run()

    def refusals():
        return next(f["hits"] for f in rig.drive.faults() if f["number"] == number)
    wait_until(lambda: refusals() >= count, f"{count} refusals")


def test_attempts_at_a_drive_that_is_asked_too_often_get_ever_rarer(joint):
    rig = joint(parallel=1)
    wanted = full([1, 2, 4], [1, 2, 4, 8, 16])
    one_refused_picture(rig, len(wanted) + 1, kind="userRateLimitExceeded")
    found = gaps(rig, len(wanted))
    print("seconds between attempts: " + " ".join(f"{g:.2f}" for g in found))
    for gap, want in zip(found, wanted):
        assert want - 0.05 <= gap <= want + LATE_S, found
    rig.drain_now()
    rig.check()


@pytest.mark.parametrize("kind, how", full(
    [("tooManyRequests", 3), ("serviceUnavailable", "date:4")],
    [(kind, how) for kind in ("tooManyRequests", "userRateLimitExceeded", "serviceUnavailable")
     for how in (3, 20, "date:20")]))
def test_who_says_how_long_to_wait_is_obeyed(joint, kind, how):
    rig = joint(parallel=1)
    one_refused_picture(rig, 2, kind=kind, retry_after=how)
    wanted = int(str(how).removeprefix("date:"))
    (gap,) = gaps(rig, 1)
    print(f"{kind}, Retry-After {how}: {gap:.2f} s")
    assert wanted - 1 <= gap <= wanted + LATE_S, gap
    rig.drain_now()
    rig.check()


# ---- what somebody has to mend ----

@pytest.mark.parametrize("kind, where, state", [
    ("storageQuotaExceeded", "upload", "full"), ("insufficientPermissions", "drive", "login"),
    ("accessNotConfigured", "drive", "login")])
def test_while_a_refusal_stands_the_drive_is_left_alone(joint, kind, where, state):
    """At most one request in five minutes, however many pictures come meanwhile."""
    rig = joint()
    rig.start()
    rig.drive.fault(kind, where=where)
    with rig.under_load() as (_, asking):
        wait_until(lambda: rig.status()["state"] == state, "the refusal to be told")
        # Those that were under way with the first.
        rig.quiet()
        before = rig.drive.count()["requests"]
        status = rig.status()
        assert status["next_try_ms"] > 290_000, status
        end, had = time.monotonic() + full(5, 300), len(asking.accepted)
        wait_until(lambda: time.monotonic() >= end, "the time", 400)
        asked = rig.drive.requests()[before:]
        assert len(asking.accepted) > had
    assert len(asked) <= full(0, 1), [(r["operation"], r["reason"]) for r in asked]
    status = rig.status()
    assert status["dead"] == 0 and status["pending"] > 0 and status["last_error"], status
    rig.drain_now()
    rig.check()
