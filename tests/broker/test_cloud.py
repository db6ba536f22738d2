"""Detection in the cloud: who is asked, what it costs, and what the house hears of it. Events are read
from a real broker, answers come from a Rekognition of our own, whose bill is the truth."""

import calendar
import signal
import threading
import time

import pytest
from PIL import Image

from conftest import BINARY, PATIENCE, wait_until
from fakes.aws import FakeAws, Key
from fakes.rekognition import FakeRekognition, RekognitionFault
from house import decode, house  # noqa: F401, one is a fixture

FAKE_CLOCK = BINARY.parents[2] / "tests/fault/libfake_clock.so"
CLOUD_DETAIL = "1 person(s) and 3 things"  # what the fake sees on everything
TIMEOUT_S = 2
ALWAYS_IN_DOUBT = "cascade_low = 0.01\ncascade_high = 1.01\n"


@pytest.fixture
def cloud():
    """Two regions of one account."""
    account = FakeAws()
    account.keys["AKID"] = Key("secret")
    regions = [FakeRekognition(name, account) for name in ("eu-west-1", "us-east-1")]
    yield regions
    for fake in (*regions, account):
        fake.close()


def rekognition(cloud, more=""):
    return ("[rekognition]\nprimary_region = eu-west-1\nregion = us-east-1\n"
            f"primary_endpoint = {cloud[0].url}\nendpoint = {cloud[1].url}\naccess_key = AKID\n"
            f"secret_key = secret\ntimeout = {TIMEOUT_S}s\ncalls_per_second = 0\n{more}\n")


@pytest.fixture
def pictures(house, tmp_path):
    """A folder of different small pictures for the camera."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(60):
        Image.new("RGB", (160, 120), (4 * n, 255 - 4 * n, n)).save(folder / f"{n:02}.png")
    house.picture = folder
    return folder


@pytest.fixture
def crowd(house, people, tmp_path):
    """A folder of pictures with people, each of other bytes."""
    folder = tmp_path / "crowd"
    folder.mkdir()
    with Image.open(people) as image:
        for n in range(12):
            image.save(folder / f"{n:02}.jpg", quality=95 - n)
    house.picture = folder
    return folder


def change(house, *pairs):
    """Replaces texts in the configuration, reloads it and waits until it is in force."""
    d, text = house.daemon, house.daemon.config.read_text()
    for old, new in pairs:
        assert old in text, (old, text)
        text = text.replace(old, new)
    d.config.write_text(text)
    seen = len(d.lines)
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]", seen)


def next_event(house, consumer):
    """Triggers, and gives the item of the event and the verdict."""
    before = len(consumer.events())
    [id] = house.trigger(1)
    message = consumer.wait_events(before + 1)[before]
    assert message.id == id
    return decode(message.body)["inputs"][0], verdict(house, id)


def verdict(house, id):
    return house.daemon.get(f"/api/v1/snapshots/{id}")["verdict"]


def last_verdict(house):
    return verdict(house, house.recorded()[-1])


def billed(cloud):
    return sum(region.billed for region in cloud)


def counted(house, period="day"):
    return house.daemon.get("/api/v1/status")["cloud"][period]["calls"]


def cloud_only(cloud, **more):
    return {"detection": "detector = cloud", "more": rekognition(cloud, more.pop("rek", ""))
            + "[cloud]\n" + "".join(f"{k} = {v}\n" for k, v in more.items())}


# ---- flags ----

def test_a_reload_switches_between_none_local_cloud_and_cascade(house, cloud, model, crowd):
    consumer = house.consumer()
    flags = "object_detection = no\nlocal_object_detection = yes\ncloud_object_detection = no\n"
    d = house.start(detection=f"model = {model}\ndetector = auto\n{ALWAYS_IN_DOUBT}",
                    more="[feature_flags]\n" + flags + rekognition(cloud))
    item, _ = next_event(house, consumer)
    assert "event_detail" not in item
    assert d.get("/api/v1/status")["detector"]["why"] == "FEATURE_FLAG_OBJECT_DETECTION is false"

    change(house, ("\nobject_detection = no", "\nobject_detection = yes"))
    item, seen = next_event(house, consumer)
    local = item["event_detail"]
    assert "person" in local and local != CLOUD_DETAIL
    assert seen["model"] == model.name and billed(cloud) == 0

    change(house, ("local_object_detection = yes", "local_object_detection = no"))
    item, _ = next_event(house, consumer)
    assert "event_detail" not in item and billed(cloud) == 0

    change(house, ("cloud_object_detection = no", "cloud_object_detection = yes"))
    item, seen = next_event(house, consumer)
    assert item["event_detail"] == CLOUD_DETAIL
    assert seen["model"] == "rekognition 3.0" and billed(cloud) == 1

    change(house, ("local_object_detection = no", "local_object_detection = yes"),
           ("detector = auto", "detector = cascade"))
    item, seen = next_event(house, consumer)
    assert item["event_detail"].startswith("1 person(s) and ")  # the cloud's, with local things
    assert seen["model"] == f"{model.name} + rekognition 3.0" and billed(cloud) == 2
    assert d.get("/api/v1/status")["detector"]["name"] == "cascade"

    change(house, ("cascade_high = 1.01", "cascade_high = 0"))  # nothing is in doubt
    item, seen = next_event(house, consumer)
    assert "person" in item["event_detail"] and seen["model"] == model.name
    assert billed(cloud) == 2

    change(house, ("cascade_high = 0", "cascade_high = 1.01"),
           ("cloud_object_detection = yes", "cloud_object_detection = no"))
    item, seen = next_event(house, consumer)
    assert seen["model"] == model.name and billed(cloud) == 2
    status = d.get("/api/v1/status")["detector"]
    assert (status["name"], status["why"]) == (
        "local", "[detection] detector is cascade, but FEATURE_FLAG_CLOUD_OBJECT_DETECTION is false")
    assert counted(house) == 2


def test_the_cloud_alone_needs_neither_model_nor_runtime(house, cloud, pictures):
    consumer = house.consumer()
    house.start(options=["--set", "detection.model=/nowhere/model.onnx",
                         "--set", "detection.runtime_library=/nowhere/libonnxruntime.so"],
                **cloud_only(cloud))
    item, _ = next_event(house, consumer)
    assert item["event_detail"] == CLOUD_DETAIL


# ---- money ----

def test_the_same_picture_costs_once_also_after_a_restart(house, cloud, pictures):
    for extra in list(pictures.iterdir())[1:]:
        extra.unlink()
    consumer = house.consumer()
    settings = cloud_only(cloud)
    house.start(**settings)
    house.trigger(3)
    assert house.daemon.stop() == 0
    house.start(**settings)
    house.trigger(3)
    for message in consumer.wait_events(6):
        assert decode(message.body)["inputs"][0]["event_detail"] == CLOUD_DETAIL
    assert billed(cloud) == counted(house) == 1
    assert house.metric('snapshotd_cloud_answers_total{from="ledger"}') == 3


@pytest.mark.skipif(not FAKE_CLOCK.exists(), reason="this build has no clock to preload")
def test_the_budget_holds_over_a_restart_and_a_change_of_day_and_month(house, cloud, pictures,
                                                                       tmp_path):
    setting = tmp_path / "clock"
    environment = {"LD_PRELOAD": str(FAKE_CLOCK), "FAKE_CLOCK_FILE": str(setting)}
    consumer = house.consumer()
    settings = cloud_only(cloud, calls_per_day=3, calls_per_month=5, answers_age=0)
    offset = 0
    for fake in cloud:  # the service's time goes with ours
        fake.clock = lambda: time.time() + offset

    def set_clock(text):
        nonlocal offset
        at = time.strptime(text, "%Y-%m-%d %H:%M UTC")
        offset = int(calendar.timegm(at) - time.time())
        setting.write_text(f"{offset:+d}")

    def details(count):
        before = len(consumer.events())
        house.trigger(count)
        items = [decode(m.body)["inputs"][0] for m in consumer.wait_events(before + count)[before:]]
        return sum(item.get("event_detail") == CLOUD_DETAIL for item in items)

    set_clock("2027-01-30 22:00 UTC")
    house.start(env=environment, **settings)
    assert details(5) == 3
    assert house.daemon.get("/api/v1/status")["cloud"]["day"] == {"calls": 3, "limit": 3, "left": 0}
    last = next(v for v in map(lambda i: verdict(house, i), house.recorded()) if v["error"])
    assert last["outcome"] == "skipped" and "budget of 3 calls a day" in last["error"]
    assert house.daemon.stop() == 0
    house.start(env=environment, **settings)  # a restart
    assert details(2) == 0
    set_clock("2027-01-31 00:30 UTC")  # the day changes while it runs
    assert details(4) == 2  # and the month ends these
    assert "budget of 5 calls a month" in last_verdict(house)["error"]
    house.daemon.kill()
    house.start(env=environment, **settings)
    assert details(1) == 0
    set_clock("2027-02-01 00:01 UTC")
    assert details(4) == 3
    set_clock("2027-01-31 23:00 UTC")  # a clock that goes back finds what was spent
    assert details(1) == 0
    assert billed(cloud) == 8
    cost = house.daemon.get("/api/v1/status")["cloud"]["month_cost_usd_estimate"]
    assert abs(cost - 0.005) < 1e-9


# ---- trouble ----

def test_a_primary_region_that_dies_under_load_costs_no_picture(house, cloud, pictures):
    consumer = house.consumer()
    house.start(cameras=4, **cloud_only(cloud, rek="in_flight = 4", answers_age=0))
    primary, second = cloud
    for fake in cloud:
        fake.delay_s = 0.05
    ids, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            ids.extend(house.trigger(1, wait=False))
            time.sleep(0.05)  # the load: twenty a second

    worker = threading.Thread(target=load)
    worker.start()
    try:
        wait_until(lambda: primary.billed >= 10, "the primary region to work")
        dead = RekognitionFault(times=10 ** 9, silent=True)
        primary.faults.append(dead)
        wait_until(lambda: second.billed >= 40, "the other region to take over")
        primary.faults.clear()
        before = primary.billed
        wait_until(lambda: primary.billed >= before + 10, "fail-back")
    finally:
        stop.set()
        worker.join()
    consumer.wait_book(ids)
    for message in consumer.events():
        assert decode(message.body)["inputs"][0]["event_detail"] == CLOUD_DETAIL
    # No picture waited for more than one time-out of one region.
    times = house.metric('snapshotd_cloud_seconds_bucket{le="5"}')
    assert times == house.metric("snapshotd_cloud_seconds_count")


@pytest.mark.parametrize("on_failure", ["local", "undetected"])
def test_a_cloud_that_is_away_costs_the_detail_and_never_the_event(house, cloud, model, crowd,
                                                                   on_failure):
    for fake in cloud:
        fake.faults.append(RekognitionFault("AccessDeniedException", times=10 ** 9))
    consumer = house.consumer()
    house.start(detection=f"model = {model}\ndetector = cascade\n{ALWAYS_IN_DOUBT}",
                more=rekognition(cloud) + f"[cloud]\non_failure = {on_failure}\n")
    item, seen = next_event(house, consumer)
    assert ("event_detail" in item) == (on_failure == "local")
    assert seen["error"]
    assert billed(cloud) == counted(house) == 0


def test_a_stop_does_not_wait_for_the_cloud_and_the_picture_is_examined_later(house, cloud,
                                                                              pictures):
    for fake in cloud:
        fake.faults.append(RekognitionFault(times=10 ** 9, silent=True))
    consumer = house.consumer()
    settings = cloud_only(cloud, rek="timeout = 30s")
    settings["more"] = settings["more"].replace(f"timeout = {TIMEOUT_S}s\n", "")
    d = house.start(**settings)
    ids = house.trigger(2, wait=False)
    wait_until(lambda: d.get("/api/v1/status")["cloud"]["waiting"] == 2, "calls under way")
    start = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - start < 4
    assert not consumer.events()
    for fake in cloud:
        fake.faults.clear()
    house.start(**settings)
    consumer.wait_book(ids)
    for message in consumer.events():
        assert decode(message.body)["inputs"][0]["event_detail"] == CLOUD_DETAIL
    assert billed(cloud) == counted(house) == 2


def test_a_cloud_that_says_nothing_is_waited_for_and_is_no_fault_of_ours(house, cloud, pictures):
    for fake in cloud:
        fake.faults.append(RekognitionFault(times=10 ** 9, silent=True))
    settings = cloud_only(cloud, rek="timeout = 60s")
    settings["more"] = settings["more"].replace(f"timeout = {TIMEOUT_S}s\n", "")
    # Loops may be silent for 3 s, the least there is, and a call takes longer.
    settings["more"] += "[health]\npatience = 0.01\n"
    d = house.start(**settings)
    house.trigger(2, wait=False)

    def parts():
        return {p["name"]: p for p in d.get("/readyz")["parts"]}

    wait_until(lambda: parts()["queue:detect"]["state"] == "waiting", "the count of what waits")
    now = parts()
    assert now["queue:detect"]["reason"] == "2 wait for an answer of the cloud"
    assert now["stage:consult"]["state"] == now["stage:detect"]["state"] == "ok"
    assert d.request("/healthz")[0] == 200
    assert d.stop() == 0
