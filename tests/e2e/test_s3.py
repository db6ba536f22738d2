"""Pictures in buckets: against s3rver, which others wrote, read back by boto3 and s3cmd; and against a
fake that misbehaves as S3 may. Of signatures s3rver wants only the form, date and digest header to be
right; the fake checks them wholly, by botocore's code."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fakes"))
pytest.importorskip("botocore", reason="install python3-boto3")
from aws import Fault, FakeAws, Key  # noqa: E402  pylint: disable=wrong-import-position

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SNAPSHOTD", ROOT / "build/src/app/snapshotd"))
DRIVER = BINARY.parents[2] / "tests/unit/storage/storage_driver"
S3RVER = ROOT / ".deps/s3rver/node_modules/s3rver/bin/s3rver.js"
PATH = "front/2026/01/02/human_front_1767323045.jpg"
SECRET = "se/cr+et-CANARY"


class Driver:
    def __init__(self, folder, name="s3:x", env=None, **keys):
        keys = {"bucket": "pictures", "access_key": "AKID", "secret_key": SECRET, **keys}
        file = folder / "driver.conf"
        file.write_text(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items() if v))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        clean.update(HOME=str(folder), AWS_EC2_METADATA_DISABLED="true", **(env or {}))
        self.process = subprocess.Popen([DRIVER, file, name], stdin=subprocess.PIPE, env=clean,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.stdin.close()
        said = self.process.stderr.read()
        code = self.process.wait(timeout=60)
        if kind is None:
            assert (code, said) == (0, "")

    def do(self, op, **args):
        self.process.stdin.write(json.dumps({"op": op, **args}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert SECRET not in line
        return json.loads(line)

    def put(self, size=150_000, seed=1, path=PATH, **args):
        return self.do("put", size=size, seed=seed, path=path, **args)

    def verify(self, size=150_000, seed=1, path=PATH):
        return self.do("verify", size=size, seed=seed, path=path)


def content(size, seed):
    out = bytearray(size)
    for i in range(size):
        seed = (seed * 1664525 + 1013904223) & 0xffffffff
        out[i] = seed >> 24
    return bytes(out)


def well(answer):
    assert answer["code"] == 0, answer
    return answer


# ---- a fake that misbehaves

@pytest.fixture
def fake():
    aws = FakeAws()
    aws.keys["AKID"] = Key(SECRET)
    aws.bucket("pictures")
    yield aws
    aws.close()


def driver_of(fake, folder, **keys):
    return Driver(folder, **{"endpoint": fake.url, "region": "us-east-1", **keys})


def test_an_object_says_what_it_is(fake, tmp_path):
    with driver_of(fake, tmp_path, prefix="home/cams", storage_class="STANDARD_IA",
                   sse="AES256") as d:
        well(d.put(camera="Haustür ", label="50% \t two  blanks", labels="person,猫"))
        well(d.verify())
        assert d.do("describe") == {"text": f"S3 bucket 'pictures' at {fake.url} (credentials: our "
                                    "configuration)", "error": "", "url": "s3://pictures/home/cams/"}
    key = f"home/cams/{PATH}"
    one = fake.buckets["pictures"].objects[key]
    assert one.body == content(150_000, 1)
    wanted = {"content-type": "image/jpeg", "x-amz-storage-class": "STANDARD_IA",
              "x-amz-server-side-encryption": "AES256", "x-amz-meta-camera": "Haust%C3%BCr%20",
              "x-amz-meta-device": "50%25 %09 two %20blanks",
              "x-amz-meta-labels": "person,%E7%8C%AB", "x-amz-meta-snapshot-id": "0123456789abcdef",
              "x-amz-meta-taken-at": "2026-01-02T03:04:05.000Z",
              "x-amz-meta-sha256": hashlib.sha256(one.body).hexdigest()}
    assert {k: one.headers[k] for k in wanted} == wanted
    assert "expect" not in one.headers
    assert [r.method for r in fake.requests] == ["PUT", "HEAD", "HEAD"]


# What S3 says, how often until it is well again, and what is made of it.
@pytest.mark.parametrize("status, code, headers, trouble, retry, words", [
    (503, "SlowDown", [("Retry-After", "7")], "slowed", "later", "SlowDown"),
    (503, "", [], "slowed", "later", "HTTP 503"),
    (429, "TooManyRequestsException", [], "slowed", "later", "TooMany"),
    (500, "InternalError", [], "away", "later", "InternalError"),
    (502, "", [], "away", "later", "HTTP 502"),
    (400, "RequestTimeout", [], "away", "later", "RequestTimeout"),
    (403, "AccessDenied", [], "login", "later", "not allowed"),
    (403, "InvalidAccessKeyId", [], "login", "later", "not known"),
    (403, "SignatureDoesNotMatch", [], "login", "later", "secret key"),
    (404, "NoSuchBucket", [], "login", "later", "has to be made"),
    (403, "AccountProblem", [], "login", "later", "account"),
    (400, "InvalidStorageClass", [], "login", "later", "storage_class"),
    (301, "PermanentRedirect", [], "login", "later", "another region"),
    (507, "XMinioStorageFull", [], "full", "later", "full"),
    (400, "BadDigest", [], "well", "now", "damaged"),
    (409, "OperationAborted", [], "well", "later", "OperationAborted"),
    (400, "EntityTooLarge", [], "well", "never", "EntityTooLarge"),
    (400, "KeyTooLongError", [], "well", "never", "KeyTooLong"),
    (405, "MethodNotAllowed", [], "login", "later", "endpoint"),
    (409, "ConditionalRequestConflict", [], "well", "now", "same time"),
    # What nobody here knows may be of one picture or of all: it waits.
    (400, "SomethingNew", [], "well", "later", "SomethingNew"),
])
def test_an_error_is_told_by_its_code(fake, tmp_path, status, code, headers, trouble, retry, words):
    fake.faults.append(Fault(lambda r: r.method == "PUT", status=status, code=code, headers=headers))
    with driver_of(fake, tmp_path) as d:
        got = d.put()
        assert got["code"] < 0 and (got["trouble"], got["retry"]) == (trouble, retry), got
        assert words in got["error"] and "pictures" in got["error"], got
        assert got["pause_ms"] == (7000 if headers else 0)
        state = d.do("describe")["error"]
        assert state == ("" if trouble == "well" else got["error"])
        assert len(fake.requests) == 1  # nobody knocks twice
        well(d.put())
        assert d.do("describe")["error"] == ""
    assert len(fake.buckets["pictures"].objects) == 1


def test_what_is_refused_for_unknown_reasons_again_and_again_is_the_buckets_trouble(fake, tmp_path):
    """A wrong sse, in the words of a server of its own. One picture that is at fault must not keep
    the others from their try, so every other one is put aside and the bucket asked with the next."""
    fake.faults.append(Fault(lambda r: r.method == "PUT", status=400, code="InvalidEncryption",
                             times=1 << 30))
    with driver_of(fake, tmp_path) as d:
        got = [d.put(path=f"a/{i}.jpg") for i in range(7)]
        assert [g["trouble"] for g in got] == \
            ["well", "well", "login", "well", "login", "well", "login"]
        assert all(g["retry"] == "later" for g in got)
        assert {g["pause_ms"] for g in got} == {0, 300_000}
        fake.faults.clear()
        well(d.put())
        fake.faults.append(Fault(lambda r: r.method == "PUT", status=400, code="InvalidEncryption"))
        assert d.put()["trouble"] == "well"


@pytest.mark.parametrize("fault", [
    {"silent": False, "cut": True}, {"cut": True, "after": True}, {"status": 500, "after": True},
    {"status": 200, "body": "<html>login page</html>"}, {"status": 502, "body": "<html>oops"},
    {"status": 404}, {"status": 404, "body": "<html>no such page"}, {"status": 405},
])
def test_a_put_whose_answer_is_lost_or_nonsense_is_repeated(fake, tmp_path, fault):
    fake.faults.append(Fault(lambda r: r.method == "PUT", **fault))
    with driver_of(fake, tmp_path) as d:
        got = d.put()
        assert got["code"] < 0 and got["retry"] != "never", got
        assert got["trouble"] == ("well" if fault.get("status") == 200 else "away"), got
        well(d.put())
        well(d.verify())
    assert fake.buckets["pictures"].objects[PATH].body == content(150_000, 1)
    assert len(fake.buckets["pictures"].objects) == 1


def test_the_right_region_is_learnt_and_kept(fake, tmp_path):
    fake.buckets["pictures"].region = "eu-west-3"
    with driver_of(fake, tmp_path, region="") as d:
        well(d.put())
        assert [(r.method, r.answer) for r in fake.requests] == \
            [("PUT", 301), ("PUT", 200), ("HEAD", 200)]
        well(d.put(seed=2))
        assert fake.count(lambda r: r.answer == 301) == 1
        # A look has no body: the header tells.
        fake.buckets["pictures"].region = "eu-west-2"
        well(d.verify(seed=2))
        assert [r.answer for r in fake.requests[-2:]] == [301, 200]


@pytest.mark.parametrize("off", [-3600, 40 * 86400])
def test_a_wrong_clock_is_corrected_once(fake, tmp_path, off):
    fake.clock = lambda: time.time() + off
    with driver_of(fake, tmp_path) as d:
        well(d.put())
        assert [r.answer for r in fake.requests] == [403, 200, 200]
        got = d.do("all", jobs=[{"op": "put", "size": 1000, "seed": i, "path": f"a/{i}.jpg"}
                                for i in range(8)])
        assert all(g["code"] == 0 for g in got)
        assert fake.count(lambda r: r.answer == 403) == 1
        # Set again, and a server that says one thing and does another is not asked for ever.
        fake.clock = time.time
        well(d.verify())
        fake.faults.append(Fault(status=403, code="RequestTimeTooSkewed", times=2))
        got = d.put()
        assert got["trouble"] == "login" and "clock" in got["error"], got


def test_credentials_that_expired_are_fetched_anew(fake, tmp_path):
    folder = tmp_path / ".aws"
    folder.mkdir()

    def write(name):
        (folder / "credentials").write_text(
            f"[default]\naws_access_key_id = {name}\naws_secret_access_key = {fake.keys[name].secret}\n"
            f"aws_session_token = {fake.keys[name].token}\n")

    first, key = fake.issue(None)
    write(first)
    with driver_of(fake, tmp_path, access_key="", secret_key="") as d:
        well(d.put())
        key.expires = fake.clock() - 1
        got = d.put()
        assert got["trouble"] == "login" and "expired" in got["error"], got
        assert got["pause_ms"] == 300_000
        write(fake.issue(None)[0])  # a cron job comes by
        well(d.put())
        assert d.do("describe")["text"].endswith(f"profile 'default' of {folder}/credentials)")


@pytest.mark.parametrize("renewed", [False, True])
def test_credentials_that_expire_behind_a_put_cost_no_picture(fake, tmp_path, renewed):
    """S3 says HEAD 400 then, without a body: no code tells why."""
    folder = tmp_path / ".aws"
    folder.mkdir()

    def write(name):
        (folder / "credentials").write_text(
            f"[default]\naws_access_key_id = {name}\naws_secret_access_key = {fake.keys[name].secret}\n"
            f"aws_session_token = {fake.keys[name].token}\n")

    first, key = fake.issue(None)
    write(first)
    real_put = fake.s3_put

    def last_put(bucket, name, r):
        answer = real_put(bucket, name, r)
        key.expires = fake.clock() - 1
        if renewed:
            write(fake.issue(None)[0])
        return answer

    fake.s3_put = last_put
    with driver_of(fake, tmp_path, access_key="", secret_key="") as d:
        got = d.put()
        if renewed:
            well(got)
        else:
            assert (got["trouble"], got["retry"]) == ("away", "later"), got
        fake.s3_put = real_put
        write(fake.issue(None)[0])
        well(d.put())
    assert fake.buckets["pictures"].puts[PATH] == 1


def test_a_configuration_that_no_request_comes_out_of_gives_up_no_picture(tmp_path):
    with Driver(tmp_path, endpoint="http://[::1") as d:
        got = d.put()
        assert (got["trouble"], got["retry"]) == ("login", "later"), got
        assert "URL is not valid" in got["error"], got
        assert d.do("describe")["error"] == got["error"]


def test_without_credentials_the_words_say_where_they_were_looked_for(fake, tmp_path):
    with driver_of(fake, tmp_path, access_key="", secret_key="") as d:
        got = d.put()
        assert (got["trouble"], got["retry"], got["pause_ms"]) == ("login", "later", 30_000), got
        assert "looked in" in got["error"] and ".aws/credentials" in got["error"]
    assert not fake.requests


def test_credentials_that_may_only_write_are_enough(fake, tmp_path):
    fake.faults.append(Fault(lambda r: r.method == "HEAD", status=403, times=99))
    with driver_of(fake, tmp_path) as d:
        for seed in range(5):
            well(d.put(seed=seed, path=f"a/{seed}.jpg"))
        assert fake.count(lambda r: r.method == "HEAD") == 1
        got = d.verify()
        assert got["trouble"] == "login", got
    assert len(fake.buckets["pictures"].objects) == 5


@pytest.mark.parametrize("conditions", ["kept", "refused", "ignored"])
def test_a_repeat_by_credentials_that_may_only_write_makes_one(fake, tmp_path, conditions):
    fake.conditions = conditions
    fake.faults.append(Fault(lambda r: r.method == "HEAD", status=403, times=99))
    fake.faults.append(Fault(lambda r: r.method == "PUT" and (
        conditions != "refused" or not r.headers.get("If-None-Match")), cut=True, after=True))
    with driver_of(fake, tmp_path) as d:
        d.put()  # well, where libcurl repeats it by itself
        well(d.put())
    assert list(fake.buckets["pictures"].objects) == [PATH]


@pytest.mark.parametrize("conditions", ["kept", "refused"])
def test_an_object_of_somebody_else_is_not_replaced(fake, tmp_path, conditions):
    fake.conditions = conditions
    objects = fake.buckets["pictures"].objects
    second = PATH.replace(".jpg", "-2.jpg")
    with driver_of(fake, tmp_path) as d:
        got = well(d.put(id="a" * 32))
        assert (got["key"], got["saves"]) == (PATH, 0)
        got = well(d.put(seed=2, id="b" * 32))
        assert (got["key"], got["saves"]) == (second, 1)
        assert objects[PATH].body == content(150_000, 1)
        assert objects[second].body == content(150_000, 2)
        # A repeat, from the mark and from before it was saved.
        got = well(d.put(seed=2, id="b" * 32, key=second))
        assert (got["key"], got["saves"]) == (second, 0)
        assert well(d.put(seed=2, id="b" * 32))["key"] == second
        # The same bytes are the same picture, and an older copy of one's own gives way.
        assert well(d.put(id="c" * 32))["key"] == PATH
        assert well(d.put(seed=3, id="b" * 32, key=second))["key"] == second
        assert objects[second].body == content(150_000, 3)
        assert well(d.put(seed=4, id="d" * 32))["key"] == PATH.replace(".jpg", "-3.jpg")
    assert len(objects) == 3


@pytest.mark.parametrize("answer", [(501, "NotImplemented"), (400, "InvalidArgument"), (501, "")])
def test_a_server_that_knows_no_conditions_is_found_out_once(fake, tmp_path, answer):
    fake.faults.append(Fault(lambda r: r.headers.get("If-None-Match"), times=99, status=answer[0],
                             code=answer[1]))
    with driver_of(fake, tmp_path) as d:
        for i in range(3):
            well(d.put(path=f"a/{i}.jpg"))
    assert fake.count(lambda r: r.headers.get("If-None-Match")) == 1
    assert len(fake.buckets["pictures"].objects) == 3


def test_a_server_that_ignores_conditions_gets_all(fake, tmp_path):
    fake.conditions = "ignored"
    with driver_of(fake, tmp_path) as d:
        for _ in range(2):
            well(d.put())
            well(d.verify())
    assert len(fake.buckets["pictures"].objects) == 1


def test_other_bytes_than_were_given_are_noticed(fake, tmp_path):
    real_put = fake.s3_put

    def damaging_put(bucket, key, r):
        r.body = r.body[:-1] + b"?"
        del r.headers["Content-MD5"]
        return real_put(bucket, key, r)

    with driver_of(fake, tmp_path) as d:
        fake.s3_put = damaging_put
        got = d.put()
        assert got["code"] == -74 and got["retry"] == "now", got
        fake.s3_put = real_put
        well(d.put())
        assert d.verify(seed=2)["code"] == -74
        fake.buckets["pictures"].objects.clear()
        assert d.verify()["code"] == -2


def test_etags_of_kms_are_no_digests(fake, tmp_path):
    real = {"put": fake.s3_put, "head": fake.s3_head}

    def with_kms(name):
        def answer(bucket, key, r):
            a = real[name](bucket, key, r)
            a.headers = [(n, v if n != "ETag" else '"%s"' % ("ab" * 16)) for n, v in a.headers]
            a.headers.append(("x-amz-server-side-encryption", "aws:kms"))
            return a
        return answer

    fake.s3_put, fake.s3_head = with_kms("put"), with_kms("head")
    with driver_of(fake, tmp_path, sse="aws:kms") as d:
        well(d.put())
        well(d.verify())
        assert d.verify(seed=2)["code"] == -74


@pytest.mark.parametrize("says_so", [True, False])
def test_etags_of_kms_are_enough_where_one_may_only_write(fake, tmp_path, says_so):
    real_put = fake.s3_put

    def put(bucket, key, r):
        a = real_put(bucket, key, r)
        a.headers = [(n, v if n != "ETag" else '"%s"' % ("ab" * 16)) for n, v in a.headers]
        if says_so:
            a.headers.append(("x-amz-server-side-encryption", "aws:kms"))
        return a

    fake.s3_put = put
    fake.faults.append(Fault(lambda r: r.method == "HEAD", status=403, times=99))
    with driver_of(fake, tmp_path, sse="aws:kms") as d:
        got = d.put()
        if says_so:  # S3 has checked what came, and says that its ETag is no MD5
            well(got)
            well(d.put(path="another.jpg"))
            assert fake.count(lambda r: r.method == "HEAD") == 1
        else:
            assert got["trouble"] == "login" and "s3:GetObject" in got["error"], got


def test_etags_that_only_look_like_digests_are_found_out_once(fake, tmp_path):
    real = {"put": fake.s3_put, "head": fake.s3_head}

    def oddly(name):
        def answer(bucket, key, r):
            a = real[name](bucket, key, r)
            a.headers = [(n, v if n != "ETag" else '"%s"' % ("ab" * 16)) for n, v in a.headers]
            return a
        return answer

    fake.s3_put, fake.s3_head = oddly("put"), oddly("head")
    with driver_of(fake, tmp_path) as d:
        for seed in range(5):
            well(d.put(seed=seed, path=f"a/{seed}.jpg"))
            well(d.verify(seed=seed, path=f"a/{seed}.jpg"))
    assert fake.count(lambda r: r.method == "GET") == 1


def test_a_path_that_is_no_key_ends_with_a_reason(fake, tmp_path):
    with driver_of(fake, tmp_path) as d:
        for path in ("../x.jpg", "a/./b.jpg", "a" * 600, "/x.jpg", "a//b.jpg"):
            got = d.put(path=path)
            assert (got["code"], got["retry"], got["trouble"]) == (-36, "never", "well"), (path, got)
            assert got["asked_nobody"]  # an outage goes on meanwhile, perhaps
            assert got["key"], "an empty key is a job that never was reserved"
    assert not fake.requests


@pytest.mark.parametrize("keys, words", [
    ({"endpoint": "nas:9000"}, "https://host"), ({"endpoint": "http://h/path"}, "https://host"),
    ({"secret_key": ""}, "secret_key"), ({"prefix": "../x"}, "prefix"), ({"bucket": ""}, "bucket"),
    ({"region": "eu central 1"}, "region"), ({"region": "EU"}, "region"),
    ({"region": "Region/One", "endpoint": "http://h"}, "region"),
    ({"bucket": "a/b"}, "no name of a bucket"), ({"profile": "x"}, "of no use"),
])
def test_a_section_that_cannot_work_is_refused(tmp_path, keys, words):
    with Driver(tmp_path, **keys) as d:
        code = d.process.wait(timeout=30)
        said = d.process.stderr.read()
        d.process.stderr = open(os.devnull, encoding="ascii")
        assert code == 1 and words in said and SECRET not in said, said
        d.process.returncode = 0


def test_hosts_are_built_as_aws_wants_them(fake, tmp_path):
    """By the proxy that is asked: https to a name of AWS goes nowhere from here."""
    import socket
    import threading
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def refuse():
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with c:
                asked.append(c.recv(4096).split(b"\r\n")[0].decode())
                c.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    proxy = {"https_proxy": f"http://127.0.0.1:{listener.getsockname()[1]}", "no_proxy": ""}
    for keys, host in (({}, "pictures.s3.us-east-1.amazonaws.com"),
                       ({"region": "eu-central-1"}, "pictures.s3.eu-central-1.amazonaws.com"),
                       ({"region": "cn-north-1"}, "pictures.s3.cn-north-1.amazonaws.com.cn"),
                       ({"bucket": "my.pictures"}, "s3.us-east-1.amazonaws.com"),
                       ({"path_style": "yes"}, "s3.us-east-1.amazonaws.com"),
                       ({"bucket": "Old_Name"}, "s3.us-east-1.amazonaws.com")):
        with Driver(tmp_path, env=proxy, **keys) as d:
            got = d.put()
            assert got["trouble"] == "away", got
        assert asked.pop() == f"CONNECT {host}:443 HTTP/1.1", host
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_faults_in_any_order_leave_each_picture_once(fake, tmp_path):
    import random
    rng = random.Random(5)
    kinds = [{"status": 503, "code": "SlowDown"}, {"status": 500, "after": True}, {"cut": True},
             {"cut": True, "after": True}, {"status": 400, "code": "BadDigest"}, {"status": 502},
             {"status": 403, "code": "AccessDenied"}, {"status": 200, "body": "<html>"}]
    jobs = [{"op": "put", "size": 20_000 + i, "seed": i, "path": f"c{i % 3}/2026/01/02/{i}.jpg"}
            for i in range(120)]
    left = jobs
    with driver_of(fake, tmp_path) as d:
        for _ in range(20):
            fake.faults[:] = [Fault(lambda r, p=rng.random(): rng.random() < p, times=1,
                                    **rng.choice(kinds)) for _ in range(40)]
            got = d.do("all", jobs=left)
            left = [j for j, g in zip(left, got) if g["code"] < 0]
            if not left:
                break
        fake.faults.clear()
        assert all(g["code"] == 0 for g in d.do("all", jobs=left))
        assert all(g["code"] == 0 for g in d.do("all", jobs=[{**j, "op": "verify"} for j in jobs]))
    objects = fake.buckets["pictures"].objects
    assert len(objects) == len(jobs)
    for job in jobs:
        body = objects[job["path"]].body
        assert len(body) == job["size"] and body[:64] == content(64, job["seed"])


# ---- a server that others wrote

@pytest.fixture(params=["path", "host"])
def s3rver(request, tmp_path):
    if not S3RVER.exists() or not shutil.which("node"):
        pytest.skip("needs s3rver: tools/setup test")
    import socket
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    process = subprocess.Popen(
        ["node", S3RVER, "-d", tmp_path / "data", "-a", "127.0.0.1", "-p", str(port),
         "--service-endpoint", "localhost", "--configure-bucket", "pictures"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert any("listening" in line for line in process.stdout), "s3rver did not start"
    by_path = request.param == "path"  # all names below localhost are this machine to libcurl
    yield {"endpoint": f"http://{'127.0.0.1' if by_path else 's3.localhost'}:{port}",
           "path_style": "auto" if by_path else "no", "access_key": "S3RVER",
           "secret_key": "S3RVER"}, f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=30)


def test_a_server_and_clients_that_others_wrote_agree(s3rver, tmp_path):
    import boto3
    keys, url = s3rver
    names = ["front/2026/01/02/human_front_1.jpg", "Haustür Süd/2026/01/02/a b+c&d=e%25(1)'!~.jpg",
             "x/empty.jpg"]
    with Driver(tmp_path, **keys) as d:
        for seed, name in enumerate(names):
            size = 0 if "empty" in name else 60_000 + seed
            for _ in range(2):
                well(d.put(path=name, size=size, seed=seed))
            well(d.verify(path=name, size=size, seed=seed))
        assert d.verify(path=names[0], size=60_000, seed=9)["code"] == -74
        assert d.verify(path="nobody.jpg")["code"] == -2
        jobs = [{"op": "put", "size": 30_000, "seed": i, "path": f"many/{i}.jpg"} for i in range(64)]
        assert all(g["code"] == 0 for g in d.do("all", jobs=jobs))
    with Driver(tmp_path, **{**keys, "access_key": "NOBODY"}) as d:
        got = d.put()
        assert got["trouble"] == "login" and "InvalidAccessKeyId" in got["error"], got
    with Driver(tmp_path, **{**keys, "bucket": "nobodys"}) as d:
        got = d.put()
        assert got["trouble"] == "login" and "has to be made first" in got["error"], got

    client = boto3.client("s3", endpoint_url=url, aws_access_key_id="S3RVER",
                          aws_secret_access_key="S3RVER", region_name="us-east-1",
                          config=boto3.session.Config(s3={"addressing_style": "path"}))
    listed = client.list_objects_v2(Bucket="pictures")["Contents"]
    assert sorted(o["Key"] for o in listed) == sorted(names + [j["path"] for j in jobs])
    for seed, name in enumerate(names[:2]):
        got = client.get_object(Bucket="pictures", Key=name)
        assert got["Body"].read() == content(60_000 + seed, seed)
        assert got["ContentType"] == "image/jpeg" and got["Metadata"]["camera"] == "front"

    if shutil.which("s3cmd"):
        host = url.removeprefix("http://")
        said = subprocess.run(
            ["s3cmd", "--no-ssl", "--access_key=S3RVER", "--secret_key=S3RVER", f"--host={host}",
             f"--host-bucket={host}", "-c", "/dev/null", "get", "--force",
             f"s3://pictures/{names[0]}", tmp_path / "got.jpg"], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        assert (tmp_path / "got.jpg").read_bytes() == content(60_000, 0)


# ---- the whole program

def test_the_daemon_keeps_its_pictures_in_a_bucket(launch, people, fake, tmp_path):
    from conftest import sha256, wait_until
    fake.buckets["pictures"].region = "eu-north-1"
    fake.faults.append(Fault(lambda r: r.method == "PUT", status=503, code="SlowDown",
                             headers=[("Retry-After", "1")]))
    sim = launch.camera(people)
    d = launch.daemon(f"""
[camera:porch]
kind = foscam
address = {sim.address}
user = admin
password = secret1234
location = Front Door
[detection]
enabled = no
[s3:kept]
bucket = pictures
endpoint = {fake.url}
access_key = AKID
secret_key = {SECRET}
upload = all
prefix = home
""", env={"HOME": str(tmp_path), "AWS_REGION": "", "AWS_DEFAULT_REGION": ""})
    stored = []
    for _ in range(3):
        status, doc = d.trigger("porch", wait=30)
        assert status == 200, doc
        stored.append(d.get(f"/api/v1/snapshots/{doc['id']}"))
    bucket = fake.buckets["pictures"]
    wait_until(lambda: len(bucket.objects) == 3, "the pictures to be in the bucket")
    for one in stored:
        there = bucket.objects[f"home/{one['path']}"]
        assert sha256(there.body) == one["sha256"]
        assert there.headers["x-amz-meta-snapshot-id"] == one["id"]
        assert there.headers["x-amz-meta-camera"] == "porch"
    status = json.dumps(d.get("/api/v1/status"))
    assert "s3:kept" in status
    assert d.stop() == 0
    for file in [*tmp_path.glob("*.log"), *(p for p in d.data.rglob("*") if p.is_file())]:
        assert SECRET.encode() not in file.read_bytes(), file
