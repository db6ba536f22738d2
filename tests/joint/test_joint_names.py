"""The Drive is called by a name that nobody tells: cameras that push and those that are asked notice
nothing of it, and when the name is told again, the pictures arrive. Goal R11.

SNAPSHOT_JOINT_FULL=1 asserts the goal's figures and wants a quiet machine."""

import time

import pytest

from conftest import wait_until
from ftp_load import percentile
from joint import full, joint  # noqa: F401, a fixture
from resolver import NameServer

WORDS = {"silent": "the name was not resolved within", "none": "no address is known for this name"}
TROUBLE_SECONDS = full(5, 30)
RECOVER_SECONDS_MAX = 10
# How much longer an upload and a trigger may take than in the same run without trouble: the goal's 10 ms
# at the 99th percent. In the short form the margins are those of a busy machine, and still a part of
# the 5 s for which the resolver waits.
MORE_MS = {0.5: full(300, 10), 0.99: full(2500, 10)}


def beside(rig, seed, until):
    """{what: {share: milliseconds}} of uploads and triggers under a load that lasts until something."""
    with rig.under_load(seed=seed, asks=5, messages=1, wait=30) as (_, asking):
        until()
    assert not asking.refused and not asking.unknown
    uploads = [r for r in rig.ledger.rows if r.path.startswith(f"{seed}_")]
    assert {r.outcome for r in uploads} == {"ok"}, [r for r in uploads if r.outcome != "ok"][:3]
    took = {"uploads": [r.took for r in uploads], "triggers": [s for _, s in asking.took]}
    return {what: {share: round(percentile(values, share) * 1e3, 1) for share in MORE_MS}
            for what, values in took.items()}


def lasting(seconds):
    end = time.monotonic() + seconds
    return lambda: wait_until(lambda: time.monotonic() >= end, "the time", seconds + 30)


@pytest.mark.parametrize("mode", ["silent", "none"])
def test_a_name_that_is_not_told_delays_the_drive_alone(joint, tmp_path, mode):
    with NameServer(tmp_path, mode=mode) as names:
        rig = joint(drive_host="drive.example", broker_host="broker.example")
        names.mode = "good"  # the broker's, which is asked for at the start
        rig.start(wrapper=names.wrapper)
        usual = beside(rig, 1, lasting(TROUBLE_SECONDS))
        rig.drain()
        assert rig.stop() == 0
        # Anew, so that nobody knows the name from before.
        names.mode = mode
        rig.start(wrapper=names.wrapper)
        asked, kept = names.asked, rig.drive.count()["pictures"]

        def trouble():
            names.wait_asked(asked + 1)
            wait_until(lambda: rig.status()["state"] == "away", "the Drive to be missed")
            lasting(TROUBLE_SECONDS)()
        meanwhile = beside(rig, 2, trouble)
        error = rig.status()["last_error"]
        assert WORDS[mode] in error, error
        assert rig.drive.count()["pictures"] == kept and rig.status()["pending"] > 0
        names.mode = "good"
        told = time.monotonic()
        wait_until(lambda: rig.drive.count()["pictures"] > kept, "a picture to arrive")
        took = time.monotonic() - told
        print(f"{mode}: {usual} -> {meanwhile} ms, recovered in {took:.1f} s")
        for what, shares in meanwhile.items():
            for share, ms in shares.items():
                before = usual[what][share]
                assert ms <= before + MORE_MS[share], f"{share} of {what}: {before} -> {ms} ms"
        assert took <= RECOVER_SECONDS_MAX, f"{took:.1f} s until the first picture"
        rig.check()
