#!/usr/bin/python3
"""The bodies that we post are those of botocore's serializer, byte for byte but for the way in
which a space is written, and its model of the service takes them."""
import datetime
import json
import os
import random
import subprocess
import traceback
import urllib.parse

import botocore.session
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = os.path.join(os.environ.get("BUILD_ROOT", os.path.join(HERE, "../../../build")),
                      "tests/unit/cloudwatch/cloudwatch_driver")
MODEL = botocore.session.Session().get_service_model("cloudwatch").operation_model("PutMetricData")


def ours(cases):
    done = subprocess.run([DRIVER], input="".join(json.dumps(c) + "\n" for c in cases), text=True,
                          capture_output=True, check=True)
    return done.stdout.splitlines()


def device(name):
    """The predecessor's rule, in its own language."""
    parts = name.split("-")
    return "-".join(parts[0:2]) if len(parts) > 2 else name


def theirs(case):
    def datum(d):
        at = datetime.datetime.fromtimestamp(d["at"], datetime.timezone.utc)
        told = {"MetricName": d["metric"], "Dimensions": [
            {"Name": "Application", "Value": case["application"]},
            {"Name": "Device", "Value": device(case["device"])}], "Timestamp": at}
        if d["level"] or d["value"] == 1:
            told["Value"] = d["value"]
        else:
            told.update(Values=[1], Counts=[d["value"]])
        told["Unit"] = "Count"
        return told

    asked = {"Namespace": case["namespace"], "MetricData": [datum(d) for d in case["data"]]}
    report = ParamValidator().validate(asked, MODEL.input_shape)
    assert not report.has_errors(), report.generate_report()
    form = create_serializer("query").serialize_to_request(asked, MODEL)["body"]
    return urllib.parse.urlencode(form, quote_via=urllib.parse.quote, safe="-_.~")


def random_cases(count):
    rng = random.Random(20260102)
    letters = "abcXYZ019-._~ /+&=%$@!*'(),;:?#\"<>"

    def word(n):
        return "w" + "".join(rng.choice(letters) for _ in range(rng.randint(0, n)))

    for _ in range(count):
        yield {"namespace": rng.choice(["automation", "a/b c", "x_y#z"]), "application": word(40),
               "device": word(40), "data": [
                   {"metric": rng.choice(["Errors", "PicturesStored"]), "level": rng.random() < 0.3,
                    "value": rng.choice([1, 1, 2, 17, 12345, 10 ** 12]),
                    "at": rng.randint(0, 4102444800)} for _ in range(rng.randint(1, 12))]}


def bodies_are_those_of_botocore():
    cases = list(random_cases(300))
    bodies = ours(cases)
    assert len(bodies) == len(cases)
    for case, body in zip(cases, bodies):
        assert body == theirs(case), (case, body, theirs(case))


def what_cloudwatch_does_not_take_is_replaced():
    case = {"namespace": "n", "application": "T\u00fcr\u20ac\n", "device": "\u00fc-b-c", "data": [
        {"metric": "Errors", "level": False, "value": 1, "at": 0}]}
    form = dict(urllib.parse.parse_qsl(ours([case])[0]))
    assert form["MetricData.member.1.Dimensions.member.1.Value"] == "T?r??"
    assert form["MetricData.member.1.Dimensions.member.2.Value"] == "?-b"


def main():
    tests = [bodies_are_those_of_botocore, what_cloudwatch_does_not_take_is_replaced]
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__}")
        except Exception:  # pylint: disable=broad-except
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()))
            print(f"not ok {number} - {test.__name__}")


main()
