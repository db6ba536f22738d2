#!/usr/bin/python3
"""Many FTP clients that keep a ledger of what they were told of each upload.

    tests/ftp_load.py --server HOST:PORT --user NAME --password TEXT [--clients N] [--uploads N]
                      [--seconds S] [--ways kept=3,reset=1,...] [--ledger FILE]

A row of the ledger ends as one of

    ok        226 was read: the picture must come out, once
    refused   the server said no: the picture must never come out
    aborted   the client never sent the end of the picture: it must never come out
    unknown   all was sent and no answer came: it may come out, once

Each picture is a real JPEG and unlike all others, so its SHA-256 is what finds it again. This client
knows no politeness beyond what a way asks for: it speaks on raw sockets, from any address of 127/8.
"""

import argparse
import base64
import collections
import contextlib
import dataclasses
import hashlib
import json
import random
import re
import resource
import selectors
import socket
import ssl
import statistics
import struct
import threading
import time

# A whole one of 8x8 pixels, so that the tests that make no picture of their own need no library.
SMALLEST = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcp"
    "LDAxNDQ0Hyc5PTgyPC4zNDL/wAALCAAIAAgBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgED"
    "AwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RF"
    "RkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJ"
    "ytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/AK9f/9k=")
SEGMENT = 65_000
IP_BIND_ADDRESS_NO_PORT = 24  # in Python's socket from 3.12 on

OUTCOMES = OK, REFUSED, ABORTED, UNKNOWN = "ok", "refused", "aborted", "unknown"


def picture(name, size=20_000):
    """A JPEG of about this size that says `name` in comments and is unlike any other."""
    rng = random.Random(name)
    text = f"{name} ".encode()
    parts = [SMALLEST[:2]]
    left = max(size - len(SMALLEST), len(text) + 4)
    while left > 4:
        body = (text + rng.randbytes(max(min(left - 4, SEGMENT) - len(text), 0)))
        parts.append(b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body)
        left -= len(body) + 4
    return b"".join(parts) + SMALLEST[2:]


# ---- one client ----

class Refused(Exception):
    """The server answered otherwise than was hoped for."""

    def __init__(self, reply):
        super().__init__(f"{reply.code} {reply.text}")
        self.code, self.text = reply.code, reply.text


class Broken(Exception):
    """The connection ended, or nothing came in time."""


@dataclasses.dataclass
class Reply:
    code: int
    text: str


class Client:
    """A control connection. `tls` is None, "explicit" or "implicit"."""

    def __init__(self, server, source=None, tls=None, timeout=30, greet=True, family=None):
        self.server, self.source, self.timeout = server, source, timeout
        self.context = context() if tls else None
        self.protected = False
        self.buffer = b""
        self.greeting = None
        try:
            self.socket = connect(server, timeout, source)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls == "implicit":
                self.socket = self.context.wrap_socket(self.socket)
        except OSError as e:
            raise Broken(f"connect: {e}") from e
        if greet:
            self.greeting = self.expect(220)
        if tls == "explicit":
            self.start_tls()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start_tls(self):
        self.command("AUTH TLS", 234)
        self.socket = self.context.wrap_socket(self.socket)

    def protect(self):
        self.command("PBSZ 0", 200)
        self.command("PROT P", 200)
        self.protected = True

    def login(self, user, password):
        first = self.command(f"USER {user}")
        if first.code == 331:
            first = self.command(f"PASS {password}")
        if first.code != 230:
            raise Refused(first)
        if self.context:
            self.protect()
        return first

    def send(self, line):
        """A str gets its line end; bytes go as they are."""
        try:
            self.socket.sendall(line if isinstance(line, bytes)
                                else line.encode("utf-8", "surrogateescape") + b"\r\n")
        except OSError as e:
            raise Broken(f"send: {e}") from e

    def line(self):
        while b"\n" not in self.buffer:
            try:
                got = self.socket.recv(65536)
            except OSError as e:
                raise Broken(f"receive: {e}") from e
            if not got:
                raise Broken("the server closed")
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def reply(self):
        lines = [self.line()]
        first = re.match(r"(\d{3})([ -])", lines[0])
        if not first:
            raise Broken(f"not a reply: {lines[0]!r}")
        while first[2] == "-" and not lines[-1].startswith(first[1] + " "):
            lines.append(self.line())
        return Reply(int(first[1]), "\n".join(lines)[4:])

    def expect(self, *codes):
        reply = self.reply()
        if codes and reply.code not in codes:
            raise Refused(reply)
        return reply

    def command(self, line, *codes):
        self.send(line)
        return self.expect(*codes)

    # ---- data ----

    def passive(self, extended=True):
        """Where to connect to."""
        if extended:
            port = int(re.search(r"\(\|\|\|(\d+)\|\)", self.command("EPSV", 229).text)[1])
            return self.server[0], port
        numbers = re.search(r"\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)",
                            self.command("PASV", 227).text).groups()
        return ".".join(numbers[:4]), int(numbers[4]) * 256 + int(numbers[5])

    def data(self, extended=True, source=None):
        """A data connection, passive; its TLS handshake is the caller's (see `cover`)."""
        place = self.passive(extended)
        try:
            s = connect(place, self.timeout, source or self.source)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return s
        except OSError as e:
            raise Broken(f"data connection: {e}") from e

    def cover(self, data):
        """TLS, behind the 150, where the session protects its data."""
        return self.context.wrap_socket(data) if self.protected else data

    def store(self, path, content, verb="STOR", extended=True):
        """The whole upload. Returns the final reply; Refused or Broken else."""
        with contextlib.closing(self.data(extended)) as data:
            self.command(f"{verb} {path}", 125, 150)
            send_whole(self.cover(data), content)
        return self.expect(226, 250)

    def list(self, verb="LIST", path=""):
        with contextlib.closing(self.data()) as data:
            self.command(f"{verb} {path}".rstrip(), 125, 150)
            covered = self.cover(data)
            text = b""
            while got := covered.recv(65536):
                text += got
        self.expect(226, 250)
        return text.decode("utf-8", "replace")

    def quit(self):
        with contextlib.suppress(Refused, Broken):
            self.command("QUIT")
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()

    def reset(self):
        reset(self.socket)


def connect(place, timeout, source=None):
    """As socket.create_connection(), but a source takes its port when it is connected: one that lingers
    towards one place is free towards another then. Loads would run out of them."""
    if not source or ":" in source:
        return socket.create_connection(place, timeout, source and (source, 0))
    s = socket.socket()
    try:
        s.settimeout(timeout)
        bind_host(s, source)
        s.connect(place)
    except OSError:
        s.close()
        raise
    return s


def bind_host(s, source):
    s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    s.bind((source, 0))


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


def send_whole(data, content):
    """All of it and the end of it, as a good client says it."""
    try:
        data.sendall(content)
        if isinstance(data, ssl.SSLSocket):
            data = data.unwrap()
        data.close()
    except OSError as e:
        # The server may have said why on the control connection: the caller reads on.
        data.close()
        if isinstance(e, TimeoutError):
            raise Broken(f"data: {e}") from e


def reset(s):
    """Closes with a RST instead of a FIN."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# ---- the ledger ----

@dataclasses.dataclass
class Row:
    client: int
    number: int
    way: str
    path: str
    sha256: str
    size: int
    began: float
    outcome: str = ""
    code: int = 0  # of the last reply
    text: str = ""
    took: float = 0.0


class Ledger:
    def __init__(self):
        self.rows = []
        self.refused_logins = []
        self.lock = threading.Lock()

    def add(self, row):
        with self.lock:
            self.rows.append(row)

    def refuse_login(self, story):
        with self.lock:
            self.refused_logins.append(story)

    def of(self, outcome):
        with self.lock:
            return [r for r in self.rows if r.outcome == outcome]

    def counts(self):
        with self.lock:
            return collections.Counter(r.outcome for r in self.rows)

    def codes(self, outcome):
        return collections.Counter(r.code for r in self.of(outcome))

    def write(self, path):
        with open(path, "w") as f:
            for r in self.rows:
                f.write(json.dumps(dataclasses.asdict(r)) + "\n")

    def check(self, found):
        """`found` counts what came out by SHA-256. Returns what is wrong, in words; [] is well."""
        wrong = []
        for r in self.rows:
            n = found.get(r.sha256, 0)
            story = f"{r.path} of client {r.client} ({r.way}, {r.outcome} {r.code} {r.text!r})"
            if r.outcome == OK and n == 0:
                wrong.append(f"lost: {story}")
            if r.outcome in (REFUSED, ABORTED) and n:
                wrong.append(f"ghost: {story}")
            if n > 1:
                wrong.append(f"{n} times: {story}")
        known = {r.sha256 for r in self.rows}
        wrong += [f"nobody sent {digest}" for digest in found if digest not in known]
        return wrong


# ---- ways of uploading ----
# Each takes a logged-in client (how it is logged in is the Load's business), the row and the bytes,
# fills the outcome, and returns whether the session can be used again. Broken passes through.

def way_store(client, row, content):
    row.outcome = UNKNOWN
    with contextlib.closing(client.data()) as data:
        row.outcome = ABORTED  # until all is sent
        answered(row, client.command(f"STOR {row.path}", 125, 150))
        covered = client.cover(data)
        try:
            covered.sendall(content)
            row.outcome = UNKNOWN
            if isinstance(covered, ssl.SSLSocket):
                covered = covered.unwrap()
        except OSError:
            pass  # its reason is to be read below
        covered.close()
    answered(row, client.expect(226, 250))
    row.outcome = OK
    return True


def half_sent(client, row, content):
    row.outcome = ABORTED
    data = client.data()
    try:
        answered(row, client.command(f"STOR {row.path}", 125, 150))
        covered = client.cover(data)
        covered.sendall(content[:max(len(content) // 2, 1)])
        return covered
    except BaseException:
        data.close()
        raise


def way_reset(client, row, content):
    """The camera's plug is pulled, and it lets the server know."""
    data = half_sent(client, row, content)
    reset(data)
    client.reset()
    return False


def way_reset_data(client, row, content):
    data = half_sent(client, row, content)
    reset(data)
    return answered(row, client.expect()).code in (426, 451)


def way_fin(client, row, content):
    """The stream ends like that of a whole picture, but half of it is missing."""
    data = half_sent(client, row, content)
    data.close()
    code = answered(row, client.expect()).code
    if code in (226, 250):
        raise AssertionError(f"half a picture was accepted: {row.path}")
    return True


def way_vanish(client, row, content):
    data = half_sent(client, row, content)
    data.close()
    client.close()
    return False


def way_abor(client, row, content):
    data = half_sent(client, row, content)
    with contextlib.closing(data):
        if row.number % 2 or client.context:
            client.send("ABOR")
        else:  # as RFC 959 has it: Telnet IP and Synch, the latter as urgent data
            client.send(b"\xff\xf4\xff")
            client.socket.send(b"\xf2", socket.MSG_OOB)
            client.send("ABOR")
        first = answered(row, client.expect())
        # 426 of the transfer, then 226 or 225 of ABOR itself.
        if first.code in (426, 451):
            answered(row, client.expect(225, 226))
    return True


def way_quit(client, row, content):
    """QUIT waits for the end of the transfer, which never comes."""
    data = half_sent(client, row, content)
    client.send("QUIT")
    data.close()
    client.close()
    return False


def way_stall(client, row, content):
    """Silent until the server has enough of it."""
    data = half_sent(client, row, content)
    with contextlib.closing(data):
        answered(row, client.expect())
    return False


def answered(row, reply):
    row.code, row.text = reply.code, reply.text.splitlines()[0] if reply.text else ""
    return reply


WAYS = {"store": way_store, "kept": way_store, "reset": way_reset, "reset-data": way_reset_data,
        "fin": way_fin, "vanish": way_vanish, "abor": way_abor, "quit": way_quit,
        "stall": way_stall}
ABORTING = ("reset", "reset-data", "fin", "vanish", "abor", "quit")


class Load:
    """Clients that upload until each has made `uploads`, `seconds` are over, or stop() is called.

    `ways` weighs how; "store" logs in anew for its picture, all others use the session that is there
    and make another when it is gone. `path(client, number)` names files, `account(client)` gives
    (user, password). A client whose server is gone tries again until the end, so a load outlives
    restarts. `pause` is what a client rests between two uploads, seconds; cameras do."""

    def __init__(self, server, account, clients=8, uploads=None, seconds=None, ways=None, path=None,
                 size=20_000, tls=None, sources=("127.0.0.1",), seed=1, timeout=30, ledger=None,
                 pause=0):
        self.server, self.account, self.ways = server, account, ways or {"kept": 1}
        self.path = path or (lambda client, number: f"load_{client}_{number}.jpg")
        self.uploads, self.seconds, self.size, self.tls = uploads, seconds, size, tls
        self.sources, self.seed, self.timeout = sources, seed, timeout
        self.ledger = ledger or Ledger()
        self.pause = pause
        self.stopping = threading.Event()
        self.failure = None
        self.threads = [threading.Thread(target=self._client, args=(i,), daemon=True)
                        for i in range(clients)]

    def start(self):
        self.began = time.monotonic()
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        self.stopping.set()
        return self.join()

    def join(self):
        for t in self.threads:
            t.join()
        if self.failure:
            raise self.failure
        return self.ledger

    def run(self):
        return self.start().join()

    def over(self, number):
        return (self.stopping.is_set() or (self.uploads is not None and number >= self.uploads)
                or (self.seconds is not None and time.monotonic() > self.began + self.seconds))

    def _client(self, index):
        try:
            self._upload_until_over(index)
        except Exception as e:  # pylint: disable=broad-except  # told by join()
            self.failure = self.failure or e

    def _upload_until_over(self, index):
        rng = random.Random(self.seed * 100_000 + index)
        names, weights = zip(*self.ways.items())
        client, number = None, 0
        while not self.over(number):
            way = rng.choices(names, weights)[0]
            if client and way == "store":
                client.quit()
                client = None
            client = client or self._login(index, rng)
            if not client:
                # Nobody is there, or we are not let in: come again, as cameras do.
                self.stopping.wait(0.05)
                continue
            if not self._one(client, index, number, way):
                client.close()
                client = None
            number += 1
            if self.pause:
                self.stopping.wait(self.pause)
        if client:
            client.quit()

    def _login(self, index, rng):
        client = None
        try:
            client = Client(self.server, rng.choice(self.sources), self.tls, self.timeout)
            client.login(*self.account(index))
            client.command("TYPE I", 200)
            return client
        except (Broken, Refused) as e:
            if isinstance(e, Refused):
                self.ledger.refuse_login(str(e))
            if client:
                client.close()
            return None

    def _one(self, client, index, number, way):
        path = self.path(index, number)
        content = picture(f"{self.seed} {path} {number}", self.size)
        row = Row(index, number, way, path, hashlib.sha256(content).hexdigest(), len(content),
                  time.monotonic())
        again = False
        try:
            again = WAYS[way](client, row, content)
        except Refused as e:
            row.outcome, row.code, row.text = REFUSED, e.code, e.text
            again = e.code != 421
        except Broken as e:
            row.text = str(e)
            row.outcome = row.outcome or ABORTED
        except OSError as e:  # the data connection: reset while half was being sent
            row.text = str(e)
        row.took = time.monotonic() - row.began
        self.ledger.add(row)
        return again and way != "store"


# ---- crowds ----

class Crowd:
    """Connections that do nothing, or dribble one byte a second, and come again when dropped. One
    thread. `lived` holds the seconds that each dropped one was there."""

    def __init__(self, server, count, sources, dribble=None, greeted=None):
        self.server, self.count, self.sources, self.dribble = server, count, sources, dribble
        self.greeted = greeted  # bytes said at once, e.g. a login that is never finished
        self.lived, self.refused, self.there = [], 0, 0
        self.peak = 0
        self.stopping = threading.Event()
        self.full = threading.Event()  # each has connected once
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def _run(self):
        poll = selectors.DefaultSelector()
        next_byte = time.monotonic() + 1
        todo = collections.deque(range(self.count))
        again = []  # (when, index)
        position = 0
        while not self.stopping.is_set():
            now = time.monotonic()
            while again and again[0][0] <= now:
                todo.append(again.pop(0)[1])
            for _ in range(min(len(todo), 50)):  # not all at once: the backlog is not what we test
                self._connect(poll, todo.popleft(), now)
            if not todo and not self.full.is_set():
                self.full.set()
            for key, events in poll.select(0.02):
                self._event(poll, key, events, again)
            if self.dribble and now >= next_byte:
                next_byte = now + 1
                for key in list(poll.get_map().values()):
                    byte = self.dribble[position % len(self.dribble)].to_bytes(1, "big")
                    with contextlib.suppress(OSError):
                        key.fileobj.send(byte)
                position += 1
            self.peak = max(self.peak, self.there)
        for key in list(poll.get_map().values()):
            key.fileobj.close()
        poll.close()

    def _connect(self, poll, index, now):
        s = socket.socket()
        s.setblocking(False)
        bind_host(s, self.sources[index % len(self.sources)])
        s.connect_ex(self.server)
        poll.register(s, selectors.EVENT_READ, [index, now, b""])
        self.there += 1

    def _event(self, poll, key, events, again):
        index, began, heard = key.data
        try:
            got = key.fileobj.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if got:
            if not heard and self.greeted:
                with contextlib.suppress(OSError):
                    key.fileobj.send(self.greeted)
            key.data[2] = heard + got
            return
        poll.unregister(key.fileobj)
        key.fileobj.close()
        self.there -= 1
        if heard.startswith(b"421") or not heard:
            self.refused += 1
        else:
            self.lived.append(time.monotonic() - began)
        again.append((time.monotonic() + 1, index))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def addresses(count, net="127.0.1"):
    """Of loopback: 127.0.1.1 ... and on into 127.0.2.x."""
    a, b, c = (int(x) for x in net.split("."))
    return [f"{a}.{b}.{c + i // 250}.{i % 250 + 1}" for i in range(count)]


def allow_descriptors(count):
    """Raises this process' own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted >= count


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--server", required=True, metavar="HOST:PORT")
    p.add_argument("--user", required=True)
    p.add_argument("--password", required=True)
    p.add_argument("--folder", default="", help="that the names begin with")
    p.add_argument("--clients", type=int, default=8)
    p.add_argument("--uploads", type=int, help="of each client")
    p.add_argument("--seconds", type=float)
    p.add_argument("--size", type=int, default=20_000)
    p.add_argument("--ways", default="kept", help=f"NAME[=WEIGHT],... of {', '.join(WAYS)}")
    p.add_argument("--tls", choices=("explicit", "implicit"))
    p.add_argument("--sources", type=int, default=1, help="addresses, from 127.0.1.1 on")
    p.add_argument("--ledger", help="file for the rows, one JSON object a line")
    o = p.parse_args()
    if o.uploads is None and o.seconds is None:
        o.uploads = 10
    ways = {}
    for word in o.ways.split(","):
        name, _, weight = word.partition("=")
        if name not in WAYS:
            p.error(f"unknown way {name!r}; there is: {', '.join(WAYS)}")
        ways[name] = float(weight or 1)
    host, port = o.server.rsplit(":", 1)
    folder = o.folder and o.folder.rstrip("/") + "/"
    allow_descriptors(4 * o.clients + 100)
    load = Load((host.strip("[]"), int(port)), lambda _: (o.user, o.password), o.clients, o.uploads,
                o.seconds, ways, lambda c, n: f"{folder}load_{c}_{n}.jpg", o.size, o.tls,
                addresses(o.sources))
    ledger = load.run()
    seconds = time.monotonic() - load.began
    counts = ledger.counts()
    print(", ".join(f"{counts[k]} {k}" for k in OUTCOMES), f"in {seconds:.1f} s")
    if ledger.refused_logins:
        print(f"{len(ledger.refused_logins)} logins refused:", *set(ledger.refused_logins), sep="\n  ")
    took = [r.took * 1e3 for r in ledger.of(OK)]
    if took:
        print(f"uploads: p50 {statistics.median(took):.1f} ms, p99 {percentile(took, 0.99):.1f} ms")
    for outcome in (REFUSED, ABORTED):
        for code, n in sorted(ledger.codes(outcome).items()):
            print(f"{outcome} with {code or 'no reply'}: {n}")
    if o.ledger:
        ledger.write(o.ledger)


if __name__ == "__main__":
    main()
