"""Whatever Rekognition, its network and its money do while the daemon works: each picture has its
event, with or without detail as configured, and no answer that was had is paid for again. Events are
read from a real broker; our own Rekognition's bill is the truth."""

import io
import os
import signal
import ssl
import threading
import time

import pytest
from PIL import Image

import rabbit
from conftest import PATIENCE, wait_until
from fakes.aws import FakeAws, Key
from fakes.proxy import ConnectProxy
from fakes.rekognition import FORMS, FakeRekognition, RekognitionFault
from house import decode, house  # noqa: F401, one is a fixture

DETAIL = "1 person(s) and 3 things"  # what the fake sees on everything
PICTURES = 12
TIMEOUT_S = 1
ALWAYS_IN_DOUBT = "cascade_low = 0.01\ncascade_high = 1.01\n"
# The environment of who starts the tests is not the house's.
ENVIRONMENT = {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", "https_proxy": "",
               "http_proxy": "", "no_proxy": ""}
FOR_EVER = 10 ** 9


class Cloud:
    """Two regions of one account."""

    def __init__(self):
        self.account = FakeAws()
        self.account.keys["AKID"] = Key("secret")
        self.primary = FakeRekognition("eu-west-1", self.account)
        self.second = FakeRekognition("us-east-1", self.account)
        self.regions = [self.primary, self.second]

    def close(self):
        for fake in (*self.regions, self.account):
            fake.close()

    @property
    def billed(self):
        return sum(r.billed for r in self.regions)

    @property
    def requests(self):
        return sum(len(r.requests) for r in self.regions)

    def bills(self):
        """How often each content was paid for."""
        sent = [p.bytes for r in self.regions for p in r.pictures]
        return sorted(sent.count(b) for b in set(sent))


@pytest.fixture(name="cloud")
def cloud_fixture():
    cloud = Cloud()
    yield cloud
    cloud.close()


@pytest.fixture(name="pictures", autouse=True)
def pictures_fixture(house, tmp_path):  # noqa: F811
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(PICTURES):
        Image.new("RGB", (160, 120), (20 * n, 255 - 20 * n, n)).save(folder / f"{n:02}.png")
    house.picture = folder
    return folder


def start(house, cloud, detector="cloud", detection="", rek="", login=True, env=None,  # noqa: F811
          endpoints=True, **more):
    places = (f"primary_endpoint = {cloud.primary.url}\nendpoint = {cloud.second.url}\n"
              if endpoints else "")
    keys = "access_key = AKID\nsecret_key = secret\n" if login else ""
    settings = "".join(f"{k} = {v}\n" for k, v in {"answers_age": "1d", **more}.items())
    return house.start(cameras=2, env={**ENVIRONMENT, **(env or {})},
                       detection=f"detector = {detector}\n{detection}",
                       more="[rekognition]\nprimary_region = eu-west-1\nregion = us-east-1\n"
                       f"{places}{keys}timeout = {TIMEOUT_S}s\ncalls_per_second = 0\n{rek}\n"
                       f"[cloud]\n{settings}")


def run(house, count=PICTURES, patience=PATIENCE):  # noqa: F811
    """Triggers so many; the details of their events, None for none."""
    consumer = house.consumers[0] if house.consumers else house.consumer()
    before = consumer.ids()
    ids = house.trigger(count, wait=False)
    consumer.wait_book([*before, *ids], patience)
    return [decode(m.body)["inputs"][0].get("event_detail") for m in consumer.events()
            if m.id in ids]


def all_seen(house, cloud, count=PICTURES):  # noqa: F811
    assert run(house, count) == [DETAIL] * count
    assert house.daemon.get("/api/v1/status")["cloud"]["day"]["calls"] == PICTURES
    assert cloud.bills() == [1] * PICTURES


# ---- the service

@pytest.mark.parametrize("form", FORMS)
def test_a_storm_of_throttling_costs_neither_picture_nor_money(house, cloud, form):  # noqa: F811
    for fake in cloud.regions:
        fake.faults += [RekognitionFault("ThrottlingException", times=10, form=form),
                        RekognitionFault("ProvisionedThroughputExceededException", times=10, form=form)]
    start(house, cloud)
    all_seen(house, cloud)
    assert cloud.requests == 40 + PICTURES
    assert house.metric('snapshotd_rekognition_breaker{region="eu-west-1"}') == 0


@pytest.mark.parametrize("code", ["InternalServerError", "ServiceUnavailableException"])
def test_a_primary_that_flaps_costs_neither_picture_nor_money(house, cloud, code):  # noqa: F811
    turns = iter(range(FOR_EVER))
    flapping = RekognitionFault(code, times=FOR_EVER)
    flapping.match = lambda r: next(turns) % 2 == 0
    cloud.primary.faults.append(flapping)
    start(house, cloud)
    all_seen(house, cloud)


def test_a_primary_that_is_up_and_down_costs_neither_picture_nor_money(house, cloud):  # noqa: F811
    down = RekognitionFault(times=FOR_EVER, cut=True)
    start(house, cloud)
    stop = threading.Event()

    def flap():
        while not stop.wait(0.05):
            if cloud.primary.faults:
                cloud.primary.faults.clear()
            else:
                cloud.primary.faults.append(down)
    worker = threading.Thread(target=flap)
    worker.start()
    try:
        all_seen(house, cloud)
    finally:
        stop.set()
        worker.join()


def test_a_primary_that_is_slower_than_the_time_out_costs_no_picture(house, cloud):  # noqa: F811
    cloud.primary.delay_s = 3 * TIMEOUT_S
    start(house, cloud, rek="in_flight = 4")
    begin = time.monotonic()
    assert run(house) == [DETAIL] * PICTURES
    assert time.monotonic() - begin < 3 * TIMEOUT_S + 2
    assert cloud.second.billed == PICTURES
    # One time-out for each that was under way, and a try after the rest.
    assert len(cloud.primary.requests) <= 4 + 1


def test_a_slow_service_is_waited_for(house, cloud):  # noqa: F811
    for fake in cloud.regions:
        fake.delay_s = 0.7 * TIMEOUT_S
    start(house, cloud)
    all_seen(house, cloud)
    assert cloud.second.billed == 0


def test_an_answer_that_breaks_off_is_asked_for_again_and_one_that_came_is_not(house,  # noqa: F811
                                                                             cloud):
    cloud.primary.faults.append(RekognitionFault(times=1, cut_body=True))
    start(house, cloud)
    assert run(house) == [DETAIL] * PICTURES
    assert cloud.bills() == [1] * (PICTURES - 1) + [2]
    assert run(house) == [DETAIL] * PICTURES  # the same pictures: out of the ledger
    assert cloud.billed == PICTURES + 1


def test_an_answer_of_no_use_is_paid_once_and_the_event_goes_without(house, cloud):  # noqa: F811
    cloud.primary.faults.append(RekognitionFault(times=1, after=True, status=200, body=b"[]",
                                                 headers=[("x-amzn-RequestId", "1")]))
    start(house, cloud)
    assert sorted(run(house), key=str) == [DETAIL] * (PICTURES - 1) + [None]
    assert cloud.bills() == [1] * PICTURES


@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_page_of_html_is_no_answer(house, cloud, status):  # noqa: F811
    page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
    cloud.primary.faults.append(RekognitionFault(times=FOR_EVER, status=status, body=page))
    start(house, cloud)
    all_seen(house, cloud)
    assert cloud.primary.billed == 0


# ---- credentials and time

def test_tokens_that_expire_in_the_middle_cost_neither_picture_nor_money(house, cloud):  # noqa: F811
    start(house, cloud, login=False,
          env={"AWS_EC2_METADATA_DISABLED": "false",
               "AWS_EC2_METADATA_SERVICE_ENDPOINT": cloud.account.url})
    assert run(house, 4) == [DETAIL] * 4
    for key in list(cloud.account.keys.values()):
        if key.token:
            key.expires = 1
    all_seen(house, cloud, PICTURES - 4)
    assert cloud.account.issued == 2


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_wrong_here_is_found_out_once(house, cloud, hours):  # noqa: F811
    for fake in (*cloud.regions, cloud.account):
        fake.clock = lambda: time.time() + 3600 * hours
    start(house, cloud, rek="in_flight = 2")
    all_seen(house, cloud)
    assert cloud.requests <= PICTURES + 2


# ---- pictures

def noise(width, height, quality=95):
    out = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(3 * width * height)).save(
        out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def only(folder, data):
    for old in folder.iterdir():
        old.unlink()
    (folder / "only.jpg").write_bytes(data)


def test_a_picture_of_9_mb_is_sent_smaller_and_published_as_it_is(house, cloud,  # noqa: F811
                                                                 pictures):
    large = noise(2400, 1800)
    assert len(large) > 9e6
    only(pictures, large)
    start(house, cloud)
    assert run(house, 1) == [DETAIL]
    [sent] = cloud.primary.pictures
    assert len(sent.bytes) <= 5242880 and cloud.billed == 1
    kept = [(house.daemon.data / "store" / f).read_bytes() for f in house.daemon.store_files()]
    assert large in kept


@pytest.mark.parametrize("detector", ["cloud", "cascade"])
def test_a_picture_of_60_pixels_is_published_and_never_sent(house, cloud, pictures,  # noqa: F811
                                                           people, model, detector):
    with Image.open(people) as image:
        out = io.BytesIO()
        image.resize((80, 60)).save(out, "JPEG")
    only(pictures, out.getvalue())
    start(house, cloud, detector, f"model = {model}\n{ALWAYS_IN_DOUBT}")
    [detail] = run(house, 1)
    assert detail != DETAIL and not cloud.requests
    if detector == "cloud":
        assert detail is None
    assert cloud.billed == house.daemon.get("/api/v1/status")["cloud"]["day"]["calls"] == 0


# ---- choice and money

def test_the_nearest_region_is_asked(house, cloud):  # noqa: F811
    cloud.primary.delay_s = 0.3
    start(house, cloud, rek="region_choice = nearest\nin_flight = 1")
    all_seen(house, cloud)
    assert cloud.second.billed >= PICTURES - 2


@pytest.mark.parametrize("at_limit", ["local", "undetected"])
def test_at_the_limit_events_go_out_as_configured(house, cloud, pictures, people,  # noqa: F811
                                                 model, at_limit):
    for old in pictures.iterdir():
        old.unlink()
    with Image.open(people) as image:
        for n in range(4):
            image.save(pictures / f"{n}.jpg", quality=95 - n)
    start(house, cloud, "cascade", f"model = {model}\n{ALWAYS_IN_DOUBT}", calls_per_day=2,
          at_limit=at_limit, price_per_1000=10)
    details = run(house, 4)
    assert sum(d is None for d in details) == (2 if at_limit == "undetected" else 0)
    assert cloud.billed == 2
    # Gauges are as old as the main loop's last look.
    wait_until(lambda: house.metric("snapshotd_cloud_month_cost_dollars") == 0.02, "the cost")
    assert house.metric('snapshotd_cloud_budget_left{period="day"}') == 0


def test_a_label_of_the_list_is_reason_enough_to_ask(house, cloud, pictures, people,  # noqa: F811
                                                    model):
    for old in pictures.iterdir():
        old.unlink()
    with Image.open(people) as image:
        image.save(pictures / "0.jpg")
    certain = f"model = {model}\ncascade_high = 0\n"
    d = start(house, cloud, "cascade", certain + "cascade_labels = zebra\n")
    run(house, 1)
    assert cloud.billed == 0
    d.config.write_text(d.config.read_text().replace("zebra", "Person"))
    seen = len(d.lines)
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]", seen)
    [detail] = run(house, 1)
    assert detail.startswith("1 person(s)") and cloud.billed == 1


# ---- a proxy in between

def test_a_proxy_may_die_and_come_back(house, cloud, tmp_path):  # noqa: F811
    authority = rabbit.Authority(tmp_path / "tls")
    names = "DNS:*.eu-west-1.amazonaws.com,DNS:*.us-east-1.amazonaws.com"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("amazon", names))
    for fake in cloud.regions:
        fake.server.socket = context.wrap_socket(fake.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
    ways = {f"rekognition.{f.region}.amazonaws.com:443": f.port for f in cloud.regions}
    with ConnectProxy(ways) as proxy:
        start(house, cloud, rek="patience = 300ms", endpoints=False, patience="0s",
              env={"https_proxy": proxy.url, "AWS_CA_BUNDLE": str(authority.ca)})
        assert run(house, 4) == [DETAIL] * 4
        proxy.hang_up(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        assert run(house, 4) == [None] * 4
        assert cloud.billed == 4
        proxy.fault = None

        def back():
            return run(house, 1) == [DETAIL]
        wait_until(back, "Rekognition behind the proxy")
    assert house.daemon.request("/healthz")[0] == 200


# ---- and when nothing helps

@pytest.mark.parametrize("fault", [
    RekognitionFault("ThrottlingException", times=FOR_EVER),
    RekognitionFault("InternalServerError", times=FOR_EVER),
    RekognitionFault("AccessDeniedException", times=FOR_EVER),
    RekognitionFault("ExpiredTokenException", times=FOR_EVER),
    RekognitionFault("InvalidSignatureException", times=FOR_EVER),
    RekognitionFault("IncompleteSignatureException", times=FOR_EVER),
    RekognitionFault("UnrecognizedClientException", times=FOR_EVER),
    RekognitionFault("InvalidParameterException", times=FOR_EVER),
    RekognitionFault("ImageTooLargeException", times=FOR_EVER),
    RekognitionFault(times=FOR_EVER, cut=True),
    RekognitionFault(times=FOR_EVER, status=200, body=b"<html></html>"),
], ids=lambda f: f.code or ("cut" if f.cut else "html"))
def test_each_error_that_stays_costs_the_detail_and_nothing_else(house, cloud, fault):  # noqa: F811
    for fake in cloud.regions:
        fake.faults.append(fault)
    d = start(house, cloud, rek="patience = 200ms", patience="0s")
    assert run(house, 3) == [None] * 3
    assert cloud.billed == d.get("/api/v1/status")["cloud"]["day"]["calls"] == 0
    assert d.request("/healthz")[0] == 200
    for fake in cloud.regions:
        fake.faults.clear()
    wait_until(lambda: run(house, 1) == [DETAIL], "an answer after the trouble")
    assert d.stop() == 0
