"""The n-th allocation fails: the program ends with a code and a sentence of its own, no signal.

Every n is tried as long as a command makes few allocations; of many, all of the first ones and an
even sample of the rest (the same one each time). MALLOC_SWEEP_ALL=1 tries all.
"""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD_ROOT", ROOT / "build"))
BINARY = pathlib.Path(os.environ.get("SNAPSHOTD", BUILD / "src/app/snapshotd"))
SECONDS_MAX = 20  # for one run; a command takes a fraction of a second
FIRST = 60  # all of these are tried
SAMPLE = 60  # and so many of the rest

CONFIG = """[camera:porch]
kind = http
url = http://127.0.0.1:1/a.jpg
user = admin
password = env:CAMERA_PASSWORD
"""
# A picture of one pixel; small, so that the sweep is about our allocations.
PICTURE = (b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00"
           b"!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

COMMANDS = {
    "check": ["check", "-c", "{dir}/snapshotd.conf"],
    "config-sample": ["config", "--sample"],
    "config-effective": ["config", "--effective", "-c", "{dir}/snapshotd.conf"],
    "detect": ["detect", "--json", "{dir}/pixel.gif"],
    "model-list": ["model", "list"],
}


@pytest.fixture(scope="session", name="preload")
def build_preload(tmp_path_factory):
    library = tmp_path_factory.mktemp("preload") / "malloc_fail.so"
    subprocess.run(["gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
                    "-fno-builtin", str(ROOT / "tests/fault/malloc_fail.c"), "-o", str(library)],
                   check=True)
    return library


def run(preload, folder, arguments, fail_at, always=False):
    """Returns exit code, standard error, and the number of allocations (None when it died)."""
    read_end, write_end = os.pipe()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "UTC", "CAMERA_PASSWORD": "canary",
        # The ONNX Runtime is C++ and ends the process in ways of its own when it has no memory: what
        # is swept here is our code, up to the point where it would be opened.
        "SNAPSHOTD_ONNXRUNTIME": str(folder / "none.so"),
        "LD_PRELOAD": str(preload), "MALLOC_FAIL_AT": str(fail_at),
        "MALLOC_FAIL_REPORT": str(write_end), "MALLOC_FAIL_ALWAYS": "1" if always else "",
    }
    try:
        result = subprocess.run(
            [str(BINARY)] + [a.format(dir=folder) for a in arguments], cwd=folder,
            env=environment, capture_output=True, timeout=SECONDS_MAX, check=False,
            pass_fds=[write_end])
    finally:
        os.close(write_end)
        with os.fdopen(read_end, "rb") as f:
            count = f.read()
    return result.returncode, result.stderr.decode("utf-8", "replace"), int(count or 0)


def chosen(count):
    if os.environ.get("MALLOC_SWEEP_ALL") or count <= FIRST + SAMPLE:
        return list(range(1, count + 1))
    rest = range(FIRST + 1, count + 1)
    return list(range(1, FIRST + 1)) + [rest[i * len(rest) // SAMPLE] for i in range(SAMPLE)]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_allocation_that_fails_is_an_ordinary_end(name, preload, tmp_path):
    if not BINARY.exists():
        pytest.skip(f"{BINARY} is not built")
    (tmp_path / "snapshotd.conf").write_text(CONFIG)
    (tmp_path / "pixel.gif").write_bytes(PICTURE)
    arguments = COMMANDS[name]
    help_code, _, _ = run(preload, tmp_path, [arguments[0], "--help"], 0)
    if help_code != 0:
        pytest.skip(f"this build has no `snapshotd {arguments[0]}`")
    good_code, good_text, count = run(preload, tmp_path, arguments, 0)
    assert good_code in (0, 1, 2), good_text
    assert count > 0, "the library was not preloaded"
    bad = []
    for n in chosen(count):
        for always in (False, True):
            code, text, _ = run(preload, tmp_path, arguments, n, always)
            where = f"allocation {n} of {count}{' and all later' if always else ''}"
            if code not in (0, 1, 2):
                bad.append(f"{where}: exit code {code}: {text.strip()[-200:]}")
            elif code != 0 and not text.strip():
                bad.append(f"{where}: exit code {code} without a word")
            assert "canary" not in text
    assert not bad, "\n".join(bad[:20])
