"""Pictures kept in a folder, stars, prune and verify: the commands beside a running daemon and
without one."""

import json
import os
import sqlite3
import subprocess

import pytest

from conftest import BINARY, wait_until

CONFIG = """
[camera:porch]
kind = foscam
address = {address}
user = admin
password = secret1234
location = Front Door

[directory:nas]
path = {nas}
require_mount = auto
reserve = 0
upload = all
{more}
"""
SECONDS_MAX = 60


@pytest.fixture
def porch(launch, people):
    return launch.camera(people, "--user", "admin", "--password", "secret1234")


@pytest.fixture
def nas(tmp_path):
    folder = tmp_path / "nas"
    folder.mkdir()
    return folder


class Installation:
    """A daemon that may run or not, and the commands on its configuration."""

    def __init__(self, launch, sim, nas, more):
        self.launch = launch
        self.text = CONFIG.format(address=sim.address, nas=nas, more=more)
        self.nas = nas
        self.d = launch.daemon(self.text)

    def run(self, command, *arguments):
        return subprocess.run(
            [BINARY, command, *arguments, "-c", self.d.config, "--set",
             f"app.data_dir={self.d.data}", "--set", f"web.listen=127.0.0.1:{self.d.port}"],
            text=True, capture_output=True, timeout=SECONDS_MAX, cwd=self.d.folder)

    def ok(self, command, *arguments):
        done = self.run(command, *arguments)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def pictures(self, count):
        """So many more pictures, delivered to all they should reach."""
        ids = []
        for _ in range(count):
            status, doc = self.d.trigger("porch", wait=60)
            assert status == 200, doc
            ids.append(doc["id"])
        return ids

    def storage(self):
        return self.d.get("/api/v1/status")["storages"][0]

    def wait_kept(self):
        wait_until(lambda: self.storage()["pending"] == 0, "the folder to have all")

    def kept_files(self):
        return sorted(str(p.relative_to(self.nas)) for p in self.nas.rglob("*")
                      if p.is_file() and p.name != ".snapshotd-here")


@pytest.fixture
def installation(launch, porch, nas):
    def make(more="[detection]\nenabled = no\n"):
        return Installation(launch, porch, nas, more)
    return make


def test_a_folder_that_is_not_marked_waits_and_then_gets_all(installation, people):
    i = installation()
    ids = i.pictures(2)
    wait_until(lambda: i.storage()["state"] == "away", "the folder to be away")
    assert "nothing is mounted there" in i.storage()["last_error"]
    assert os.listdir(i.nas) == []
    done = i.run("directory", "nas")
    assert done.returncode == 1 and "nothing is mounted there" in done.stderr
    assert ".snapshotd-here" in i.ok("directory", "--mark", "nas")
    assert "ready" in i.ok("directory")
    i.d.stop()  # a start tries at once
    i.d = i.launch.daemon(i.text)
    i.wait_kept()
    assert i.kept_files() == sorted(i.d.get(f"/api/v1/snapshots/{n}")["path"] for n in ids)
    for file in i.kept_files():
        assert (i.nas / file).read_bytes() == people.read_bytes()


def test_what_check_warns_of_stands_in_the_log_of_the_start_too(launch, nas):
    d = launch.daemon(f"[camera:porch]\naddress = 127.0.0.1:9\n[directory:nas]\npath = {nas}\n"
                      "cameras = prch\n")
    d.wait_line(r"warning.*there is no \[camera:prch\].*\[config-warning\]")


def test_stars_keep_pictures_from_prune_with_and_without_the_daemon(installation):
    i = installation()
    i.ok("directory", "--mark", "nas")
    ids = i.pictures(4)
    i.wait_kept()
    assert "has a star" in i.ok("star", ids[0])
    assert [s["id"] for s in i.d.snapshots("&starred=1")] == [ids[0]]
    wrong = i.run("star", "0" * 32)
    assert wrong.returncode == 1 and "there is no snapshot of this id" in wrong.stderr
    assert i.run("star", "nonsense").returncode == 2

    assert "would remove 0 pictures" in i.ok("prune", "--dry-run")  # none is two days old
    assert "would remove 3 pictures" in i.ok("prune", "--dry-run", "--older-than", "1ms")
    paths = [i.d.get(f"/api/v1/snapshots/{n}")["path"] for n in ids[1:]]
    told = i.ok("prune", "--dry-run", "--verbose", "--older-than", "1ms")
    assert told.splitlines()[:3] == [f"plain_age            {n} {path}"
                                     for n, path in zip(ids[1:], paths)]
    told = json.loads(i.ok("prune", "--dry-run", "-vj", "--older-than", "1ms"))
    assert told["pictures"] == [{"rule": "plain_age", "id": n, "path": path}
                                for n, path in zip(ids[1:], paths)]
    assert len(i.d.store_files()) == 4
    told = json.loads(i.ok("prune", "--json", "--older-than", "1ms"))
    assert told["rules"]["plain_age"]["pictures"] == 3 and told["failed"] == 0
    assert i.d.store_files() == [i.d.get(f"/api/v1/snapshots/{ids[0]}")["path"]]
    gone = i.d.get(f"/api/v1/snapshots/{ids[1]}")
    assert gone["removed"] and "plain_age" in json.dumps(gone["story"])
    status, _, body = i.d.request(f"/api/v1/snapshots/{ids[1]}/image")
    assert status == 404 and json.loads(body)["error"]["code"] == "picture-gone"
    assert len(i.kept_files()) == 4  # there they stay

    assert i.d.stop() == 0
    assert "has no star" in i.ok("star", "--remove", ids[0])
    assert "removed 1 pictures" in i.ok("prune", "--older-than", "1ms")
    assert i.d.store_files() == []
    assert "0 findings" in i.ok("verify", "--deep", "--remote")


def test_what_has_not_arrived_is_not_pruned(installation):
    i = installation()
    i.pictures(2)  # nobody has marked the folder
    assert "removed 0 pictures" in i.ok("prune", "--older-than", "1ms")
    # Nor on a disk that is about to fill: by hand nothing goes but by the rule that was asked for.
    full = ["--set", "store.reserve=1024GB"]
    assert "removed 0 pictures" in i.ok("prune", "--older-than", "1ms", *full)
    assert "removed 0 pictures" in i.ok("prune", *full)
    assert len(i.d.store_files()) == 2
    i.ok("directory", "--mark", "nas")
    i.d.stop()
    i.d = i.launch.daemon(i.text)
    i.wait_kept()
    assert "removed 0 pictures" in i.ok("prune", "--older-than", "1h", *full)
    assert "would remove 2 pictures" in i.ok("prune", "--dry-run", *full)  # free_space


def test_a_storage_that_is_no_more_can_be_given_up(installation, launch):
    i = installation()
    i.pictures(2)
    refused = i.run("prune", "--forget-storage", "directory:nas")
    assert refused.returncode == 2 and "is configured" in refused.stderr
    assert i.d.stop() == 0
    i.d = launch.daemon(i.text.replace("[directory:nas]", "[directory:nas]\nenabled = no"))
    i.d.wait_line(r"2 files wait for directory:nas, which is not configured")
    assert "removed 0 pictures" in i.ok("prune", "--older-than", "1ms")
    assert "2 files waited" in i.ok("prune", "--forget-storage", "directory:nas")
    assert "0 files waited" in i.ok("prune", "--forget-storage", "directory:nas")
    assert i.run("prune", "--forget-storage", "s3:never").returncode == 1
    assert "removed 2 pictures" in i.ok("prune", "--older-than", "1ms")
    assert "no damage" in i.ok("integrity")


def test_verify_mends_what_can_be_mended(installation, model):
    i = installation(f"[detection]\nmodel = {model}\n")
    i.ok("directory", "--mark", "nas")
    ids = i.pictures(2)
    wait_until(lambda: not i.d.undrawn(), "the copies to be drawn")
    i.wait_kept()
    wait_until(lambda: len(i.kept_files()) == 4, "the copies to be kept")
    first, second = (i.d.get(f"/api/v1/snapshots/{n}") for n in ids)
    assert ": 0 findings" in i.ok("verify", "--deep", "--remote")

    copy = i.d.data / "store" / first["annotated_path"]
    copy.unlink()
    (i.nas / second["path"]).unlink()
    stray = (i.d.data / "store" / first["path"]).with_name("stray.jpg")
    stray.write_bytes(b"x")
    done = i.run("verify", "--remote")
    assert done.returncode == 1
    assert f"{first['annotated_path']} is missing" in done.stdout
    assert f"directory:nas: {second['path']} is there no more" in done.stdout
    assert "stray" not in done.stdout  # so young it may be on its way
    assert not copy.exists()

    done = i.run("verify", "--remote", "--repair")
    assert done.returncode == 1 and "2 repaired or on the way" in done.stdout
    wait_until(copy.exists, "the copy to be drawn again")
    wait_until(lambda: len(i.kept_files()) == 4, "the picture to be uploaded again")
    i.wait_kept()
    wait_until(lambda: i.run("verify", "--deep", "--remote").returncode == 0, "all to be well")


def test_damage_is_found_and_the_daemon_is_not_disturbed(installation):
    i = installation()
    (i.nas / ".snapshotd-here").touch()
    ids = i.pictures(2)
    i.wait_kept()
    paths = [i.d.get(f"/api/v1/snapshots/{n}")["path"] for n in ids]
    file = i.d.data / "store" / paths[0]
    bytes_before = file.read_bytes()
    file.write_bytes(bytes_before[:-1] + bytes([bytes_before[-1] ^ 1]))
    assert i.run("verify").returncode == 0  # the size is right
    done = i.run("verify", "--deep")
    assert done.returncode == 1 and f"{paths[0]} has other bytes" in done.stdout
    (i.d.data / "store" / paths[1]).unlink()
    assert f"{paths[1]} is missing" in i.run("verify").stdout
    assert i.d.get("/api/v1/status")["ready"]
    db = sqlite3.connect(f"file:{i.d.data}/snapshotd.db?mode=ro", uri=True)
    assert db.execute("SELECT count(*) FROM snapshots WHERE removed_at IS NULL").fetchone() == (2,)


@pytest.mark.parametrize("command", ["prune", "verify"])
def test_nothing_is_made_where_nothing_is(tmp_path, command):
    done = subprocess.run([BINARY, command, "--set", f"app.data_dir={tmp_path}/none"], text=True,
                          capture_output=True, timeout=SECONDS_MAX, cwd=tmp_path)
    assert done.returncode == 1 and "has the daemon run" in done.stderr
    assert os.listdir(tmp_path) == []
