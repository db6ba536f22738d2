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
def drive_process(state=None, port=0, **settings):
    """A RemoteDrive: the same methods over HTTP. `process` is the child."""
    command = [sys.executable, str(PROGRAM), "--port", str(port)]
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
