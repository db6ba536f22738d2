"""The daemon with its FTP server, and what became of what was pushed at it.

The picture of an upload is found again by its SHA-256: `found` in the ledger's rows, `published` among
the events. The tests hold what clients were told (ftp_load.Ledger) against both."""

import collections
import contextlib
import ctypes
import json
import os
import pathlib
import re
import sqlite3
import subprocess

import ftp_load
from conftest import BINARY, Daemon, wait_until
from ports import free_port

USER, PASSWORD = "porch", "porch-password"


def hashed(rounds=1000, password=PASSWORD):
    """As crypt(5) has it; a thousand rounds take a millisecond or less."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), f"$5$rounds={rounds}$saltsaltsalt".encode()).decode()


class Rig:
    """One camera, `porch`, whose account is called the same. The FTP server's ports stay the same
    over restarts, as cameras expect it. `ftp` and `account` are further lines of their sections,
    `more` further sections; `stored` is how the password is written."""

    def __init__(self, folder, ftp="", account="", more="", tls=None, ipv6=False, stored=PASSWORD):
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.server = ("127.0.0.1", self.port)
        self.data = folder / "daemon/data"
        self.root = self.data / "ftp"
        self.events_file = folder / "events.json"
        self.started = 0
        self.daemon = None
        listen, implicit = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.tls_port}"
        if ipv6:
            listen += f", [::1]:{self.port}"
            implicit += f", [::1]:{self.tls_port}"
        if tls:
            ftp += (f"\ntls_cert_file = {tls[0]}\ntls_key_file = {tls[1]}\n"
                    f"tls_listen = {implicit}\n")
        self.config = f"""
[snapshots]
root_dir = {self.root}
[detection]
enabled = no
[events]
format = json
file = {self.events_file}
[store]
reserve = 64k
[camera:porch]
kind = push
[ftp]
enabled = yes
listen = {listen}
{ftp}
[ftp_account:{USER}]
password = {stored}
camera = porch
{account}
{more}
"""

    # ---- life and death ----

    def start(self, wrapper=(), options=(), env=None):
        self.started += 1
        self.daemon = Daemon(self.folder / "daemon", self.config,
                             self.folder / f"daemon{self.started}.log", *options, env=env,
                             wrapper=wrapper)
        return self.daemon

    def stop(self):
        """Orderly; returns the exit code."""
        return self.daemon.stop()

    def kill(self):
        self.daemon.kill()

    @property
    def pid(self):
        return self.daemon.child.pid

    def log(self):
        return "\n".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))

    # ---- clients ----

    def account(self, _client=0):
        return USER, PASSWORD

    def client(self, login=True, **words):
        c = ftp_load.Client(self.server, **words)
        if login:
            c.login(USER, PASSWORD)
            c.command("TYPE I", 200)
        return c

    def load(self, **words):
        return ftp_load.Load(self.server, self.account, **words)

    # ---- what came out ----

    def ask(self, sql):
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/snapshotd.db?mode=ro",
                                                uri=True)) as db:
            return db.execute(sql).fetchall()

    def found(self):
        """How often each pushed picture is in the ledger."""
        return collections.Counter(
            d for d, in self.ask("SELECT sha256 FROM snapshots WHERE source = 1"))

    def published(self):
        """How many pushed pictures' events tell of each; one that was told twice is told twice with
        its id, from which a reader knows."""
        ids = set()
        if self.events_file.exists():
            for line in self.events_file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the end of the file after a kill
                    ids.add(json.loads(line)["id"])
        digest = dict(self.ask("SELECT id, sha256 FROM snapshots WHERE source = 1"))
        ids -= {i for i, in self.ask("SELECT id FROM snapshots WHERE source <> 1")}
        return collections.Counter(digest.get(i, f"unknown {i}") for i in ids)

    def uploaded(self):
        """Files that clients may still see below the FTP root."""
        return [p for p in self.root.rglob("*") if p.is_file() and not hidden(p, self.root)]

    def temporaries(self):
        """What is on its way in or out, which after a start nothing is."""
        return [str(p) for p in self.root.rglob("*") if p.is_file() and hidden(p, self.root)]

    def wait_for(self, *digests):
        """Until these pictures are recorded and told of."""
        wait_until(lambda: all(self.published()[d] for d in digests), "the events of pictures")

    def drain(self):
        """Until nothing is left to do. The files are looked at first: what is gone from there is in
        the ledger, and that is asked once for all, so that nothing slips from one count to the next."""
        def done():
            return not (self.uploaded() or self.temporaries() or sum(self.ask(
                "SELECT (SELECT count(*) FROM snapshots WHERE state = 0),"
                " (SELECT count(*) FROM outbox WHERE state = 0)")[0]))
        wait_until(done, "the pushed pictures to be taken", patience=180)

    def check(self, ledger):
        """Everything that ledgers and files promise, with nothing under way."""
        self.drain()
        for what, counts in (("recorded", self.found()), ("published", self.published())):
            wrong = ledger.check(counts)
            assert not wrong, f"{len(wrong)} wrong when {what}: " + "\n".join(wrong[:20])
        assert not self.temporaries()
        files = collections.Counter()
        for row in self.ask("SELECT path, sha256 FROM snapshots"):
            files[row[0]] += 1
            assert ftp_load.hashlib.sha256(
                (self.data / "store" / row[0]).read_bytes()).hexdigest() == row[1], row
        assert sorted(files) == self.daemon.store_files(), "files and rows match one to one"
        done = subprocess.run([BINARY, "integrity", "--database", self.data / "snapshotd.db"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    # ---- the process ----

    def memory_mb(self):
        text = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Rss: +(\d+)", text, re.M)[1]) / 1024

    def cpu_s(self):
        f = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def hidden(path, root):
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def rounds(few):
    """How often a test of chance is repeated: SNAPSHOT_FTP_ROUNDS, or `few` in the suite."""
    return int(os.environ.get("SNAPSHOT_FTP_ROUNDS", few))
