#!/usr/bin/python3
"""The lint's own tests: each case is a small tree and the findings that it must give, no more."""
import os
import subprocess
import sys
import tempfile

ROOT = os.environ.get("SOURCE_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
H = "#pragma once\n"

# name, {path: content}, findings without their explanations ("path:line: first words")
CASES = [
    ("accepts_a_clean_tree",
     {"src/base/a.h": H + "int a(void);\n",
      "src/sys/b.c": '#include "base/a.h"\n#include "sys/c.h"\n', "src/sys/c.h": H}, []),
    ("refuses_an_include_upwards",
     {"src/base/a.c": '#include "base/err.h"\n#include "model/snapshot.h"\n'},
     ["src/base/a.c:2: base/ includes model/snapshot.h upwards"]),
    ("refuses_an_include_of_a_neighbour",
     {"src/camera/a.c": '#include "detect/detector.h"\n'},
     ["src/camera/a.c:1: camera/ includes detect/detector.h sideways"]),
    ("keeps_messages_between_data_and_abilities",
     {"src/wire/a.c": '#include "model/event.h"\n#include "notify/notifier.h"\n',
      "src/notify/a.c": '#include "wire/a.h"\n'},
     ["src/wire/a.c:2: wire/ includes notify/notifier.h upwards"]),
    ("lets_the_configuration_use_its_door",
     {"src/cfg/a.c": '#include "sys/ini.h"\n', "src/picture/a.c": '#include "model/detection.h"\n'},
     []),
    ("refuses_sys_to_use_the_configuration",
     {"src/sys/a.c": '#include "cfg/cfg.h"\n'},
     ["src/sys/a.c:1: sys/ includes cfg/cfg.h sideways"]),
    ("refuses_an_include_without_folder",
     {"src/base/a.c": '#include "err.h"\n'}, ['src/base/a.c:1: "err.h" names no folder']),
    ("refuses_a_folder_without_layer",
     {"src/misc/a.c": '#include "base/err.h"\n'}, ["src/misc/a.c:1: folder 'misc' has no layer"]),
    ("refuses_a_foreign_header_outside_its_door",
     {"src/stage/a.c": "#include <zmq.h>\n", "src/sys/db.c": "#include <curl/curl.h>\n",
      "src/sys/bus.c": "#include <zmq.h>\n", "src/sys/download.c": "#include <curl/curl.h>\n"},
     ["src/stage/a.c:1: <zmq.h> has its one door, include \"sys/bus.h\"",
      "src/sys/db.c:1: <curl/curl.h> has its one door"]),
    ("refuses_a_banned_call",
     {"src/base/a.c": "int f(char *s)\n{\n    return atoi(s) + system (s);\n}\n"},
     ["src/base/a.c:3: atoi() is banned", "src/base/a.c:3: system() is banned"]),
    ("sees_no_call_in_comments_strings_and_longer_names",
     {"src/base/a.c": '/* atoi(s)\n * system(s) */\nconst char *t = "gets(\\"x\\")";\n'
                      "int my_atoi(int x);\nint y = o.rand(1) + p->system(2);\n"}, []),
    ("refuses_a_header_without_pragma",
     {"src/base/a.h": "int a(void);\n"}, ["src/base/a.h:1: a header begins with #pragma once"]),
    ("refuses_a_long_line_a_tab_and_a_trailing_blank",
     {"src/base/a.c": "int a;" + " " * 94 + "\nint\tb;\nint c; /* " + "x" * 100 + " */\n"},
     ["src/base/a.c:1: trailing blank", "src/base/a.c:2: tab",
      "src/base/a.c:3: 113 columns"]),
    ("takes_a_line_of_a_hundred_columns", {"src/base/a.c": "/*" + "ä" * 96 + "*/\n"}, []),
    ("takes_a_long_word_that_cannot_be_broken", {"tools/a.sh": "digest=" + "x" * 100 + "\n"}, []),
    ("leaves_the_inputs_of_fuzz_targets_as_they_are", {"fuzz/corpus/http/a": "x \r\ny"}, []),
    ("refuses_carriage_returns_and_a_missing_newline",
     {"src/base/a.c": "int a;\r\nint b;"},
     ["src/base/a.c:1: carriage return", "src/base/a.c:2: no newline"]),
    ("refuses_notes_to_ourselves",
     {"README.md": "x\nTO" + "DO: y\n", "src/base/a.c": "/* FIX" + "ME */\n"},
     ["README.md:2: a note to ourselves", "src/base/a.c:1: a note to ourselves"]),
    ("refuses_paths_of_one_machine",
     {"README.md": "see /ro" + "ot/build and a/root/b\n", "doc/a.md": "(/ho" + "me/ann/x)\n"},
     ["README.md:1: '/ro" + "ot/b...' is a path of one machine",
      "doc/a.md:1: '/ho" + "me/ann/x...' is a path of one machine"]),
    ("refuses_line_comments", {"src/base/a.c": 'int a; // no\nchar *u = "http://x";\n'},
     ["src/base/a.c:1: // comment"]),
    ("refuses_a_script_that_cannot_run", {"tools/x": "#!/bin/sh\ntrue\n"},
     ["tools/x:1: script that is not executable"]),
    ("takes_an_exception_with_its_reason",
     {"src/base/a.c": "int a = atoi(b);\n", "tools/lint.d/allow": "src/base/a.c banned because\n"},
     []),
    ("refuses_an_exception_that_nothing_needs",
     {"src/base/a.c": "int a;\n", "tools/lint.d/allow": "# why\nsrc/base/a.c banned because\n"},
     ["tools/lint.d/allow:2: src/base/a.c does not need the exception 'banned'"]),
    ("refuses_a_scope_guard_that_holds_nothing",
     {"src/base/a.c": "AUTO(blob) b;\nAUTO_FREE char *s;\nAUTO(blob) good = NULL;\n"
                      "AUTO_DONE(dynbuf) d;\ndynbuf_init(&d, 10);\nAUTO_CLOSE int fd;\n"},
     ["src/base/a.c:1: 'b' cleans up", "src/base/a.c:2: 's' cleans up",
      "src/base/a.c:6: 'fd' cleans up"]),
    ("refuses_a_source_that_nobody_builds",
     {"src/base/meson.build": "files('a.c')\n", "src/base/a.c": "int a;\n",
      "src/base/b.c": "int b;\n", "tests/unit/base/meson.build": "base_tests = ['x']\n",
      "tests/unit/base/test_x.c": "int x;\n", "tests/unit/base/test_y.c": "int y;\n"},
     ["src/base/b.c:1: no part of the build", "tests/unit/base/test_y.c:1: no part of the build"]),
    ("leaves_the_inputs_of_tests_alone", {"fuzz/corpus/a/x.conf": "a\r\nb"}, []),
]
# The same with the compiler and clang-format.
TOOL_CASES = [
    ("refuses_a_header_that_does_not_compile_alone",
     {"src/base/a.h": H + "size_t a(void);\n", "src/base/b.h": H + "int b(void);\n"},
     ["src/base/a.h:2: does not compile alone"]),
    ("refuses_another_form", {".clang-format": "BasedOnStyle: LLVM\n",
                              "src/base/a.c": "int a;\nint  b;\n"},
     ["src/base/a.c:2: not in form"]),
]


def findings_of(tree, arguments):
    with tempfile.TemporaryDirectory() as root:
        for path, content in tree.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8", newline="") as f:
                f.write(content)
        r = subprocess.run([os.path.join(ROOT, "tools/lint"), "--root", root, *arguments],
                           capture_output=True, text=True, check=False)
        lines = r.stdout.splitlines()
        if r.returncode != (1 if lines else 0):
            lines.append(f"exit code {r.returncode}: {r.stderr}")
        return lines


def main():
    cases = [(c, ["--text-only"]) for c in CASES] + [(c, []) for c in TOOL_CASES]
    print(f"1..{len(cases)}")
    failed = 0
    for number, ((name, tree, wanted), arguments) in enumerate(cases, 1):
        found = findings_of(tree, arguments)
        good = len(found) == len(wanted) and all(f.startswith(w)
                                                 for f, w in zip(found, sorted(wanted)))
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {name}")
        if not good:
            print(f"# wanted {sorted(wanted)}\n# found  {found}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
