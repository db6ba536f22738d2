"""Small copies of pictures: made early or when asked for, kept within a bound, gone with their
picture; and a camera's newest picture."""

import concurrent.futures
import io
import json
import os
import subprocess
import time

import pytest
from PIL import Image

from conftest import BINARY, wait_until

CAMERA = """
[camera:porch]
kind = http
url = http://{address}/cgi-bin/snapshot.cgi
location = Front Door
[detection]
enabled = no
"""


def config(sim, extra="[web]\nthumbnails = yes\n"):
    return CAMERA.format(address=sim.address) + extra


@pytest.fixture
def porch(launch, people):
    return launch.camera(people)


def width_of(body):
    return Image.open(io.BytesIO(body)).width


def small_files(d):
    return sorted(p.name for p in (d.data / "thumbnails").rglob("*.jpg"))


def one_picture(d):
    status, doc = d.trigger("porch", wait=30)
    assert status == 200, doc
    return doc


def test_a_small_copy_is_there_before_anybody_asks(launch, porch):
    d = launch.daemon(config(porch))
    doc = one_picture(d)
    wait_until(lambda: small_files(d) == [f"{doc['id']}-320.jpg"], "the small copy")
    status, headers, body = d.request(doc["links"]["thumbnail"])
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    assert width_of(body) == 320 and len(body) < doc["size"]
    assert "immutable" in headers["Cache-Control"]
    status, again, _ = d.request(doc["links"]["thumbnail"],
                                 headers={"If-None-Match": headers["ETag"]})
    assert status == 304


def test_they_are_made_early_while_somebody_looks_at_them(launch, porch):
    d = launch.daemon(config(porch, ""))
    first, second = one_picture(d), one_picture(d)
    assert d.request(second["links"]["thumbnail"])[0] == 200
    assert small_files(d) == [f"{second['id']}-320.jpg"], "nobody had looked before"
    third = one_picture(d)
    both = sorted(f"{p['id']}-320.jpg" for p in (second, third))
    wait_until(lambda: small_files(d) == both, "the one of the next picture")
    d.stop()
    d = launch.daemon(config(porch, ""))
    fourth = one_picture(d)
    wait_until(lambda: f"{fourth['id']}-320.jpg" in small_files(d), "it to be remembered")
    assert f"{first['id']}-320.jpg" not in small_files(d)


def test_a_large_one_and_a_lost_one_are_made_for_who_asks(launch, porch):
    d = launch.daemon(config(porch, "[web]\nthumbnails = asked\n"))
    doc = one_picture(d)
    assert small_files(d) == []
    status, _, body = d.request(doc["links"]["thumbnail"] + "?width=960")
    assert status == 200 and width_of(body) == min(960, doc["width"])
    assert small_files(d) == [f"{doc['id']}-960.jpg"]
    file = next((d.data / "thumbnails").rglob("*.jpg"))
    file.write_bytes(body[:len(body) // 2])  # as a power cut may leave it
    status, _, again = d.request(doc["links"]["thumbnail"] + "?width=960")
    assert status == 200 and again == body
    assert d.request(doc["links"]["thumbnail"] + "?width=961")[0] == 400


def test_many_who_ask_at_once_get_theirs(launch, porch):
    d = launch.daemon(config(porch, "[web]\nthumbnails = asked\n"))
    ids = [one_picture(d)["id"] for _ in range(12)]
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda i: d.request(f"/api/v1/snapshots/{i}/thumbnail"), ids * 3))
    assert [a[0] for a in answers] == [200] * 36
    assert small_files(d) == sorted(f"{i}-320.jpg" for i in ids)


def test_a_small_copy_goes_with_its_picture(launch, porch):
    d = launch.daemon(config(porch))
    doc = one_picture(d)
    wait_until(lambda: small_files(d), "the small copy")
    time.sleep(1.1)  # the rule's unit is a second
    subprocess.run([BINARY, "prune", "-c", d.config, "--set", f"app.data_dir={d.data}",
                    "--older-than", "1s"], check=True, stdout=subprocess.DEVNULL)
    assert small_files(d) == []
    status, _, body = d.request(doc["links"]["thumbnail"])
    assert status == 404 and json.loads(body)["error"]["code"] == "picture-gone"
    status, _, body = d.request("/api/v1/cameras/porch/latest.jpg")
    assert status == 404 and json.loads(body)["error"]["code"] == "no-picture"


def test_the_cache_stays_within_its_bound(launch, porch):
    d = launch.daemon(config(porch, "[web]\nthumbnails = yes\nthumbnails_max = 1MB\n"))
    doc = one_picture(d)
    wait_until(lambda: small_files(d), "the small copy")
    mine = next((d.data / "thumbnails").rglob("*.jpg"))
    old = d.data / "thumbnails" / "2020-01-31T17"
    old.mkdir()
    (old / "0123456789abcdef0123456789abcdef-320.jpg").write_bytes(os.urandom(900_000))
    other = d.data / "thumbnails" / "2021-01-31T17"
    other.mkdir()
    (other / "0123456789abcdef0123456789abcdee-320.jpg").write_bytes(os.urandom(200_000))
    os.utime(old, (1, 1))
    os.utime(other, (2, 2))
    d.stop()
    d = launch.daemon(config(porch, "[web]\nthumbnails = yes\nthumbnails_max = 1MB\n"))
    one_picture(d)
    wait_until(lambda: not old.exists(), "the stillest hour to go")
    assert other.exists() and mine.exists()
    assert d.request(doc["links"]["thumbnail"])[0] == 200


def test_switched_off_there_are_none(launch, porch):
    d = launch.daemon(config(porch, "[web]\nthumbnails = no\n"))
    doc = one_picture(d)
    status, _, body = d.request(doc["links"]["thumbnail"])
    assert status == 404 and json.loads(body)["error"]["code"] == "no-thumbnail"
    assert not (d.data / "thumbnails").exists()


def test_the_newest_picture_of_a_camera(launch, porch, people):
    d = launch.daemon(config(porch))
    path = "/api/v1/cameras/porch/latest.jpg"
    assert d.request(path)[0] == 404
    one_picture(d)
    status, headers, body = d.request(path)
    assert status == 200 and body == people.read_bytes()
    assert headers["Cache-Control"] == "private, no-cache"
    assert d.request(path, headers={"If-None-Match": headers["ETag"]})[0] == 304
    status, _, body = d.request(path + "?width=320")
    assert status == 200 and width_of(body) == 320
    status, _, body = d.request(path + "?annotated=1")
    assert status == 200 and body == people.read_bytes(), "without a person nothing is drawn"
    assert d.request(path + "?annotated=1&width=320")[0] == 400
