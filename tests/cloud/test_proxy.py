"""A house behind a proxy: Amazon's own names and TLS, an authority of ours, and CONNECT in between."""

import json
import os
import ssl
import subprocess

import pytest
from PIL import Image

import rabbit
from conftest import BINARY
from fakes.aws import FakeAws, Key
from fakes.proxy import ConnectProxy
from fakes.rekognition import FakeRekognition
from ports import refusing_port

DUBLIN, VIRGINIA = (f"rekognition.{r}.amazonaws.com:443" for r in ("eu-west-1", "us-east-1"))
STS = "sts.eu-west-1.amazonaws.com:443"
ROLE = "arn:aws:iam::123456789012:role/house"


@pytest.fixture(name="authority", scope="module")
def authority_fixture(tmp_path_factory):
    return rabbit.Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(name="certificate", scope="module")
def certificate_fixture(authority):
    return authority.sign("amazon", "DNS:*.eu-west-1.amazonaws.com,DNS:*.us-east-1.amazonaws.com,"
                          "IP:127.0.0.1")


class House:
    def __init__(self, folder, authority, certificate):
        self.folder = folder
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.account = FakeAws()
        self.account.keys["AKID"] = Key("secret")
        self.account.roles[ROLE] = True
        self.dublin = FakeRekognition("eu-west-1", self.account)
        self.virginia = FakeRekognition("us-east-1", self.account)
        for fake in (self.account, self.dublin, self.virginia):
            fake.server.socket = context.wrap_socket(fake.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.ways = {DUBLIN: self.dublin.port, VIRGINIA: self.virginia.port, STS: self.account.port}
        self.environment = {"AWS_CA_BUNDLE": str(authority.ca)}
        Image.new("RGB", (160, 120), (200, 0, 0)).save(folder / "a.jpg")

    def close(self):
        for fake in (self.account, self.dublin, self.virginia):
            fake.close()

    def run(self, **settings):
        values = {"region": "eu-west-1", "access_key": "AKID", "secret_key": "secret",
                  "patience": "1s", "timeout": "5s", **settings}
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
        sets = [f"--set=rekognition.{k}={v}" for k, v in values.items() if v is not None]
        return subprocess.run(
            [BINARY, "detect", "--json", "--detector", "rekognition", *sets, self.folder / "a.jpg"],
            env={**clean, "HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
                 **self.environment}, capture_output=True, text=True, timeout=60, check=False)

    def one(self, **settings):
        done = self.run(**settings)
        assert "Sanitizer" not in done.stderr, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(name="house")
def house_fixture(tmp_path, authority, certificate):
    house = House(tmp_path, authority, certificate)
    yield house
    house.close()


def found(line):
    return "error" not in line and [d["label"] for d in line["detections"]] == [
        "person", "car", "outdoors"]


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_amazon_is_asked_by_its_own_name_and_the_proxy_sees_nothing(house, variable):
    with ConnectProxy(house.ways) as proxy:
        house.environment[variable] = proxy.url
        assert found(house.one())
        assert proxy.targets == [DUBLIN]
        through = b"".join(proxy.seen) + "".join(proxy.heads).encode()
        for secret in (b"AKID", b"DetectLabels", b"Labels", b"AWS4"):
            assert secret not in through
    assert house.dublin.billed == 1


@pytest.mark.parametrize("names", ["127.0.0.1", "localhost,127.0.0.1", "*"])
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_no_proxy_goes_by_it(house, variable, names):
    with ConnectProxy(house.ways) as proxy:
        house.environment.update({"https_proxy": proxy.url, variable: names})
        assert found(house.one(endpoint=f"https://127.0.0.1:{house.dublin.port}"))
        assert not proxy.heads


def test_no_proxy_for_others_changes_nothing(house):
    with ConnectProxy(house.ways) as proxy:
        house.environment.update({"https_proxy": proxy.url, "no_proxy": "s3.amazonaws.com,.local"})
        assert found(house.one())
        assert proxy.targets == [DUBLIN]


def test_roles_are_assumed_by_the_proxy_and_the_machines_own_credentials_without(house):
    house.account.metadata_role = "porch"
    plain = FakeAws()
    plain.keys = house.account.keys
    house.environment.update({"AWS_EC2_METADATA_DISABLED": "false",
                              "AWS_EC2_METADATA_SERVICE_ENDPOINT": plain.url,
                              "AWS_REGION": "eu-west-1"})
    with ConnectProxy(house.ways) as proxy:
        house.environment.update({"https_proxy": proxy.url, "http_proxy": proxy.url})
        assert found(house.one(access_key=None, secret_key=None, role_arn=ROLE))
        assert proxy.targets == [STS, DUBLIN]
    assert any(r.path.startswith("/latest/") for r in plain.requests)
    plain.close()


def test_a_proxy_may_want_a_login(house):
    with ConnectProxy(house.ways, login="porch:pass-7c1e") as proxy:
        house.environment["https_proxy"] = f"http://porch:pass-7c1e@127.0.0.1:{proxy.port}"
        assert found(house.one())
        house.environment["https_proxy"] = f"http://porch:wrong-7c1e@127.0.0.1:{proxy.port}"
        done = house.run()
        assert "407" in json.loads(done.stdout)["error"]
        assert "7c1e" not in done.stdout + done.stderr
    assert house.dublin.billed == 1


@pytest.mark.parametrize("answer,says", [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>no</html>",
     "403"),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502"),
    (b"HTTP/1.1 200 OK\r\n\r\n<html>please log in</html>", "TLS"),
    (b"\x00\x01nonsense\r\n\r\n", ""),
    (None, "no connection"),
])
def test_what_a_proxy_says_instead_is_told_and_costs_nothing(house, answer, says):
    with ConnectProxy(house.ways, fault=answer) as proxy:
        house.environment["https_proxy"] = (proxy.url if answer else
                                            f"http://127.0.0.1:{refusing_port()}")
        error = house.one(patience="300ms")["error"]
        assert says in error, error
    assert house.dublin.billed == 0 and not house.dublin.requests


def test_a_region_that_the_proxy_does_not_let_through_is_replaced_by_the_other(house):
    del house.ways[DUBLIN]
    with ConnectProxy(house.ways) as proxy:
        house.environment["https_proxy"] = proxy.url
        assert found(house.one(primary_region="eu-west-1", region="us-east-1"))
        assert proxy.targets == [DUBLIN, VIRGINIA]


def test_an_unknown_authority_is_refused_and_told(house):
    with ConnectProxy(house.ways) as proxy:
        house.environment.update({"https_proxy": proxy.url, "AWS_CA_BUNDLE": ""})
        assert "certificate" in house.one(patience="300ms")["error"]
    assert not house.dublin.requests


def test_a_missing_file_of_authorities_is_told(house):
    house.environment.update({"AWS_CA_BUNDLE": "/nonexistent/ca.pem"})
    with ConnectProxy(house.ways) as proxy:
        house.environment["https_proxy"] = proxy.url
        error = house.one()["error"]
    assert "trusted certificates" in error


def test_the_predecessors_variables_alone_name_both_regions(house):
    del house.ways[DUBLIN]
    with ConnectProxy(house.ways) as proxy:
        house.environment.update({"https_proxy": proxy.url, "AWS_DEFAULT_REGION": "eu-west-1",
                                  "AWS_ALT_REGION": "us-east-1"})
        assert found(house.one(region=None))
        assert proxy.targets == [DUBLIN, VIRGINIA]
