"""From a trigger to the event at the broker: latency, rate, and what it costs.

The figures of `bench/run events`, and a driver of its own for any program that takes triggers and
publishes events as the original does:

    bench/events.py --broker HOST:PORT --exchange NAME --pid PID --camera KEY=user:pw@HOST:PORT ...

sends triggers to NAME_control and measures that process. Between trigger and event it needs nothing
but the time and the device key, which both carry.
"""

import argparse
import collections
import collections.abc
import http.client
import json
import multiprocessing
import os
import pathlib
import queue
import statistics
import time

import pika

collections.Hashable = collections.abc.Hashable  # u-msgpack 2.3 looks for it there to decode

import umsgpack  # noqa: E402

PATIENCE = 60


class Consumer:
    """A process of its own, so that reading costs the triggers no time: gives (key, when) of each
    event, where key is the message's id if `by_id`, else its device and time."""

    def __init__(self, address, exchange, by_id):
        self.found = multiprocessing.Queue()
        self.process = multiprocessing.Process(target=consume, daemon=True,
                                               args=(address, exchange, by_id, self.found))
        self.process.start()
        assert self.found.get(timeout=PATIENCE) == "ready"

    def next(self):
        return self.found.get(timeout=PATIENCE)

    def close(self):
        self.process.terminate()
        self.process.join()


def connection(address):
    host, port = address.rsplit(":", 1)
    return pika.BlockingConnection(pika.ConnectionParameters(host=host, port=int(port)))


def consume(address, exchange, by_id, found):
    channel = connection(address).channel()
    channel.exchange_declare(exchange, "topic")
    name = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
    channel.queue_bind(name, exchange, "event.notify.#")
    found.put("ready")
    for _, properties, body in channel.consume(name, auto_ack=True):
        now = time.monotonic()
        if by_id:
            found.put((properties.message_id, now))
        else:
            item = umsgpack.unpackb(body)["inputs"][0]
            found.put(((item["device_key"], int(item["image_timestamp"])), now))


class ApiTriggers:
    """Triggers by the HTTP API; the key is the snapshot's id."""

    by_id = True

    def __init__(self, port, cameras):
        self.cameras = cameras
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def send(self, index):
        path = f"/api/v1/cameras/{self.cameras[index % len(self.cameras)]}/trigger"
        self.connection.request("POST", path)
        response = self.connection.getresponse()
        body = response.read()
        assert response.status == 202, body
        return json.loads(body)["id"]


class BrokerTriggers:
    """Triggers by the control exchange, as the original's counterpart sends them. Each has another
    time, which comes back in its event."""

    by_id = False

    def __init__(self, address, exchange, cameras):
        self.cameras = cameras  # [(device key, device_params)]
        self.exchange = f"{exchange}_control"
        self.channel = connection(address).channel()
        self.channel.exchange_declare(self.exchange, "direct")
        self.time = int(time.time()) - 100_000

    def send(self, index):
        device_key, params = self.cameras[index % len(self.cameras)]
        self.time += 1
        body = umsgpack.packb({"timestamp": self.time, "output_triggered": {
            "device_key": device_key, "device_label": device_key, "device_params": params,
            "device_type": "Camera"}})
        self.channel.basic_publish(self.exchange, "event.trigger.snapshot", body,
                                   pika.BasicProperties(expiration="60000"))
        return device_key, self.time


class Run:
    """Keeps `outstanding` triggers under way until `count` events are there. Results in ms."""

    def __init__(self, triggers, consumer, count, outstanding, pid):
        self.began, self.took, self.early = {}, [], {}
        cpu, start = cpu_s(pid), time.monotonic()
        sent = 0
        while len(self.took) < count:
            while sent < count and sent - len(self.took) < outstanding:
                now = time.monotonic()
                self.began[triggers.send(sent)] = now
                sent += 1
            key, when = consumer.next()
            if key in self.began:
                self.took.append((when - self.began.pop(key)) * 1e3)
        self.seconds = time.monotonic() - start
        self.rate = count / self.seconds
        self.cpu_ms = (cpu_s(pid) - cpu) * 1e3 / count
        self.rss_mb, self.own_mb = memory_mb(pid)

    @property
    def p50(self):
        return statistics.median(self.took)

    @property
    def p99(self):
        return sorted(self.took)[int(len(self.took) * 0.99)]


def all_at_once(triggers, consumer, indices, expected):
    """ms until each of the expected number of events was there, in order of arrival."""
    start = time.monotonic()
    for i in indices:
        triggers.send(i)
    took = []
    while len(took) < expected:
        _, when = consumer.next()
        took.append((when - start) * 1e3)
    return took


def broker_rate(address, exchange, size, count=400, outstanding=16):
    """Messages a second that go from this program through the broker to another one, with at most
    `outstanding` under way: what is left when the measured program costs nothing."""
    consumer = Consumer(address, exchange + "-alone", by_id=True)
    channel = connection(address).channel()
    body = os.urandom(size)
    start, sent, back = time.monotonic(), 0, 0
    while back < count:
        while sent < count and sent - back < outstanding:
            channel.basic_publish(exchange + "-alone", "event.notify.x", body,
                                  pika.BasicProperties(message_id=str(sent)))
            sent += 1
        consumer.next()
        back += 1
    rate = count / (time.monotonic() - start)
    consumer.close()
    channel.connection.close()
    return rate


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid):
    """Resident, and what of it is the program's own: not the pages of libraries."""
    rows = dict(row.split()[:2] for row in
                pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(rows["Rss:"]) / 1024, int(rows["Private_Dirty:"]) / 1024


def drain(consumer):
    """What is left of a run before."""
    try:
        while True:
            consumer.found.get(timeout=0.5)
    except queue.Empty:
        pass


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--broker", required=True)
    p.add_argument("--exchange", required=True)
    p.add_argument("--pid", type=int, required=True, help="of the program that is measured")
    p.add_argument("--camera", action="append", required=True, metavar="KEY=user:pw@HOST:PORT")
    p.add_argument("--count", type=int, default=500)
    p.add_argument("--outstanding", type=int, default=16)
    o = p.parse_args()
    cameras = [tuple(c.split("=", 1)) for c in o.camera]
    consumer = Consumer(o.broker, o.exchange, by_id=False)
    triggers = BrokerTriggers(o.broker, o.exchange, cameras)
    Run(triggers, consumer, 20, 1, o.pid)
    one = Run(triggers, consumer, o.count, 1, o.pid)
    many = Run(triggers, consumer, o.count, o.outstanding, o.pid)
    print(f"one by one: p50 {one.p50:.2f} ms, p99 {one.p99:.2f} ms, {one.cpu_ms:.2f} ms CPU an event")
    print(f"{o.outstanding} outstanding: {many.rate:.0f} events/s, p50 {many.p50:.1f} ms, "
          f"{many.cpu_ms:.2f} ms CPU an event, {many.rss_mb:.1f} MB resident")
    consumer.close()


if __name__ == "__main__":
    main()
