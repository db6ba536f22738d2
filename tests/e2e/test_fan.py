"""The fan of a board, on a tree of ordinary files that looks like /sys."""

import os
import signal
import subprocess

import pytest

from conftest import BINARY, SANITIZED, wait_until
from test_monitoring import scrape, value

CONFIG = ("[detection]\nenabled = no\n[fan]\nenabled = yes\ninterval = 100ms\nspin_up = 0\n"
          "hysteresis = 3\ncurve = 40:0, 55:80, 70:255\n")


class Board:
    """A Jetson with JetPack 4: a zone for the processor, and NVIDIA's fan."""

    def __init__(self, root):
        self.root = root
        self.write("class/thermal/thermal_zone0/type", "PMIC-Die")
        self.write("class/thermal/thermal_zone0/temp", "100000")
        self.write("class/thermal/thermal_zone1/type", "CPU-therm")
        self.heat(47.5)
        self.write("devices/pwm-fan/target_pwm", "0")
        self.write("devices/pwm-fan/temp_control", "1")

    def write(self, path, text):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".next").write_text(text + "\n")
        place.with_suffix(".next").rename(place)  # whole, as the kernel's files are

    def heat(self, celsius):
        self.write("class/thermal/thermal_zone1/temp", str(int(celsius * 1000)))

    def pwm(self):
        return (self.root / "devices/pwm-fan/target_pwm").read_text().strip()

    def waits_for(self, pwm):
        wait_until(lambda: self.pwm() == str(pwm), f"the value {pwm}, it is {self.pwm()}")

    def control(self):
        return (self.root / "devices/pwm-fan/temp_control").read_text().strip()


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path / "sys")


def start(launch, board, more="", **words):
    return launch.daemon(CONFIG + f"sysfs_root = {board.root}\n" + more, **words)


def fan(d):
    return d.get("/api/v1/status")["fan"]


def test_it_speeds_up_when_the_board_heats_up_and_is_left_at_full_speed(launch, board):
    d = start(launch, board)
    board.waits_for(40)
    assert board.control() == "0"
    board.heat(62.5)
    board.waits_for(168)
    wait_until(lambda: fan(d)["pwm"] == 168, "the status")
    assert fan(d) == {"state": "running", "celsius": 62.5, "sensor": "CPU-therm", "pwm": 168,
                      "output": "pwm-fan", "last_error": ""}
    page = scrape(d)
    assert value(page, "snapshotd_fan_temperature_celsius", sensor="CPU-therm") == 62.5
    assert value(page, "snapshotd_fan_pwm") == 168 and value(page, "snapshotd_fan_safe") == 0
    shown = subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{d.port}"],
                           capture_output=True, text=True, check=True).stdout
    assert "  fan       CPU-therm 62.5 degrees, pwm-fan at 66 %\n" in shown
    board.heat(50)
    board.waits_for(70)  # as of 53 degrees
    assert d.stop() == 0
    assert board.pwm() == "255" and board.control() == "1"


def test_a_sensor_that_goes_means_full_speed_and_stops_nothing_else(launch, board):
    d = start(launch, board)
    board.waits_for(40)
    (board.root / "class/thermal/thermal_zone1/temp").unlink()
    board.waits_for(255)
    wait_until(lambda: fan(d)["state"] == "safe", "the status")
    assert "thermal_zone1/temp" in fan(d)["last_error"]
    assert value(scrape(d), "snapshotd_fan_safe") == 1
    assert value(scrape(d), "snapshotd_fan_failures_total", reason="sensor") >= 1
    assert d.request("/readyz")[0] == 200
    board.heat(55)
    board.waits_for(80)
    d.wait_line(r"\[fan-well\]")
    assert len([line for line in d.lines if "[fan-safe]" in line]) == 1


def test_a_board_without_a_fan_is_said_and_waited_for(launch, board):
    os.rename(board.root / "devices", board.root / "away")
    d = start(launch, board)
    line = d.wait_line(r".*\[fan-safe\]").string
    assert "no fan is what `pwm` names" in line and "thermal:CPU-therm" in line
    wait_until(lambda: d.request("/readyz")[0] == 200, "the program")
    os.rename(board.root / "away", board.root / "devices")
    board.waits_for(40)


def test_a_reload_changes_it_and_switches_it_off(launch, board):
    d = start(launch, board)
    board.waits_for(40)
    text = d.config.read_text()
    d.config.write_text(text.replace("40:0, 55:80", "40:200, 55:210"))
    d.signal(signal.SIGHUP)
    board.waits_for(205)
    d.config.write_text(text.replace("enabled = yes", "enabled = no"))
    d.signal(signal.SIGHUP)
    board.waits_for(255)
    wait_until(lambda: fan(d) is None, "the status")
    wait_until(lambda: board.control() == "1", "the kernel's control")
    # Nobody touches it any more.
    (board.root / "devices/pwm-fan/target_pwm").write_text("7\n")
    seen = len(d.lines)
    d.signal(signal.SIGHUP)
    d.wait_line(r"\[reloaded\]", start=seen)
    assert board.pwm() == "7"


def test_it_is_off_unless_asked_for(launch, board):
    d = launch.daemon("[detection]\nenabled = no\n[fan]\n" f"sysfs_root = {board.root}\n")
    assert fan(d) is None
    assert d.stop() == 0
    assert board.pwm() == "0" and board.control() == "1"


def test_the_next_start_takes_over_from_a_killed_one(launch, board):
    """What kill -9 leaves is the last value (doc/fan.md says what a unit does about it)."""
    d = start(launch, board)
    board.waits_for(40)
    d.kill()
    assert board.pwm() == "40" and board.control() == "0"
    board.heat(70)
    d = start(launch, board, name="next")
    board.waits_for(255)
    assert d.stop() == 0


@pytest.mark.skipif(SANITIZED, reason="the sanitizer takes the signals")
def test_a_crash_leaves_it_at_full_speed(launch, board):
    d = start(launch, board)
    board.waits_for(40)
    d.signal(signal.SIGSEGV)
    d.wait()
    assert board.pwm() == "255"
    assert (d.data / "report/crash.part").exists()


@pytest.mark.parametrize("row, says", [
    ("curve = 40:0, 30:80", "the temperatures must rise"),
    ("curve = 40:90, 50:80", "a warmer point must not be slower"),
    ("curve = 40:300", "TEMPERATURE:VALUE"),
    ("sensors = cpu", "thermal:TYPE"),
    ("pwm = /dev/sda", "hwmon:NAME"),
    ("interval = 1ms", "interval"),
])
def test_faults_are_said_in_words(tmp_path, row, says):
    (tmp_path / "bad.conf").write_text(f"[fan]\n{row}\n")
    r = subprocess.run([BINARY, "check", "-c", tmp_path / "bad.conf"], capture_output=True,
                       text=True, check=False)
    assert r.returncode == 2 and says in r.stdout + r.stderr
