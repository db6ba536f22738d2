"""Cameras' pictures and what writes them into folders, for the tests of pushed pictures."""

import contextlib
import io
import os
import shutil
import sqlite3
import subprocess

from PIL import Image

from conftest import sha256


def small_jpeg():
    out = io.BytesIO()
    Image.new("L", (16, 16), 90).save(out, "JPEG")
    return out.getvalue()


SMALL = small_jpeg()


def picture(number, padding=0):
    """Each number makes other bytes: what stands behind the end of a JPEG is padding."""
    return SMALL + b"%d" % number + bytes(padding)


def tree(root):
    """All files below a folder, hidden ones too."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


def put(path, data):
    """As our server does: a hidden name, synced, then the final one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.parent / f".incoming-{os.getpid()}"
    with open(hidden, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    hidden.rename(path)
    return path


def by_cp(source, path):
    subprocess.run(["cp", "-p", source, path], check=True)


def by_mv(source, path):
    copy = source.parent / f"{source.name}.moved"
    shutil.copy(source, copy)
    subprocess.run(["mv", copy, path], check=True)


def by_rsync(source, path):
    """Its way without rsync: a hidden name with a random end, times set, rename."""
    hidden = path.parent / f".{path.name}.Xy12Zq"
    shutil.copyfile(source, hidden)
    os.utime(hidden, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    hidden.rename(path)


def by_part(source, path):
    part = path.parent / f"{path.name}.part"
    shutil.copyfile(source, part)
    part.rename(path)


def by_pieces(source, path):
    """Closed and opened again in the middle."""
    data = source.read_bytes()
    with open(path, "wb") as f:
        f.write(data[:len(data) // 2])
    with open(path, "ab") as f:
        f.write(data[len(data) // 2:])


WRITERS = {"cp": by_cp, "mv": by_mv, "rsync": by_rsync, "part": by_part, "pieces": by_pieces}


def rows(d):
    """The pushed pictures in the ledger, oldest first."""
    db = sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)
    with contextlib.closing(db):
        db.row_factory = sqlite3.Row
        return [dict(r) for r in db.execute(
            "SELECT s.*, c.name AS camera_name FROM snapshots s JOIN cameras c ON c.id = s.camera"
            " WHERE source = 1 ORDER BY row")]


def count_rows(d):
    """As rows(), for when there are very many."""
    with contextlib.closing(sqlite3.connect(f"file:{d.data}/snapshotd.db?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM snapshots WHERE source = 1").fetchone()[0]


def digests(d):
    return sorted(r["sha256"] for r in rows(d))


def digest_of(*pictures):
    return sorted(sha256(p) for p in pictures)


def folder(d, name="ftp"):
    """What the status says of a watched folder."""
    return next(f for f in d.get("/api/v1/status")["spool"] if f["name"] == name)


def quiet(d, name="ftp"):
    """Nothing settles, nothing is being taken, all that was taken is examined and told."""
    status = d.get("/api/v1/status")
    f = next(f for f in status["spool"] if f["name"] == name)
    c = status["counts"]
    return not (f["settling"] or f["taking"] or c["stored"] or c["outbox_pending"])
