"""The AMQP link against a real RabbitMQ, with pika as the other party."""

import errno
import hashlib
import socket
import time
import uuid

import pika
import pika.exceptions
import pytest

from conftest import wait_until
from driver import drive  # noqa: F401, a fixture


def body_of(size):
    """As the driver makes it."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def name():
    """A name that no other test uses."""
    return "t" + uuid.uuid4().hex[:12]


@pytest.fixture
def peer(broker):
    """A channel of pika's; broken connections of a test are its own business."""
    connection = broker.connection()
    yield connection.channel()
    try:
        connection.close()
    except pika.exceptions.AMQPError:
        pass  # the test killed its broker


def own_queue(peer, exchange, key="#"):
    """A queue of the other party that gets what is published with `key`."""
    queue = peer.queue_declare("", exclusive=True).method.queue
    peer.queue_bind(queue, exchange, key)
    return queue


def get(peer, queue):
    """(properties, body) of the next message."""
    def next_one():
        method, properties, body = peer.basic_get(queue, auto_ack=True)
        return method and (properties, body)
    return wait_until(next_one, "a message")


# ---- logging in ----

def test_a_wrong_password_is_told_as_such(broker, drive):
    drive.do(f"new addresses={broker.address} user=guest password=hunter2")
    drive.fail("connect", errno.EACCES, "never", f"broker '{broker.address}'", "refuses user 'guest'",
               "wrong user or password", "own machine only")
    assert "hunter2" not in drive.text()


def test_a_missing_vhost_is_told_as_such(broker, drive):
    drive.do(f"new addresses={broker.address} vhost=nowhere")
    drive.fail("connect", errno.EACCES, "never", "vhost 'nowhere'", "not found")


def test_a_vhost_without_rights_is_told_as_such(broker, drive, name):
    broker.ctl("add_user", name, "secret")
    drive.do(f"new addresses={broker.address} user={name} password=secret")
    drive.fail("connect", errno.EACCES, "never", f"user '{name}'", "access to vhost '/' refused")


def test_the_broker_sees_name_and_capabilities(broker, drive, name):
    drive.connect(broker.address, f"name={name} heartbeat=7")
    row = wait_until(lambda: [r for r in broker.ctl(
        "list_connections", "timeout", "client_properties", "--no-table-headers").splitlines()
        if name in r], "the connection")[0]
    assert row.startswith("7\t")
    for capability in ("connection.blocked", "consumer_cancel_notify", "publisher_confirms",
                       "basic.nack", "authentication_failure_close"):
        assert capability in row


def test_a_refused_address_is_passed_over_and_the_good_one_found(broker, drive):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # bound and not listening: refused
        dead = f"127.0.0.1:{s.getsockname()[1]}"
        assert drive.connect(f"{dead},{broker.address}") == broker.address
        # The next attempt begins behind the one that worked: at the dead one, and goes on.
        assert drive.do("connect") == broker.address
        drive.do(f"new addresses={dead}")
        drive.fail("connect", errno.ECONNREFUSED, "later", dead, "connection refused")


# ---- declaring ----

def test_an_exchange_is_made_non_durable(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    row = [r for r in broker.ctl("list_exchanges", "name", "type", "durable", "auto_delete",
                                 "--no-table-headers").splitlines() if r.startswith(name)]
    assert row == [f"{name}\ttopic\tfalse\tfalse"]
    drive.do(f"exchange {name} topic")  # again: it is there


def test_a_durable_exchange_of_the_right_type_will_do(broker, drive, peer, name):
    peer.exchange_declare(name, "direct", durable=True)
    drive.connect(broker.address)
    drive.do(f"exchange {name} direct")


def test_an_exchange_of_another_type_is_refused_and_costs_nothing(broker, drive, peer, name):
    peer.exchange_declare(name, "fanout")
    drive.connect(broker.address)
    queue = drive.do("queue")
    drive.do(f"consume {queue} 1")
    drive.fail(f"exchange {name} topic", errno.EEXIST, "never", f"exchange '{name}' exists with other",
               "current is 'fanout'", "delete it there or use another name")
    peer.basic_publish("", queue, b"still here")
    assert drive.event("delivery")["size"] == "10"


def test_a_queue_with_other_properties_is_refused_and_explained(broker, drive, peer, name):
    peer.queue_declare(name, durable=True)
    drive.connect(broker.address)
    drive.fail(f"queue name={name}", errno.EEXIST, "never", f"queue '{name}' exists with other flags",
               "x-queue-type")
    peer.queue_delete(name)
    assert drive.do(f"queue name={name} limit=3") == name
    assert drive.do(f"queue name={name} limit=3") == name
    drive.fail(f"queue name={name} limit=4", errno.EEXIST, "never", "x-delivery-limit")
    peer.queue_delete(name)


def test_a_user_who_may_not_configure_uses_what_is_there(broker, drive, peer, name):
    peer.exchange_declare(name, "topic")
    broker.add_user(name, "secret", configure="^$")
    drive.connect(broker.address, f"user={name} password=secret")
    drive.do(f"exchange {name} topic")
    drive.fail(f"exchange {name}x topic", errno.EACCES, "never", f"user '{name}' lacks the right")


def test_binding_to_nothing_is_told(broker, drive, name):
    drive.connect(broker.address)
    queue = drive.do("queue")
    drive.fail(f"bind {queue} {name} key", errno.ENOENT, "later", f"'{name}'", "NOT_FOUND")


# ---- publishing ----

def test_a_message_arrives_as_it_was_given(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    queue = own_queue(peer, name, "event.#")
    for size in (0, 1, 131063, 131064, 131065, 300000):  # around the payload of one frame
        tag = drive.do(f"publish {name} event.x id{size} {size} persistent=1 expiration=60000")
        event = drive.event(f"acked tag={tag} ")
        assert event["id"] == f"id{size}"
        properties, body = get(peer, queue)
        assert body == body_of(size)
        assert (properties.message_id, properties.delivery_mode, properties.expiration) == (
            f"id{size}", 2, "60000")
        assert properties.content_type == "application/octet-stream"
    tag = drive.do(f"publish {name} event.x - 3")
    drive.event(f"acked tag={tag} ")
    properties, body = get(peer, queue)
    assert (properties.message_id, properties.delivery_mode, properties.expiration) == (None,) * 3


def test_a_thousand_pipelined_publishes_are_each_confirmed_once(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    queue = own_queue(peer, name)
    drive.do(f"burst 3000 {name} k 2000")
    wait_until(lambda: drive.do("unconfirmed") == "0", "all confirms")
    wait_until(lambda: len(drive.events("acked")) == 3000, "all events")
    acked = drive.events("acked")
    assert sorted(int(e["tag"]) for e in acked) == list(range(1, 3001))
    assert {e["id"] for e in acked} == {f"b{i}" for i in range(1, 3001)}
    ids = [get(peer, queue)[0].message_id for _ in range(3000)]
    assert ids == [f"b{i}" for i in range(1, 3001)]


def test_what_no_queue_takes_comes_back_once_and_not_as_acked(broker, drive, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    returned = drive.do(f"publish {name} nobody lost 200000 mandatory=1")
    acked = drive.do(f"publish {name} nobody kept 10")
    event = drive.event(f"returned tag={returned} ")
    assert (event["id"], event["code"], event["text"]) == ("lost", "312", "NO_ROUTE")
    assert drive.event(f"acked tag={acked} ")["id"] == "kept"
    assert [e["tag"] for e in drive.events("acked")] == [acked]
    assert len(drive.events("returned")) == 1


def test_publishing_to_a_missing_exchange_costs_the_channel_and_not_the_connection(
        broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    old = drive.do(f"publish {name}x k first 10")
    event = drive.event("channel-closed")
    assert event["code"] == "404"
    assert f"no exchange '{name}x'" in drive.text()
    assert drive.do("unconfirmed") == "0"
    queue = own_queue(peer, name)
    tag = wait_until(lambda: (drive.say(f"publish {name} k second 10") + " ").split(" ")[2].strip()
                     if "ok" in drive.lines[-1] else None, "the channel")
    assert int(tag) > int(old)
    drive.event(f"acked tag={tag} ")
    assert get(peer, queue)[0].message_id == "second"


def test_a_quorum_queue_confirms_what_is_persistent(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"queue name={name}")
    # The exchange without a name leads to each queue by its name; a command has no empty words.
    drive.do(f"exchange {name} direct")
    drive.do(f"bind {name} {name} k")
    tag = drive.do(f"publish {name} k one 1000 persistent=1 mandatory=1")
    drive.event(f"acked tag={tag} ")
    peer.queue_delete(name)


# ---- consuming ----

def test_a_delivery_has_all_that_was_sent_and_is_gone_after_the_ack(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} direct")
    queue = drive.do("queue")
    drive.do(f"bind {queue} {name} event.trigger.snapshot")
    drive.do(f"consume {queue} 10")
    for size in (0, 5, 131064, 5_000_000):
        peer.basic_publish(name, "event.trigger.snapshot", body_of(size), pika.BasicProperties(
            message_id=f"m{size}", expiration="60000", headers={"a": {"b": [1, "x"]}}))
        event = drive.event("delivery")
        assert (event["id"], event["key"], event["expiration"], event["redelivered"]) == (
            f"m{size}", "event.trigger.snapshot", "60000", "0")
        assert (event["size"], event["sha"]) == (str(size), sha(body_of(size)))
        drive.do(f"ack {event['tag']}")
    drive.do("disconnect")
    assert "end errno" not in drive.text()


def test_only_as_many_are_under_way_as_asked_for_and_rejected_ones_come_again(
        broker, drive, peer, name):
    peer.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    for i in range(6):
        peer.basic_publish("", name, b"x", pika.BasicProperties(message_id=f"m{i}"))
    drive.connect(broker.address)
    assert drive.do(f"queue name={name}") == name
    drive.do(f"consume {name} 3")
    first = [drive.event("delivery") for _ in range(3)]
    assert [e["id"] for e in first] == ["m0", "m1", "m2"]
    drive.do(f"reject {first[0]['tag']} 1")
    again = drive.event("delivery")
    drive.do(f"reject {first[1]['tag']} 0")
    drive.do(f"ack {first[2]['tag']}")
    others = [drive.event("delivery") for _ in range(2)]
    assert len(drive.events("delivery")) == 6
    drive.do(f"ack {again['tag']}")
    # A quorum queue puts what was rejected behind the others.
    last = drive.event("delivery")
    assert [e["id"] for e in (again, *others, last)] == ["m3", "m4", "m5", "m0"]
    assert last["redelivered"] == "1"
    drive.do("disconnect")
    # What was acked or rejected for good is gone, the other three wait for the next consumer.
    wait_until(lambda: broker.queues().get(name) == 3, "three messages to be back")
    peer.queue_delete(name)


def test_a_body_above_the_limit_is_rejected_to_the_dead_letters_and_reported(
        broker, drive, peer, name):
    peer.exchange_declare(f"{name}-dead", "fanout", auto_delete=True)
    dead = own_queue(peer, f"{name}-dead", "")
    drive.connect(broker.address, "body_max=1000")
    drive.do(f"queue name={name} dlx={name}-dead")
    drive.do(f"consume {name} 5")
    for size, message_id in ((1001, "large"), (400000, "larger"), (1000, "fits")):
        peer.basic_publish("", name, body_of(size), pika.BasicProperties(message_id=message_id))
    assert drive.event("oversize")["size"] == "1001"
    event = drive.event("oversize")
    assert (event["id"], event["size"]) == ("larger", "400000")
    assert drive.event("delivery")["id"] == "fits"
    assert {get(peer, dead)[0].message_id for _ in range(2)} == {"large", "larger"}
    peer.queue_delete(name)


def test_a_deleted_queue_is_told_and_the_next_consumer_works(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"queue name={name}")
    drive.do(f"consume {name} 1")
    peer.queue_delete(name)
    drive.event("cancelled")
    queue = drive.do("queue")
    drive.do(f"consume {queue} 1")
    peer.basic_publish("", queue, b"on")
    drive.event("delivery")


def test_consuming_from_nothing_is_told_and_the_link_goes_on(broker, drive, name):
    drive.connect(broker.address)
    drive.fail(f"consume {name} 1", errno.ENOENT, "later", f"no queue '{name}'")
    drive.do(f"consume {drive.do('queue')} 1")


# ---- trouble ----

def test_a_blocked_broker_is_told_publishing_waits_and_goes_on(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    broker.block()
    try:
        tag = drive.do(f"publish {name} k first 1000")  # only who publishes is told
        assert "memory" in drive.wait_line(r"event blocked .*text=(.*)").group(1)
        drive.fail(f"publish {name} k second 1000", errno.EAGAIN, "later", "it blocks publishers")
        assert drive.do("unconfirmed") == "1"
    finally:
        broker.unblock()
    drive.event("unblocked")
    wait_until(lambda: drive.events("acked"), "the confirm")
    assert drive.events("acked")[0]["tag"] == tag
    tag = drive.do(f"publish {name} k second 1000")
    drive.event(f"acked tag={tag} ")
    assert "end errno" not in drive.text(), "a blocked connection is kept"


def test_a_large_message_into_a_blocked_broker_blocks_nobody(broker, drive, name):
    drive.connect(broker.address)
    drive.do(f"exchange {name} topic")
    broker.block()
    try:
        drive.do(f"publish {name} k large 30000000")  # more than any socket takes
        drive.event("blocked")
        drive.fail(f"publish {name} k next 10", errno.EAGAIN, "later")
    finally:
        broker.unblock()
    drive.event("unblocked")
    wait_until(lambda: drive.events("acked"), "the confirm")


def test_a_killed_broker_is_told_at_once_and_found_again(broker, drive, peer, name):
    drive.connect(broker.address)
    drive.do(f"queue name={name}")
    drive.do(f"exchange {name} direct")
    drive.do(f"bind {name} {name} k")
    tag = drive.do(f"publish {name} k kept 1000 persistent=1 mandatory=1")
    drive.event(f"acked tag={tag} ")
    drive.do(f"consume {name} 1")
    delivery = drive.event("delivery")
    wait_until(lambda: broker.on_disk(name), "the queue on disk")
    try:
        broker.kill()
        assert drive.end().startswith("end errno="), "told once"
        drive.fail(f"ack {delivery['tag']}", errno.ENOTCONN, "never")
        drive.fail(f"publish {name} k lost 10", errno.ENOTCONN, "later", "not connected")
        drive.fail("connect", errno.ECONNREFUSED, "later", "connection refused")
    finally:
        broker.start()
    drive.do("connect")
    drive.fail(f"ack {delivery['tag']}", errno.ESTALE, "never")
    drive.do(f"exchange {name} direct")
    drive.do(f"queue name={name}")
    drive.do(f"consume {name} 1")
    again = drive.event("delivery")
    assert (again["id"], again["redelivered"]) == ("kept", "1")
    assert int(again["tag"]) > int(delivery["tag"])
    drive.do(f"ack {again['tag']}")
    assert len([line for line in drive.lines if line.startswith("end ")]) == 1


def test_an_orderly_end_of_the_broker_is_told_with_its_words(broker, drive):
    drive.connect(broker.address)
    try:
        broker.stop()
        line = drive.end()
        assert "320 CONNECTION_FORCED" in line and "retry=later" in line
    finally:
        broker.start()


def test_a_broker_that_hangs_is_noticed_by_its_heartbeat(broker, drive, peer, name):
    drive.connect(broker.address, "heartbeat=2")
    drive.do(f"exchange {name} topic")
    start = time.monotonic()
    broker.pause()
    try:
        drive.do(f"publish {name} k doubtful 10")
        line = drive.end(patience=30)
        assert "errno=110 retry=now" in line and "no sign of life for 4 s" in line
        assert 3 <= time.monotonic() - start < 12
    finally:
        broker.resume()
    drive.do("connect")
    drive.do(f"exchange {name} topic")


# ---- TLS ----

def test_tls_with_the_right_authority_and_name(broker, drive, peer, name):
    drive.connect(f"localhost:{broker.tls_port}", f"tls=1 ca={broker.authority.ca}")
    drive.do(f"exchange {name} topic")
    queue = own_queue(peer, name)
    drive.do(f"burst 100 {name} k 100000")
    wait_until(lambda: len(drive.events("acked")) == 100, "all confirms")
    assert all(get(peer, queue)[1] == body_of(100000) for _ in range(100))
    mine = drive.do("queue")
    drive.do(f"consume {mine} 1")
    peer.basic_publish("", mine, body_of(3_000_000))
    assert drive.event("delivery")["sha"] == sha(body_of(3_000_000))


def test_tls_with_a_certificate_of_our_own(broker, drive):
    cert, key = broker.authority.sign("client", "DNS:client")
    drive.connect(f"localhost:{broker.tls_port}",
                  f"tls=1 ca={broker.authority.ca} cert={cert} key={key}")
    drive.do(f"new addresses=localhost:{broker.tls_port} tls=1 cert={key} key={key}")
    drive.fail("connect", errno.EINVAL, "never", "our certificate", str(key))


def test_tls_refuses_an_authority_that_it_does_not_know(broker, drive):
    drive.do(f"new addresses=localhost:{broker.tls_port} tls=1")  # the system's know nothing of it
    drive.fail("connect", errno.EKEYREJECTED, "never", "signed by nobody whom we trust",
               f"localhost:{broker.tls_port}")


def test_tls_refuses_a_certificate_for_another_name_unless_told(broker, drive):
    options = f"addresses=127.0.0.1:{broker.tls_port} tls=1 ca={broker.authority.ca}"
    drive.do(f"new {options}")
    drive.fail("connect", errno.EKEYREJECTED, "never", "is for localhost, not for '127.0.0.1'")
    drive.do(f"new {options} any_host=1")
    drive.do("connect")


def test_tls_on_the_plain_port_and_plain_on_the_tls_port_are_told(broker, drive):
    drive.do(f"new addresses=localhost:{broker.port} tls=1 ca={broker.authority.ca}")
    drive.fail("connect", errno.EPROTO, "never", "is it the port for TLS?")
    drive.do(f"new addresses=localhost:{broker.tls_port}")
    line = drive.say("connect")
    assert line.startswith("error connect") and ("switch TLS on" in line or "AMQP greeting" in line)
