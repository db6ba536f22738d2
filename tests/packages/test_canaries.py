"""Each secret of the configuration is a canary; the daemon is used, fails, is reloaded and crashes;
and nothing that was written, told or sent to somebody else's place has one in it (goal S13).

Whom the daemon speaks with sends back all that it was sent, so that an error which quotes an answer
quotes the secrets as well."""

import base64
import contextlib
import ftplib
import io
import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

from conftest import BINARY, SANITIZED, missing, wait_until
from fakes.connect import FakeConnect
from fakes.wire import Answer, Server
from ports import free_port

# By section and key. In a value that has a form, {} stands for the canary.
PLACES = {
    ("app", "cronitor_monitor_key"): "{}",
    ("camera", "password"): "{}",
    ("ftp", "password"): "{}",
    ("ftp_account", "password"): "{}",
    ("rabbitmq", "password"): "{}",
    ("sentry", "dsn"): "http://{}@127.0.0.1:<sentry>/1",
    ("gdrive", "token"): '{{"client_id": "id", "client_secret": "{0}s", "refresh_token": "{0}r", '
                         '"access_token": "{0}a", "token_uri": "<echo>/token"}}',
    ("gdrive", "client_secret"): '{{"installed": {{"client_id": "id", "client_secret": "{}"}}}}',
    ("s3", "secret_key"): "{}",
    ("rekognition", "secret_key"): "{}",
    ("cloudwatch", "secret_key"): "{}",
    ("aws", "secret_access_key"): "{}",
    ("aws", "session_token"): "{}",
    ("health", "healthchecks_url"): "<echo>/{}",
    ("health", "cronitor_api_key"): "{}",
    ("onepassword", "connect_token"): "{}",  # in a file of secrets_dir
    ("onepassword", "service_account_token"): "{}",
}
CONFIG = """
[app]
log_level = debug
cronitor_monitor_key = <app.cronitor_monitor_key>
[camera:gate]
kind = foscam
address = <sim>
user = viewer
password = <camera.password>
tries = 1
[camera:hall]
kind = http
url = <echo>/hall.jpg?usr=viewer&pwd=<url>
tries = 1
[camera:loft]
kind = axis
address = <echo-address>
user = viewer
password = <camera.password>
tries = 1
[camera:porch]
kind = foscam
address = 127.0.0.1:9
user = viewer
password = op://Home/Porch/password
tries = 1
[camera:yard]
kind = push
[detection]
enabled = yes
detector = cloud
[events]
file = events.jsonl
[ftp]
enabled = yes
listen = 127.0.0.1:<ftp>
user = cam
password = <ftp.password>
[ftp_account:yard]
password = <ftp_account.password>
camera = yard
[rabbitmq]
server_address = 127.0.0.1:1
user = somebody
password = <rabbitmq.password>
[sentry]
dsn = <sentry.dsn>
[gdrive]
folder = pictures
upload = all
token = <gdrive.token>
client_secret = <gdrive.client_secret>
api_url = <echo>
token_url = <echo>/token
[s3:nas]
bucket = pictures
endpoint = <echo>
region = eu-west-1
upload = all
access_key = AKIDOWN
secret_key = <s3.secret_key>
[s3:other]
bucket = pictures
endpoint = <echo>
region = eu-west-1
upload = all
[rekognition]
region = eu-west-1
endpoint = <echo>
access_key = AKIDOWN
secret_key = <rekognition.secret_key>
patience = 1s
[cloudwatch]
enabled = yes
region = eu-west-1
interval = 100ms
endpoint = <echo>
access_key = AKIDOWN
secret_key = <cloudwatch.secret_key>
[aws]
access_key_id = AKIDALL
secret_access_key = <aws.secret_access_key>
session_token = <aws.session_token>
[health]
healthchecks_url = <health.healthchecks_url>
cronitor_api_key = <health.cronitor_api_key>
cronitor_url = <echo>
interval = 1s
[onepassword]
secrets_dir = <secrets>
service_account_token = <onepassword.service_account_token>
"""
FAULTY = """
[camera:more]
kind = http
url = http://u:<url>@h/?a=<camera.password>
secret1 = <s3.secret_key>
password =
 <ftp.password>
"""
PATHS = ("/metrics", "/healthz", "/readyz", "/api/v1/status", "/api/v1/snapshots", "/api/v1/cameras",
         "/api/v1/nothing", "/")


class Echo:
    """Refuses everything, with all of the request in its answer. What came is in `heard`."""

    def __init__(self):
        self.heard = []
        self.server = Server(self.handle)
        self.address = f"127.0.0.1:{self.server.port}"

    def handle(self, request):
        body = request.read_body() or b""
        headers = "\n".join(f"{k}: {v}" for k, v in request.headers.items())
        self.heard.append((request.path, headers, body))
        text = f"{request.method} {request.target}\n{headers}\n".encode() + body
        # As the one asked would say it: Google and AWS in JSON, S3 in XML.
        kind = "application/json"
        answer = json.dumps({"error": "invalid_grant", "error_description": text.decode("latin-1"),
                             "__type": "AccessDeniedException",
                             "message": text.decode("latin-1")}).encode()
        if "pictures" in request.path:
            kind = "application/xml"
            answer = b"<Error><Code>AccessDenied</Code><Message>" + \
                re.sub(rb"[<&]", b"_", text)[:2000] + b"</Message></Error>"
        request.connection.send(Answer(400, answer, kind).wire(time.time()))
        return True


def secrets_of_the_reference():
    text = subprocess.run([BINARY, "config", "--reference"], capture_output=True, text=True,
                          check=True).stdout
    found, section = set(), None
    for line in text.splitlines():
        if heading := re.match(r"### \[(\w+)", line):
            section = heading[1]
        elif row := re.match(r"\| `(\w+)` \| secret \|", line):
            found.add((section, row[1]))
    return found


def forms(canary):
    """As it is, and in Base64 wherever in it."""
    yield canary.encode()
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + canary.encode())
        yield text[4 if shift else 0:-4]


def use(d, sim, ftp_port, words):
    """All that can go well and wrong; what was told."""
    told = []
    for camera in ("gate", "hall", "loft", "porch"):
        told.append(json.dumps(d.trigger(camera, wait=30)[1]).encode())
    sim.fault("status:401")
    told.append(json.dumps(d.trigger("gate", wait=30)[1]).encode())
    sim.fault("")
    with ftplib.FTP() as ftp:
        ftp.connect("127.0.0.1", ftp_port, timeout=30)
        ftp.login("yard", words["ftp_account.password"])
        told.append(ftp.storbinary("STOR a.jpg", io.BytesIO(words["picture"])).encode())
        told.append(ftp.sendcmd("STAT").encode())
        with contextlib.suppress(ftplib.error_perm):
            ftp.sendcmd("SITE " + words["ftp_account.password"][:4])
    with ftplib.FTP() as ftp:
        ftp.connect("127.0.0.1", ftp_port, timeout=30)
        with pytest.raises(ftplib.error_perm) as refused:
            ftp.login("cam", words["ftp.password"] + "x")
        told.append(str(refused.value).encode())
    wait_until(lambda: d.get("/api/v1/status")["counts"]["snapshots"] >= 2, "pictures")
    return told


def look(d, env):
    told = [d.request(path)[2] for path in PATHS]
    told.append(d.request("/api/v1/cameras/nobody/trigger", "POST")[2])
    for file in ("cmdline", "environ", "comm", "status", "limits", "maps", "mountinfo"):
        told.append(pathlib.Path(f"/proc/{d.child.pid}/{file}").read_bytes())
    for command in (("status", "--url", f"http://127.0.0.1:{d.port}"), ("check", "-c", d.config),
                    ("config", "--effective", "-c", d.config)):
        done = subprocess.run([BINARY, *command], capture_output=True, check=False, env=env,
                              cwd=d.folder, timeout=60)
        told += [done.stdout, done.stderr]
        assert done.stdout or done.stderr
    return told


def test_each_secret_has_its_canary():
    assert secrets_of_the_reference() == set(PLACES)


@pytest.mark.skipif(SANITIZED, reason="the sanitizer takes the crash")
def test_no_canary_is_in_anything_that_is_written_told_or_sent(launch, people, tmp_path):
    try:
        from fakes.sentry import FakeSentry
        sentry = FakeSentry()
    except ImportError:
        missing("python3-sentry-sdk")
    echo = Echo()
    sim = launch.camera(people)
    canaries = {f"{s}.{k}": f"c4n4ry{i:02d}q{s[:3]}Z{k[:3]}7".replace("_", "x")
                for i, (s, k) in enumerate(PLACES)}
    canaries |= {"url": "c4n4ry98qurlZ7", "vault": "c4n4ry99qvaultZ7"}
    ftp_port = free_port()
    words = {"sim": sim.address, "echo": f"http://{echo.address}", "echo-address": echo.address,
             "sentry": str(sentry.port), "ftp": str(ftp_port), "secrets": str(tmp_path / "run"),
             "url": canaries["url"]}

    def fill(text):
        return re.sub(r"<([\w.-]+)>", lambda m: words[m[1]], text)

    for (section, key), form in PLACES.items():
        name = f"{section}.{key}"
        words[name] = fill(form.format(canaries[name]))
    words["picture"] = pathlib.Path(people).read_bytes()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/op_connect_token").write_text(words["onepassword.connect_token"] + "\n")
    env = {"OP_CONNECT_HOST": "", "AWS_EC2_METADATA_DISABLED": "true", "PATH": "/usr/bin:/bin",
           "SNAPSHOTD_APP_LOG_TO": "console"}
    told = []
    with FakeConnect(token=words["onepassword.connect_token"]) as connect:
        connect.add_item(connect.add_vault("Home"), "Porch",
                         [("", "password", canaries["vault"])])
        env["OP_CONNECT_HOST"] = connect.url
        d = launch.daemon(fill(CONFIG), env=env, wrapper=["prlimit", "--core=unlimited"])
        told += use(d, sim, ftp_port, words)
        told += look(d, env)
        connect.fault = {"kind": "status", "status": 403,
                         "message": f"no {words['onepassword.connect_token']}"}
        good = d.config.read_text()
        for text, said in ((good, "reloaded"), (good + fill(FAULTY), "reload-failed")):
            start = len(d.lines)
            d.config.write_text(text)
            d.signal(signal.SIGHUP)
            d.wait_line(rf"\[{said}\]", start)
        told += look(d, env)
        # Everybody was asked, else nothing is proved.
        for path in ("/hall.jpg", "/token", "/pictures", "/p/", "/" + canaries["health.healthchecks_url"]):
            wait_until(lambda p=path: any(h[0].startswith(p) for h in echo.heard), path)
        for words_of in ("RekognitionService", "Action=PutMetricData", canaries["aws.session_token"]):
            wait_until(lambda w=words_of: any(w in h[1] or w.encode() in h[2] for h in echo.heard),
                       words_of)
        wait_until(lambda: sentry.envelopes(), "an error at Sentry")
        d.signal(signal.SIGSEGV)
        assert d.wait() == -signal.SIGSEGV
        assert (d.data / "report/crash.part").exists()
        lines = d.text()
        d.config.write_text(good)
        d = launch.daemon(good, env=env)
        d.wait_line("crashed before: SIGSEGV")
        wait_until(lambda: [e for e in sentry.envelopes() if e.event["level"] == "fatal"],
                   "the crash at Sentry")
        told += look(d, env)
        assert d.stop() == 0
    assert (d.data / "secrets.cache").exists() and (d.folder / "events.jsonl").exists()
    written = {p: p.read_bytes() for p in tmp_path.rglob("*")
               if p.is_file() and p != d.config and p.parent != tmp_path / "run"}
    # The login is kept where it is meant to be, for its owner alone.
    login = written.pop(d.data / "tokens/gdrive.json", b"")
    assert canaries["gdrive.client_secret"].encode() not in login
    everything = {str(p): text for p, text in written.items()}
    everything |= {f"told {i}": text for i, text in enumerate(told)}
    everything |= {f"envelope {i}": e.bytes for i, e in enumerate(sentry.envelopes())}
    everything["lines"] = (lines + d.text()).encode()
    sentry.close()
    assert len(everything["lines"]) > 10000
    leaks = [f"{name} in {where}: ...{text[max(0, text.find(form) - 120):][:240]!r}"
             for name, canary in canaries.items() for form in forms(canary)
             for where, text in everything.items() if form in text]
    assert not leaks, "\n".join(leaks)
