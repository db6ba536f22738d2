"""Triggers from a real RabbitMQ into the daemon: pika and u-msgpack play the counterpart that sends
them, the simulated camera is the one whose address and login they carry."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time
import uuid

import pytest

from conftest import BINARY, ROOT, books_agree, wait_until
from house import DEVICE, Consumer, Counterpart, TriggerLoad, decode, umsgpack  # its u-msgpack decodes

FRAME = ROOT / "fuzz/corpus/picture/baseline.jpg"
PASSWORD = "p@ss:w/rd,1"
ROUNDS = int(os.environ.get("SNAPSHOT_BROKER_ROUNDS", 3))
RATE = 60 if ROUNDS == 3 else 200  # triggers a second

BROKER = """
[app]
device_name = test
[detection]
enabled = no
[events]
format = none
[rabbitmq]
server_address = {address}
mq_exchange = {exchange}
events = {events}
"""
OUTPUTS = """
[output_location]
O1 = Front Door
O2 = Garden
[output_type]
O1 = Camera
O2 = Camera
"""


@pytest.fixture
def name():
    """A name that no other test uses."""
    return "t" + uuid.uuid4().hex[:12]


@pytest.fixture
def counterpart(broker, name):
    c = Counterpart(broker, name)
    yield c
    if c.connection:
        c.close()


@pytest.fixture
def camera(launch):
    return launch.camera(FRAME, "--user", "admin", "--password", PASSWORD)


def params(camera, password=PASSWORD):
    return f"admin:{password}@{camera.address},554"


def config(broker, name, extra="", outputs=OUTPUTS, address=None, events="no"):
    return (BROKER.format(address=address or broker.address, exchange=name, events=events)
            + extra + outputs)


def durable(name):
    return f"queue_mode = durable\nqueue = {name}.triggers\n"


def connected(d, since=0):
    d.wait_line(r"triggers come .*\[broker-connected\]", since)


def metric(d, name, **labels):
    wanted = ",".join(f'{k}="{v}"' for k, v in labels.items())
    _, _, text = d.request("/metrics")
    match = re.search(rf"^{name}{{{wanted}}} (\S+)$" if wanted else rf"^{name} (\S+)$",
                      text.decode(), re.M)
    return float(match.group(1)) if match else 0


def results(d, result):
    return metric(d, "snapshotd_amqp_triggers_total", result=result)


def failures(d):
    return metric(d, "snapshotd_amqp_consumer_failures_total")


def ledger(d, sql, *args):
    db = sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)
    with contextlib.closing(db):
        return db.execute(sql, args).fetchall()


def seconds(d):
    """The event times of all pictures."""
    return sorted(at // 1000000 for at, in ledger(d, "SELECT event_at FROM snapshots"))


def nothing_pending(d):
    return ledger(d, "SELECT count(*) FROM triggers WHERE state = 0") == [(0,)]


def finish(d):
    """Everything has its end, the books agree, and no login is left."""
    wait_until(lambda: nothing_pending(d), "the backlog to drain")
    accepted = [i for i, in ledger(d, "SELECT id FROM triggers")]
    assert d.stop() == 0
    books_agree(d, [i for i in accepted if i])
    for path in [*d.data.rglob("*"), d.log_path]:
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


# ---- what is accepted ----

def extension(data):
    """MessagePack's own timestamp."""
    ext = umsgpack.Ext(0, data)
    ext.type = -1  # its constructor refuses the reserved ones
    return ext


def test_every_form_of_a_trigger_leads_to_a_picture(broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name), env={"TZ": "UTC"})
    connected(d)
    base = 1767323045
    forms = [base, base + 1.25, str(base + 2), "2026-01-02T03:04:08Z", "2026-01-02 03:04:09",
             "2026-01-02T04:04:10+01:00", "20260102030411",
             extension(struct.pack(">I", base + 7)),
             extension(struct.pack(">Q", 500000000 << 34 | base + 8)),
             extension(struct.pack(">Iq", 0, base + 9))]
    for form in forms:
        counterpart.publish(params(camera), timestamp=form, properties={"expiration": "30000"})
    # IPv6 (the same host), a name, a traced one, one with a picture in it, keys that nobody knows.
    counterpart.publish(f"admin:{PASSWORD}@[::ffff:127.0.0.1]:{camera.port}", timestamp=base + 10)
    counterpart.publish(f"admin:{PASSWORD}@localhost:{camera.port}", timestamp=base + 11,
                        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    counterpart.publish(params(camera), timestamp=base + 12, unknown={1: [None, {}]},
                        active_input={"device_key": "Driveway Motion", "image": b"\xff" * 200000})
    wait_until(lambda: seconds(d) == list(range(base, base + 13)), "a picture of each")
    one = d.snapshots()[0]
    assert one["device_key"] == DEVICE and one["device_label"] == "The door"
    assert one["path"].rsplit("/", 1)[1] == f"fetch_front-door-camera_{base + 12}.jpg"
    story = d.get(f"/api/v1/snapshots/{one['id']}")["story"]
    assert [s["what"] for s in story][:1] == ["triggered"]
    trigger = d.get(f"/api/v1/triggers/{one['id']}")
    assert trigger["origin"] == "amqp" and trigger["state"] == "done"
    assert PASSWORD not in json.dumps([one, story, trigger, d.get("/api/v1/status")])
    assert results(d, "taken") == 13 and failures(d) == 0
    finish(d)


def test_a_trigger_comes_back_as_an_event(broker, counterpart, camera, launch, name):
    consumer = Consumer(broker, name)
    d = launch.daemon(config(broker, name, events="yes"))
    connected(d)
    counterpart.publish(params(camera), timestamp=1767323045)
    (event,) = consumer.wait_events(1)
    (told,) = decode(event.body)["inputs"]
    assert event.key == "event.notify.snapshot.test.image"
    assert told["device_key"] == DEVICE and told["device_label"] == "The door"
    assert told["image"] == FRAME.read_bytes() and told["image_timestamp"] == "1767323045"
    assert told["storage_path"].endswith("/fetch_front-door-camera_1767323045.jpg")
    consumer.close()
    finish(d)


def test_the_login_of_the_message_is_used_and_a_wrong_one_is_not_sent_twice(
        broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name))
    connected(d)
    counterpart.publish(params(camera, "wrong-one"))
    counterpart.publish(params(camera, "wrong-one"))
    failed = "SELECT error FROM triggers WHERE state = 2"
    wait_until(lambda: len(ledger(d, failed)) == 2, "both to fail")
    first, second = (e for e, in ledger(d, failed + " ORDER BY row"))
    assert "not sent again" in second and "not sent again" not in first
    counterpart.publish(params(camera))  # other credentials deserve a try
    wait_until(lambda: len(seconds(d)) == 1, "a picture")
    assert "wrong-one" not in d.text()
    finish(d)


def test_a_section_with_an_address_wins_over_the_message(broker, counterpart, camera, launch, name):
    section = (f"[camera:door]\nkind = foscam\naddress = {camera.address}\nuser = admin\n"
               f"password = {PASSWORD}\nlocation = Front Door\n")
    d = launch.daemon(config(broker, name, section))
    connected(d)
    counterpart.publish("nobody:nothing@203.0.113.9:1")
    wait_until(lambda: len(seconds(d)) == 1, "a picture")
    assert d.snapshots()[0]["camera"] == "door"
    finish(d)


def test_the_same_message_again_makes_no_second_picture(broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name))
    connected(d)
    body = counterpart.body(params(camera))
    for message_id in ("", "a", "b"):
        counterpart.publish_raw(body, message_id=message_id or None)
    wait_until(lambda: results(d, "repeated") == 2, "the repeats")
    # Times that are none: the message id tells them apart.
    for message_id in ("a", "b", "a"):
        counterpart.publish(params(camera), timestamp="some day",
                            properties={"message_id": message_id})
    wait_until(lambda: results(d, "repeated") == 3, "another repeat")
    d.wait_line(r'"some day" is no time that we know.*\[trigger-time ')
    wait_until(lambda: len(seconds(d)) == 3, "the pictures")
    finish(d)


# ---- what is refused ----

def malformed(camera):
    good = {"timestamp": 1, "output_triggered": {
        "device_key": DEVICE, "device_label": "x", "device_params": params(camera)}}
    packed = umsgpack.packb(good)
    without = [{k: v for k, v in good.items() if k != gone} for gone in good]
    output = good["output_triggered"]
    lacking = [{**good, "output_triggered": {k: v for k, v in output.items() if k != gone}}
               for gone in ("device_key", "device_params")]
    wrong = [{**good, "output_triggered": {**output, "device_params": p}}
             for p in ("", "admin@host:1", "a:b@host", "a:b@host:99999", "a:b@ho st:80", 7)]
    return [b"", b"\x01", b"\xdd\xff\x00\x00\x00", b"\x91" * 72000, packed[:-1], packed + b"\xc0",
            umsgpack.packb([good]), umsgpack.packb({**good, "timestamp": None}),
            umsgpack.packb({**good, "output_triggered": "door"}), b"\xc1",
            *[umsgpack.packb(b) for b in without + lacking + wrong]]


def test_what_is_no_trigger_is_refused_and_dead_lettered(broker, counterpart, camera, launch, name):
    counterpart.open()
    counterpart.channel.exchange_declare(name + "_dead", "fanout")
    dead = counterpart.channel.queue_declare(name + "_dead", exclusive=True).method.queue
    counterpart.channel.queue_bind(dead, name + "_dead")
    extra = (durable(name)
             + f"dead_letter_exchange = {name}_dead\nmessage_size_max = 1MB\n")
    d = launch.daemon(config(broker, name, extra))
    connected(d)
    bad = malformed(camera)
    for body in bad:
        counterpart.publish_raw(body)
    counterpart.publish(params(camera), "Cellar Camera")
    counterpart.publish("a:b@203.0.113.9:80")
    counterpart.publish(params(camera), active_input={"image": b"x" * (1 << 20)})
    counterpart.publish(params(camera), timestamp=time.time())  # and a good one behind them
    wait_until(lambda: len(seconds(d)) == 1, "the picture of the good one")
    assert results(d, "malformed") == len(bad)
    assert results(d, "unknown_device") == results(d, "forbidden_host") == 1
    assert results(d, "too_large") == 1 and failures(d) == 0
    d.wait_line(r"not a trigger: the body is an integer, not a map; body: 01 \(1 of 1 bytes\) "
                r"\[trigger-refused\]")

    def dead_count():
        return counterpart.channel.queue_declare(dead, passive=True).method.message_count
    wait_until(lambda: dead_count() == len(bad) + 3, "the dead letters")
    method, properties, body = counterpart.channel.basic_get(dead, auto_ack=True)
    assert body == bad[0] and properties.headers["x-death"][0]["reason"] == "rejected"

    # A flood, of which the log gets a sum.
    rng = random.Random(20261125)
    lines = len(d.lines)
    fast = counterpart.connection.channel()  # without confirms
    for _ in range(2000):
        fast.basic_publish(name + "_control", counterpart.key, rng.randbytes(rng.randrange(1, 60)))
    wait_until(lambda: results(d, "malformed") == len(bad) + 2000, "the flood to be refused")
    assert failures(d) == 0
    refused = [line for line in d.lines[lines:] if "[trigger-refused]" in line]
    assert len(refused) < 200
    wait_until(lambda: any("more triggers from the broker were refused" in line
                           for line in d.lines[lines:]), "the sum")
    counterpart.publish(params(camera), timestamp=time.time())
    wait_until(lambda: len(seconds(d)) == 2, "one more picture")
    broker.delete_queue(name + ".triggers")
    finish(d)


def test_hosts_that_are_not_allowed_are_not_asked(broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name, "allow_hosts = 192.0.2.0/24, allowed.invalid\n"))
    connected(d)
    counterpart.publish(params(camera))  # 127.0.0.1
    d.wait_line(rf"names the address 127\.0\.0\.1:{camera.port}, which must not be asked: add it "
                r"to allow_hosts .*\[trigger-refused\]")
    counterpart.publish(f"admin:{PASSWORD}@localhost:{camera.port}")  # resolves to it
    failed = "SELECT error FROM triggers WHERE state = 2"
    wait_until(lambda: len(ledger(d, failed)) == 1, "the trigger to fail")
    assert re.search(r"address (127\.0\.0\.1|::1) must not be asked: see allow_hosts",
                     ledger(d, failed)[0][0])
    assert results(d, "forbidden_host") == 1 and seconds(d) == []
    finish(d)


def test_a_reload_changes_which_hosts_are_allowed(broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name, "allow_hosts = 192.0.2.0/24\n"))
    connected(d)
    counterpart.publish(params(camera))
    d.wait_line(r"add it to allow_hosts .*\[trigger-refused\]")
    d.config.write_text(d.config.read_text().replace("192.0.2.0/24", "private"))
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]")
    counterpart.publish(params(camera))
    wait_until(lambda: seconds(d) == [counterpart.second], "the picture of the second trigger")
    assert results(d, "forbidden_host") == 1
    finish(d)


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(
        broker, counterpart, camera, launch, name):
    other = launch.camera(FRAME, "--user", "admin", "--password", PASSWORD)
    d = launch.daemon(config(broker, name, "allow_hosts = 127.0.0.1\n"))
    connected(d)
    camera.fault(f"redirect:http://127.0.0.2:{other.port}/snapshot.jpg")
    counterpart.publish(params(camera))
    failed = "SELECT error FROM triggers WHERE state = 2"
    wait_until(lambda: len(ledger(d, failed)) == 1, "the trigger to fail")
    assert "address 127.0.0.2 must not be asked" in ledger(d, failed)[0][0]
    finish(d)


def test_a_late_trigger_of_a_durable_queue_has_an_outcome_and_no_picture(
        broker, counterpart, camera, launch, name):
    extra = durable(name)
    d = launch.daemon(config(broker, name, extra))
    connected(d)
    now = int(time.time())
    counterpart.publish(params(camera), timestamp=now - 300)
    counterpart.publish(params(camera), timestamp=now - 301, properties={"expiration": "600000"})
    counterpart.publish(params(camera), timestamp=now)
    wait_until(lambda: seconds(d) == [now - 301, now], "two pictures")
    wait_until(lambda: results(d, "late") == 1, "the late one")
    (trigger, why), = ledger(d, "SELECT id, error FROM triggers WHERE state = 2")
    assert "came too late: its event was 30" in why
    assert d.get(f"/api/v1/triggers/{trigger}")["state"] == "failed"
    broker.delete_queue(name + ".triggers")
    finish(d)


def test_large_triggers_are_taken_and_their_bytes_let_go(broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name))
    connected(d)
    image = random.Random(1).randbytes(4 << 20)
    for _ in range(30):
        counterpart.publish(params(camera), active_input={"device_key": "x", "image": image})
    wait_until(lambda: len(seconds(d)) == 30, "the pictures")
    if "san" not in str(BINARY):
        status = (ROOT / f"/proc/{d.child.pid}/status").read_text()
        assert int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) < 60000
    finish(d)


# ---- ack after commit ----

def has_points():
    return b"SNAPSHOTD_CRASH_AT" in BINARY.read_bytes()


@pytest.mark.parametrize("point", ["before-trigger-commit", "before-group-commit",
                                   "after-group-commit", "before-trigger-ack:2"])
def test_killed_between_delivery_commit_and_ack(broker, counterpart, camera, launch, name, point):
    if not has_points():
        pytest.skip("this build has no crash points")
    extra = durable(name)
    first = launch.daemon(config(broker, name, extra), env={"SNAPSHOTD_CRASH_AT": point})
    connected(first)
    now = int(time.time())
    times = list(range(now - 5, now))
    for at in times:
        counterpart.publish(params(camera), timestamp=at)
    assert first.wait() == -signal.SIGKILL
    d = launch.daemon(config(broker, name, extra))
    connected(d)
    wait_until(lambda: seconds(d) == times, "a picture of each")
    wait_until(lambda: broker.queues().get(name + ".triggers") == 0, "an empty queue")
    known = "after" in point or "ack" in point
    assert (results(d, "repeated") > 0) == known
    broker.delete_queue(name + ".triggers")
    finish(d)


def test_while_the_ledger_takes_nothing_triggers_wait(broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name, "prefetch = 20\n"))
    connected(d)
    db = sqlite3.connect(d.data / "snapshotd.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    for _ in range(50):  # more than prefetch
        counterpart.publish(params(camera))
    d.wait_line(r"record triggers from the broker: .* \[ledger-failed\]")
    assert 0 < d.get("/api/v1/status")["broker"]["triggers"]["waiting"] <= 20
    db.execute("ROLLBACK")
    db.close()
    wait_until(lambda: len(seconds(d)) == 50, "all pictures")
    assert failures(d) == 0
    finish(d)


# ---- the connection ----

def status_line(d):
    """What a person reads about the broker."""
    r = subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{d.port}"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    return next(line for line in r.stdout.splitlines()
                if line.startswith("  rabbitmq") and "triggers" in line)


def a_picture_comes(d, counterpart, camera):
    before = len(seconds(d))
    counterpart.publish(params(camera))
    wait_until(lambda: len(seconds(d)) == before + 1, "a picture")


def test_a_broker_that_is_absent_at_the_start_and_dies_later_is_found_again(
        broker, counterpart, camera, launch, name):
    broker.stop()
    try:
        d = launch.daemon(config(broker, name))
        d.wait_line(r"no triggers from the broker: .*connection refused.* \[broker-failed\]")
        wait_until(lambda: "no triggers: broker '" + broker.address in status_line(d)
                   and "trying again" in status_line(d), "the status to say so")
    finally:
        broker.start()
    connected(d)
    assert re.search(rf"triggers come from {broker.address}, queue amq\.gen-", status_line(d))
    a_picture_comes(d, counterpart, camera)

    start = len(d.lines)
    broker.kill()
    try:
        d.wait_line(r"\[broker-failed\]", start)
    finally:
        broker.start()
    connected(d, start)
    counterpart.open()
    a_picture_comes(d, counterpart, camera)
    broker_lines = [line for line in d.lines if "[broker-failed]" in line]
    assert len(broker_lines) < 8, "a broker that is away is told once"
    finish(d)


def test_a_broker_that_falls_silent_is_given_up_and_found_again(
        broker, counterpart, camera, launch, name):
    d = launch.daemon(config(broker, name, "heartbeat = 5s\nconnect_timeout = 1s\n"))
    connected(d)
    start = len(d.lines)
    broker.pause()
    try:
        d.wait_line(r"\[broker-failed\]", start)
    finally:
        broker.resume()
    connected(d, start)
    counterpart.open()
    a_picture_comes(d, counterpart, camera)
    finish(d)


def test_a_deleted_queue_is_made_again(broker, counterpart, camera, launch, name):
    extra = durable(name)
    d = launch.daemon(config(broker, name, extra))
    connected(d)
    start = len(d.lines)
    broker.delete_queue(name + ".triggers")
    d.wait_line(rf"the queue '{name}\.triggers' was deleted.* \[broker-failed\]", start)
    connected(d, start)
    counterpart.publish(params(camera), timestamp=int(time.time()))
    wait_until(lambda: len(seconds(d)) == 1, "a picture")
    broker.delete_queue(name + ".triggers")
    finish(d)


def test_a_queue_with_other_properties_is_told(broker, counterpart, launch, name):
    counterpart.open()
    counterpart.channel.queue_declare(name + ".triggers", durable=True)
    d = launch.daemon(config(broker, name, durable(name)))
    d.wait_line(rf"queue '{name}\.triggers' exists with other flags.* \[broker-failed\]")
    assert "exists with other flags" in status_line(d)
    broker.delete_queue(name + ".triggers")
    finish(d)


def test_a_refused_login_is_told_and_tried_again_seldom(broker, counterpart, camera, launch, name):
    broker.add_user(name, "right")
    d = launch.daemon(config(broker, name, f"user = {name}\npassword = wrong\n"))
    d.wait_line(r"wrong user or password.* \[broker-failed\]")
    assert "wrong user or password" in status_line(d)
    broker.ctl("change_password", name, "wrong")
    connected(d)
    a_picture_comes(d, counterpart, camera)
    assert sum("[broker-failed]" in line for line in d.lines) == 1
    finish(d)


def test_a_stop_does_not_wait_for_a_silent_broker(camera, launch, broker, name):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        d = launch.daemon(config(broker, name, "connect_timeout = 60s\n", address=address))
        client, _ = silent.accept()  # it waits for a greeting now
        begin = time.monotonic()
        assert d.stop() == 0
        assert time.monotonic() - begin < 10
        client.close()


class Proxy:
    """Between the daemon and the broker: cuts the connection after so many bytes to the daemon."""

    def __init__(self, target):
        self.target = target
        self.cut_after = None  # bytes
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                for pair in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink, may_cut):
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if may_cut and self.cut_after is not None:
                    data, self.cut_after = data[:self.cut_after], self.cut_after - len(data)
                    if self.cut_after <= 0:
                        sink.sendall(data)
                        self.cut_after = None
                        self.cuts += 1
                        break
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


def test_a_connection_cut_in_the_middle_of_a_frame_costs_nothing(
        broker, counterpart, camera, launch, name):
    proxy = Proxy(("127.0.0.1", broker.port))
    extra = durable(name)
    d = launch.daemon(config(broker, name, extra, address=proxy.address))
    connected(d)
    now = int(time.time())
    image = random.Random(2).randbytes(300000)
    for i, after in enumerate([3, 20, 150, 5000, 200000]):
        start = len(d.lines)
        proxy.cut_after = after
        counterpart.publish(params(camera), timestamp=now - i, active_input={"image": image})
        d.wait_line(r"\[broker-failed\]", start)
        connected(d, start)
    wait_until(lambda: seconds(d) == list(range(now - 4, now + 1)), "a picture of each")
    assert proxy.cuts == 5
    broker.delete_queue(name + ".triggers")
    proxy.close()
    finish(d)


# ---- durable ----

def cameras(sims):
    return "".join(
        f"[camera:c{i}]\nkind = foscam\naddress = {sims[i].address}\nuser = admin\n"
        f"password = secret1234\nlocation = c{i}\ngive_up = 1h\n" for i in range(len(sims)))


def test_restarts_of_the_broker_under_load_lose_nothing(broker, counterpart, launch, name):
    sims = [launch.camera(FRAME, "--user", "admin", "--password", "secret1234") for _ in range(4)]
    extra = durable(name)
    d = launch.daemon(config(broker, name, extra, outputs=cameras(sims)))
    connected(d)
    wait_until(lambda: broker.on_disk(name + ".triggers"), "the queue to be on the broker's disk")
    load = TriggerLoad(counterpart, RATE, len(sims))
    load.start()
    for number in range(ROUNDS):
        start, had = len(d.lines), len(load.confirmed)
        wait_until(lambda: len(load.confirmed) > had + RATE, "some load")
        if number % 2:
            broker.stop()
        else:
            broker.kill()
        broker.start()
        connected(d, start)
    had = len(load.confirmed)
    wait_until(lambda: len(load.confirmed) > had + RATE, "some load at the end")
    confirmed = load.stop()
    wait_until(lambda: broker.queues().get(name + ".triggers") == 0, "an empty queue")
    wait_until(lambda: nothing_pending(d), "the backlog to drain", patience=300)
    found = [at for at, in ledger(d, "SELECT event_at FROM snapshots")]
    lost = set(confirmed) - set(found)
    print(f"{len(confirmed)} confirmed, {len(found)} pictures, {len(lost)} lost, "
          f"{results(d, 'repeated'):.0f} repeated, {failures(d):.0f} failures")
    assert not lost and len(found) == len(set(found))
    broker.delete_queue(name + ".triggers")
    finish(d)


def test_two_instances_share_a_durable_queue(broker, counterpart, launch, name):
    sims = [launch.camera(FRAME, "--user", "admin", "--password", "secret1234") for _ in range(2)]
    extra = durable(name) + "prefetch = 4\n"
    text = config(broker, name, extra, outputs=cameras(sims))
    both = [launch.daemon(text, name=n) for n in ("one", "two")]
    for d in both:
        connected(d)
    load = TriggerLoad(counterpart, 100, len(sims))
    load.start()
    wait_until(lambda: all(len(seconds(d)) > 20 for d in both), "both to work")
    confirmed = load.stop()
    for d in both:
        wait_until(lambda d=d: nothing_pending(d), "the backlog to drain")
    wait_until(lambda: broker.queues().get(name + ".triggers") == 0, "an empty queue")
    found = [at for d in both for at, in ledger(d, "SELECT event_at FROM triggers")]
    assert sorted(found) == sorted(confirmed), "each went to exactly one"
    broker.delete_queue(name + ".triggers")
    for d in both:
        finish(d)


def test_an_orderly_stop_leaves_the_rest_in_the_queue(broker, counterpart, launch, name):
    sims = [launch.camera(FRAME, "--user", "admin", "--password", "secret1234")]
    extra = durable(name)
    text = config(broker, name, extra, outputs=cameras(sims))
    d = launch.daemon(text)
    connected(d)
    load = TriggerLoad(counterpart, 100, 1)
    load.start()
    for _ in range(3):
        had = len(load.confirmed)
        wait_until(lambda: len(load.confirmed) > had + 20, "some load")
        assert d.stop() == 0
        d = launch.daemon(text)
        connected(d)
    confirmed = load.stop()
    wait_until(lambda: len(ledger(d, "SELECT 1 FROM triggers")) == len(confirmed), "all triggers")
    wait_until(lambda: nothing_pending(d), "the backlog to drain")
    assert sorted(at for at, in ledger(d, "SELECT event_at FROM snapshots")) == sorted(confirmed)
    broker.delete_queue(name + ".triggers")
    finish(d)
