"""The pages in a real browser, against the real daemon and simulated cameras. The scenarios are
JavaScript (tests/web/*.mjs, run by run.mjs), because so is what drives the browser."""

import collections
import contextlib
import datetime
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import zoneinfo

import pytest

from conftest import BINARY, FOOTAGE, PATIENCE, CameraSim, Daemon, default_model, missing

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
PASSWORD = "correct horse battery"
PLANTED = '<img src=x onerror="window.planted=1"><script>window.planted=1</script>'

LABEL = "<img src=x onerror=planted=1>"  # of a label's 47 bytes at most

FILE = "x<img src=x onerror=planted=1>.jpg"  # of a pushed picture

CONFIG = """
[detection]
model = {model}
[camera:front-door]
kind = http
url = http://{front}/snapshot.jpg
[camera:garden]
kind = http
url = http://{garden}/snapshot.jpg
[camera:porch]
kind = push
[camera:barn]
kind = http
url = http://127.0.0.1:9/snapshot.jpg
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """Cameras and a configuration; what several daemons of this file use."""
    if not (ROOT / ".deps/browser/node_modules/playwright-core").exists():
        missing("browser driver")
    if not shutil.which("chromium"):
        missing("Chromium")
    if not (FOOTAGE / "garden").exists() or not default_model():
        pytest.skip("no footage or model: run tools/setup demo")
    place = tmp_path_factory.mktemp("web")
    cameras = [CameraSim(FOOTAGE / name, place / f"{name}.log") for name in ("front-door", "garden")]
    yield place, CONFIG.format(model=default_model(), front=cameras[0].address, garden=cameras[1].address)
    for camera in cameras:
        camera.stop()


@pytest.fixture(scope="module")
def daemon(rig):
    place, config = rig
    d = Daemon(place / "open", config, place / "open.log")
    d.routes = set(re.findall(r"([A-Z]+)\s+(/\S*)", d.request("/")[2].decode()))
    yield d
    assert d.stop() == 0


@pytest.fixture
def play(tmp_path):
    """play(daemon, scenario, **arguments): fails with what the browser's side says."""
    def run(d, scenario, **arguments):
        done = subprocess.run(
            ["node", HERE / "run.mjs", scenario, f"http://127.0.0.1:{d.port}", json.dumps(arguments)],
            capture_output=True, text=True, timeout=PATIENCE * 5, check=False,
            env={**os.environ, "TRACE_DIR": str(tmp_path)})
        print(done.stdout, end="")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n(a picture: {tmp_path}/failed.png)"
    return run


def needs(d, method, path):
    if (method, path) not in d.routes:
        pytest.skip(f"this daemon has no {method} {path}")


@pytest.mark.parametrize("scenario", [
    "a_new_picture_appears_on_the_wall_by_itself",
    "a_failing_camera_says_so_on_the_wall_and_in_the_list",
    "filters_are_in_the_address_and_choose_the_pictures",
    "a_picture_that_comes_while_one_reads_waits_behind_a_button",
    "boxes_come_from_the_data_and_can_be_switched_off",
    "the_story_tells_all_steps",
    "a_star_is_given_and_taken",
    "everything_works_by_keyboard_alone",
    "the_system_page_shows_stages_and_places",
    "the_wall_says_what_came_today",
    "a_timeline_that_was_left_knows_what_came_meanwhile",
    "a_picture_that_is_not_there_says_so_and_leads_on",
    "a_picture_that_arrives_before_the_list_is_in_it",
    "a_page_that_is_left_early_leaves_no_trouble",
    "what_the_list_knows_beside_a_picture_is_not_forgotten",
    "a_link_is_copied_or_shown_where_nothing_can_be_copied",
    "what_is_counted_in_part_is_not_shown_as_the_whole",
    "a_picture_examined_again_is_no_new_one",
    "an_undo_changes_no_page_that_was_left",
    "a_deleted_picture_leaves_the_wall",
    "a_camera_that_is_off_offers_no_shutter",
    "what_stops_to_be_like_the_search_leaves_it",
    "in_the_trash_nothing_is_deleted_again",
    "a_picture_is_downloaded_by_button_and_by_key",
    "what_a_storage_gave_up_is_uploaded_again",
    "the_system_page_shows_the_configuration",
    "every_filter_of_the_bar_chooses_the_pictures",
    "fingers_turn_pages_and_come_nearer",
    "the_first_load_is_small",
    "dark_follows_the_system_and_the_button",
    "nothing_is_wider_than_a_phone",
])
def test_pages(daemon, play, scenario):
    play(daemon, scenario)


@pytest.mark.parametrize("scenario, method, path", [
    ("an_event_is_visible_soon_after_the_record", "GET", "/api/v1/events"),
    ("search_finds_words_and_says_when_there_is_nothing", "GET", "/api/v1/snapshots/count"),
    ("a_deleted_picture_comes_back_by_undo", "DELETE", "/api/v1/snapshots/{id}"),
    ("what_was_deleted_comes_back_by_keyboard_alone", "DELETE", "/api/v1/snapshots/{id}"),
    ("the_trash_has_a_way_in_and_a_way_back", "POST", "/api/v1/snapshots/{id}/undelete"),
    ("a_picture_is_examined_again", "POST", "/api/v1/snapshots/{id}/detect"),
    ("neighbours_are_those_of_the_search", "GET", "/api/v1/snapshots/{id}/neighbours"),
    ("the_zip_of_a_search_can_be_downloaded", "GET", "/api/v1/snapshots.zip"),
    ("a_camera_takes_a_picture_and_is_switched_off_and_on", "POST", "/api/v1/cameras/{name}/enable"),
])
def test_pages_with_a_route(daemon, play, scenario, method, path):
    needs(daemon, method, path)
    play(daemon, scenario)


@pytest.mark.parametrize("look", [
    {}, {"dark": True}, {"size": "phone"}, {"size": "phone", "dark": True}],
    ids=["light", "dark", "phone", "dark-phone"])
def test_axe_finds_nothing_serious(daemon, play, look):
    play(daemon, "axe_finds_nothing_serious", **look)


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"size": "phone"}], ids=["light", "dark", "phone"])
def test_logins_are_for_everybody(locked, play, look):
    play(locked, "logins_and_their_page_are_for_everybody", password=PASSWORD, **look)


@pytest.mark.parametrize("scenario", [
    "no_blank_at_sixty_pictures_a_second", "nothing_jumps_down_to_the_last_of_100000"])
def test_the_timeline_over_many_pictures(daemon, play, scenario):
    play(daemon, scenario, picture=str(sorted(FOOTAGE.glob("front-door/*.jpg"))[0]))


def push(d, camera, event_at="", filename="picture.jpg"):
    """Posts a picture as browsers do; its id."""
    picture = sorted(FOOTAGE.glob("garden/*.jpg"))[0].read_bytes()
    body = (f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: image/jpeg\r\n\r\n").encode() + picture + b"\r\n--frontier--\r\n"
    status, _, answer = d.request(f"/api/v1/cameras/{camera}/snapshots{event_at and '?event_at=' + event_at}", "POST",
                                  headers={"Content-Type": "multipart/form-data; boundary=frontier"}, data=body)
    assert status == 201, answer
    return json.loads(answer)["id"]


@pytest.fixture(scope="module")
def days(rig):
    """Pictures around the midnights of three days, in UTC; the daemon and their times."""
    place, config = rig
    d = Daemon(place / "days", config, place / "days.log")
    midnight = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    times = [midnight + datetime.timedelta(hours=h) for h in (-75, -73, -71, -60, -49, -47, -40, -30)]
    for at in times:
        push(d, "porch", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    yield d, times
    assert d.stop() == 0


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_days_are_those_of_the_place(days, play, zone):
    d, times = days
    local = collections.Counter(at.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%Y-%m-%d") for at in times)
    play(d, "days_are_those_of_the_place", zone=zone, days=local)


class Control(http.server.ThreadingHTTPServer):
    """Does what a scenario asks for: POST with the name of an action."""

    def __init__(self, actions):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                what = self.rfile.read(int(self.headers["Content-Length"])).decode()
                actions[what]()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/"


def test_without_a_camera_the_pages_lead_to_the_first(rig, play):
    place, config = rig
    d = Daemon(place / "new", "[app]\nlog_level = notice\n", place / "new.log")

    def add():
        d.config.write_text(config)
        d.child.send_signal(signal.SIGHUP)
    with Control({"add the camera": add}) as control:
        play(d, "without_a_camera_the_pages_lead_to_the_first", control=control.address, config=str(d.config))
        control.shutdown()
    assert d.stop() == 0


def test_a_daemon_that_restarts_is_missed_and_found_again(rig, play):
    place, config = rig
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    daemons = []

    def start():
        daemons.append(Daemon(place / "again", config, place / "again.log", "--set", f"web.listen=127.0.0.1:{port}"))
    start()
    with Control({"stop": lambda: daemons[-1].stop(), "start": start}) as control:
        play(daemons[0], "a_daemon_that_restarts_is_missed_and_found_again", control=control.address)
        control.shutdown()
    assert daemons[-1].stop() == 0


def test_planted_markup_stays_text(rig, play):
    """Written into the ledger, from where all that is shown comes, whichever way it got there."""
    place, config = rig
    d = Daemon(place / "planted", config, place / "planted-1.log")
    status, _ = d.trigger("front-door", wait=60)
    assert status == 200 and d.stop() == 0
    db = sqlite3.connect(d.data / "snapshotd.db")
    with contextlib.closing(db), db:
        db.execute("UPDATE cameras SET name = ? WHERE name = 'front-door'", [PLANTED])
        db.execute("UPDATE devices SET key = ?1, label = ?1", [PLANTED])
        db.execute("UPDATE labels SET name = ? WHERE id = (SELECT min(label) FROM detections)", [LABEL])
        db.execute("UPDATE models SET name = ?", [PLANTED])
        (path,) = db.execute("SELECT path FROM snapshots").fetchone()
        named = str(pathlib.Path(path).with_name(LABEL + ".jpg"))
        os.rename(d.data / "store" / path, d.data / "store" / named)
        db.execute("UPDATE snapshots SET path = ?", [named])
        db.execute("INSERT INTO incidents (subject, at, what, detail)"
                   " SELECT id, received_at, ?1, ?1 FROM snapshots", [PLANTED])
    d = Daemon(place / "planted", config, place / "planted-2.log")
    pushed = push(d, "porch", filename=FILE)
    play(d, "planted_markup_stays_text", planted=PLANTED, label=LABEL, pushed=pushed)
    assert d.stop() == 0


@pytest.fixture(scope="module")
def locked(rig):
    """A daemon that wants a login from everybody."""
    place, config = rig
    d = Daemon(place / "locked", config, place / "locked-1.log")
    known = "/api/v1/users" in d.request("/")[2].decode()
    if known:
        for name, role in (("anna", "admin"), ("ben", "viewer")):
            body = json.dumps({"name": name, "role": role, "password": PASSWORD})
            subprocess.run(["curl", "-sSf", "-H", "Content-Type: application/json", "-d", body,
                            f"http://127.0.0.1:{d.port}/api/v1/users"],
                           check=True, stdout=subprocess.DEVNULL)
    assert d.trigger("front-door", wait=60)[0] == 200 and d.stop() == 0
    if not known:
        pytest.skip("this daemon has no users")
    d = Daemon(place / "locked", config, place / "locked-2.log", "--set", "web.login=always")
    yield d
    assert d.stop() == 0


@pytest.mark.parametrize("scenario", [
    "without_a_login_there_is_only_the_login",
    "after_a_logout_and_a_login_the_news_come_by_stream_again",
    "a_session_that_ends_elsewhere_leads_to_the_login_and_on",
    "a_viewer_sees_and_changes_nothing",
    "an_admin_changes_things_and_makes_users_and_tokens",
    "a_token_is_ended_and_the_page_says_who_did_it",
    "a_password_is_changed_by_whoever_has_it",
])
def test_logins(locked, play, scenario):
    play(locked, scenario, password=PASSWORD)


@pytest.mark.parametrize("module", ["grid_layout", "timeline_store"])
def test_modules_without_a_browser(module):
    done = subprocess.run(["node", "--test", HERE / f"{module}.test.mjs"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_preloads_what_it_imports_and_nothing_else():
    """A module that is imported by one that is imported costs a round trip each."""
    web = ROOT / "web"
    wanted, todo = set(), [web / "main.js"]
    while todo:
        text = todo[-1].read_text()
        folder = todo.pop().parent
        for name in re.findall(r"^import .*? from '(\.[^']+)'|^\} from '(\.[^']+)'", text, re.M):
            path = (folder / (name[0] or name[1])).resolve()
            if path not in wanted:
                wanted.add(path)
                todo.append(path)
    have = {(web / p).resolve() for p in
            re.findall(r'modulepreload" href="/assets/([^"]+)"', (web / "index.html").read_text())}
    assert have == wanted


def test_no_page_writes_markup():
    """Elements are made by lib/dom.js; a string never becomes markup."""
    for path in (ROOT / "web").rglob("*.js"):
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function",
                          path.read_text())
        assert not found or path.name == "dom.js", f"{path.name}: {found.group(0)}"
