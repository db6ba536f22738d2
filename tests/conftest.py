"""Starts the real daemon and simulated cameras for the end-to-end tests, each in its own folder and
on free ports, and shows their logs when a test fails."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

import rabbit

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARY = pathlib.Path(os.environ.get("SNAPSHOTD", ROOT / "build/src/app/snapshotd"))
SANITIZED = "san" in BINARY.parents[2].name  # build-asan, build-tsan
TESTDATA = pathlib.Path(os.environ.get("SNAPSHOT_TESTDATA", ROOT / "../shared/testdata"))
FOOTAGE = ROOT / "footage"
# On a machine with a /dev/log the daemon's lines would go there.
os.environ.setdefault("SNAPSHOTD_APP_LOG_TO", "console")
# Generous: the machines that run tests are slow at times, and nothing here measures speed.
PATIENCE = float(os.environ.get("SNAPSHOT_PATIENCE", "60"))


def wait_until(condition, what, patience=PATIENCE):
    """Polls until condition() is true; returns its value. For things that give no signal."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.02)


class Process:
    """A child process whose output is collected line by line and can be waited for."""

    def __init__(self, argv, log, env=None, cwd=None, stdin=None):
        self.argv = [str(a) for a in argv]
        self.log_path = log
        self.lines = []
        self.changed = threading.Condition()
        self.child = subprocess.Popen(
            self.argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env={**os.environ, **(env or {})}, cwd=cwd)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with open(self.log_path, "a") as log:
            for line in self.child.stdout:
                log.write(line)
                log.flush()
                with self.changed:
                    self.lines.append(line.rstrip("\n"))
                    self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def wait_line(self, pattern, start=0, patience=PATIENCE):
        """The first line from `start` on that matches; a match object."""
        end = time.monotonic() + patience
        seen = start
        with self.changed:
            while True:
                while seen < len(self.lines):
                    match = re.search(pattern, self.lines[seen])
                    seen += 1
                    if match:
                        return match
                if self.child.poll() is not None and not self.reader.is_alive():
                    raise AssertionError(
                        f"{self.argv[0]} ended with {self.child.returncode} before it said "
                        f"{pattern!r}:\n" + "\n".join(self.lines[-30:]))
                if time.monotonic() > end:
                    raise AssertionError(f"no line {pattern!r} within {patience:.0f} s:\n"
                                         + "\n".join(self.lines[-30:]))
                self.changed.wait(0.2)

    def text(self):
        return "\n".join(self.lines)

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, patience=PATIENCE):
        code = self.child.wait(patience)
        self.reader.join(patience)
        return code

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
        self.wait()

    def stop(self):
        """Orderly end; returns the exit code."""
        if self.child.poll() is None:
            self.child.terminate()
        return self.wait()


class CameraSim(Process):
    def __init__(self, folder, log, *options):
        super().__init__([BINARY, "camera-sim", "--listen", "127.0.0.1:0", *options, folder], log)
        match = self.wait_line(r"listening on 127\.0\.0\.1:(\d+)")
        self.port = int(match.group(1))
        self.address = f"127.0.0.1:{self.port}"

    def fault(self, text):
        """Switches a fault on for the requests to come ("" = none)."""
        url = f"http://{self.address}/sim/fault?set={urllib.request.quote(text)}"
        urllib.request.urlopen(url, timeout=10).read()

    def stats(self):
        with urllib.request.urlopen(f"http://{self.address}/sim/stats", timeout=10) as r:
            return json.load(r)


class Daemon(Process):
    def __init__(self, folder, config, log, *options, env=None, wait=True, wrapper=()):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "test.conf"
        self.config.write_text(config)
        super().__init__(
            [*wrapper, BINARY, "run", "-c", self.config, "--set", f"app.data_dir={self.data}",
             "--set", "web.listen=127.0.0.1:0", *options], log, env=env, cwd=folder)
        self.port = None
        if wait:
            self.wait_ready()

    def wait_ready(self):
        match = self.wait_line(r"API on http://127\.0\.0\.1:(\d+)")
        self.port = int(match.group(1))
        self.wait_line(r"\[ready\]")

    def request(self, path, method="GET", timeout=PATIENCE + 10, headers=None, data=None):
        """(status, headers, body)"""
        req = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method,
                                     headers=headers or {})
        try:
            with urllib.request.urlopen(req, timeout=timeout) as r:
                return r.status, r.headers, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def get(self, path):
        status, _, body = self.request(path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def trigger(self, camera, wait=None):
        """Status and document of a trigger; waits for the outcome when `wait` seconds are given."""
        path = f"/api/v1/cameras/{urllib.request.quote(camera)}/trigger"
        if wait:
            path += f"?wait={wait}"
        status, _, body = self.request(path, "POST")
        return status, json.loads(body)

    def snapshots(self, query=""):
        return self.get(f"/api/v1/snapshots?limit=500{query}")["snapshots"]

    def store_files(self):
        """Paths below the store, the temporary folder included."""
        store = self.data / "store"
        return sorted(str(p.relative_to(store)) for p in store.rglob("*") if p.is_file())

    def undrawn(self):
        """Annotated copies that verdicts have promised and that are not there yet."""
        db = sqlite3.connect(f"file:{self.data}/snapshotd.db?mode=ro", uri=True)
        with contextlib.closing(db):
            paths = db.execute("SELECT annotated_path FROM snapshots"
                               " WHERE annotated_path IS NOT NULL").fetchall()
        return [p for p, in paths if not (self.data / "store" / p).exists()]


def books_agree(d, accepted):
    """Every accepted trigger has exactly one outcome, and files and rows match one to one."""
    db = sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)
    states = dict(db.execute("SELECT id, state FROM triggers"))
    missing = [i for i in accepted if i not in states]
    assert not missing, f"{len(missing)} accepted triggers are unknown"
    rows = db.execute("SELECT id, path, annotated_path, sha256 FROM snapshots").fetchall()
    ids = [r[0] for r in rows]
    assert len(ids) == len(set(ids))
    fetched = {i for i, in db.execute("SELECT id FROM snapshots WHERE source = 0")}
    done = {i for i, s in states.items() if s == 1}
    assert done == fetched, "a trigger is done exactly when its snapshot is recorded"
    assert not [i for i in accepted if states[i] == 0], "nothing is left pending"
    files = set(d.store_files())
    named = set()
    for _, path, annotated, digest in rows:
        named.add(path)
        assert sha256((d.data / "store" / path).read_bytes()) == digest
        if annotated:
            named.add(annotated)
    assert files == named, f"orphans: {sorted(files ^ named)}"
    check = subprocess.run([BINARY, "integrity", "--database", d.data / "snapshotd.db"],
                           capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    return len(rows)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def missing(what):
    """Skips a test for want of something that `tools/setup test` installs. Behind a set-up (`make
    test`) it fails instead: a skip is easily overlooked."""
    if os.environ.get("SNAPSHOT_SET_UP") == "1":
        pytest.fail(f"no {what}, which tools/setup test installs on Debian; with "
                    "SNAPSHOT_SKIP_PACKAGES=1, where packages are your own business, this is a skip")
    pytest.skip(f"no {what}: run tools/setup test")


@contextlib.contextmanager
def tmpfs(place, size):
    """A small disk at this place, made when it is not there. Whoever still uses it may go on."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no mounts here: " + done.stderr.strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def default_model():
    """A detector that this checkout has, or None."""
    model = ROOT / "models/centernet-512.onnx"
    return model if model.exists() else None


@pytest.fixture(scope="session")
def people():
    """A folder with one real frame that shows people, and the frame."""
    for frame in [TESTDATA / "images/cctv_day_1.jpg",
                  *sorted(FOOTAGE.glob("front-door/*.jpg"))[:1]]:
        if frame.exists():
            return frame
    pytest.skip("no footage: run tools/setup demo")


@pytest.fixture(scope="session")
def model():
    found = default_model()
    if not found:
        pytest.skip("no model: run tools/setup demo")
    return found


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """One RabbitMQ for all tests of a run: it takes long to start. Who pauses, blocks or kills it
    brings it back."""
    if not rabbit.installed():
        missing("rabbitmq-server")
    running = rabbit.Rabbit(tmp_path_factory.mktemp("rabbit"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key) of a server on this machine, signed by an authority of ours."""
    return rabbit.Authority(tmp_path_factory.mktemp("tls")).sign(
        "camera-server", "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1")


@pytest.fixture
def ftp_rig(tmp_path, request):
    """ftp_rig(...) makes an ftp_rig.Rig and ends its daemon with the test, which must end in order
    if it still runs."""
    from ftp_rig import Rig  # which needs this file
    made = []

    def make(*arguments, **words):
        made.append(Rig(tmp_path / f"rig{len(made)}" if made else tmp_path, *arguments, **words))
        return made[-1]

    yield make
    failed = getattr(request.node, "call_failed", False)
    for rig in made:
        running = rig.daemon and rig.daemon.child.poll() is None
        code = rig.stop() if running else 0
        if failed:
            sys.stderr.write(f"---- daemon's log\n{rig.log()[-8000:]}\n")
        else:
            assert code == 0, f"daemon ended with {code}"


@pytest.fixture
def launch(tmp_path, request):
    """launch.camera(folder, *options), launch.daemon(config, *options): processes that end with
    the test. A daemon that did not end in order fails the test."""

    class Launcher:
        def __init__(self):
            self.started = []

        def camera(self, folder, *options):
            sim = CameraSim(folder, tmp_path / f"camera{len(self.started)}.log", *options)
            self.started.append(sim)
            return sim

        def daemon(self, config, *options, name="daemon", **kw):
            d = Daemon(tmp_path / name, config, tmp_path / f"{name}.log", *options, **kw)
            self.started.append(d)
            return d

    launcher = Launcher()
    yield launcher
    codes = []
    for process in reversed(launcher.started):
        running = process.child.poll() is None
        code = process.stop()
        if running and isinstance(process, Daemon):
            codes.append(code)
    failed = getattr(request.node, "call_failed", False)
    if failed:
        for log in sorted(tmp_path.glob("*.log")):
            sys.stderr.write(f"---- {log.name}\n{log.read_text()[-8000:]}\n")
    else:
        assert all(code == 0 for code in codes), f"daemon ended with {codes}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.call_failed = outcome.get_result().failed
