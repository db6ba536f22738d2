"""Uploads that go wrong, disks that are full or broken, and a process short of descriptors: what was
acknowledged comes out once, what was not never does, and nothing stays behind. Goals S6, R3, R4, R13
and R18 of reliability.

SNAPSHOT_FTP_ABORTED sets the number of aborted uploads (10,000 is the goal), SNAPSHOT_FTP_FULL=1 holds
the goal's time for new sessions."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

import ftp_load
import ftp_trace
from conftest import tmpfs, wait_until
from ftp_load import ABORTING, Broken, Client, Ledger, Refused, picture

ABORTED = int(os.environ.get("SNAPSHOT_FTP_ABORTED", 600))
# Of R13; a loaded machine is slow at times.
RECOVER_SECONDS_MAX = 2 if os.environ.get("SNAPSHOT_FTP_FULL") == "1" else 5


# ---- S6: incomplete uploads ----

def test_aborted_uploads_leave_nothing_behind(ftp_rig):
    rig = ftp_rig()
    rig.start()
    clients = 16
    ways = {way: 1 for way in ABORTING}
    each = -(-ABORTED // clients)
    ledger = rig.load(clients=clients, uploads=each, ways=ways, size=40_000,
                      sources=ftp_load.addresses(8)).run()
    aborted = len(ledger.of("aborted")) + len(ledger.of("refused"))
    assert aborted == clients * each, ledger.counts()
    assert not ledger.refused_logins, ledger.refused_logins[:3]
    wait_until(lambda: not rig.temporaries(), "temporaries to go")
    # Between good ones, which do come out.
    rig.load(clients=8, uploads=20, ways={**ways, "kept": 6, "store": 2}, seed=2, ledger=ledger,
             path=lambda c, n: f"mixed_{c}_{n}.jpg").run()
    assert ledger.of("ok")
    rig.check(ledger)
    assert not rig.published().keys() - {r.sha256 for r in ledger.of("ok")}, "no ghosts"


def test_an_upload_that_stalls_is_given_up(ftp_rig):
    rig = ftp_rig(ftp="stall_timeout = 5s\n")
    rig.start()
    ledger = rig.load(clients=4, uploads=1, ways={"stall": 1}).run()
    rows = ledger.rows
    assert {r.code for r in rows} <= {421, 425, 426, 451}, [(r.code, r.text) for r in rows]
    assert all(r.took >= 4 for r in rows)
    assert not rig.temporaries()
    rig.check(ledger)


def test_half_a_picture_that_looks_whole_is_refused(ftp_rig):
    """In stream mode the end of the connection is the end of the file; the picture knows better."""
    rig = ftp_rig()
    rig.start()
    whole = picture("whole", 30_000)
    padded = picture("padded", 30_000) + b"\0" * 500
    with rig.client() as c:
        for cut in (1, 2, 3, 100, len(whole) // 2, len(whole) - 2, len(whole) - 1):
            with pytest.raises(Refused, match="451"):
                c.store("cut.jpg", whole[:cut])
        c.store("whole.jpg", whole)
        c.store("padded.jpg", padded)
    rig.wait_for(*(ftp_load.hashlib.sha256(x).hexdigest() for x in (whole, padded)))
    assert sum(rig.found().values()) == 2


# ---- R3: 226 means durable ----

SYNCS = "trace=fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg,write,writev"


@pytest.mark.parametrize("clients", [1, 8])
def test_no_226_before_file_and_folder_are_on_the_disk(ftp_rig, tmp_path, clients):
    """Uploads share syncs, so the order is held against each other: no 226 may begin to be written
    before as many uploads have been synced, then renamed, and then had their folder synced."""
    log = tmp_path / "strace"
    rig = ftp_rig()
    rig.start(wrapper=ftp_trace.wrapper(log, "-e", SYNCS))
    ledger = rig.load(clients=clients, uploads=24 // clients, ways={"kept": 3, "store": 1}).run()
    assert set(ledger.counts()) == {"ok"}, ledger.counts()
    rig.drain()
    assert rig.stop() == 0
    synced, durable, said = set(), 0, 0
    renamed = []  # (folder, line) of renames whose folder has not been synced since
    events = []
    for call in ftp_trace.calls(log):
        if call.result < 0:
            continue
        # A sync counts from its end, and holds for what ended before its beginning.
        if call.name in ("fsync", "fdatasync") or call.name.startswith("rename"):
            events.append((call.ended, call))
        elif re.search(r'"226[ -]', call.arguments):
            events.append((call.began, call))
    for _, call in sorted(events, key=lambda e: e[0]):
        path = re.search(r"<([^>]*)>", call.arguments)
        if call.name in ("fsync", "fdatasync"):
            if ".incoming-" in path[1]:
                synced.add(pathlib.Path(path[1]).name)
            done = [r for r in renamed if r[0] == path[1].rstrip("/") and r[1] < call.began]
            durable += len(done)
            renamed = [r for r in renamed if r not in done]
        elif call.name.startswith("rename"):
            temporary = re.search(r'"([^"]*\.incoming-[^"]*)"', call.arguments)
            if temporary:
                name = pathlib.Path(temporary[1]).name
                assert name in synced, f"{name} was renamed before it was synced"
                renamed.append((path[1].rstrip("/"), call.ended))
        else:
            said += 1
            assert said <= durable, f"226 number {said} when {durable} uploads were durable"
    assert said == len(ledger.rows)


# ---- R4: disk full, disk broken ----

@pytest.fixture
def small_disk(tmp_path):
    with tmpfs(tmp_path / "daemon/data", "20m") as place:
        yield place


def test_a_disk_that_fills_up_under_load_is_answered_and_recovered_from(ftp_rig, small_disk):
    rig = ftp_rig()
    rig.start()
    load = rig.load(clients=4, ways={"kept": 2, "store": 1}, size=50_000).start()
    ledger = load.ledger
    try:
        wait_until(lambda: len(ledger.of("ok")) >= 20, "uploads")
        filler = small_disk / "filler"
        with open(filler, "wb") as f:
            def fill():
                """All that is free but room for the ledger's own log, again and again: the pictures
                of a moment ago are still moving."""
                free = os.statvfs(f.fileno()).f_bavail * os.statvfs(f.fileno()).f_bsize
                size = os.fstat(f.fileno()).st_size
                with contextlib.suppress(OSError):
                    os.posix_fallocate(f.fileno(), size, max(free - 100 * 1024, 1))
                return len(ledger.of("refused")) >= 8
            wait_until(fill, "refusals")
        assert rig.daemon.child.poll() is None, "a full disk is no reason to die"
        assert rig.daemon.request("/healthz")[0] in (200, 503)
        filler.unlink()
        freed = time.monotonic()
        wait_until(lambda: [r for r in ledger.of("ok") if r.began > freed], "uploads with space again")
        first = min(r.began + r.took for r in ledger.of("ok") if r.began > freed)
    finally:
        load.stop()
    assert first - freed <= 5, f"{first - freed:.1f} s until the first upload"
    assert set(ledger.codes("refused")) <= {451, 452}, ledger.codes("refused")
    assert set(ledger.counts()) <= {"ok", "refused"}, ledger.counts()
    # What came in before the load stopped may have filled it once more: room for the ledger to end its work.
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    rig.check(ledger)


@pytest.mark.parametrize("call,error", [
    ("write", "ENOSPC"), ("write", "EIO"), ("write", "EDQUOT"), ("fsync,fdatasync", "EIO"),
    ("fsync,fdatasync", "ENOSPC"), ("rename,renameat,renameat2", "EIO"),
    ("openat,openat2", "ENOSPC"), ("openat,openat2", "EMFILE")])
def test_a_disk_that_fails_now_and_then_is_never_called_safe(ftp_rig, tmp_path, call, error):
    """Some calls of the threads that do the server's disk work fail. After a failed sync nothing is
    known of the file, so its upload must be refused, and the next one is as good as ever."""
    # These threads also write to tell that they are done. With one of them and one client the order is
    # always the same: told of the opened file, written, told of the end. With a rate, for else one
    # thread has the whole upload, unless it is slow (what it does then is a matter of unit tests).
    one = call == "write"
    rig = ftp_rig(ftp="disk_threads = 1\n" if one else "", account="rate = 100MB\n" if one else "")
    rig.start()
    load = rig.load(clients=1 if one else 4, ways={"kept": 1})
    # A thread gives itself its name, a moment after the program is ready.
    disk = wait_until(lambda: ftp_trace.threads(rig.pid, "ftp.disk"), "the server's disk threads")
    when = "5+9" if one else "5+7"
    with ftp_trace.Attached(disk, f"{call}:error={error}:when={when}", tmp_path / "strace") as strace:
        load.start()
        try:
            strace.wait_injected(6)
            wait_until(lambda: load.ledger.of("refused"), "a refusal")
        finally:
            ledger = load.stop()
    if one:
        assert all(".incoming-" in line for line in strace.injected()), strace.injected()[:3]
    assert set(ledger.counts()) <= {"ok", "refused"}, (ledger.counts(), ledger.of("unknown")[:3])
    expected = {452, 552} if error in ("ENOSPC", "EDQUOT") else {451, 450}
    assert set(ledger.codes("refused")) <= expected, ledger.codes("refused")
    rig.load(clients=2, uploads=5, ways={"store": 1}, seed=2, ledger=ledger,
             path=lambda c, n: f"after_{c}_{n}.jpg").run()
    after = [r for r in ledger.rows if r.path.startswith("after")]
    assert len(after) == 10 and {r.outcome for r in after} == {"ok"}, after
    rig.check(ledger)


# ---- R13: descriptors ----

@pytest.mark.parametrize("left", ["few", "none", "of 64"])
def test_short_of_descriptors_it_waits_and_works_on(ftp_rig, left):
    """Newcomers hear 421 or wait; who is inside is served, and there is no busy loop. 64, the goal's
    figure, is less than the program has open when it rests."""
    rig = ftp_rig()
    rig.start()
    content = picture("under way", 200_000)
    crowd = []
    with rig.client() as c, contextlib.closing(c.data()) as data:
        c.command("STOR under_way.jpg", 125, 150)
        data.sendall(content[:100_000])
        in_use = len(os.listdir(f"/proc/{rig.pid}/fd"))
        usual = resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)
        # A quarter is kept for those inside, so with "few" some newcomers are let in.
        limit = {"few": (in_use + 8) * 4 // 3, "none": in_use + 1, "of 64": 64}[left]
        resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, (limit, usual[1]))
        try:
            for source in ftp_load.addresses(120):
                crowd.append(socket.create_connection(rig.server, 30, (source, 0)))
            rig.daemon.wait_line(r"\[ftp-connection-refused\]")
            said = {greeting(s) for s in crowd}
            # Below what is in use not even the descriptor that is kept for it can say no.
            assert said <= {"421", None} | ({"220"} if left == "few" else set()), said
            assert left == "of 64" or "421" in said, said
            lines, cpu, start = len(rig.daemon.lines), rig.cpu_s(), time.monotonic()
            data.sendall(content[100_000:])
            data.close()
            assert c.reply().code == 226, "the upload under way is completed"
            wait_until(lambda: time.monotonic() >= start + 3, "three seconds of it")
            seconds = time.monotonic() - start
            assert (rig.cpu_s() - cpu) / seconds <= 0.05, "no busy loop"
            said = rig.daemon.lines[lines:]
            assert len([x for x in said if "ftp-connection" in x]) <= seconds + 1, "\n".join(said)
        finally:
            for s in crowd:
                s.close()
            if left != "few":
                resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, usual)
    freed = time.monotonic()

    def back():
        with contextlib.suppress(Broken, Refused, OSError), Client(rig.server, timeout=2) as c2:
            return c2.login(*rig.account())
        return None
    assert wait_until(back, "new sessions")
    assert time.monotonic() - freed <= RECOVER_SECONDS_MAX
    rig.wait_for(ftp_load.hashlib.sha256(content).hexdigest())


def greeting(s):
    """The code of what it heard until now, None when that is nothing."""
    s.setblocking(False)
    try:
        return s.recv(100)[:3].decode()
    except BlockingIOError:
        return None


# ---- R18: start and stop ----

def test_it_greets_as_soon_as_it_is_ready_and_ends_when_uploads_are_done(ftp_rig):
    """SIGTERM: who is uploading may finish, and is told; nobody else comes in."""
    rig = ftp_rig()
    began = time.monotonic()
    rig.start()
    with Client(rig.server):
        greeted = time.monotonic() - began
    assert greeted < 10  # bench/run ftp measures it
    ledger = Ledger()
    content = [picture(f"late {i}", 60_000) for i in range(4)]
    with contextlib.ExitStack() as stack:
        uploads = []
        for i, c in enumerate(stack.enter_context(rig.client()) for _ in range(4)):
            data = stack.enter_context(contextlib.closing(c.data()))
            c.command(f"STOR late_{i}.jpg", 125, 150)
            data.sendall(content[i][:30_000])
            uploads.append((c, data))
        idle = stack.enter_context(rig.client())
        rig.daemon.signal(signal.SIGTERM)
        assert idle.reply().code == 421, "who is idle is told"
        for i, (c, data) in enumerate(uploads):
            row = ftp_load.Row(i, 0, "late", f"late_{i}.jpg",
                               ftp_load.hashlib.sha256(content[i]).hexdigest(), 60_000, 0)
            data.sendall(content[i][30_000:])
            data.close()
            assert c.reply().code == 226, "who is uploading may finish"
            row.outcome = "ok"
            ledger.add(row)
        with pytest.raises((Broken, Refused)):
            Client(rig.server, timeout=5)
        done = time.monotonic()
    assert rig.daemon.wait() == 0
    assert time.monotonic() - done <= 5
    rig.start()
    rig.check(ledger)


def test_an_upload_that_never_ends_does_not_hold_the_program(ftp_rig):
    rig = ftp_rig()
    rig.start(options=("--set", "app.shutting_down_grace_secs=2s"))
    with rig.client() as c, contextlib.closing(c.data()) as data:
        c.command("STOR endless.jpg", 125, 150)
        data.sendall(picture("endless", 60_000)[:30_000])
        start = time.monotonic()
        assert rig.stop() == 0
        assert time.monotonic() - start < 20
        with pytest.raises((Broken, Refused)):
            c.expect(226)
    rig.start()
    rig.check(Ledger())
    assert not rig.temporaries()
