#!/usr/bin/python3
"""Makes golden/: broker messages as python3-u-msgpack, the library of the Python side, writes them.

    make_golden.py            writes the files
    make_golden.py --check    exit 1 and the names of those that are not what it would write

A picture above 1000 bytes is not kept: NAME.head is what comes before it, NAME.tail what follows,
and whoever reads them puts picture(size) in between.
"""
import collections
import collections.abc
import os
import struct
import sys

collections.Hashable = collections.abc.Hashable  # u-msgpack 2.3 looks for it there to decode

import umsgpack  # noqa: E402

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
KEPT_MAX = 1000
WHEN = 1767323045  # 2026-01-02T03:04:05Z
ISO = "2026-01-02T03:04:05Z"


def picture(size):
    """The same bytes as picture_new() of messages.c."""
    return (b"\xff\xd8\xff" + bytes((i * 31 + 7) & 0xff for i in range(3, size)))[:size]


def event(size, changes=(), more=(), drop=()):
    item = {"device_key": "Front Door Camera", "device_label": "Front Door", "type": "camera",
            "image": picture(size), "image_timestamp": str(WHEN), "storage_url": None,
            "storage_path": "/data/front/2026/01/02/fetch_front-door-camera_1767323045.jpg"}
    item.update(changes)
    item = {key: value for key, value in item.items() if key not in drop}
    return {"timestamp": ISO, "inputs": [{**item, **dict(more)}]}


PERSON = {"device_label": "Haustür vorn", "storage_url": "https://drive.example/folders/1a2b"}
DETAIL = {"event_detail": "2 person(s) and 3 things"}
EXTENDED = {
    "snapshot_id": "019b7c5a1b2c00112233445566778899", "size": 300, "sha256": "ab" * 32,
    "content_type": "image/jpeg", "width": 1920, "height": 1080, "outcome": "examined",
    "model": "yolov8n-640.onnx",
    "detections": [
        {"label": "person", "confidence": 0.9134, "box": [10.5, 20.0, 110.25, 400.0]},
        {"label": "Person", "confidence": 0.5, "box": [0.0, 0.0, 1920.0, 1080.0]},
        {"label": "car", "confidence": 0.25, "box": None}],
    "fetch_ms": 41.25, "decode_ms": 3.5, "infer_ms": 12.75}
SKIPPED = dict(EXTENDED, size=70000, content_type="image/png", outcome="skipped", model=None,
               detections=[], fetch_ms=None, decode_ms=0.0, infer_ms=0.0)


def claim_check():
    item = {}
    for key, value in event(3, PERSON, {**DETAIL, **EXTENDED})["inputs"][0].items():
        if key == "image":
            item["image_url"] = "http://snap.example/api/v1/snapshots/019b/image"
        else:
            item[key] = value
    return {"timestamp": ISO, "inputs": [item]}


# What our encoders must write, byte for byte. The names are those of messages.c.
OUTGOING = {
    "event_3": event(3),
    "event_300": event(300),
    "event_70000": event(70000),
    "event_person": event(300, PERSON, DETAIL),
    "event_extended": event(300, PERSON, {**DETAIL, **EXTENDED}),
    "event_extended_skipped": event(70000, {
        "storage_path": "/data/front/human_by-its-camera.png"}, SKIPPED),
    "event_claim_check": claim_check(),
    "event_pushed": event(300, {
        "storage_path": "/data/front/2026/01/02/Haustür 05[M][0@0][0].jpg"}),
    "heartbeat": {
        "timestamp": ISO,
        "inputs": [{"type": "Detector", "location": "Driveway",
                    "device_key": "Driveway Detector"}],
        "outputs": [{"location": "Front Door", "type": "Camera",
                     "device_key": "Front Door Camera"},
                    {"type": "Siren", "device_key": "Siren"}]},
    "heartbeat_empty": {"timestamp": ISO, "inputs": [], "outputs": []},
}


def extension(kind, data):
    ext = umsgpack.Ext(0, data)
    ext.type = kind  # its constructor refuses the reserved ones
    return ext


def trigger(timestamp, **top):
    output = {"device_key": "Front Door Camera", "device_label": "Front Door",
              "device_type": "Camera", "device_params": "admin:pw@192.0.2.7:88",
              "trigger_interval": 30, "device_enabled": True, "trigger_topic": None}
    active = {"device_key": "Driveway Motion", "device_type": "detector"}
    return {"timestamp": timestamp, "active_input": dict(active, **top.pop("active", {})),
            "output_triggered": output, **top}


# What our decoder must understand.
INCOMING = {
    "trigger_int": trigger(WHEN),
    "trigger_float": trigger(WHEN + 0.25),
    "trigger_text": trigger(ISO),
    "trigger_ext4": trigger(extension(-1, struct.pack(">I", WHEN))),
    "trigger_ext8": trigger(extension(-1, struct.pack(">Q", 250000000 << 34 | WHEN))),
    "trigger_ext12": trigger(extension(-1, struct.pack(">Iq", 250000000, WHEN))),
    "trigger_traced": trigger(
        WHEN, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", baggage="a=b"),
    "trigger_picture": trigger(WHEN, active={"image": picture(70000), "numbers": [
        0, -1, -33, -129, -40000, 255, 70000, 1 << 40, -(1 << 40), 1.5, None, True, False]}),
}


def files():
    for name, message in {**OUTGOING, **INCOMING}.items():
        packed = umsgpack.packb(message)
        big = picture(70000)
        if big in packed:
            head, tail = packed.split(big)
            yield name + ".head", head
            yield name + ".tail", tail
        else:
            yield name + ".bin", packed


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    os.makedirs(GOLDEN, exist_ok=True)
    wrong = sorted(set(os.listdir(GOLDEN)) - {name for name, _ in files()})
    for name, content in files():
        path = os.path.join(GOLDEN, name)
        if not check:
            with open(path, "wb") as f:
                f.write(content)
        elif not os.path.exists(path) or open(path, "rb").read() != content:
            wrong.append(name)
    for name in wrong:
        print(f"{name}: not what make_golden.py makes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
