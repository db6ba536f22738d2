"""The daemon crashes by a signal of its own, and the next start tells in which function. Needs a
build with -Dfaults=true; on another one the points do nothing and the tests are skipped."""

import os
import shutil
import signal
import subprocess
import urllib.error

import pytest

from conftest import BINARY, SANITIZED
from sentry_sidecar import Sidecar

CONFIG = """
[detection]
enabled = no
[camera:porch]
kind = foscam
address = 127.0.0.1:9
user = admin
password = secret1234
"""
# The web server's thread passes it while it writes down that somebody wants a picture.
POINT = "before-trigger-commit"

pytestmark = [
    pytest.mark.skipif(b"SNAPSHOTD_CRASH_BY" not in BINARY.read_bytes(),
                       reason="a build without crash points"),
    pytest.mark.skipif(SANITIZED, reason="the sanitizer takes the signals"),
]


@pytest.fixture
def sidecar():
    running = Sidecar()
    yield running
    running.close()


def crash(launch, by, config=CONFIG, **more):
    d = launch.daemon(config, env={"SNAPSHOTD_CRASH_AT": POINT, "SNAPSHOTD_CRASH_BY": by}, **more)
    try:
        d.trigger("porch")
    except (urllib.error.URLError, ConnectionError, OSError):
        pass
    return d, d.wait()


def test_a_segfault_arrives_at_the_receiver_after_the_restart(launch, sidecar):
    config = CONFIG + f"[sentry]\ndsn = {sidecar.dsn}\n"
    _, code = crash(launch, "segv", config)
    assert code == -signal.SIGSEGV
    d = launch.daemon(config)
    d.wait_line(r"crashed before: SIGSEGV at 0x0 in function fault_by_segv, thread web")
    _, _, event = sidecar.wait(lambda e: e["level"] == "fatal", "the crash")
    value = event["exception"]["values"][0]
    assert value["type"] == "SIGSEGV"
    assert "fault_by_segv" in value["value"]
    frames = value["stacktrace"]["frames"]
    functions = [f.get("function") for f in frames]
    assert functions[-1] == "fault_by_segv"  # the newest is the last
    # Who called it, on the way from the thread's first function.
    at = [functions.index(f) for f in ("fault_by_segv", "fault_point", "ledger_trigger_add")
          if f in functions]
    assert len(at) >= 2 and at == sorted(at, reverse=True)
    assert all(f["instruction_addr"].startswith("0x") for f in frames)
    assert frames[-1]["in_app"] and frames[-1]["package"] == str(BINARY)
    assert event["tags"]["stage"] == "web"
    assert event["debug_meta"]["images"][0]["code_file"] == str(BINARY)
    crumbs = [c["category"] for c in event["breadcrumbs"]["values"]]
    assert "ready" in crumbs
    assert event["fingerprint"] == ["crash", "SEGV", "fault_by_segv"]


@pytest.mark.parametrize("by, number", [("bus", signal.SIGBUS), ("fpe", signal.SIGFPE),
                                        ("ill", signal.SIGILL), ("abort", signal.SIGABRT),
                                        ("overflow", signal.SIGSEGV)])
def test_each_fault_ends_the_process_as_it_would_and_is_told(launch, by, number):
    _, code = crash(launch, by)
    assert code == -number
    d = launch.daemon(CONFIG)
    d.wait_line(rf"crashed before: {number.name}.* in function fault_by_{by}, thread web")
    assert d.stop() == 0
    again = launch.daemon(CONFIG)
    assert "crashed before" not in again.text()
    assert (d.data / "report/crash.last").exists()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
@pytest.mark.parametrize("by, number", [("segv", 11), ("abort", 6)])
def test_the_first_process_of_a_container_ends_with_the_right_code(launch, by, number):
    wrapper = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    # unshare ends as its child does, which is process 1.
    _, code = crash(launch, by, wrapper=wrapper)
    assert code in (-number, 128 + number)
    d = launch.daemon(CONFIG)
    d.wait_line(rf"crashed before: .*fault_by_{by}")


def test_a_kill_is_no_crash(launch):
    d = launch.daemon(CONFIG)
    d.kill()
    again = launch.daemon(CONFIG)
    again.wait_line(r"did not end in order.*\[ended-unsaid\]")
    assert "crashed before" not in again.text()
