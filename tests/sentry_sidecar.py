"""The receiver that Sentry's makers ship for a developer's own machine (Spotlight's sidecar), which
takes what Sentry takes and shows it as a stream: it judges our reports from outside.

Sentry's address of envelopes ends with a slash (without one it answers with a redirect), the
sidecar's must not; so a door in front of it takes the slash off and passes on all else."""

import http.client
import json
import re
import shutil
import subprocess
import threading
import time

from conftest import PATIENCE, ROOT, missing
from fakes.wire import Answer, Server

PROGRAM = ROOT / ".deps/sidecar/node_modules/@spotlightjs/sidecar/dist/run.js"


class Sidecar:
    """events() are the events that its stream has shown so far; wait(condition) waits for one."""

    def __init__(self):
        node = shutil.which("node")
        if not node or not PROGRAM.exists():
            missing("Spotlight sidecar (npm)")
        self.child = subprocess.Popen([node, PROGRAM, "--port", "0"], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)
        self.port = None
        for line in self.child.stdout:
            found = re.search(r"listening on (\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        assert self.port, "the sidecar ended before it listened"
        threading.Thread(target=self._drain, daemon=True).start()
        self.changed = threading.Condition()
        self.seen = []
        self.stream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.stream.request("GET", "/stream?client=test")
        self.answer = self.stream.getresponse()
        assert self.answer.status == 200
        threading.Thread(target=self._read, daemon=True).start()
        self.door = Server(self._pass_on)
        self.dsn = f"http://publickey@127.0.0.1:{self.door.port}/1"

    def _pass_on(self, request):
        assert request.target.endswith("/envelope/")
        inner = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        inner.request(request.method, request.target.rstrip("/"), request.read_body(),
                      {k: v for k, v in request.headers.items() if k != "content-length"})
        answer = inner.getresponse()
        request.connection.send(Answer(answer.status, answer.read()).wire(time.time()))
        inner.close()
        return True

    def _drain(self):
        for _ in self.child.stdout:
            pass

    def _read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data:") and line[5:].strip():
                    header, items = json.loads(line[5:])
                    with self.changed:
                        self.seen += [(header, *item) for item in items]
                        self.changed.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # the end

    def wait(self, condition, what):
        """(envelope header, item header, event) of the first event that matches."""
        end = time.monotonic() + PATIENCE
        with self.changed:
            while True:
                for header, item, event in self.seen:
                    if item["type"] == "event" and condition(event):
                        return header, item, event
                left = end - time.monotonic()
                assert left > 0, f"the sidecar did not show {what}: {self.seen}"
                self.changed.wait(left)

    def close(self):
        self.door.stop()
        self.child.kill()
        self.child.wait()
        self.stream.close()
