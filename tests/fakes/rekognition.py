"""Amazon Rekognition's DetectLabels on a port of 127.0.0.1, one object for each region. It checks
signatures with botocore's code and requests with botocore's model, keeps to the limits of the
service, counts what would be on the bill, and misbehaves on request.

    account = FakeAws()                          # STS, instance metadata, and whose keys are known
    account.keys["AKID"] = Key("secret")
    dublin = FakeRekognition("eu-west-1", account)
    dublin.labels = [label("Person", 98.5, [box(0.1, 0.2, 0.3, 0.4, 97)])]
    dublin.faults.append(RekognitionFault("ThrottlingException", times=3))
    ... dublin.url ... dublin.billed ... dublin.pictures ...
"""
import argparse
import base64
import binascii
import collections
import functools
import io
import json
import os
import re
import sys
import time

import botocore.session
from botocore.auth import SigV4Auth
from botocore.validate import ParamValidator
from PIL import Image, ImageOps

if __package__:
    from fakes.aws import Answer, FakeAws, Fault, Key
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from aws import Answer, FakeAws, Fault, Key

BYTES_MAX, SIDE_MIN, SIDE_MAX = 5242880, 80, 10000
KIND = "application/x-amz-json-1.1"
Image.MAX_IMAGE_PIXELS = None  # our own tests make them large

# The statuses of what is no plain 400.
STATUS = {"InternalServerError": 500, "ServiceUnavailableException": 503, "InternalFailure": 500}
FORMS = ("plain", "namespace", "header")

# What a check of S3 calls it, and what the JSON services do.
SIGNATURE_ERRORS = {"AccessDenied": "MissingAuthenticationTokenException",
                    "RequestTimeTooSkewed": "InvalidSignatureException",
                    "SignatureDoesNotMatch": "InvalidSignatureException",
                    "InvalidAccessKeyId": "UnrecognizedClientException",
                    "InvalidToken": "UnrecognizedClientException",
                    "ExpiredToken": "ExpiredTokenException"}

Sent = collections.namedtuple("Sent", "bytes format width height orientation request")


def box(left, top, width, height, confidence):
    return {"BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height},
            "Confidence": confidence}


def label(name, confidence, instances=(), parents=()):
    return {"Name": name, "Confidence": confidence, "Instances": list(instances),
            "Parents": [{"Name": p} for p in parents], "Aliases": [],
            "Categories": [{"Name": "Person Description"}]}


def failure(code, message="", form="plain", headers=(), status=None):
    """An error in one of the forms that occur."""
    status = status or STATUS.get(code, 400)
    headers = [("x-amzn-RequestId", "0-1-2"), *headers]
    if form == "namespace":
        body = {"__type": f"com.amazonaws.rekognition#{code}", "Message": message}
    elif form == "header":
        headers.append(("x-amzn-ErrorType", f"{code}:http://internal.amazon.com/coral/"))
        body = {"message": message}
    else:
        body = {"__type": code, "message": message}
    return Answer(status, json.dumps(body), headers, KIND)


class RekognitionFault(Fault):
    """A code of the service, or with `cut_body` a good answer that breaks off in the middle."""

    def __init__(self, code="", times=1, form="plain", status=None, cut_body=False, **others):
        super().__init__(times=times, code=code, status=status or STATUS.get(code, 400), **others)
        self.form, self.cut_body = form, cut_body
        self.after = self.after or cut_body


@functools.lru_cache
def detect_labels_shape():
    model = botocore.session.Session().get_service_model("rekognition")
    return model.operation_model("DetectLabels").input_shape


def red_person(sent):
    """Sees a person where the picture is red, as Rekognition sees a picture: a JPEG turned by its
    EXIF orientation, a PNG as it is stored."""
    image = Image.open(io.BytesIO(sent.bytes))
    if image.format == "JPEG":
        image = ImageOps.exif_transpose(image)
    width, height = image.size
    red, green, _ = image.convert("RGB").split()
    mask = Image.merge("RGB", (red, green, green)).convert("RGB").point(lambda v: 255 * (v > 128))
    mask = Image.composite(Image.new("L", image.size, 0), mask.getchannel(0), mask.getchannel(1))
    x1, y1, x2, y2 = mask.getbbox() or (0, 0, 0, 0)
    return [label("Person", 99.0, [box(x1 / width, y1 / height, (x2 - x1) / width,
                                       (y2 - y1) / height, 99.0)])]


class FakeRekognition(FakeAws):
    def __init__(self, region, account=None):
        self.region = region
        self.labels = [label("Person", 98.5, [box(0.1, 0.2, 0.3, 0.4, 97.5)]),
                       label("Car", 90, [box(0.5, 0.5, 0.25, 0.25, 88)]), label("Outdoors", 80)]
        self.look = lambda sent: self.labels    # or a function of what was sent, as red_person
        self.billed = 0                         # good answers, also those that got lost
        self.pictures = []                      # Sent
        self.delay_s = 0                        # before an answer
        self.per_second = None                  # beyond: ThrottlingException
        self.checks = True                      # False: fast, for measuring
        self.recent = collections.deque()
        self.active = self.active_max = 0
        super().__init__()
        if account:
            self.keys = account.keys

    def by_content(self, data):
        """How often a picture was billed."""
        return sum(1 for p in self.pictures if p.bytes == data)

    # ---- the service

    def decide(self, r):
        if "x-amz-target" not in r.headers:
            return super().decide(r)
        with self.lock:
            self.active += 1
            self.active_max = max(self.active_max, self.active)
        try:
            if self.delay_s:
                time.sleep(self.delay_s)
            return self.detect_labels(r)
        finally:
            with self.lock:
                self.active -= 1

    def faulty(self, fault, handler):
        if getattr(fault, "cut_body", False):
            handler.send_response_only(200)
            handler.send_header("Content-Type", KIND)
            handler.send_header("Content-Length", "5000")
            handler.end_headers()
            handler.wfile.write(b'{"Labels": [')
            return self.gone(handler)
        if fault.code and isinstance(fault, RekognitionFault):
            return failure(fault.code, fault.message, fault.form, fault.headers, fault.status)
        return super().faulty(fault, handler)

    def check_signature(self, r):
        try:
            _, region = self.check(r, "rekognition", SigV4Auth)
        except Answer as a:
            code = re.search(rb"<Code>(\w+)</Code>", a.body).group(1).decode()
            raise failure(SIGNATURE_ERRORS[code], code) from None
        if region != self.region:
            raise failure("InvalidSignatureException", f"Credential should be scoped to {self.region}")

    def throttle(self):
        with self.lock:
            now = time.monotonic()
            while self.recent and self.recent[0] <= now - 1:
                self.recent.popleft()
            if len(self.recent) >= self.per_second:
                raise failure("ThrottlingException", "Rate exceeded")
            self.recent.append(now)

    def detect_labels(self, r):
        if r.method != "POST" or r.headers["x-amz-target"] != "RekognitionService.DetectLabels":
            raise failure("UnknownOperationException")
        if r.headers["content-type"] != KIND:
            raise failure("SerializationException", "content type")
        if self.checks:
            self.check_signature(r)
        if self.per_second:
            self.throttle()
        asked = self.read_request(r)
        sent = self.read_picture(asked["Image"]["Bytes"], r)
        found = [x for x in self.look(sent) if x["Confidence"] >= asked.get("MinConfidence", 55)]
        found.sort(key=lambda x: -x["Confidence"])
        body = {"LabelModelVersion": "3.0", "Labels": found[:asked.get("MaxLabels", 1000)]}
        with self.lock:
            self.billed += 1
            self.pictures.append(sent)
        return Answer(200, json.dumps(body), [("x-amzn-RequestId", f"{self.billed}")], KIND)

    def read_request(self, r):
        try:
            asked = json.loads(r.body)
            asked["Image"]["Bytes"] = base64.b64decode(asked["Image"]["Bytes"], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as e:
            raise failure("SerializationException", str(e)) from None
        if self.checks:
            report = ParamValidator().validate(asked, detect_labels_shape())
            if report.has_errors() or not 0 <= asked.get("MinConfidence", 55) <= 100:
                raise failure("InvalidParameterException", report.generate_report())
        return asked

    def read_picture(self, data, r):
        if len(data) > BYTES_MAX:
            raise failure("ImageTooLargeException", f"{len(data)} bytes")
        if not self.checks:
            return Sent(data, None, 0, 0, 1, r)
        try:
            image = Image.open(io.BytesIO(data))
            if image.format not in ("JPEG", "PNG"):
                raise ValueError(image.format)
            orientation = image.getexif().get(0x0112, 1)
            width, height = image.size
            image.load()
        except (OSError, ValueError) as e:
            raise failure("InvalidImageFormatException", str(e)) from None
        if min(width, height) < SIDE_MIN or max(width, height) > SIDE_MAX:
            raise failure("InvalidParameterException", f"{width}x{height}")
        return Sent(data, image.format, width, height, orientation, r)


def main():
    """For programs in another language: the address on standard output, the end with standard
    input. What was billed comes then."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--region", default="eu-west-1")
    p.add_argument("--delay", type=float, default=0, help="seconds")
    p.add_argument("--key", default="AKID:secret")
    p.add_argument("--fast", action="store_true", help="neither signature nor picture is looked at")
    options = p.parse_args()
    fake = FakeRekognition(options.region)
    name, _, secret = options.key.partition(":")
    fake.keys[name] = Key(secret)
    fake.delay_s, fake.checks = options.delay, not options.fast
    print(fake.url, flush=True)
    sys.stdin.read()
    print(fake.billed, fake.active_max, flush=True)
    fake.close()


if __name__ == "__main__":
    main()
