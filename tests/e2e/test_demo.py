"""`make demo`, as a person sees it, behind its set-up: what is asked for and what is pushed comes out of
the pipeline, and the summary says so."""

import os
import re
import subprocess

import pytest

from conftest import BINARY, FOOTAGE, PATIENCE, ROOT, default_model

SECONDS = 12  # of the demo; the cameras send a picture every 3 or 4 seconds
ASKED = ("front-door", "driveway", "garden")


def test_the_demo_shows_pictures_that_were_asked_for_and_pictures_that_were_pushed(tmp_path):
    if not default_model() or not all((FOOTAGE / name).exists() for name in ASKED):
        pytest.skip("no model or no footage: run tools/setup demo")
    # A build folder of its own, so that nobody's demo is in the way.
    program = tmp_path / "build/src/app/snapshotd"
    program.parent.mkdir(parents=True)
    program.symlink_to(BINARY)
    done = subprocess.run(
        [ROOT / "tools/demo"], capture_output=True, text=True, check=False, timeout=SECONDS + 2 * PATIENCE,
        env={k: v for k, v in {**os.environ, "BUILD": os.path.relpath(tmp_path / "build", ROOT),
                               "DEMO_SECONDS": str(SECONDS)}.items()
             if not k.startswith("RABBITMQ_")})
    text = done.stdout
    assert done.returncode == 0, text + done.stderr
    pushed = re.search(r"The camera porch pushed (\d+) pictures by FTP, and each came through\.", text)
    assert pushed and int(pushed[1]) >= 1, text
    rows = dict(re.findall(r"^  (\S+) +(\d+) +\d+ +\d+$", text, re.M))
    assert set(rows) == {*ASKED, "porch"} and all(int(n) >= 1 for n in rows.values()), text
    assert int(rows["porch"]) >= int(pushed[1])
    store = tmp_path / "build/demo/data/store"
    kept = [p for p in store.rglob("*.jpg") if p.relative_to(store).parts[0] == "porch"]
    assert len(kept) >= int(pushed[1]), "what came through is on the disk"
