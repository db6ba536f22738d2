"""Errors are reported, to receivers that others wrote and to one that misbehaves, and nothing that
is secret is among what leaves the house."""

import json
import signal
import time

import pytest

from conftest import missing, wait_until
from sentry_sidecar import Sidecar

CONFIG = """
[detection]
enabled = no
[camera:porch]
kind = foscam
address = 127.0.0.1:9
user = admin
password = {secret}
"""


@pytest.fixture
def sidecar():
    running = Sidecar()
    yield running
    running.close()


@pytest.fixture
def sentry():
    try:
        import sentry_sdk  # noqa: F401  what the fake reads with
    except ImportError:
        missing("python3-sentry-sdk")
    from fakes.sentry import FakeSentry
    running = FakeSentry()
    yield running
    running.close()


def sentry_keys(dsn, **more):
    return "[sentry]\ndsn = " + dsn + "\n" + "".join(f"{k} = {v}\n" for k, v in more.items())


def provoke(d, times=1):
    """A reload with a fault in the file is an error (two: the fault, and that nothing changed)."""
    good = d.config.read_text()
    for _ in range(times):
        start = len(d.lines)
        d.config.write_text(good + "\n[camera:porch2]\nkind = nonsense\n")
        d.signal(signal.SIGHUP)
        d.wait_line(r"\[reload-failed\]", start)
    d.config.write_text(good)


def errors_of(d):
    return d.get("/api/v1/status")["errors"]


def test_the_sidecar_shows_our_error(launch, sidecar):
    d = launch.daemon(CONFIG.format(secret="secret1234")
                      + sentry_keys(sidecar.dsn, environment="garden"))
    provoke(d)
    _, item, event = sidecar.wait(lambda e: e["fingerprint"] == ["reload-failed"], "our error")
    assert item["content_type"] == "application/json"
    assert event["message"] == "the running configuration stays as it was"
    assert event["level"] == "error"
    assert event["environment"] == "garden"
    assert event["release"].startswith("snapshot-processor@")
    assert event["tags"] == {"log_id": "reload-failed", "stage": "main"}
    assert event["contexts"]["os"]["name"] == "Linux"
    crumbs = [c["category"] for c in event["breadcrumbs"]["values"]]
    assert "ready" in crumbs and crumbs[-1] == "config-fault"
    wait_until(lambda: errors_of(d)["sent"] == 2, "both to be told as sent")
    metrics = d.request("/metrics")[2].decode()
    assert "snapshotd_report_events_total 2" in metrics


def test_sentrys_library_reads_what_we_send(launch, sentry):
    from sentry_sdk.utils import Dsn
    d = launch.daemon(CONFIG.format(secret="secret1234") + sentry_keys(sentry.dsn))
    provoke(d)
    wait_until(lambda: len(sentry.envelopes()) == 2, "two events")
    theirs = Dsn(sentry.dsn).to_auth("snapshotd/0")
    for e in sentry.envelopes():
        assert f"http://127.0.0.1:{sentry.port}{e.target}" == \
            theirs.get_api_url("envelope")
        auth = dict(p.split("=") for p in e.headers["x-sentry-auth"][7:].split(", "))
        want = dict(p.split("=") for p in theirs.to_header()[7:].split(", "))
        assert auth["sentry_key"] == want["sentry_key"]
        assert auth["sentry_version"] == want["sentry_version"]
        assert e.headers["content-type"] == "application/x-sentry-envelope"
        assert len(e.envelope.items) == 1
        assert e.envelope.headers["event_id"] == e.event["event_id"]
        assert len(e.event["breadcrumbs"]["values"]) <= 100
    assert {e.event["fingerprint"][0] for e in sentry.envelopes()} == \
        {"config-fault", "reload-failed"}


def test_repeated_errors_are_counted_not_sent(launch, sentry):
    d = launch.daemon(CONFIG.format(secret="secret1234")
                      + sentry_keys(sentry.dsn, repeat_interval="1h"))
    provoke(d, times=10)
    wait_until(lambda: len(sentry.envelopes()) == 2, "the first two")
    assert d.stop() == 0
    counts = {}
    for e in sentry.envelopes():
        counts.setdefault(e.event["fingerprint"][0], []).append(e.event["extra"]["occurrences"])
    assert counts == {"config-fault": [1, 9], "reload-failed": [1, 9]}


def test_limits_and_troubles_cost_time_not_reports(launch, sentry):
    config = CONFIG.format(secret="secret1234") + sentry_keys(sentry.dsn, retry="100ms")
    sentry.status, sentry.headers = 429, [("Retry-After", "1")]
    d = launch.daemon(config)
    provoke(d)
    wait_until(lambda: sentry.count() == 1, "the first try")
    first = time.monotonic()
    sentry.status, sentry.headers = 503, []
    wait_until(lambda: sentry.count() == 2, "the try after the pause")
    assert time.monotonic() - first > 0.9
    wait_until(lambda: sentry.count() == 4, "tries that fail")
    sentry.server.down()
    wait_until(lambda: "refused" in errors_of(d)["last_error"], "nobody to be there")
    assert errors_of(d)["waiting"] == 2
    d.kill()  # and a run that ends without a word
    sentry.server.up()
    sentry.status = 200
    d = launch.daemon(config)
    wait_until(lambda: len(sentry.envelopes()) == 2, "both of the run before")
    wait_until(lambda: errors_of(d)["waiting"] == 0, "the spool to be empty")
    # A limit that comes with a success holds the next ones back.
    sentry.headers = [("X-Sentry-Rate-Limits", "3600:error;default:organization")]
    provoke(d)
    wait_until(lambda: len(sentry.envelopes()) == 3, "one more")
    wait_until(lambda: errors_of(d)["next_try_ms"] > 3_000_000, "the pause")
    assert errors_of(d)["waiting"] == 1
    assert len(sentry.envelopes()) == 3


def test_a_receiver_that_hangs_costs_two_seconds_at_the_end(launch, sentry):
    sentry.hangs = True
    d = launch.daemon(CONFIG.format(secret="secret1234") + sentry_keys(sentry.dsn))
    provoke(d)
    wait_until(lambda: sentry.count() == 1, "it to be asked")
    assert d.get("/api/v1/status")["ready"]
    start = time.monotonic()
    assert d.stop() == 0
    assert time.monotonic() - start < 6
    assert len(list((d.data / "report/events").glob("*.json"))) == 2
    assert not (d.data / "report/crash.part").exists()


def test_what_is_refused_is_dropped_and_told(launch, sentry):
    sentry.status, sentry.headers = 401, [("X-Sentry-Error", "no such key: publickey")]
    d = launch.daemon(CONFIG.format(secret="secret1234") + sentry_keys(sentry.dsn, retry="50ms"))
    provoke(d)
    wait_until(lambda: errors_of(d)["dropped"] == 2, "both to be dropped")
    assert sentry.count() == 2
    told = errors_of(d)["last_error"]
    assert "401" in told and "dsn" in told and "publickey" not in told
    assert "publickey" not in d.text()


CANARIES = [f"c4n4ry-{n}" for n in ("camera", "password", "ftp", "google", "s3", "url", "amqp")]


def test_no_secret_leaves_the_house(launch, sentry, tmp_path):
    """Canaries in all places that hold secrets, and errors whose texts quote the file."""
    camera, password, ftp, google, s3, url, amqp = CANARIES
    (tmp_path / "pw").write_text(password + "\n")
    config = f"""
[detection]
enabled = no
[camera:porch]
kind = http
url = http://127.0.0.1:9/snap.jpg?usr=admin&pwd={url}
user = admin
password = {camera}
[camera:door]
kind = foscam
address = 127.0.0.1:9
user = admin
password = file:{tmp_path}/pw
[ftp]
user = cam
password = {ftp}
[rabbitmq]
server_address = 127.0.0.1:9
password = {amqp}
"""
    d = launch.daemon(config + sentry_keys(sentry.dsn),
                      env={"AWS_SECRET_ACCESS_KEY": s3, "AWS_ACCESS_KEY_ID": "AKIDAKIDAKID",
                           "GOOGLE_OAUTH_TOKEN": '{"client_secret": "%s"}' % google})
    for name in ("porch", "door"):
        d.trigger(name, wait=5)
    d.config.write_text(d.config.read_text()
                        + f"[camera:x]\nkind = http\nurl = http://u:{url}@h/?a={camera}\n"
                          f"address = {password}\nsecret1 = {ftp}\n[{google}]\n{s3} = {amqp}\n")
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reload-failed\]")
    wait_until(lambda: len(sentry.envelopes()) >= 2, "the errors")
    d.stop()
    all_bytes = b"".join(e.bytes for e in sentry.envelopes())
    all_bytes += b"".join(f.read_bytes() for f in (d.data / "report").rglob("*") if f.is_file())
    leaked = [c for c in CANARIES if c.encode() in all_bytes]
    assert not leaked
    assert b"publickey" not in all_bytes
    assert len(all_bytes) > 2000 and json.loads(all_bytes.split(b"\n")[2])


def test_without_a_dsn_nothing_is_kept(launch):
    d = launch.daemon(CONFIG.format(secret="secret1234"))
    provoke(d)
    assert errors_of(d)["on"] is False
    assert not (d.data / "report/events").exists()
    assert d.stop() == 0
    assert not (d.data / "report/crash.part").exists()
