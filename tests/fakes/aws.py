"""A little AWS on a port of 127.0.0.1: STS, the metadata of an instance, a container's credentials,
and buckets of S3. It checks signatures with botocore's own code, knows the time that it is told, and
misbehaves on request.

    aws = FakeAws()
    aws.keys["AKID"] = Key("secret")
    aws.bucket("pictures", region="eu-west-1")
    aws.faults.append(Fault(lambda r: r.method == "PUT", status=503, code="SlowDown"))
    ... aws.url ...
    aws.close()

Everything that came is in aws.requests, oldest first.
"""
import collections
import datetime
import email.utils
import hashlib
import http.server
import re
import socketserver
import sys
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SKEW_MAX_S = 15 * 60


class Key:
    """Credentials that the fake knows."""

    def __init__(self, secret, token=None, expires=None, role=None):
        self.secret, self.token, self.expires, self.role = secret, token, expires, role


class Request:
    """What came. `url` is as sent."""

    def __init__(self, method, url, headers, body):
        self.method, self.url, self.headers, self.body = method, url, headers, body
        self.path, _, self.query = url.partition("?")
        self.answer = None
        self.access_key = None
        self.region = None
        self.at = time.monotonic()

    @property
    def form(self):
        return dict(urllib.parse.parse_qsl(self.body.decode()))


class Fault:
    """For the next `times` requests that `match`: an error instead of an answer. `after` does what
    was asked first, so the answer is lost; `silent` keeps quiet until the client goes away; `cut`
    closes the connection."""

    def __init__(self, match=lambda r: True, times=1, status=500, code="", headers=(), message="",
                 after=False, silent=False, cut=False, body=None):
        self.match, self.times, self.status, self.code = match, times, status, code
        self.headers, self.message, self.after = list(headers), message, after
        self.silent, self.cut, self.body = silent, cut, body


class Bucket:
    def __init__(self, region):
        self.region = region
        self.objects = {}  # key -> Object
        self.puts = collections.Counter()


class Object:
    def __init__(self, body, headers):
        self.body, self.headers = body, headers
        self.etag = hashlib.md5(body).hexdigest()


class Answer(Exception):
    def __init__(self, status, body=b"", headers=(), kind="application/xml"):
        super().__init__(status)
        self.status, self.headers, self.kind = status, list(headers), kind
        self.body = body if isinstance(body, bytes) else body.encode()


def error(status, code, message="", extra="", headers=()):
    return Answer(status, '<?xml version="1.0" encoding="UTF-8"?>\n'
                  f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>{extra}"
                  "<RequestId>1</RequestId></Error>", headers)


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class FakeAws:
    def __init__(self):
        self.keys, self.roles, self.buckets = {}, {}, {}
        self.requests, self.faults = [], []
        self.clock = time.time          # may be replaced: the services' time
        self.lifetime_s = 3600          # of what STS and the metadata give
        self.metadata_role = "camera-role"
        self.metadata_token = "imds-token-" + "x" * 20
        self.container_token = None     # wanted as Authorization; None = none
        self.issued = 0
        self.sts_external_id = None
        self.conditions = "kept"        # If-None-Match of a put; "ignored", "refused": by older servers
        self.lock = threading.RLock()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes

            def log_message(self, *_):
                pass

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                fake.serve(self, Request(self.command, self.path, self.headers, body))

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                pass  # a client that went away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def bucket(self, name, region="us-east-1"):
        self.buckets[name] = Bucket(region)
        return self.buckets[name]

    def count(self, match=lambda r: True):
        return sum(1 for r in self.requests if match(r))

    def issue(self, role, expires=None):
        """New temporary credentials."""
        with self.lock:
            self.issued += 1
            name = f"ASIA{self.issued:04d}"
            expires = self.clock() + self.lifetime_s if expires is None else expires
            self.keys[name] = Key(f"secret/{name}+", f"token/{name}==", expires, role)
            return name, self.keys[name]

    # ---- control, for tests in another language: /control/WHAT/BUCKET/KEY

    def control(self, r):
        _, _, what, name, key = (urllib.parse.unquote(r.path).split("/", 4) + ["", ""])[:5]
        objects = self.buckets[name].objects if name in self.buckets else {}
        with self.lock:
            if what == "bucket":
                self.bucket(name, key or "us-east-1")
            elif what == "count":
                return Answer(200, str(len(objects)))
            elif what == "get":
                return Answer(200, objects[key].body) if key in objects else Answer(404)
            elif what == "lose":
                del objects[key]
            elif what == "spoil":
                body = objects[key].body
                objects[key] = Object(bytes([body[0] ^ 1]) + body[1:], objects[key].headers)
            elif what == "occupy":
                self.buckets[name].objects[key] = Object(b"somebody else's", {})
            elif what == "key":
                self.keys[name] = Key(key)
            elif what == "cut":
                self.faults = [Fault(lambda q: q.method == "PUT", times=1 << 30, cut=True)] * int(name)
            elif what == "away":
                self.faults = [Fault(times=1 << 30, cut=True)] * int(name)
        return Answer(200)

    # ---- answers

    def serve(self, handler, request):
        if request.path.startswith("/control/"):
            return self.say(handler, request, self.control(request))
        with self.lock:
            self.requests.append(request)
            fault = next((f for f in self.faults if f.times > 0 and f.match(request)), None)
            if fault:
                fault.times -= 1
        try:
            if fault and not fault.after:
                raise self.faulty(fault, handler)
            answer = self.decide(request)
            if fault:
                answer = self.faulty(fault, handler)
        except Answer as a:
            answer = a
        return self.say(handler, request, answer)

    def say(self, handler, request, answer):
        request.answer = answer.status
        handler.send_response_only(answer.status)
        handler.send_header("Date", email.utils.formatdate(self.clock(), usegmt=True))
        length = len(answer.body)
        for name, value in answer.headers:
            if name.lower() == "content-length":
                length = value
            else:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(length))
        if answer.body:
            handler.send_header("Content-Type", answer.kind)
        handler.end_headers()
        if request.method != "HEAD":
            handler.wfile.write(answer.body)

    def faulty(self, fault, handler):
        if fault.silent:
            handler.connection.recv(1)  # until the client gives up
            return self.gone(handler)
        if fault.cut:
            return self.gone(handler)
        if fault.body is not None:
            return Answer(fault.status, fault.body, fault.headers, "text/html")
        if not fault.code:
            return Answer(fault.status, b"", fault.headers)
        return error(fault.status, fault.code, fault.message, headers=fault.headers)

    @staticmethod
    def gone(handler):
        handler.close_connection = True
        handler.connection.shutdown(2)
        raise ConnectionAbortedError

    def decide(self, r):
        if r.path.startswith("/latest/"):
            return self.metadata(r)
        if r.path == "/container":
            return self.container(r)
        if r.method == "POST" and r.path == "/":
            return self.sts(r)
        return self.s3(r)

    # ---- signatures

    def check(self, r, service, auth_class):
        """Who asks. Raises the error that AWS would give."""
        header = r.headers.get("Authorization", "")
        m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
                         r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", header)
        if not m:
            raise error(403, "AccessDenied", "not signed")
        name, day, region, named_service, signed, signature = m.groups()
        r.access_key, r.region = name, region
        key = self.keys.get(name)
        stamp = r.headers["x-amz-date"]
        at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.timezone.utc).timestamp()
        if abs(at - self.clock()) > SKEW_MAX_S:
            raise error(403, "RequestTimeTooSkewed", "The difference is too large.")
        if not key:
            raise error(403, "InvalidAccessKeyId", "not in our records")
        if key.token != r.headers.get("x-amz-security-token"):
            raise error(400, "InvalidToken", "wrong token")
        if key.expires and key.expires <= self.clock():
            raise error(400, "ExpiredToken", "The provided token has expired.")
        if named_service != service or not stamp.startswith(day):
            raise error(403, "SignatureDoesNotMatch", "scope")
        must = {"host", "x-amz-date"} | {n.lower() for n in r.headers if n.lower().startswith("x-amz-")}
        if service == "s3":
            must |= {"content-md5", "content-type"} & {n.lower() for n in r.headers}
            if hashlib.sha256(r.body).hexdigest() != r.headers.get("x-amz-content-sha256"):
                raise error(400, "XAmzContentSHA256Mismatch", "")
        if not must <= set(signed.split(";")):
            raise error(403, "SignatureDoesNotMatch", f"not signed: {must - set(signed.split(';'))}")
        again = AWSRequest(method=r.method, url=f"http://{r.headers['Host']}{r.url}", data=r.body,
                           headers={n: r.headers[n] for n in signed.split(";")})
        again.context["timestamp"] = stamp
        auth = auth_class(Credentials(name, key.secret, key.token), service, region)
        wanted = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
        if wanted != signature:
            raise error(403, "SignatureDoesNotMatch", "The signature does not match.")
        return key, region

    # ---- STS

    def sts(self, r):
        try:
            return self.assume_role(r)
        except Answer as a:
            raise Answer(a.status, a.body.replace(b"<Error>", b"<ErrorResponse><Error>").replace(
                b"</Error>", b"</Error></ErrorResponse>"))

    def assume_role(self, r):
        self.check(r, "sts", SigV4Auth)
        form = r.form
        role = form.get("RoleArn")
        if not re.fullmatch(r"[\w+=,.@-]{2,64}", form.get("RoleSessionName", ""), re.ASCII):
            raise error(400, "ValidationError", "RoleSessionName")
        ok = (form.get("Action") == "AssumeRole" and form.get("Version") == "2011-06-15" and
              role in self.roles and form.get("RoleSessionName") and
              form.get("ExternalId") == self.sts_external_id)
        if not ok:
            raise error(403, "AccessDenied", "not authorized to perform sts:AssumeRole")
        name, key = self.issue(role)
        return Answer(200, f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult><AssumedRoleUser><Arn>{role}</Arn></AssumedRoleUser><Credentials>
    <AccessKeyId>{name}</AccessKeyId><SecretAccessKey>{key.secret}</SecretAccessKey>
    <SessionToken>{key.token}</SessionToken><Expiration>{iso(key.expires)}</Expiration>
  </Credentials></AssumeRoleResult></AssumeRoleResponse>""", kind="text/xml")

    # ---- instance and container

    def given(self, code="Success"):
        name, key = self.issue(None)
        return Answer(200, '{"Code": "%s", "Type": "AWS-HMAC", "AccessKeyId": "%s", "SecretAccessKey":'
                      ' "%s", "Token": "%s", "Expiration": "%s"}' %
                      (code, name, key.secret, key.token, iso(key.expires)), kind="text/plain")

    def metadata(self, r):
        if r.path == "/latest/api/token":
            ttl = r.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            if r.method != "PUT" or not ttl:
                raise Answer(400)
            return Answer(200, self.metadata_token, kind="text/plain")
        if r.headers.get("X-aws-ec2-metadata-token") != self.metadata_token:
            raise Answer(401)
        base = "/latest/meta-data/iam/security-credentials/"
        if not self.metadata_role:
            raise Answer(404)
        if r.path == base:
            return Answer(200, self.metadata_role, kind="text/plain")
        if r.path == base + self.metadata_role:
            return self.given()
        raise Answer(404)

    def container(self, r):
        if r.headers.get("Authorization") != self.container_token:
            raise Answer(403)
        return self.given()

    # ---- S3

    def s3(self, r):
        _, region = self.check(r, "s3", S3SigV4Auth)
        host = r.headers["Host"].partition(":")[0]
        path = urllib.parse.unquote(r.path)[1:]
        if host in ("127.0.0.1", "localhost"):
            name, _, key = path.partition("/")
        else:
            name, key = host.partition(".")[0], path
        bucket = self.buckets.get(name)
        if not bucket:
            raise error(404, "NoSuchBucket", "The specified bucket does not exist")
        if region != bucket.region:
            raise error(301, "PermanentRedirect", "", f"<Bucket>{name}</Bucket>",
                        [("x-amz-bucket-region", bucket.region)])
        with self.lock:
            return getattr(self, "s3_" + r.method.lower())(bucket, key, r)

    def s3_put(self, bucket, key, r):
        md5 = r.headers.get("Content-MD5")
        if md5:
            import base64
            if base64.b64decode(md5) != hashlib.md5(r.body).digest():
                raise error(400, "BadDigest")
        if r.headers.get("If-None-Match") and self.conditions == "refused":
            raise error(501, "NotImplemented", "A header you provided implies functionality that is "
                        "not implemented")
        if r.headers.get("If-None-Match") == "*" and self.conditions == "kept" and \
                key in bucket.objects:
            raise error(412, "PreconditionFailed", "At least one of the pre-conditions you "
                        "specified did not hold")
        bucket.objects[key] = Object(r.body, {n.lower(): v for n, v in r.headers.items()})
        bucket.puts[key] += 1
        return Answer(200, headers=[("ETag", f'"{bucket.objects[key].etag}"')])

    def s3_get(self, bucket, key, r):
        o = bucket.objects.get(key)
        if not o:
            raise Answer(404) if r.method == "HEAD" else error(404, "NoSuchKey")
        meta = [(n, v) for n, v in o.headers.items() if n.startswith("x-amz-meta-")]
        return Answer(200, o.body, [("ETag", f'"{o.etag}"')] + meta, o.headers.get("content-type"))

    s3_head = s3_get

    def s3_delete(self, bucket, key, _):
        bucket.objects.pop(key, None)
        return Answer(204)


if __name__ == "__main__":
    # For tests in another language: the address on standard output; the end with standard input.
    main_fake = FakeAws()
    print(main_fake.url, flush=True)
    sys.stdin.read()
