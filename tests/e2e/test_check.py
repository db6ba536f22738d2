"""`snapshotd check` and `snapshotd config` as a person at a terminal meets them."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SNAPSHOTD", ROOT / "build/src/app/snapshotd"))
ORIGINAL = ROOT / "tests/unit/app/original.conf"


def run(*arguments, cwd, env=None):
    return subprocess.run([str(BINARY), *map(str, arguments)], cwd=cwd, text=True, timeout=60,
                          capture_output=True, env={"PATH": os.environ["PATH"], **(env or {})})


@pytest.fixture(scope="module")
def original_environment():
    header = (ROOT / "tests/unit/app/original_environment.h").read_text()
    return dict(pair.split("=", 1) for pair in re.findall(r'"([A-Za-z_0-9]+=[^"]*)"', header))


def test_without_a_file_the_defaults_are_good(tmp_path):
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "There is no configuration file; these are the defaults." in done.stdout


def test_the_predecessors_file_with_its_environment_passes(tmp_path, original_environment):
    done = run("check", "-c", ORIGINAL, cwd=tmp_path, env=original_environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "model yolov8n, everything above 0.3, persons above 0.8" in done.stdout
    assert "Front Door Camera (O1)" in done.stdout
    assert "without effect until a later release" not in done.stdout
    assert "ftp-password" not in done.stdout and "connect-token" not in done.stdout


def test_the_predecessors_file_without_its_environment_names_each_variable(tmp_path):
    done = run("check", "-c", ORIGINAL, cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert sum("is not set; set it, or write the value itself" in line for line in lines) == 46
    assert lines[-1].startswith(f"snapshotd: {ORIGINAL}: 46 faults: ")


def test_who_looks_at_pictures_why_and_for_how_much_is_told(tmp_path):
    assert ("  detection  local, because FEATURE_FLAG_LOCAL_OBJECT_DETECTION is true by default\n"
            in run("check", cwd=tmp_path).stdout)
    config = tmp_path / "x.conf"
    config.write_text("[detection]\ndetector = cascade\ncascade_labels = dog\n"
                      "[rekognition]\nprimary_region = eu-west-1\n[cloud]\ncalls_per_day = 500\n")
    out = run("check", "-c", config, cwd=tmp_path).stdout
    assert "  detection  cascade, because [detection] detector is cascade\n" in out
    assert ("             the cloud is asked when a person scores from 0.2 to 0.6, or for "
            "cascade_labels\n") in out
    assert ("  cloud      500 of 500 calls left this day, 0 calls this month and no limit ([cloud]); "
            "about $0.00 so far\n") in out
    assert not (tmp_path / "data").exists()  # a look makes nothing
    out = run("check", "-c", config, cwd=tmp_path,
              env={"FEATURE_FLAG_LOCAL_OBJECT_DETECTION": "no"}).stdout
    assert ("  detection  cloud, because [detection] detector is cascade, but "
            "FEATURE_FLAG_LOCAL_OBJECT_DETECTION is false\n") in out
    out = run("check", "-c", config, cwd=tmp_path,
              env={"FEATURE_FLAG_OBJECT_DETECTION": "no"}).stdout
    assert "  detection  off: FEATURE_FLAG_OBJECT_DETECTION is false\n" in out
    assert "  cloud " not in out


def test_who_may_push_and_where_is_told(tmp_path):
    assert "  FTP        off: nobody may log in" in run("check", cwd=tmp_path).stdout
    (tmp_path / "x.conf").write_text(
        "[ftp]\nlisten = 127.0.0.1:2199\nuser = all\npassword = correct horse\n"
        "[camera:porch]\naddress = 192.0.2.7:88\n"
        "[ftp_account:porch]\npassword = battery staple\ncamera = porch\n"
        "directory = uploads/porch\n")
    done = run("check", "-c", "x.conf", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("  FTP ")[1].splitlines()[:3] == [
        "       ftp://127.0.0.1:2199, without TLS", "             all: the whole tree",
        "             porch: uploads/porch, pictures of porch"]
    assert "horse" not in done.stdout and "staple" not in done.stdout
    done = run("check", "-c", "x.conf", "--set", "ftp.tls_cert_file=missing.pem", "--set",
               "ftp.tls_key_file=missing.pem", cwd=tmp_path)
    assert "TLS for who asks for it" in done.stdout
    assert "TLS will not work: our certificate 'missing.pem' cannot be read" in done.stdout
    done = run("check", "-c", "x.conf", "--set", "ftp.enabled=no", cwd=tmp_path)
    assert "  FTP        off\n" in done.stdout


def test_a_weak_password_is_a_fault_without_the_password(tmp_path):
    done = run("check", cwd=tmp_path, env={"FTP_USER": "cams", "FTP_PASS": "Passwort"})
    assert done.returncode == 2
    assert "everybody tries first" in done.stderr and "FTP_PASS" in done.stderr
    assert "Passwort" not in done.stderr + done.stdout


def test_a_service_account_without_a_shared_drive_is_a_fault(tmp_path):
    (tmp_path / "x.conf").write_text("[gdrive]\nfolder = cameras\nservice_account_file = k.json\n")
    done = run("check", "-c", "x.conf", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert done.stderr.splitlines()[0].startswith("x.conf:3: gdrive.service_account_file: needs "
                                                  "parent"), done.stderr
    assert "shared drive" in done.stderr
    for more in ("gdrive.parent=0ABcdEFghIJkl", "gdrive.enabled=no"):
        assert run("check", "-c", "x.conf", "--set", more, cwd=tmp_path).returncode == 0


def test_five_faults_are_listed_at_once(tmp_path):
    (tmp_path / "x.conf").write_text("[app]\nlog_level = loud\ndevice_nmae = x\n"
                                     "[camera:porch]\nkind = foscm\nadress = 192.0.2.7:88\n"
                                     "[webb]\nlisten = 1\n")
    done = run("check", "-c", "x.conf", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines[:5]] == [f"x.conf:{n}" for n in (2, 3, 5, 6, 7)]
    assert lines[1] == 'x.conf:3: app.device_nmae: unknown key; did you mean "device_name"?'
    assert len(lines) == 6 and "5 faults" in lines[5]


def test_the_usual_places_are_looked_at_in_order(tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    (config / "app.conf").write_text("[app]\ndevice_name = second\n")
    assert "second" in run("check", cwd=tmp_path).stdout
    (tmp_path / "snapshot-processor.conf").write_text("[app]\ndevice_name = first\n")
    assert "first" in run("check", cwd=tmp_path).stdout
    named = tmp_path / "named.conf"
    named.write_text("[app]\ndevice_name = named\n")
    assert "named" in run("check", cwd=tmp_path, env={"SNAPSHOTD_CONFIG": str(named)}).stdout
    assert "first" in run("check", "-c", "snapshot-processor.conf", cwd=tmp_path,
                          env={"SNAPSHOTD_CONFIG": str(named)}).stdout


def test_a_missing_file_is_an_error(tmp_path):
    for arguments, env in ((["-c", "none.conf"], {}), ([], {"SNAPSHOTD_CONFIG": "none.conf"})):
        done = run("check", *arguments, cwd=tmp_path, env=env)
        assert done.returncode == 2
        assert done.stderr.startswith("none.conf: cannot open it: No such file or directory\n")


def test_the_effective_configuration_tells_sources_and_hides_secrets(tmp_path):
    (tmp_path / "x.conf").write_text("[camera:porch]\naddress = 192.0.2.7:88\nuser = u\n"
                                     "password = hunter2\n")
    done = run("config", "--effective", "-c", "x.conf", "--set", "app.log_level=debug",
               cwd=tmp_path, env={"SNAPSHOTD_CAMERA_PORCH_TRIES": "7", "DEVICE_NAME": "box"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "# --set\nlog_level = debug\n" in done.stdout
    assert "# environment variable SNAPSHOTD_CAMERA_PORCH_TRIES\ntries = 7\n" in done.stdout
    assert "# environment variable DEVICE_NAME\ndevice_name = box\n" in done.stdout
    assert "# x.conf:4\npassword = ***\n" in done.stdout
    assert "hunter2" not in done.stdout


def test_secrets_are_not_in_messages(tmp_path):
    (tmp_path / "x.conf").write_text("[camera:porch]\naddress = 192.0.2.7:88\npassword = hunter2\n")
    done = run("check", "-c", "x.conf", cwd=tmp_path)
    assert done.returncode == 2
    assert "hunter2" not in done.stderr


def test_the_sample_is_a_good_file(tmp_path):
    sample = run("config", "--sample", cwd=tmp_path)
    assert sample.returncode == 0
    (tmp_path / "x.conf").write_text(sample.stdout)
    done = run("check", "-c", "x.conf", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "x.conf is good." in done.stdout


def test_misspelt_variables_are_warned_of(tmp_path):
    done = run("check", cwd=tmp_path, env={"SNAPSHOTD_APP_LOG_LEVLE": "debug"})
    assert done.returncode == 0
    assert ("environment variable SNAPSHOTD_APP_LOG_LEVLE: matches no key; did you mean "
            "SNAPSHOTD_APP_LOG_LEVEL?") in done.stdout


@pytest.mark.parametrize("arguments", [["check", "--what"], ["check", "a", "b"], ["config"],
                                       ["config", "--sample", "--reference"],
                                       ["check", "--set"], ["check", "--set", "nonsense"]])
def test_wrong_usage_is_2(tmp_path, arguments):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr and not done.stdout


@pytest.mark.parametrize("command", ["check", "config"])
def test_help_goes_to_standard_output(tmp_path, command):
    done = run(command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "--config FILE" in done.stdout and done.stderr == ""
