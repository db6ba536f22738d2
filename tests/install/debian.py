"""A Debian in a folder, for the tests that install into one or build in one."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
IN_CHROOT = ROOT / "tests/install/in-chroot"
# For a command with a download in it; a mirror can be slow, but not for ever.
SECONDS_MAX = 900


def why_not():
    """Why this machine cannot make a chroot; None = it can."""
    if os.geteuid() != 0:
        return "only root can make a chroot"
    for tool in ("debootstrap", "unshare", "apt-get"):
        if not shutil.which(tool):
            return f"no {tool}"
    # As in-chroot does: the mounts are what containers forbid.
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork",
                           "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True,
                          text=True, check=False)
    return f"no mounts here: {done.stderr.strip()}" if done.returncode != 0 else None


class Debian:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        done = subprocess.run([IN_CHROOT, "--make", self.folder], capture_output=True, text=True,
                              check=False, timeout=SECONDS_MAX)
        if done.returncode != 0:
            pytest.skip(f"no Debian to be had: {done.stdout}{done.stderr}")

    def run(self, command, status=0, work="/"):
        """What a shell command says, all of it. `status` None: any will do."""
        done = subprocess.run([IN_CHROOT, self.folder, work, command], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS_MAX)
        if status is not None:
            assert done.returncode == status, f"{command}\n{done.stdout}"
        return done.stdout

    def path(self, inside):
        return self.folder / inside.lstrip("/")

    def status(self, inside):
        """Who may do what: "755 root:root"; names are those of the chroot."""
        return self.run(f"stat -c '%a %U:%G' {inside}").strip()
