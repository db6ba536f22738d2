"""`snapshotd model` and `snapshotd detect`: downloads from a server that behaves and misbehaves,
and what a person is told."""

import hashlib
import http.server
import json
import re
import subprocess
import threading

import pytest

from conftest import BINARY, TESTDATA, default_model

# Not a model: the checks of a download come before anybody looks into it.
BYTES = bytes(range(256)) * 400
DIGEST = hashlib.sha256(BYTES).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.break_after, self.ranges = BYTES, '"one"', None, True
        self.asked = []
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        s = self.server
        s.asked.append(self.headers.get("Range"))
        if self.path.startswith("/missing"):
            return self.send_error(404)
        if self.path.startswith("/login"):
            return self.send_error(403)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/there/net.onnx?token=secret")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = 0
        wanted = re.match(r"bytes=(\d+)-$", self.headers.get("Range") or "")
        same = self.headers.get("If-Range") in (None, s.etag)
        if wanted and s.ranges and same:
            start = int(wanted.group(1))
            if start >= len(s.content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range",
                             f"bytes {start}-{len(s.content) - 1}/{len(s.content)}")
        else:
            self.send_response(200)
        body = s.content[start:]
        self.send_header("Content-Length", str(len(body)))
        if s.etag:
            self.send_header("ETag", s.etag)
        self.end_headers()
        if s.break_after is not None:
            self.wfile.write(body[:s.break_after])
            self.close_connection = True
            self.connection.shutdown(2)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    s = Server()
    yield s
    s.shutdown()
    s.server_close()


def snapshotd(*arguments, stdin=None, env=None):
    return subprocess.run([BINARY, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, input=stdin, env=env, timeout=120)


def pull(server, folder, path, *options):
    return snapshotd("model", "pull", server.url + path, "--dir", folder, *options)


def has_runtime():
    return b"no local detector" not in snapshotd("detect", "/nonexistent").stderr and \
        b"ONNX Runtime" not in snapshotd("model", "info", "/dev/null").stderr


def real_model():
    for path in (TESTDATA / "models/yolox-nano-416.onnx", default_model()):
        if path and path.exists():
            return path
    pytest.skip("no model: run tools/setup demo")


def test_pull_gets_a_model_and_says_its_digest(server, tmp_path):
    server.content = real_model().read_bytes()
    run = pull(server, tmp_path / "m", "/moved")
    assert run.returncode == 0, run.stderr
    assert hashlib.sha256(server.content).hexdigest().encode() in run.stdout
    assert b"AGPL" in run.stderr
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["moved.onnx"]
    assert (tmp_path / "m/moved.onnx").read_bytes() == server.content


def test_pull_goes_on_where_it_stopped(server, tmp_path):
    server.content = real_model().read_bytes()
    server.break_after = 50000
    broken = pull(server, tmp_path, "/net.onnx")
    assert broken.returncode == 1
    assert b"goes on where it stopped" in broken.stderr
    assert not (tmp_path / "net.onnx").exists()
    server.break_after = None
    run = pull(server, tmp_path, "/net.onnx")
    assert run.returncode == 0, run.stderr
    assert server.asked == [None, "bytes=50000-"]
    assert (tmp_path / "net.onnx").read_bytes() == server.content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx"]


@pytest.mark.parametrize("change", ["another file", "no ranges", "no etag"])
def test_pull_never_mixes_two_files(server, tmp_path, change):
    server.content = bytes(100000)
    server.etag = None if change == "no etag" else '"one"'
    server.break_after = 50000
    assert pull(server, tmp_path, "/net.onnx").returncode == 1
    server.content = real_model().read_bytes()
    server.break_after = None
    if change == "another file":
        server.etag = '"two"'
    server.ranges = change != "no ranges"
    run = pull(server, tmp_path, "/net.onnx")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "net.onnx").read_bytes() == server.content


def test_pull_refuses_a_wrong_digest_and_keeps_nothing(server, tmp_path):
    run = pull(server, tmp_path, "/net.onnx", "--sha256", "0" * 64)
    assert run.returncode == 1
    assert DIGEST.encode() in run.stderr and b"removed" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_pull_refuses_what_is_no_model(server, tmp_path):
    if not has_runtime():
        pytest.skip("built without ONNX Runtime")
    server.content = b"<html>Please log in</html>"
    run = pull(server, tmp_path, "/net.onnx")
    assert run.returncode == 1
    assert b"no ONNX model" in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path, says", [
    ("/missing.onnx", b"there is no such file (HTTP 404)"),
    ("/login.onnx", b"wants a login (HTTP 403)"),
])
def test_pull_explains_an_answer_that_is_no_file(server, tmp_path, path, says):
    run = pull(server, tmp_path, path)
    assert run.returncode == 1
    assert says in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_pull_explains_a_server_that_is_not_there(server, tmp_path):
    server.shutdown()
    server.server_close()
    run = pull(server, tmp_path, "/net.onnx?token=secret")
    assert run.returncode == 1
    assert b"put the file into a model folder" in run.stderr
    assert b"secret" not in run.stderr


def test_pull_leaves_a_file_that_is_there(server, tmp_path):
    (tmp_path / "net.onnx").write_text("mine")
    assert pull(server, tmp_path, "/net.onnx").returncode == 1
    assert (tmp_path / "net.onnx").read_text() == "mine"
    assert server.asked == []


@pytest.mark.parametrize("name, says", [
    ("yolov8n", b"yolo export model=yolov8n.pt format=onnx"),
    ("yolo11s.pt", b"yolo export model=yolo11s.pt format=onnx"),
    ("https://example.org/yolov8m.pt", b"yolo export model=yolov8m.pt format=onnx"),
    ("centernet-512", b"tools/setup"),
    ("nonsense", b"yolox_nano"),
])
def test_pull_knows_what_to_do_about_a_name(tmp_path, name, says):
    run = snapshotd("model", "pull", name, "--dir", tmp_path)
    assert run.returncode == 1
    assert says in run.stderr


def test_detect_answers_in_order_and_names_every_failure(tmp_path):
    model = real_model()
    frame = TESTDATA / "images/bus.jpg"
    if not frame.exists():
        pytest.skip("no test pictures")
    (tmp_path / "b").mkdir()
    for name in ("a.jpg", "b/c.JPG", "d.jpeg"):
        (tmp_path / name).write_bytes(frame.read_bytes())
    (tmp_path / "b/broken.png").write_bytes(b"<html>")
    (tmp_path / "notes.txt").write_text("not looked at")
    run = snapshotd("detect", "--json", "--model", model, tmp_path, "/nonexistent.jpg")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 1
    assert [line["path"] for line in lines] == [
        str(tmp_path / "a.jpg"), str(tmp_path / "b/broken.png"), str(tmp_path / "b/c.JPG"),
        str(tmp_path / "d.jpeg"), "/nonexistent.jpg"]
    assert "HTML" in lines[1]["error"] and "No such file" in lines[4]["error"]
    for line in (lines[0], lines[2], lines[3]):
        assert line["width"] > 0 and line["decode_ms"] > 0 and line["infer_ms"] > 0
        assert line["model"] == model.name
        assert line["detections"] == lines[0]["detections"]
        for d in line["detections"]:
            x1, y1, x2, y2 = d["box"]
            assert 0 <= x1 < x2 <= line["width"] and 0 <= y1 < y2 <= line["height"]


def test_detect_reads_standard_input_and_annotates(tmp_path):
    model = real_model()
    frame = TESTDATA / "images/bus.jpg"
    if not frame.exists():
        pytest.skip("no test pictures")
    run = snapshotd("detect", "--json", "--model", model, "--annotate", tmp_path / "out", "-",
                    stdin=frame.read_bytes())
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["path"] == "-"
    copy = (tmp_path / "out/stdin.jpg").read_bytes()
    assert copy[:2] == b"\xff\xd8"


@pytest.mark.parametrize("arguments", [
    ["detect"], ["detect", "--min-confidence", "2", "x"], ["detect", "--threads", "0", "x"],
    ["detect", "--nonsense"], ["model"], ["model", "info"],
    ["model", "pull", "a", "--sha256", "12"],
])
def test_wrong_usage_ends_with_2(arguments):
    run = snapshotd(*arguments)
    assert run.returncode == 2
    assert run.stderr
