"""Where log lines go: real receivers that read strictly, and rsyslogd. Logging must hold nothing
up and lose nothing without saying so."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import BINARY, wait_until

QUIET = "[detection]\nenabled = no\n[events]\nformat = none\n"
RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:" + os.environ["PATH"])

SYSLOG = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255}) "
    rb"(?P<app>[!-~]{1,48}) (?P<pid>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    rb"(?P<data>(?:\[[^ =\]\"]+(?: [^ =\]\"]+=\"(?:[^\"\\\]]|\\[\"\\\]])*\")*\])+)(?: (?P<text>.*))?",
    re.DOTALL)
PARAMETER = re.compile(rb" ([^ =\]\"]+)=\"((?:[^\"\\\]]|\\[\"\\\]])*)\"")
LEVELS = {3: "error", 4: "warning", 5: "notice", 6: "info", 7: "debug"}


def parse_syslog(line):
    """RFC 5424, nothing else."""
    match = SYSLOG.fullmatch(line)
    assert match, line
    pri = int(match["pri"])
    assert pri >> 3 == 3, "facility daemon"
    text = match["text"]
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:].decode("utf-8")
        assert not text.isascii()
    else:
        text = text.decode("ascii")
    assert not re.search("[\x00-\x1f\x7f]", text)
    fields = {k.decode(): re.sub(rb"\\(.)", rb"\1", v).decode()
              for k, v in PARAMETER.findall(match["data"])}
    return {"level": LEVELS[pri & 7], "app": match["app"].decode(), "id": match["id"].decode(),
            "pid": int(match["pid"]), "text": text, **fields}


class Receiver:
    """Collects what arrives at a socket, whole messages."""

    def __init__(self, sock, tcp=False):
        self.socket = sock
        self.messages = []
        self.lock = threading.Lock()
        self.tcp = tcp
        self.connections = []
        self.ended = False
        self.thread = threading.Thread(target=self.read_stream if tcp else self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.ended:
            if select.select([self.socket], [], [], 0.05)[0]:
                data = self.socket.recv(65536)
                with self.lock:
                    self.messages.append(data)

    def read_stream(self):
        while not self.ended:
            if not select.select([self.socket], [], [], 0.05)[0]:
                continue
            c, _ = self.socket.accept()
            self.connections.append(c)
            threading.Thread(target=self.read_frames, args=(c,), daemon=True).start()

    def read_frames(self, c):
        f = c.makefile("rb")
        with contextlib.suppress(OSError, ValueError):
            while True:
                head = b""
                while not head.endswith(b" "):
                    byte = f.read(1)
                    if not byte:
                        return
                    head += byte
                assert re.fullmatch(rb"[1-9]\d* ", head), head
                body = f.read(int(head))
                if len(body) < int(head):
                    return
                with self.lock:
                    self.messages.append(body)

    def close(self):
        self.ended = True
        self.thread.join()
        self.socket.close()
        for c in self.connections:
            with contextlib.suppress(OSError):
                c.shutdown(socket.SHUT_RDWR)
            c.close()

    def all(self):
        with self.lock:
            return list(self.messages)

    def find(self, log_id):
        """The first message with this id; waits."""
        return wait_until(lambda: next((m for m in self.all() if log_id.encode() in m), None),
                          f"a line with {log_id}")


@contextlib.contextmanager
def receiver(kind, address=("127.0.0.1", 0)):
    if kind == "tcp":
        s = socket.create_server(address)
    else:
        s = socket.socket(socket.AF_INET if kind == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(address)
    r = Receiver(s, tcp=kind == "tcp")
    try:
        yield r
    finally:
        r.close()


def port_of(r):
    return r.socket.getsockname()[1]


def started(launch, *settings, config=QUIET, env=None):
    """A daemon whose lines need not come to the console; its port is not known."""
    options = [word for s in settings for word in ("--set", s)]
    return launch.daemon(config, *options, env=env, wait=False)


def stopped(d):
    d.signal(signal.SIGTERM)
    assert d.wait() == 0
    return d


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_syslog_by_network_gets_each_line_with_its_fields(launch, kind):
    with receiver(kind) as r:
        d = started(launch, "app.log_to=syslog",
                    f"app.syslog_address={kind}://127.0.0.1:{port_of(r)}")
        r.find("[ready]")
        stopped(d)
        r.find("[stopped]")
        lines = [parse_syslog(m) for m in r.all()]
    ready = next(x for x in lines if x["id"] == "ready")
    assert ready["level"] == "notice" and ready["stage"] == "main" and ready["app"] == "snapshotd"
    assert ready["pid"] == d.child.pid
    assert ready["text"].startswith("main: snapshotd ") and ready["text"].endswith("[ready]")
    assert [int(x["sequenceId"]) for x in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["id"] == "stopped"
    assert d.text() == "", "nothing of it is on the console"


def test_the_predecessors_variable_chooses_syslog(launch):
    with receiver("udp") as r:
        d = started(launch, env={"SYSLOG_ADDRESS": f"udp://127.0.0.1:{port_of(r)}",
                                 "SNAPSHOTD_APP_LOG_TO": "auto", "APP_NAME": "porch watch"})
        assert parse_syslog(r.find("[ready]"))["app"] == "porch_watch"
        stopped(d)


def test_a_line_about_a_camera_names_it_in_a_field(launch):
    with receiver("udp") as r:
        d = started(launch, "app.log_to=syslog",
                    f"app.syslog_address=udp://127.0.0.1:{port_of(r)}",
                    config=QUIET + "[camera:porch]\nkind = http\ntries = 1\n"
                                   "url = http://127.0.0.1:1/\n")
        d.port = port_in_line(r)
        d.trigger("porch")
        line = parse_syslog(r.find('camera="'))
        stopped(d)
    assert line["camera"] == "porch" and line["stage"].startswith("fetch")
    assert line["text"].startswith(f'{line["stage"]}: camera "porch": ')


def port_in_line(r):
    return int(re.search(rb"API on http://127\.0\.0\.1:(\d+)", r.find("API on")).group(1))


def test_json_goes_by_network_as_the_message(launch):
    with receiver("tcp") as r:
        d = started(launch, "app.log_to=syslog", "app.log_format=json",
                    f"app.syslog_address=tcp://127.0.0.1:{port_of(r)}")
        line = json.loads(parse_syslog(r.find('"id":"ready"'))["text"])
        assert list(line) == ["timestamp", "level", "id", "stage", "message"]
        stopped(d)


def test_local_syslog_gets_the_form_of_the_c_library(launch, tmp_path):
    path = str(tmp_path / "log")
    with receiver("unix", path) as r:
        d = started(launch, "app.log_to=syslog", f"app.syslog_address={path}", env={"TZ": "UTC"})
        line = r.find("[ready]").decode()
        assert re.fullmatch(r"<29>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d snapshotd\[%d\]: main: .*"
                            % d.child.pid, line)
        stopped(d)


def parse_journal(data):
    """systemd's native protocol, nothing else."""
    fields = {}
    while data:
        end = data.index(b"\n")
        head, data = data[:end], data[end + 1:]
        if b"=" in head:
            key, value = head.split(b"=", 1)
        else:
            key, (size,) = head, struct.unpack("<Q", data[:8])
            value, data = data[8:8 + size], data[8 + size:]
            assert data[:1] == b"\n"
            data = data[1:]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", key), key
        assert key not in fields
        fields[key.decode()] = value.decode()
    return fields


def test_the_journal_gets_fields(launch, tmp_path):
    path = str(tmp_path / "journal")
    with receiver("unix", path) as r:
        d = started(launch, "app.log_to=journald", f"app.journal_socket={path}")
        r.find("SNAPSHOTD_ID=ready")
        stopped(d)
        fields = [parse_journal(m) for m in r.all()]
    ready = next(f for f in fields if f["SNAPSHOTD_ID"] == "ready")
    assert ready["PRIORITY"] == "5" and ready["SYSLOG_IDENTIFIER"] == "snapshotd"
    assert ready["SNAPSHOTD_STAGE"] == "main" and ready["SYSLOG_PID"] == str(d.child.pid)
    assert ready["MESSAGE"].startswith("main: snapshotd ")


@pytest.fixture
def journal(tmp_path):
    """A systemd-journald with a /run of its own; the folder that is its root."""
    program = "/lib/systemd/systemd-journald"
    if os.geteuid() != 0 or not os.path.exists(program) or not shutil.which("journalctl"):
        pytest.skip("needs root and systemd-journald")
    script = f"mount -t tmpfs none /run && mkdir -p /run/log/journal && exec {program}"
    with open(tmp_path / "journald.log", "w", encoding="utf-8") as log:
        child = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=log, stderr=log)
    root = f"/proc/{child.pid}/root"
    try:
        def there():
            assert child.poll() is None, (tmp_path / "journald.log").read_text()
            with open(f"/proc/{child.pid}/comm", encoding="ascii") as f:
                return f.read().startswith("systemd-journal") and \
                    os.path.exists(f"{root}/run/systemd/journal/socket")
        wait_until(there, "the journal's socket")
        yield root
    finally:
        child.terminate()
        child.wait()


def test_systemds_journal_understands_every_line(launch, journal):
    def entries(*match):
        done = subprocess.run(["journalctl", "-D", f"{journal}/run/log/journal", "-o", "json",
                               "--no-pager", *match], capture_output=True, text=True, check=False)
        return [json.loads(row) for row in done.stdout.splitlines()]

    d = started(launch, "app.log_to=journald",
                f"app.journal_socket={journal}/run/systemd/journal/socket")
    ready = wait_until(lambda: entries("SNAPSHOTD_ID=ready", f"_PID={d.child.pid}"), "the line")[0]
    stopped(d)
    assert ready["PRIORITY"] == "5" and ready["SYSLOG_IDENTIFIER"] == "snapshotd"
    assert ready["SNAPSHOTD_STAGE"] == "main" and ready["MESSAGE"].startswith("main: snapshotd ")
    wait_until(lambda: entries("SNAPSHOTD_ID=stopped", f"_PID={d.child.pid}"), "the last line")


def test_a_journal_behind_standard_error_is_found(launch, tmp_path):
    """systemd says by JOURNAL_STREAM which file standard error is; another one is not believed."""
    path = str(tmp_path / "journal")
    with receiver("unix", path) as r:
        d = launch.daemon(QUIET, "--set", f"app.journal_socket={path}",
                          wrapper=("/bin/sh", "-c",
                                   'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"',
                                   "sh"),
                          env={"SNAPSHOTD_APP_LOG_TO": "auto"}, wait=False)
        r.find("SNAPSHOTD_ID=ready")
        stopped(d)


@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
def test_a_place_that_is_away_is_said_once_and_its_lines_come_to_the_console(launch, tmp_path, kind):
    if kind == "unix":
        address = str(tmp_path / "log")
        place = address
    else:
        with receiver(kind) as r:
            address = ("127.0.0.1", port_of(r))
        place = f"{kind}://127.0.0.1:{address[1]}"
    d = started(launch, "app.log_to=syslog", f"app.syslog_address={place}", "app.log_level=debug")
    d.wait_line(r"\[log-place-away\]")
    d.port = int(d.wait_line(r"API on http://127\.0\.0\.1:(\d+)").group(1))
    d.wait_line(r"\[ready\]")
    assert d.get("/api/v1/status")["log"]["place"] == \
        f"syslog {place}: away, lines go to the console"
    with receiver(kind, address) as r:
        def turn():
            d.signal(signal.SIGUSR1)
            return r.all()
        wait_until(turn, "a line at the place that is back")
        d.wait_line(r"\[log-place-back\]")
        assert d.get("/api/v1/status")["log"]["place"] == f"syslog {place}"
        stopped(d)
        r.find("[stopped]")
    assert len(re.findall(r"\[log-place-away\]", d.text())) == 1


def test_a_receiver_that_restarts_misses_no_line(launch):
    """By TCP, closed in order between two lines: what is logged meanwhile waits."""
    with receiver("tcp") as r:
        address = ("127.0.0.1", port_of(r))
        d = started(launch, "app.log_to=syslog",
                    f"app.syslog_address=tcp://127.0.0.1:{address[1]}")
        d.port = port_in_line(r)
        r.find("[ready]")
        first = [parse_syslog(m) for m in r.all()]
    for _ in range(3):
        before = d.get("/api/v1/status")["log"]["debugging"]
        d.signal(signal.SIGUSR1)
        wait_until(lambda: d.get("/api/v1/status")["log"]["debugging"] != before, "the signal")
    with receiver("tcp", address) as r:
        wait_until(lambda: sum(b"log-level" in m for m in r.all()) >= 3, "three lines")
        stopped(d)
        r.find("[stopped]")
        second = [parse_syslog(m) for m in r.all()]
    numbers = [int(x["sequenceId"]) for x in first + second]
    assert [x["id"] for x in second][:3].count("log-level") >= 1
    assert sorted(set(numbers)) == numbers


def test_a_receiver_that_never_reads_holds_nothing_up(launch, people):
    """The queue fills, the rest is counted, and pictures are taken as ever."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    porch = launch.camera(people)
    with contextlib.closing(server):
        d = launch.daemon(f"{QUIET}[camera:porch]\nkind = http\nurl = http://{porch.address}/snapshot.jpg\n",
                          "--set", "app.log_to=console")
        times = [timed_trigger(d) for _ in range(10)]
        stopped(d)
        d = started(launch, "app.log_to=syslog", "app.log_level=debug",
                    f"app.syslog_address=tcp://127.0.0.1:{server.getsockname()[1]}",
                    config=f"{QUIET}[camera:porch]\nkind = http\nurl = http://{porch.address}/snapshot.jpg\n")
        connection, _ = server.accept()
        with contextlib.closing(connection):
            d.port = wait_until(lambda: port_of_child(d), "the API")
            slow = [timed_trigger(d) for _ in range(10)]
        assert sorted(slow)[5] < 2 * sorted(times)[5] + 0.05
        d.signal(signal.SIGTERM)
        assert d.wait() == 0


def timed_trigger(d):
    begin = time.monotonic()
    status, doc = d.trigger("porch", wait=30)
    assert status == 200, doc
    return time.monotonic() - begin


def port_of_child(d):
    """Of the API, from the sockets of the process."""
    inodes = set()
    for fd in os.listdir(f"/proc/{d.child.pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{d.child.pid}/fd/{fd}"))
    with open(f"/proc/{d.child.pid}/net/tcp", encoding="ascii") as f:
        for row in f.readlines()[1:]:
            words = row.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                return int(words[1].split(":")[1], 16)
    return None


def test_usr1_switches_debug_lines_on_and_off(launch):
    d = launch.daemon(QUIET)
    assert d.get("/api/v1/status")["log"] == \
        {"level": "info", "debugging": False, "place": "console", "lost": 0}
    d.signal(signal.SIGUSR1)
    d.wait_line(r"debug lines are on; the level is debug \[log-level\]")
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]")
    status = d.get("/api/v1/status")["log"]
    assert status["level"] == "debug" and status["debugging"], "a reload leaves them on"
    done = subprocess.run([d.argv[0], "status", "--url", f"http://127.0.0.1:{d.port}"],
                          capture_output=True, text=True, check=True)
    assert "log       console; debug lines are on (signal USR1)" in done.stdout
    d.signal(signal.SIGUSR1)
    d.wait_line(r"debug lines are off; the level is info \[log-level\]")


def test_a_reload_moves_the_log(launch, tmp_path, monkeypatch):
    monkeypatch.delenv("SNAPSHOTD_APP_LOG_TO")
    path = str(tmp_path / "log")
    with receiver("unix", path) as r:
        d = launch.daemon(QUIET + "[app]\nlog_to = console\n")
        d.config.write_text(QUIET + f"[app]\nlog_to = syslog\nsyslog_address = {path}\n")
        d.signal(signal.SIGHUP)
        r.find("[reloaded]")
        assert d.get("/api/v1/status")["log"]["place"] == f"syslog {path}"
        d.config.write_text(QUIET + "[app]\nlog_to = console\nlog_format = json\n")
        d.signal(signal.SIGHUP)
        line = json.loads(d.wait_line(r'\{.*"id":"reloaded".*\}').group(0))
        assert line["level"] == "notice"
        assert d.get("/api/v1/status")["log"]["place"] == "console"


def test_lines_and_losses_are_metrics(launch):
    d = launch.daemon(QUIET)
    _, _, body = d.request("/metrics")
    assert re.search(rb'^snapshotd_log_lines_total\{level="notice"\} [1-9]', body, re.M)
    assert re.search(rb"^# TYPE snapshotd_log_lines_lost_total counter", body, re.M)


def test_a_console_that_nobody_reads_holds_nothing_up(launch, tmp_path):
    """A pipe that is full; after it is read again a line says how many are missing."""
    read_end, write_end = os.pipe()
    size = 0
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            size += os.write(write_end, b"x" * 4096)
    os.set_blocking(write_end, True)
    config = tmp_path / "test.conf"
    config.write_text(QUIET)
    with subprocess.Popen([BINARY, "run", "-c", config, "--set", "app.log_to=console", "--set",
                           f"app.data_dir={tmp_path}/data", "--set", "web.listen=127.0.0.1:0"],
                          stderr=write_end, stdout=subprocess.DEVNULL) as child:
        os.close(write_end)
        d = type("D", (), {"child": child})
        wait_until(lambda: port_of_child(d), "the API in spite of a full pipe")
        while size > 0:
            size -= len(os.read(read_end, min(size, 65536)))
        child.send_signal(signal.SIGTERM)
        with os.fdopen(read_end, errors="replace") as f:
            text = f.read()
        assert child.wait() == 0
    assert re.search(r"\d+ lines are missing here: nobody read the console \[log-lines-lost\]", text)
    assert "[stopped]" in text


@pytest.mark.skipif(not RSYSLOGD, reason="no rsyslogd: apt install rsyslog")
@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
def test_rsyslog_understands_every_line(launch, tmp_path, kind):
    out = tmp_path / "out"
    with receiver("udp" if kind == "unix" else kind) as r:
        port = port_of(r)
    local = tmp_path / "log"
    inputs = {
        "udp": f'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{port}")\n',
        "tcp": f'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n',
        "unix": 'module(load="imuxsock" SysSock.Use="off")\n'
                f'input(type="imuxsock" Socket="{local}" CreatePath="on")\n'}
    conf = tmp_path / "rsyslog.conf"
    conf.write_text(
        inputs[kind] + 'template(name="t" type="string" string="%syslogseverity-text%|%app-name%|'
        '%msgid%|%structured-data%|%msg%\\n")\n'
        f'*.* action(type="omfile" file="{out}" template="t" asyncWriting="off")\n')
    server = subprocess.Popen([RSYSLOGD, "-n", "-f", conf, "-i", tmp_path / "pid"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        place = str(local) if kind == "unix" else f"{kind}://127.0.0.1:{port}"
        d = started(launch, "app.log_to=syslog", f"app.syslog_address={place}")
        wait_until(lambda: out.exists() and "[ready]" in out.read_text(), "the line in the file")
        stopped(d)
        wait_until(lambda: "[stopped]" in out.read_text(), "the last line in the file")
    finally:
        server.terminate()
        output, _ = server.communicate()
    line = next(x for x in out.read_text().splitlines() if "[ready]" in x)
    severity, app, msgid, data, text = line.split("|", 4)
    assert severity == "notice" and app == "snapshotd", output
    assert text.strip().startswith("main: snapshotd ")
    if kind != "unix":
        assert msgid == "ready"
        assert re.fullmatch(r'\[meta sequenceId="\d+"\]\[snapshotd@32473 stage="main"\]', data)


def test_a_bad_address_is_a_fault_of_the_configuration(launch):
    done = subprocess.run([BINARY, "check", "--set", "app.syslog_address=loghost:514"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "write udp://HOST:PORT, tcp://HOST:PORT, or the path of a local socket" in done.stderr
