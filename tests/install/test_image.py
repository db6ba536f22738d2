"""The Dockerfile's steps, done in folders instead of by a container engine, which the machines that
test need not have: each stage is a chroot, and what comes out runs as the image says, with a root
that cannot be written."""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil

import pytest

from debian import ROOT, Debian, why_not

PATIENCE = 120
# Downloads that this machine has already, so that a test need not repeat them.
CACHE = pathlib.Path(os.environ.get("SNAPSHOT_CACHE",
                                    pathlib.Path.home() / ".cache/snapshot-processor"))
CACHE_INSIDE = "/var/cache/snapshot-processor"
CACHED = ("onnxruntime", "centernet")


def instructions(text):
    """[(WORD, rest)] of a Dockerfile, lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", text).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.splitlines() if line.strip()]


def is_ignored(path, patterns):
    parts = pathlib.PurePath(path).parts
    heads = ["/".join(parts[:n + 1]) for n in range(len(parts))]
    return any(fnmatch.fnmatchcase(head, p) or
               (p.startswith("**/") and fnmatch.fnmatchcase(head.rsplit("/", 1)[-1], p[3:]))
               for p in patterns for head in heads)


class Stage:
    """One FROM, in a chroot."""

    def __init__(self, folder, others):
        self.debian = Debian(folder)
        self.others = others
        self.work, self.settings, self.name = "/", {}, None

    def do(self, word, rest):
        handler = getattr(self, "do_" + word.lower(), None)
        assert handler, f"this subset has no {word}"
        handler(rest)

    def do_run(self, rest):
        self.debian.run(f"export SNAPSHOT_CACHE={CACHE_INSIDE}; {rest}", work=self.work)

    def do_workdir(self, rest):
        self.work = rest
        self.debian.path(rest).mkdir(parents=True, exist_ok=True)

    def do_copy(self, rest):
        words = shlex.split(rest)
        source = ROOT
        if words[0].startswith("--from="):
            source = self.others[words.pop(0).removeprefix("--from=")].debian.folder
        *froms, to = words
        target = self.debian.path(os.path.join(self.work, to))
        for name in froms:
            self.copy_one(source, name.lstrip("/"), target, to.endswith("/"))

    def copy_one(self, source, name, target, into):
        path = source / name
        if path.is_file():
            place = target / path.name if into else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
            return
        patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines()
                    if line and not line.startswith("#")] if source == ROOT else []

        def ignored(folder, names):
            return [n for n in names
                    if is_ignored(os.path.relpath(os.path.join(folder, n), source), patterns)]

        shutil.copytree(path, target, dirs_exist_ok=True, symlinks=True, ignore=ignored)

    def keep(word):  # pylint: disable=no-self-argument
        def handler(self, rest):
            self.settings[word] = rest
        return handler

    do_user, do_volume, do_expose = keep("USER"), keep("VOLUME"), keep("EXPOSE")
    do_stopsignal, do_healthcheck = keep("STOPSIGNAL"), keep("HEALTHCHECK")
    do_entrypoint, do_cmd = keep("ENTRYPOINT"), keep("CMD")


@pytest.fixture(name="image", scope="module")
def build(tmp_path_factory):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    stages, stage = {}, None
    for word, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if word != "FROM":
            stage.do(word, rest)
            continue
        base, _, name = rest.partition(" AS ")
        assert base == "debian:bookworm-slim"
        stage = Stage(folder / (name or "last"), stages)
        stages[name or "last"] = stage
        if name:
            for part in CACHED:
                if (CACHE / part).is_dir():
                    shutil.copytree(CACHE / part, stage.debian.path(
                        f"{CACHE_INSIDE}/{part}"))
    yield stage
    shutil.rmtree(folder, ignore_errors=True)


def words(setting):
    return json.loads(setting[setting.index("["):])


def test_it_has_no_compiler_no_sources_and_no_user_to_log_in(image):
    for name in ("/usr/bin/gcc", "/usr/bin/make", "/src", "/usr/bin/npm"):
        assert not image.debian.path(name).exists(), name
    assert image.debian.status("/data") == "700 snapshotd:snapshotd"
    assert image.debian.run("getent passwd 999").strip().endswith(":/data:/usr/sbin/nologin")


def test_it_runs_as_a_user_that_has_no_rights(image):
    assert image.settings["USER"] == "999:999"


def test_all_libraries_are_there(image):
    assert "not found" not in image.debian.run(
        "ldd /usr/bin/snapshotd $(find /usr/lib -name libonnxruntime.so)")
    assert image.debian.run("find /usr/lib -name libonnxruntime.so").strip()


def test_its_configuration_is_good(image):
    told = image.debian.run("cd /data && setpriv --reuid 999 --regid 999 --clear-groups "
                            "snapshotd check")
    assert "/data/store" in told


def test_it_becomes_healthy_on_a_read_only_root_and_ends_in_order(image):
    """As the compose file starts it: no capability, no new privileges, only /data and /tmp to write
    to."""
    start = " ".join(map(shlex.quote, words(image.settings["ENTRYPOINT"])
                         + words(image.settings["CMD"])))
    health = " ".join(words(image.settings["HEALTHCHECK"]))
    user = "setpriv --reuid 999 --regid 999 --clear-groups --no-new-privs --bounding-set=-all"
    told = image.debian.run(f"""
        mount --bind / /mnt && mount -t tmpfs none /mnt/tmp && mount --bind /data /mnt/data
        mount -t proc proc /mnt/proc && mount -o remount,bind,ro /mnt
        cat >/tmp/inside <<'END'
        cd /data
        touch /usr/written 2>/dev/null && echo "the root can be written"
        {start} >/tmp/log 2>&1 &
        for i in $(seq {PATIENCE}); do
            if {health} >/dev/null 2>&1; then echo healthy; break; fi
            sleep 0.5
        done
        grep -h -E '^(Cap(Prm|Eff)|Seccomp|NoNewPrivs):' /proc/$!/status
        kill -TERM $!; wait $!; echo "ended with $?"; cat /tmp/log
END
        cp /tmp/inside /mnt/data/inside
        chroot /mnt {user} /bin/sh /data/inside
        rm -f /data/inside""")
    assert "healthy\n" in told and "ended with 0" in told, told
    assert "can be written" not in told
    assert "detector: centernet-512.onnx" in told
    assert re.search(r"CapEff:\s+0+\n", told) and re.search(r"Seccomp:\s+2\n", told), told
