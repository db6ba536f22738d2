"""A receiver of error reports that misbehaves on request. What came is in `requests`; `envelopes()`
are those of answers 2xx, read by Sentry's own library for Python."""

import gzip
import threading
import time

from fakes.wire import Answer, Server


class Envelope:
    def __init__(self, request):
        from sentry_sdk.envelope import Envelope as Theirs
        self.headers = request.headers
        self.target = request.target
        self.bytes = gzip.decompress(request.body)
        self.envelope = Theirs.deserialize(self.bytes)
        self.event = self.envelope.get_event()


class FakeSentry:
    def __init__(self, port=0):
        self.lock = threading.Condition()
        self.requests = []  # (status, Envelope)
        self.status = 200
        self.headers = []
        self.hangs = False
        self.server = Server(self._handle, port)
        self.port = self.server.port
        self.dsn = f"http://publickey@127.0.0.1:{self.port}/some/path/42"

    def _handle(self, request):
        request.read_body()
        with self.lock:
            status, headers, hangs = self.status, list(self.headers), self.hangs
            self.requests.append((0 if hangs else status, Envelope(request)))
            self.lock.notify_all()
        if hangs:
            request.connection.wait_for_the_end()
            return False
        request.connection.send(Answer(status, b"{}", "application/json", headers)
                                .wire(time.time()))
        return True

    def envelopes(self):
        with self.lock:
            return [e for status, e in self.requests if 200 <= status < 300]

    def count(self):
        with self.lock:
            return len(self.requests)

    def close(self):
        self.server.stop()
