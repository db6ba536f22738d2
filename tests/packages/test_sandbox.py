"""What the running daemon has given up, seen from outside."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from conftest import SANITIZED, missing, wait_until

OFF = "[detection]\nenabled = no\n"
PORT = 1 << 10  # CAP_NET_BIND_SERVICE


def status_of(path):
    return dict(line.split(":", 1) for line in pathlib.Path(path).read_text().splitlines())


def statuses(d):
    """Of every thread."""
    return [status_of(p / "status") for p in pathlib.Path(f"/proc/{d.child.pid}/task").iterdir()]


def rights(status):
    return {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}


def test_every_thread_is_filtered_and_has_no_right_but_to_low_ports(launch, model):
    if SANITIZED:
        pytest.skip("sanitizers need more system calls")
    d = launch.daemon(f"[detection]\nmodel = {model}\n")
    found = statuses(d)
    assert len(found) > 10
    for status in found:
        assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"
        caps = rights(status)
        assert caps["CapInh"] == caps["CapAmb"] == 0
        assert caps["CapPrm"] & ~PORT == caps["CapEff"] & ~PORT == 0


def test_it_can_be_switched_off_and_says_so(launch):
    d = launch.daemon("[app]\nsandbox = no\n" + OFF)
    d.wait_line(r"\[sandbox-off\]")
    assert {s["Seccomp"].strip() for s in statuses(d)} == {status_of("/proc/self/status")["Seccomp"]
                                                           .strip()}


def test_a_cameras_program_runs_with_no_more_than_the_daemon(launch, people, tmp_path):
    script = tmp_path / "camera.sh"
    script.write_text(f"#!/bin/sh\ncat /proc/self/status >{tmp_path}/status\ncat {people}\n")
    script.chmod(0o755)
    d = launch.daemon(f"[camera:rtsp]\nkind = command\nprogram = {script}\n" + OFF)
    status, doc = d.trigger("rtsp", wait=30)
    assert status == 200, doc
    d.wait_line("programs may be started, for camera 'rtsp'" if not SANITIZED else "sanitizers")
    child = status_of(tmp_path / "status")
    assert child["NoNewPrivs"].strip() == "1"
    assert SANITIZED or child["Seccomp"].strip() == "2"
    assert all(value & ~PORT == 0 for value in rights(child).values())


def test_a_program_that_a_reload_brings_is_told_to_wait_for_the_next_start(launch, people):
    if SANITIZED:
        pytest.skip("sanitizers need more system calls")
    d = launch.daemon(OFF)
    d.config.write_text(f"[camera:rtsp]\nkind = command\nprogram = /bin/cat {people}\n"
                        "tries = 1\n" + OFF)
    d.signal(signal.SIGHUP)
    d.wait_line(r"camera 'rtsp' needs a program.*from the next start on.*\[sandbox-programs\]")
    status, doc = d.trigger("rtsp", wait=30)
    assert status != 200 and "cannot start '/bin/cat': Operation not permitted" in str(doc)
    assert d.child.poll() is None


def test_nothing_is_started_while_it_works(launch, people, tmp_path):
    if SANITIZED:
        pytest.skip("the leak sanitizer cannot work beside strace")
    if not shutil.which("strace"):
        missing("strace")
    sim = launch.camera(people)
    trace = tmp_path / "trace"
    # -D: the daemon is our child and hears our signals, strace is beside it.
    wrapper = ["strace", "-D", "-f", "-o", trace, "-e", "trace=execve,execveat,fork,vfork"]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be traced here")
    d = launch.daemon(f"[camera:gate]\nkind = axis\naddress = {sim.address}\n" + OFF,
                      wrapper=wrapper)
    assert d.trigger("gate", wait=60)[0] == 200
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]")
    assert d.trigger("gate", wait=60)[0] == 200
    assert d.stop() == 0
    ended = f"{d.child.pid} +++ exited"
    wait_until(lambda: ended in re.sub(" +", " ", trace.read_text()), "strace to write the end")
    calls = [line for line in trace.read_text().splitlines() if "exec" in line or "fork" in line]
    assert len(calls) == 1 and "snapshotd" in calls[0], calls


def test_a_crash_leaves_no_core(launch):
    if SANITIZED:
        pytest.skip("the sanitizer takes the signal")
    d = launch.daemon(OFF, wrapper=["prlimit", "--core=unlimited:unlimited"])
    proc = pathlib.Path(f"/proc/{d.child.pid}")
    assert re.search(r"^Max core file size +0 +0 ", (proc / "limits").read_text(), re.M)
    assert int((proc / "coredump_filter").read_text(), 16) == 0
    d.signal(signal.SIGSEGV)
    assert d.wait() == -signal.SIGSEGV
    assert not list(d.folder.glob("core*"))


def test_what_it_writes_is_its_users_alone(launch, people):
    before = os.umask(0)
    try:
        sim = launch.camera(people)
        d = launch.daemon(f"[camera:gate]\nkind = axis\naddress = {sim.address}\n" + OFF)
    finally:
        os.umask(before)
    assert d.trigger("gate", wait=30)[0] == 200
    wait_until(lambda: d.store_files(), "a picture")
    open_to_others = [p for p in [d.data, *d.data.rglob("*")] if p.stat().st_mode & 0o077]
    assert open_to_others == []
