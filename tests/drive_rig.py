"""Starts Google's Drive of ours for tests: in this process (a thread for each connection), or as a
process of its own when Python's lock would disturb what is measured."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

from fakes.drive import FakeDrive, RemoteDrive

PROGRAM = pathlib.Path(__file__).resolve().parent / "fakes/drive.py"


@contextlib.contextmanager
def drive_in_thread(**settings):
    """A FakeDrive."""
    with FakeDrive(**settings) as drive:
        yield drive


@contextlib.contextmanager
def drive_process(state=None, port=0, tls=None, **settings):
    """A RemoteDrive: the same methods over HTTP. `process` is the child; tls is the files of a
    certificate and its key (then it cannot be controlled unless Python trusts that)."""
    command = [sys.executable, str(PROGRAM), "--port", str(port)]
    if tls:
        command += ["--tls", *map(str, tls)]
    if state:
        command += ["--state", str(state)]
    for name, value in settings.items():
        command += ["--set", f"{name}={json.dumps(value)}"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()
        assert line.startswith("listening on "), f"the Drive did not start: {line!r}"
        drive = RemoteDrive(line.split()[-1])
        drive.process = child
        yield drive
    finally:
        child.terminate()
        child.wait(30)
        child.stdout.close()


def kept_wrong(drive, expected):
    """What is wrong with what is kept, line by line; empty when each of the expected pictures, a
    table of name: MD5, is there exactly once and whole, and nothing else is. For the end of a test:
    what is in the trash or in a trashed folder counts as not there."""
    there = {}
    for row in drive.pictures():
        there.setdefault(row["name"], []).append(row)
    wrong = [f"{name}: missing" for name in expected if name not in there]
    for name, rows in there.items():
        if name not in expected:
            wrong.append(f"{name}: not expected")
        elif len(rows) > 1:
            wrong.append(f"{name}: {len(rows)} times, in {', '.join(r['path'] for r in rows)}")
        elif rows[0]["md5Checksum"] != expected[name]:
            wrong.append(f"{name}: other content, {rows[0]['size']} bytes")
    folders = [r["path"] for r in drive.files(trashed=False)
               if r["mimeType"].endswith(".folder")]
    wrong += [f"folder {p}: twice" for p in sorted({p for p in folders if folders.count(p) > 1})]
    return sorted(wrong)


def write_login(drive, path, **how):
    """A credential file in the predecessor's form, good for this Drive."""
    path.write_text(json.dumps(drive.credentials(**how)))
    os.chmod(path, 0o600)
    return path


def config(drive, folder, login):
    """The [gdrive] section that points to this Drive."""
    origin = drive.origin()
    return (f"[gdrive]\nfolder = {folder}\ncreds_file = {login}\napi_url = {origin}\n"
            f"token_url = {origin}/token\nauth_url = {origin}/o/oauth2/v2/auth\n"
            f"device_url = {origin}/device/code\n")
