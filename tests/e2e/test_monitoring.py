"""What an operator watches: the metrics of a daemon under load, the Grafana board, the alert rules.
Prometheus's own tools judge all of them."""

import concurrent.futures
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import BINARY, ROOT, books_agree, missing, wait_until
from spool import picture, put

BOARD = ROOT / "packaging/grafana/snapshot-processor.json"
ALERTS = ROOT / "packaging/prometheus/alerts.yml"
ALERT_TESTS = ROOT / "packaging/prometheus/alerts_test.yml"
NAME = re.compile(r"\b(?:snapshotd|process)_[a-z0-9_]+\b")
# What a histogram's series are called beside its own name.
SUFFIXES = ("_bucket", "_sum", "_count")


def promtool(*arguments, stdin=None):
    if not shutil.which("promtool"):
        missing("promtool (Debian's package prometheus)")
    r = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True,
                       text=True, check=False)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout + r.stderr


def load_yaml(path):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text())


def scrape(d):
    status, headers, body = d.request("/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return body.decode()


def families(page):
    """By name; the parser itself finds what is no exposition format."""
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError:
        missing("python3-prometheus-client")
    found = {}
    for family in text_string_to_metric_families(page):
        assert family.name not in found, f"{family.name} comes twice"
        assert family.documentation and family.type in ("counter", "gauge", "histogram")
        found[family.name] = family
    return found


def series(page):
    """{(name, labels): value}; each once."""
    found = {}
    for family in families(page).values():
        for s in family.samples:
            key = (s.name, tuple(sorted(s.labels.items())))
            assert key not in found, f"{key} comes twice"
            found[key] = s.value
    return found


def value(page, name, **labels):
    return series(page).get((name, tuple(sorted(labels.items()))), 0)


def rows_of(page):
    """All rows of a page, those that have counted nothing yet among them."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))


def check_histograms(page):
    by_series = {}
    for (name, labels), v in series(page).items():
        if name.endswith("_bucket"):
            rest = tuple(x for x in labels if x[0] != "le")
            by_series.setdefault((name[:-7], rest), []).append((float(dict(labels)["le"]), v))
    assert len(by_series) > 10
    everything = series(page)
    for (name, labels), buckets in by_series.items():
        counts = [v for _, v in sorted(buckets)]
        assert counts == sorted(counts), f"{name} {labels} is not cumulative"
        assert max(buckets)[0] == float("inf")
        assert counts[-1] == everything[(name + "_count", labels)]
        assert everything[(name + "_sum", labels)] >= 0


def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02}.jpg").write_bytes(picture(i))
    return folder


@pytest.fixture
def busy(launch, tmp_path):
    """A daemon that has fetched, failed, taken a pushed picture, delivered and uploaded; while it
    worked, 20 clients read its metrics."""
    sim = launch.camera(frames(tmp_path))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/.snapshotd-here").touch()
    d = launch.daemon(
        f'[camera:kitchen]\naddress = {sim.address}\n[camera:yard.2]\naddress = {sim.address}\n'
        "[camera:dead]\naddress = 127.0.0.1:1\ngive_up = 1s\n"
        "[camera:pushes]\nlocation = Front Door\n"
        "[spool]\nsettle = 50ms\nsettle_unsure = 50ms\n"
        "[detection]\nenabled = no\n[events]\nformat = json\n"
        f"[directory:nas]\npath = {tmp_path}/kept\nrequire_mount = no\nupload = all\n")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        pages = pool.map(lambda _: [scrape(d) for _ in range(5)], range(20))
        asked = [pool.submit(d.trigger, camera, 30) for camera in ["kitchen", "yard.2"] * 8 + ["dead"]]
        put(d.data / "ftp/uploads/frontdoor/a.jpg", picture(1))
        outcomes = [a.result() for a in asked]
        d.pages = [page for some in pages for page in some]
    assert all(status in (200, 201, 202, 502, 504) for status, _ in outcomes), outcomes
    wait_until(lambda: value(scrape(d), "snapshotd_stored_total", camera="pushes") == 1,
               "the pushed picture")
    return d


def test_a_page_under_load_is_what_prometheus_reads(busy):
    before = {}
    for page in busy.pages:
        check_histograms(page)
    page = scrape(busy)
    said = promtool("check", "metrics", stdin=page)
    assert said == "", said
    for (name, labels), v in series(busy.pages[0]).items():
        before[(name, labels)] = v
    now = series(page)
    for key, v in before.items():
        if key[0].endswith(("_total", "_bucket", "_count")):
            assert now[key] >= v, f"{key} went back"
    assert len(page) < 200_000
    assert busy.stop() == 0
    books_agree(busy, [])


def test_the_page_tells_what_happened(busy):
    wait_until(lambda: value(scrape(busy), "snapshotd_destination_pending",
                             destination="console") == 0
               and value(scrape(busy), "snapshotd_store_pictures") == 17
               and value(scrape(busy), "snapshotd_uploads_total", storage="directory:nas") == 17,
               "the next look at the ledger")
    page = scrape(busy)
    for camera in ("kitchen", "yard.2"):
        assert value(page, "snapshotd_stored_total", camera=camera) == 8
        assert value(page, "snapshotd_camera_pictures_total", camera=camera) == 8
        assert value(page, "snapshotd_fetch_seconds_count", camera=camera) == 8
        assert value(page, "snapshotd_camera_enabled", camera=camera) == 1
        assert value(page, "snapshotd_camera_last_picture_timestamp_seconds", camera=camera) > 1e9
    assert value(page, "snapshotd_camera_failures_total", camera="dead") >= 1
    assert value(page, "snapshotd_camera_pictures_total", camera="dead") == 0
    assert value(page, "snapshotd_intake_seconds_count") == 17
    assert value(page, "snapshotd_edge_items_total", edge="fetched") == 17
    assert value(page, "snapshotd_edge_capacity", edge="fetched") > 8
    assert value(page, "snapshotd_stage_done_total", stage="intake") == 17
    assert value(page, "snapshotd_stage_running", stage="intake") == 1
    assert value(page, "snapshotd_delivered_total", destination="console") == 17
    assert value(page, "snapshotd_event_to_delivered_seconds_count", destination="console") == 17
    assert value(page, "snapshotd_upload_seconds_count", storage="directory:nas") == 17
    assert value(page, "snapshotd_upload_bytes_total", storage="directory:nas") == \
        value(page, "snapshotd_store_bytes")
    assert value(page, "snapshotd_storage_trouble", storage="directory:nas") == 0
    assert value(page, "snapshotd_ledger_commit_seconds_count") > 17 / 16
    assert value(page, "snapshotd_ledger_bytes") > 0
    assert value(page, "snapshotd_store_bytes") > 0
    assert value(page, "snapshotd_ready") == 1
    assert value(page, "snapshotd_healthy", part="all") == 1
    assert value(page, "snapshotd_http_requests_total", code="200") > 100
    assert value(page, "process_resident_memory_bytes") > 1e6
    assert value(page, "process_open_fds") > 10
    assert value(page, "process_start_time_seconds") > 1e9
    threads = len(list(pathlib.Path(f"/proc/{busy.child.pid}/task").iterdir()))
    assert value(page, "process_threads") == threads
    [version] = [labels for name, labels in series(page) if name == "snapshotd_build_info"]
    assert version[0][0] == "version" and version[0][1]


def test_a_camera_is_not_silent_because_of_a_restart(launch, tmp_path):
    sim = launch.camera(frames(tmp_path))
    config = f"[camera:hall]\naddress = {sim.address}\n[detection]\nenabled = no\n"
    name = "snapshotd_camera_last_picture_timestamp_seconds"
    d = launch.daemon(config)
    assert d.trigger("hall", 30)[0] in (200, 201)
    last = value(scrape(d), name, camera="hall")
    assert last > 1e9
    assert d.stop() == 0
    d = launch.daemon(config)
    wait_until(lambda: value(scrape(d), name, camera="hall"), "the picture of the run before")
    assert abs(value(scrape(d), name, camera="hall") - last) < 0.001


def test_every_row_of_the_source_is_in_the_reference():
    """Whoever adds metrics enters them in src/app/metric_rows.c; lint compares doc/metrics.md."""
    reference = subprocess.run([BINARY, "metrics", "--reference"], capture_output=True, text=True,
                               check=True).stdout
    known = set(re.findall(r"^\| `(\w+)` \|", reference, re.M))
    assert len(known) > 80
    for file in sorted((ROOT / "src").rglob("*.c")):
        text = file.read_text()
        if "struct metric" in text:
            for name in re.findall(r'"((?:snapshotd|process)_[a-z0-9_]+)"', text):
                assert name in known, f"{file.relative_to(ROOT)}: {name} is not in the reference"


# ---- the board and the alerts ----

def expressions(node):
    """Every `expr` of a document, however deep."""
    if isinstance(node, dict):
        for key, inner in node.items():
            if key == "expr":
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from expressions(inner)


def check_names(found, rows):
    for name in sorted(found):
        base = next((name[:-len(s)] for s in SUFFIXES if name.endswith(s)), name)
        if rows.get(base) != "histogram":
            base = name
        assert base in rows, f"there is no metric {name}"


@pytest.fixture
def rows(launch):
    return rows_of(scrape(launch.daemon("[detection]\nenabled = no\n")))


def test_the_board_asks_for_what_there_is(rows, tmp_path):
    yaml = pytest.importorskip("yaml")
    board = json.loads(BOARD.read_text())
    asked = list(expressions(board))
    assert len(asked) > 60
    plain = [e.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$camera", ".*")
             for e in asked]
    assert not any("$" in e for e in plain)
    rules = [{"record": f"board:number_{i}", "expr": e} for i, e in enumerate(plain)]
    (tmp_path / "board.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "board.yml")
    queries = " ".join(asked + [v["definition"] for v in board["templating"]["list"]
                                if v["type"] == "query"])
    check_names(set(NAME.findall(queries)), rows)
    for row in ("stored_total", "camera_failures_total", "event_to_delivered_seconds",
                "infer_seconds", "examined_total", "waiting", "edge_depth", "uploads_pending",
                "store_free_bytes", "ledger_failures_total", "destination_pending",
                "cloud_month_cost_dollars", "cloud_budget_left", "rekognition_requests_total",
                "healthy", "cronitor_pings_total", "report_spooled", "secrets"):
        assert f"snapshotd_{row}" in queries


def test_the_board_is_one_that_grafana_10_takes():
    board = json.loads(BOARD.read_text())
    assert board["schemaVersion"] >= 38 and board["id"] is None and board["uid"]
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] and at["x"] + at["w"] <= 24 and panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} lies on another"
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("timeseries", "stat")
        assert panel["fieldConfig"]["defaults"]["unit"]
        refs = [t["refId"] for t in panel["targets"]]
        assert refs and len(refs) == len(set(refs))
        for part in [panel, *panel["targets"]]:
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_alerts_ask_for_what_there_is(rows):
    promtool("check", "rules", ALERTS)
    document = load_yaml(ALERTS)
    check_names(set(NAME.findall(" ".join(expressions(document)))), rows)
    guide = (ROOT / "doc/monitoring.md").read_text()
    for rule in document["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert len(rule["annotations"]["runbook"]) > 40
        assert f"`{rule['alert']}`" in guide, f"doc/monitoring.md does not know {rule['alert']}"
    for unit in re.findall(r"systemctl [a-z]+ ([\w-]+)", ALERTS.read_text()):
        assert (ROOT / f"packaging/systemd/{unit}.service").exists(), unit


def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    yaml = pytest.importorskip("yaml")
    rules, tests = load_yaml(ALERTS), load_yaml(ALERT_TESTS)
    fires, rests = set(), set()
    for test in tests["tests"]:
        for expected in test["alert_rule_test"]:
            (fires if expected["exp_alerts"] else rests).add(expected["alertname"])
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["alert"] in fires and rule["alert"] in rests
            del rule["annotations"]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    shutil.copy(ALERT_TESTS, tmp_path)
    promtool("test", "rules", tmp_path / ALERT_TESTS.name)
