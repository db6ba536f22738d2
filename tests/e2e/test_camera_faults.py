"""Cameras that misbehave: a clear event for the one, nothing for the others."""

import pytest

from conftest import wait_until
from ports import refusing_port

OFF = "[detection]\nenabled = no\n"


def camera(name, sim, extra=""):
    return (f"[camera:{name}]\nkind = foscam\naddress = {sim.address}\nuser = admin\n"
            f"password = secret1234\n{extra}")


def login():
    return ("--user", "admin", "--password", "secret1234")


# fault of the simulator, words that the story must hold
FINAL = [
    ("html", "HTML"),
    ("404", "404"),
]


@pytest.mark.parametrize("fault,words", FINAL)
def test_a_final_fault_ends_the_trigger_with_its_reason(launch, people, fault, words):
    sim = launch.camera(people, *login())
    d = launch.daemon(camera("porch", sim, "give_up = 1s\n") + OFF)
    sim.fault(fault)
    status, doc = d.trigger("porch", wait=30)
    assert status != 200 or doc.get("state") == "failed", doc
    assert words in str(doc)
    assert d.store_files() == []
    sim.fault("")
    assert d.trigger("porch", wait=30)[0] == 200


def test_a_camera_that_recovers_while_it_is_retried_gives_its_picture(launch, people):
    sim = launch.camera(people, *login())
    d = launch.daemon(camera("porch", sim) + OFF)
    sim.fault("reset")
    status, doc = d.trigger("porch")
    assert status == 202
    d.wait_line(r"fetch-failed")
    sim.fault("")
    wait_until(lambda: len(d.snapshots()) == 1, "the picture after the fault")
    assert d.snapshots()[0]["id"] == doc["id"]


def test_a_rejected_password_is_sent_once(launch, people):
    sim = launch.camera(people, "--user", "admin", "--password", "another-one")
    d = launch.daemon(camera("porch", sim, "interval = 100ms\n") + OFF)
    d.wait_line(r"trigger-failed")
    # Several further scheduled triggers end at once, without a request.
    for _ in range(3):
        d.wait_line(r"trigger-failed", start=len(d.lines))
    assert sim.stats()["logins_refused"] == 1
    # A person who asks gets one more try.
    d.trigger("porch", wait=30)
    assert sim.stats()["logins_refused"] == 2


def test_a_camera_that_hangs_does_not_delay_the_others(launch, people):
    slow = launch.camera(people, *login(), "--fault", "hang")
    good = launch.camera(people, *login())
    d = launch.daemon(camera("slow", slow) + camera("good", good) + OFF)
    assert d.trigger("slow")[0] == 202
    for _ in range(5):
        assert d.trigger("good", wait=30)[0] == 200
    assert all(s["camera"] == "good" for s in d.snapshots())


def test_a_dead_address_leaves_a_clear_state(launch, people):
    good = launch.camera(people, *login())
    dead = (f"[camera:dead]\nkind = foscam\naddress = 127.0.0.1:{refusing_port()}\nuser = a\n"
            "password = bbbbbbbb\ngive_up = 1s\n")
    d = launch.daemon(dead + camera("good", good) + OFF)
    status, doc = d.trigger("dead", wait=60)
    assert "refused" in str(doc), doc
    assert d.trigger("good", wait=30)[0] == 200
    states = {c["name"]: c for c in d.get("/api/v1/status")["cameras"]}
    assert states["good"]["state"] == "ok"
    assert states["dead"]["last_error"]


def test_the_http_kind_logs_in_by_basic_and_by_digest(launch, people):
    for auth in ("basic", "digest"):
        sim = launch.camera(people, *login(), "--auth", auth)
        d = launch.daemon(f"[camera:x]\nkind = http\nurl = http://{sim.address}/snapshot.jpg\n"
                          f"auth = {auth}\nuser = admin\npassword = secret1234\n" + OFF, name=auth)
        status, doc = d.trigger("x", wait=30)
        assert status == 200, doc
