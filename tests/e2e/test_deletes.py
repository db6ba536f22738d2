"""Many who delete, take back, star and look at the same pictures at once, while the janitor purges."""

import contextlib
import io
import json
import random
import sqlite3
import subprocess
import threading
import zipfile

import pytest

from conftest import BINARY, PATIENCE, ROOT, sha256, wait_until
from test_http import OFF, PUSH, post, unlike

PICTURES = 24
CLIENTS = 6
ROUNDS = 40  # of each client at least
PURGED = 8  # pictures at least, before they end
# Without it no picture may stay in the trash for as long as a command needs to come by.
PAUSE_S = 0.1
JANITOR_S = 60  # after its start it looks for the first time
CONFIG = PUSH + OFF + "[retention]\ntrash_keep = 1s\n[web]\nthumbnails = asked\n"

# What may be said to whom asks for a picture that others delete. A success is always one.
ONE = "/api/v1/snapshots/{id}"
CHANGES = {
    ("DELETE", ONE): {"starred", "picture-gone"},
    ("DELETE", ONE + "?force=1"): {"picture-gone"},
    ("POST", ONE + "/undelete"): {"already-purged"},
    ("POST", ONE + "/star"): set(),
    ("POST", ONE + "/unstar"): set(),
}
LOOKS = {
    ("GET", ONE): set(),
    ("GET", ONE + "/image"): {"picture-gone"},
    ("GET", ONE + "/thumbnail"): {"picture-gone", "not-made-yet"},
    ("GET", ONE + "/neighbours"): set(),
    ("GET", "/api/v1/snapshots?limit=5"): set(),
    ("GET", "/api/v1/snapshots?deleted=1"): set(),
    ("GET", "/api/v1/snapshots/count?present=1"): set(),
    ("GET", "/api/v1/snapshots.zip"): {"too-many-exports"},
}


class Crowd:
    """Clients that do all of that to these pictures until they are told to end."""

    def __init__(self, d, ids):
        self.d, self.ids, self.over = d, ids, threading.Event()
        self.wrong, self.answers = [], {}
        self.deleted = set()  # by whomever, whenever
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(seed,)) for seed in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def run(self, seed):
        dice = random.Random(seed)
        done = 0
        while not self.wrong and (done < ROUNDS or not self.over.is_set()):
            done += 1
            table = dice.choice((CHANGES, LOOKS))
            method, pattern = dice.choice(sorted(table))
            one = dice.choice(self.ids)
            try:
                self.ask(method, pattern, one, table[method, pattern])
            except (OSError, AssertionError, ValueError, zipfile.BadZipFile) as e:
                self.wrong.append(f"{method} {pattern} {one}: {e!r}")
            self.over.wait(PAUSE_S)

    def ask(self, method, pattern, one, may_be):
        status, headers, body = self.d.request(pattern.replace("{id}", one), method)
        said = "well" if status == 200 else json.loads(body)["error"]["code"]
        assert said == "well" or said in may_be, (status, body[:300])
        with self.lock:
            at = method, pattern, said
            self.answers[at] = self.answers.get(at, 0) + 1
            if said == "well" and method == "DELETE":
                self.deleted.add(one)
        if said == "well":
            self.look(method, pattern, headers["Content-Type"], body)

    @staticmethod
    def look(method, pattern, kind, body):
        """That a success is what was asked for, at this moment."""
        if kind == "application/zip":
            with zipfile.ZipFile(io.BytesIO(body)) as z:
                assert z.testzip() is None and "manifest.json" in z.namelist()
        elif kind == "image/jpeg":
            assert body.startswith(b"\xff\xd8")
        elif method == "DELETE":
            assert json.loads(body)["deleted_at"], body
        elif pattern.endswith("/undelete"):
            found = json.loads(body)
            assert found["deleted_at"] is None and not found["removed"], body
        elif pattern.endswith("star"):
            assert json.loads(body)["starred"] is pattern.endswith("/star"), body

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()
        assert not self.wrong, self.wrong


def rows(d):
    """{id: (path, sha256, removed, deleted)}"""
    with contextlib.closing(sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)) as db:
        return {r[0]: r[1:] for r in db.execute(
            "SELECT id, path, sha256, removed_at IS NOT NULL, deleted_at IS NOT NULL FROM snapshots")}


def prune(d):
    done = subprocess.run([BINARY, "prune", "-c", d.config, "--set", f"app.data_dir={d.data}"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("purger", ["command", "janitor"])
def test_deleting_at_once_loses_nothing_and_leaves_nothing(launch, people, purger):
    d = launch.daemon(CONFIG)
    picture = people.read_bytes()
    ids = []
    for i in range(PICTURES):
        camera = ("porch", "yard")[i % 2]
        status, document = post(d, unlike(picture, i), path=f"/api/v1/cameras/{camera}/snapshots")
        assert status == 201
        ids.append(document["id"])
    wait_until(lambda: d.get("/api/v1/status")["counts"]["stored"] == 0, "all to be examined")
    by_command = purger == "command"

    def purge():
        if by_command:
            prune(d)
        return sum(r[2] for r in rows(d).values())

    crowd = Crowd(d, ids)
    try:
        wait_until(lambda: crowd.wrong or purge() >= PURGED, "some to be purged",
                   JANITOR_S + PATIENCE)
    finally:
        crowd.end()
    print(json.dumps({" ".join(k): n for k, n in sorted(crowd.answers.items())}, indent=1))
    wait_until(lambda: purge() and all(r[2] == r[3] for r in rows(d).values()),
               "the trash to be empty")
    assert d.stop() == 0

    books = rows(d)
    assert set(books) == set(ids), "the history keeps each"
    gone = {i for i, r in books.items() if r[2]}
    assert PURGED <= len(gone) and gone <= crowd.deleted, "nothing goes that nobody deleted"
    store = d.data / "store"
    assert set(d.store_files()) == {r[0] for r in books.values() if not r[2]}
    assert all(sha256((store / r[0]).read_bytes()) == r[1] for r in books.values() if not r[2])
    small = {p.name.partition("-")[0] for p in (d.data / "thumbnails").rglob("*.jpg")}
    assert small <= set(ids) - gone, "the small copies go with their pictures"
    check = subprocess.run([BINARY, "integrity", "--database", d.data / "snapshotd.db"],
                           capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr


def test_what_they_may_hear_is_described():
    document = json.loads((ROOT / "doc/openapi.json").read_text())
    for (method, pattern), codes in {**CHANGES, **LOOKS}.items():
        operation = document["paths"][pattern.partition("?")[0]][method.lower()]
        described = json.dumps(operation["responses"])
        assert all(f"`{code}`" in described for code in codes), (method, pattern)
