"""The systemd units, as far as they can be judged without a systemd that runs."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, missing, wait_until

UNITS = ROOT / "packaging/systemd"
SERVICE = UNITS / "snapshotd.service"
UNDER_FILTER = pathlib.Path(__file__).with_name("under_filter.py")
OFF = "[detection]\nenabled = no\n"


def analyze(*arguments):
    if not shutil.which("systemd-analyze"):
        missing("systemd-analyze")
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True,
                          text=True, check=False)


def exposure(unit):
    told = analyze("security", "--offline=yes", unit).stdout
    return float(re.search(r"exposure level for \S+: ([0-9.]+)", told).group(1))


def test_it_is_hardened(tmp_path):
    assert exposure(SERVICE) <= 1.6
    # As doc/hardening.md has it for those whose port 21 is opened by the socket.
    text = SERVICE.read_text(encoding="utf-8")
    without = re.sub(r"(?m)^(AmbientCapabilities|CapabilityBoundingSet)=.*$", r"\1=", text)
    without = without.replace("NoNewPrivileges=yes", "NoNewPrivileges=yes\nPrivateUsers=yes")
    (tmp_path / "snapshotd.service").write_text(without + "\n", encoding="utf-8")
    assert exposure(tmp_path / "snapshotd.service") <= 1.2


def test_systemd_understands_every_line(tmp_path):
    for unit in UNITS.glob("snapshotd.*"):
        text = unit.read_text(encoding="utf-8")
        # The program and its pages may not be installed here.
        text = text.replace("ExecStart=snapshotd run", "ExecStart=/bin/true")
        (tmp_path / unit.name).write_text(re.sub("(?m)^Documentation=.*\n", "", text),
                                          encoding="utf-8")
    for unit in tmp_path.iterdir():
        done = analyze("verify", "--man=no", unit)
        told = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, told) == (0, []), done.stderr


def test_a_faulty_configuration_is_not_tried_again_and_all_else_is():
    text = SERVICE.read_text(encoding="utf-8")
    for line in ("Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0",
                 "Type=notify"):
        assert f"\n{line}\n" in text


def test_its_stop_takes_longer_than_the_program_takes_to_end():
    text = SERVICE.read_text(encoding="utf-8")
    stop = int(re.search(r"TimeoutStopSec=(\d+)", text).group(1))
    grace = re.search(r"#shutting_down_grace_secs = (\d+)s",
                      (ROOT / "etc/snapshot-processor.conf.sample").read_text()).group(1)
    assert stop > 2 * int(grace)


def as_the_unit_has_it(tmp_path):
    """A wrapper: the unit's filter of system calls, and /proc without what ProcSubset= hides."""
    analyze("--version")
    wrapper = ["/usr/bin/python3", UNDER_FILTER, SERVICE]
    if os.geteuid() == 0:
        wrapper = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
                   'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"',
                   "sh", *wrapper]
    probe = subprocess.run([*wrapper, "/bin/true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"not possible here: {probe.stderr.strip()[-200:]}")
    return wrapper


def test_under_its_restrictions_pictures_are_fetched_and_examined(launch, people, model, tmp_path):
    sim = launch.camera(people)
    d = launch.daemon(f"[camera:gate]\nkind = axis\naddress = {sim.address}\n"
                      f"[detection]\nmodel = {model}\n", wrapper=as_the_unit_has_it(tmp_path))
    status, doc = d.trigger("gate", wait=60)
    assert status == 200, doc
    assert "human" in str(doc) or "person" in str(doc)
    assert d.get("/api/v1/status")


def test_under_its_restrictions_files_are_watched_and_folders_written(launch, people, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    d = launch.daemon(f"[camera:yard]\nkind = push\n[watch:inbox]\npath = {inbox}\ncamera = yard\n"
                      + OFF, wrapper=as_the_unit_has_it(tmp_path))
    shutil.copy(people, inbox / "one.jpg")
    wait_until(lambda: len(d.snapshots()) == 1, "the picture of the watched folder")


def test_under_its_restrictions_programs_of_cameras_run(launch, people, tmp_path):
    d = launch.daemon(f"[camera:rtsp]\nkind = command\nprogram = /bin/cat {people}\n" + OFF,
                      wrapper=as_the_unit_has_it(tmp_path))
    status, doc = d.trigger("rtsp", wait=30)
    assert status == 200, doc
