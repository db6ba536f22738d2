"""The driver program of the storage tests, and what its pictures look like."""

import hashlib
import os
import pathlib
import re
import subprocess

from conftest import PATIENCE, ROOT, Process

DRIVER = pathlib.Path(os.environ.get("BUILD_ROOT", ROOT / "build")) / "tests/storage/storage_drive"


def picture(name, size):
    """The bytes that the driver makes of a name and a size."""
    seed = hashlib.md5(f"{name} {size}".encode()).hexdigest()
    return (seed * (size // 32 + 1))[:size].encode()


class Storage(Process):
    """tests/storage/storage_drive.c with one storage; `notes` outlives it as a ledger would."""

    def __init__(self, folder, config, notes="notes", name=""):
        folder.mkdir(exist_ok=True)
        path = folder / "storage.conf"
        path.write_text(config)
        super().__init__([DRIVER], folder / "driver.log", stdin=subprocess.PIPE)
        self.do(f"open {path} {folder} {folder / notes} {name}")

    def say(self, command, patience=PATIENCE):
        """The answer, "ok ..." or "error ..."."""
        start = len(self.lines)
        self.begin(command)
        return self.wait_line(rf"^(ok|error) {command.split()[0]}\b.*", start, patience).group(0)

    def begin(self, command):
        """Says it and waits for nothing."""
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()

    def do(self, command, patience=PATIENCE):
        """What follows "ok COMMAND "; an error fails the test."""
        line = self.say(command, patience)
        assert line.startswith("ok "), line
        return line.split(" ", 2)[2]

    def fail(self, command, number, trouble, *texts):
        """The command must fail so and say so; returns the pause in milliseconds."""
        line = self.say(command)
        match = re.match(r"error \w+ errno=(\d+) retry=(\w+) trouble=(\w+) pause=(\d+) ", line)
        assert match and int(match.group(1)) == number and match.group(3) == trouble, line
        for text in texts:
            assert text in line, line
        return int(match.group(4))

    def kill(self):
        self.child.kill()
        self.child.wait(PATIENCE)

    def finish(self):
        """Leaving must be in order, also under a sanitizer."""
        self.child.stdin.close()
        assert self.wait() == 0, self.text()[-6000:]
