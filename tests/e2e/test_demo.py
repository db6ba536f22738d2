"""`make demo`, as a person sees it, behind its set-up: what is asked for and what is pushed comes out of
the pipeline, and the summary says so."""

import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest

from conftest import BINARY, FOOTAGE, PATIENCE, ROOT, default_model, wait_until

SECONDS = 12  # of the demo; the cameras send a picture every 3 or 4 seconds
ASKED = ("front-door", "driveway", "garden")


@pytest.fixture
def demo(tmp_path):
    """(the folder it works in, the environment that it is called with)"""
    if not default_model() or not all((FOOTAGE / name).exists() for name in ASKED):
        pytest.skip("no model or no footage: run tools/setup demo")
    # A build folder of its own, so that nobody's demo is in the way.
    program = tmp_path / "build/src/app/snapshotd"
    program.parent.mkdir(parents=True)
    program.symlink_to(BINARY)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "DEMO_"))}
    return tmp_path / "build/demo", {**env, "BUILD": os.path.relpath(tmp_path / "build", ROOT)}


def test_the_demo_shows_pictures_that_were_asked_for_and_pictures_that_were_pushed(demo):
    folder, env = demo
    done = subprocess.run(
        [ROOT / "tools/demo"], capture_output=True, text=True, check=False,
        timeout=SECONDS + 2 * PATIENCE, env={**env, "DEMO_SECONDS": str(SECONDS)})
    text = done.stdout
    assert done.returncode == 0, text + done.stderr
    pushed = re.search(r"The camera porch pushed (\d+) pictures by FTP, and each came through\.", text)
    assert pushed and int(pushed[1]) >= 1, text
    rows = dict(re.findall(r"^  (\S+) +(\d+) +\d+ +\d+$", text, re.M))
    assert set(rows) == {*ASKED, "porch"} and all(int(n) >= 1 for n in rows.values()), text
    assert int(rows["porch"]) >= int(pushed[1])
    store = folder / "data/store"
    kept = [p for p in store.rglob("*.jpg") if p.relative_to(store).parts[0] == "porch"]
    assert len(kept) >= int(pushed[1]), "what came through is on the disk"


def get(url, accept="*/*"):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}),
                                timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_what_the_demo_says_to_look_at_shows_its_pictures_until_ctrl_c(demo, tmp_path):
    said = tmp_path / "said.txt"
    with open(said, "wb") as to:
        running = subprocess.Popen([ROOT / "tools/demo"], stdout=to, stderr=to, env=demo[1],
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        address = wait_until(lambda: re.search(r"Look at it in a browser:  (http://[0-9.:]+) ",
                                               said.read_text()), "the address")[1]
        kind, page = get(address, "text/html")
        assert kind.startswith("text/html") and b"<!doctype html>" in page.lower()
        for script in re.findall(rb'(?:src|href)="(/[^"]+)"', page):
            assert get(address + script.decode())[1], script
        seen = {}
        for name in (*ASKED, "porch"):
            at = f"{address}/api/v1/snapshots?camera={name}&state=examined"
            found = wait_until(lambda: json.loads(get(at)[1])["snapshots"], f"a picture of {name}")
            seen[name] = found[-1]
        for name, picture in seen.items():
            for link in (picture["links"]["image"], picture["links"]["thumbnail"]):
                kind, body = get(address + link)
                assert kind == "image/jpeg" and body.startswith(b"\xff\xd8"), (name, link)
        assert running.poll() is None
    finally:
        running.send_signal(signal.SIGINT)
        try:
            code = running.wait(PATIENCE)
        finally:
            running.terminate()  # it stops what it started
    assert code == 0 and "Everything is kept in" in said.read_text(), said.read_text()
