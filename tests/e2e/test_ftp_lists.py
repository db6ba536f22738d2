"""Lists as clients read them: what lies in a folder must come out of their parsers as it is."""

import ftplib
import os
import shutil
import subprocess
import time

import pytest

from conftest import missing

ACCOUNT, PASSWORD = "archive", "archive-password"
SECONDS = 60
NOW = int(time.time())
# Name: (bytes, time). In long lists a time of the last months has minutes, an older one has its day.
FILES = {
    "recent.bin": (5, NOW - 3 * 86400),
    "old.bin": (123456, 1551441600),
    "empty.txt": (0, NOW - 3600),
    "two words and more.txt": (17, NOW - 7200),
    "\u00fcber-\u96ea.txt": (3, 1600000000),
    "-dash.txt": (1, 1500000000),
    "film 2026-01-02 03:04.mp4": (70000, NOW - 86400),
}
FOLDERS = {"folder": {"inner.bin": (4711, 1577934245)}, "second folder": {}}
HERE = {**FILES, **{name: None for name in FOLDERS}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from ftp_rig import Rig
    rig = Rig(tmp_path_factory.mktemp("lists"), more=f"[ftp_account:{ACCOUNT}]\n"
              f"password = {PASSWORD}\nrights = list, read\n")
    rig.start()
    top = rig.root / ACCOUNT
    for name, inside in FOLDERS.items():
        (top / name).mkdir(parents=True)
        fill(top / name, inside)
    fill(top, FILES)
    yield rig
    assert rig.stop() == 0


def fill(folder, files):
    for name, (size, modified) in files.items():
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (modified, modified))


def run(folder, *argv):
    if not shutil.which(argv[0]):
        missing(argv[0])
    done = subprocess.run([str(a) for a in argv], capture_output=True, timeout=SECONDS, check=False,
                          cwd=folder, env={**os.environ, "HOME": str(folder), "TZ": "UTC",
                                           "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}: {done.stderr.decode()}"
    return done.stdout.decode()


def lftp(server, folder, mlsd, commands):
    settings = {"ftp:use-mlsd": mlsd, "ssl:verify-certificate": "no", "net:max-retries": "1",
                "net:timeout": "20", "cmd:fail-exit": "yes", "ftp:ssl-allow": "no"}
    script = "".join(f"set {k} {v}; " for k, v in settings.items())
    return run(folder, "lftp", "-c", f"{script} open -u {ACCOUNT},{PASSWORD} "
               f"ftp://127.0.0.1:{server.port}; {commands}")


by_mlsd_or_list = pytest.mark.parametrize("mlsd", ["yes", "no"], ids=["MLSD", "LIST"])


@by_mlsd_or_list
def test_lftp_reads_names_kinds_and_sizes(server, tmp_path, mlsd):
    out = lftp(server, tmp_path, mlsd, "cls -1 --size --block-size=1 --classify")
    got = dict(reversed(line.strip().split(" ", 1)) for line in out.splitlines()
               if not line.rstrip().endswith("/"))
    assert {name: int(size) for name, size in got.items()} == {n: s for n, (s, _) in FILES.items()}
    folders = {line.strip().rstrip("/").lstrip("0123456789 ") for line in out.splitlines()
               if line.rstrip().endswith("/")}
    assert folders == set(FOLDERS)


@by_mlsd_or_list
def test_lftp_mirrors_the_whole_tree(server, tmp_path, mlsd):
    lftp(server, tmp_path, mlsd, "mirror . copy")
    copy = tmp_path / "copy"
    assert set(os.listdir(copy)) == set(HERE)
    for folder, files in [(copy, FILES), *((copy / n, inside) for n, inside in FOLDERS.items())]:
        for name, (size, modified) in files.items():
            st = (folder / name).stat()
            assert st.st_size == size, name
            slack = 0 if mlsd == "yes" else 86400
            assert abs(st.st_mtime - modified) <= slack, (name, st.st_mtime, modified)


def rclone(server, folder, mlsd, *command):
    if not shutil.which("rclone"):
        missing("rclone")
    hidden = subprocess.run(["rclone", "obscure", PASSWORD], capture_output=True, text=True,
                            check=True).stdout.strip()
    return run(folder, "rclone", "--config", os.devnull, "--retries", "1", "--ftp-host", "127.0.0.1",
               "--ftp-port", server.port, "--ftp-user", ACCOUNT, "--ftp-pass", hidden,
               *([] if mlsd == "yes" else ["--ftp-disable-mlsd"]), *command)


@by_mlsd_or_list
def test_rclone_reads_names_sizes_and_times(server, tmp_path, mlsd):
    out = rclone(server, tmp_path, mlsd, "lsf", "--recursive", "--format", "pst", "--separator", "|",
                 ":ftp:")
    got = {}
    for line in out.splitlines():
        name, size, stamp = line.split("|")
        got[name] = None if name.endswith("/") else (int(size), stamp)
    wanted = {**FILES, **{f"{folder}/{name}": what for folder, inside in FOLDERS.items()
                          for name, what in inside.items()}}
    assert set(got) == set(wanted) | {f"{folder}/" for folder in FOLDERS}
    for name, (size, modified) in wanted.items():
        assert got[name][0] == size
        if mlsd == "yes":
            assert got[name][1] == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(modified))
        else:  # the day, which every long list has
            assert got[name][1][:10] == time.strftime("%Y-%m-%d", time.gmtime(modified))


def test_ftplib_reads_facts(server):
    with ftplib.FTP(timeout=SECONDS) as f:
        f.connect("127.0.0.1", server.port)
        f.login(ACCOUNT, PASSWORD)
        facts = dict(f.mlsd())
        names = f.nlst()
        assert {n: w["type"] for n, w in facts.items()} == {
            name: "file" if what else "dir" for name, what in HERE.items()}
        for name, (size, modified) in FILES.items():
            assert int(facts[name]["size"]) == size
            assert facts[name]["modify"] == time.strftime("%Y%m%d%H%M%S", time.gmtime(modified))
        assert len({w["unique"] for w in facts.values()}) == len(HERE)
        assert set(names) == set(HERE)
        assert [n for n, _ in f.mlsd("second folder")] == []


def test_curl_reads_names(server, tmp_path):
    url = f"ftp://127.0.0.1:{server.port}"
    login = "--user", f"{ACCOUNT}:{PASSWORD}"
    assert set(run(tmp_path, "curl", "-sS", *login, "-l", f"{url}/").splitlines()) == set(HERE)
    assert run(tmp_path, "curl", "-sS", *login, "-l", f"{url}/folder/").splitlines() == ["inner.bin"]
    lines = run(tmp_path, "curl", "-sS", *login, f"{url}/").splitlines()
    assert len(lines) == len(HERE) and all(line[0] in "-d" for line in lines)
