#!/usr/bin/python3
"""What is signed here is what botocore signs, and credentials come from where botocore's come from,
asked of a fake of AWS whose signatures botocore checks."""
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = os.path.join(os.environ.get("BUILD_ROOT", os.path.join(HERE, "../../../build")),
                      "tests/unit/aws/aws_driver")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../../fakes"))

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ROLE = "arn:aws:iam::123456789012:role/camera"


class Driver:
    def __init__(self, environment=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        clean.update(HOME="/nonexistent", AWS_EC2_METADATA_DISABLED="true")
        clean.update(environment or {})
        self.process = subprocess.Popen([DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=clean, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait() == 0, self.process.returncode

    def do(self, op, **args):
        self.process.stdin.write(json.dumps({"op": op, **args}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def get(self, **args):
        opened = self.do("open", **args)
        return self.do("get") if opened["code"] == 0 else opened


# ---- signatures

def botocore_signs(case):
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    import datetime
    import urllib.parse
    names = []
    for line in case["headers"]:
        name, value = line.split(":", 1)
        names.append((name, value))
    url = f"https://{case['host']}{urllib.parse.quote(case['path'], safe='/~')}"
    params = dict(p.partition("=")[::2] for p in case["query"])
    request = AWSRequest(method=case["method"], url=url, data=case["body"].encode(), params=params)
    for name, value in names:
        request.headers[name] = value
    auth = (S3SigV4Auth if case["once"] else SigV4Auth)(
        Credentials(case["access_key"], case["secret_key"], case.get("token")), case["service"],
        case["region"])
    stamp = datetime.datetime.fromtimestamp(case["time"], datetime.timezone.utc)
    request.context["timestamp"] = stamp.strftime("%Y%m%dT%H%M%SZ")
    if case["once"]:
        request.context["payload_signing_enabled"] = True
    # As add_auth() does, but for the clock.
    auth._modify_request_before_signing(request)
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    signed = auth.signed_headers(auth.headers_to_sign(request))
    return signed, signature, canonical


def random_cases(count):
    rng = random.Random(20130524)
    letters = "abcXYZ019-._~ /+&=%$@!*'(),;:äß€"

    def word(n, alphabet=letters):
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, n)))

    for i in range(count):
        once = rng.random() < 0.5
        path = "/" + "/".join(w for w in word(40).split("/") if w not in ("", ".", ".."))
        query = {word(8, "ab-_.äB9 "): word(12, letters) for _ in range(rng.randint(0, 5))}
        case = {
            "method": rng.choice(["GET", "PUT", "POST", "HEAD"]),
            "host": rng.choice(["bucket.s3.eu-west-1.amazonaws.com", "127.0.0.1:9000", "h"]),
            "path": path, "once": once, "region": rng.choice(["us-east-1", "eu-central-1", "local"]),
            "service": "s3" if once else rng.choice(["sts", "rekognition", "monitoring"]),
            "query": [f"{k}={v}" for k, v in query.items()],
            "headers": [f"{n}: {word(20, 'ab c  d,;=/')}x" for n in
                        rng.sample(["Content-Type", "x-amz-meta-a", "x-amz-meta-a-b", "X-Amz-Target",
                                    "Range", "x-amz-acl"], rng.randint(0, 4))],
            "body": word(200) if rng.random() < 0.6 else "",
            "access_key": "AKIDEXAMPLE", "secret_key": SECRET, "time": 1767323045 + i * 7919}
        if rng.random() < 0.4:
            case["token"] = "tok/en+" * rng.randint(1, 60)
        yield case


def signatures_are_those_of_botocore():
    with Driver() as d:
        for case in random_cases(400):
            ours = d.do("sign", **case)
            assert ours["code"] == 0, (case, ours)
            signed, signature, canonical = botocore_signs(case)
            authorization = ours["headers"][0]
            wanted = f"SignedHeaders={signed}, Signature={signature}"
            assert authorization.endswith(wanted), (case, authorization, wanted, canonical)


# ---- credentials

def environment_goes_before_files():
    with tempfile.TemporaryDirectory() as home:
        files(home, credentials="[default]\naws_access_key_id = FILE\naws_secret_access_key = f\n")
        env = {"HOME": home, "AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "e",
               "AWS_SESSION_TOKEN": "t", "AWS_DEFAULT_REGION": "eu-west-2"}
        with Driver(env) as d:
            got = d.get()
            assert (got["key"], got["secret"], got["token"]) == ("ENV", "e", "t"), got
            assert got["region"] == "eu-west-2"
            # A profile that is configured, or keys, go before it.
            assert d.get(profile="default")["key"] == "FILE"
            assert d.get(access_key="OUR", secret_key="o")["key"] == "OUR"
        del env["AWS_SECRET_ACCESS_KEY"]
        with Driver(env) as d:
            assert d.get()["code"] < 0 and "half" in d.do("get")["error"]


def files(home, credentials=None, config=None):
    os.makedirs(f"{home}/.aws", exist_ok=True)
    for name, text in (("credentials", credentials), ("config", config)):
        if text is not None:
            with open(f"{home}/.aws/{name}", "w", encoding="utf-8") as f:
                f.write(text)


def files_are_read_as_botocore_reads_them():
    import botocore.session
    credentials = """\ufeff# comment
[default]
aws_access_key_id = DEF
aws_secret_access_key = d/+=;#x
[Two Words]
aws_access_key_id=TWO
aws_secret_access_key=2
aws_session_token = tt
[both]
AWS_Access_Key_ID = CRED
aws_secret_access_key = c
"""
    config = """[default]
region = eu-central-1
s3 =
    aws_access_key_id = NESTED
    max_concurrent_requests = 20
[profile conf]
aws_access_key_id = CONF
aws_secret_access_key = c
region = ap-south-1
[profile both]
aws_access_key_id = WRONG
aws_secret_access_key = w
[conf2]
aws_access_key_id = NOT
aws_secret_access_key = n
[profile "quoted name"]
aws_access_key_id = QUOT
aws_secret_access_key = q
"""
    with tempfile.TemporaryDirectory() as home:
        files(home, credentials.lstrip("\ufeff"), config)
        with Driver({"HOME": home}) as d:
            for profile in ("default", "Two Words", "both", "conf", "quoted name"):
                saved = os.environ.copy()
                try:
                    for name in list(os.environ):
                        if name.startswith("AWS_"):
                            del os.environ[name]
                    os.environ.update(HOME=home, AWS_EC2_METADATA_DISABLED="true")
                    session = botocore.session.Session(profile=profile)
                    theirs = session.get_credentials()
                    region = session.get_config_variable("region")
                finally:
                    os.environ.clear()
                    os.environ.update(saved)
                ours = d.get(profile=profile)
                assert ours["code"] == 0, (profile, ours)
                assert (ours["key"], ours["secret"], ours["token"] or None) == \
                    (theirs.access_key, theirs.secret_key, theirs.token), (profile, ours)
                assert (ours["region"] or None) == region, (profile, ours, region)
            missing = d.get(profile="conf2")
            assert missing["code"] < 0 and "no AWS profile 'conf2'" in missing["error"], missing
        files(home, credentials)  # with a byte order mark, which botocore does not bear
        with Driver({"HOME": home}) as d:
            assert d.get()["key"] == "DEF"


def without_credentials_it_says_where_it_looked():
    with Driver() as d:
        got = d.get()
        assert got["code"] == -126 and got["retry"] == "never", got
        for where in ("environment", "credentials", "config", "container", "metadata"):
            assert where in got["error"], got
    with tempfile.TemporaryDirectory() as home:
        files(home, config="[default]\ncredential_process = /bin/touch %s/ran\n" % home)
        with Driver({"HOME": home}) as d:
            got = d.get()
            assert "credential_process, which this program does not use" in got["error"], got
            assert not os.path.exists(f"{home}/ran")


def roles_are_assumed_by_profiles():
    from aws import FakeAws, Key
    aws = FakeAws()
    aws.keys["BASE"] = Key("b")
    aws.roles = {ROLE, ROLE + "2"}
    config = f"""[profile direct]
role_arn = {ROLE}
source_profile = base
role_session_name = front.door
[profile chained]
role_arn = {ROLE}2
source_profile = direct
[profile env]
role_arn = {ROLE}
credential_source = Environment
[profile imds]
role_arn = {ROLE}
credential_source = Ec2InstanceMetadata
[profile circle]
role_arn = {ROLE}
source_profile = circle2
[profile circle2]
role_arn = {ROLE}
source_profile = circle
[profile self]
role_arn = {ROLE}
source_profile = self
aws_access_key_id = BASE
aws_secret_access_key = b
[profile both]
role_arn = {ROLE}
source_profile = base
credential_source = Environment
[profile lost]
role_arn = {ROLE}
source_profile = nobody
[profile mfa]
role_arn = {ROLE}
source_profile = base
mfa_serial = x
[profile denied]
role_arn = {ROLE}3
source_profile = base
"""
    with tempfile.TemporaryDirectory() as home:
        files(home, "[base]\naws_access_key_id = BASE\naws_secret_access_key = b\n", config)
        env = {"HOME": home, "AWS_ACCESS_KEY_ID": "BASE", "AWS_SECRET_ACCESS_KEY": "b",
               "AWS_ENDPOINT_URL_STS": aws.url + "/", "AWS_EC2_METADATA_DISABLED": "false"}
        with Driver(env) as d:
            for profile, role, who in (("direct", ROLE, "BASE"), ("env", ROLE, "BASE"),
                                       ("self", ROLE, "BASE"), ("chained", ROLE + "2", None),
                                       ("imds", ROLE, None)):
                got = d.get(profile=profile, metadata=aws.url, region="eu-west-3")
                assert got["code"] == 0, (profile, got)
                key = aws.keys[got["key"]]
                assert (key.secret, key.token, key.role) == (got["secret"], got["token"], role)
                assert role in got["source"], got
                last = aws.requests[-1]
                assert last.region == "eu-west-3" and (who is None or last.access_key == who)
            assert aws.requests[0].form["RoleSessionName"] == "front.door"
            for profile, words in (("circle", "circle"), ("both", "one of them"),
                                   ("lost", "has no keys"), ("mfa", "mfa_serial")):
                before = len(aws.requests)
                got = d.get(profile=profile)
                assert got["code"] < 0 and got["retry"] == "never" and words in got["error"], got
                assert len(aws.requests) == before
            got = d.get(profile="denied")
            assert "AccessDenied" in got["error"] and got["retry"] == "never", got
            # A role of our own configuration on top of plain keys.
            got = d.get(access_key="BASE", secret_key="b", role_arn=ROLE)
            assert aws.keys[got["key"]].role == ROLE
            got = d.get(access_key="BASE", secret_key="wrong", role_arn=ROLE)
            assert "SignatureDoesNotMatch" in got["error"] and "wrong" not in got["error"], got
    aws.close()


def a_wrong_clock_is_corrected_for_sts():
    import time
    from aws import FakeAws, Key
    for off in (-40 * 86400, 7 * 3600):
        aws = FakeAws()
        aws.clock = lambda: time.time() + off  # pylint: disable=cell-var-from-loop
        aws.keys["BASE"] = Key("b")
        aws.roles = {ROLE}
        with Driver() as d:
            got = d.get(access_key="BASE", secret_key="b", role_arn=ROLE, sts=aws.url)
            assert got["code"] == 0, got
            assert [r.answer for r in aws.requests] == [403, 200]
            # Their hour is an hour, whatever the time here is.
            assert d.do("get")["key"] == got["key"]
            d.do("advance", s=44 * 60)
            assert d.do("get")["key"] == got["key"]
            d.do("advance", s=2 * 60)
            assert d.do("get")["key"] != got["key"]
            assert [r.answer for r in aws.requests] == [403, 200, 200]
        aws.close()


def containers_and_instances_give_theirs():
    from aws import FakeAws
    aws = FakeAws()
    aws.container_token = "Bearer x"
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/real"
        with open(path, "w", encoding="ascii") as f:
            f.write("Bearer x\n")
        os.symlink("real", f"{folder}/token")
        for env in ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + "/container",
                     "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer x"},
                    {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/container",
                     "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{folder}/token"}):
            with Driver(env) as d:
                got = d.get(metadata=aws.url)
                assert got["code"] == 0 and aws.keys[got["key"]].token == got["token"], got
                assert got["source"] == "container credentials"
    for address in ("http://192.0.2.1/x", "http://127.0.0.1.evil.example/", "ftp://127.0.0.1/",
                    "http://127.0.0.1@evil.example/", "http://localhost.evil/", "//x"):
        with Driver({"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}) as d:
            got = d.get()
            assert got["code"] == -1 and "this machine" in got["error"], (address, got)
    with Driver({"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url + "/"}) \
            as d:
        got = d.get()
        assert got["code"] == 0 and got["source"] == "instance metadata", got
        assert [r.method for r in aws.requests[-3:]] == ["PUT", "GET", "GET"]
        aws.metadata_role = None
        got = d.get()
        assert got["code"] == -126, got
        aws.metadata_role = "camera-role"
        aws.given = lambda code="Failed": FakeAws.given(aws, code)
        got = d.get()
        assert got["code"] < 0 and "Failed" in got["error"] and got["retry"] == "later", got
    aws.close()


def temporary_ones_are_renewed_early_by_one_and_the_old_ones_serve():
    from aws import Fault, FakeAws, Key
    aws = FakeAws()
    aws.keys["BASE"] = Key("b")
    aws.roles = {ROLE}
    with Driver() as d:
        d.do("open", access_key="BASE", secret_key="b", role_arn=ROLE, sts=aws.url)
        got = d.do("many", count=16)
        assert len({g["key"] for g in got}) == 1 and len(aws.requests) == 1, (got, aws.requests)
        first = got[0]["key"]
        d.do("advance", s=46 * 60)
        aws.faults.append(Fault(status=500, times=1))
        assert d.do("get")["key"] == first  # the early try failed, nobody notices
        assert d.do("get")["key"] == first and len(aws.requests) == 2
        d.do("advance", s=61)
        got = d.do("many", count=16)
        assert {g["key"] for g in got} <= {first, "ASIA0002"} and len(aws.requests) == 3
        assert d.do("get")["key"] == "ASIA0002"
        # The service says they are no good, twice: one renewal.
        for _ in range(2):
            d.do("expired", key="ASIA0002", token="token/ASIA0002==")
            assert d.do("get")["key"] == "ASIA0003"
        # Dead, and nobody answers: all hear it, of one request.
        d.do("advance", s=2 * 3600)
        aws.faults.append(Fault(status=503, times=1))
        before = len(aws.requests)
        got = d.do("many", count=8)
        assert all(g["code"] < 0 and g["retry"] == "later" for g in got), got
        assert len(aws.requests) == before + 1
        d.do("advance", s=6)
        assert d.do("get")["key"] == "ASIA0004"
    aws.close()


def stopping_ends_a_wait():
    from aws import FakeAws, Key
    aws = FakeAws()
    aws.keys["BASE"] = Key("b")
    with Driver() as d:
        d.do("open", access_key="BASE", secret_key="b", role_arn=ROLE, sts=aws.url)
        got = d.do("stopped")
        assert got[0]["code"] == -125, got
        assert not aws.requests
    aws.close()


TESTS = [signatures_are_those_of_botocore, environment_goes_before_files,
         files_are_read_as_botocore_reads_them, without_credentials_it_says_where_it_looked,
         roles_are_assumed_by_profiles, a_wrong_clock_is_corrected_for_sts,
         containers_and_instances_give_theirs,
         temporary_ones_are_renewed_early_by_one_and_the_old_ones_serve, stopping_ends_a_wait]


def main():
    try:
        import botocore  # pylint: disable=unused-import
    except ImportError as e:
        print(f"1..0 # SKIP {e}: install python3-botocore")
        return 0
    print(f"1..{len(TESTS)}")
    failed = 0
    for number, test in enumerate(TESTS, 1):
        try:
            test()
            print(f"ok {number} - {test.__name__}")
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"not ok {number} - {test.__name__}")
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
