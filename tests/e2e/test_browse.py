"""Finding pictures, the trash and a second look, over the API of a running daemon."""

import json

import pytest

from conftest import books_agree, wait_until

CONFIG = """
[camera:porch]
kind = foscam
address = {address}
user = admin
password = secret1234
[detection]
model = {model}
"""


@pytest.fixture
def config(launch, people, model):
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    return CONFIG.format(address=sim.address, model=model)


@pytest.fixture
def daemon(launch, config):
    return launch.daemon(config)


def ask(d, method, path):
    status, _, body = d.request(path, method)
    return status, json.loads(body)


def take(d, count):
    ids = []
    for _ in range(count):
        status, document = d.trigger("porch", wait=60)
        assert status == 200, document
        ids.append(document["id"])
    wait_until(lambda: d.get("/api/v1/status")["counts"]["outbox_pending"] == 0, "the events")
    return ids


def steps(d, snapshot):
    return [step["what"] for step in d.get(f"/api/v1/snapshots/{snapshot}")["story"]]


def test_neighbours_and_counts_are_those_of_the_list(daemon):
    ids = take(daemon, 4)
    listed = [s["id"] for s in daemon.get("/api/v1/snapshots?order=oldest&q=porch")["snapshots"]]
    assert sorted(listed) == sorted(ids)
    assert daemon.get("/api/v1/snapshots/count?source=fetched") == {"count": 4, "exact": True}
    assert daemon.get("/api/v1/snapshots/count?source=pushed") == {"count": 0, "exact": True}
    for i, one in enumerate(listed):
        beside = daemon.get(f"/api/v1/snapshots/{one}/neighbours")
        assert beside == {"older": listed[i - 1] if i else None,
                          "newer": listed[i + 1] if i < 3 else None, "exact": True}
    buckets = daemon.get("/api/v1/snapshots/histogram?by=hour")["buckets"]
    assert sum(b["count"] for b in buckets) == 4


def test_what_is_deleted_can_be_taken_back_after_a_restart(daemon, launch, config):
    one, other = take(daemon, 2)
    status, document = ask(daemon, "DELETE", f"/api/v1/snapshots/{one}")
    assert status == 200 and document["deleted_at"] < document["purge_at"]
    assert [s["id"] for s in daemon.get("/api/v1/snapshots")["snapshots"]] == [other]
    daemon.child.kill()
    daemon.wait()
    again = launch.daemon(config)
    assert [s["id"] for s in again.get("/api/v1/snapshots?deleted=1")["snapshots"]] == [one]
    status, document = ask(again, "POST", f"/api/v1/snapshots/{one}/undelete")
    assert status == 200 and document["deleted_at"] is None
    assert again.get("/api/v1/snapshots/count")["count"] == 2


def test_a_second_look_tells_nobody(daemon):
    one, = take(daemon, 1)
    wait_until(lambda: not daemon.undrawn(), "the copy")
    told = steps(daemon, one).count("delivered")
    status, document = ask(daemon, "POST", f"/api/v1/snapshots/{one}/detect")
    assert status == 202 and document["state"] == "examined"
    wait_until(lambda: "examined again" in steps(daemon, one), "a second look")
    wait_until(lambda: not daemon.undrawn(), "the copy, drawn anew")
    take(daemon, 1)  # an event of the first would have gone before this one's
    assert steps(daemon, one).count("delivered") == told
    assert daemon.get(f"/api/v1/snapshots/{one}")["verdict"]["outcome"] == "examined"
    assert daemon.stop() == 0
    books_agree(daemon, [one])
