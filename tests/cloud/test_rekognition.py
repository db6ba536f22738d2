"""The detector `rekognition`, as the command line has it, against our own Rekognition: two regions
that do their worst, and one bill."""

import contextlib
import io
import json
import os
import socket
import subprocess
import threading
import time

import pytest
from PIL import Image

from conftest import BINARY, SANITIZED
from fakes.aws import FakeAws, Key
from fakes.rekognition import FORMS, FakeRekognition, RekognitionFault, box, label, red_person

MANY = 24


def picture(width=320, height=240, kind="JPEG", red=None, orientation=None, shade=255, **more):
    image = Image.new("RGB", (width, height), (0, 0, shade))
    if red:
        image.paste((255, 0, 0), red)
    out = io.BytesIO()
    if orientation:
        more["exif"] = Image.Exif()
        more["exif"][0x0112] = orientation
    image.save(out, kind, **more)
    return out.getvalue()


class House:
    """Two regions, one account, and the program's command line."""

    def __init__(self, folder):
        self.folder = folder
        self.account = FakeAws()
        self.account.keys["AKID"] = Key("secret")
        self.dublin = FakeRekognition("eu-west-1", self.account)
        self.virginia = FakeRekognition("us-east-1", self.account)
        self.login = {"access_key": "AKID", "secret_key": "secret"}
        self.environment = {}

    def close(self):
        for fake in (self.account, self.dublin, self.virginia):
            fake.close()

    @property
    def billed(self):
        return self.dublin.billed + self.virginia.billed

    def command(self, *paths, two=True, **settings):
        values = {"region": "eu-west-1", "endpoint": self.dublin.url, "calls_per_second": 0}
        if two:
            values = {"primary_region": "eu-west-1", "primary_endpoint": self.dublin.url,
                      "region": "us-east-1", "endpoint": self.virginia.url, "calls_per_second": 0}
        values.update(self.login)
        values.update(settings)
        sets = [f"--set=rekognition.{k}={v}" for k, v in values.items() if v is not None]
        return [BINARY, "detect", "--json", "--detector", "rekognition", *sets, *map(str, paths)]

    def env(self):
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith("AWS_") and k.lower() not in ("http_proxy", "https_proxy")}
        return {**clean, "HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
                **self.environment}

    def ask(self, *paths, **settings):
        """The lines."""
        done = subprocess.run(self.command(*paths, **settings), env=self.env(), capture_output=True,
                              text=True, timeout=120, check=False)
        assert "Sanitizer" not in done.stderr, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines, done.stderr
        assert done.returncode == (1 if any("error" in line for line in lines) else 0)
        return lines

    def put(self, data, name="a.jpg"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def one(self, data=None, **settings):
        return self.ask(self.put(picture() if data is None else data), **settings)[0]

    def many(self, count=MANY, **settings):
        folder = self.folder / "many"
        folder.mkdir(exist_ok=True)
        for i in range(count):
            (folder / f"{i:03}.jpg").write_bytes(picture(red=(0, 0, 4 * i + 8, 16)))
        return self.ask(folder, **settings)


@pytest.fixture(name="house")
def house_fixture(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def labels(line):
    assert "error" not in line, line
    return [(d["label"], d["confidence"], d["box"]) for d in line["detections"]]


# ---- answers

def test_labels_are_found_with_boxes_and_without(house):
    line = house.one()
    assert labels(line) == [
        ("person", 0.975, pytest.approx([32, 48, 128, 144], abs=0.1)),
        ("car", 0.88, pytest.approx([160, 120, 240, 180], abs=0.1)), ("outdoors", 0.8, None)]
    assert line["model"] == "rekognition 3.0"
    assert line["cloud_calls"] == house.billed == 1
    assert (line["width"], line["height"]) == (320, 240)


@pytest.mark.parametrize("given", ["85", "85%", "0.85"])
def test_the_minimum_is_sent_and_kept(house, given):
    line = house.one(minimum_confidence=given, max_labels=2)
    assert [x[0] for x in labels(line)] == ["person", "car"]
    asked = json.loads(house.dublin.requests[-1].body)
    assert (asked["MinConfidence"], asked["MaxLabels"]) == (85, 2)


def test_an_unsure_box_is_left_out_and_its_label_is_not(house):
    house.dublin.labels = [label("Person", 95, [box(0, 0, 0.5, 0.5, 30)]),
                           label("Dog", 90, [box(0, 0, 0.5, 0.5, 30), box(0, 0, 1, 1, 80)])]
    assert [(x[0], x[2] is None) for x in labels(house.one())] == [("person", True), ("dog", False)]


def test_boxes_outside_are_clipped_and_nonsense_is_dropped(house):
    house.dublin.labels = [
        label("Person", 99, [box(-0.5, -0.5, 1, 1, 99), box(0.5, 0.5, 9, 9, 98),
                             box(2, 2, 1, 1, 97), box(0.5, 0.5, -0.1, 0.1, 96)]),
        label("Evil\x1b[31m" + "x" * 100, 70),
        {"Name": "No number", "Confidence": 60, "Instances": [{"BoundingBox": "wide"}, 7, None]}]
    found = labels(house.one())
    assert [x[2] for x in found[:2]] == [[0, 0, 160, 120], [160, 120, 320, 240]]
    assert found[2][0].startswith("evil\\x1b[31mxxx") and len(found[2][0]) < 48
    assert found[3][0] == "no number" and len(found) == 4


def test_thousands_of_labels_are_cut_to_the_surest(house):
    house.dublin.labels = [label(f"L{i}", 60 + i % 40, [box(0, 0, 1, 1, 60 + i % 40)] * 3)
                           for i in range(3000)]
    line = house.one(max_labels=1000)
    assert len(line["detections"]) == 300
    assert line["detections"][0]["confidence"] == pytest.approx(0.99)
    assert line["detections"][-1]["confidence"] == pytest.approx(0.98)


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"{}", b"null", b'{"Labels": 7}', b'{"Labels": [{"Confidence": NaN}]}',
    b'{"Labels": [{"Name": "Person", "Confidence": 1e999}]}', b"\x00\xff", b"[" * 100000,
    b'{"Labels": [' + b'"x",' * 2000000 + b'"x"]}'],
    ids=["empty", "cut", "list", "nothing", "null", "number", "nan", "infinite", "binary", "deep",
         "huge"])
def test_an_answer_of_no_use_is_paid_and_not_asked_for_again(house, body):
    def decide(r):
        a = type(house.dublin).decide(house.dublin, r)
        a.body = body
        return a
    house.dublin.decide = decide
    line = house.one()
    assert "rekognition: the answer " in line["error"]
    assert line["cloud_calls"] == house.billed == 1
    assert len(house.dublin.requests) == 1


# ---- pictures

@pytest.mark.parametrize("kind,orientation", [
    ("GIF", None), ("BMP", None),
    *((kind, o) for kind in ("JPEG", "PNG", "WEBP") for o in (None, 2, 3, 5, 6, 8))])
def test_boxes_are_in_pixels_of_the_upright_original(house, kind, orientation):
    house.dublin.look = red_person
    data = picture(400, 200, kind, (200, 0, 300, 100), orientation)
    upright = {None: [200, 0, 300, 100], 2: [100, 0, 200, 100], 3: [100, 100, 200, 200],
               5: [0, 200, 100, 300], 6: [100, 200, 200, 300], 8: [0, 100, 100, 200]}[orientation]
    line = house.one(data)
    assert (line["width"], line["height"]) == ((400, 200) if orientation in (None, 2, 3) else
                                               (200, 400))
    assert labels(line)[0][2] == pytest.approx(upright, abs=12)
    sent = house.dublin.pictures[0]
    as_it_is = kind == "JPEG" and orientation in (None, 3, 6, 8) or kind == "PNG" and not orientation
    assert (sent.bytes == data) == as_it_is


def test_a_picture_of_9_mb_is_sent_smaller(house):
    house.dublin.look = red_person
    image = Image.effect_noise((3200, 2400), 120).convert("RGB")
    image = Image.blend(image, Image.new("RGB", image.size, (0, 0, 255)), 0.3)
    image.paste((255, 0, 0), (600, 600, 1500, 1200))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=99)
    size = len(out.getvalue())
    assert size > 9 << 20
    line = house.one(out.getvalue())
    assert (line["width"], line["height"]) == (3200, 2400)
    assert len(house.dublin.pictures[0].bytes) <= 5242880
    assert line["cloud_calls"] == 1


@pytest.mark.parametrize("width,height", [(12000, 200), (200, 12000), (10001, 81)])
def test_a_picture_beyond_10000_pixels_is_sent_smaller(house, width, height):
    house.dublin.look = red_person
    x, y = width // 2, height // 2
    line = house.one(picture(width, height, red=(0, 0, x, y)))
    assert labels(line)[0][2] == pytest.approx([0, 0, x, y], rel=0.05, abs=20)


def test_side_max_saves_bytes(house):
    house.dublin.look = red_person
    line = house.one(picture(2000, 1000, red=(1000, 0, 2000, 1000)), side_max=640)
    assert (house.dublin.pictures[0].width, house.dublin.pictures[0].height) == (640, 320)
    assert labels(line)[0][2] == pytest.approx([1000, 0, 2000, 1000], abs=15)
    assert labels(house.one(picture(1000, 90), side_max=300))
    assert house.dublin.pictures[1].height == 80


@pytest.mark.parametrize("data,says", [
    (picture(60, 60), "60x60 pixels: Rekognition examines nothing below 80"),
    (picture(30000, 100), "30000x100 pixels"), (b"<html>no</html>", "HTML"), (b"", "empty")],
    ids=["small", "narrow", "html", "empty"])
def test_what_can_never_be_examined_costs_nothing(house, data, says):
    line = house.one(data)
    assert says in line["error"] and "cloud_calls" not in line
    assert not house.dublin.requests


def test_a_picture_that_ends_early_is_mended_first(house):
    data = picture(800, 600, quality=95)
    line = house.one(data[:len(data) // 2])
    assert line["damaged"] is True and line["cloud_calls"] == 1


def test_a_file_that_rekognition_does_not_understand_is_sent_as_another(house):
    house.dublin.faults.append(RekognitionFault("InvalidImageFormatException"))
    data = picture()
    assert labels(house.one(data))
    assert house.billed == 1 and house.dublin.pictures[0].bytes != data
    house.dublin.faults.append(RekognitionFault("InvalidImageFormatException", times=9))
    assert "InvalidImageFormatException" in house.one(data)["error"]
    assert len(house.dublin.requests) == 4


# ---- errors of the service

@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code,status", [
    ("ThrottlingException", 400), ("ProvisionedThroughputExceededException", 400),
    ("InternalServerError", 500), ("ServiceUnavailableException", 503), ("ThrottlingException", 500),
    ("TooManyRequestsException", 429), ("LimitExceededException", 400), ("RequestTimeoutException", 400)])
def test_what_may_pass_is_tried_again(house, code, status, form):
    house.dublin.faults.append(RekognitionFault(code, form=form, status=status, times=2))
    line = house.one(two=False)
    assert labels(line) and line["cloud_calls"] == house.billed == 1
    assert len(house.dublin.requests) == 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code,status,says", [
    ("ImageTooLargeException", 400, "ImageTooLarge"), ("InvalidParameterException", 400, "InvalidParameter"),
    ("InvalidS3ObjectException", 400, "InvalidS3Object"),
    ("AccessDeniedException", 400, "rekognition:DetectLabels is not allowed"),
    ("AccessDeniedException", 403, "these credentials are not allowed to do this"),
    ("IncompleteSignatureException", 400, "IncompleteSignature")])
def test_what_will_not_pass_is_asked_once(house, code, status, says, form):
    house.dublin.faults.append(RekognitionFault(code, form=form, status=status, times=9))
    line = house.one()
    assert says in line["error"] and "cloud_calls" not in line
    assert len(house.dublin.requests) == 1 and not house.virginia.requests
    assert "secret" not in line["error"]


def test_wrong_keys_are_told_and_asked_with_once(house):
    house.login["secret_key"] = "wrong"
    line = house.one()
    assert "is the secret key right?" in line["error"]
    assert len(house.dublin.requests) == 1


def test_no_keys_at_all_asks_nobody(house):
    house.login = {}
    assert "credentials" in house.one()["error"]
    assert not house.dublin.requests


def test_tokens_that_expire_in_the_middle_are_fetched_anew(house):
    """Of the container that hands them out; each is good for five calls."""
    house.login = {}
    house.environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{house.account.url}/container"}
    used = {}

    def check(r, service, auth, plain=house.dublin.check):
        key = plain(r, service, auth)
        with house.dublin.lock:
            used[r.access_key] = used.get(r.access_key, 0) + 1
            if used[r.access_key] >= 5:
                key[0].expires = 1
        return key
    house.dublin.check = check
    lines = house.many(in_flight=1)
    assert all(labels(line) for line in lines)
    assert house.billed == MANY
    assert len(house.dublin.requests) == MANY + (MANY - 1) // 5
    assert 2 <= len(used) <= MANY // 5 + 1


@pytest.mark.parametrize("skew_s", [-7200, 3600, 86400 * 365])
def test_a_wrong_clock_is_put_right_once(house, skew_s):
    house.dublin.clock = lambda: time.time() + skew_s
    lines = house.many(4, in_flight=1)
    assert all(labels(line) for line in lines)
    assert len(house.dublin.requests) == 5


def test_a_role_is_assumed(house):
    house.account.roles["arn:aws:iam::1:role/eyes"] = True
    house.environment["AWS_ENDPOINT_URL_STS"] = house.account.url
    assert labels(house.one(role_arn="arn:aws:iam::1:role/eyes"))
    assert house.dublin.requests[0].access_key.startswith("ASIA")


# ---- two regions

def test_a_dead_primary_costs_each_picture_one_timeout_at_most(house):
    house.dublin.faults.append(RekognitionFault(silent=True, times=999))
    begin = time.monotonic()
    lines = house.many(timeout="2s", in_flight=4)
    assert all(labels(line) for line in lines)
    assert house.virginia.billed == MANY and house.dublin.billed == 0
    # Those that were under way when it was found dead; and a probe after each rest.
    probes = (time.monotonic() - begin) // 5
    assert 1 <= len(house.dublin.requests) <= 4 + probes
    asked = [json.loads(r.body)["Image"]["Bytes"] for r in house.dublin.requests]
    assert max(asked.count(a) for a in asked) == 1  # no picture lost two time-outs


def test_a_primary_that_dies_under_load_costs_no_picture(house):
    """It answers some, then loses all that is under way."""
    def decide(r, plain=house.dublin.decide):
        if house.dublin.billed >= 6:
            house.dublin.faults.append(RekognitionFault(silent=True, times=999))
        return plain(r)
    house.dublin.decide = decide
    begin = time.monotonic()
    lines = house.many(timeout="2s", in_flight=4)
    assert all(labels(line) for line in lines)
    assert sum(line["cloud_calls"] for line in lines) == MANY
    assert house.dublin.billed + house.virginia.billed == MANY
    probes = (time.monotonic() - begin) // 5
    assert len(house.dublin.requests) - house.dublin.billed <= 4 + probes


def test_a_refused_connection_costs_no_time(house):
    house.dublin.close()
    lines = house.many()
    assert all(labels(line) for line in lines) and house.virginia.billed == MANY
    house.dublin.close = lambda: None


def test_it_goes_back_by_itself(house):
    """Fails three times in a row, rests for 5 s, is tried by one picture and asked again."""
    house.dublin.faults.append(RekognitionFault("InternalServerError", times=3))
    lines = house.many(40, in_flight=1, calls_per_second=5)
    assert all(labels(line) for line in lines)
    assert house.billed == 40
    assert house.virginia.billed > 15 and house.dublin.billed > 5
    last = max(r.at for r in house.virginia.requests)
    assert sum(r.at > last for r in house.dublin.requests) >= 5


def test_a_flapping_primary_costs_no_picture_and_no_second_bill(house):
    turn = iter(range(10**6))
    def match(_):
        return next(turn) // 5 % 2 == 1
    house.dublin.faults.append(RekognitionFault(match=match, cut=True, times=999))
    lines = house.many(60)
    assert all(labels(line) for line in lines)
    assert house.billed == sum(line["cloud_calls"] for line in lines) == 60


def test_a_lost_answer_is_asked_for_again_and_one_that_came_is_not(house):
    """An answer that breaks off was not had, though it is on the bill."""
    house.dublin.faults.append(RekognitionFault(cut_body=True, times=1))
    line = house.one()
    assert labels(line) and house.billed == 2 and len(house.virginia.requests) == 1


def test_both_regions_down_is_told_in_time(house):
    for fake in (house.dublin, house.virginia):
        fake.faults.append(RekognitionFault(silent=True, times=999))
    begin = time.monotonic()
    line = house.one(timeout="300ms", patience="2s")
    assert "error" in line and "cloud_calls" not in line
    assert time.monotonic() - begin < (30 if SANITIZED else 8)
    assert len(house.dublin.requests) == len(house.virginia.requests) == 1


def test_the_nearest_region_is_asked(house):
    house.dublin.delay_s = 0.15
    lines = house.many(30, in_flight=1, region_choice="nearest")
    assert all(labels(line) for line in lines)
    assert house.dublin.billed <= 10 and house.virginia.billed >= 20


def test_a_page_of_html_is_no_answer_of_rekognition(house):
    html = b"<html><form>Please log in to the hotel's network</form></html>"
    for status in (200, 302, 403, 404, 502):
        house.dublin.faults.append(RekognitionFault(status=status, body=html))
        line = house.one()
        assert labels(line) and line["cloud_calls"] == 1, status
    assert house.dublin.billed == 0 and house.virginia.billed == 5
    house.dublin.faults.append(RekognitionFault(status=200, body=html, times=99))
    line = house.one(two=False, patience="1s")
    assert "a login page" in line["error"] and "cloud_calls" not in line


# ---- pace

def test_a_storm_of_throttling_passes_without_loss(house):
    for fake in (house.dublin, house.virginia):
        fake.per_second = 6
    lines = house.many(40, calls_per_second=50)
    assert all(labels(line) for line in lines)
    assert house.billed == 40
    refused = len(house.dublin.requests) + len(house.virginia.requests) - 40
    assert refused < 80


def test_throttling_that_does_not_end_is_given_up(house):
    house.dublin.faults.append(RekognitionFault("ThrottlingException", times=9999))
    line = house.one(two=False, patience="2s")
    assert "ThrottlingException" in line["error"]
    assert len(house.dublin.requests) <= 12


def test_calls_keep_to_the_pace_and_to_the_number_at_once(house):
    house.dublin.delay_s = 0.05
    house.many(30, calls_per_second=20, in_flight=3)
    at = sorted(r.at for r in house.dublin.requests)
    assert at[-1] - at[0] >= 0.4  # 20 at once, 10 at 20 a second
    assert house.dublin.active_max <= 3


# ---- a proxy in between

def test_a_proxy_is_used(house):
    """One that is told by the environment; it sees whole addresses."""
    seen = []
    server = socket.create_server(("127.0.0.1", 0))

    def pump(a, b):
        with contextlib.suppress(OSError):  # one side went away
            while data := a.recv(65536):
                b.sendall(data)
        b.close()

    def serve():
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            head = near.recv(65536)
            seen.append(head.split(b"\r\n")[0])
            far = socket.create_connection(("127.0.0.1", house.dublin.port))
            far.sendall(head.replace(house.dublin.url.encode(), b"", 1))
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            threading.Thread(target=pump, args=(far, near), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    house.environment = {"http_proxy": f"http://127.0.0.1:{server.getsockname()[1]}"}
    assert labels(house.one())
    assert seen == [b"POST " + house.dublin.url.encode() + b"/ HTTP/1.1"]
    server.close()


def test_a_proxy_that_is_away_is_told(house):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    house.environment = {"http_proxy": f"http://127.0.0.1:{port}"}
    assert "error" in house.one(patience="1s", timeout="500ms")
    assert not house.dublin.requests
