"""A stage that hangs: everybody hears of it in time, it is named with its stack, the program ends with
1, and the next start goes on where it was. Needs a build with -Dfaults=true; on another one the
points do nothing and the tests are skipped."""

import re
import time

import pytest

from conftest import BINARY, books_agree, wait_until
from fakes.health import Health
from test_points import CAMERA, pending

# Limits are a tenth: of intake and record 12 s, of the others 6 s and more.
PATIENCE = "[health]\npatience = 0.1\n"
LIMIT_S = 12
# Beyond the limit: a look each second, the stack, the stop with its grace, the services' last word;
# the machine may be busy.
SLACK_S = 25


@pytest.fixture
def health():
    running = Health()
    yield running
    running.stop()


def has_points():
    return b"SNAPSHOTD_HANG_AT" in BINARY.read_bytes()


@pytest.mark.skipif(not has_points(), reason="needs a build with -Dfaults=true")
@pytest.mark.parametrize("stage, point", [("intake", "before-snapshot-commit"),
                                          ("record", "record-before-commit")])
def test_a_stuck_stage_is_told_named_and_ended_and_nothing_is_lost(launch, people, health, stage,
                                                                   point):
    sim = launch.camera(people.parent, "--user", "admin", "--password", "secret1234")
    config = (CAMERA.format(address=sim.address) + "give_up = 10m\n" + PATIENCE
              + f"cronitor_url = {health.cronitor_url}\n[app]\nshutting_down_grace_secs = 2\n"
              f"cronitor_monitor_key = {health.monitor}\n[detection]\nenabled = no\n")
    services = {"CRONITOR_API_KEY": health.api_key, "HC_PING_URL": health.check_url}
    d = launch.daemon(config, env={"SNAPSHOTD_HANG_AT": f"{point}:2", **services})
    accepted = [d.trigger("c", wait=60)[1]["id"]]
    begun = time.monotonic()
    for _ in range(3):
        status, doc = d.trigger("c")
        if status == 202:  # a stage that hangs in the ledger keeps it from taking triggers
            accepted.append(doc["id"])

    # One that hangs in the ledger is a trouble of the ledger first.
    reason = f"stage {stage} hangs for"
    failed = health.wait("healthchecks", "fail", reason, patience=LIMIT_S + SLACK_S)
    metrics = health.wait("cronitor", "fail", reason, patience=SLACK_S).metrics()
    assert int(metrics["error_count"]) >= 1 and int(metrics["count"]) >= 6
    assert d.wait(patience=SLACK_S) == 1
    assert time.monotonic() - begun < LIMIT_S + SLACK_S
    stuck = re.search(r"stage (\w+) hangs for .* it is at: (.*) \[stage-stuck\]", d.text())
    assert stuck and stuck[1] == stage
    assert "fault_point+0x" in stuck[2] and f" {stage}_" in stuck[2]
    # The others stop in order, but for fetch, which waits for what intake has.
    late = set(re.findall(r"stage (\w+) did not end", d.text())) - {"fetch"}
    assert late == {stage}

    d = launch.daemon(config, env=services)
    wait_until(lambda: pending(d) == 0, "the rest to be done")
    health.wait("healthchecks", "success", start=health.pings.index(failed))
    health.wait("cronitor", "ok", start=health.pings.index(failed))
    assert d.stop() == 0
    assert books_agree(d, accepted) == len(accepted)
    assert not health.wrong
