"""Uploads by FTP: our server beside vsftpd, pure-ftpd and pyftpdlib in one run. The figures of
`bench/run ftp`; it needs root, as those servers do.

The load comes from bench/ftp_load.c, whose CPU an upload is in the table too. Of the others nobody
hashes passwords (vsftpd lets anybody in, pure-ftpd has an old crypt): a login is what is measured,
not a hash. None of them syncs anything.
"""

import contextlib
import crypt
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVERS = ROOT / ".deps/ftp-servers/usr"
USER, PASSWORD = "porch", "porch-password"
CLIENTS = 1, 8, 64
TARGET_LOGIN = 1.6  # of pyftpdlib's rate
TARGET_BARE = 0.8  # of the bare loop's
HUNDRED_KB = 100_000
FIFTY_MB = 50_000_000
TICK = os.sysconf("SC_CLK_TCK")


# ---- servers ----

class Server:
    """A server of its own folder on a port of its own. `name` is for the table."""

    needs = None  # a program

    def __init__(self, name, place, nice):
        self.name, self.nice = name, nice
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=name.split()[0] + "-", dir=place))
        self.port = free_port()
        self.user = USER
        self.names = ""
        self.environment = None

    def start(self):
        argv = [str(a) for a in self.prepare()]
        self.log = open(self.folder / "log", "wb")
        began = time.monotonic()
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, cwd=self.folder,
                                        stdin=subprocess.DEVNULL, start_new_session=True,
                                        env={**os.environ, **(self.environment or {})},
                                        preexec_fn=lambda: os.nice(self.nice))
        while not self.greets():
            if self.process.poll() is not None or time.monotonic() > began + 30:
                raise SystemExit(f"bench: {self.name} does not start:\n"
                                 f"{(self.folder / 'log').read_text(errors='replace')[-2000:]}")
            time.sleep(0.002)
        self.greeted_ms = (time.monotonic() - began) * 1e3
        return self

    def greets(self):
        with contextlib.suppress(OSError), \
                socket.create_connection(("127.0.0.1", self.port), 5) as s:
            return s.recv(100).startswith(b"220")
        return False

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def root(self):
        return self.folder / "root"

    def clear(self):
        """Removes what was uploaded: a folder of a hundred thousand files is another measurement."""
        for p in self.root.rglob("*.jpg"):
            p.unlink(missing_ok=True)

    def pids(self):
        """The process and all below it."""
        children = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(stat.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_s(self):
        """Of all its processes, those that have ended included."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(int(x) for x in f[11:15])
        return total / TICK

    def memory_mb(self):
        """(Rss, Pss), each summed over its processes."""
        rss = pss = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                rss += int(re.search(r"^Rss: +(\d+)", text, re.M)[1])
                pss += int(re.search(r"^Pss: +(\d+)", text, re.M)[1])
        return rss / 1024, pss / 1024


class Pyftpdlib(Server):
    def prepare(self):
        self.root.mkdir()
        script = self.folder / "server.py"
        script.write_text(f"""
import logging
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
logging.basicConfig(level=logging.ERROR)
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("{USER}", "{PASSWORD}", "{self.root}", perm="elradfmwMT")
FTPServer.max_cons = FTPServer.max_cons_per_ip = 20000
FTPServer(("127.0.0.1", {self.port}), FTPHandler).serve_forever()
""")
        return ["/usr/bin/python3", script]


class Vsftpd(Server):
    needs = SERVERS / "sbin/vsftpd"

    def prepare(self):
        self.user = "anonymous"
        self.names = "up/"  # it refuses a root that may be written to
        (self.root / "up").mkdir(parents=True)
        shutil.chown(self.root / "up", "daemon")  # whose home exists, which vsftpd enters first
        pathlib.Path(self.folder / "empty").mkdir(mode=0o555)
        config = self.folder / "vsftpd.conf"
        config.write_text("\n".join(f"{k}={v}" for k, v in {
            "listen": "YES", "listen_address": "127.0.0.1", "listen_port": self.port,
            "background": "NO", "anonymous_enable": "YES", "local_enable": "NO",
            "write_enable": "YES", "anon_upload_enable": "YES", "anon_other_write_enable": "YES",
            "allow_writeable_chroot": "YES", "anon_root": self.root, "ftp_username": "daemon",
            "nopriv_user": "nobody", "secure_chroot_dir": self.folder / "empty",
            "seccomp_sandbox": "NO", "xferlog_enable": "NO", "max_clients": 0, "max_per_ip": 0,
            "anon_umask": "022"}.items()) + "\n")
        return [self.needs, config]


class PureFtpd(Server):
    needs = SERVERS / "sbin/pure-ftpd"

    def prepare(self):
        self.root.mkdir()
        shutil.chown(self.root, "nobody")
        users, base = self.folder / "users", self.folder / "users.pdb"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hashed = crypt.crypt(PASSWORD, "sp")
        users.write_text(f"{USER}:{hashed}:65534:65534::{self.root}/./::::::::::::\n")
        subprocess.run([SERVERS / "bin/pure-pw", "mkdb", base, "-f", users], check=True,
                       stdout=subprocess.DEVNULL)
        return [self.needs, "-S", f"127.0.0.1,{self.port}", "-l", f"puredb:{base}", "-E", "-H", "-A",
                "-c", "20000", "-C", "20000", "-I", "60", "-f", "none", "-g", self.folder / "pid"]


class Ours(Server):
    """`pipeline`: the pictures are a camera's and go through the whole program, detection off. Else
    they lie in a folder of no camera."""

    binary = None

    def __init__(self, name, place, nice, sync=True, pipeline=False):
        super().__init__(name, place, nice)
        self.sync, self.pipeline = sync, pipeline

    @property
    def root(self):
        return self.folder / "data/ftp"

    def prepare(self):
        self.user = "porch" if self.pipeline else "elsewhere"
        config = self.folder / "bench.conf"
        config.write_text(f"""
[app]
data_dir = {self.folder}/data
log_level = notice
[snapshots]
root_dir = {self.root}
[web]
listen = 127.0.0.1:0
[events]
format = none
[detection]
enabled = no
[ftp]
enabled = yes
listen = 127.0.0.1:{self.port}
sync = {'yes' if self.sync else 'no'}
sessions_max = 5000
sessions_per_address = 5000
[ftp_account:porch]
password = {PASSWORD}
camera = porch
sessions_max = 5000
files_max = 1000000
[ftp_account:elsewhere]
password = {PASSWORD}
sessions_max = 5000
files_max = 1000000
[camera:porch]
kind = push
""")
        return [self.binary, "run", "-c", config]


# ---- runs ----

class Bench:
    """`say` and `add` are those of bench/run."""

    def __init__(self, options, binary, build, work, say, add):
        Ours.binary = binary
        self.options, self.build, self.work, self.say, self.add = options, build, work, say, add
        self.picture = self.make_picture("100k.jpg", HUNDRED_KB)
        self.big = self.make_picture("50m.jpg", FIFTY_MB)
        self.client_cpu = []

    def make_picture(self, name, size):
        sys.path[:0] = [str(ROOT / "tests")]
        import ftp_load
        path = self.work / name
        path.write_bytes(ftp_load.picture(name, size))
        return path

    def figures(self):
        with small_tmpfs(self.work) as memory:
            for place, title in ((memory, "tmpfs"), (self.work, "disk")):
                self.say(f"   -- on {title}")
                self.rates(place, title)
            self.bounded(memory)
        self.add("FTP: CPU of the client itself, ms an upload: median, most",
                 f"{statistics.median(self.client_cpu):.3f}, {max(self.client_cpu):.3f}")

    def servers(self, place, pipeline=True):
        nice = self.options.nice
        made = [Ours("ours", place, nice), Ours("ours sync=no", place, nice, sync=False)]
        if pipeline:
            made.append(Ours("ours pipeline", place, nice, pipeline=True))
        made += [Pyftpdlib("pyftpdlib", place, nice), Vsftpd("vsftpd", place, nice),
                 PureFtpd("pure-ftpd", place, nice)]
        if not pipeline:
            made = [s for s in made if s.name != "ours sync=no"]
        there = []
        for s in made:
            if s.needs and not (s.needs.exists() and os.geteuid() == 0):
                self.say(f"   {s.name}: skipped (tools/setup bench; root)")
                shutil.rmtree(s.folder)
            else:
                there.append(s)
        return there

    def load(self, server, clients, uploads, kept, picture=None, **words):
        argv = [self.build / "bench/ftp_load", "127.0.0.1", server.port, server.user, PASSWORD,
                picture or self.picture, server.names + f"r{time.monotonic_ns() % 10**9}-",
                "clients", clients, "uploads", uploads, "kept", int(kept)]
        argv += [x for pair in words.items() for x in pair]
        cpu = server.cpu_s()
        r = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, preexec_fn=lambda: os.nice(self.options.nice), check=False)
        if not r.stdout.startswith("{"):
            raise SystemExit(f"bench: {server.name}: {r.stderr}")
        result = json.loads(r.stdout)
        if result["failed"]:
            self.say(f"   {server.name}: {result['failed']} failed: {result['first_failure']}")
        result["cpu_ms"] = (server.cpu_s() - cpu) * 1e3 / result["uploads"]
        if picture is None:
            self.client_cpu.append(result["client_cpu_ms"])
        return result

    def rates(self, place, title):
        """All servers take turns at each kind of load. -> {(server, kept, clients): [result]}"""
        results, bare = {}, {c: [] for c in CLIENTS}
        with contextlib.ExitStack() as stack:
            servers = self.servers(place)
            for s in servers:
                stack.callback(s.start().stop)
                self.load(s, 8, 200, False)  # warms up
            groups = {c: self.grouping(servers[0], c) for c in CLIENTS}
            for i in range(self.options.rounds):
                for kept in (False, True):
                    for clients in CLIENTS:
                        # The bare loop right beside ours: disks change their mind.
                        bare[clients].append(self.bare(place, clients, groups[clients]))
                        for s in servers:
                            n = 600 if clients == 1 else 1500
                            if title == "disk" or s.name == "ours pipeline":
                                n //= 3
                            r = self.load(s, clients, n, kept)
                            results.setdefault((s.name, kept, clients), []).append(r)
                            self.settle(s)
                        self.say(f"   round {i + 1}, {'kept' if kept else 'login'}, {clients}: "
                                 + ", ".join(f"{s.name} {results[s.name, kept, clients][-1]['per_second']:.0f}"
                                             for s in servers))
            big = {s.name: self.big_rate(s) for s in servers if s.name != "ours pipeline"}
        self.tell(title, results, bare, groups, big)

    def big_rate(self, server):
        """MB a second of files of 50 MB, one after the other."""
        rates = []
        for _ in range(max(self.options.rounds, 3)):
            rates.append(self.load(server, 1, 6, True, self.big)["per_second"] * FIFTY_MB / 1e6)
            self.settle(server)
        return statistics.median(rates)

    def settle(self, server):
        """Waits for the pipeline and removes what is left, so that the next one is undisturbed."""
        if isinstance(server, Ours) and server.pipeline:
            end = time.monotonic() + 120
            while any((server.root / "porch").iterdir()) and time.monotonic() < end:
                time.sleep(0.02)
        server.clear()
        os.sync()

    def tell(self, title, results, bare, groups, big):
        def rate(name, kept, clients):
            return statistics.median(r["per_second"] for r in results[name, kept, clients])

        names = list(dict.fromkeys(name for name, _, _ in results))
        for kept in (False, True):
            how = "kept sessions" if kept else "login each"
            for name in names:
                self.add(f"FTP on {title}, {how}, uploads/s at 1, 8, 64 clients: {name}",
                         ", ".join(f"{rate(name, kept, c):.0f}" for c in CLIENTS))
                self.add("   its CPU, ms an upload", ", ".join(
                    f"{statistics.median(r['cpu_ms'] for r in results[name, kept, c]):.2f}"
                    for c in CLIENTS))
        loop = {c: statistics.median(bare[c]) for c in CLIENTS}
        self.add(f"FTP on {title}: bare loop with the same grouping "
                 f"({', '.join(f'{groups[c]:.1f}' for c in CLIENTS)} files a group), files/s",
                 ", ".join(f"{loop[c]:.0f}" for c in CLIENTS))
        self.add(f"FTP on {title}: one file of 50 MB, MB/s",
                 ", ".join(f"{k} {v:.0f}" for k, v in big.items()))
        if title == "tmpfs":
            if "pyftpdlib" in names:
                ratio = rate("ours", False, 64) / rate("pyftpdlib", False, 64)
                self.add("FTP on tmpfs, login each, 64 clients, over pyftpdlib", f"{ratio:.2f}",
                         f">= {TARGET_LOGIN}", ratio >= TARGET_LOGIN)
            if "pure-ftpd" in names:
                for c in CLIENTS:
                    ratio = rate("ours", True, c) / rate("pure-ftpd", True, c)
                    self.add(f"FTP on tmpfs, kept sessions, {c} clients, over pure-ftpd",
                             f"{ratio:.2f}", ">= 1", ratio >= 1)
            cpu = max(statistics.median(r["cpu_ms"] for r in results["ours", False, c])
                      for c in CLIENTS)
            self.add("FTP on tmpfs: CPU of an upload with login, worst of 1, 8, 64 clients",
                     f"{cpu:.2f} ms", "<= 0.4 ms", cpu <= 0.4)
            return
        for kept in (False, True):
            how = "kept sessions" if kept else "login each"
            for c in CLIENTS:
                ratio = rate("ours", kept, c) / loop[c]
                self.add(f"FTP on the disk, sync = yes, {how}, {c} clients, over the bare loop",
                         f"{ratio:.2f}", f">= {TARGET_BARE}", ratio >= TARGET_BARE)
                if "pyftpdlib" in names:
                    ratio = rate("ours", kept, c) / rate("pyftpdlib", kept, c)
                    self.add("   over pyftpdlib, which does not sync", f"{ratio:.2f}", ">= 1",
                             ratio >= 1)

    # ---- the bare loop ----

    def grouping(self, server, clients):
        """How many uploads share one sync of their folder, by the server's own counters."""
        before = counters(server)
        self.load(server, clients, 300, True)
        self.settle(server)
        after = counters(server)
        if not after:
            return float(max(clients // 2, 1))
        files, groups = (after[i] - before[i] for i in range(2))
        return files / max(groups, 1)

    def disk_threads(self):
        text = subprocess.run([Ours.binary, "config", "--sample"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout
        return int(re.search(r"^#disk_threads = (\d+)", text, re.M)[1])

    def bare(self, place, clients, group):
        folder = pathlib.Path(tempfile.mkdtemp(dir=place))
        # As many threads as the server has for the disk, but no more than there are uploads at once.
        argv = [self.build / "bench/bench_sync", folder, self.picture, "files", "500", "group",
                str(max(round(group), 1)), "threads", str(min(self.disk_threads(), clients))]
        out = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, text=True, check=True,
                             preexec_fn=lambda: os.nice(self.options.nice)).stdout
        shutil.rmtree(folder)
        return json.loads(out)["per_second"]

    # ---- memory, and idle sessions ----

    def bounded(self, place):
        self.starts(place)
        limits = {"ours": (12, 24), "ours pipeline": (None, None)}
        for s in self.servers(place):
            if s.name == "ours sync=no":
                shutil.rmtree(s.folder)
                continue
            s.start()
            try:
                at_64 = self.memory_under_load(s)
                idle = self.memory_with_idle(s, 1000)
            finally:
                s.stop()
            few, many = limits.get(s.name, (None, None))
            self.add(f"FTP: resident memory at 64 clients, {s.name}",
                     f"{at_64[0]:.1f} MB" + (f" (Pss {at_64[1]:.1f})" if s.name != "ours" else ""),
                     f"<= {few} MB" if few else "", at_64[0] <= few if few else None)
            self.add("   with 1,000 idle sessions", f"{idle[0]:.1f} MB (Pss {idle[1]:.1f})",
                     f"<= {many} MB" if many else "", idle[0] <= many if many else None)
        for s in self.servers(place, pipeline=False):
            if s.name not in ("ours", "pyftpdlib"):  # a process each: not two thousand of them
                shutil.rmtree(s.folder)
                continue
            s.start()
            try:
                ratio, alone, crowded = self.beside_idle(s, 2000)
            finally:
                s.stop()
            target = s.name == "ours"
            self.add(f"FTP: p99 of a camera beside 2,000 idle sessions over that alone, {s.name}",
                     f"{ratio:.2f} ({crowded:.2f} over {alone:.2f} ms)", "<= 1.2" if target else "",
                     ratio <= 1.2 if target else None)

    def starts(self, place):
        took = {}
        for _ in range(max(self.options.rounds, 3)):
            for s in self.servers(place, pipeline=False):
                s.start()
                s.stop()
                took.setdefault(s.name, []).append(s.greeted_ms)
        median = {name: statistics.median(v) for name, v in took.items()}
        others = ", ".join(f"{name} {v:.0f}" for name, v in median.items() if name != "ours")
        self.add(f"FTP: from the start to the first 220, ms ({others})", f"{median['ours']:.0f}",
                 "<= 300", median["ours"] <= 300)

    def memory_under_load(self, server):
        seen, stop = [], threading.Event()

        def look():
            while not stop.wait(0.05):
                seen.append(server.memory_mb())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for kept in (False, True):
                self.load(server, 64, 3000, kept)
                self.settle(server)
        finally:
            stop.set()
            thread.join()
        return max(seen)

    def memory_with_idle(self, server, count):
        holder = self.hold(server, count)
        try:
            return server.memory_mb()
        finally:
            holder.communicate()

    def hold(self, server, count):
        """Idle sessions that stay until the standard input of the process is closed."""
        argv = [self.build / "bench/ftp_load", "127.0.0.1", server.port, server.user, PASSWORD,
                self.picture, server.names, "clients", 0, "uploads", 0, "idle", count, "sources", 200,
                "hold", 1]
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)
        if p.stdout.readline() != "holding\n":
            raise SystemExit(f"bench: {server.name} does not hold {count} sessions")
        return p

    def beside_idle(self, server, count):
        """Medians of p99 by turns. One upload every 5 ms or as soon as the last is done."""
        alone, crowded = [], []
        for _ in range(max(self.options.rounds, 3)):
            for sessions, into in ((0, alone), (count, crowded)):
                holder = self.hold(server, sessions) if sessions else None
                into.append(self.load(server, 1, 400, False, interval=5)["p99_ms"])
                if holder:
                    holder.communicate()
                self.settle(server)
        a, b = statistics.median(alone), statistics.median(crowded)
        return b / a, a, b


# ---- helpers ----

@contextlib.contextmanager
def small_tmpfs(work):
    """A place in memory: a mount of our own, or the machine's when we may not mount."""
    folder = work / "memory"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", folder],
                             capture_output=True, check=False).returncode == 0
    if not mounted:
        folder = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def counters(server):
    """(uploads finished, groups of them) of ours, None when it does not tell."""
    text = (server.folder / "log").read_text(errors="replace")
    api = re.search(r"API on http://127\.0\.0\.1:(\d+)", text)
    if not api:
        return None
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{api[1]}/metrics", timeout=10) as r:
        metrics = r.read().decode()
    found = [re.search(rf"^snapshotd_ftp_{name}_total(?:{{[^}}]*}})? (\S+)", metrics, re.M)
             for name in ("uploads_finished", "upload_groups")]
    return tuple(float(m[1]) for m in found) if all(found) else None
