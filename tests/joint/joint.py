"""The real daemon with all that stands around it: a camera that pushes, one that is asked by API and
by broker, a RabbitMQ with who reads the events, and a Drive. Each keeps books of its own:

    the FTP clients    what they were told of each upload          ftp_load.Ledger
    who asks the API   ids of the triggers that were accepted      Asking
    the counterpart    times of the triggers that the broker has   house.TriggerLoad
    who reads events   message ids, with the picture's SHA-256     Reader
    the Drive          names, sizes and MD5s of its files          fakes.drive

and Joint.check() joins them with each other and with the daemon's own."""

import collections
import contextlib
import os
import signal
import sys
import threading
import time
import urllib.error

import pytest

import drive_rig
import ftp_rig
from conftest import ROOT, CameraSim, wait_until
from ftp_load import Ledger

sys.path.insert(0, str(ROOT / "tests/broker"))

from house import Consumer, Counterpart, TriggerLoad, decode  # noqa: E402

FRAME = ROOT / "fuzz/corpus/picture/baseline.jpg"
FOLDER = "cameras"
SECTIONS = """
[camera:door]
kind = http
url = http://{camera}/snapshot.jpg
location = Front Door
check_fresh = no
give_up = 1h
[rabbitmq]
server_address = {broker}
mq_exchange = {name}
events = yes
event_persistent = yes
queue_mode = durable
queue = {name}.triggers
{drive}
"""


def full(reduced, goal):
    """Numbers and times of the goals take long and want a quiet machine; SNAPSHOT_JOINT_FULL asks
    for them."""
    return goal if os.environ.get("SNAPSHOT_JOINT_FULL") else reduced


class Reader(Consumer):
    """Keeps of each event what joins it with the rest: the id of its message, and the picture."""

    def __init__(self, *arguments, **words):
        self.told = collections.defaultdict(list)
        self.came = {}  # id: when first
        super().__init__(*arguments, **words)

    def _take(self, method, properties, body):
        super()._take(method, properties, body)
        if ".notify." in method.routing_key:
            (item,) = decode(body)["inputs"]
            self.told[properties.message_id].append(ftp_rig.ftp_load.hashlib.sha256(
                item["image"]).hexdigest())
            self.came.setdefault(properties.message_id, time.monotonic())


class Asking(threading.Thread):
    """Triggers the camera by API, `rate` times a second, until stopped. With `wait` each waits for
    its outcome."""

    def __init__(self, rig, rate, wait=None):
        super().__init__(daemon=True)
        self.rig, self.rate, self.wait = rig, rate, wait
        self.accepted = []  # ids
        self.refused = collections.Counter()  # by status
        self.unknown = 0  # asked, but nothing was heard
        self.took = []  # (when asked, seconds)
        self.sent_at = {}  # id: when asked
        self.ending = threading.Event()

    def run(self):
        number, begin = 0, time.monotonic()
        while not self.ending.is_set():
            number += 1
            self._ask()
            self.ending.wait(max(begin + number / self.rate - time.monotonic(), 0.001))

    def _ask(self):
        began = time.monotonic()
        try:
            status, doc = self.rig.daemon.trigger("door", self.wait)
        except (OSError, ValueError, urllib.error.URLError) as e:
            if not isinstance(getattr(e, "reason", e), ConnectionRefusedError):
                self.unknown += 1
            return
        if status in (200, 202):
            self.accepted.append(doc["id"])
            self.sent_at[doc["id"]] = began
            self.took.append((began, time.monotonic() - began))
        else:
            self.refused[status] += 1

    def stop(self):
        self.ending.set()
        self.join()
        return self.accepted


class Joint(ftp_rig.Rig):
    """Nothing runs until start(). `drive_host` and `broker_host` are what the daemon calls them,
    `rows` are lines of the Drive's section."""

    def __init__(self, folder, broker, drive, name, drive_host="127.0.0.1", broker_host="127.0.0.1",
                 **rows):
        self.broker, self.drive, self.name = broker, drive, name
        self.camera = CameraSim(FRAME, folder / "camera.log")
        login = drive_rig.write_login(drive, folder / "login.json")
        section = drive_rig.config(drive, FOLDER, login).replace("//127.0.0.1:", f"//{drive_host}:")
        rows = {"writes_per_second": 0, "upload": "all", **rows}
        section += "".join(f"{k} = {v}\n" for k, v in rows.items())
        super().__init__(
            folder, ftp="sessions_per_address = 200\n", account="sessions_max = 200\n",
            more=SECTIONS.format(camera=self.camera.address, name=name, drive=section,
                                 broker=f"{broker_host}:{broker.port}"))
        self.reader = Reader(broker, name, queue=f"{name}.events")
        self.counterpart = Counterpart(broker, name)
        self.ledger = Ledger()
        self.asked = []  # all that ever asked
        self.sent = []

    # ---- load ----

    @contextlib.contextmanager
    def under_load(self, seed=1, clients=6, pause=0.15, asks=3, messages=2, wait=None, **words):
        """20 to 40 uploads a second, as long as the block lasts, and five triggers a second: by API
        and by broker. Yields (the load of uploads, who asks)."""
        # The kernel chooses the address, so it may use ports again that are still resting.
        words.setdefault("sources", (None,))
        load = self.load(clients=clients, pause=pause, seed=seed, ledger=self.ledger, timeout=10,
                         path=lambda c, n: f"{seed}_{c}_{n}.jpg", **words)
        asking = Asking(self, asks, wait)
        sending = TriggerLoad(self.counterpart, messages, devices=["Front Door Camera"])
        self.asked.append(asking)
        self.sent.append(sending)
        load.start()
        asking.start()
        sending.start()
        try:
            yield load, asking
        finally:
            sending.stop()
            asking.stop()
            load.stop()

    def status(self):
        (storage,) = self.daemon.get("/api/v1/status")["storages"]
        return storage

    # ---- the books ----

    def drain(self, patience=180):
        """Until everybody has what is to be had."""
        super().drain()

        def done():
            waiting = self.ask("SELECT (SELECT count(*) FROM triggers WHERE state = 0)"
                               " + (SELECT count(*) FROM snapshots WHERE state = 0)"
                               " + (SELECT count(*) FROM outbox WHERE state = 0)"
                               " + (SELECT count(*) FROM uploads WHERE state = 0)")
            queue = self.broker.queues().get(f"{self.name}.triggers", 0)
            return waiting == [(0,)] and queue == 0 and self.drive.count()["late"] == 0
        wait_until(done, "all to be delivered", patience)
        ids = {i for i, in self.ask("SELECT id FROM snapshots")}
        wait_until(lambda: self.reader.ids() >= ids, "the reader to have all events")
        self.quiet()

    def drain_now(self):
        """As drain(), with a Drive that is well again and that is told so."""
        self.drive.clear()
        self.daemon.signal(signal.SIGHUP)
        self.drain()

    def quiet(self):
        """Until the Drive has not been asked for a while, as the goals say it."""
        seen = [time.monotonic(), -1]

        def nothing_new():
            n = self.drive.count()["requests"]
            if n != seen[1]:
                seen[:] = [time.monotonic(), n]
            return time.monotonic() - seen[0] >= full(0.5, 10)
        wait_until(nothing_new, "the Drive to be left alone")

    def check(self, ledger=None):
        """Each picture that somebody was told of has one outcome in each of the books, whatever was
        refused has none, and nobody has anything else. Returns numbers for people."""
        super().check(ledger or self.ledger)
        rows = self.ask("SELECT id, source, event_at, path, sha256, md5 FROM snapshots")
        self._check_triggers(rows)
        self._check_events(rows)
        self._check_drive(rows)
        return {
            "uploads": dict(self.ledger.counts()),
            "asked": sum(len(a.accepted) for a in self.asked),
            "messages": sum(len(s.confirmed) for s in self.sent),
            "pictures": len(rows),
            "told again": sum(len(t) - 1 for t in self.reader.told.values()),
            "kept": len(self.drive.pictures()),
        }

    def _check_triggers(self, rows):
        states = dict(self.ask("SELECT id, state FROM triggers"))
        fetched = {i: at for i, source, at, *_ in rows if source == 0}
        assert set(states.values()) <= {1}, "each trigger has got its picture"
        assert states.keys() == fetched.keys(), "and each such picture its trigger"
        accepted = [i for a in self.asked for i in a.accepted]
        lost = [i for i in accepted if i not in fetched]
        assert not lost, f"{len(lost)} of {len(accepted)} triggers of the API are lost"
        others = collections.Counter(at for i, at in fetched.items() if i not in set(accepted))
        confirmed = [at for s in self.sent for at in s.confirmed]
        lost = [at for at in confirmed if at not in others]
        assert not lost, f"{len(lost)} of {len(confirmed)} triggers of the broker are lost"
        twice = [at for at in confirmed if others[at] > 1]
        assert not twice, f"{len(twice)} triggers of the broker made two pictures"
        # Somebody asked for each of the rest, and did not hear the answer.
        unheard = sum(a.unknown for a in self.asked) + len(self.sent)
        rest = sum(others.values()) - len(confirmed)
        assert rest <= unheard, f"{rest} pictures that nobody asked for, {unheard} at most"

    def _check_events(self, rows):
        told = dict(self.reader.told)
        digests = {row[0]: row[4] for row in rows}
        assert told.keys() == digests.keys(), (
            f"{len(digests.keys() - told.keys())} pictures without event,"
            f" {len(told.keys() - digests.keys())} events without picture")
        other = [i for i, said in told.items() if set(said) != {digests[i]}]
        assert not other, f"{len(other)} events show another picture, {other[:3]}"

    def _check_drive(self, rows):
        names = {path.rsplit("/", 1)[1]: md5 for _, _, _, path, _, md5 in rows}
        assert len(names) == len(rows), "two pictures of one name would look like one"
        wrong = drive_rig.kept_wrong(self.drive, names)
        assert not wrong, f"{len(wrong)} wrong in the Drive: " + "\n".join(wrong[:20])
        assert self.drive.oddities() == []
        assert self.ask("SELECT count(*) FROM uploads WHERE state <> 1") == [(0,)]

    def close(self):
        self.reader.close()
        if self.counterpart.connection:
            self.counterpart.close()
        for queue in ("events", "triggers"):
            self.broker.delete_queue(f"{self.name}.{queue}")  # no fault if there is none
        self.camera.stop()


@pytest.fixture
def joint(tmp_path, request, broker):
    """joint(...) makes a Joint, and its Drive a process of its own; its daemon must end in order."""
    with contextlib.ExitStack() as stack:
        made = []

        def make(**words):
            drive = stack.enter_context(drive_rig.drive_process())
            made.append(Joint(tmp_path, broker, drive, "j" + os.urandom(6).hex(), **words))
            stack.callback(made[-1].close)
            return made[-1]

        yield make
        failed = getattr(request.node, "call_failed", False)
        for rig in made:
            running = rig.daemon and rig.daemon.child.poll() is None
            code = rig.stop() if running else 0
            if failed:
                sys.stderr.write(f"---- daemon's log\n{rig.log()[-8000:]}\n")
            else:
                assert code == 0, f"daemon ended with {code}"
