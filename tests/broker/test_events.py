"""What goes out: events and heartbeats to a real broker, read by the original's counterpart."""

import io
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from PIL import Image

from conftest import BINARY, PATIENCE, wait_until
from house import decode, house, umsgpack  # noqa: F401, one is a fixture
from ports import free_port, refusing_port

# How soon a broker that is back has us again (goal R5), with the time that this machine takes.
RECONNECT_SECONDS_MAX = 5


# ---- what is sent ----

def expected_event(message, snapshot, image, root, detail=None):
    """The original's bytes for it, made by its own library."""
    first_name = snapshot["path"].replace("/human_", "/fetch_", 1)
    seconds = first_name.rsplit("_", 1)[1].split(".")[0].split("-")[0]
    item = {"device_key": snapshot["device_key"], "device_label": snapshot["device_label"],
            "type": "camera", "image": image, "image_timestamp": seconds, "storage_url": None,
            "storage_path": f"{root}/{first_name}"}
    if detail:
        item["event_detail"] = detail
    return umsgpack.packb({"timestamp": decode(message.body)["timestamp"], "inputs": [item]})


def check_one_event(house, detail_wanted):
    consumer = house.consumer()
    d = house.start(detection=house.detection)
    status, doc = d.trigger("cam0", wait=60)
    assert status == 200, doc
    [message] = consumer.wait_events(1)
    snapshot = d.get(f"/api/v1/snapshots/{doc['id']}")
    assert message.id == doc["id"]
    assert message.key == "event.notify.snapshot.snapshot-processor.image"
    assert bool(snapshot["event_detail"]) == detail_wanted, snapshot
    assert message.body == expected_event(message, snapshot, house.picture.read_bytes(),
                                          d.data / "store", snapshot["event_detail"])
    time.strptime(decode(message.body)["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
    return message, snapshot


def test_an_event_with_persons_is_the_originals_byte_for_byte(house, model):
    house.detection = f"model = {model}"
    message, snapshot = check_one_event(house, True)
    assert "person" in decode(message.body)["inputs"][0]["event_detail"]
    assert "/human_" in snapshot["path"]  # and yet the event names the file as it was fetched


def test_an_event_goes_out_when_nothing_was_found(house, model, tmp_path):
    house.picture = tmp_path / "grey.jpg"
    house.picture.write_bytes(grey_jpeg())
    house.detection = f"model = {model}"
    message, _ = check_one_event(house, False)
    assert "event_detail" not in decode(message.body)["inputs"][0]


def test_an_event_goes_out_when_detection_is_off(house):
    house.detection = "enabled = no"
    message, _ = check_one_event(house, False)
    properties = message.properties
    assert (properties.content_type, properties.delivery_mode, properties.expiration) == (None,) * 3


def grey_jpeg():
    out = io.BytesIO()
    Image.new("RGB", (640, 480), (90, 90, 90)).save(out, "JPEG")
    return out.getvalue()


def test_the_heartbeat_comes_at_once_and_then_every_5_seconds_without_blank_slots(house):
    consumer = house.consumer()
    devices = ("[output_location]\nO1 = Front Door\nO2 =\nO3 =\n[output_type]\nO1 = Camera\nO2 =\n"
               "O3 = Siren\n[input_location]\nI1 =\nI2 = Driveway\n[input_type]\nI1 =\nI2 = Detector\n")
    start = time.monotonic()
    d = house.start(more=devices)
    first = wait_until(lambda: consumer.heartbeats()[:1], "a heartbeat")[0]
    assert first.at - start < 3
    assert first.key == "event.heartbeat.snapshot"
    assert first.body == umsgpack.packb({
        "timestamp": decode(first.body)["timestamp"],
        "inputs": [{"type": "Detector", "location": "Driveway", "device_key": "Driveway Detector"}],
        "outputs": [{"location": "Front Door", "type": "Camera", "device_key": "Front Door Camera"},
                    {"type": "Siren", "device_key": "Siren"}]})
    d.config.write_text(d.config.read_text().replace("O3 = Siren", "O3 = Bell"))
    d.signal(signal.SIGHUP)
    second = wait_until(lambda: consumer.heartbeats()[1:2], "the next heartbeat")[0]
    assert 4.5 < second.at - first.at < 6.5
    assert decode(second.body)["outputs"][1] == {"type": "Bell", "device_key": "Bell"}


def test_the_extended_format_has_more_keys_under_the_same_routing_key(house):
    consumer = house.consumer()
    d = house.start(rabbitmq="event_format = extended\nevent_persistent = yes")
    [id] = house.trigger(1)
    [message] = consumer.wait_events(1)
    item = decode(message.body)["inputs"][0]
    assert message.key == "event.notify.snapshot.snapshot-processor.image"
    assert (item["snapshot_id"], item["outcome"]) == (id, "skipped")
    assert item["sha256"] == d.get(f"/api/v1/snapshots/{id}")["sha256"]
    assert item["image"] == house.picture.read_bytes()
    assert message.properties.delivery_mode == 2


def test_a_claim_check_leads_to_the_picture(house):
    consumer = house.consumer()
    port = free_port()
    house.start(rabbitmq=f"event_format = claim_check\n"
                f"image_url = http://127.0.0.1:{port}/api/v1/snapshots/{{id}}/image",
                options=["--set", f"web.listen=127.0.0.1:{port}"])
    house.trigger(1)
    [message] = consumer.wait_events(1)
    item = decode(message.body)["inputs"][0]
    assert "image" not in item
    _, _, body = house.daemon.request(item["image_url"].split(str(port), 1)[1])
    assert body == house.picture.read_bytes()


def enlarge(house, tmp_path):
    """A picture of more than 120 kB, whichever the set-up had."""
    large = tmp_path / "large.jpg"
    with Image.open(house.picture) as small:
        small.resize((2 * small.width, 2 * small.height)).save(large, quality=95)
    assert large.stat().st_size > 120000
    house.picture = large


def test_a_picture_above_the_limit_is_sent_smaller(house, tmp_path):
    limit = 64 * 1024
    enlarge(house, tmp_path)
    consumer = house.consumer()
    house.start(rabbitmq=f"event_size_max = {limit}")
    house.trigger(2)
    for message in consumer.wait_events(2):
        image = decode(message.body)["inputs"][0]["image"]
        assert len(message.body) <= limit
        assert image[:3] == b"\xff\xd8\xff" and image[-2:] == b"\xff\xd9"
    assert house.metric("snapshotd_amqp_events_reduced_total") == 2


def test_a_picture_above_the_limit_is_sent_by_its_address(house, tmp_path):
    enlarge(house, tmp_path)
    consumer = house.consumer()
    house.start(rabbitmq="event_size_max = 64KB\nevent_format = extended\n"
                "event_too_large = claim_check\nimage_url = http://pictures.example/{id}")
    [id] = house.trigger(1)
    [message] = consumer.wait_events(1)
    item = decode(message.body)["inputs"][0]
    assert item["image_url"] == f"http://pictures.example/{id}"
    assert "image" not in item and item["size"] == house.picture.stat().st_size


def test_an_event_that_the_broker_refuses_for_its_size_holds_up_no_other(house, broker, tmp_path):
    enlarge(house, tmp_path)
    folder = tmp_path / "pictures"  # served in this order
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes(house.picture.read_bytes())
    for name in "cdef":
        (folder / f"{name}.jpg").write_bytes(grey_jpeg())
    house.picture = folder
    broker.ctl("eval", "application:set_env(rabbit, max_message_size, 100000).")
    try:
        consumer = house.consumer()
        house.start(cameras=2)
        ids = house.trigger(6)
        wait_until(lambda: house.destination()["dead"] == 2, "the refusals")
        consumer.wait_events(4)
    finally:
        broker.ctl("eval", "application:set_env(rabbit, max_message_size, 134217728).")
    sizes = {id: house.daemon.get(f"/api/v1/snapshots/{id}")["size"] for id in ids}
    too_large = [id for id in ids if sizes[id] > 100000]
    assert consumer.ids() == set(ids) - set(too_large)
    for id in too_large:
        story = house.daemon.get(f"/api/v1/snapshots/{id}")["story"]
        [end] = [s["detail"] for s in story if s["what"] == "not delivered"]
        assert "406" in end and "message size" in end


def test_an_event_that_a_full_queue_refuses_waits_for_room(house, broker):
    """The broker answers with a nack. Nothing is lost and the order stays."""
    with broker.connection() as connection:
        channel = connection.channel()
        channel.exchange_declare(house.exchange, "topic")
        queue = house.exchange + "-full"
        channel.queue_declare(queue, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        channel.queue_bind(queue, house.exchange, "event.notify.#")
        house.start()
        ids = house.trigger(5)
        nacked = 'snapshotd_amqp_events_total{result="nacked"}'
        wait_until(lambda: house.metric(nacked) > 0, "a nack")
        assert "could not take an event: a queue is full" in house.destination()["last_error"]
        got = []

        def drain():
            _, properties, _ = channel.basic_get(queue, auto_ack=True)
            got.extend([properties.message_id] if properties else [])
            return set(got) >= set(ids)
        wait_until(drain, "all events")
        first = list(dict.fromkeys(got))  # one that was nacked may have reached the queue all the same
        assert first == [i for i in house.recorded() if i in ids]
        house.wait_drained()
        channel.queue_delete(queue)


# ---- order ----

def in_order(house, messages):
    """First arrivals, camera by camera, in the order of the ledger."""
    recorded = {id: n for n, id in enumerate(house.recorded())}
    last, seen = {}, set()
    for m in messages:
        if m.id in seen:
            continue  # a repeat
        seen.add(m.id)
        assert recorded[m.id] > last.get(m.camera, -1), f"{m.id} of {m.camera} came too late"
        last[m.camera] = recorded[m.id]


def test_events_of_a_camera_keep_their_order_under_load(house):
    consumer = house.consumer()
    house.start(cameras=4)
    ids = house.trigger(200, wait=False)
    consumer.wait_book(ids)
    in_order(house, consumer.events())
    assert len(consumer.events()) == 200  # and nothing twice


# ---- a broker that is away ----

def reconnects_in_time(house, since):
    house.wait_connected()
    assert time.monotonic() - since < RECONNECT_SECONDS_MAX


def test_the_broker_may_be_absent_at_the_start(house, broker):
    broker.stop()
    try:
        d = house.start(cameras=2)
        assert d.request("/readyz")[0] == 200
        ids = house.trigger(30)
        wait_until(lambda: "not reachable for" in house.destination()["state"], "the state")
        state = house.destination()
        assert state["pending"] == 30 and "connection refused" in state["last_error"]
        text = status_text(d)
        assert "not reachable for" in text, text
        assert "connection refused: nothing listens on that port; 30 events wait" in text, text
    finally:
        broker.start()
    back = time.monotonic()
    reconnects_in_time(house, back)
    consumer = house.consumer()  # and nobody listened until now: R8
    consumer.wait_book(ids)
    in_order(house, consumer.events())
    house.wait_drained()
    assert "connected for" in status_text(d)


def status_text(daemon):
    r = subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{daemon.port}"],
                       capture_output=True, text=True, timeout=PATIENCE)
    return r.stdout


class Load:
    """Triggers from a thread until told to stop."""

    def __init__(self, house, per_second=40):
        self.house, self.pause = house, 1 / per_second
        self.ids, self.stopped = [], threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        n = 0
        while not self.stopped.wait(self.pause):
            status, doc = self.house.daemon.trigger(self.house.cameras[n % len(self.house.cameras)])
            assert status == 202
            self.ids.append(doc["id"])
            n += 1

    def stop(self):
        self.stopped.set()
        self.thread.join()
        wait_until(lambda: set(self.ids) <= set(self.house.recorded()), "all pictures")
        return self.ids


def durable_house(house, **more):
    """A queue that survives the broker, with events that survive in it."""
    consumer = house.consumer(queue=house.exchange + "-book")
    house.start(cameras=4, rabbitmq="event_persistent = yes", **more)
    house.wait_connected()
    return consumer


def restart(broker):
    broker.restart()


def kill(broker):
    broker.kill()
    broker.start()


def rounds(short):
    return int(os.environ.get("SNAPSHOT_BROKER_ROUNDS", short))


@pytest.mark.parametrize("death", [restart, kill])
def test_no_event_is_lost_when_the_broker_goes_and_comes_back(house, broker, death):
    consumer = durable_house(house)
    load = Load(house, 200 if rounds(1) > 1 else 40)
    for _ in range(rounds(1)):
        consumer.wait_events(len(consumer.events()) + 20)
        death(broker)
        reconnects_in_time(house, time.monotonic())
    ids = load.stop()
    consumer.wait_book(ids)
    house.wait_drained()
    assert house.daemon.request("/readyz")[0] == 200


def test_no_event_is_lost_when_the_broker_is_frozen(house, broker):
    consumer = durable_house(house)
    load = Load(house)
    consumer.wait_events(20)
    broker.pause()
    try:
        # Noticed by two missed heartbeats of 10 s.
        wait_until(lambda: not house.connected(), "the silence to be noticed", 30)
    finally:
        broker.resume()
    reconnects_in_time(house, time.monotonic())
    consumer.wait_book(load.stop())


@pytest.mark.parametrize("short_of", ["memory", "disk"])
def test_a_blocked_broker_is_waited_for(house, broker, short_of):
    consumer = durable_house(house)
    ids = house.trigger(20)
    consumer.wait_book(ids)
    before = house.rss_kb()
    broker.block(short_of)
    try:
        load = Load(house)
        wait_until(lambda: "blocked for" in house.destination()["state"], "the blockade")
        assert short_of in house.destination()["last_error"]
        wait_until(lambda: len(load.ids) >= 150, "some load")
        ids += load.stop()
        if b"__asan_init" not in BINARY.read_bytes():  # that keeps what was freed
            assert house.rss_kb() - before < 32 * 1024
        # Waiting is no failure: the connection is the same, no attempt is counted.
        assert house.connected()
        assert house.metric('snapshotd_amqp_connects_total{result="good"}') == 1
        assert house.metric('snapshotd_deliveries_failed_total{destination="rabbitmq"}') == 0
    finally:
        broker.unblock()
    consumer.wait_book(ids)
    assert house.metric("snapshotd_amqp_blocked_seconds_total") > 0


class Proxy:
    """Between the daemon and the broker: its connections can be cut in the middle."""

    def __init__(self, target):
        self.target, self.pairs = target, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                inside, _ = self.server.accept()
            except OSError:
                return
            outside = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append((inside, outside))
            for a, b in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    def _copy(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for pair in self.pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs.clear()

    def close(self):
        self.server.close()
        self.cut()


def test_no_event_is_lost_when_connections_are_cut(house, broker):
    proxy = Proxy(broker.port)
    consumer = durable_house(house, address=proxy.address)
    load = Load(house)
    for _ in range(5):
        consumer.wait_events(len(consumer.events()) + 10)
        proxy.cut()
        reconnects_in_time(house, time.monotonic())
    consumer.wait_book(load.stop())
    in_order(house, consumer.events())
    proxy.close()


# ---- a broker that does not want ----

def test_wrong_credentials_are_told_and_tried_again_when_put_right(house, broker):
    user = house.exchange[-20:]
    house.start(rabbitmq=f"user = {user}\npassword = hunter2-secret")
    ids = house.trigger(5)
    wait_until(lambda: "wrong user or password" in house.destination()["last_error"], "the reason")
    assert house.daemon.request("/readyz")[0] == 200
    consumer = house.consumer()
    broker.add_user(user, "hunter2-secret")
    consumer.wait_book(ids)  # after the long pause of what somebody must change
    assert "hunter2-secret" not in house.daemon.text()
    assert "hunter2-secret" not in str(house.daemon.get("/api/v1/status"))


def test_a_channel_closed_while_publishing_loses_nothing(house, broker):
    consumer = durable_house(house)
    load = Load(house)
    for _ in range(3):
        consumer.wait_events(len(consumer.events()) + 10)
        with broker.connection() as c:  # the next publish is a 404, and bindings are gone
            c.channel().exchange_delete(house.exchange)
        consumer.close()
        consumer = house.consumer(queue=house.exchange + "-book")
        house.wait_connected()
    ids = set(load.stop())
    got = lambda: set().union(*(c.ids() for c in house.consumers))  # noqa: E731
    wait_until(lambda: got() >= ids, "all events")
    assert got() == ids


def test_an_exchange_of_another_type_is_explained(house, broker):
    with broker.connection() as c:
        c.channel().exchange_declare(house.exchange, "direct")
        house.start()
        wait_until(lambda: house.destination()["last_error"], "the reason")
        error = house.destination()["last_error"]
        assert house.exchange in error and "direct" in error and "topic" in error, error
        c.channel().exchange_delete(house.exchange)


def test_an_event_that_no_queue_takes_is_held_until_one_does(house, broker):
    d = house.start(cameras=2)
    house.wait_connected()
    ids = house.trigger(20)
    wait_until(lambda: house.metric('snapshotd_amqp_events_total{result="returned"}') >= 2, "returns")
    assert "no queue takes events" in house.destination()["last_error"]
    assert house.destination()["pending"] == 20
    d.wait_line(r"no queue takes events with the key .event.notify.snapshot.*broker-takes-nothing")
    consumer = house.consumer()
    consumer.wait_book(ids, 20)
    in_order(house, consumer.events())
    assert house.destination()["last_error"] == ""
    # Nothing was tried so often that it would have become news.
    assert house.metric('snapshotd_deliveries_failed_total{destination="rabbitmq"}') == 0


# ---- limits ----

def test_of_too_many_waiting_events_the_oldest_are_given_up(house, broker):
    house.start(cameras=2, address=f"127.0.0.1:{refusing_port()}", rabbitmq="event_backlog_max = 10")
    ids = house.trigger(25)
    wait_until(lambda: house.destination()["pending"] == 25, "the events")
    assert house.daemon.stop() == 0
    # The limits are looked at once a minute and at the start.
    config = house.daemon.config.read_text()
    house.daemon = house.launch.daemon(config)
    wait_until(lambda: house.destination()["dead"] == 15, "the oldest to go")
    assert house.destination()["pending"] == 10
    assert house.metric('snapshotd_deliveries_dead_total{destination="rabbitmq"}') == 15
    house.daemon.wait_line(r"rabbitmq: 15 events .*events-given-up")
    assert house.daemon.get(f"/api/v1/snapshots/{ids[0]}")["story"][-1]["what"] == "not delivered"
    assert len(house.recorded()) == 25  # the pictures stay


def test_a_stop_with_an_absent_broker_takes_no_longer(house):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        house.start(address="127.0.0.1:%d" % silent.getsockname()[1])
        house.trigger(3)
        start = time.monotonic()
        assert house.daemon.stop() == 0
        assert time.monotonic() - start < 3
