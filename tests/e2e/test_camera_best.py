"""Which of several pictures is kept, and what is told of pictures that are not of now."""

import json

import pytest

from conftest import sha256

OFF = "[detection]\nenabled = no\n"


def story(d, snapshot_id):
    doc = d.get(f"/api/v1/snapshots/{snapshot_id}")
    return json.dumps(doc)


def test_the_sharpest_picture_of_a_burst_is_kept(launch, people, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image_filter = pytest.importorskip("PIL.ImageFilter")
    folder = tmp_path / "frames"
    folder.mkdir()
    picture = image.open(people).convert("RGB")
    for number, blur in enumerate((6, 2, 0, 3, 9)):
        blurred = picture.filter(image_filter.GaussianBlur(blur)) if blur else picture
        blurred.save(folder / f"{number}.jpg", quality=90)
    sim = launch.camera(folder)
    d = launch.daemon(f"[camera:gate]\nkind = hikvision\naddress = {sim.address}\n"
                      "burst = 5\nburst_time = 200ms\n" + OFF)
    status, doc = d.trigger("gate", wait=30)
    assert status == 200, doc
    stored = next((d.data / "store").rglob("fetch_*.jpg"))
    assert sha256(stored.read_bytes()) == sha256((folder / "2.jpg").read_bytes())
    assert sim.stats()["pictures"] == 5
    assert 'snapshotd_burst_pictures_total{camera="gate"} 5' in d.request("/metrics")[2].decode()
    assert len(d.snapshots()) == 1


def test_of_a_burst_the_picture_with_people_is_kept_though_others_are_sharper(launch, people, model,
                                                                             tmp_path):
    image = pytest.importorskip("PIL.Image")
    image_filter = pytest.importorskip("PIL.ImageFilter")
    folder = tmp_path / "frames"
    folder.mkdir()
    picture = image.open(people).convert("RGB")
    for number in (0, 2):
        image.effect_noise(picture.size, 90 + number).convert("RGB").save(folder / f"{number}.jpg")
    picture.filter(image_filter.GaussianBlur(1)).save(folder / "1.jpg", quality=90)
    sim = launch.camera(folder)
    d = launch.daemon(f"[camera:gate]\nkind = hikvision\naddress = {sim.address}\n"
                      f"burst = 3\nburst_time = 100ms\n[detection]\nmodel = {model}\n")
    status, doc = d.trigger("gate", wait=30)
    assert status == 200, doc
    assert doc["verdict"]["persons"] > 0, doc
    stored = next((d.data / "store").rglob("human_*.jpg"))
    assert sha256(stored.read_bytes()) == sha256((folder / "1.jpg").read_bytes())
    assert len(d.snapshots()) == 1


def test_an_unchanged_picture_is_marked_in_its_story_and_counted(launch, people):
    sim = launch.camera(people)
    d = launch.daemon(f"[camera:gate]\nkind = axis\naddress = {sim.address}\n" + OFF)
    assert d.trigger("gate", wait=30)[0] == 200
    assert d.trigger("gate", wait=30)[0] == 200
    first, second = reversed(d.snapshots())
    assert "stale" not in story(d, first["id"])
    assert "byte for byte" in story(d, second["id"])
    assert sim.stats()["pictures"] == 3
    assert 'snapshotd_camera_stale_total{camera="gate"} 2' in d.request("/metrics")[2].decode()


def test_a_program_prints_a_picture(launch, people):
    d = launch.daemon(f"[camera:rtsp]\nkind = command\nprogram = /bin/cat {people}\n" + OFF)
    status, doc = d.trigger("rtsp", wait=30)
    assert status == 200, doc
    stored = next((d.data / "store").rglob("fetch_*.jpg"))
    assert stored.read_bytes() == people.read_bytes()
