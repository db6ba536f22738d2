"""The Debian package: built without a network, installed into a Debian that has nothing, used there
by its own user, upgraded to another version, removed, purged. In this order, in one chroot.

    SNAPSHOT_DEB=FILE        a package that is there already, instead of one built now
    SNAPSHOT_DEB_NEXT=FILE   likewise the one that it is upgraded to: this tree as version 99.1"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from debian import ROOT, Debian, IN_CHROOT, SECONDS_MAX, why_not

STATE = "/var/lib/snapshot-processor"
CONFIG = "/etc/snapshot-processor/snapshot-processor.conf"
AS_USER = "setpriv --reuid snapshotd --regid snapshotd --init-groups"
# As the unit starts it.
AS_SERVICE = (f"cd {STATE} && {AS_USER} --inh-caps -all,+net_bind_service "
              "--ambient-caps -all,+net_bind_service --bounding-set -all,+net_bind_service")
PATIENCE = 60


def check_machine():
    reason = why_not()
    if not reason and not shutil.which("dpkg-buildpackage"):
        reason = "no dpkg-buildpackage: tools/setup deb"
    if not reason and not (ROOT / ".deps/onnxruntime/lib/libonnxruntime.so").exists():
        reason = "no ONNX Runtime: tools/setup build"
    if not reason and not (ROOT / "models/centernet-512.onnx").exists():
        reason = "no model: tools/setup model"
    if reason:
        pytest.skip(reason)


def build(tree):
    # Packages are set up; and a network that is not there cannot be asked.
    done = subprocess.run(["unshare", "--net", tree / "tools/deb"], capture_output=True, text=True,
                          check=False, timeout=SECONDS_MAX,
                          env={**os.environ, "SNAPSHOT_SKIP_PACKAGES": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    package, = (tree / "build-deb").glob("snapshot-processor_*.deb")
    return package


@pytest.fixture(name="package", scope="module")
def built():
    check_machine()
    if os.environ.get("SNAPSHOT_DEB"):
        return pathlib.Path(os.environ["SNAPSHOT_DEB"])
    return build(ROOT)


NEXT = "99.1.0"
NEW_LINE = "# New in 99.1: nothing."


def make_next(tree):
    """What the next release may look like: another version, and another beginning of the
    configuration."""
    ignored = shutil.ignore_patterns("build*", ".git", ".deps", "models", "footage", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
    for folder in (".deps", "models"):
        (tree / folder).symlink_to(ROOT / folder)
    meson, changes = tree / "meson.build", tree / "packaging/debian/changelog"
    meson.write_text(re.sub(r"version: '[\d.]+',", f"version: '{NEXT}',", meson.read_text(), count=1))
    changes.write_text(re.sub(r"\([\d.]+\)", f"({NEXT})", changes.read_text(), count=1))
    begin = tree / "etc/snapshot-processor.conf"
    begin.write_text(begin.read_text() + NEW_LINE + "\n")


@pytest.fixture(name="next_package", scope="module")
def next_built(package, tmp_path_factory):
    if os.environ.get("SNAPSHOT_DEB_NEXT"):
        return pathlib.Path(os.environ["SNAPSHOT_DEB_NEXT"])
    tree = tmp_path_factory.mktemp("next") / "tree"
    make_next(tree)
    return build(tree)


@pytest.fixture(name="debian", scope="module")
def installed(package, tmp_path_factory):
    debian = Debian(tmp_path_factory.mktemp("debian") / "root")
    shutil.copy(package, debian.path("/srv/this.deb"))
    debian.run("apt-get -qq update")
    debian.run("apt-get -qq install --no-install-recommends /srv/this.deb")
    yield debian
    shutil.rmtree(debian.folder, ignore_errors=True)


def test_everything_is_in_its_place_with_its_owner_and_rights(debian):
    wanted = {
        "/usr/bin/snapshotd": "755 root:root",
        "/lib/systemd/system/snapshotd.service": "644 root:root",
        "/lib/systemd/system/snapshotd.socket": "644 root:root",
        "/usr/lib/sysusers.d/snapshotd.conf": "644 root:root",
        "/usr/lib/tmpfiles.d/snapshotd.conf": "644 root:root",
        "/usr/share/snapshot-processor/models/centernet-512.onnx": "644 root:root",
        "/usr/share/doc/snapshot-processor/configuration.md": "644 root:root",
        "/usr/share/doc/snapshot-processor/snapshot-processor.conf.sample": "644 root:root",
        "/etc/snapshot-processor": "750 root:snapshotd",
        CONFIG: "640 root:snapshotd",
        STATE: "700 snapshotd:snapshotd",
    }
    found = {path: debian.status(path) for path in wanted}
    assert found == wanted


def test_the_user_has_no_password_no_shell_and_no_group_but_its_own(debian):
    user = debian.run("getent passwd snapshotd").strip().split(":")
    assert 0 < int(user[2]) < 1000 and user[5] == STATE and user[6].endswith("nologin")
    assert debian.run("getent shadow snapshotd").split(":")[1] in ("!", "!*", "*", "!!")
    assert debian.run("id -Gn snapshotd").strip() == "snapshotd"


def test_the_service_starts_at_boot_and_the_port_is_opened_only_for_those_who_ask(debian):
    units = debian.path("/etc/systemd/system")
    assert (units / "multi-user.target.wants/snapshotd.service").is_symlink()
    assert not list(units.glob("sockets.target.wants/*"))


def test_nothing_is_world_writable_and_nothing_runs_with_more_rights(debian):
    listed = debian.run("dpkg -L snapshot-processor").split()
    files = [p for p in map(debian.path, listed) if not p.is_symlink()]
    assert len(files) > 20
    assert [p for p in files if p.stat().st_mode & 0o6002 and not p.stat().st_mode & 0o1000] == []


def test_its_configuration_is_good_for_its_user(debian):
    told = debian.run(f"cd {STATE} && {AS_USER} snapshotd check")
    assert CONFIG in told or "good" in told or told == ""


def test_others_cannot_read_the_configuration(debian):
    assert "Permission denied" in debian.run(
        f"setpriv --reuid nobody --regid nogroup --clear-groups cat {CONFIG}", status=1)


def test_it_finds_people_with_the_model_that_it_brings(debian):
    picture = ROOT / "footage/front-door/001.jpg"
    if not picture.exists():
        pytest.skip("no footage: tools/setup demo")
    shutil.copy(picture, debian.path("/tmp/picture.jpg"))
    debian.path("/tmp/picture.jpg").chmod(0o644)
    told = debian.run(f"cd / && {AS_USER} snapshotd detect --json /tmp/picture.jpg")
    assert '"person"' in told


def start_service(debian):
    child = subprocess.Popen(
        [IN_CHROOT, debian.folder, "/", f"{AS_SERVICE} snapshotd run & echo pid; wait"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in child.stdout:
        lines.append(line)
        if "[ready]" in line:
            return child, lines
    raise AssertionError("".join(lines))


def daemon_of(child):
    """The number that this machine has for the snapshotd below `child`."""
    end = time.monotonic() + PATIENCE
    waiting = [child.pid]
    while waiting and time.monotonic() < end:
        pid = waiting.pop()
        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "snapshotd":
            return pid
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    raise AssertionError("no snapshotd runs")


def test_it_runs_as_its_user_with_nothing_but_the_right_to_low_ports(debian):
    child, lines = start_service(debian)
    try:
        pid = daemon_of(child)
        status = dict(line.split(":\t", 1) for line in
                      pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                      if ":\t" in line)
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[name], 16) == 1 << 10, name  # CAP_NET_BIND_SERVICE
        for name in ("CapInh", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Uid"].split() == [status["Uid"].split()[0]] * 4
        assert "detector: centernet-512.onnx" in "".join(lines)
        os.kill(pid, signal.SIGTERM)
        assert child.wait(PATIENCE) == 0
    finally:
        child.kill()
        child.wait()


def test_what_it_keeps_is_nobody_elses(debian):
    assert debian.status(f"{STATE}/snapshotd.db") == "600 snapshotd:snapshotd"
    assert debian.run(f"find {STATE} -perm /077") == ""
    assert debian.run(f"find {STATE} ! -user snapshotd") == ""


def upgrade(debian, package):
    shutil.copy(package, debian.path("/srv/next.deb"))
    return debian.run("dpkg --force-confold -i /srv/next.deb")


def run_once(debian):
    child, lines = start_service(debian)
    try:
        os.kill(daemon_of(child), signal.SIGTERM)
        assert child.wait(PATIENCE) == 0
    finally:
        child.kill()
        child.wait()
    return "".join(lines)


def test_an_upgrade_leaves_pictures_settings_and_secrets_alone(debian, next_package):
    old = debian.run("snapshotd --version")
    user = debian.run("getent passwd snapshotd")
    with open(debian.path(CONFIG), "a", encoding="utf-8") as f:
        f.write("\n[camera:yard]\nkind = push\n")
    debian.run("umask 077; echo YARD=secret >/etc/snapshot-processor/environment; "
               f"mkdir -p {STATE}/store/yard && echo a >{STATE}/store/yard/picture.jpg")
    debian.run(f"chown -R snapshotd: {STATE}/store/yard")
    before = debian.path(CONFIG).read_text(encoding="utf-8")
    upgrade(debian, next_package)
    assert debian.run("dpkg-query -W -f '${Status} ${Version}' snapshot-processor") == \
        f"install ok installed {NEXT}"
    assert NEXT in debian.run("snapshotd --version") and NEXT not in old
    assert debian.path(CONFIG).read_text(encoding="utf-8") == before
    assert debian.status(CONFIG) == "640 root:snapshotd"
    # What is new in it lies beside, and is no more open.
    assert NEW_LINE in debian.path(CONFIG + ".dpkg-dist").read_text(encoding="utf-8")
    assert debian.status("/etc/snapshot-processor") == "750 root:snapshotd"
    assert debian.path(f"{STATE}/store/yard/picture.jpg").exists()
    assert debian.run("cat /etc/snapshot-processor/environment") == "YARD=secret\n"
    assert debian.status(STATE) == "700 snapshotd:snapshotd"
    assert debian.run("getent passwd snapshotd") == user
    # The next version goes on with the books of the one before.
    said = run_once(debian)
    assert f"snapshotd {NEXT} is ready" in said and "1 camera" in said
    books = debian.run(f"cd {STATE} && {AS_USER} snapshotd integrity --database {STATE}/snapshotd.db",
                       status=None)
    assert books.strip().endswith("1 finding\nfile yard/picture.jpg belongs to no snapshot"), books


def test_a_configuration_that_nobody_touched_is_renewed_with_its_owner(package, next_package,
                                                                       debian):
    debian.run("apt-get -qq purge snapshot-processor")
    debian.run("dpkg -i /srv/this.deb")
    assert package and NEW_LINE not in debian.path(CONFIG).read_text(encoding="utf-8")
    upgrade(debian, next_package)
    assert NEW_LINE in debian.path(CONFIG).read_text(encoding="utf-8")
    assert debian.status(CONFIG) == "640 root:snapshotd"
    # For what follows.
    debian.run(f"mkdir -p {STATE}/store/yard && echo a >{STATE}/store/yard/picture.jpg")


def test_removing_leaves_pictures_and_settings(debian):
    debian.run("apt-get -qq remove snapshot-processor")
    assert not debian.path("/usr/bin/snapshotd").exists()
    assert not debian.path("/lib/systemd/system/snapshotd.service").exists()
    assert debian.path(f"{STATE}/store/yard/picture.jpg").exists()
    assert debian.path(CONFIG).exists()


def test_purging_leaves_nothing(debian):
    debian.run("apt-get -qq purge snapshot-processor")
    assert not debian.path(STATE).exists()
    assert not debian.path("/etc/snapshot-processor").exists()
    left = debian.run("find / -xdev -name '*snapshot*' -not -path '/proc/*' -not -path '/sys/*' "
                      "-not -path '/srv/*.deb'; find / -xdev -name 'snapshotd*' -type l")
    assert left == ""


def test_it_can_be_installed_again(debian):
    debian.run("apt-get -qq install --no-install-recommends /srv/this.deb")
    debian.run(f"cd {STATE} && {AS_USER} snapshotd check")
