"""The power goes: what is on the disk at that moment is all that there is. Goal R2 of reliability.

The daemon works on an ext4 file system in an image file. A cut is a copy of the image while the daemon
is stopped: what it has not synced is in the kernel's memory and not in the image. The copy is mounted
and a daemon started on it.

SNAPSHOT_FTP_ROUNDS sets the number of cuts of each kind (10 is the goal)."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from conftest import missing, wait_until
from ftp_load import Client, Ledger, picture
from ftp_rig import rounds

MEGABYTES = 96


class Disk:
    """An ext4 image mounted at `place`. `commit` keeps the journal from committing by itself, so that
    a missing sync shows."""

    def __init__(self, image, place):
        self.image, self.place = image, place
        place.mkdir(parents=True, exist_ok=True)
        with open(image, "wb") as f:
            f.truncate(MEGABYTES << 20)
        command("mkfs.ext4", "-q", "-F", image)
        self.mount(image)

    def mount(self, image):
        command("mount", "-o", "loop,commit=300", image, self.place)

    def umount(self):
        subprocess.run(["umount", self.place], check=True)

    def copy(self, to):
        """As the image is now. It must not change meanwhile, or it would be a state that never was."""
        with contextlib.suppress(FileNotFoundError):
            to.unlink()
        for _ in range(20):
            copy_sparse(self.image, to)
            if subprocess.run(["cmp", "-s", self.image, to], check=False).returncode == 0:
                return
        raise AssertionError("the image does not come to rest")


def copy_sparse(source, to):
    subprocess.run(["cp", "--sparse=always", source, to], check=True)


def command(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{argv[0]}: {done.stderr.strip() or done.stdout.strip()}")


@pytest.fixture
def disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if not shutil.which("mkfs.ext4"):
        missing("mkfs.ext4")
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("no loop devices here")
    disk = Disk(tmp_path / "image", tmp_path / "daemon/data")
    yield disk
    subprocess.run(["umount", "-l", disk.place], check=False)


def cut(rig, disk, copy):
    """The power is off. Afterwards the copy is the disk."""
    rig.daemon.signal(signal.SIGSTOP)
    disk.copy(copy)
    rig.kill()
    disk.umount()
    disk.mount(copy)
    disk.image, copy = copy, disk.image
    return copy


def test_nothing_acknowledged_is_lost_under_load(ftp_rig, disk, tmp_path):
    rng = random.Random(2)
    rig = ftp_rig()
    ledger, spare = Ledger(), tmp_path / "copy"
    for number in range(rounds(2)):
        rig.start()
        load = rig.load(clients=8, ways={"kept": 3, "store": 1, "reset": 0.2}, ledger=ledger,
                        seed=number, path=lambda c, n, r=number: f"{r}_{c}_{n}.jpg", timeout=5)
        before = len(ledger.of("ok"))
        load.start()
        try:
            wanted = rng.randrange(5, 100)
            wait_until(lambda b=before, w=wanted: len(ledger.of("ok")) >= b + w, "some uploads")
            spare = cut(rig, disk, spare)
        finally:
            load.stopping.set()
            rig.kill()
            load.stop()
    rig.start()
    rig.check(ledger)
    assert rig.stop() == 0


def test_nothing_acknowledged_is_lost_in_a_pause(ftp_rig, disk, tmp_path):
    """While others sync, they sync for all. Here nobody does any more when the power goes."""
    rig = ftp_rig()
    ledger, spare = Ledger(), tmp_path / "copy"
    for number in range(rounds(2)):
        rig.start()
        rig.load(clients=2, uploads=5, ledger=ledger, seed=number,
                 path=lambda c, n, r=number: f"{r}_{c}_{n}.jpg").run()
        pause_until = time.monotonic() + 1
        wait_until(lambda end=pause_until: time.monotonic() >= end, "a second of rest")
        spare = cut(rig, disk, spare)
    rig.start()
    assert set(ledger.counts()) == {"ok"}
    rig.check(ledger)
    assert rig.stop() == 0


def test_a_file_of_no_camera_is_safe_at_its_226(ftp_rig, disk, tmp_path):
    """Nobody but the FTP server touches it, so no ledger's sync helps: first file in a new folder, a
    second one there, one written again, one renamed, each cut off right behind its last reply."""
    rig = ftp_rig(more="[ftp_account:elsewhere]\npassword = elsewhere-password\nrights = all\n")
    jail, spare = rig.root / "elsewhere", tmp_path / "copy"
    steps = [("deep/new/folder/a.txt", None), ("deep/new/folder/b.txt", None),
             ("deep/new/folder/a.txt", None), ("c.txt", "d.txt")]
    expected = {}
    for number, (name, new_name) in enumerate(steps):
        rig.start()
        content = picture(f"{number} {name}")
        with Client(rig.server, timeout=10) as c:
            c.login("elsewhere", "elsewhere-password")
            c.command("TYPE I", 200)
            c.store(name, content)
            if new_name:
                c.command(f"RNFR {name}", 350)
                c.command(f"RNTO {new_name}", 250)
            spare = cut(rig, disk, spare)
        expected[new_name or name] = content
        there = {str(p.relative_to(jail)): p.read_bytes() for p in jail.rglob("*") if p.is_file()}
        assert there == expected, (sorted(there), sorted(expected))
