"""Who we are at Amazon, when the predecessor's item in 1Password says so: it comes late, it changes, it
is missing; and what [aws] says. The daemon runs, Connect and Amazon are our own."""

import os
import subprocess

import pytest
from PIL import Image

from conftest import BINARY, wait_until
from fakes.aws import FakeAws, Key
from fakes.cloudwatch import FakeCloudWatch
from fakes.connect import FakeConnect
from fakes.rekognition import FakeRekognition

ITEM = "AWS.watcher"
ROLE = "arn:aws:iam::123456789012:role/house"
CREDS = "[creds]\nsentry_dsn = Sentry/__APP_NAME__/dsn\n"


class House:
    def __init__(self, launch, folder):
        self.launch = launch
        self.account = FakeAws()
        self.account.keys["AKIDONE"] = Key("secret-one")
        self.account.roles[ROLE] = True
        self.dublin = FakeRekognition("eu-west-1", self.account)
        self.metrics = FakeCloudWatch("eu-west-1", self.account)
        self.connect = FakeConnect()
        self.vault = self.connect.add_vault("Home")
        self.item = None
        Image.new("RGB", (160, 120), (200, 0, 0)).save(folder / "red.jpg")
        self.sim = launch.camera(folder / "red.jpg", "--user", "admin", "--password", "secret1234")

    def close(self):
        self.connect.server.stop()
        for fake in (self.account, self.dublin, self.metrics):
            fake.close()

    def put(self, key, secret, **more):
        """The item, in place of what was there."""
        if self.item:
            self.connect.remove_item(self.item)
        fields = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "eu-west-1",
                  **more}
        self.item = self.connect.add_item(self.vault, ITEM, [("", k, v) for k, v in fields.items()])

    def rotate(self):
        """As one rotates keys: the new one is known, then in the item, then the old one is not."""
        self.account.keys["AKIDTWO"] = Key("secret-two")
        self.put("AKIDTWO", "secret-two")
        del self.account.keys["AKIDONE"]

    def daemon(self, config=CREDS, connect=True, name="daemon", **environment):
        text = ("[app]\napp_name = watcher\n"
                f"[camera:porch]\nkind = foscam\naddress = {self.sim.address}\nuser = admin\n"
                "password = secret1234\n[detection]\ndetector = cloud\n[cloud]\nanswers_age = 0\n"
                f"[rekognition]\nregion = eu-west-1\nendpoint = {self.dublin.url}\n"
                "calls_per_second = 0\npatience = 1s\n"
                "[onepassword]\ntimeout = 1s\ndeadline = 2s\nflags_interval = 0\n" + config)
        env = {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ROLE_ARN": "",
               "AWS_ENDPOINT_URL_STS": self.account.url, "http_proxy": "", "APP_NAME": "watcher",
               "DEVICE_NAME": "porch", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
               "SNAPSHOTD_ONEPASSWORD_SECRETS_DIR": "/nonexistent",
               **(self.connect.environment() if connect else {}), **environment}
        return self.launch.daemon(text, env=env, name=name)

    def asked_as(self):
        return [r.access_key for r in self.dublin.requests]

    def connect_requests(self):
        return len(self.connect.requests())


@pytest.fixture(name="house")
def house_fixture(launch, tmp_path):
    house = House(launch, tmp_path)
    yield house
    house.close()


def verdict(d):
    status, doc = d.trigger("porch", wait=30)
    assert status == 200, doc
    return d.get(f"/api/v1/snapshots/{doc['id']}")["verdict"]


def examined(d):
    seen = verdict(d)
    assert seen["model"] == "rekognition 3.0", seen
    return seen


# ---- the item

def test_the_predecessors_item_is_who_we_are(house):
    house.put("AKIDONE", "secret-one")
    d = house.daemon()
    examined(d)
    assert house.asked_as() == ["AKIDONE"]
    asked = house.connect_requests()
    for _ in range(5):
        examined(d)
    assert house.connect_requests() == asked, "pictures asked 1Password"
    assert "secret-one" not in d.text()


def test_the_items_role_is_assumed_for_pictures_and_metrics(house):
    house.put("AKIDONE", "secret-one", AWS_ROLE_ARN=ROLE)
    d = house.daemon(CREDS + f"[cloudwatch]\nendpoint = {house.metrics.url}\ninterval = 100ms\n")
    examined(d)
    assert house.asked_as() == ["ASIA0001"]
    assert d.trigger("nobody")[0] == 404
    wait_until(lambda: house.metrics.sum("Errors") == 1, "the error at CloudWatch")
    sessions = [r.form["RoleSessionName"] for r in house.account.requests]
    assert set(sessions) == {"watcher-session"}
    assert {r.access_key for r in house.account.requests} == {"AKIDONE"}


def test_a_new_key_is_noticed_by_the_picture_that_the_old_one_fails_for(house):
    house.put("AKIDONE", "secret-one")
    d = house.daemon()
    examined(d)
    house.rotate()
    start = len(d.lines)
    examined(d)
    assert house.dublin.billed == 2
    assert house.asked_as() == ["AKIDONE", "AKIDONE", "AKIDTWO"]
    d.wait_line(r"has another key.*\[aws-vault-changed", start)
    # And a start without Connect has it.
    assert d.stop() == 0
    house.connect.down()
    d = house.daemon(name="daemon")
    examined(d)
    assert house.asked_as()[-1] == "AKIDTWO"


def test_a_new_key_below_a_role_is_noticed_when_the_role_is_renewed(house):
    house.account.lifetime_s = 2
    house.put("AKIDONE", "secret-one", AWS_ROLE_ARN=ROLE)
    d = house.daemon()
    examined(d)
    house.account.keys["AKIDTWO"] = Key("secret-two")
    house.put("AKIDTWO", "secret-two", AWS_ROLE_ARN=ROLE)
    del house.account.keys["AKIDONE"]
    for name, key in house.account.keys.items():
        if name.startswith("ASIA"):
            key.expires = 1
    examined(d)
    assert [r.access_key for r in house.account.requests][-1] == "AKIDTWO"


def test_wrong_keys_do_not_make_each_picture_ask_1password(house):
    house.put("AKIDWRONG", "secret-none")
    d = house.daemon()
    assert "UnrecognizedClientException" in verdict(d)["error"]
    before = house.connect_requests()
    for _ in range(4):
        assert "UnrecognizedClientException" in verdict(d)["error"]
    assert house.connect_requests() == before
    assert d.request("/healthz")[0] == 200


def test_while_connect_is_away_the_last_good_key_serves_after_a_restart(house):
    house.put("AKIDONE", "secret-one")
    d = house.daemon()
    examined(d)
    assert d.stop() == 0
    house.connect.down()
    d = house.daemon()
    examined(d)


def test_an_item_that_comes_late_is_used_without_a_restart(house):
    house.connect.down()
    d = house.daemon()
    assert "1Password" in verdict(d)["error"]
    assert not house.dublin.requests
    house.put("AKIDONE", "secret-one")
    house.connect.up()

    def comes():
        return verdict(d)["model"] == "rekognition 3.0"
    wait_until(comes, "the key out of 1Password", patience=40)
    assert d.request("/healthz")[0] == 200


@pytest.mark.parametrize("written", [False, True])
def test_a_missing_item_is_told_with_what_there_is(house, written):
    house.connect.add_item(house.vault, "AWS.watchdog", [("", "AWS_ACCESS_KEY_ID", "x")])
    config = CREDS + ("aws_access_key_id = AWS.__APP_NAME__/AWS_ACCESS_KEY_ID\n" if written else "")
    d = house.daemon(config)
    error = verdict(d)["error"]
    assert 'the vault has no item "AWS.watcher"; its items: AWS.watchdog' in error
    assert ("no AWS credentials; looked in" in error) == (not written)
    done = subprocess.run([BINARY, "check", "-c", d.config], capture_output=True, text=True,
                          timeout=60, check=False,
                          env={**os.environ, **house.connect.environment(), "APP_NAME": "watcher"})
    assert done.returncode == 0
    assert ("aws.access_key_id: AWS.__APP_NAME__/AWS_ACCESS_KEY_ID: the vault has no item"
            in done.stdout + done.stderr) == written


def test_an_item_with_half_a_pair_is_told(house):
    house.item = house.connect.add_item(house.vault, ITEM, [("", "AWS_ACCESS_KEY_ID", "AKIDONE")])
    error = verdict(house.daemon())["error"]
    assert "AWS_SECRET_ACCESS_KEY" in error and "AKIDONE" not in error


def test_a_reference_in_the_section_is_looked_at_again_too(house):
    house.put("AKIDONE", "secret-one")
    d = house.daemon(f"[aws]\naccess_key_id = op://Home/{ITEM}/AWS_ACCESS_KEY_ID\n"
                     f"secret_access_key = op://Home/{ITEM}/AWS_SECRET_ACCESS_KEY\n")
    examined(d)
    house.rotate()
    examined(d)
    assert house.asked_as()[-1] == "AKIDTWO"


def test_without_the_predecessors_section_1password_is_not_asked_for_it(house):
    house.put("AKIDONE", "secret-one")
    d = house.daemon("")
    assert "no AWS credentials" in verdict(d)["error"]
    assert not any("AWS" in target for _, target in house.connect.requests())


# ---- what goes before it

def test_the_environment_goes_before_the_item(house):
    house.account.keys["AKIDENV"] = Key("secret-env")
    house.put("AKIDONE", "secret-one", AWS_ROLE_ARN=ROLE)
    d = house.daemon(AWS_ACCESS_KEY_ID="AKIDENV", AWS_SECRET_ACCESS_KEY="secret-env")
    examined(d)
    assert house.asked_as() == ["AKIDENV"] and not house.account.requests


def test_a_named_profile_goes_before_the_item(house, tmp_path):
    house.account.keys["AKIDFILE"] = Key("secret-file")
    house.put("AKIDONE", "secret-one")
    files = tmp_path / "keys"
    files.write_text("[porch]\naws_access_key_id = AKIDFILE\naws_secret_access_key = secret-file\n")
    d = house.daemon(CREDS + f"[aws]\nprofile = porch\ncredentials_file = {files}\n")
    examined(d)
    assert house.asked_as() == ["AKIDFILE"]


def test_the_section_has_a_pair_a_region_and_a_role(house):
    d = house.daemon(f"[aws]\naccess_key_id = AKIDONE\nsecret_access_key = secret-one\n"
                     f"role_arn = {ROLE}\n", connect=False)
    examined(d)
    assert house.asked_as() == ["ASIA0001"]
    assert "CloudWatch" not in d.text()  # that role is not for metrics alone
