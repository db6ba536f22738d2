"""`snapshotd passwd`: by a pipe as scripts use it, and on a terminal as a person does."""

import os
import pathlib
import pty
import select
import signal
import subprocess
import termios

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SNAPSHOTD", ROOT / "build/src/app/snapshotd"))
SECONDS_MAX = 30  # nothing here takes a tenth of one


def run(text, *arguments):
    return subprocess.run([BINARY, "passwd", *arguments], input=text, text=True, timeout=SECONDS_MAX,
                          capture_output=True)


@pytest.mark.parametrize("text", ["correct horse\n", "correct horse", "correct horse\r\n",
                                  "correct horse\nanother line\n"])
def test_a_hash_of_one_line_is_printed_that_the_configuration_takes(tmp_path, text):
    done = run(text)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("$y$") and done.stdout.count("\n") == 1
    file = tmp_path / "x.conf"
    file.write_text(f"[ftp_account:porch]\npassword = {done.stdout}")
    checked = subprocess.run([BINARY, "check", "-c", file], text=True, timeout=SECONDS_MAX,
                             capture_output=True, cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("text, words", [
    ("geheim1\n", "at least 8 characters"), ("", "at least 8 characters"),
    ("PassWord\n", "everybody tries first"), ("x" * 5000, "at most 511 bytes"),
    ("x" * 512 + "\n", "at most 511 bytes"), ("$y$j9T$cut$short\n", "begins like a hash"),
])
def test_a_password_that_is_no_good_is_refused_and_not_shown(text, words):
    done = run(text)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert not text.strip() or text.strip() not in done.stderr


def test_the_longest_password_is_taken():
    done = run("abcdefg" * 73 + "\n")  # 511 bytes
    assert (done.returncode, done.stderr) == (0, "")


def test_the_users_name_is_no_password():
    assert "the user's name" in run("porch-cam\n", "--user", "porch-cam").stderr
    assert run("porch-cam\n", "--user", "other").returncode == 0


def test_a_hash_is_not_hashed_again():
    done = run(run("correct horse\n").stdout)
    assert done.returncode == 1 and "a hash already" in done.stderr


def test_a_password_as_an_argument_is_wrong_usage():
    done = run("", "correct horse")
    assert done.returncode == 2 and "standard input" in done.stderr


class Terminal:
    def __init__(self):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen([BINARY, "passwd"], stdin=theirs, stderr=theirs,
                                        stdout=subprocess.PIPE, text=True)
        self.theirs = theirs
        self.seen = ""

    def wait_for(self, words):
        while words not in self.seen:
            assert select.select([self.ours], [], [], SECONDS_MAX)[0], self.seen
            self.seen += os.read(self.ours, 1000).decode()

    def shows_what_is_typed(self):
        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def type(self, text):
        os.write(self.ours, text.encode())

    def end(self):
        output = self.process.communicate(timeout=SECONDS_MAX)[0]
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 1000).decode()
        return self.process.returncode, output

    def close(self):
        self.process.kill()
        self.process.communicate()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal():
    t = Terminal()
    yield t
    t.close()


def test_a_person_is_asked_twice_and_nothing_is_shown(terminal):
    terminal.wait_for("Password: ")
    assert not terminal.shows_what_is_typed()
    terminal.type("correct horse\n")
    terminal.wait_for("Again: ")
    terminal.type("correct horse\n")
    status, output = terminal.end()
    assert status == 0 and output.startswith("$y$")
    assert "correct" not in terminal.seen
    assert terminal.shows_what_is_typed()


def test_a_slip_is_noticed(terminal):
    terminal.wait_for("Password: ")
    terminal.type("correct horse\n")
    terminal.wait_for("Again: ")
    terminal.type("correct house\n")
    assert terminal.end() == (1, "")
    assert "the two are not the same" in terminal.seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_gives_up_gets_his_terminal_back(terminal, number):
    terminal.wait_for("Password: ")
    assert not terminal.shows_what_is_typed()
    terminal.process.send_signal(number)
    assert terminal.end() == (-number, "")
    assert terminal.shows_what_is_typed()
