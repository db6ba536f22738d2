"""The AMQP link against servers that behave as no broker should: silence, cuts, lies."""

import errno
import select
import socket
import ssl
import struct
import threading
import time

import pytest

from conftest import wait_until
from driver import drive, false_broker  # noqa: F401, fixtures
from false_broker import BODY, HEADER, HEARTBEAT, METHOD, START, deliver, frame, method, short, tune
from rabbit import Authority


def consumer(*parts, then=None):
    """A script: lets the client in and consume, sends the parts, waits for its end."""
    def script(client):
        client.greet()
        client.serve_consume()
        for part in parts:
            client.send(part)
        if then:
            then(client)
        else:
            while True:  # until it hangs up
                client.frame()
    return script


def connect(drive, server, options="", consume=False):
    drive.connect(server.address, options)
    if consume:
        drive.do("consume q 2")


# ---- who is no broker ----

def test_an_http_server_is_recognised(drive, false_broker):
    server = false_broker(lambda c: (c.take(8), c.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    drive.do(f"new addresses={server.address}")
    drive.fail("connect", errno.EPROTO, "never", "an HTTP server answers", "5672")


@pytest.mark.parametrize("greeting, number, text", [
    (b"220 ftp ready\r\n", errno.EPROTO, "no AMQP server"),
    (b"AMQP\1\1\0\x0a", errno.EPROTO, "another version of AMQP"),
    (b"\x15\x03\x03\0\x02\x02\x46", errno.EPROTO, "switch TLS on"),
    (b"", errno.ECONNRESET, "without an AMQP greeting"),
    (frame(METHOD, 0, b""), errno.EPROTO, "a method frame without a method"),
    (frame(METHOD, 0, b"\0\x0a\0\x0a"), errno.EPROTO, "cannot be decoded"),
    (struct.pack(">BHI", METHOD, 0, 1 << 30), errno.EPROTO, "too large"),
    (tune(), errno.EPROTO, "an answer to no question"),
    (deliver(1, 0), errno.EPROTO, "a delivery without a consumer"),
    (START + method(0, 10, 50, struct.pack(">H", 501) + short("FRAME_ERROR") + b"\0\0\0\0"),
     errno.ECONNRESET, "501 FRAME_ERROR"),
], ids=lambda value: "" if isinstance(value, bytes) else str(value))
def test_a_wrong_greeting_is_told_as_what_it_is(drive, false_broker, greeting, number, text):
    server = false_broker(lambda c: (c.take(8), c.send(greeting)))
    drive.do(f"new addresses={server.address}")
    line = drive.say("connect")
    assert line.startswith(f"error connect errno={int(number)} ") and text in line, line


def test_silence_ends_within_the_connect_time(drive, false_broker):
    server = false_broker(lambda c: c.take(1000))
    drive.do(f"new addresses={server.address} connect_ms=300")
    start = time.monotonic()
    drive.fail("connect", errno.ETIMEDOUT, "later", "no AMQP greeting within 300 ms")
    assert 0.25 < time.monotonic() - start < 5


def test_silence_after_the_log_in_ends_within_the_connect_time(drive, false_broker):
    server = false_broker(lambda c: (c.take(8), c.send(START), c.take(100000)))
    drive.do(f"new addresses={server.address} connect_ms=300")
    drive.fail("connect", errno.ETIMEDOUT, "later", "no answer to the log-in within 300 ms")


def test_a_full_backlog_is_a_time_out_and_the_next_address_is_tried(drive, false_broker):
    server = false_broker(lambda c: (c.greet(), c.frame()))
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = []
        for _ in range(8):  # until a connect hangs, the kernel is generous by one or two
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            fillers.append(s)
        drive.do(f"new addresses=127.0.0.1:{port},{server.address} connect_ms=500")
        assert drive.do("connect") == server.address
        for s in fillers:
            s.close()


def test_the_worst_error_of_several_addresses_is_told(drive, false_broker):
    refusal = method(0, 10, 50, struct.pack(">H", 403) + short("ACCESS_REFUSED") + b"\0\0\0\0")

    def refuse(client):
        client.take(8)
        client.send(START)
        client.expect(10, 11)
        client.send(refusal)
        client.expect(10, 51)

    server = false_broker(refuse)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        drive.do(f"new addresses={server.address},127.0.0.1:{s.getsockname()[1]} user=me password=x")
        drive.fail("connect", errno.EACCES, "never", server.address, "refuses user 'me'")


def test_a_name_without_address_is_told(drive):
    drive.do("new addresses=no-such-host.invalid connect_ms=20000")
    line = drive.say("connect")
    assert "retry=later" in line and "no-such-host.invalid" in line


@pytest.mark.parametrize("alternatives, works", [("IP:127.0.0.1", True), ("IP:127.0.0.2", False)])
def test_a_certificate_for_an_address_counts(drive, false_broker, tmp_path, alternatives, works):
    authority = Authority(tmp_path / "tls")
    cert, key = authority.sign("server", alternatives)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def script(client):
        client.connection = context.wrap_socket(client.connection, server_side=True)
        client.greet()
        client.frame()

    server = false_broker(script)
    drive.do(f"new addresses={server.address} tls=1 ca={authority.ca}")
    if works:
        drive.do("connect")
    else:
        drive.fail("connect", errno.EKEYREJECTED, "never", "is for 127.0.0.2, not for '127.0.0.1'")


# ---- what is agreed on ----

def test_the_lower_limits_win(drive, false_broker):
    agreed = []

    def script(client):
        client.greet(heartbeat=3, frame_max=4096)
        agreed.append(client.tune_ok)
        client.expect(85, 10)  # confirm.select
        client.expect(60, 40)
        sizes = []
        while sum(sizes) < 10000:
            kind, _, payload = client.frame()
            if kind == BODY:
                sizes.append(len(payload))
        agreed.append(sizes)
        client.frame()

    server = false_broker(script)
    connect(drive, server, "heartbeat=20 user=me password=my-secret")
    drive.do("publish x k id 10000")
    wait_until(lambda: len(agreed) == 2, "the message")
    assert agreed == [(2, 4096, 3), [4088, 4088, 1824]]


def test_heartbeats_leave_in_time_and_keep_an_idle_connection(drive, false_broker):
    times = []

    def script(client):
        client.greet(heartbeat=1)
        for _ in range(4):
            kind, channel, payload = client.frame()
            assert (kind, channel, payload) == (HEARTBEAT, 0, b"")
            times.append(time.monotonic())
            client.send(frame(HEARTBEAT, 0, b""))

    server = false_broker(script)
    connect(drive, server)
    drive.end()  # when the script has seen enough
    assert len(times) == 4
    assert all(b - a < 1.9 for a, b in zip(times, times[1:]))


def test_heartbeats_leave_while_an_answer_is_waited_for(drive, false_broker):
    def script(client):
        client.greet(heartbeat=1)
        client.expect(20, 10)
        for _ in range(3):
            assert client.frame()[0] == HEARTBEAT
            client.send(frame(HEARTBEAT, 0, b""))
        client.send(method(2, 20, 11, b"\0\0\0\0"))
        client.expect(40, 10)
        client.send(method(2, 40, 11))
        client.frame()

    server = false_broker(script)
    connect(drive, server)
    drive.do("exchange x topic")


def test_a_link_that_was_not_looked_at_for_long_judges_by_what_has_come(drive, false_broker):
    """Our own pause of more than two heartbeats is not the peer's death."""
    enough = threading.Event()

    def script(client):
        client.greet(heartbeat=1)
        for _ in range(7):  # 2.8 s
            client.send(frame(HEARTBEAT, 0, b""))
            enough.wait(0.4)
        enough.set()
        client.expect(85, 10)
        client.expect(60, 40)
        client.frame()
        client.send(method(1, 60, 80, struct.pack(">QB", 1, 0)))
        client.frame()

    server = false_broker(script)
    connect(drive, server)
    drive.do("deaf 1")
    assert enough.wait(30)
    drive.do("deaf 0")
    drive.do("publish x k id 0")
    drive.event("acked tag=1 ")


def test_good_bye_waits_until_the_peer_has_read_what_we_said(drive, false_broker):
    """Also when stopped, which is when one says it: else the kernel throws our last acks away."""
    seen = []

    def leave(client):
        client.expect(60, 80)
        client.expect(10, 50)
        client.send(deliver(2, 0))  # something unread
        readable, _, _ = select.select([client.connection], [], [], 0.3)
        seen.append(bool(readable))
        client.send(method(0, 10, 51))
        try:
            client.frame()
        except EOFError:
            seen.append("closed in order")

    server = false_broker(consumer(deliver(1, 0), then=leave))
    connect(drive, server, consume=True)
    event = drive.event("delivery")
    drive.do(f"ack {event['tag']}")
    drive.do("stop")
    drive.do("disconnect")
    wait_until(lambda: len(seen) == 2, "the end")
    assert seen == [False, "closed in order"]


def test_a_stop_ends_asking(drive, false_broker):
    server = false_broker(lambda c: (c.greet(), [c.frame() for _ in range(100)]))
    connect(drive, server)
    drive.do("stop")
    drive.fail("exchange x topic", errno.ECANCELED, "later", "stopped while waiting")


def test_a_refused_channel_is_told(drive, false_broker):
    def script(client):
        client.take(8)
        client.send(START)
        client.expect(10, 11)
        client.send(tune())
        client.expect(10, 31)
        client.expect(10, 40)
        client.send(method(0, 10, 41, short("")))
        client.expect(20, 10)
        client.send(method(1, 20, 40, struct.pack(">H", 403) + short("NO_MORE") + b"\0\0\0\0"))
        client.frame()

    server = false_broker(script)
    drive.do(f"new addresses={server.address}")
    drive.fail("connect", errno.EACCES, "never", "a channel in vhost '/'", "NO_MORE")


# ---- cuts ----

@pytest.mark.parametrize("rest", [
    b"\1\0", deliver(1, 10)[:20], deliver(1, 10), deliver(1, 10) + frame(BODY, 1, b"12345"),
    deliver(1, 10) + frame(BODY, 1, b"1234567890")[:12]], ids=len)
def test_a_cut_in_the_middle_of_a_frame_or_message_ends_the_connection(drive, false_broker, rest):
    server = false_broker(consumer(rest, then=lambda c: None))
    connect(drive, server, consume=True)
    line = drive.end()
    assert f"errno={int(errno.ECONNRESET)} retry=now" in line and server.address in line
    assert not drive.events("delivery")


def test_a_stall_in_the_middle_of_a_message_hangs_nobody(drive, false_broker):
    server = false_broker(consumer(deliver(1, 100000) + frame(BODY, 1, bytes(1000))[:500]))
    connect(drive, server, "heartbeat=1", consume=True)
    start = time.monotonic()
    assert drive.do("unconfirmed") == "0"
    drive.do("publish x k id 10")
    assert time.monotonic() - start < 1, "answers while the message is stuck"
    assert "no sign of life for 2 s" in drive.end()


def test_events_before_the_end_are_told_before_it(drive, false_broker):
    whole = deliver(1, 3) + frame(BODY, 1, b"abc")
    server = false_broker(consumer(whole, then=lambda c: None))
    connect(drive, server, consume=True)
    drive.end()
    assert [line.split()[1] for line in drive.lines if line.startswith(("event", "end"))][0] == (
        "delivery")


# ---- lies ----

HEADERS_DEEP = b"\1kF"  # a key, and a table as its value


def nested_table(levels):
    table = b""
    for _ in range(levels):
        entry = HEADERS_DEEP + struct.pack(">I", len(table)) + table
        table = entry
    return struct.pack(">I", len(table)) + table


@pytest.mark.parametrize("bytes_, text", [
    (frame(BODY, 1, b"x"), "a content body without a message"),
    (frame(HEADER, 1, struct.pack(">HHQ", 60, 0, 1) + b"\0\0"), "a content header without"),
    (deliver(1, 3) + frame(BODY, 1, b"1234"), "longer than announced"),
    (deliver(1, 3) + deliver(2, 3), "in the middle of a message"),
    (deliver(1, 3, properties=b"\x20\0\xff\xff\xff\xff"), "properties that cannot be decoded"),
    (deliver(1, 3, properties=b"\0\1\0\1"), "properties that cannot be decoded"),
    (deliver(1, 3, properties=b""), "properties that cannot be decoded"),
    (frame(HEADER, 1, b"short"), "a content header of no message"),
    (method(7, 20, 11), "a channel that we did not open"),
    (method(1, 60, 80, struct.pack(">QB", 5, 0)), "confirms what was not published"),
    (method(1, 50, 20), "not for clients"),
    (method(1, 50, 21), "an answer to no question"),
    (method(1, 10, 61), "that is not for a channel"),
    (frame(9, 0, b""), "unknown type"),
    (frame(METHOD, 0, b"\0\x0a\0\x3d")[:-1] + b"\0", "a frame without its end"),
], ids=lambda value: "" if isinstance(value, bytes) else value)
def test_a_lie_ends_the_connection_with_its_name(drive, false_broker, bytes_, text):
    server = false_broker(consumer(bytes_))
    connect(drive, server, consume=True)
    line = drive.end()
    assert f"errno={int(errno.EPROTO)} retry=later" in line and text in line, line


def test_a_flood_of_deliveries_is_taken_as_it_comes(drive, false_broker):
    server = false_broker(consumer(b"".join(deliver(i, 0) for i in range(1, 200))))
    connect(drive, server, consume=True)
    wait_until(lambda: len(drive.events("delivery")) == 199, "all deliveries")


def test_more_deliveries_than_asked_for_are_not_hoarded(drive, false_broker):
    """While we wait for an answer, nobody takes events."""
    def flood(client):
        client.expect(20, 10)  # the channel for questions; its answer never comes
        for tag in range(1, 2000):
            client.send(deliver(tag, 0))
        client.frame()

    server = false_broker(consumer(then=flood))
    connect(drive, server, consume=True)
    drive.fail("exchange x topic", errno.EPROTO, "later", "more deliveries than we asked for")


def test_headers_nested_without_end_are_not_even_looked_at(drive, false_broker):
    table = nested_table(14000)
    assert len(table) < 131000
    server = false_broker(consumer(deliver(1, 2, properties=b"\x20\x80" + table + short("the-id"))
                                   + frame(BODY, 1, b"ok")))
    connect(drive, server, consume=True)
    event = drive.event("delivery")
    assert (event["id"], event["size"]) == ("the-id", "2")


def test_multiple_confirms_are_told_one_by_one(drive, false_broker):
    def confirm(client):
        client.greet()
        client.expect(85, 10)
        for _ in range(5):
            client.expect(60, 40)
            client.frame(), client.frame()
        client.send(method(1, 60, 80, struct.pack(">QB", 4, 0)))   # the fourth
        client.send(method(1, 60, 120, struct.pack(">QB", 2, 1)))  # nack: the first and second
        client.send(method(1, 60, 80, struct.pack(">QB", 0, 1)))   # all others
        client.send(method(1, 60, 80, struct.pack(">QB", 3, 0)))   # once more: no matter
        client.frame()

    server = false_broker(confirm)
    connect(drive, server)
    for i in range(1, 6):
        drive.do(f"publish x k m{i} 3")
    wait_until(lambda: drive.do("unconfirmed") == "0", "all confirms")
    told = [(line.split()[1], line.split()[3]) for line in drive.lines if line.startswith("event")]
    assert told == [("acked", "id=m4"), ("nacked", "id=m1"), ("nacked", "id=m2"), ("acked", "id=m3"),
                    ("acked", "id=m5")]


def test_an_answer_that_never_comes_ends_the_connection_in_time(drive, false_broker):
    server = false_broker(lambda c: (c.greet(), [c.frame() for _ in range(100)]))
    connect(drive, server)
    start = time.monotonic()
    drive.fail("exchange x topic", errno.ETIMEDOUT, "later", "no answer in time")
    assert 4 < time.monotonic() - start < 15
    drive.fail("exchange x topic", errno.ENOTCONN, "later")
