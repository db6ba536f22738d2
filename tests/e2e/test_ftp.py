"""The real daemon as an FTP server: what cameras and people meet. What becomes of pictures behind it
is tested elsewhere, so files here are mostly none."""

import concurrent.futures
import ftplib
import io
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pytest

import rabbit
from conftest import BINARY, wait_until
from ports import free_port

USER, PASSWORD = "porch", "porch-password"
BYTES = os.urandom(300000)

# Sockets as systemd passes them on: descriptor 3, named, and for this process alone.
PASS_SOCKET = """
import os, socket, sys
s = socket.socket()
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(8)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="ftp")
os.execv(sys.argv[2], sys.argv[2:])
"""


def config(port, ftp="", more="", password=PASSWORD):
    return (f"[detection]\nenabled = no\n[ftp]\nlisten = 127.0.0.1:{port}\n{ftp}\n"
            f"[ftp_account:{USER}]\npassword = {password}\nrights = all\n{more}")


def login(port, password=PASSWORD, kind=ftplib.FTP, **words):
    c = kind(timeout=60, **words)
    c.connect("127.0.0.1", port)
    c.login(USER, password)
    return c


def stored(daemon, name):
    return (daemon.data / "ftp" / USER / name).read_bytes()


def status_text(daemon):
    return subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{daemon.port}"],
                          capture_output=True, text=True, check=False).stdout


def start_upload(c, name, first=1000):
    """A transfer of which some bytes are under way; returns its data connection."""
    c.voidcmd("TYPE I")
    data = c.transfercmd(f"STOR {name}")
    data.sendall(BYTES[:first])
    return data


def test_a_crowd_uploads_into_memory(launch):
    """There the server does by itself what is more than a disk thread's share."""
    if subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], capture_output=True, text=True,
                      check=True).stdout.strip() != "tmpfs":
        pytest.skip("/dev/shm is no tmpfs")
    port, clients, each = free_port(), 8, 10

    def one(i):
        c = login(port)
        for k in range(each):
            c.storbinary(f"STOR {i}-{k}.bin", io.BytesIO(BYTES[i:]))
        c.close()

    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        d = launch.daemon(config(port), name=f"{place}/daemon")
        d.wait_line(r"in memory: .* \[ftp-in-memory\]")
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(one, range(clients)))
        assert all(stored(d, f"{i}-{k}.bin") == BYTES[i:] for i in range(clients) for k in range(each))
        assert len(os.listdir(d.data / "ftp" / USER)) == clients * each
        metrics = d.request("/metrics")[2].decode()
        count = re.search(r"^snapshotd_ftp_uploads_finished_total (\d+)$", metrics, re.M)
        assert int(count[1]) == clients * each
        assert d.stop() == 0


def test_a_file_arrives_and_the_daemon_shows_it(launch):
    port = free_port()
    d = launch.daemon(config(port, "create_dirs = front, back/yard"))
    c = login(port)
    assert c.getwelcome().startswith("220 ")
    c.storbinary("STOR deep/er/a.bin", io.BytesIO(BYTES))
    assert stored(d, "deep/er/a.bin") == BYTES
    assert c.size("deep/er/a.bin") == len(BYTES)
    got = io.BytesIO()
    c.retrbinary("RETR deep/er/a.bin", got.write)
    assert got.getvalue() == BYTES
    assert c.nlst("deep/er") in (["a.bin"], ["deep/er/a.bin"])
    assert (d.data / "ftp/uploads/back/yard").is_dir()

    ftp = d.get("/api/v1/status")["ftp"]
    assert (ftp["state"], ftp["listen"], ftp["sessions"], ftp["stored"], ftp["failed"]) == \
        ("running", f"127.0.0.1:{port}", 1, 1, 0)
    assert f"cameras push to 127.0.0.1:{port}; 1 session, 0 uploading; 1 stored" in status_text(d)
    metrics = d.request("/metrics")[2].decode()
    assert 'snapshotd_ftp_uploads_total{outcome="stored"} 1' in metrics
    assert f'snapshotd_ftp_bytes_total{{direction="received"}} {len(BYTES)}' in metrics
    line = d.wait_line(r"\[ftp-stored\]").string
    assert USER in line and '"/deep/er/a.bin"' in line and f"{len(BYTES)} bytes" in line
    assert PASSWORD not in d.text()
    c.quit()


def test_curl_pushes_in_every_mode(launch, tmp_path):
    port = free_port()
    d = launch.daemon(config(port))
    source = tmp_path / "source.bin"
    source.write_bytes(BYTES)
    for n, options in enumerate([[], ["--disable-epsv"], ["-P", "-"], ["-P", "-", "--disable-eprt"],
                                 ["--ftp-create-dirs"]]):
        subprocess.run(["curl", "-sS", "-T", source, *options, "--user", f"{USER}:{PASSWORD}",
                        f"ftp://127.0.0.1:{port}/curl{n}/a.bin" if n == 4 else
                        f"ftp://127.0.0.1:{port}/curl{n}.bin"], check=True, timeout=60)
        assert stored(d, "curl4/a.bin" if n == 4 else f"curl{n}.bin") == BYTES


def test_tls_explicit_and_implicit(launch, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    rabbit.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                   "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert)
    port, implicit = free_port(), free_port()
    d = launch.daemon(config(port, f"tls_cert_file = {cert}\ntls_key_file = {key}\n"
                                   f"tls_listen = 127.0.0.1:{implicit}\ntls = required"))
    with pytest.raises(ftplib.error_perm, match="5[35]0"):
        login(port)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    c = login(port, kind=ftplib.FTP_TLS, context=context)
    c.prot_p()
    c.storbinary("STOR tls.bin", io.BytesIO(BYTES))
    assert stored(d, "tls.bin") == BYTES
    c.set_pasv(False)
    c.storbinary("STOR active.bin", io.BytesIO(BYTES))
    assert stored(d, "active.bin") == BYTES
    c.quit()
    source = tmp_path / "source.bin"
    source.write_bytes(BYTES)
    for name, options, url in [("explicit", ["--ssl-reqd"], f"ftp://127.0.0.1:{port}"),
                               ("old", ["--ssl-reqd", "--tls-max", "1.2"], f"ftp://127.0.0.1:{port}"),
                               ("implicit", [], f"ftps://127.0.0.1:{implicit}")]:
        subprocess.run(["curl", "-sSk", "-T", source, *options, "--user", f"{USER}:{PASSWORD}",
                        f"{url}/{name}.bin"], check=True, timeout=60)
        assert stored(d, f"{name}.bin") == BYTES


def test_without_an_account_it_says_why_it_is_off(launch):
    d = launch.daemon("[detection]\nenabled = no\n")
    d.wait_line(r"cameras cannot push by FTP: no account with a password.*\[ftp-off\]")
    assert d.get("/api/v1/status")["ftp"]["state"] == "off"
    assert "ftp       off: no account with a password" in status_text(d)
    d.stop()


def test_a_reload_changes_accounts(launch):
    port = free_port()
    d = launch.daemon(config(port))
    old = login(port)
    d.config.write_text(config(port, password="another-password"))
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]")
    with pytest.raises((ftplib.error_temp, EOFError, OSError)):
        old.voidcmd("NOOP")
        old.voidcmd("NOOP")
    with pytest.raises(ftplib.error_perm, match="530"):
        login(port)
    login(port, "another-password").quit()


def test_a_stop_finishes_the_upload(launch):
    port = free_port()
    d = launch.daemon(config(port))
    c, idle = login(port), login(port)
    data = start_upload(c, "a.bin")
    d.signal(signal.SIGTERM)
    d.wait_line(r"\[stopping\]")
    assert idle.sock.recv(100).startswith(b"421 ")
    data.sendall(BYTES[1000:])
    data.close()
    assert c.voidresp().startswith("226")
    assert d.wait() == 0
    assert stored(d, "a.bin") == BYTES


def test_a_kill_leaves_an_unfinished_file_that_the_next_start_removes(launch):
    port = free_port()
    d = launch.daemon(config(port))
    folder = d.data / "ftp" / USER
    c = login(port)
    data = start_upload(c, "a.bin", len(BYTES))
    wait_until(lambda: list(folder.iterdir()), "the unfinished upload")
    d.kill()
    assert [p.name.startswith(".incoming-") for p in folder.iterdir()] == [True]
    data.close()
    d = launch.daemon(config(port))
    d.wait_line(r"1 unfinished upload of an earlier run removed \[ftp-cleaned\]")
    assert not list(folder.iterdir())


def test_sockets_of_the_service_manager_go_first(launch):
    port = free_port()
    d = launch.daemon(config(1), wrapper=[sys.executable, "-c", PASS_SOCKET, str(port)])
    c = login(port)
    c.storbinary("STOR a.bin", io.BytesIO(BYTES))
    assert stored(d, "a.bin") == BYTES
    assert d.get("/api/v1/status")["ftp"]["listen"] == f"127.0.0.1:{port}"
    c.quit()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_who_is_in_goes_on(launch):
    """Goal R13."""
    port = free_port()
    d = launch.daemon(config(port, "sessions_per_address = 1000"))
    c = login(port)
    data = start_upload(c, "a.bin")
    before = resource.prlimit(d.child.pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{d.child.pid}/fd"))
    resource.prlimit(d.child.pid, resource.RLIMIT_NOFILE, (used + 8, before[1]))
    crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    answers = [s.recv(100)[:3] for s in crowd[:20]]
    assert set(answers) <= {b"220", b"421"} and b"421" in answers
    lines, cpu, began = len(d.lines), cpu_seconds(d.child.pid), time.monotonic()
    data.sendall(BYTES[1000:])
    data.close()
    assert c.voidresp().startswith("226")
    wait_until(lambda: time.monotonic() > began + 2, "two seconds of it")
    took = time.monotonic() - began
    assert (cpu_seconds(d.child.pid) - cpu) / took < 0.05
    told = [line for line in d.lines[lines:] if "ftp-connection-refused" in line]
    assert len(told) <= took + 1, told
    for s in crowd:
        s.close()
    resource.prlimit(d.child.pid, resource.RLIMIT_NOFILE, before)
    freed = time.monotonic()

    def logs_in():
        try:
            login(port).quit()
            return True
        except (ftplib.Error, OSError, EOFError):
            return False

    wait_until(logs_in, "a login", 20)
    # The goal is 2 s; a loaded machine is slow at times.
    assert time.monotonic() - freed < (2 if os.environ.get("SNAPSHOT_FTP_FULL") == "1" else 4)
    assert stored(d, "a.bin") == BYTES


def test_a_port_that_is_taken_is_told_with_what_to_do(launch):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        d = launch.daemon(config(s.getsockname()[1]), wait=False)
        assert d.wait() == 1
    assert re.search(r"FTP server: \[ftp\] listen: .*the port is in use.*choose another port",
                     d.text())
