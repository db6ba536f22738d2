"""What the compiler and the linker were asked to harden, in the program as it is built."""

import platform
import shutil
import subprocess

import pytest

from conftest import BINARY, SANITIZED, missing


@pytest.fixture(name="elf", scope="module")
def read():
    if not shutil.which("readelf"):
        missing("readelf")
    if SANITIZED:
        pytest.skip("a build with sanitizers is for tests")

    def ask(*options):
        return subprocess.run(["readelf", "-W", *options, BINARY], capture_output=True, text=True,
                              check=True).stdout
    return ask


def test_it_can_be_loaded_anywhere(elf):
    assert "DYN (Position-Independent" in elf("-h")
    assert "PIE" in elf("-d")


def test_its_tables_of_functions_cannot_be_written(elf):
    assert "GNU_RELRO" in elf("-l")
    assert "BIND_NOW" in elf("-d")


def test_its_stack_is_no_code_and_is_guarded(elf):
    stack, = [line for line in elf("-l").splitlines() if "GNU_STACK" in line]
    assert " RWE " not in stack
    assert "__stack_chk_fail" in elf("--dyn-syms")


def test_sizes_of_buffers_are_checked(elf):
    assert elf("--dyn-syms").count("_chk@") > 10


def test_jumps_and_returns_are_checked_by_processors_that_can(elf):
    if platform.machine() != "x86_64":
        pytest.skip("another kind of processor")
    elf("-h")
    # Not the file's own mark: it is that of all that was linked, and the C library's first lines
    # have none in Debian 12.
    code = subprocess.run(["objdump", "-d", "--disassemble=main", BINARY], capture_output=True,
                          text=True, check=True).stdout
    first = next(line for line in code[code.index("<main>:"):].splitlines()[1:] if line)
    assert "endbr64" in first
