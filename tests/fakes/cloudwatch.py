"""Amazon CloudWatch's PutMetricData on a port of 127.0.0.1. It checks signatures with botocore's
code and requests with botocore's model, keeps to the limits of the service, remembers each sample,
and misbehaves on request.

    account = FakeAws()                           # STS, and whose keys are known
    account.keys["AKID"] = Key("secret")
    dublin = FakeCloudWatch("eu-west-1", account)
    dublin.faults.append(CloudWatchFault("Throttling", times=3))
    ... dublin.url ... dublin.sum("Errors", Device="porch") ... dublin.data ...
"""
import datetime
import functools
import math
import os
import re
import sys
import urllib.parse
from xml.sax.saxutils import escape

import botocore.session
from botocore.auth import SigV4Auth
from botocore.validate import ParamValidator

if __package__:
    from fakes.aws import Answer, FakeAws, Fault
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from aws import Answer, FakeAws, Fault

KIND = "text/xml"
BODY_MAX, DATA_MAX, DIMENSIONS_MAX, VALUES_MAX = 1 << 20, 1000, 30, 150
OLDEST_S, NEWEST_S = 14 * 86400, 2 * 3600

# The statuses of what is no plain 400.
STATUS = {"InternalServiceFault": 500, "ServiceUnavailable": 503, "AccessDenied": 403,
          "InvalidClientTokenId": 403, "SignatureDoesNotMatch": 403, "ExpiredToken": 403}
# What a check of S3 calls it, and what the services with a query form do.
SIGNATURE_ERRORS = {"AccessDenied": "MissingAuthenticationToken",
                    "RequestTimeTooSkewed": "SignatureDoesNotMatch",
                    "InvalidAccessKeyId": "InvalidClientTokenId",
                    "InvalidToken": "InvalidClientTokenId"}


class Datum:
    """One metric of one request. `samples` is [(value, how often)]."""

    def __init__(self, request, namespace, name, dimensions, at, unit, samples):
        self.request, self.namespace, self.name = request, namespace, name
        self.dimensions, self.at, self.unit, self.samples = dimensions, at, unit, samples

    @property
    def sum(self):
        return sum(value * count for value, count in self.samples)

    @property
    def count(self):
        return sum(count for _, count in self.samples)

    def __repr__(self):
        return f"<{self.namespace} {self.name} {self.dimensions} {self.at} {self.samples}>"


class CloudWatchFault(Fault):
    """A code of the service."""

    def __init__(self, code="", times=1, status=None, **others):
        super().__init__(times=times, code=code, status=status or STATUS.get(code, 400), **others)


def failure(code, message="", status=None, headers=()):
    status = status or STATUS.get(code, 400)
    whose = "Sender" if status < 500 else "Receiver"
    return Answer(status, '<ErrorResponse xmlns="http://monitoring.amazonaws.com/doc/2010-08-01/">'
                  f"<Error><Type>{whose}</Type><Code>{code}</Code><Message>{escape(message)}"
                  "</Message></Error><RequestId>0-1-2</RequestId></ErrorResponse>", headers, KIND)


@functools.lru_cache
def put_metric_data_shape():
    model = botocore.session.Session().get_service_model("cloudwatch")
    return model.operation_model("PutMetricData").input_shape


def unfold(pairs):
    """a.member.1.b=c is {"a": [{"b": "c"}]}; what is out of order or double is a ValueError."""
    root = {}
    for name, value in pairs:
        node, words = root, name.split(".")
        for word in words[:-1]:
            node = node.setdefault(word, {})
            if not isinstance(node, dict):
                raise ValueError(name)
        if words[-1] in node:
            raise ValueError(f"{name} comes twice")
        node[words[-1]] = value
    return lists_of(root)


def lists_of(node):
    if not isinstance(node, dict):
        return node
    if set(node) == {"member"}:
        members = node["member"]
        if sorted(members, key=int) != [str(i + 1) for i in range(len(members))]:
            raise ValueError(f"members {sorted(members)}")
        return [lists_of(members[str(i + 1)]) for i in range(len(members))]
    return {name: lists_of(value) for name, value in node.items()}


def typed(text, shape):
    """As a client would have given it."""
    if shape.type_name == "structure":
        return {name: typed(value, shape.members[name]) for name, value in text.items()}
    if shape.type_name == "list":
        return [typed(value, shape.member) for value in text]
    if shape.type_name == "double":
        return float(text)
    if shape.type_name == "integer":
        return int(text)
    if shape.type_name == "timestamp":
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text):
            raise ValueError(text)
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text


class FakeCloudWatch(FakeAws):
    def __init__(self, region, account=None):
        self.region = region
        self.data = []  # Datum, also of posts whose answer got lost
        super().__init__()
        if account:
            self.keys = account.keys

    def of(self, name, **dimensions):
        with self.lock:
            return [d for d in self.data if d.name == name and
                    all(d.dimensions.get(k) == v for k, v in dimensions.items())]

    def sum(self, name, **dimensions):
        return sum(d.sum for d in self.of(name, **dimensions))

    def faulty(self, fault, handler):
        if fault.silent or fault.cut or fault.body is not None or not fault.code:
            return super().faulty(fault, handler)
        return failure(fault.code, fault.message, fault.status, fault.headers)

    def decide(self, r):
        try:
            _, region = self.check(r, "monitoring", SigV4Auth)
        except Answer as a:
            code = re.search(rb"<Code>(\w+)", a.body).group(1).decode()
            raise failure(SIGNATURE_ERRORS.get(code, code)) from None
        if region != self.region:
            raise failure("SignatureDoesNotMatch", "Credential should be scoped to a valid region")
        if len(r.body) > BODY_MAX:
            raise failure("RequestEntityTooLarge", status=413)
        if not r.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            raise failure("UnknownOperationException", r.headers.get("Content-Type", ""))
        data = self.read(r)
        with self.lock:
            self.data += data
        return Answer(200, '<PutMetricDataResponse xmlns="http://monitoring.amazonaws.com/doc/2010-'
                      '08-01/"><ResponseMetadata><RequestId>0-1-2</RequestId></ResponseMetadata>'
                      "</PutMetricDataResponse>", kind=KIND)

    def read(self, r):
        try:
            form = unfold(urllib.parse.parse_qsl(r.body.decode("ascii"), keep_blank_values=True,
                                                 strict_parsing=True))
            if (form.pop("Action"), form.pop("Version")) != ("PutMetricData", "2010-08-01"):
                raise ValueError("Action")
            asked = typed(form, put_metric_data_shape())
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise failure("MalformedInput", repr(e)) from None
        report = ParamValidator().validate(asked, put_metric_data_shape())
        if report.has_errors():
            raise failure("InvalidParameterValue", report.generate_report())
        if asked["Namespace"].startswith((":", "AWS/")) or len(asked["MetricData"]) > DATA_MAX:
            raise failure("InvalidParameterValue", "Namespace or too much MetricData")
        return [self.datum(r, asked["Namespace"], d) for d in asked["MetricData"]]

    def datum(self, r, namespace, d):
        dimensions = d.get("Dimensions", [])
        for text in [d["MetricName"]] + [x[k] for x in dimensions for k in ("Name", "Value")]:
            if not text.strip() or not re.fullmatch(r"[\x20-\x7e]+", text):
                raise failure("InvalidParameterValue", f"{text!r}")
        names = [x["Name"] for x in dimensions]
        if len(set(names)) != len(names) or len(names) > DIMENSIONS_MAX:
            raise failure("InvalidParameterValue", "Dimensions")
        if ("Value" in d) + ("Values" in d) + ("StatisticValues" in d) != 1:
            raise failure("InvalidParameterCombination", "one of Value, Values, StatisticValues")
        values = d.get("Values", [d.get("Value")])
        counts = d.get("Counts", [1] * len(values))
        if len(values) != len(counts) or not 0 < len(values) <= VALUES_MAX or min(counts) <= 0:
            raise failure("InvalidParameterValue", "Values and Counts")
        if any(not math.isfinite(v) or abs(v) > 2.0 ** 360 for v in values):
            raise failure("InvalidParameterValue", "a value out of bounds")
        at = d["Timestamp"].timestamp() if "Timestamp" in d else self.clock()
        if not self.clock() - OLDEST_S <= at <= self.clock() + NEWEST_S:
            raise failure("InvalidParameterValue", "The parameter MetricData.member.1.Timestamp must"
                          " specify a time within the past two weeks and two hours")
        return Datum(r, namespace, d["MetricName"], {x["Name"]: x["Value"] for x in dimensions}, at,
                     d.get("Unit"), list(zip(values, counts)))
