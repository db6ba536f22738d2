"""The program as `make install` leaves it: complete, wherever it is put, and keeping to itself."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", ROOT / "build"))


@pytest.fixture(name="prefix", scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    if not shutil.which("meson"):
        pytest.skip("no meson")
    done = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program, = folder.glob("**/bin/snapshotd")
    return program.parents[1]


def run(prefix, home, *arguments):
    """From / with an empty home: nothing of the source tree is in reach by accident."""
    return subprocess.run([prefix / "bin/snapshotd", *arguments], cwd="/", check=False, text=True,
                          capture_output=True, env={"HOME": str(home), "PATH": "/usr/bin:/bin"})


def test_it_carries_its_documents(prefix):
    documents = prefix / "share/doc/snapshot-processor"
    for name in ("README.md", "LICENSE", "configuration.md", "snapshot-processor.conf.sample"):
        assert (documents / name).is_file()


def test_it_starts(prefix, tmp_path):
    done = run(prefix, tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("snapshotd ")


def test_it_finds_its_own_model_and_leaves_nothing_behind(prefix, tmp_path):
    picture = ROOT / "footage/front-door/001.jpg"
    for path in (picture, ROOT / "models/centernet-512.onnx"):
        if not path.exists():
            pytest.skip(f"no {path.relative_to(ROOT)}: tools/setup demo")
    if not list(prefix.glob("**/libonnxruntime.so")):
        pytest.skip("no ONNX Runtime on this machine")
    listed = run(prefix, tmp_path, "model", "list")
    assert str(prefix / "share/snapshot-processor/models") in listed.stdout
    done = run(prefix, tmp_path, "detect", "--json", picture)
    assert done.returncode == 0, done.stderr
    assert '"person"' in done.stdout
    # The runtime's own record keeping and identifier would be here.
    assert not list(tmp_path.iterdir())
