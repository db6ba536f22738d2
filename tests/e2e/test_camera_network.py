"""Cameras and the network around them: slow name servers, other people's web servers, secrets."""

import os
import shutil
import socket
import subprocess

import pytest

from conftest import wait_until
from ports import free_port, refusing_port
from resolver import NameServer

OFF = "[detection]\nenabled = no\n"
CANARY = "c4n4ry-Pa55"


def http_camera(name, url, extra=""):
    return f"[camera:{name}]\nkind = http\nurl = {url}\n{extra}"


def test_a_name_server_that_says_nothing_delays_only_who_needs_it(launch, people, tmp_path):
    good = launch.camera(people)
    with NameServer(tmp_path, "timeout:30 attempts:1", mode="silent") as names:
        d = launch.daemon(
            http_camera("lost", "http://camera.example/a.jpg", "connect_timeout = 500ms\n")
            + http_camera("good", f"http://{good.address}/snapshot.jpg") + OFF,
            wrapper=names.wrapper)
        assert d.trigger("lost")[0] == 202
        names.wait_asked()
        for _ in range(5):
            assert d.trigger("good", wait=30)[0] == 200
        # Giving up on the name happens at the camera's own time, long before the resolver's 30 s.
        d.wait_line(r"lost.*not resolved within 500 ms|not resolved within 500 ms.*lost",
                    patience=20)
        for _ in range(5):
            assert d.trigger("good", wait=30)[0] == 200


def test_a_camera_whose_name_was_not_known_is_asked_for_again(launch, people, tmp_path):
    """One answer of a name server that is just starting must not cost a camera until the next start."""
    sim = launch.camera(people)
    with NameServer(tmp_path, mode="none") as names:
        d = launch.daemon(
            http_camera("late", f"http://camera.example:{sim.port}/snapshot.jpg", "give_up = 1s\n")
            + OFF, wrapper=names.wrapper)
        assert "no address is known for this name" in str(d.trigger("late", wait=30)[1])
        names.mode = "good"
        assert wait_until(lambda: d.trigger("late", wait=30)[0] == 200, "the camera to be found")


def test_no_password_reaches_log_api_or_store(launch, people):
    """Every way to fail with a password in play; then everything that was written is searched."""
    foscam = launch.camera(people, "--user", "admin", "--password", CANARY)
    basic = launch.camera(people, "--user", "admin", "--password", CANARY, "--auth", "basic")
    digest = launch.camera(people, "--user", "admin", "--password", "another", "--auth", "digest")
    login = f"user = admin\npassword = {CANARY}\ngive_up = 1s\ntries = 1\n"
    d = launch.daemon(
        f"[camera:foscam]\nkind = foscam\naddress = {foscam.address}\n{login}"
        + http_camera("basic", f"http://{basic.address}/snapshot.jpg", login + "auth = basic\n")
        + http_camera("digest", f"http://{digest.address}/snapshot.jpg", login)
        + http_camera("query", f"http://{foscam.address}/cgi-bin/CGIProxy.fcgi"
                      "?cmd=snapPicture2&usr={user}&pwd={password}", login)
        + http_camera("path", f"http://{basic.address}/{{user}}/{{password}}/a.jpg", login)
        + f"[camera:dead]\nkind = foscam\naddress = 127.0.0.1:{refusing_port()}\n{login}"
        + OFF, "--set", "app.log_level=debug")
    for fault in ("html", "close", "short-body", "bad-header", "404", "redirect-file", "xml:-1"):
        foscam.fault(fault)
        basic.fault(fault)
        for name in ("foscam", "basic", "query"):
            d.trigger(name, wait=30)
    for name in ("digest", "path", "dead"):
        d.trigger(name, wait=30)
    pages = [d.request(p)[2].decode() for p in
             ("/api/v1/status", "/api/v1/snapshots", "/metrics", "/healthz", "/readyz")]
    written = [p.read_bytes() for p in d.data.rglob("*") if p.is_file()]
    argv = open(f"/proc/{d.child.pid}/cmdline", "rb").read()
    assert d.stop() == 0
    for text in [d.text(), *pages]:
        assert CANARY not in text
    for data in [argv, *written]:
        assert CANARY.encode() not in data


def test_an_independent_server_with_basic_login_and_tls(launch, people, tmp_path):
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(nginx) or not shutil.which("openssl"):
        pytest.skip("needs nginx and openssl")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                    tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "2", "-subj",
                    "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-apr1", CANARY], check=True, text=True,
                            capture_output=True).stdout.strip()
    (tmp_path / "users").write_text(f"admin:{hashed}\n")
    root = tmp_path / "www"
    root.mkdir()
    shutil.copy(people, root / "a.jpg")
    port = free_port()
    for folder in (tmp_path, *list(tmp_path.parents)[:2], root):
        os.chmod(folder, 0o755)
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"""
daemon off; worker_processes 1; pid {tmp_path}/nginx.pid; error_log {tmp_path}/nginx.log;
{"user root;" if os.geteuid() == 0 else ""}
events {{ }}
http {{
  access_log off;
  client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;
  uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {tmp_path}/cert.pem; ssl_certificate_key {tmp_path}/key.pem;
    root {root};
    auth_basic camera; auth_basic_user_file {tmp_path}/users;
  }}
}}
""")
    server = subprocess.Popen([nginx, "-c", conf, "-e", tmp_path / "nginx.log"])
    try:
        def listening():
            assert server.poll() is None, (tmp_path / "nginx.log").read_text()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listening, "nginx")
        url = f"https://127.0.0.1:{port}/a.jpg"
        login = f"user = admin\npassword = {CANARY}\ngive_up = 1s\n"
        d = launch.daemon(
            http_camera("trusted", url, login + f"tls_ca_file = {tmp_path}/cert.pem\n")
            + http_camera("unknown", url, login)
            + http_camera("careless", url, login + "tls_verify = no\n")
            + http_camera("wrong", url, "user = admin\npassword = x-wrong-x\ntls_verify = no\n")
            + OFF)
        assert d.trigger("trusted", wait=30)[0] == 200
        assert d.trigger("careless", wait=30)[0] == 200
        assert "tls_ca_file" in str(d.trigger("unknown", wait=30)[1])
        assert "rejects user 'admin'" in str(d.trigger("wrong", wait=30)[1])
    finally:
        server.terminate()
        server.wait()
