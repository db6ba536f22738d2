"""Pushed pictures as the rest of the house gets them: the original's event, byte for byte."""

import time

from conftest import wait_until
from house import decode, house, umsgpack  # noqa: F401, one is a fixture
from spool import folder, picture, put, rows

PUSHING = "[camera:porch]\nlocation = Back Porch\nlabel = Hintertür\n"


def test_the_event_of_a_pushed_picture_is_the_originals_byte_for_byte(house):
    consumer = house.consumer()
    d = house.start(more=PUSHING)
    at = int(time.time()) - 100
    name = time.strftime("MDAlarm_%Y%m%d-%H%M%S [1]@#ü.jpg", time.localtime(at))
    put(d.data / "ftp/uploads/backporch" / name, picture(1))
    [message] = consumer.wait_events(1)
    [row] = rows(d)
    assert message.id == row["id"]
    assert message.key == "event.notify.snapshot.snapshot-processor.image"
    assert row["path"] == time.strftime("backporch/%Y/%m/%d/", time.gmtime(at)) + name
    assert message.body == umsgpack.packb({
        "timestamp": decode(message.body)["timestamp"],
        "inputs": [{"device_key": "Back Porch Camera", "device_label": "Hintertür",
                    "type": "camera", "image": picture(1), "image_timestamp": str(at),
                    "storage_url": None, "storage_path": f"{d.data}/store/{row['path']}"}]})


def test_a_fixed_name_is_an_event_each_time(house):
    consumer = house.consumer()
    d = house.start(more=PUSHING)
    path = d.data / "ftp/uploads/backporch/snap.jpg"
    for i in range(3):
        put(path, picture(i))
        consumer.wait_events(i + 1)
        wait_until(lambda: not path.exists(), "the file to go")
    images = [decode(m.body)["inputs"][0]["image"] for m in consumer.wait_events(3)]
    assert images == [picture(i) for i in range(3)]
    assert len(consumer.ids()) == 3


def test_pictures_are_taken_while_the_broker_is_away(house, broker):
    consumer = house.consumer(queue="pushed")
    d = house.start(more=PUSHING)
    house.wait_connected()
    broker.pause()
    try:
        for i in range(5):
            put(d.data / f"ftp/uploads/backporch/{i}.jpg", picture(i))
        wait_until(lambda: folder(d)["taken"] == 5, "the pictures")
    finally:
        broker.resume()
    house.wait_drained()
    assert {decode(m.body)["inputs"][0]["image"] for m in consumer.wait_events(5)} == \
        {picture(i) for i in range(5)}
