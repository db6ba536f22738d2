"""What strace says of the FTP server: its system calls in order, and calls made to fail or to kill."""

import contextlib
import dataclasses
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from conftest import SANITIZED, missing, wait_until

# Calls between the first byte of an upload and the event of its picture, the disk threads' as well as
# those of the spool and the ledger. An axe falls at the n-th, at most this one. `write` is how the
# bytes of an upload, and words between threads, are written.
POINTS = {"fsync": 60, "fdatasync": 60, "rename,renameat,renameat2": 60, "linkat": 30,
          "unlink,unlinkat": 40, "sendto,sendmsg": 400, "pwrite64": 200, "write,writev": 400}


def wrapper(log, *options):
    """Arguments to start a daemon under strace; the daemon stays the child of the test (-D)."""
    if not shutil.which("strace"):
        missing("strace")
    if SANITIZED:
        pytest.skip("the leak sanitizer does not work in a traced program")
    return ["strace", "-D", "-f", "-tt", "-y", "-qq", "-s", "64", "-o", str(log), *options]


@dataclasses.dataclass
class Call:
    thread: str
    name: str
    arguments: str
    result: int
    opened: str  # the path of the descriptor that it returned
    began: int  # line of the log in which it was entered
    ended: int  # and left


LINE = re.compile(r"(?P<thread>\d+) +\S+ (?:(?P<name>\w+)\((?P<rest>.*)|"
                  r"<\.\.\. (?P<resumed>\w+) resumed>(?P<more>.*))$")
RESULT = re.compile(r"\) += (-?\d+)(?:<(.*)>)?[^)]*(?:\(.*\))?$")


def calls(log):
    """In the order in which they ended."""
    pending, done = {}, []
    for number, line in enumerate(pathlib.Path(log).read_text(errors="replace").splitlines()):
        m = LINE.match(line)
        if not m:
            continue
        thread = m["thread"]
        if m["name"]:
            name, text, began = m["name"], m["rest"], number
            if text.endswith("<unfinished ...>"):
                pending[thread] = (name, text.removesuffix("<unfinished ...>"), began)
                continue
        else:
            if thread not in pending:
                continue
            name, text, began = pending.pop(thread)
            text += m["more"]
        result = RESULT.search(text)
        if result:
            done.append(Call(thread, name, text[:result.start()], int(result[1]), result[2] or "",
                             began, number))
    return done


def threads(pid, name):
    """Ids of the threads of a process that are called so."""
    found = []
    for comm in pathlib.Path(f"/proc/{pid}/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().strip().startswith(name):
                found.append(comm.parent.name)
    return found


class Attached:
    """strace on some threads only, as long as the block lasts: `inject` like
    "write:error=ENOSPC:when=3+5"."""

    def __init__(self, tids, inject, log):
        if not shutil.which("strace"):
            missing("strace")
        self.log = log
        self.argv = ["strace", "-tt", "-y", "-s", "64", "-o", str(log)]
        for tid in tids:
            self.argv += ["-p", tid]
        names = inject.split(":")[0]
        self.argv += ["-e", f"trace={names}", "-e", f"inject={inject}"]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stderr=subprocess.PIPE, text=True)
        # It says so on its standard error, once per thread.
        line = self.process.stderr.readline()
        if "attached" not in line:
            self.process.kill()
            self.process.communicate()
            pytest.skip(f"strace cannot attach here: {line.strip()}")
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()

    def injected(self):
        """Lines of the calls that were made to fail."""
        with contextlib.suppress(OSError):
            text = pathlib.Path(self.log).read_text(errors="replace")
            return [line for line in text.splitlines() if line.endswith("(INJECTED)")]
        return []

    def wait_injected(self, count=1):
        wait_until(lambda: len(self.injected()) >= count, f"{count} calls to fail")
