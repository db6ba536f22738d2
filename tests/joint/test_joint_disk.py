"""The disk that cameras push to is full: they are told, and nothing else suffers. Goal R4."""

import contextlib
import os
import time

from conftest import tmpfs, wait_until
from joint import joint  # noqa: F401, a fixture


def fill(file):
    """All that is free, again and again: the pictures of a moment ago are still moving."""
    free = os.statvfs(file.fileno()).f_bavail * os.statvfs(file.fileno()).f_bsize
    with contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, max(free, 1))


def test_a_disk_of_the_ftp_server_that_is_full_stops_neither_triggers_nor_the_drive(joint):
    rig = joint()
    with tmpfs(rig.root, "20m"):
        rig.start()
        with rig.under_load() as (_, asking):
            wait_until(lambda: rig.ledger.of("ok"), "uploads")
            filler = rig.root / ".filler"
            with open(filler, "wb") as f:
                def refused():
                    fill(f)
                    return len(rig.ledger.of("refused")) >= 8
                wait_until(refused, "refusals")
                had, kept, told = (len(asking.accepted), rig.drive.count()["pictures"],
                                   len(rig.reader.ids()))
                sent = len(rig.sent[-1].confirmed)

                def goes_on():
                    fill(f)
                    return (len(asking.accepted) > had + 5 and len(rig.sent[-1].confirmed) > sent + 5
                            and rig.drive.count()["pictures"] > kept + 10
                            and len(rig.reader.ids()) > told + 10)
                wait_until(goes_on, "triggers, events and uploads to the Drive")
                assert not asking.refused, asking.refused
            assert rig.daemon.request("/healthz")[0] == 200
            filler.unlink()
            freed = time.monotonic()
            wait_until(lambda: [r for r in rig.ledger.of("ok") if r.began > freed],
                       "uploads with space again")
            first = min(r.began + r.took for r in rig.ledger.of("ok") if r.began > freed)
        assert first - freed <= 5, f"{first - freed:.1f} s until the first upload"
        assert set(rig.ledger.codes("refused")) <= {451, 452}, rig.ledger.codes("refused")
        rig.check()
        assert rig.stop() == 0
