"""Pictures that are kept elsewhere, seen from outside: what was given to a daemon, and what each storage
holds of it in the end."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest

import drive_rig
from conftest import ROOT, wait_until
from spool import picture, put

S3RVER = ROOT / ".deps/s3rver/node_modules/s3rver/bin/s3rver.js"
CAMERAS = "[camera:front]\nlocation = Front Door\n[camera:porch]\n"
OFF = "[detection]\nenabled = no\n[store]\nreserve = 64k\n"
LARGE = 6 << 20  # above what goes to Drive in one request
FOLDER = "cameras"


def full(reduced, goal):
    """Numbers of the goals take long; SNAPSHOT_KEEP_FULL asks for them."""
    return goal if os.environ.get("SNAPSHOT_KEEP_FULL") else reduced


def gdrive(drive, login, **rows):
    rows = {"writes_per_second": 0, **rows}
    return drive_rig.config(drive, FOLDER, login) + lines(rows)


def lines(rows):
    return "".join(f"{k} = {v}\n" for k, v in rows.items())


def directory(path, **rows):
    return f"[directory:nas]\npath = {path}\nrequire_mount = no\n" + lines(rows)


def push(d, numbers, camera="frontdoor", size=2000, word="p"):
    """Pictures of these numbers appear in the folder that a camera uploads to."""
    place = d.data / "ftp/uploads" / camera
    for n in numbers:
        put(place / f"{word}{n}.jpg", picture(n, padding=size))


def ask(d, sql, *values):
    with contextlib.closing(sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def expected(d, where="1"):
    """{path below the store: bytes} of the pictures that are recorded."""
    store = d.data / "store"
    paths = [p for row in ask(d, f"SELECT path, annotated_path FROM snapshots WHERE {where}")
             for p in row if p]
    return {p: (store / p).read_bytes() for p in paths}


def by_name(pictures):
    """{file name: MD5}, as Drive keeps them."""
    names = {pathlib.PurePath(p).name: hashlib.md5(b).hexdigest() for p, b in pictures.items()}
    assert len(names) == len(pictures), "two pictures of one name would look like one"
    return names


def storage(d, name="gdrive"):
    """What the status says of a storage."""
    return next(s for s in d.get("/api/v1/status")["storages"] if s["name"] == name)


def taken(d, count):
    """Waits until so many pictures are recorded, and examined as far as they are."""
    wait_until(lambda: ask(d, "SELECT count(*) FROM snapshots")[0][0] >= count,
               f"{count} pictures")
    wait_until(lambda: d.get("/api/v1/status")["counts"]["stored"] == 0, "verdicts")
    have = ask(d, "SELECT count(*) FROM snapshots")[0][0]
    assert have == count, f"{have} instead of {count} pictures"


def drained(d, *names):
    """Waits until nothing waits for these storages; a pause is cut short as a person would do it."""
    for name in names or ["gdrive"]:
        d.signal(signal.SIGHUP)
        wait_until(lambda n=name: again(d, n)["pending"] == 0, f"{name} to have all")


def again(d, name="gdrive"):
    """Looks at a storage, and tries again like a person when it waits for one: an answer from before
    all was well may have come behind the last word."""
    s = storage(d, name)
    if s["state"] == "login" and s["next_try_ms"] > 30_000:
        d.signal(signal.SIGHUP)
    return s


def same_files(root, pictures):
    """A folder holds these files, byte by byte, and no other but what the program says of itself."""
    there = {str(p.relative_to(root)): p for p in root.rglob("*")
             if p.is_file() and not p.name.startswith(".")}
    assert sorted(there) == sorted(pictures), sorted(set(there) ^ set(pictures))
    for path, data in pictures.items():
        assert there[path].read_bytes() == data, path


def kept_right(drive, d, where="1"):
    """The Drive has each recorded picture exactly once, whole, and nothing else."""
    wait_until(lambda: drive.count()["late"] == 0, "what comes late")
    wrong = drive_rig.kept_wrong(drive, by_name(expected(d, where)))
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def drive():
    with drive_rig.drive_in_thread() as d:
        yield d
        assert d.oddities() == []


@pytest.fixture
def login(drive, tmp_path):
    return drive_rig.write_login(drive, tmp_path / "login.json")


@pytest.fixture
def nas(tmp_path):
    folder = tmp_path / "nas"
    folder.mkdir()
    return folder


class Bucket:
    """A server of others, and what is in its one bucket."""

    def __init__(self, port):
        import boto3  # as others see it
        self.url = f"http://127.0.0.1:{port}"
        self.client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="S3RVER",
            aws_secret_access_key="S3RVER", region_name="us-east-1",
            config=boto3.session.Config(s3={"addressing_style": "path"}))

    def section(self, **rows):
        return (f"[s3:box]\nbucket = pictures\nendpoint = {self.url}\naccess_key = S3RVER\n"
                "secret_key = S3RVER\nregion = us-east-1\n" + lines(rows))

    def content(self):
        # The first version: this server cannot make the second's tokens with today's OpenSSL.
        pages = self.client.get_paginator("list_objects").paginate(Bucket="pictures")
        keys = [o["Key"] for page in pages for o in page.get("Contents", [])]
        assert len(keys) == len(set(keys))
        return {k: self.client.get_object(Bucket="pictures", Key=k)["Body"].read() for k in keys}


@pytest.fixture
def bucket(tmp_path):
    pytest.importorskip("boto3", reason="install python3-boto3")
    if not S3RVER.exists() or not shutil.which("node"):
        pytest.skip("needs s3rver: tools/setup test")
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    process = subprocess.Popen(
        ["node", S3RVER, "-d", tmp_path / "s3", "-a", "127.0.0.1", "-p", str(port),
         "--silent", "--configure-bucket", "pictures"], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    try:
        assert any("listening" in line for line in process.stdout), "s3rver did not start"
        yield Bucket(port)
    finally:
        process.terminate()
        process.communicate(timeout=30)


# The listener of the broker's tests.
sys.path.insert(0, str(ROOT / "tests/broker"))
