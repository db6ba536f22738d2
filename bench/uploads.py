"""Uploads after an outage, to a Drive of ours that answers in 50 ms. The figures of `bench/run uploads`.

The Drive is a Python program on the same machine; the table says how long its answers took, and what
CPU it had."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]

import drive_rig  # noqa: E402
import events  # noqa: E402
import spool  # noqa: E402

ANSWER_MS = 50
PICTURE_BYTES = 150_000
PARALLEL = 4, 16
LIVE_EVERY = 25  # pictures of the backlog that go for each that comes meanwhile
LEDGER_ROWS = 10, 1_000_000
LEDGER_ROWS_FULL = 10, 1_000_000, 5_000_000
TARGET, TARGET_LEDGER = 0.9, 1.3
PATIENCE = 1200


class Bench:
    def __init__(self, options, binary, build, folder, say, add):
        self.options, self.binary, self.build, self.folder = options, binary, build, folder
        self.say, self.add = say, add

    def figures(self):
        for parallel in PARALLEL:
            with self.drive() as drive:
                self.backlog(drive, parallel)
        self.ledger()

    def drive(self):
        return drive_rig.drive_process(answer_ms=ANSWER_MS)

    # ---- a backlog ----

    def backlog(self, drive, parallel):
        count = 10_000 if self.options.full else 1_000
        outage = drive.fault("serviceUnavailable", where="drive")
        with Daemon(self, drive, parallel) as d:
            d.push(range(count))
            d.wait(lambda: d.count("1") == count, "all to be recorded")
            d.wait(lambda: "storage-paused" in d.log.read_text(), "the outage to be noticed")
            drive.clear(outage)
            cpu, drive_cpu = d.cpu_s(), events.cpu_s(drive.process.pid)
            d.process.send_signal(signal.SIGHUP)
            memory, live = self.watch(d, count)
            cpu, drive_cpu = d.cpu_s() - cpu, events.cpu_s(drive.process.pid) - drive_cpu
            sent = [r for r in drive.requests(operation="multipart") if r["status"] == 200]
            waits = [r["wall"] - d.created(r["name"]) for r in sent if r["name"].startswith("live")]
        assert len(waits) == live and len(sent) == count + live == drive.count()["pictures"]
        took = max(r["ended"] for r in sent) - min(r["began"] for r in sent)
        answer = statistics.median(r["ended"] - r["began"] for r in sent)
        rate = len(sent) / took
        ratio = rate / (parallel / (ANSWER_MS / 1e3))
        what = f"{count} pictures of {PICTURE_BYTES // 1000} kB after an outage, {parallel} at a time"
        self.add(f"{what}: uploads a second over (parallelism / answer time)", f"{ratio:.3f}",
                 f">= {TARGET}", ratio >= TARGET)
        self.add("   the same with the answer time that there was",
                 f"{rate / (parallel / answer):.3f} ({answer * 1e3:.1f} ms)")
        self.add("   uploads a second; CPU of the daemon and of the Drive for one",
                 f"{rate:.1f}; {cpu * 1e3 / len(sent):.1f} and {drive_cpu * 1e3 / len(sent):.1f} ms")
        half = len(memory) // 2  # until then each worker has had its largest picture
        self.add("   resident memory: most of the first half, most of the second",
                 f"{max(memory[:half]):.1f}, {max(memory[half:]):.1f} MB", "flat",
                 max(memory[half:]) <= max(memory[:half]) * 1.05 + 1)
        waits = sorted(w * 1e3 for w in waits)
        median, most = statistics.median(waits), waits[len(waits) * 99 // 100 - 1]
        slot = max(r["ended"] - r["began"] for r in sent) * 1e3
        self.add(f"   wait of {live} live pictures, from their verdict on: median, 99th percent, longest",
                 f"{median:.0f}, {most:.0f}, {waits[-1]:.0f} ms",
                 f"median <= {ANSWER_MS} ms, longest <= {slot:.0f} ms (the longest upload)",
                 median <= ANSWER_MS and waits[-1] <= slot)

    def watch(self, d, count):
        """Until all is kept; a live picture comes now and then. (MB over time, live pictures)"""
        memory, live, wanted = [], 0, count // LIVE_EVERY
        end = time.monotonic() + PATIENCE
        while True:
            kept = d.count("state = 1")
            memory.append(events.memory_mb(d.process.pid)[0])
            if live < wanted and kept >= (live + 1) * count // (wanted + 2):
                d.push([count + live], "live")
                live += 1
            elif live == wanted and kept == count + live:
                return memory, live
            if time.monotonic() > end:
                raise SystemExit(f"bench: {kept} of {count + live} uploads in {PATIENCE} s")
            time.sleep(0.05)

    # ---- the ledger ----

    def ledger(self):
        rows = LEDGER_ROWS_FULL if self.options.full else LEDGER_ROWS
        text = subprocess.run([self.build / "bench/bench_ledger", self.folder, "uploads",
                               *map(str, rows)], stdout=subprocess.PIPE, text=True, check=True,
                              preexec_fn=lambda: os.nice(self.options.nice)).stdout
        for line in text.splitlines():
            m = re.match(r"a delivery, +(\d+) behind +([\d.]+) ms, .* ratio ([\d.]+)", line)
            if m:
                ratio = float(m.group(3))
                self.add(f"The ledger's cost of an upload, {m.group(1)} behind it, over that of a new one",
                         f"{ratio:.2f} ({m.group(2)} ms)", f"<= {TARGET_LEDGER}",
                         ratio <= TARGET_LEDGER)


class Daemon:
    def __init__(self, bench, drive, parallel):
        self.folder = bench.folder / f"daemon{parallel}"
        self.data = self.folder / "data"
        self.folder.mkdir()
        login = drive_rig.write_login(drive, self.folder / "login.json")
        config = self.folder / "bench.conf"
        config.write_text(
            f"[app]\ndata_dir = {self.data}\nlog_level = notice\n[web]\nlisten = 127.0.0.1:0\n"
            "[detection]\nenabled = no\n[events]\nformat = none\n[camera:front]\n"
            + drive_rig.config(drive, "cameras", login)
            + f"parallel = {parallel}\nwrites_per_second = 0\n")
        self.log = self.folder / "log"
        with open(self.log, "wb") as f:
            self.process = subprocess.Popen([bench.binary, "run", "-c", config], stdout=f, stderr=f,
                                            cwd=self.folder,
                                            preexec_fn=lambda: os.nice(bench.options.nice))
        self.wait(lambda: "[ready]" in self.log.read_text(), "the daemon")
        self.db = sqlite3.connect(f"file:{self.data}/snapshotd.db?mode=ro", uri=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.close()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench: no {what}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def push(self, numbers, word="p"):
        place = self.data / "ftp/uploads/front"
        place.mkdir(parents=True, exist_ok=True)
        for n in numbers:
            spool.put(place / f"{word}{n}.jpg", spool.picture(n, padding=PICTURE_BYTES))

    def count(self, where):
        return self.db.execute(f"SELECT count(*) FROM uploads WHERE {where}").fetchone()[0]

    def created(self, name):
        return self.db.execute(
            "SELECT u.created_at FROM uploads u JOIN snapshots s ON s.row = u.snapshot"
            " WHERE s.path LIKE ?", (f"%/{name}",)).fetchone()[0] / 1e6

    def cpu_s(self):
        return events.cpu_s(self.process.pid)
