"""Trouble around the daemon: full disks, jumping clocks, hostile pictures, signals, spies."""

import os
import signal
import socket
import stat
import subprocess
import time

import pytest

from conftest import BINARY, TESTDATA, books_agree, wait_until

OFF = "[detection]\nenabled = no\n"
LOGIN = ("--user", "admin", "--password", "secret1234")


def camera(name, sim, extra=""):
    return (f"[camera:{name}]\nkind = foscam\naddress = {sim.address}\nuser = admin\n"
            f"password = secret1234\n{extra}")


# ---- disk full ----

@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "daemon" / "data"
    place.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no mounts here: " + done.stderr.strip())
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_refuses_clearly_and_recovers_by_itself(launch, people, small_disk):
    sim = launch.camera(people, *LOGIN)
    d = launch.daemon(camera("porch", sim, "give_up = 10m\n") + OFF + "[store]\nreserve = 64k\n")
    accepted = [d.trigger("porch", wait=30)[1]["id"]]
    filler = small_disk / "filler"
    # Leave room for the ledger's own log, none for a picture.
    with open(filler, "wb") as f:
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
        os.posix_fallocate(f.fileno(), 0, free - 100 * 1024)
    status, doc = d.trigger("porch")
    if status == 202:
        accepted.append(doc["id"])
        line = d.wait_line(r"\[(picture-refused|ledger-failed)")
        assert line
    else:
        assert status == 503, doc
    for extra in range(3):
        status, doc = d.trigger("porch")
        if status == 202:
            accepted.append(doc["id"])
    assert d.request("/healthz")[0] == 200, "a full disk is no reason to die"
    half = [f for f in d.store_files() if f.startswith(".incoming")]
    assert half == [], "nothing half-written stays"
    filler.unlink()
    wait_until(lambda: len(d.snapshots()) == len(accepted), "the pictures after space is back")
    wait_until(lambda: d.get("/api/v1/status")["counts"]["outbox_pending"] == 0, "the events")
    assert d.stop() == 0
    books_agree(d, accepted)


# ---- clocks ----

FAKE_CLOCK = BINARY.parents[2] / "tests/fault/libfake_clock.so"


@pytest.mark.parametrize("jump", ["+3600", "-3600", "+315360000", "-315360000", "@86400"])
def test_a_clock_that_jumps_starts_no_storm_and_stops_nothing(launch, people, tmp_path, jump):
    if not FAKE_CLOCK.exists():
        pytest.skip("this build has no clock to preload")
    setting = tmp_path / "clock"
    setting.write_text("+0")
    sim = launch.camera(people, *LOGIN)
    d = launch.daemon(camera("porch", sim, "interval = 500ms\n") + OFF,
                      env={"LD_PRELOAD": str(FAKE_CLOCK), "FAKE_CLOCK_FILE": str(setting)})
    wait_until(lambda: len(d.snapshots()) >= 2, "pictures before the jump")
    before, start = len(d.snapshots()), time.monotonic()
    setting.write_text(jump)
    wait_until(lambda: len(d.snapshots()) >= before + 4, "pictures after the jump")
    came, seconds = len(d.snapshots()) - before, time.monotonic() - start
    assert came <= seconds / 0.5 + 2, "no storm"
    status, doc = d.trigger("porch", wait=30)
    assert status == 200, doc
    paths = [s["path"] for s in d.snapshots()]
    assert len(paths) == len(set(paths))
    years = {p.split("/")[1] for p in paths}
    assert len(years) == (2 if abs(int(jump.lstrip("@"))) > 4000 else 1), "the new date is taken"
    assert d.request("/healthz")[0] == 200


# ---- hostile pictures ----

def test_every_odd_file_of_a_camera_gets_an_answer(launch, model, tmp_path):
    """An outcome each: recorded, or a reason that names what came instead."""
    folder = TESTDATA / "images"
    if not folder.exists():
        pytest.skip("no test data")
    files = sorted(p for p in folder.iterdir() if p.is_file())
    d = None
    sims = []
    config = f"[detection]\nmodel = {model}\n"
    for number, file in enumerate(files):
        if file.stat().st_size == 0:
            continue  # a camera that sends nothing is among the camera faults
        sims.append(file)
        config += (f"[camera:c{number}]\nkind = http\nurl = http://ADDRESS{number}/snapshot.jpg\n"
                   "give_up = 1s\ntries = 1\n")
    by_number = {n: f for n, f in enumerate(files) if f in sims}
    # One simulator for all: each camera on a port of its own.
    argv = [BINARY, "camera-sim", "--listen", "127.0.0.1:0"]
    for number, file in by_number.items():
        argv += ["--camera", f"c{number}={file}"]
    from conftest import Process
    sim = Process(argv, tmp_path / "cameras.log")
    launch.started.append(sim)
    ports = {}
    for number in by_number:
        match = sim.wait_line(rf"c{number}\b.*127\.0\.0\.1:(\d+)|127\.0\.0\.1:(\d+).*c{number}\b")
        ports[number] = match.group(1) or match.group(2)
        config = config.replace(f"ADDRESS{number}/", f"127.0.0.1:{ports[number]}/")
    d = launch.daemon(config)
    outcomes = {}
    for number, file in by_number.items():
        status, doc = d.trigger(f"c{number}", wait=60)
        outcomes[file.name] = (status, doc)
    recorded = {name for name, (status, _) in outcomes.items() if status == 200}
    for name in ("html_served_as.jpg", "text.jpg", "random_bytes.jpg", "claims_0x0.jpg",
                 "claims_65500x65500.jpg", "bomb_20000x20000_1bit.png"):
        status, doc = outcomes[name]
        assert status != 200, name
        assert doc["error"]["message"], name
    for name in ("bus.jpg", "progressive.jpg", "cmyk.jpg", "png_named.jpg",
                 "exif_orientation_6.jpg", "one_pixel.jpg", "strip_4000x8.jpg", "trailing_garbage.jpg"):
        assert name in recorded, outcomes[name]
    assert d.request("/healthz")[0] == 200


# ---- signals and the service manager ----

def test_a_second_signal_ends_at_once(launch, people):
    slow = launch.camera(people, *LOGIN, "--fault", "hang")
    d = launch.daemon(camera("slow", slow, "total_timeout = 60s\nstall_timeout = 60s\n") + OFF
                      + "[app]\nshutting_down_grace_secs = 60s\n")
    assert d.trigger("slow")[0] == 202
    wait_until(lambda: slow.stats()["requests"] >= 1, "the request that hangs")
    d.signal(signal.SIGTERM)
    d.wait_line(r"\[stopping\]")
    d.signal(signal.SIGTERM)
    assert d.wait() == -signal.SIGTERM


def test_a_stop_does_not_wait_for_a_camera_that_hangs(launch, people):
    slow = launch.camera(people, *LOGIN, "--fault", "hang")
    d = launch.daemon(camera("slow", slow, "total_timeout = 60s\nstall_timeout = 60s\n") + OFF
                      + "[app]\nshutting_down_grace_secs = 30s\n")
    _, doc = d.trigger("slow")
    wait_until(lambda: slow.stats()["requests"] >= 1, "the request that hangs")
    assert d.stop() == 0
    # Still pending: the next start asks again.
    slow.fault("")
    again = launch.daemon(camera("slow", slow) + OFF)
    wait_until(lambda: [s["id"] for s in again.snapshots()] == [doc["id"]], "the picture")


def test_the_service_manager_is_told(launch, people, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        sim = launch.camera(people, *LOGIN)
        d = launch.daemon(camera("porch", sim) + OFF,
                          env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"})

        def told(word):
            while True:
                if word in manager.recv(4096).decode():
                    return True

        assert told("READY=1")
        assert told("WATCHDOG=1")
        d.signal(signal.SIGHUP)
        assert told("RELOADING=1")
        assert told("READY=1")
        d.signal(signal.SIGTERM)
        assert told("STOPPING=1")
        assert d.wait() == 0


# ---- curious eyes ----

def test_what_is_kept_is_for_the_owner_only(launch, people):
    sim = launch.camera(people, *LOGIN)
    d = launch.daemon(camera("porch", sim) + OFF)
    d.trigger("porch", wait=30)
    for path in [d.data, *d.data.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path}: {mode:o}"


def test_nothing_listens_beyond_loopback_and_nothing_is_executed(launch, people, tmp_path):
    strace = "/usr/bin/strace"
    if not os.path.exists(strace):
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    sim = launch.camera(people, *LOGIN)
    # The leak check of a sanitizer build cannot work where another tracer is there already.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    d = launch.daemon(camera("porch", sim) + OFF, env={"ASAN_OPTIONS": asan},
                      wrapper=[strace, "-f", "-qq", "-e", "trace=execve,bind", "-o", trace])
    d.trigger("porch", wait=60)
    children = subprocess.run(["pgrep", "-P", str(d.child.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGTERM)
    assert d.wait() == 0
    calls = trace.read_text().splitlines()
    assert sum("execve(" in c for c in calls) == 1, "only the program itself"
    bound = [c for c in calls if "bind(" in c and "AF_INET" in c]
    assert bound and all("127.0.0.1" in c or '"::1"' in c for c in bound), bound


def test_too_few_open_files_are_told_with_what_to_do(tmp_path):
    config = tmp_path / "few.conf"
    config.write_text(OFF + "[web]\nlisten = 127.0.0.1:0\n")
    done = subprocess.run(["prlimit", "--nofile=100:100", BINARY, "run", "-c", config, "--set",
                           f"app.data_dir={tmp_path}/data"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "only 100 open files" in said and "ulimit -n 1024" in said, said
