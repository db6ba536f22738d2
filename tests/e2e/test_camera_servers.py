"""Makers' kinds against web servers that nobody of us wrote: Apache's digest login, nginx's basic one.
The paths are the makers', the pictures are files."""

import hashlib
import os
import shutil
import socket
import subprocess

import pytest

from conftest import wait_until
from ports import free_port

USER = "view er"
PASSWORD = "c4n4ry p@ss:w&rd"
MODULES = "/usr/lib/apache2/modules"
PATHS = {
    "hikvision": "ISAPI/Streaming/channels/101/picture",
    "dahua": "cgi-bin/snapshot.cgi",
    "amcrest": "cgi-bin/snapshot.cgi",
    "axis": "axis-cgi/jpg/image.cgi",
}


class Server:
    """A web server with its files in `root`; ended by leaving the block."""

    def __init__(self, argv, port, log):
        self.address = f"127.0.0.1:{port}"
        self.port = port
        self.log = log
        self.child = subprocess.Popen(argv)

    def __enter__(self):
        def listening():
            assert self.child.poll() is None, self.log.read_text() if self.log.exists() else "?"
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        try:
            wait_until(listening, "the web server")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()


def make_root(tmp_path, picture):
    root = tmp_path / "www"
    for path in {*PATHS.values(), "a.jpg"}:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, root / path)
    for folder in [*list(tmp_path.parents)[:2], tmp_path, root, *root.rglob("*")]:
        os.chmod(folder, 0o755)
    return root


def apache(tmp_path, root, port, directives=""):
    if not shutil.which("apache2", path="/usr/sbin:" + os.environ["PATH"]):
        pytest.skip("needs apache2")
    realm = "IP Camera(12345)"
    ha1 = hashlib.md5(f"{USER}:{realm}:{PASSWORD}".encode()).hexdigest()
    (tmp_path / "digest").write_text(f"{USER}:{realm}:{ha1}\n")
    os.chmod(tmp_path / "digest", 0o644)
    log = tmp_path / "apache.log"
    loads = "\n".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so" for m in (
        "mpm_event", "authn_core", "authz_core", "authz_user", "authn_file", "auth_digest"))
    conf = tmp_path / "apache.conf"
    conf.write_text(f"""
{loads}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {tmp_path}/apache.pid
Mutex file:{tmp_path} default
ErrorLog {log}
DocumentRoot {root}
StartServers 1
{"User nobody" if os.geteuid() == 0 else ""}
{"Group nogroup" if os.geteuid() == 0 else ""}
<Directory {root}>
  AuthType Digest
  AuthName "{realm}"
  AuthUserFile {tmp_path}/digest
  Require valid-user
  {directives}
</Directory>
""")
    return Server(["/usr/sbin/apache2", "-X", "-f", conf, "-d", tmp_path], port, log)


def nginx(tmp_path, root, port):
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.path.exists(binary) or not shutil.which("openssl"):
        pytest.skip("needs nginx and openssl")
    hashed = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], check=True, text=True,
                            capture_output=True).stdout.strip()
    (tmp_path / "users").write_text(f"{USER}:{hashed}\n")
    log = tmp_path / "nginx.log"
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"""
daemon off; worker_processes 1; pid {tmp_path}/nginx.pid; error_log {log};
{"user root;" if os.geteuid() == 0 else ""}
events {{ }}
http {{
  access_log off;
  client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;
  uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
  server {{
    listen 127.0.0.1:{port};
    root {root};
    auth_basic camera; auth_basic_user_file {tmp_path}/users;
  }}
}}
""")
    return Server([binary, "-c", conf, "-e", log], port, log)


def cameras(server, auth, kinds=PATHS):
    """Each kind twice, with the right password and with a wrong one."""
    text = "[detection]\nenabled = no\n"
    for kind in kinds:
        for name, password in ((kind, PASSWORD), (f"wrong-{kind}", "wr0ng")):
            text += (f"[camera:{name}]\nkind = {kind}\naddress = {server.address}\n"
                     f"user = {USER}\npassword = {password}\nauth = {auth}\n"
                     "tries = 1\ngive_up = 5s\ncheck_fresh = no\n")
    return text


def check(d, kinds=PATHS):
    for kind in kinds:
        for _ in range(3):
            status, doc = d.trigger(kind, wait=30)
            assert status == 200, doc
        for _ in range(2):
            status, doc = d.trigger(f"wrong-{kind}", wait=30)
            assert status == 502 and f"rejects user '{USER}'" in str(doc), doc
    assert PASSWORD not in d.text()


@pytest.mark.parametrize("directives", ["", "AuthDigestNonceLifetime 0"],
                         ids=["kept-challenge", "challenge-for-each-request"])
def test_makers_with_digest_login_against_apache(launch, people, tmp_path, directives):
    root = make_root(tmp_path, people)
    with apache(tmp_path, root, free_port(), directives) as server:
        check(launch.daemon(cameras(server, "auto")))


def test_makers_with_basic_login_against_nginx(launch, people, tmp_path):
    root = make_root(tmp_path, people)
    with nginx(tmp_path, root, free_port()) as server:
        check(launch.daemon(cameras(server, "basic")))


def test_basic_login_over_plain_http_is_not_sent_unasked(launch, people, tmp_path):
    root = make_root(tmp_path, people)
    with nginx(tmp_path, root, free_port()) as server:
        d = launch.daemon(cameras(server, "auto"))
        for kind in PATHS:
            assert "auth = basic" in str(d.trigger(kind, wait=30)[1])
