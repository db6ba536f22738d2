"""OAuth 2.0 as Google speaks it: device codes, the page for signing in with its loopback redirect
and PKCE, tokens and their refresh, revocation, service accounts.

Google's own statuses and error words (protocol notes: the device flow's 428 and 403), or those of
RFC 8628 with `rfc_statuses`. The hour is the server's clock: see `now`.
"""

import base64
import datetime
import hashlib
import html
import json
import re
import secrets
import threading
import urllib.parse

from fakes.wire import Answer

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
except ImportError:  # signatures are not checked then
    serialization = None

DRIVE_FILE = "https://www.googleapis.com/auth/drive.file"
DRIVE = "https://www.googleapis.com/auth/drive"
DEVICE_SCOPES = {DRIVE_FILE, "https://www.googleapis.com/auth/drive.appdata", "email", "profile",
                 "openid", "https://www.googleapis.com/auth/youtube"}
SCOPES = DEVICE_SCOPES | {DRIVE, "https://www.googleapis.com/auth/drive.readonly",
                          "https://www.googleapis.com/auth/drive.metadata.readonly"}
GRANT_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_AUDIENCES = {"https://oauth2.googleapis.com/token",
                    "https://www.googleapis.com/oauth2/v4/token",
                    "https://accounts.google.com/o/oauth2/token"}
VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:\d+)?(/[^#]*)?")
CODE_LIFE_S = 600
JWT_LIFE_MAX_S = 3600
JWT_SKEW_S = 300

# The two clients that are always there, as two people of one Cloud project would have made them.
DEVICE_CLIENT = {"id": "111-device.apps.googleusercontent.com", "secret": "GOCSPX-device-secret",
                 "type": "device"}
DESKTOP_CLIENT = {"id": "222-desktop.apps.googleusercontent.com",
                  "secret": "GOCSPX-desktop-secret", "type": "desktop"}
PROJECT = "snapshots"
ACCOUNT = "keeper@example.com"


class Refusal(Exception):
    def __init__(self, status, error, description=None, **more):
        super().__init__(error)
        self.status = status
        self.document = {"error": error}
        if description:
            self.document["error_description"] = description
        self.document.update(more)


class OAuth:
    """State and rules. `settings` is the server's, `now()` its clock in seconds; any thread."""

    def __init__(self, settings, now, origin):
        self.settings = settings
        self.now = now
        self.origin = origin  # a function: http://127.0.0.1:PORT
        self.lock = threading.RLock()
        self.clients = {}
        self.access = {}  # token: its grant and when it ends
        self.refresh = {}
        self.devices = {}  # device code: state
        self.codes = {}
        self.pages = {}  # consent pages that were shown
        self.services = {}  # e-mail: public key (PEM)
        self.consented = set()  # (client, account)
        self.refreshes = 0
        for client in (DEVICE_CLIENT, DESKTOP_CLIENT):
            self.add_client(client["id"], client["secret"], client["type"])

    # ---- what a person or a test does ----

    def add_client(self, client_id, secret, kind="desktop", project=PROJECT, redirects=()):
        """kind: desktop, web or device."""
        with self.lock:
            self.clients[client_id] = {"id": client_id, "secret": secret, "type": kind,
                                       "project": project, "redirects": list(redirects)}

    def add_service_account(self, email, public_key_pem, project=PROJECT):
        with self.lock:
            self.services[email] = {"key": public_key_pem, "project": project}

    def make_service_account(self, email="robot@snapshots.iam.gserviceaccount.com"):
        """A new key, known here; returns the key file's content as Google gives it."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption())
        self.add_service_account(email, public.decode())
        return {"type": "service_account", "project_id": PROJECT,
                "private_key_id": secrets.token_hex(20), "private_key": private.decode(),
                "client_email": email, "client_id": "1" * 21,
                "auth_uri": self.origin() + "/o/oauth2/v2/auth",
                "token_uri": self.origin() + "/token"}

    def client_file(self, client_id=DESKTOP_CLIENT["id"]):
        """The client-secret JSON as Google's console gives it."""
        client = self.clients[client_id]
        return {"web" if client["type"] == "web" else "installed": {
            "client_id": client_id, "project_id": client["project"],
            "auth_uri": self.origin() + "/o/oauth2/v2/auth",
            "token_uri": self.origin() + "/token",
            "client_secret": client["secret"], "redirect_uris": ["http://localhost"]}}

    def issue(self, client_id=DESKTOP_CLIENT["id"], scope=DRIVE_FILE, account=ACCOUNT):
        """Tokens as after a login: the token endpoint's answer."""
        with self.lock:
            return self._tokens(self.clients[client_id], scope, account, refresh=True)

    def credentials(self, client_id=DESKTOP_CLIENT["id"], scope=DRIVE_FILE, expired=False):
        """A login in oauth2client's form, as the predecessor has it in its credential file."""
        tokens = self.issue(client_id, scope)
        end = self.now() + (-3600 if expired else tokens["expires_in"])
        if expired:
            with self.lock:
                self.access.pop(tokens["access_token"])
        return {"access_token": tokens["access_token"], "client_id": client_id,
                "client_secret": self.clients[client_id]["secret"],
                "refresh_token": tokens["refresh_token"], "token_expiry": iso(end),
                "token_uri": self.origin() + "/token", "user_agent": None,
                "revoke_uri": self.origin() + "/revoke", "id_token": None, "id_token_jwt": None,
                "token_response": {**tokens}, "scopes": [scope],
                "token_info_uri": self.origin() + "/tokeninfo", "invalid": False,
                "_class": "OAuth2Credentials", "_module": "oauth2client.client"}

    def approve(self, user_code, allow=True, scope=None):
        """The person has entered the code; `scope` when not all that was asked is granted."""
        wanted = user_code.replace("-", "").upper()
        with self.lock:
            for device in self.devices.values():
                if device["user_code"].replace("-", "") == wanted and device["state"] == "pending":
                    device["state"] = "allowed" if allow else "denied"
                    device["scope"] = scope or device["scope"]
                    return True
        return False

    def pending_codes(self):
        """The user codes that nobody has entered yet."""
        with self.lock:
            return [d["user_code"] for d in self.devices.values() if d["state"] == "pending"]

    def expire_access(self):
        """Every access token is worthless from now on."""
        with self.lock:
            self.access.clear()

    def revoke_all(self):
        """As if the person had taken the permission back: refreshing says invalid_grant."""
        with self.lock:
            self.access.clear()
            self.refresh.clear()
            self.consented.clear()

    # ---- what the Drive side asks ----

    def check(self, token):
        """The grant of an access token, or None."""
        with self.lock:
            grant = self.access.get(token)
            return grant if grant and grant["end"] > self.now() else None

    # ---- requests ----

    def route(self, method, path):
        return ROUTES.get((method, path))

    def serve(self, operation, request, body):
        """The answer to one request of ours."""
        form = dict(request.query)
        if request.method == "POST":
            form.update(urllib.parse.parse_qsl(body.decode("utf-8", "replace"),
                                               keep_blank_values=True))
        try:
            with self.lock:
                return getattr(self, "do_" + operation)(form)
        except Refusal as e:
            return document(e.document, e.status)

    def do_device(self, form):
        client = self._client_id(form)
        if client["type"] != "device":
            raise Refusal(401, "invalid_client", "Only clients of type 'TVs and Limited Input"
                          " devices' can be used with device codes")
        scopes = form.get("scope", "").split()
        if not scopes:
            raise Refusal(400, "invalid_request", "Missing required parameter: scope")
        if not set(scopes) <= DEVICE_SCOPES:
            raise Refusal(400, "invalid_scope", "Some requested scopes were invalid or not allowed"
                          " for devices")
        alphabet = "BCDFGHJKLMNPQRSTVWXZ"
        letters = "".join(secrets.choice(alphabet) for _ in range(8))
        code = "AH-1Ng" + secrets.token_urlsafe(60)
        life = self.settings.device_life_s
        self.devices[code] = {
            "client": client["id"], "scope": " ".join(scopes), "state": "pending",
            "user_code": letters[:4] + "-" + letters[4:], "end": self.now() + life,
            "interval": self.settings.device_interval_s, "polled": None}
        return document({
            "device_code": code, "user_code": self.devices[code]["user_code"], "expires_in": life,
            "interval": self.settings.device_interval_s,
            "verification_url": self.origin() + "/device"})

    def do_device_page(self, form):
        code = form.get("user_code", "")
        if code:
            good = self.approve(code, form.get("allow", "yes") == "yes", form.get("scope"))
            words = "Your device is connected." if good else "That code is not right."
            return page(words, 200 if good else 400)
        return page("<form method=post><input name=user_code placeholder=CODE>"
                    "<button name=allow value=yes>Allow</button>"
                    "<button name=allow value=no>Deny</button></form>", raw=True)

    def do_auth(self, form):
        """The page for signing in. What is wrong with the client or its redirect is told to the
        person; everything else goes to the redirect."""
        client = self.clients.get(form.get("client_id"))
        redirect = form.get("redirect_uri", "")
        if not client:
            return page("Error 401: invalid_client. The OAuth client was not found.", 401)
        if redirect.startswith("urn:ietf:wg:oauth:2.0:oob"):
            return page("Error 400: invalid_request. The out-of-band (OOB) flow has been blocked.",
                        400)
        if not self._redirect_allowed(client, redirect):
            return page("Error 400: redirect_uri_mismatch", 400)
        scopes = form.get("scope", "").split()
        if form.get("response_type") != "code":
            return page("Error 400: unsupported_response_type", 400)
        if not scopes or not set(scopes) <= SCOPES:
            return page("Error 400: invalid_scope", 400)
        method = form.get("code_challenge_method", "plain")
        if method not in ("plain", "S256"):
            return page("Error 400: invalid_request. Invalid code challenge method.", 400)
        key = secrets.token_urlsafe(16)
        self.pages[key] = {
            "client": client["id"], "redirect": redirect, "state": form.get("state"),
            "scope": " ".join(scopes), "challenge": form.get("code_challenge"), "method": method,
            "offline": form.get("access_type") == "offline",
            "consent": form.get("prompt", form.get("approval_prompt", "")) in ("consent", "force")}
        what = self.settings.consent
        if what in ("allow", "deny"):
            return self._redirect(key, what == "allow")
        boxes = "".join(f"<label><input type=checkbox name=granted value='{html.escape(s)}' checked>"
                        f"{html.escape(s)}</label><br>" for s in scopes)
        return page(f"<form method=post action=/o/oauth2/v2/consent>{boxes}"
                    f"<input type=hidden name=page value={key}>"
                    "<button name=allow value=yes>Allow</button>"
                    "<button name=allow value=no>Deny</button></form>", raw=True)

    def do_consent(self, form):
        key = form.get("page")
        if key not in self.pages:
            return page("Error 400: this page is too old", 400)
        return self._redirect(key, form.get("allow") == "yes", form.get("granted"))

    def _redirect(self, key, allow, granted=None):
        shown = self.pages.pop(key)
        answer = {"state": shown["state"]} if shown["state"] is not None else {}
        if allow:
            code = "4/0A" + secrets.token_urlsafe(40)
            scope = granted or self.settings.granted_scope or shown["scope"]
            self.codes[code] = {**shown, "scope": scope, "end": self.now() + CODE_LIFE_S}
            answer.update(code=code, scope=scope)
        else:
            answer["error"] = "access_denied"
        sign = "&" if "?" in shown["redirect"] else "?"
        return Answer(302, b"", "text/html",
                      [("Location", shown["redirect"] + sign + urllib.parse.urlencode(answer))])

    @staticmethod
    def _redirect_allowed(client, redirect):
        if redirect in client["redirects"]:
            return True
        return client["type"] == "desktop" and bool(LOOPBACK.fullmatch(redirect))

    def do_token(self, form):
        grant = form.get("grant_type")
        if grant == GRANT_JWT:
            return self._service(form)
        if grant == "refresh_token":
            return self._refresh(self._client(form), form)
        if grant == GRANT_DEVICE:
            return self._poll(self._client(form), form)
        if grant == "authorization_code":
            return self._exchange(self._client(form), form)
        if not grant:
            raise Refusal(400, "invalid_request", "Missing required parameter: grant_type")
        raise Refusal(400, "unsupported_grant_type", f"Invalid grant_type: {grant}")

    def _client_id(self, form):
        if not form.get("client_id"):
            raise Refusal(400, "invalid_request", "Could not determine client ID from request.")
        client = self.clients.get(form["client_id"])
        if not client:
            raise Refusal(401, "invalid_client", "The OAuth client was not found.")
        return client

    def _client(self, form):
        client = self._client_id(form)
        if "client_secret" not in form:
            raise Refusal(400, "invalid_request", "client_secret is missing.")
        if form["client_secret"] != client["secret"]:
            raise Refusal(401, "invalid_client", "The provided client secret is invalid.")
        return client

    def _refresh(self, client, form):
        grant = self.refresh.get(form.get("refresh_token"))
        if not form.get("refresh_token"):
            raise Refusal(400, "invalid_request", "Missing required parameter: refresh_token")
        if not grant or grant["end"] <= self.now():
            raise Refusal(400, "invalid_grant", "Token has been expired or revoked.")
        if grant["client"] != client["id"]:
            raise Refusal(401, "unauthorized_client", "Unauthorized")
        self.refreshes += 1
        answer = self._tokens(client, grant["scope"], grant["account"], refresh=False)
        if self.settings.rotate_refresh:
            self.refresh.pop(form["refresh_token"])
            answer["refresh_token"] = self._new_refresh(grant["client"], grant["scope"],
                                                        grant["account"])
        return document(answer)

    def _poll(self, client, form):
        device = self.devices.get(form.get("device_code"))
        if not device or device["client"] != client["id"] or device["state"] == "used":
            raise Refusal(400, "invalid_grant", "Malformed auth code.")
        rfc = self.settings.rfc_statuses
        if device["end"] <= self.now():
            raise Refusal(400, "expired_token", "The device code has expired.")
        now, polled = self.now(), device["polled"]
        device["polled"] = now
        # A tenth is forgiven: the client's clock starts when our answer arrives.
        if polled is not None and now - polled < device["interval"] * 0.9:
            device["interval"] += 5 if self.settings.slow_down_counts else 0
            raise Refusal(400 if rfc else 403, "slow_down", "Forbidden")
        if device["state"] == "pending":
            raise Refusal(400 if rfc else 428, "authorization_pending", "Precondition Required")
        if device["state"] == "denied":
            raise Refusal(400 if rfc else 403, "access_denied", "Forbidden")
        device["state"] = "used"
        return document(self._tokens(client, device["scope"], ACCOUNT, refresh=True))

    def _exchange(self, client, form):
        code = self.codes.pop(form.get("code"), None)  # good for once, right or wrong
        if not code or code["end"] <= self.now() or code["client"] != client["id"]:
            raise Refusal(400, "invalid_grant", "Malformed auth code.")
        if form.get("redirect_uri") != code["redirect"]:
            raise Refusal(400, "redirect_uri_mismatch", "Bad Request")
        if code["challenge"]:
            verifier = form.get("code_verifier", "")
            if not verifier:
                raise Refusal(400, "invalid_grant", "Missing code verifier.")
            hashed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
            right = hashed.rstrip(b"=").decode() if code["method"] == "S256" else verifier
            if not VERIFIER.fullmatch(verifier) or right != code["challenge"]:
                raise Refusal(400, "invalid_grant", "Invalid code verifier.")
        elif "code_verifier" in form:
            raise Refusal(400, "invalid_grant", "Code verifier without a code challenge.")
        # Google gives a refresh token at the first consent only, or when consent is asked anew.
        first = (client["id"], ACCOUNT) not in self.consented
        refresh = code["offline"] and (first or code["consent"])
        return document(self._tokens(client, code["scope"], ACCOUNT, refresh))

    def _service(self, form):
        try:
            head, claims, signature = form.get("assertion", "").split(".")
            header, claim = json.loads(unbase64(head)), json.loads(unbase64(claims))
            signed = unbase64(signature)
        except ValueError as e:
            raise Refusal(400, "invalid_grant", "Bad Request: the assertion is no JWT") from e
        service = self.services.get(claim.get("iss"))
        if not service:
            raise Refusal(400, "invalid_grant", "Invalid grant: account not found")
        if header.get("alg") != "RS256":
            raise Refusal(400, "invalid_grant", "Invalid JWT: unknown algorithm")
        if not self._signed(service["key"], f"{head}.{claims}".encode(), signed):
            raise Refusal(400, "invalid_grant", "Invalid JWT Signature.")
        if claim.get("aud") not in GOOGLE_AUDIENCES | {self.origin() + "/token"}:
            raise Refusal(400, "invalid_grant", "Invalid JWT: Failed audience check.")
        now, issued, end = self.now(), claim.get("iat"), claim.get("exp")
        if (not isinstance(issued, int) or not isinstance(end, int) or end <= now - JWT_SKEW_S
                or issued > now + JWT_SKEW_S or not 0 < end - issued <= JWT_LIFE_MAX_S):
            raise Refusal(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60"
                          " minutes) and in a reasonable timeframe. Check your iat and exp values"
                          " in the JWT claim.")
        scope = claim.get("scope", "")
        if not scope or not set(scope.split()) <= SCOPES:
            raise Refusal(400, "invalid_scope", "Invalid OAuth scope or ID token audience"
                          " provided.")
        client = {"id": claim["iss"], "project": service["project"]}
        return document(self._tokens(client, scope, claim["iss"], refresh=False))

    @staticmethod
    def _signed(pem, data, signature):
        if not serialization:
            return True
        try:
            serialization.load_pem_public_key(pem.encode()).verify(
                signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def do_revoke(self, form):
        token = form.get("token")
        grant = self.refresh.get(token) or self.access.get(token)
        if not grant:
            raise Refusal(400, "invalid_token", "Token expired or revoked")
        # Either token takes the whole permission back.
        same = (grant["client"], grant["account"])
        for table in (self.access, self.refresh):
            for key in [k for k, g in table.items() if (g["client"], g["account"]) == same]:
                table.pop(key)
        self.consented.discard(same)
        return document({})

    def do_tokeninfo(self, form):
        grant = self.check(form.get("access_token"))
        if not grant:
            raise Refusal(400, "invalid_token", "Invalid Value")
        return document({"aud": grant["client"], "scope": grant["scope"],
                         "expires_in": str(int(grant["end"] - self.now()))})

    def _tokens(self, client, scope, account, refresh):
        token = "ya29." + secrets.token_urlsafe(self.settings.token_bytes * 3 // 4)
        life = self.settings.access_life_s
        self.access[token] = {"client": client["id"], "project": client["project"],
                              "scope": scope, "account": account, "end": self.now() + life}
        # 3599 for an hour, as Google counts.
        answer = {"access_token": token, "expires_in": max(life - 1, 1), "scope": scope,
                  "token_type": "Bearer"}
        if refresh:
            answer["refresh_token"] = self._new_refresh(client["id"], scope, account)
            if self.settings.refresh_life_s:
                answer["refresh_token_expires_in"] = self.settings.refresh_life_s
            self.consented.add((client["id"], account))
        return answer

    def _new_refresh(self, client_id, scope, account):
        token = "1//0" + secrets.token_urlsafe(70)
        life = self.settings.refresh_life_s or 10 ** 9
        self.refresh[token] = {"client": client_id, "scope": scope, "account": account,
                               "end": self.now() + life}
        same = [k for k, g in self.refresh.items()
                if g["client"] == client_id and g["account"] == account]
        for key in same[:-self.settings.refresh_tokens_max]:  # the oldest dies silently
            self.refresh.pop(key)
        return token

    def save(self):
        with self.lock:
            return {"clients": self.clients, "access": self.access, "refresh": self.refresh,
                    "services": self.services, "consented": sorted(self.consented)}

    def load(self, state):
        with self.lock:
            self.clients.update(state["clients"])
            self.access.update(state["access"])
            self.refresh.update(state["refresh"])
            self.services.update(state["services"])
            self.consented = {tuple(c) for c in state["consented"]}


ROUTES = {
    ("POST", "/device/code"): "device", ("GET", "/device"): "device_page",
    ("POST", "/device"): "device_page", ("GET", "/o/oauth2/v2/auth"): "auth",
    ("GET", "/o/oauth2/auth"): "auth", ("POST", "/o/oauth2/v2/consent"): "consent",
    ("POST", "/token"): "token", ("POST", "/oauth2/v4/token"): "token",
    ("POST", "/o/oauth2/token"): "token", ("POST", "/revoke"): "revoke",
    ("GET", "/revoke"): "revoke", ("GET", "/tokeninfo"): "tokeninfo",
}


def document(value, status=200):
    return Answer(status, json.dumps(value, indent=2).encode(), "application/json; charset=utf-8",
                  [("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")])


def page(words, status=200, raw=False):
    body = words if raw else html.escape(words)
    return Answer(status, f"<!DOCTYPE html><title>Sign in</title><p>{body}</p>".encode(),
                  "text/html; charset=utf-8")


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def iso(seconds):
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
