"""Fixtures of the broker tests: the driver program, and false brokers. Test files import them."""

import os
import pathlib
import subprocess
import sys

import pytest

from conftest import PATIENCE, ROOT, Process
from false_broker import FalseBroker

DRIVER = pathlib.Path(os.environ.get("BUILD_ROOT", ROOT / "build")) / "tests/broker/amqp_drive"


class Drive(Process):
    """tests/broker/amqp_drive.c: commands in, answers and events out."""

    def __init__(self, log):
        super().__init__([DRIVER], log, stdin=subprocess.PIPE)
        self.seen = 0  # events before are taken

    def say(self, command, patience=PATIENCE):
        """The answer, "ok ..." or "error ..."."""
        start = len(self.lines)
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        word = command.split()[0]
        return self.wait_line(rf"^(ok|error) {word}\b.*", start, patience).group(0)

    def do(self, command, patience=PATIENCE):
        """What follows "ok COMMAND "; an error fails the test."""
        line = self.say(command, patience)
        assert line.startswith("ok "), line
        return line.split(" ", 2)[2]

    def fail(self, command, number, retry, *texts):
        """The command must fail so and say so."""
        line = self.say(command)
        expected = f"error {command.split()[0]} errno={int(number)} retry={retry} "
        assert line.startswith(expected), line
        for text in texts:
            assert text in line, line

    def event(self, pattern, patience=PATIENCE):
        """The next event (or "end" line) that matches, as {key: value}; those before are skipped."""
        match = self.wait_line(rf"^(event|end) .*{pattern}", self.seen, patience)
        index = next(i for i in range(self.seen, len(self.lines)) if self.lines[i] == match.string)
        self.seen = index + 1
        return dict(word.split("=", 1) for word in match.string.split() if "=" in word)

    def events(self, kind):
        """All events of a kind so far, as dictionaries."""
        return [dict(word.split("=", 1) for word in line.split() if "=" in word)
                for line in list(self.lines) if line.startswith(f"event {kind} ")]

    def end(self, patience=PATIENCE):
        """The line that tells the end of the connection."""
        line = self.wait_line(r"^end .*", self.seen, patience).group(0)
        self.seen = self.lines.index(line, self.seen) + 1
        return line

    def connect(self, address, options="", patience=PATIENCE):
        self.do(f"new addresses={address} {options}")
        return self.do("connect", patience)


@pytest.fixture
def drive(tmp_path, request):
    """The driver; leaving it must be in order, also under a sanitizer."""
    driver = Drive(tmp_path / "drive.log")
    yield driver
    if driver.child.poll() is None:
        driver.child.stdin.close()
    code = driver.wait()
    if getattr(request.node, "call_failed", False):
        sys.stderr.write(f"---- driver\n{driver.text()[-6000:]}\n")
    assert code == 0, driver.text()[-6000:]


@pytest.fixture
def false_broker():
    """false_broker(script...): a server that runs script(client) for each connection."""
    started = []

    def start(*scripts):
        started.append(FalseBroker(*scripts))
        return started[-1]

    yield start
    for server in started:
        server.close()
