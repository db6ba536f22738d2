"""Every client that people have, unmodified, in every way that it can: each cell of the matrix uploads
a picture of its own, which must come out of the pipeline as an event.

A cell is a client, a protection and the way of its data connection:

    plain       no TLS               control    explicit TLS for commands, pictures in clear (PROT C)
    explicit    TLS for both         implicit   the same, from the first byte

    passive     PASV                 active     PORT
    extended    EPSV                 extended-active  EPRT
    passive6    EPSV over IPv6       active6    EPRT over IPv6
"""

import ftplib
import hashlib
import json
import os
import shutil
import socket
import subprocess

import pytest

import ftp_load
from conftest import ROOT, missing
from ftp_rig import PASSWORD, USER, Rig

PROTECTIONS = "plain", "control", "explicit", "implicit"
WAYS = "passive", "extended", "active", "extended-active", "passive6", "active6"
BASIC_FTP = ROOT / ".deps/basic-ftp"
SECONDS = 60


# ---- the clients ----
# Each takes a Cell and uploads cell.file as cell.name, or raises.

def curl(cell):
    url = f"{'ftps' if cell.implicit else 'ftp'}://{cell.host}:{cell.port}/{cell.name}"
    ways = {"passive": ["--disable-epsv"], "extended": [], "passive6": [],
            "active": ["--ftp-port", "-", "--disable-eprt"],
            "extended-active": ["--ftp-port", "-"], "active6": ["--ftp-port", "-"]}
    run(cell, "curl", "-sS", "--fail", "-k", "--user", f"{USER}:{PASSWORD}", "--ftp-create-dirs",
        *(["--ssl-reqd"] if cell.explicit else []), *(["--ftp-ssl-control"] if cell.control else []),
        *ways[cell.way], "-T", cell.file, url)


def lftp(cell):
    settings = {"ftp:passive-mode": "off" if "active" in cell.way else "on",
                "ftp:prefer-epsv": "on" if cell.way == "extended" else "off",
                "ftp:auto-passive-mode": "no", "ssl:verify-certificate": "no",
                "ftp:ssl-allow": "no" if cell.plain else "yes",
                "ftp:ssl-force": "yes" if cell.explicit or cell.control else "no",
                "ftp:ssl-protect-data": "no" if cell.control else "yes",
                "net:max-retries": "1", "net:timeout": "20", "cmd:fail-exit": "yes"}
    script = "".join(f"set {k} {v}; " for k, v in settings.items())
    url = f"{'ftps' if cell.implicit else 'ftp'}://{cell.host}:{cell.port}"
    run(cell, "lftp", "-c",
        f"{script} open -u {USER},{PASSWORD} {url}; put {cell.file} -o {cell.name}")


def ncftpput(cell):
    run(cell, "ncftpput", "-u", USER, "-p", PASSWORD, "-P", cell.port, "-r", "1", "-t", "20", "-V",
        "-E" if cell.way == "active" else "-F", "-C", cell.bare_host, cell.file, cell.name)


def tnftp(cell):
    toggle = cell.way in ("passive", "active")  # it says EPSV and EPRT unless told not to
    run(cell, "tnftp", "-n", "-v", "-A" if "active" in cell.way else "-p", cell.bare_host, cell.port,
        text=typed(cell, toggle))


def inetutils_ftp(cell):
    toggle = cell.way in ("extended", "extended-active")  # it says PASV and PORT unless told not to
    run(cell, "inetutils-ftp", "-n", "-v", "-A" if "active" in cell.way else "-p", cell.bare_host,
        cell.port, text=typed(cell, toggle))


def typed(cell, toggle):
    """What somebody types; the exit code says nothing then, but the picture does."""
    lines = [f"user {USER} {PASSWORD}", "binary", *(["epsv4"] if toggle else []),
             f"put {cell.file} {cell.name}", "bye"]
    return "".join(line + "\n" for line in lines)


class ImplicitFtp(ftplib.FTP_TLS):
    """The library knows no implicit TLS; this is how its users do it."""

    def connect(self, host="", port=0, timeout=-999, source_address=None):
        self.host, self.port, self.timeout = host, port, SECONDS
        self.sock = self.context.wrap_socket(socket.create_connection((host, port), SECONDS))
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome


def python_ftplib(cell):
    context = ftp_load.context()
    with ftplib.FTP(timeout=SECONDS) if cell.plain else \
            (ImplicitFtp if cell.implicit else ftplib.FTP_TLS)(context=context, timeout=SECONDS) as f:
        f.connect(cell.bare_host, cell.port)
        f.login(USER, PASSWORD, **({"secure": False} if cell.implicit else {}))
        if cell.explicit or cell.implicit:  # who forgets it sends his pictures in clear
            f.prot_p()
        f.set_pasv("active" not in cell.way)
        with open(cell.file, "rb") as content:
            assert f.storbinary(f"STOR {cell.name}", content).startswith("226")


def rclone(cell):
    hidden = subprocess.run(["rclone", "obscure", PASSWORD], capture_output=True, text=True,
                            check=True).stdout.strip()
    words = {"host": cell.host, "port": cell.port, "user": USER, "pass": hidden}
    options = [x for k, v in words.items() for x in (f"--ftp-{k}", str(v))]
    if cell.explicit:
        options.append("--ftp-explicit-tls")
    if cell.implicit:
        options.append("--ftp-tls")
    if cell.way == "passive":
        options.append("--ftp-disable-epsv")
    run(cell, "rclone", "--config", os.devnull, "--retries", "1", "--low-level-retries", "1",
        "--ftp-no-check-certificate", *options, "copyto", cell.file, f":ftp:{cell.name}")


def basic_ftp(cell):
    # Its EPSV is called after IPv6 and serves IPv4 as well.
    script = f"""
        const {{Client, enterPassiveModeIPv4, enterPassiveModeIPv6}} =
            require({json.dumps(str(BASIC_FTP))});
        (async () => {{
            const client = new Client(20000);
            await client.access({{host: "{cell.bare_host}", port: {cell.port}, user: "{USER}",
                password: "{PASSWORD}", secureOptions: {{rejectUnauthorized: false}},
                secure: {'"implicit"' if cell.implicit else str(cell.explicit).lower()}}});
            client.prepareTransfer = enterPassiveModeIPv{"4" if cell.way == "passive" else "6"};
            await client.uploadFrom("{cell.file}", "{cell.name}");
            client.close();
        }})().catch(e => {{ console.error(e); process.exit(1); }});"""
    run(cell, "node", "-e", script)


def run(cell, *argv, text=None):
    done = subprocess.run([str(a) for a in argv], input=text, capture_output=True, text=True,
                          errors="replace", timeout=SECONDS, check=False, cwd=cell.folder,
                          env={**os.environ, "HOME": str(cell.folder), "LC_ALL": "C"})
    assert done.returncode == 0, (f"{argv[0]} ended with {done.returncode}:\n"
                                  f"{done.stdout}{done.stderr}")


# ---- what they cannot do ----

NO_TLS = {p: "knows no TLS for FTP" for p in PROTECTIONS if p != "plain"}
NO_CLEAR = {"control": "protects pictures whenever it protects commands"}
# In 7.87 and 7.88 (Debian 12's) it forgets the TLS of a data connection that it took: curl issue 10666.
CURL_FORGETS_TLS = "sends a picture in clear over an active connection that it protects"


def curl_reason(protection, way):
    if protection in ("plain", "control") or "active" not in way or not shutil.which("curl"):
        return None
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True,
                             check=True).stdout.split()[1]
    return CURL_FORGETS_TLS if version.startswith(("7.87.", "7.88.")) else None


NO_ACTIVE = {w: "only opens data connections itself" for w in WAYS if "active" in w}
CLIENTS = {
    # name: (function, program, {protection or way: why not})
    "curl": (curl, "curl", {}),
    "lftp": (lftp, "lftp", {"extended-active": "says EPRT over IPv6 only"}),
    "ncftpput": (ncftpput, "ncftpput", {
        **NO_TLS, "extended": "says PASV only", "extended-active": "says PORT only",
        "passive6": "knows no IPv6", "active6": "knows no IPv6"}),
    "tnftp": (tnftp, "tnftp", NO_TLS),
    "inetutils-ftp": (inetutils_ftp, "inetutils-ftp", NO_TLS),
    "ftplib": (python_ftplib, None, {
        "extended": "says EPSV over IPv6 only", "extended-active": "says EPRT over IPv6 only"}),
    "rclone": (rclone, "rclone", {**NO_ACTIVE, **NO_CLEAR}),
    "basic-ftp": (basic_ftp, "node", {**NO_ACTIVE, **NO_CLEAR}),
}


# ---- the matrix ----

class Cell:
    def __init__(self, rig, folder, client, protection, way):
        self.client, self.protection, self.way, self.folder = client, protection, way, folder
        self.plain, self.control, self.explicit, self.implicit = (
            protection == p for p in PROTECTIONS)
        self.bare_host = "::1" if way.endswith("6") else "127.0.0.1"
        self.host = f"[{self.bare_host}]" if way.endswith("6") else self.bare_host
        self.port = rig.tls_port if self.implicit else rig.port
        self.name = f"{client}-{protection}-{way}.jpg"
        self.file = folder / self.name
        content = ftp_load.picture(self.name, 30_000)
        self.file.write_bytes(content)
        self.digest = hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def rig(tmp_path_factory, certificate):
    rig = Rig(tmp_path_factory.mktemp("clients"), tls=certificate, ipv6=has_ipv6())
    rig.start()
    yield rig
    assert rig.stop() == 0


@pytest.fixture(scope="module")
def strict_rig(tmp_path_factory, certificate):
    rig = Rig(tmp_path_factory.mktemp("strict"), ftp="tls = required", tls=certificate)
    rig.start()
    yield rig
    assert rig.stop() == 0


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
            return True
    except OSError:
        return False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protection", PROTECTIONS)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_picture_comes_out_of_the_pipeline(rig, tmp_path, client, protection, way):
    upload, _, reasons = CLIENTS[client]
    reason = reasons.get(protection) or reasons.get(way) or (
        curl_reason(protection, way) if client == "curl" else None)
    if reason:
        pytest.skip(f"{client} {reason}")
    if way.endswith("6") and not has_ipv6():
        pytest.skip("no IPv6 here")
    be_installed(client)
    cell = Cell(rig, tmp_path, client, protection, way)
    seen = len(rig.daemon.lines)
    try:
        upload(cell)
        rig.wait_for(cell.digest)
    except AssertionError as e:
        raise AssertionError(f"{e}\n---- daemon\n" + "\n".join(rig.daemon.lines[seen:])) from e


@pytest.mark.parametrize("client", ["curl", "ftplib"])
def test_pictures_in_clear_are_refused_where_tls_is_required(strict_rig, tmp_path, client):
    """So it is true of these clients that they sent them in clear above. lftp changes its mind: it
    hears 522, says PROT P, and sends them all the same."""
    be_installed(client)
    cell = Cell(strict_rig, tmp_path, client, "control", "passive")
    with pytest.raises((AssertionError, ftplib.error_perm)):
        CLIENTS[client][0](cell)
    assert not strict_rig.uploaded() and not strict_rig.found()


def be_installed(client):
    program = CLIENTS[client][1]
    if program and not shutil.which(program) or client == "basic-ftp" and not BASIC_FTP.exists():
        missing(client)
