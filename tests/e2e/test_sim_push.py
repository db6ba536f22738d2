"""Simulated cameras that push by FTP, against a server that is not ours."""

import datetime
import os
import re
import signal
import subprocess
import threading

import pytest

from conftest import BINARY, FOOTAGE, Process, wait_until
from ports import refusing_port

pyftpdlib = pytest.importorskip("pyftpdlib")
from pyftpdlib.authorizers import DummyAuthorizer  # noqa: E402
from pyftpdlib.handlers import FTPHandler  # noqa: E402
from pyftpdlib.ioloop import IOLoop  # noqa: E402
from pyftpdlib.servers import FTPServer  # noqa: E402

USER, PASSWORD = "camera", "a-password-of-tests"


class Server:
    """pyftpdlib in a thread. `sessions` are the commands of each connection; `refuse` maps a verb
    to how many times it is answered with 452."""

    def __init__(self, root, base=FTPHandler, **attributes):
        server = self
        self.root = root
        self.sessions = []
        self.refuse = {}

        # Theirs look into a file that may be closed, for a line of debugging, and the server ends.
        class Data(base.dtp_handler):
            __repr__ = object.__repr__

        class Handler(base):
            __repr__ = object.__repr__
            dtp_handler = Data

            def on_connect(self):
                self.told = []
                server.sessions.append(self.told)

            def pre_process_command(self, line, cmd, arg):
                self.told.append(line)
                if server.refuse.get(cmd):
                    server.refuse[cmd] -= 1
                    self.respond("452 No space today.")
                    return
                super().pre_process_command(line, cmd, arg)

        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(root), perm="elradfmwMT")
        Handler.authorizer = authorizer
        Handler.auth_failed_timeout = 0
        for name, value in attributes.items():
            setattr(Handler, name, value)
        self.server = FTPServer(("127.0.0.1", 0), Handler, ioloop=IOLoop())
        self.port = self.server.socket.getsockname()[1]
        self.stopping = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.stopping:
            self.server.serve_forever(timeout=0.05, blocking=False, handle_exit=False)
        self.server.close_all()

    def close(self):
        self.stopping = True
        self.thread.join(20)

    def commands(self):
        return [line for session in self.sessions for line in session]

    def verbs(self):
        return [line.split()[0] for line in self.commands()]

    def files(self):
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file())


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    running = Server(root)
    yield running
    running.close()


@pytest.fixture
def frames(tmp_path):
    """A folder with three pictures that differ."""
    folder = tmp_path / "frames"
    folder.mkdir()
    found = sorted(FOOTAGE.glob("*/*.jpg"))[:3]
    for i in range(3):
        data = found[i].read_bytes() if found else bytes([0xff, 0xd8, i]) * 30000 + b"\xff\xd9"
        (folder / f"{i + 1}.jpg").write_bytes(data)
    return folder


def bytes_of(frames):
    return [p.read_bytes() for p in sorted(frames.glob("*.jpg"))]


@pytest.fixture
def push(server, frames, tmp_path):
    """Runs a pushing camera to its end; the process, whose lines tell what it did."""

    def run(*options, count=3, code=0, port=None, interval="10ms"):
        p = Process([BINARY, "camera-sim", "--push", f"127.0.0.1:{port or server.port}",
                     "--push-user", USER, "--push-password", "env:PUSH_PASSWORD",
                     "--push-count", count, "--interval", interval, "--push-retry", "20ms",
                     *options, frames],
                    tmp_path / "push.log", env={"PUSH_PASSWORD": PASSWORD, "TZ": "UTC"})
        assert p.wait() == code, p.text()
        return p

    return run


def lines(process, word):
    return [line for line in process.lines if f": {word}" in line]


# maker, options, pattern of the three names; what the names must not share is their moment
MAKERS = [
    ("foscam", (), r"FI9828P_00626E4A1B2C/snap/MDAlarm_\d{8}-\d{6}\.jpg"),
    ("foscam", ("--push-event", "human"), r"FI9828P_00626E4A1B2C/snap/HMDAlarm_\d{8}-\d{6}\.jpg"),
    ("dahua", (), r"4C01A2BPAG00001/\d{4}-\d\d-\d\d/001/jpg/\d\d/\d\d/\d\d\[M\]\[0@0\]\[\d\]\.jpg"),
    ("amcrest", (), r"AMC0170B8F1E2D/\d{4}-\d\d-\d\d/001/jpg/\d\d/\d\d\.\d\d\[M\]\[0@0\]\[\d\]\.jpg"),
    ("hikvision", (), r"192\.168\.1\.64/\d\d/192\.168\.1\.64_01_\d{17}_MOTION_DETECTION\.jpg"),
    ("reolink", (), r"\d{4}/\d\d/\d\d/Garden_00_\d{14}\.jpg"),
    ("axis", (), r"\d{4}-\d\d-\d\d/\d\d/image\d\d-\d\d-\d\d_\d\d-\d\d-\d\d-\d\d\.jpg"),
    # pyftpdlib knows neither bare LF nor backslashes.
    ("counter", ("--push-habits", "no-backslashes"), r"IPCAM/images/image00000\d\.jpg"),
]


@pytest.mark.parametrize("maker,options,pattern", MAKERS,
                         ids=[f"{m}{'-' + o[1] if o else ''}" for m, o, _ in MAKERS])
def test_pictures_arrive_under_the_makers_names(server, push, frames, maker, options, pattern):
    push("--push-as", maker, "--push-folder", "uploads/front", *options)
    files = server.files()
    assert len(files) == 3
    for name in files:
        assert re.fullmatch("uploads/front/" + pattern, name), name
    assert sorted((server.root / f).read_bytes() for f in files) == sorted(bytes_of(frames))


@pytest.mark.parametrize("maker,name", [("axis-fixed", "image.jpg"), ("simple", "snapshot.jpg")])
def test_a_fixed_name_holds_the_last_picture(server, push, frames, maker, name):
    p = push("--push-as", maker, "--push-habits", "no-bare-lf")
    assert server.files() == [name]
    assert (server.root / name).read_bytes() == bytes_of(frames)[2]
    assert len(lines(p, "pushed")) == 3


def test_a_session_for_each_picture_or_one_for_all(server, push):
    push("--push-as", "foscam")
    assert len(server.sessions) == 3
    assert all(s[-1] == "QUIT" for s in server.sessions)
    server.sessions.clear()
    push("--push-as", "dahua")
    assert len(server.sessions) == 1
    assert server.verbs().count("STOR") == 3
    assert server.commands()[-1] == "QUIT"


def test_a_kept_session_is_kept_alive(server, push):
    push("--push-as", "dahua", "--push-keepalive", "30ms", interval="400ms", count=2)
    assert len(server.sessions) == 1
    between = server.verbs()
    first, last = (i for i, verb in enumerate(between) if verb == "STOR")
    assert "NOOP" in between[first:last]


def test_folders_are_made_as_the_makers_do(server, push):
    push("--push-as", "foscam", "--push-folder", "up", count=2)
    # Each level each time, there or not.
    assert server.verbs().count("MKD") == 6
    assert [c for c in server.sessions[1] if c.startswith(("MKD", "CWD"))] == [
        "MKD up", "CWD up", "MKD FI9828P_00626E4A1B2C", "CWD FI9828P_00626E4A1B2C", "MKD snap",
        "CWD snap"]
    server.sessions.clear()
    push("--push-as", "dahua", count=1)
    mkds = [c for c in server.commands() if c.startswith("MKD")]
    assert re.fullmatch(r"MKD //4C01A2BPAG00001//[\d-]{10}//001//jpg//\d\d//\d\d", mkds[0])
    assert [c for c in server.commands() if c.startswith("STOR //4C01A2BPAG00001//")]
    server.sessions.clear()
    push("--push-as", "amcrest", "--push-folder", "up", count=1)
    assert "XCWD up" in server.commands() and "MKD up" not in server.commands()
    server.sessions.clear()
    push("--push-as", "hikvision", count=2)
    assert [s for s in server.sessions[1] if s.startswith("MKD")] == []


def test_under_another_name_first(server, push):
    push("--push-as", "reolink")
    stored = [c.split()[1] for c in server.commands() if c.startswith("STOR")]
    assert len(stored) == 3 and all(name.endswith(".jpg.tmp") for name in stored)
    renamed = [c.split()[1] for c in server.commands() if c.startswith("RNTO")]
    assert sorted(renamed) == sorted(f.rsplit("/", 1)[1] for f in server.files())
    assert server.verbs().count("ALLO") == 3


@pytest.mark.parametrize("habits,verb,other", [
    ("no-active,no-extended", "PASV", ["EPSV", "PORT", "EPRT"]),
    ("no-active,extended", "EPSV", ["PASV", "PORT", "EPRT"]),
    ("active,no-extended", "PORT", ["EPSV", "PASV", "EPRT"]),
    ("active,extended", "EPRT", ["EPSV", "PASV", "PORT"]),
])
def test_ways_of_the_data_connection(server, push, frames, habits, verb, other):
    push("--push-habits", habits)
    assert server.verbs().count(verb) == 3
    assert not set(other) & set(server.verbs())
    assert len(server.files()) == 3


def test_each_habit_shows(server, push):
    expected = {"append": "APPE", "size": "SIZE", "chmod": "SITE", "allo": "ALLO", "greet": "SYST",
                "pwd": "PWD", "old": "XMKD"}
    for habit, verb in expected.items():
        server.sessions.clear()
        push("--push-as", "foscam", "--push-habits", f"no-mkd-each,{habit}", count=1,
             interval="1s")
        assert verb in server.verbs() or habit == "old", habit
        if habit == "old":
            assert "XCWD" in server.verbs()
    server.sessions.clear()
    push("--push-habits", "type-a", count=1)
    assert "TYPE A" in server.commands()


def test_the_test_button_leaves_nothing(server, push):
    p = push("--push-test", "--push-as", "foscam", count=1)
    assert lines(p, "test button: success")
    assert "DELE ftptest.txt" in server.commands()
    assert len(server.files()) == 1


def test_several_at_once(server, push, frames):
    push("--push-as", "hikvision", "--push-parallel", "3", "--burst", "6", count=12)
    assert len(server.files()) == 12
    assert len(server.sessions) == 12


def test_several_cameras(server, frames):
    one = bytes_of(frames)[0]
    p = Process([BINARY, "camera-sim", "--push", f"127.0.0.1:{server.port}", "--push-user", USER,
                 "--push-password", PASSWORD, "--push-count", "2", "--interval", "10ms",
                 "--push-folder", "in/{name}", "--camera", f"porch={frames}",
                 "--camera", f"yard={frames}"], server.root.parent / "several.log")
    assert p.wait() == 0, p.text()
    files = server.files()
    assert [f.split("/snap/")[0] for f in files] == ["in/porch/porch"] * 2 + ["in/yard/yard"] * 2
    assert one in [(server.root / f).read_bytes() for f in files]


def test_a_clock_that_is_off_shows_in_the_names(server, push):
    push("--clock", "1970-01-01T00:00:10Z", count=1)
    assert re.search(r"MDAlarm_19700101-0000\d\d\.jpg", server.files()[0])
    push("--clock", "86400", "--push-folder", "b", count=1)
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    assert f"MDAlarm_{tomorrow:%Y%m}" in server.files()[1]


def test_a_picture_that_is_refused_is_tried_again_after_a_growing_pause(server, push):
    server.refuse["STOR"] = 3
    p = push(count=2)
    assert [re.search(r"again in (\d+) ms", line)[1] for line in lines(p, "not pushed")] == [
        "20", "40", "80"]
    assert "STOR: 452 No space today." in lines(p, "not pushed")[0]
    assert len(server.files()) == 2
    assert lines(p, "2 pictures pushed, 0 lost, 3 failed tries")


def test_a_picture_is_lost_after_its_tries(server, push):
    server.refuse["STOR"] = 3
    p = push("--push-tries", "3", count=2, code=1)
    assert "given up" in lines(p, "not pushed")[-1]
    assert lines(p, "1 pictures pushed, 1 lost, 3 failed tries")
    assert len(server.files()) == 1


def test_a_server_that_is_away(push):
    p = push("--push-tries", "2", count=1, code=1, port=refusing_port())
    assert "connection refused" in lines(p, "not pushed")[0]


@pytest.mark.parametrize("fault", ["vanish", "abort"])
def test_a_cut_upload_is_tried_again(server, push, frames, fault):
    p = push("--push-fault", f"{fault}@3")
    assert len(lines(p, "not pushed")) == 1
    assert len(lines(p, "pushed")) == 3
    assert len(server.files()) == 3  # the same name again, so nothing is there twice
    if fault == "abort":
        assert any("ABOR" in command for command in server.commands())
        # Not so when it vanishes: this server may still write the old upload into the new one.
        assert sorted((server.root / f).read_bytes() for f in server.files()) == sorted(
            bytes_of(frames))


def test_half_of_a_picture(server, push, frames):
    push("--push-fault", "cut", count=1)
    whole = bytes_of(frames)[0]
    assert (server.root / server.files()[0]).read_bytes() == whole[:len(whole) // 2]


@pytest.mark.parametrize("fault", ["stall:1", "drip:200000", "abrupt"])
def test_slow_ones_arrive_whole(server, push, frames, fault):
    push("--push-fault", fault, count=1)
    assert (server.root / server.files()[0]).read_bytes() == bytes_of(frames)[0]


def test_a_wrong_password(server, push):
    p = push("--push-fault", "password@2", count=2)
    assert "login: 530" in lines(p, "not pushed")[0]
    assert len(server.files()) == 2
    assert not any("not-the-password" in line or PASSWORD in line for line in p.lines)


def test_what_is_no_picture(server, push):
    push("--push-fault", "text@2,empty@3")
    sizes = sorted((server.root / f).stat().st_size for f in server.files())
    assert sizes[:2] == [0, 21] and sizes[2] > 1000


def test_files_beside_the_pictures(server, push):
    p = push("--push-as", "dahua", "--push-fault", "video:5000@2,other@3")
    kinds = sorted(f.rsplit(".", 1)[1] for f in server.files())
    assert kinds == ["idx", "jpg", "jpg", "jpg", "mp4"]
    assert len(lines(p, "beside it")) == 2


def test_the_same_picture_twice(server, push):
    push("--push-fault", "twice@2")
    assert server.verbs().count("STOR") == 4
    assert len(server.files()) == 3


def test_the_conversation_is_shown_without_the_password(push):
    p = push("--push-trace", count=1)
    assert lines(p, "> PASS ***")
    assert lines(p, "< 226")
    assert PASSWORD not in p.text()


def test_ends_in_order_at_a_signal(server, frames, tmp_path):
    p = Process([BINARY, "camera-sim", "--push", f"127.0.0.1:{server.port}", "--push-user", USER,
                 "--push-password", PASSWORD, "--push-as", "dahua", "--interval", "20ms", frames],
                tmp_path / "push.log")
    p.wait_line(": pushed")
    p.signal(signal.SIGTERM)
    assert p.wait() == 0
    wait_until(lambda: server.commands()[-1] == "QUIT", "QUIT")
    pushed = len(lines(p, "pushed"))
    assert f"{pushed} pictures pushed, 0 lost, 0 failed tries" in p.lines[-1]
    assert len(server.files()) == pushed


def test_a_signal_does_not_wait_for_a_stalled_upload(server, frames, tmp_path):
    p = Process([BINARY, "camera-sim", "--push", f"127.0.0.1:{server.port}", "--push-user", USER,
                 "--push-password", PASSWORD, "--push-fault", "stall:600", frames],
                tmp_path / "push.log")
    wait_until(lambda: "STOR" in server.verbs(), "the upload")
    p.signal(signal.SIGTERM)
    assert p.wait() == 1  # its picture is lost
    assert "0 pictures pushed, 1 lost, 1 failed tries" in p.lines[-1]


@pytest.fixture
def certificate(tmp_path):
    path = tmp_path / "server.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=nas.example", "-keyout", path, "-out", tmp_path / "cert.pem"],
                   check=True, capture_output=True)
    with open(path, "ab") as f:
        f.write((tmp_path / "cert.pem").read_bytes())
    return path


@pytest.mark.parametrize("habits", ["", "active", "extended,kept"])
def test_over_tls(certificate, push, frames, tmp_path, habits):
    pytest.importorskip("OpenSSL")
    from pyftpdlib.handlers import TLS_FTPHandler
    root = tmp_path / "tls"
    root.mkdir()
    running = Server(root, TLS_FTPHandler, certfile=str(certificate), tls_control_required=True,
                     tls_data_required=True)
    try:
        push("--push-tls", tmp_path / "cert.pem", "--push-habits", habits, port=running.port)
        assert sorted((root / f).read_bytes() for f in running.files()) == sorted(bytes_of(frames))
        assert running.verbs().count("PROT") == (1 if "kept" in habits else 3)
    finally:
        running.close()


def test_a_certificate_of_somebody_else_is_refused(certificate, push, tmp_path):
    pytest.importorskip("OpenSSL")
    from pyftpdlib.handlers import TLS_FTPHandler
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
                    "-keyout", os.devnull, "-out", other], check=True, capture_output=True)
    root = tmp_path / "tls"
    root.mkdir()
    running = Server(root, TLS_FTPHandler, certfile=str(certificate))
    try:
        p = push("--push-tls", other, "--push-tries", "1", count=1, code=1, port=running.port)
        assert "TLS certificate" in lines(p, "not pushed")[0]
        assert running.files() == []
    finally:
        running.close()


@pytest.mark.parametrize("options,words", [
    (["--push", "nowhere:x"], "HOST:PORT"),
    (["--push", "localhost", "--push-as", "kodak"], "there is no 'kodak'"),
    (["--push", "localhost"], "--push-user"),
    (["--push", "localhost", "--push-user", "u", "--push-habits", "odd"], "no habit 'odd'"),
    (["--push", "localhost", "--push-user", "u", "--push-implicit"], "--push-tls"),
    (["--push", "localhost", "--push-user", "u", "--push-password", "env:NOT_SET_AT_ALL"],
     "NOT_SET_AT_ALL is not set"),
])
def test_wrong_usage_says_what_is_right(frames, options, words):
    done = subprocess.run([BINARY, "camera-sim", *options, frames], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2
    assert words in done.stderr
