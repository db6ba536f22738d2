"""A hundred cameras at once, nine of ten dead: the good ones answer, the dead ones end with a
reason, and nothing is left behind."""

import os
import pathlib
import socket
import threading

import pytest

from conftest import books_agree, wait_until
from ports import refusing_port

GOOD, REFUSED, HANGING, DRIPPING = 10, 30, 30, 30


class Silent:
    """A port that takes connections and says nothing."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.taken = []
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self):
        while True:
            try:
                self.taken.append(self.socket.accept()[0])
            except OSError:
                return

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        for s in self.taken:
            s.close()


@pytest.fixture
def silent():
    s = Silent()
    yield s
    s.close()


def section(name, address):
    return (f"[camera:{name}]\nkind = foscam\naddress = {address}\nuser = admin\n"
            "password = secret1234\nconnect_timeout = 1s\nstall_timeout = 1s\n"
            "total_timeout = 3s\ngive_up = 6s\n")


def descriptors(d):
    return len(os.listdir(f"/proc/{d.child.pid}/fd"))


def resident_kb(d):
    for line in pathlib.Path(f"/proc/{d.child.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def test_ninety_dead_cameras_do_not_touch_ten_good_ones(launch, people, silent):
    login = ("--user", "admin", "--password", "secret1234")
    sim = launch.camera(people, *login)
    drip = launch.camera(people, *login, "--fault", "drip:10")
    cameras = {}
    for i in range(GOOD):
        cameras[f"good{i}"] = sim.address
    for i in range(REFUSED):
        cameras[f"refused{i}"] = f"127.0.0.1:{refusing_port()}"
    for i in range(HANGING):
        cameras[f"hanging{i}"] = silent.address
    for i in range(DRIPPING):
        cameras[f"dripping{i}"] = drip.address
    d = launch.daemon("".join(section(n, a) for n, a in cameras.items())
                      + "[detection]\nenabled = no\n")
    assert d.trigger("good0", wait=30)[0] == 200  # what the first picture makes is there now
    fds_before, kb_before = descriptors(d), resident_kb(d)

    dead = [n for n in cameras if not n.startswith("good")]
    accepted = {}
    for name in dead:
        status, doc = d.trigger(name)
        assert status == 202, doc
        accepted[doc["id"]] = name
    # The good ones are asked while all the others are under way, each several times.
    good_ids = []
    for _ in range(3):
        for i in range(GOOD):
            status, doc = d.trigger(f"good{i}", wait=30)
            assert status == 200, doc
            good_ids.append(doc["id"])
    assert {s["camera"] for s in d.snapshots()} == {f"good{i}" for i in range(GOOD)}

    # Every dead one ends by itself, with a reason.
    wait_until(lambda: d.get("/api/v1/status")["counts"]["triggers_pending"] == 0,
               "the end of all triggers", patience=120)
    assert d.get("/api/v1/status")["counts"]["triggers_failed"] == len(dead)
    states = {c["name"]: c for c in d.get("/api/v1/status")["cameras"]}
    assert len(states) == len(cameras)
    for name in dead:
        assert states[name]["state"] in ("failing", "open"), states[name]
        assert states[name]["last_error"], states[name]
        assert states[name]["last_picture_at"] is None
    for i in range(GOOD):
        assert states[f"good{i}"]["state"] == "ok", states[f"good{i}"]
        assert states[f"good{i}"]["last_picture_at"]
    assert "refused" in states["refused0"]["last_error"].lower()
    assert all(stage["state"] == "running" for stage in d.get("/api/v1/status")["stages"])

    # Connections to the good ones may be kept; a dead one leaves none.
    wait_until(lambda: descriptors(d) <= fds_before + GOOD + 10, "descriptors to be closed")
    assert resident_kb(d) < kb_before + 64 * 1024
    assert d.stop() == 0
    assert books_agree(d, [*accepted, *good_ids]) == 1 + len(good_ids)
