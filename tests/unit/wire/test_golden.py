#!/usr/bin/python3
"""The golden files are what u-msgpack makes, and u-msgpack reads what our encoders write."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PRINT = os.path.join(os.environ.get("BUILD_ROOT", os.path.join(HERE, "../../../build")),
                     "tests/unit/wire/print_message")
sys.dont_write_bytecode = True


def golden_files_are_what_the_library_makes(golden, _):
    r = subprocess.run([sys.executable, os.path.join(HERE, "make_golden.py"), "--check"],
                       capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout + r.stderr


def our_names_and_theirs_are_the_same(golden, _):
    names = subprocess.run([PRINT], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(names) == sorted(golden.OUTGOING), names


def the_library_reads_what_we_write(golden, umsgpack):
    for name, wanted in golden.OUTGOING.items():
        body = subprocess.run([PRINT, name], capture_output=True, check=True).stdout
        assert umsgpack.unpackb(body) == wanted, name
        keys = [list(m) for m in umsgpack.unpackb(body, use_ordered_dict=True)["inputs"]]
        assert keys == [list(m) for m in wanted["inputs"]], name


def the_picture_is_binary(golden, umsgpack):
    for name in ("event_3", "event_300", "event_70000"):
        body = subprocess.run([PRINT, name], capture_output=True, check=True).stdout
        image = umsgpack.unpackb(body)["inputs"][0]["image"]
        assert isinstance(image, bytes) and len(image) == int(name[6:]), name


TESTS = [golden_files_are_what_the_library_makes, our_names_and_theirs_are_the_same,
         the_library_reads_what_we_write, the_picture_is_binary]


def main():
    sys.path.insert(0, HERE)
    try:
        import make_golden
    except ImportError as e:
        print(f"1..0 # SKIP {e}: install python3-u-msgpack")
        return 0
    print(f"1..{len(TESTS)}")
    failed = 0
    for number, test in enumerate(TESTS, 1):
        try:
            test(make_golden, make_golden.umsgpack)
            print(f"ok {number} - {test.__name__}")
        except (AssertionError, OSError, subprocess.CalledProcessError) as e:
            failed += 1
            print(f"not ok {number} - {test.__name__}")
            print("\n".join("# " + line for line in str(e).splitlines()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
