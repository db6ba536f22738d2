"""Cronitor and Healthchecks, as far as pings go, on one loopback port, with a record of what came.

What a ping of Cronitor may hold is checked as its own reference client sends it (test_fake_health.py
runs that one against this fake, too). Both can be told to misbehave: `fault` is "hang" (a connection
is taken, nothing is said), "refuse" (nothing listens), or a status with a text.
"""

import re
import threading
import time

from fakes.wire import Answer, Server

STATES = ("run", "complete", "fail", "ok")
KNOWN = {"state", "host", "message", "series", "env", "stamp", "status_code", "metric"}
METRIC = re.compile(r"(count|error_count|duration|length|[a-z0-9_-]{1,63}):-?\d+(\.\d+)?")
MESSAGE_MAX = 2000
BODY_MAX = 100_000
KINDS = {"": "success", "/start": "start", "/fail": "fail", "/log": "log"}


class Ping:
    def __init__(self, service, kind, text, query=()):
        self.service = service
        self.kind = kind  # of Healthchecks; of Cronitor the state
        self.text = text
        self.query = list(query)
        self.at = time.monotonic()

    def metrics(self):
        return dict(value.split(":") for name, value in self.query if name == "metric")


class Health:
    """cronitor_url and check_url are what the daemon is told."""

    def __init__(self, api_key="api-key", monitor="monitor", check="0f1e2d3c-check"):
        self.api_key, self.monitor, self.check = api_key, monitor, check
        self.changed = threading.Condition()
        self.pings = []
        self.wrong = []  # what a real service would not have taken
        self.faults = {}  # "cronitor" or "healthchecks": see above
        self.server = Server(self.handle)
        self.cronitor_url = f"http://127.0.0.1:{self.server.port}"
        self.check_url = f"{self.cronitor_url}/{check}"

    def stop(self):
        self.server.stop()

    def handle(self, request):
        body = request.read_body()
        if re.match(r"/(p|ping)/", request.path):
            return self.answer(request, "cronitor", self.cronitor(request))
        return self.answer(request, "healthchecks", self.healthchecks(request, body))

    def answer(self, request, service, normal):
        fault = self.faults.get(service)
        if fault == "hang":
            request.connection.wait_for_the_end()
            return False
        status, text = fault or normal
        request.connection.send(Answer(status, text.encode(), "text/plain").wire(time.time()))
        return True

    def note(self, ping):
        with self.changed:
            self.pings.append(ping)
            self.changed.notify_all()

    def complain(self, what):
        with self.changed:
            self.wrong.append(what)
        return 400, what

    def cronitor(self, request):
        _, _, api_key, *monitor = request.path.split("/")
        query = request.query
        if api_key != self.api_key or monitor != [self.monitor]:
            return self.complain(f"Cronitor: unknown key in {request.path}")
        unknown = set(query) - KNOWN
        if unknown or query.get("state") not in STATES:
            return self.complain(f"Cronitor: {sorted(unknown) or query.get('state')}")
        if any(not METRIC.fullmatch(value) for name, value in request.query_list
               if name == "metric"):
            return self.complain(f"Cronitor: {request.query_list}")
        if len(query.get("message", "").encode()) > MESSAGE_MAX:
            return self.complain("Cronitor: the message would be cut")
        self.note(Ping("cronitor", query["state"], query.get("message", ""), request.query_list))
        return 200, "OK"

    def healthchecks(self, request, body):
        path = request.path.removeprefix(f"/{self.check}")
        if path == request.path:
            return 200, "OK (not found)"  # as the real one answers
        if path not in KINDS or request.method not in ("GET", "POST", "HEAD"):
            return self.complain(f"Healthchecks: {request.method} {request.path}")
        if len(body) > BODY_MAX:
            return self.complain("Healthchecks: the body would be cut")
        self.note(Ping("healthchecks", KINDS[path], body.decode()))
        return 200, "OK"

    def wait(self, service, kind, text="", patience=60, start=0):
        """The first such ping from number `start` on that says `text`."""
        end = time.monotonic() + patience
        with self.changed:
            while True:
                for ping in self.pings[start:]:
                    if (ping.service, ping.kind) == (service, kind) and text in ping.text:
                        return ping
                left = end - time.monotonic()
                if left <= 0:
                    seen = [(p.service, p.kind, p.text) for p in self.pings]
                    raise AssertionError(f"no {kind} at {service} within {patience} s: {seen}")
                self.changed.wait(left)
