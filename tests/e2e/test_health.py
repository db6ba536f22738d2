"""Who hears how the program is: the API, the service manager, Cronitor and Healthchecks."""

import json
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import BINARY, wait_until
from fakes.connect import FakeConnect
from fakes.health import Health

OFF = "[detection]\nenabled = no\n"


@pytest.fixture
def health():
    running = Health()
    yield running
    running.stop()


def told(health, interval="62s"):
    return (f"[app]\ncronitor_monitor_key = {health.monitor}\n"
            f"[health]\ncronitor_url = {health.cronitor_url}\ninterval = {interval}\n"), {
                "CRONITOR_API_KEY": health.api_key, "HC_PING_URL": health.check_url + "/"}


def test_both_services_hear_of_the_start_of_success_and_of_the_end(launch, health):
    config, env = told(health, "1s")
    d = launch.daemon(config + OFF, env=env)
    health.wait("healthchecks", "start")
    ping = health.wait("healthchecks", "success")
    assert "cameras" in ping.text
    ping = health.wait("cronitor", "ok")
    metrics = ping.metrics()
    assert int(metrics["count"]) >= 6 and metrics["error_count"] == "0"
    assert dict(ping.query)["host"] == "snapshot-processor"
    # Again and again, not once.
    health.wait("cronitor", "ok", start=len(health.pings))
    health.wait("healthchecks", "success", start=len(health.pings))
    assert d.stop() == 0
    assert health.wait("healthchecks", "log").text == "stopped in order"
    assert not health.wrong
    assert not [p for p in health.pings if p.kind == "fail"]
    log = d.text()
    for secret in (health.api_key, health.monitor + "?", health.check):
        assert secret not in log


def test_the_key_for_cronitor_may_come_from_1password_and_late(launch, health):
    config, env = told(health, "1s")
    with FakeConnect() as connect:
        home = connect.add_vault("Home")
        env = {**env, **connect.environment()}
        del env["CRONITOR_API_KEY"]
        d = launch.daemon(config + "[creds]\ncronitor = Cronitor/password\n" + OFF, env=env)
        health.wait("healthchecks", "success")
        assert not [p for p in health.pings if p.service == "cronitor"]
        connect.add_item(home, "Cronitor", [("", "password", health.api_key)])
        d.signal(signal.SIGHUP)
        health.wait("cronitor", "ok")
        assert d.stop() == 0
    assert health.api_key not in d.text() and not health.wrong


def test_a_reload_brings_a_monitor_and_takes_it_away(launch, health):
    config, env = told(health, "1s")
    del env["HC_PING_URL"]
    d = launch.daemon(config.replace("cronitor_monitor_key", "#") + OFF, env=env)
    d.config.write_text(config + OFF)
    d.signal(signal.SIGHUP)
    health.wait("cronitor", "ok")
    assert "needs a restart" not in d.text()
    d.config.write_text(config.replace("cronitor_monitor_key", "#") + OFF)
    start = len(d.lines)
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]", start)
    assert d.stop() == 0
    assert not health.wrong and not [p for p in health.pings if p.kind == "fail"]


def test_a_reload_that_waits_for_secrets_is_no_hang(launch, health):
    """Longer than the main loop may be silent else, which is 12 s here."""
    with FakeConnect() as connect:
        connect.add_item(connect.add_vault("Home"), "Porch", [("", "password", "abc-1234")])
        d = launch.daemon("[camera:porch]\naddress = 127.0.0.1:1\nuser = cam\n"
                          "password = op://Home/Porch/password\n"
                          "[onepassword]\ntimeout = 20s\ndeadline = 20s\nsecrets_dir =\n"
                          "[health]\npatience = 0.1\n" + OFF, env=connect.environment())
        connect.fault = {"kind": "hang"}
        begun = time.monotonic()
        d.signal(signal.SIGHUP)
        d.wait_line(r"\[reloaded\]")
        assert time.monotonic() - begun > 15
        assert d.request("/healthz")[0] == 200
        assert "stage-stuck" not in d.text()


def test_a_start_that_fails_is_told_with_its_reason(launch, health):
    config, env = told(health)
    d = launch.daemon(config + f"[web]\nlisten = 127.0.0.1:{health.server.port}\n" + OFF,
                      "--set", f"web.listen=127.0.0.1:{health.server.port}", env=env, wait=False)
    assert d.wait() == 1
    ping = health.wait("healthchecks", "fail")
    assert str(health.server.port) in ping.text
    assert health.wait("cronitor", "fail").text == ping.text


def test_services_that_hang_hold_nothing_up(launch, health):
    health.faults = {"cronitor": "hang", "healthchecks": "hang"}
    config, env = told(health, "1s")
    d = launch.daemon(config + OFF, env=env)
    assert d.request("/readyz")[0] == 200
    begun = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - begun < 15
    assert not health.wrong


def test_readiness_has_a_reason_for_each_part(launch, health):
    d = launch.daemon("[health]\npatience = 1\n" + OFF)
    wait_until(lambda: d.request("/readyz")[0] == 200, "the first look")
    answer = d.get("/readyz")
    parts = {p["name"]: p for p in answer["parts"]}
    for name in ("stage:main", "stage:fetch", "stage:intake", "stage:janitor", "queue:fetch",
                 "queue:detect", "ledger", "disk", "detector", "destination:console"):
        assert parts[name]["state"] == "ok", parts[name]
    assert d.get("/api/v1/status")["health"] == answer["parts"]
    metrics = d.request("/metrics")[2].decode()
    assert 'snapshotd_healthy{part="all"} 1' in metrics
    assert 'snapshotd_healthy{part="stage:fetch"} 1' in metrics


def test_a_disk_below_its_reserve_is_not_ready_but_alive(launch, health):
    config, env = told(health)
    d = launch.daemon(config + "[store]\nreserve = 1TB\n" + OFF, env=env)
    wait_until(lambda: d.request("/readyz")[0] == 503, "the look at the disk")
    status, _, body = d.request("/readyz")
    answer = json.loads(body)
    assert status == 503 and answer["error"]["code"] == "not-ready"
    assert answer["error"]["message"].startswith("disk: ")
    assert [p["name"] for p in answer["parts"] if p["state"] == "sick"] == ["disk"]
    assert d.request("/healthz")[0] == 200
    done = subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{d.port}"],
                          capture_output=True, text=True, timeout=60, check=False)
    head, *lines = done.stdout.splitlines()
    assert "not ready: disk: " in head
    parts = [line for line in lines if line.startswith("  health ")]
    assert len(parts) == 1 and re.match(r"  health    disk is sick: \d+ MB are free", parts[0])
    assert health.wait("healthchecks", "fail").text.startswith("disk: ")
    assert health.wait("cronitor", "fail").metrics()["error_count"] == "1"


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.messages = []
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            text = self.socket.recv(4096).decode()
            with self.changed:
                self.messages.append(text)
                self.changed.notify_all()

    def wait(self, pattern, start=0, patience=60):
        with self.changed:
            assert self.changed.wait_for(
                lambda: any(re.search(pattern, m) for m in self.messages[start:]), patience), \
                self.messages


def test_the_service_manager_hears_of_the_start_and_is_fed(launch, tmp_path):
    manager = Manager(tmp_path)
    d = launch.daemon(OFF, env={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "4000000"})
    manager.wait("^READY=1")
    manager.wait(r"STATUS=\d+ cameras; waiting: 0 triggers, 0 pictures, 0 events, 0 files; well")
    manager.wait("^WATCHDOG=1")
    manager.wait("^WATCHDOG=1", start=len(manager.messages))
    assert d.stop() == 0
    manager.wait("^STOPPING=1")
