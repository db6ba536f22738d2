"""What the daemon tells CloudWatch of triggers that come to nothing: the books of our own
CloudWatch, which Amazon's code checks, hold exactly what happened; and what CloudWatch does is of
no concern to pictures."""

import collections
import collections.abc
import contextlib
import re
import socket
import subprocess
import threading
import time
import uuid

import pika
import pytest

from conftest import BINARY, ROOT, wait_until
from fakes.aws import FakeAws, Key
from fakes.cloudwatch import CloudWatchFault, FakeCloudWatch
from ports import refusing_port

collections.Hashable = collections.abc.Hashable  # u-msgpack 2.3 looks for it there

import umsgpack  # noqa: E402

FRAME = ROOT / "fuzz/corpus/picture/baseline.jpg"
ROLE = "arn:aws:iam::123456789012:role/metrics"
ALL = {"Errors", "PicturesStored", "PersonPictures", "DeliveriesFailed", "UploadsFailed",
       "TriggersWaiting", "PicturesWaiting", "EventsWaiting", "UploadsWaiting"}
BASE = """
[app]
app_name = watcher
device_name = front-door-2
[detection]
enabled = no
[events]
format = none
"""


def camera(name, address, extra=""):
    return (f"[camera:{name}]\nkind = foscam\naddress = {address}\nuser = admin\n"
            f"password = secret1234\n{extra}")


class House:
    def __init__(self, launch):
        self.launch = launch
        self.account = FakeAws()
        self.account.keys["AKID"] = Key("secret")
        self.account.roles[ROLE] = True
        self.dublin = FakeCloudWatch("eu-west-1", self.account)
        self.sim = launch.camera(FRAME, "--user", "admin", "--password", "secret1234")
        self.environment = {}

    def close(self):
        self.account.close()
        self.dublin.close()

    def env(self):
        """os.environ is added by who starts it: what must not be there is emptied."""
        return {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ROLE_ARN": "",
                "AWS_ENDPOINT_URL_STS": self.account.url, "http_proxy": "", "APP_NAME": "watcher",
                "DEVICE_NAME": "front-door-2", **self.environment}

    def daemon(self, config="", section="", **settings):
        values = {"enabled": "yes", "region": "eu-west-1", "endpoint": self.dublin.url,
                  "access_key": "AKID", "secret_key": "secret", "interval": "100ms"}
        values.update(settings)
        text = "".join(f"{k} = {v}\n" for k, v in values.items() if v is not None)
        cameras = camera("porch", self.sim.address) + camera(
            "dead", f"127.0.0.1:{refusing_port()}", "give_up = 200ms\ntries = 3\nretry_delay = 50ms\n")
        return self.launch.daemon(BASE + cameras + config + "[cloudwatch]\n" + text + section,
                                  env=self.env())

    def sum(self, name="Errors"):
        return self.dublin.sum(name)


@pytest.fixture(name="house")
def house_fixture(launch):
    house = House(launch)
    yield house
    house.close()


def status(d):
    return d.get("/api/v1/status")["cloudwatch"]


def unknown(d, times=1):
    for _ in range(times):
        assert d.trigger("nobody")[0] == 404


def posted(house, count):
    wait_until(lambda: house.sum() >= count, f"{count} errors at CloudWatch: {house.sum()}")
    assert house.sum() == count


def metric(d, name, label):
    _, _, text = d.request("/metrics")
    match = re.search(rf'^{name}{{{label}}} (\S+)$', text.decode(), re.M)
    return float(match.group(1)) if match else 0


# ---- what is counted

def test_each_trigger_that_comes_to_nothing_is_one_error(house):
    d = house.daemon(camera("off", house.sim.address, "enabled = no\n"))
    assert d.trigger("porch", wait=30)[0] == 200
    assert d.trigger("off")[0] != 202
    unknown(d)
    posted(house, 1)
    status_code, doc = d.trigger("dead", wait=30)
    assert status_code != 200, doc
    posted(house, 2)
    unknown(d, 3)
    assert d.stop() == 0
    assert house.sum() == 5, "the last ones go with the stop"
    assert all(x.namespace == "automation" and x.unit == "Count" and x.name == "Errors" and
               x.dimensions == {"Application": "watcher", "Device": "front-door"} and
               {value for value, _ in x.samples} == {1} and abs(x.at - time.time()) < 120
               for x in house.dublin.data), house.dublin.data
    assert sum(x.count for x in house.dublin.data) == 5, "samples as of single posts"
    assert {r.access_key for r in house.dublin.requests} == {"AKID"}


def test_triggers_of_the_broker_are_counted(house, broker):
    name = "t" + uuid.uuid4().hex[:12]
    d = house.daemon("[rabbitmq]\n"
                     f"server_address = {broker.address}\nmq_exchange = {name}\nevents = no\n"
                     "[output_location]\nO1 = Porch\n[output_type]\nO1 = Camera\n")
    d.wait_line(r"triggers come .*\[broker-connected\]")

    def body(device, params, **more):
        return umsgpack.packb({"timestamp": int(time.time()), "output_triggered": {
            "device_key": device, "device_label": "x", "device_type": "Camera",
            "device_params": params}, **more})
    good = f"admin:secret1234@{house.sim.address}"
    with contextlib.closing(broker.connection()) as connection:
        channel = connection.channel()
        channel.exchange_declare(name + "_control", "direct")
        channel.confirm_delivery()
        for one in (body("Porch Camera", good), body("Barn Camera", good),
                    body("Porch Camera", "no at sign"), b"\xc1rubbish",
                    body("Porch Camera", f"a:b@127.0.0.1:{refusing_port()}", note="x"),):
            channel.basic_publish(name + "_control", "event.trigger.snapshot", one,
                                  pika.BasicProperties())
    reasons = {"unknown_camera": 1, "malformed": 2}
    wait_until(lambda: all(metric(d, "snapshotd_errors_total", f'reason="{k}"') == v
                           for k, v in reasons.items()), "the refused ones")
    posted(house, 3)
    # The last one has no picture either, but is tried for a minute: a stop is no error.
    assert d.stop() == 0
    assert house.sum() == 3


def test_extra_metrics_are_told_when_asked_for(house):
    d = house.daemon(extra="yes")
    assert d.trigger("porch", wait=30)[0] == 200
    unknown(d)
    wait_until(lambda: house.sum() == 1 and house.sum("PicturesStored") == 1, "both")
    assert d.stop() == 0
    told = {x.name for x in house.dublin.data}
    assert told <= ALL and {"TriggersWaiting", "PicturesWaiting", "EventsWaiting"} <= told, told


def test_each_metric_has_a_counter_behind_it(house):
    """A name that is wrong would be 0 for ever."""
    rows = (ROOT / "src/app/cloudwatch_rows.c").read_text()
    _, _, page = house.daemon().request("/metrics")
    assert set(re.findall(r'\.metric = "(\w+)"', rows)) == ALL
    for row in re.findall(r'\.row = "(\w+)"', rows):
        assert f"# TYPE {row} " in page.decode()


# ---- whether, and as whom

def test_without_a_role_nothing_is_asked(house):
    house.environment = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    d = house.daemon(enabled=None, access_key=None, secret_key=None)
    unknown(d)
    assert status(d)["state"] == "off" and "AWS_ROLE_ARN" in status(d)["off"]
    assert d.stop() == 0
    assert not house.dublin.requests and not house.account.requests


def test_the_predecessors_role_switches_it_on(house):
    house.environment = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret",
                         "AWS_REGION": "eu-west-1", "AWS_ROLE_ARN": ROLE}
    d = house.daemon(enabled=None, access_key=None, secret_key=None, region=None)
    unknown(d)
    posted(house, 1)
    assert status(d)["credentials"] == f"role {ROLE}"
    assert [(r.form["RoleArn"], r.form["RoleSessionName"]) for r in house.account.requests] == \
        [(ROLE, "watcher-session")]
    assert house.account.keys[house.dublin.requests[0].access_key].role == ROLE


def test_the_predecessors_variable_may_name_the_session(house):
    profile = house.sim.log_path.parent / "aws-config"
    house.environment = {"AWS_ROLE_ARN": "porch-metrics", "AWS_CONFIG_FILE": str(profile),
                         "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_ACCESS_KEY_ID": ""}
    profile.write_text("[profile base]\naws_access_key_id = AKID\naws_secret_access_key = secret\n"
                       f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n")
    d = house.daemon(access_key=None, secret_key=None)
    unknown(d)
    posted(house, 1)
    assert [r.form["RoleSessionName"] for r in house.account.requests] == ["porch-metrics"]


def test_without_a_region_pictures_are_taken_all_the_same(house):
    house.environment = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
    d = house.daemon(region=None)
    d.wait_line(r"no region is known.*\[cloudwatch-off\]")
    assert "region" in status(d)["off"]
    assert d.trigger("porch", wait=30)[0] == 200


# ---- bad days

@pytest.mark.parametrize("fault", [
    dict(code="Throttling", times=3), dict(code="InternalServiceFault", times=3),
    dict(code="ServiceUnavailable", times=2), dict(code="ExpiredToken", times=1),
    dict(code="AccessDenied", times=2), dict(status=503, times=2),
    dict(status=403, body=b"<html>proxy</html>", times=2),
    dict(status=302, headers=[("Location", "http://127.0.0.1:1/")], times=1)],
    ids=lambda f: str(f.get("code", f.get("status"))))
def test_what_was_refused_comes_later_and_once(house, fault):
    house.dublin.faults.append(CloudWatchFault(**fault))
    d = house.daemon()
    unknown(d, 4)
    posted(house, 4)
    unknown(d)
    assert d.stop() == 0
    assert house.sum() == 5
    assert len([x for x in d.lines if "[cloudwatch-failed]" in x]) == 1
    assert [x for x in d.lines if "[cloudwatch-back]" in x]


@pytest.mark.parametrize("fault", [
    dict(cut=True, after=True), dict(cut=True), dict(status=502, after=True, body=b"<html>gateway"),
    dict(status=200, body=b"<html>log in</html>")],
    ids=["taken", "not-taken", "gateway", "login-page"])
def test_a_post_whose_answer_was_lost_is_not_sent_again(house, fault):
    house.dublin.faults.append(CloudWatchFault(**fault))
    d = house.daemon()
    unknown(d, 4)
    wait_until(lambda: status(d)["dropped"], "the doubt")
    lost = status(d)["dropped"]
    taken_silently = lost if fault.get("after") else 0
    unknown(d)
    wait_until(lambda: status(d)["taken"] == 5 - lost, "the rest")
    assert house.sum() == 5 - lost + taken_silently
    assert metric(d, "snapshotd_cloudwatch_dropped_total", 'reason="doubtful"') == lost


def test_a_session_that_ends_is_renewed(house):
    house.account.lifetime_s = 2  # renewed when half of it is over, and when it is refused
    d = house.daemon(role_arn=ROLE)
    for i in range(1, 4):
        unknown(d)
        posted(house, i)
        for key in house.account.keys.values():
            key.expires = key.expires and 1
    assert status(d)["dropped"] == 0
    assert {r.form["RoleSessionName"] for r in house.account.requests} == {"watcher-session"}


@pytest.mark.parametrize("hours", [-30, 5, 24 * 30])
def test_a_wrong_clock_here_is_no_wrong_time_there(house, hours):
    right = house.dublin.clock = lambda: time.time() + hours * 3600
    house.account.clock = right
    d = house.daemon()
    unknown(d, 2)
    posted(house, 2)
    assert all(abs(x.at - right()) < 60 for x in house.dublin.data), house.dublin.data
    assert not [x for x in d.lines if "[cloudwatch-failed]" in x]


def test_a_region_that_is_dead_costs_two_lines_and_nothing_else(house):
    house.dublin.close()
    d = house.daemon()
    unknown(d, 7)
    d.wait_line(r"\[cloudwatch-failed\]")
    wait_until(lambda: status(d)["waiting"] == 7, "all to wait")
    said = status(d)
    assert said["state"] == "trouble" and "connect" in said["last_error"].lower(), said
    assert d.trigger("porch", wait=30)[0] == 200
    assert d.request("/healthz")[0] == 200
    begin = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - begin < 10
    assert [x for x in d.lines if "7 counts" in x and "[cloudwatch-stopped]" in x]
    assert len([x for x in d.lines if "[cloudwatch-failed]" in x]) == 1


def latencies(d, count=12):
    spans = []
    for _ in range(count):
        begin = time.monotonic()
        assert d.trigger("porch", wait=30)[0] == 200
        spans.append(time.monotonic() - begin)
    return sorted(spans)


def test_a_cloudwatch_that_hangs_holds_up_no_picture(house):
    d = house.daemon(extra="yes")
    well = latencies(d)
    house.dublin.faults.append(CloudWatchFault(silent=True, times=1 << 30))
    unknown(d, 3)
    hung = len(house.dublin.requests)
    wait_until(lambda: len(house.dublin.requests) > hung, "a post that hangs")
    ill = latencies(d)
    middle = len(well) // 2
    assert ill[middle] < well[middle] * 2 + 0.05, (well, ill)
    begin = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - begin < 8, "two seconds for the last post"


def test_a_proxy_is_used(house):
    seen = []
    server = socket.create_server(("127.0.0.1", 0))

    def pump(a, b):
        with contextlib.suppress(OSError):  # one side went away
            while data := a.recv(65536):
                b.sendall(data)
        b.close()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                head = near.recv(65536)
                seen.append(head.split(b"\r\n")[0])
                far = socket.create_connection(("127.0.0.1", house.dublin.port))
                far.sendall(head.replace(house.dublin.url.encode(), b"", 1))
                threading.Thread(target=pump, args=(near, far), daemon=True).start()
                threading.Thread(target=pump, args=(far, near), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    house.environment = {"http_proxy": f"http://127.0.0.1:{server.getsockname()[1]}"}
    d = house.daemon()
    unknown(d)
    posted(house, 1)
    assert seen[0] == b"POST " + house.dublin.url.encode() + b"/ HTTP/1.1"
    assert d.stop() == 0
    server.close()


def test_status_is_for_people_too(house):
    d = house.daemon()
    unknown(d, 2)
    posted(house, 2)
    wait_until(lambda: status(d)["taken"] == 2, "the books")
    said = status(d)
    assert (said["state"], said["region"], said["waiting"], said["last_error"]) == \
        ("well", "eu-west-1", 0, "")
    done = subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{d.port}"],
                          capture_output=True, text=True, check=False)
    assert "CloudWatch in eu-west-1: 2 counts taken" in done.stdout, done.stdout + done.stderr
