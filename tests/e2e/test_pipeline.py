"""The main job on real input: a camera is asked, the picture is kept, examined, recorded, shown."""

import json
import re
import signal
import time

import pytest

from conftest import sha256, wait_until

CAMERA = """
[camera:porch]
kind = foscam
address = {address}
user = admin
password = secret1234
location = Front Door
"""


def one_camera(sim, extra=""):
    return CAMERA.format(address=sim.address) + extra


@pytest.fixture
def porch(launch, people):
    return launch.camera(people, "--user", "admin", "--password", "secret1234")


def test_a_trigger_leads_to_a_recorded_person(launch, porch, people, model):
    d = launch.daemon(one_camera(porch, f"[detection]\nmodel = {model}\n"))
    status, doc = d.trigger("porch", wait=60)
    assert status == 200, doc
    stored = d.get(f"/api/v1/snapshots/{doc['id']}")
    assert stored["state"] == "examined"
    labels = [x["label"] for x in stored["verdict"]["detections"]]
    assert labels.count("person") >= 2
    assert re.fullmatch(r"\d+ person\(s\) and \d+ things", stored["event_detail"])
    name = stored["path"].rsplit("/", 1)[1]
    assert re.fullmatch(r"human_front-door-camera_\d{10}\.jpg", name)
    assert stored["path"].startswith("frontdoor/")
    assert stored["annotated_path"].rsplit("/", 1)[1] == name.replace("human", "detect", 1)
    on_disk = (d.data / "store" / stored["path"]).read_bytes()
    assert on_disk == people.read_bytes(), "the camera's bytes are kept as they came"
    assert stored["sha256"] == sha256(on_disk)
    wait_until(lambda: not d.undrawn(), "the copy to be drawn")
    assert (d.data / "store" / stored["annotated_path"]).read_bytes()[:2] == b"\xff\xd8"
    assert d.store_files() == sorted([stored["path"], stored["annotated_path"]])
    what = [step["what"] for step in stored["story"]]
    assert what.index("stored") < what.index("examined")


def test_the_image_is_served_as_it_was_sent(launch, porch, people, model):
    d = launch.daemon(one_camera(porch, f"[detection]\nmodel = {model}\n"))
    _, doc = d.trigger("porch", wait=60)
    status, headers, body = d.request(f"/api/v1/snapshots/{doc['id']}/image")
    assert status == 200 and body == people.read_bytes()
    assert headers["Content-Type"] == "image/jpeg"
    status, _, body = d.request(f"/api/v1/snapshots/{doc['id']}/image?annotated=1")
    assert status == 200 and body[:2] == b"\xff\xd8" and body != people.read_bytes()


def test_without_detection_the_picture_is_kept_under_its_first_name(launch, porch):
    d = launch.daemon(one_camera(porch, "[detection]\nenabled = no\n"))
    status, doc = d.trigger("porch", wait=30)
    assert status == 200
    stored = d.get(f"/api/v1/snapshots/{doc['id']}")
    assert stored["verdict"]["outcome"] == "skipped"
    assert stored["path"].rsplit("/", 1)[1].startswith("fetch_front-door-camera_")
    assert not stored["annotated_path"]


def test_the_flag_of_the_original_switches_detection_off(launch, porch):
    d = launch.daemon(one_camera(porch), env={"FEATURE_FLAG_OBJECT_DETECTION": "false"})
    _, doc = d.trigger("porch", wait=30)
    assert d.get(f"/api/v1/snapshots/{doc['id']}")["verdict"]["outcome"] == "skipped"


def test_two_pictures_of_one_second_are_both_kept(launch, porch):
    d = launch.daemon(one_camera(porch, "[detection]\nenabled = no\n"))
    for _ in range(5):
        assert d.trigger("porch")[0] == 202
    wait_until(lambda: len(d.snapshots()) == 5, "five snapshots")
    paths = {s["path"] for s in d.snapshots()}
    assert len(paths) == 5
    wait_until(lambda: sorted(paths) == d.store_files(), "five files")


def test_events_are_lines_that_a_person_and_a_program_can_read(launch, porch, model):
    d = launch.daemon(one_camera(porch, f"[detection]\nmodel = {model}\n[events]\nformat = json\n"))
    _, doc = d.trigger("porch", wait=60)
    line = d.wait_line(r'^\{"id":.*')
    event = json.loads(line.group(0))
    assert event["id"] == doc["id"]
    assert event["camera"] == "porch" and event["device_key"] == "Front Door Camera"
    assert "person" in event["event_detail"]


def test_a_schedule_asks_by_itself(launch, porch):
    d = launch.daemon(one_camera(porch, "interval = 200ms\n[detection]\nenabled = no\n"))
    wait_until(lambda: len(d.snapshots()) >= 3, "three scheduled pictures")


def test_an_unknown_camera_is_named_with_those_that_exist(launch, porch):
    d = launch.daemon(one_camera(porch, "[detection]\nenabled = no\n"))
    status, doc = d.trigger("garden")
    assert status == 404
    assert "porch" in doc["error"]["message"]


def test_a_reload_takes_a_new_camera_and_refuses_a_wrong_file(launch, porch):
    d = launch.daemon(one_camera(porch, "[detection]\nenabled = no\n"))
    text = d.config.read_text()
    d.config.write_text(text + "\n[camera:garden]\nkind = fosscam\n")
    d.signal(signal.SIGHUP)
    d.wait_line(r"camera:garden.kind: .*foscam")
    d.wait_line(r"\[reload-failed\]")
    assert d.trigger("porch", wait=30)[0] == 200
    d.config.write_text(text + CAMERA.format(address=porch.address)
                        .replace("porch", "garden").replace("Front Door", "Garden"))
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]")
    assert d.trigger("garden", wait=30)[0] == 200
    assert d.trigger("porch", wait=30)[0] == 200


def test_sigterm_ends_in_order_and_a_restart_goes_on(launch, porch):
    config = one_camera(porch, "[detection]\nenabled = no\n")
    d = launch.daemon(config)
    d.trigger("porch", wait=30)
    assert d.stop() == 0
    again = launch.daemon(config)
    assert len(again.snapshots()) == 1
    again.trigger("porch", wait=30)
    assert len(again.snapshots()) == 2


def test_a_trigger_from_long_before_the_start_ends_with_its_reason(launch, porch):
    porch.fault("hang")
    config = one_camera(porch, "give_up = 1s\n[detection]\nenabled = no\n")
    d = launch.daemon(config)
    _, doc = d.trigger("porch")
    d.kill()
    porch.fault("")
    accepted = time.monotonic()
    wait_until(lambda: time.monotonic() - accepted > 1.5, "the trigger to grow old")
    again = launch.daemon(config)
    again.wait_line(r"trigger-failed")
    assert again.get(f"/api/v1/triggers/{doc['id']}")["state"] == "failed"
    assert again.snapshots() == []


def test_a_second_daemon_on_the_same_data_is_refused(launch, porch):
    config = one_camera(porch, "[detection]\nenabled = no\n")
    launch.daemon(config)
    second = launch.daemon(config, wait=False)
    assert second.wait() == 1
    assert "another snapshotd" in second.text()


def test_metrics_and_health_answer(launch, porch):
    d = launch.daemon(one_camera(porch, "[detection]\nenabled = no\n"))
    d.trigger("porch", wait=30)
    assert d.request("/healthz")[0] == 200
    assert d.request("/readyz")[0] == 200
    text = d.request("/metrics")[2].decode()
    assert re.search(r'^snapshotd_stored_total\{camera="porch"\} 1$', text, re.M)


def test_trigger_and_status_commands_talk_to_the_daemon(launch, porch, model):
    import subprocess

    from conftest import BINARY
    d = launch.daemon(one_camera(porch, f"[detection]\nmodel = {model}\n"))
    url = f"http://127.0.0.1:{d.port}"
    done = subprocess.run([BINARY, "trigger", "--url", url, "porch"], capture_output=True,
                          text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout
    done = subprocess.run([BINARY, "status", "--url", url], capture_output=True, text=True,
                          timeout=90)
    assert done.returncode == 0, done.stderr
    assert "porch" in done.stdout
    done = subprocess.run([BINARY, "trigger", "--url", url, "nowhere"], capture_output=True,
                          text=True, timeout=90)
    assert done.returncode == 1 and "nowhere" in done.stderr


def test_secrets_appear_nowhere(launch, porch):
    d = launch.daemon(one_camera(porch, "[detection]\nenabled = no\n[app]\nlog_level = debug\n"))
    d.trigger("porch", wait=30)
    porch.fault("401")
    d.trigger("porch", wait=30)
    seen = d.text() + json.dumps(d.get("/api/v1/status")) + d.request("/metrics")[2].decode()
    seen += json.dumps(d.get("/api/v1/cameras"))
    assert d.stop() == 0
    for file in d.data.rglob("*"):
        if file.is_file():
            seen += file.read_bytes().decode("latin-1")
    assert "secret1234" not in seen
