"""The daemon is killed while 64 clients upload: each picture whose client saw 226 is processed exactly
once, no other twice, and nothing is left over. Goals R1 and "kill -9" of the FTP server.

SNAPSHOT_FTP_ROUNDS sets how often (50 is the goal)."""

import random

import pytest

import ftp_trace
from conftest import wait_until
from ftp_load import Ledger, addresses
from ftp_rig import rounds
from ftp_trace import POINTS

CLIENTS = 64


def test_kill_at_any_moment_under_64_uploads(ftp_rig):
    rng = random.Random(4)
    rig = ftp_rig(ftp="sessions_per_address = 200\n", account="sessions_max = 200\n")
    ledger = Ledger()
    for number in range(rounds(4)):
        rig.start()
        left = rig.temporaries()
        assert not [p for p in left if ".incoming-" in p], f"round {number}: after a start: {left}"
        load = rig.load(clients=CLIENTS, ways={"kept": 3, "store": 1, "reset": 0.2, "abor": 0.2},
                        path=lambda c, n, r=number: f"{r}_{c}_{n}.jpg", seed=number, ledger=ledger,
                        sources=addresses(16), timeout=10)
        before = len(ledger.of("ok"))
        load.start()
        try:
            wanted = rng.randrange(1, 400)
            wait_until(lambda b=before, w=wanted: len(ledger.of("ok")) >= b + w, "some uploads")
        finally:
            rig.kill()
            load.stop()
    rig.start()
    rig.check(ledger)
    assert len(ledger.of("ok")) >= rounds(4)


@pytest.mark.parametrize("call", POINTS)
def test_kill_at_a_chosen_system_call(ftp_rig, tmp_path, call):
    rng = random.Random(call)
    rig = ftp_rig()
    ledger = Ledger()
    for number in range(rounds(2)):
        # Not so soon the first time that nobody has been told of anything.
        n = rng.randrange(1 if number else POINTS[call] // 2, POINTS[call])
        rig.start()
        # Attached to what runs already: starting has such calls, too.
        tids = ftp_trace.threads(rig.pid, "")
        load = rig.load(clients=4, ways={"kept": 1, "store": 1}, seed=number, ledger=ledger,
                        path=lambda c, k, r=number: f"{r}_{c}_{k}.jpg", timeout=10)
        with ftp_trace.Attached(tids, f"{call}:signal=KILL:when={n}", tmp_path / f"strace{number}"):
            load.start()
            try:
                wait_until(lambda: rig.daemon.child.poll() is not None, f"the {n}th {call}")
            finally:
                rig.kill()
                load.stop()
    rig.start()
    rig.check(ledger)
    assert ledger.rows
