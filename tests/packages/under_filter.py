#!/usr/bin/python3
"""Runs a program as a unit's system-call settings would let it run, where there is no systemd.

    under_filter.py UNIT PROGRAM [ARGUMENT]...

What SystemCallFilter=, SystemCallErrorNumber= and MemoryDenyWriteExecute= of the unit say becomes a
seccomp filter by libseccomp; systemd itself says which calls are in its sets. NoNewPrivileges= comes
with it."""

import ctypes
import errno
import os
import subprocess
import sys

ALLOW, ERRNO = 0x7fff0000, 0x00050000
PROT_WRITE, PROT_EXEC = 2, 4
NO_CALL = -1  # __NR_SCMP_ERROR
MASKED_EQ = 7


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int),
                ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def settings(unit):
    found = {}
    with open(unit, encoding="utf-8") as f:
        for line in f:
            key, equals, value = line.strip().partition("=")
            if equals and not key.startswith("#"):
                found.setdefault(key, []).append(value)
    return found


def calls_of(name, seen=None):
    """The calls of a set of systemd's, or of a call itself."""
    seen = set() if seen is None else seen
    if not name.startswith("@"):
        return {name}
    if name in seen:
        return set()
    seen.add(name)
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True,
                          text=True, check=True).stdout
    words = [line.strip() for line in told.splitlines()[1:]]
    found = set()
    for word in words:
        if word and not word.startswith("#"):
            found |= calls_of(word, seen)
    return found


def allowed_calls(filters):
    allowed = set()
    for line in filters:
        for name in line.lstrip("~").split():
            if line.startswith("~"):
                allowed -= calls_of(name)
            else:
                allowed |= calls_of(name)
    # Without these a service could not even be started: systemd's @default.
    return allowed | calls_of("@default")


def main():
    unit = settings(sys.argv[1])
    allowed = allowed_calls(unit["SystemCallFilter"])
    known = calls_of("@known")
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    refuse = ERRNO | getattr(errno, unit["SystemCallErrorNumber"][0])
    ctx = ctypes.c_void_p(lib.seccomp_init(ERRNO | errno.ENOSYS))
    special = {"mmap", "mprotect", "pkey_mprotect"} if \
        unit.get("MemoryDenyWriteExecute") == ["yes"] else set()

    def add(action, name, *comparisons):
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number == NO_CALL:
            return
        array = (Compare * max(1, len(comparisons)))(*comparisons)
        r = lib.seccomp_rule_add_array(ctx, ctypes.c_uint32(action), number, len(comparisons),
                                       array)
        assert r in (0, -errno.EEXIST), (name, r)

    for name in sorted(known | allowed):
        if name not in special:
            add(ALLOW if name in allowed else refuse, name)
    if special:
        add(ALLOW, "mmap", Compare(2, MASKED_EQ, PROT_EXEC, 0))
        add(ALLOW, "mmap", Compare(2, MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC))
        add(refuse, "mmap", Compare(2, MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE))
        for name in ("mprotect", "pkey_mprotect"):
            add(ALLOW, name, Compare(2, MASKED_EQ, PROT_EXEC, 0))
            add(refuse, name, Compare(2, MASKED_EQ, PROT_EXEC, PROT_EXEC))
    add(ALLOW, "execve")  # by which the program below begins
    r = lib.seccomp_load(ctx)
    if r != 0:
        sys.exit(f"cannot set a filter: {os.strerror(-r)}")
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
