"""Completion in the shells that it is for, and manual pages without a warning of roff."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import BINARY

CONFIG = "[camera:porch]\nkind = http\nurl = http://127.0.0.1:1/\n[camera:garage]\nkind = push\n"
COMMANDS = re.findall(r"^  ([a-z-]+) ", subprocess.run(
    [BINARY, "--help"], capture_output=True, text=True, check=True).stdout, re.M)


@pytest.fixture
def place(tmp_path):
    """A folder with a configuration, pictures, and the program in its PATH."""
    (tmp_path / "snapshot-processor.conf").write_text(CONFIG)
    (tmp_path / "one.jpg").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/snapshotd").symlink_to(BINARY)
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([BINARY, "completion", shell], capture_output=True, check=True)
        (tmp_path / f"script.{shell}").write_bytes(script.stdout)
    return tmp_path


def run(place, *argv, **keys):
    env = {"PATH": f"{place}/bin:{os.environ['PATH']}", "HOME": str(place), "LC_ALL": "C.UTF-8",
           "TERM": "dumb"}
    done = subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, timeout=60,
                          check=False, **keys)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def bash(place, line):
    """What bash offers behind this line."""
    words = line.split(" ")
    quoted = " ".join(f"'{w}'" for w in words)
    return run(place, "bash", "--norc", "-c",
               f"source script.bash; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; "
               "_snapshotd; printf '%s\\n' \"${COMPREPLY[@]}\"").split()


ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -D; source script.zsh; setopt no_beep'
# Each call that adds matches says them; those that only fill an array (-O, -A, -D) add none.
zpty -w shell 'compadd() {
    [[ ${argv[(r)-[OAD]]} ]] || { local -a hits; builtin compadd -A hits "$@"; print -rl -- HIT:$^hits }
    builtin compadd "$@"
}'
zpty -w shell 'offer() { print; zle list-choices; print; print END; exit }'
zpty -w shell 'zle -N offer; bindkey "^I" offer; stty -echo; print READY'
zpty -r shell answer $'*\nREADY*'
zpty -n -w shell "$1"$'\t'
zpty -r shell answer '*END*'
print -r -- $answer
"""


def zsh(place, line):
    """What zsh offers: its completion needs a terminal, which it makes itself (zpty)."""
    text = run(place, "zsh", "-f", "-c", ZSH, "zsh", line)
    return re.findall(r"^HIT:(.+)", text.replace("\r", ""), re.M)


def fish(place, line):
    return [row.split("\t")[0] for row in run(
        place, "fish", "--no-config", "-c", f"source script.fish; complete -C '{line}'")
        .splitlines()]


needs_fish = pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
needs_zsh = pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
SHELLS = [bash, pytest.param(zsh, marks=needs_zsh), pytest.param(fish, marks=needs_fish)]


@pytest.mark.parametrize("offer", SHELLS)
def test_commands_are_offered(place, offer):
    assert set(COMMANDS) <= set(offer(place, "snapshotd "))
    assert offer(place, "snapshotd int") == ["integrity"]


@pytest.mark.parametrize("offer", SHELLS)
@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_those_of_help(place, offer, command):
    text = run(place, "snapshotd", command, "--help")
    there_are = set(re.findall(r"^  (?:-.,|   ) (--[a-z0-9-]+)", text, re.M)) | {"--help"}
    assert {o for o in offer(place, f"snapshotd {command} --") if o.startswith("--")} == there_are


@pytest.mark.parametrize("offer", SHELLS)
def test_words_files_and_cameras_are_offered_where_they_belong(place, offer):
    assert sorted(offer(place, "snapshotd trigger ")) == ["garage", "porch"]
    assert offer(place, "snapshotd trigger --wait 5 po") == ["porch"]
    assert sorted(offer(place, "snapshotd completion ")) == ["bash", "fish", "zsh"]
    assert "sha-256" in offer(place, "snapshotd camera-sim --digest ")
    assert "one.jpg" in offer(place, "snapshotd detect o")
    assert "snapshot-processor.conf" in offer(place, "snapshotd run -c snap")
    assert {x.rstrip("/") for x in offer(place, "snapshotd detect --annotate f")} == {"folder"}
    assert offer(place, "snapshotd run --set ") in ([], [""])


def test_bash_asks_the_configuration_that_the_line_names(place):
    (place / "other.conf").write_text("[camera:roof]\nkind = push\n")
    assert bash(place, "snapshotd trigger -c other.conf ") == ["roof"]
    assert bash(place, "snapshotd trigger -c none.conf ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_without_a_fault_of_syntax(place, shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    assert run(place, shell, "-n", f"script.{shell}") == ""


@pytest.mark.parametrize("page", ["snapshotd", "snapshotd.conf"])
def test_manual_pages_are_without_a_warning(place, page):
    roff = run(place, "snapshotd", "man", page)
    assert roff.isascii() or roff.encode("utf-8")
    run(place, "groff", "-ww", "-k", "-man", "-Tutf8", input=roff)
    text = run(place, "man", "-l", "--warnings=w", "-", input=roff)
    assert text.startswith(f"{page}(")


def test_the_manual_has_every_command_and_every_option(place):
    text = run(place, "man", "-l", "-", input=run(place, "snapshotd", "man"))
    for command in COMMANDS:
        assert f"snapshotd {command} " in text
        for option in re.findall(r"--[a-z0-9-]+", run(place, "snapshotd", command, "--help")):
            assert option in text, (command, option)


def test_the_manual_has_every_key_of_the_reference(place):
    text = run(place, "snapshotd", "man", "snapshotd.conf")
    reference = run(place, "snapshotd", "config", "--reference")
    keys = re.findall(r"^\| `([^`]+)` \| ", reference.split("## Sections")[1], re.M)
    assert len(keys) > 100
    for key in keys:
        assert f"\\fB{key}\\fR\n" in text, key


def test_a_page_or_shell_that_there_is_not_is_wrong_usage(tmp_path):
    for argv in (["man", "ls"], ["completion", "csh"], ["completion"], ["man", "--section"]):
        done = subprocess.run([BINARY, *argv], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 2 and b"Usage: snapshotd" in done.stderr


def test_an_installation_has_them_in_place(tmp_path):
    build = pathlib.Path(BINARY).parents[2]
    if not (build / "doc/snapshotd.1").exists():
        pytest.skip("a build with a sanitizer makes none")
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir",
                    tmp_path], check=True, capture_output=True)
    there = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*snapshotd*") if p.is_file()}
    prefix = "usr/local/share/"
    assert {prefix + "man/man1/snapshotd.1", prefix + "man/man5/snapshotd.conf.5",
            prefix + "bash-completion/completions/snapshotd",
            prefix + "zsh/site-functions/_snapshotd",
            prefix + "fish/vendor_completions.d/snapshotd.fish"} <= there
