"""Cameras that are switched off and on over the API, and what the API says of the configuration."""

import json
import shutil

import pytest

from conftest import wait_until

CAMERAS = """
[camera:porch]
kind = foscam
address = {address}
location = Front Door
user = admin
password = secret1234
[camera:yard]
location = Back Yard
[camera:cellar]
enabled = no
kind = foscam
address = {address}
location = Cellar
[watch:hand]
path = {watched}
[detection]
enabled = no
"""


@pytest.fixture
def house(launch, people, tmp_path):
    sim = launch.camera(people, "--user", "admin", "--password", "secret1234")
    watched = tmp_path / "watched"
    (watched / "backyard").mkdir(parents=True)
    config = CAMERAS.format(address=sim.address, watched=watched)

    def start(*options):
        return launch.daemon(config, *options)

    start.watched = watched
    start.sim = sim
    return start


def switch(d, camera, what):
    status, _, body = d.request(f"/api/v1/cameras/{camera}/{what}", "POST")
    return status, json.loads(body)


def test_a_camera_that_is_switched_off_stays_off_over_a_restart(house):
    d = house()
    status, doc = switch(d, "porch", "disable")
    assert status == 200 and doc["enabled"] is False and doc["state"] == "off"
    assert doc["switched_off"] is True
    d.stop()
    d = house()
    status, doc = d.trigger("porch")
    assert status == 409 and doc["error"]["code"] == "camera-disabled"
    assert "enable" in doc["error"]["message"]
    assert d.get("/api/v1/cameras/porch")["enabled"] is False
    status, doc = switch(d, "porch", "enable")
    assert status == 200 and doc["enabled"] is True and doc["switched_off"] is False
    assert d.trigger("porch", wait=30)[0] == 200
    camera = d.get("/api/v1/cameras/porch")
    assert camera["last_snapshot"] == d.snapshots()[0]["id"]
    assert d.request(camera["links"]["latest"])[0] == 200


def test_the_schedule_leaves_it_alone_and_asks_it_again(house):
    d = house("--set", "camera:porch.interval=1s")
    wait_until(d.snapshots, "a picture by the schedule")
    switch(d, "porch", "disable")
    wait_until(lambda: d.get("/api/v1/status")["counts"]["triggers_pending"] == 0, "the last one")
    status = d.get("/api/v1/status")
    before = len(d.snapshots())
    wait_until(lambda: d.get("/api/v1/status")["uptime_s"] > status["uptime_s"] + 2.5,
               "two of its intervals")
    assert len(d.snapshots()) == before
    switch(d, "porch", "enable")
    wait_until(lambda: len(d.snapshots()) > before, "the schedule to go on")
    assert "schedule-missed" not in d.text()


def test_pushed_pictures_wait_until_it_is_switched_on(house, people):
    d = house()
    switch(d, "yard", "disable")
    shutil.copy(people, house.watched / "backyard" / "one.jpg")
    d.wait_line(r"push-off")
    assert d.snapshots() == []
    switch(d, "yard", "enable")
    wait_until(d.snapshots, "the picture that waited")
    assert [s["camera"] for s in d.snapshots()] == ["yard"]


def test_what_cannot_be_switched_is_refused(house):
    d = house()
    status, doc = switch(d, "cellar", "enable")
    assert status == 409 and "enabled = yes" in doc["error"]["message"]
    status, doc = switch(d, "nobody", "disable")
    assert status == 404 and doc["error"]["code"] == "unknown-camera"
    assert d.request("/api/v1/cameras/nobody")[0] == 404
    assert not (d.data / "cameras-off.json").exists()


def test_a_file_that_says_nothing_ends_the_start(house, launch):
    d = house()
    switch(d, "porch", "disable")
    d.stop()
    file = d.data / "cameras-off.json"
    file.write_text('{"off": [{"camera": 5}]}')
    bad = launch.daemon(d.config.read_text(), wait=False)
    bad.wait_line(r"cameras-off\.json does not say")
    assert bad.wait() != 0


def test_the_configuration_is_shown_without_secrets(house):
    d = house()
    status, headers, body = d.request("/api/v1/config")
    assert status == 200 and headers["Cache-Control"] == "no-store"
    assert b"secret1234" not in body
    sections = json.loads(body)["sections"]
    porch = next(s for s in sections if s["instance"] == "porch")
    keys = {k["name"]: k for k in porch["keys"]}
    assert keys["password"]["value"] == "***" and keys["password"]["secret"] is True
    assert keys["location"]["value"] == "Front Door" and keys["location"]["origin"] == "file"
    web = next(s for s in sections if s["name"] == "web")
    keys = {k["name"]: k for k in web["keys"]}
    assert keys["listen"]["origin"] == "setting" and keys["enabled"]["origin"] == "default"


def test_destinations_are_those_of_the_status(house):
    d = house()
    doc = d.get("/api/v1/destinations")
    assert [x["name"] for x in doc["destinations"]] == ["console"]
    assert doc["storages"] == d.get("/api/v1/status")["storages"]
