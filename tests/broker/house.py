"""The other programs of the house, played with pika and u-msgpack: who consumes the events, and who
sends triggers."""

import collections
import collections.abc
import contextlib
import logging
import sqlite3
import threading
import time

import pika
import pika.exceptions
import pytest

from conftest import PATIENCE, wait_until

logging.getLogger("pika").setLevel(logging.CRITICAL)  # an absent broker is no news here
collections.Hashable = collections.abc.Hashable  # u-msgpack 2.3 looks for it there to decode

import umsgpack  # noqa: E402

Message = collections.namedtuple("Message", "key id properties body camera at")
DEVICE = "Front Door Camera"  # that triggers are for
BODIES_KEPT = 500  # of the later ones only the rest, for long runs


class Consumer:
    """Reads what is published to an exchange, as the original's counterpart: an exclusive queue
    bound with '#', acknowledged by being sent. With `queue` it is a durable one that keeps what
    comes while nobody reads. Comes back by itself whatever happens to the broker."""

    def __init__(self, broker, exchange, queue=None, key="#"):
        self.broker, self.exchange, self.queue, self.key = broker, exchange, queue, key
        self.messages = []
        self.changed = threading.Condition()
        self.ready = threading.Event()
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def _run(self):
        while not self.ended:
            try:
                self._consume()
            except (pika.exceptions.AMQPError, OSError, AssertionError):
                time.sleep(0.1)  # the broker is away; there is nothing to wait for

    def _consume(self):
        with self.broker.connection() as connection:
            channel = connection.channel()
            channel.exchange_declare(self.exchange, "topic")
            if self.queue:
                channel.queue_declare(self.queue, durable=True)
            name = self.queue or channel.queue_declare("", exclusive=True,
                                                       auto_delete=True).method.queue
            channel.queue_bind(name, self.exchange, self.key)
            for method, properties, body in channel.consume(name, auto_ack=not self.queue,
                                                            inactivity_timeout=0.1):
                self.ready.set()
                if self.ended:
                    return
                if method:
                    self._take(method, properties, body)
                    if self.queue:
                        channel.basic_ack(method.delivery_tag)

    def _take(self, method, properties, body):
        camera = None
        if ".notify." in method.routing_key:
            camera = decode(body)["inputs"][0]["device_key"]
        with self.changed:
            if len(self.messages) >= BODIES_KEPT:
                body = None
            self.messages.append(Message(method.routing_key, properties.message_id, properties,
                                         body, camera, time.monotonic()))
            self.changed.notify_all()

    def events(self):
        with self.changed:
            return [m for m in self.messages if ".notify." in m.key]

    def heartbeats(self):
        with self.changed:
            return [m for m in self.messages if ".heartbeat." in m.key]

    def wait_events(self, count, patience=PATIENCE):
        """The first `count` events."""
        end = time.monotonic() + patience
        with self.changed:
            while True:
                events = [m for m in self.messages if ".notify." in m.key]
                if len(events) >= count:
                    return events[:count]
                left = end - time.monotonic()
                assert left > 0, f"{len(events)} of {count} events within {patience:.0f} s"
                self.changed.wait(left)

    def ids(self):
        return {m.id for m in self.events()}

    def wait_book(self, ids, patience=PATIENCE):
        """Waits until each of these snapshots has its event; there is none of any other."""
        wait_until(lambda: self.ids() >= set(ids), f"{len(ids)} events", patience)
        assert self.ids() == set(ids)

    def close(self):
        self.ended = True
        self.thread.join(PATIENCE)


def decode(body):
    return umsgpack.unpackb(body)


class Counterpart:
    """Sends triggers, and knows what became of what it sent."""

    def __init__(self, broker, exchange):
        self.broker = broker
        self.exchange = exchange + "_control"
        self.key = "event.trigger.snapshot"
        self.connection = None
        self.channel = None
        self.second = 1767323045

    def open(self):
        self.connection = self.broker.connection()
        self.channel = self.connection.channel()
        self.channel.exchange_declare(self.exchange, "direct")  # actively, as it does
        self.channel.confirm_delivery()

    def publish_raw(self, body, mandatory=False, **properties):
        if self.channel is None or not self.channel.is_open:
            self.open()
        self.channel.basic_publish(self.exchange, self.key, body,
                                   pika.BasicProperties(**properties), mandatory=mandatory)

    def next_second(self):
        self.second += 1
        return self.second

    def body(self, params, device=DEVICE, timestamp=None, **more):
        return umsgpack.packb({
            "timestamp": self.next_second() if timestamp is None else timestamp,
            "output_triggered": {"device_key": device, "device_label": "The door",
                                 "device_type": "Camera", "device_enabled": True,
                                 "trigger_interval": None, "device_params": params},
            **more})

    def publish(self, params, *args, properties=None, **kw):
        self.publish_raw(self.body(params, *args, **kw), **(properties or {}))

    def close(self):
        with contextlib.suppress(pika.exceptions.AMQPError, OSError):
            self.connection.close()


class TriggerLoad(threading.Thread):
    """Publishes triggers at a rate until stopped; `confirmed` are the times (microseconds) of those
    that the queue has. What it does not have is sent again, as it is: for one, after a restart the
    exchange has no binding until the daemon is back. The devices are `count` cameras `c0` ... or
    `devices`, in turn."""

    def __init__(self, counterpart, rate, count=1, devices=None):
        super().__init__(daemon=True)
        self.counterpart, self.rate = counterpart, rate
        self.devices = devices or [f"c{i} Camera" for i in range(count)]
        self.confirmed = []
        self.ending = threading.Event()

    def run(self):
        number, begin = 0, time.monotonic()
        while not self.ending.is_set():
            number += 1
            at = round(time.time(), 6)
            body = self.counterpart.body("a:b@c:1", self.devices[number % len(self.devices)], at)
            while not self.sent(body):
                if self.ending.wait(0.05):
                    return
            self.confirmed.append(round(at * 1e6))
            ahead = begin + number / self.rate - time.monotonic()
            if ahead > 0:
                self.ending.wait(ahead)
            elif ahead < -1:
                begin -= ahead  # the broker was away: go on at the rate, no burst

    def sent(self, body):
        try:
            self.counterpart.publish_raw(body, mandatory=True, delivery_mode=2)
            return True
        except pika.exceptions.UnroutableError:
            return False
        except (pika.exceptions.AMQPError, OSError):
            self.counterpart.channel = None
            return False

    def stop(self):
        self.ending.set()
        self.join()
        return self.confirmed


CAMERA = """
[camera:{name}]
check_fresh = no
kind = http
url = http://{address}/snapshot.jpg
location = {name}
"""


class House:
    """A daemon with cameras, an exchange of its own, and who listens to it."""

    def __init__(self, launch, broker, exchange, picture):
        self.launch, self.broker, self.exchange, self.picture = launch, broker, exchange, picture
        self.consumers = []
        self.cameras = []

    def config(self, cameras=1, rabbitmq="", detection="enabled = no", more="", address=None):
        sim = self.launch.camera(self.picture)
        self.sim = sim
        self.cameras = [f"cam{i}" for i in range(cameras)]
        return ("".join(CAMERA.format(name=c, address=sim.address) for c in self.cameras)
                + f"[detection]\n{detection}\n[events]\nformat = none\n"
                + f"[rabbitmq]\nserver_address = {address or self.broker.address}\n"
                + f"mq_exchange = {self.exchange}\n{rabbitmq}\n{more}")

    def consumer(self, queue=None, key="#"):
        self.consumers.append(Consumer(self.broker, self.exchange, queue, key))
        return self.consumers[-1]

    def start(self, name="daemon", options=(), env=None, **settings):
        self.daemon = self.launch.daemon(self.config(**settings), *options, name=name, env=env)
        return self.daemon

    def trigger(self, count, wait=True):
        """Triggers the cameras in turn; the ids of the snapshots."""
        before = len(self.recorded())
        ids = []
        for i in range(count):
            status, doc = self.daemon.trigger(self.cameras[i % len(self.cameras)])
            assert status == 202, doc
            ids.append(doc["id"])
        if wait:
            wait_until(lambda: len(self.recorded()) >= before + count, f"{count} pictures")
        return ids

    def recorded(self):
        """The ids of all examined snapshots, in the order of their verdicts, and so of their events:
        live pictures overtake those that wait for their examination."""
        db = sqlite3.connect(f"file:{self.daemon.data}/snapshotd.db?mode=ro", uri=True)
        with contextlib.closing(db):
            return [r[0] for r in db.execute("SELECT s.id FROM outbox o"
                                             " JOIN snapshots s ON s.row = o.snapshot ORDER BY o.row")]

    def destination(self):
        return next(d for d in self.daemon.get("/api/v1/status")["destinations"]
                    if d["name"] == "rabbitmq")

    def connected(self):
        return "connected for" in self.destination()["state"]

    def wait_connected(self, patience=PATIENCE):
        wait_until(self.connected, "the daemon to be connected", patience)

    def metric(self, line):
        """Value of a series, 0 when it is not there yet."""
        _, _, text = self.daemon.request("/metrics")
        for row in text.decode().splitlines():
            if row.startswith(line + " "):
                return float(row.rsplit(" ", 1)[1])
        return 0.0

    def rss_kb(self):
        with open(f"/proc/{self.daemon.child.pid}/smaps_rollup") as f:
            return next(int(row.split()[1]) for row in f if row.startswith("Rss:"))

    def wait_drained(self, patience=PATIENCE):
        wait_until(lambda: self.destination()["pending"] == 0, "the outbox to drain", patience)

    def close(self):
        for c in self.consumers:
            c.close()


@pytest.fixture
def house(launch, broker, people, request):
    """The daemon is started by the test."""
    h = House(launch, broker, "x" + request.node.name[-40:].replace("[", "-").replace("]", ""), people)
    yield h
    h.close()
