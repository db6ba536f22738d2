"""Which request of a fake meets which fault.

A fault is a table with `kind` and what the kind takes, and says which requests it is for:

    where        an operation, a group of them, or a list of both; default: all of Drive's to which
                 the kind can happen
    nth          only the n-th of the requests that match, counted from 1 since the fault was set:
                 a number or a list of them
    every        each n-th of them
    after        none of the first n of them
    count        at most so many times
    probability  of each, drawn with `seed` (default 1), so that a run can be repeated
    name         only requests that name a file whose name contains this text

Without any of these each request meets it until it is cleared. When several faults want one
request, the one that was set first has it; all count it.
"""

import itertools
import random
import threading

# kind: what it does. A fault may also be named by a reason of Google's (see REASONS), which then is
# kind "error" with that reason and its status.
KINDS = {
    "error": "an error answer; `status`, `reason`, `form` (legacy, rpc, html, empty, garbage), "
             "`retry_after` (seconds, or 'date:SECONDS'), `when` (before or after the work)",
    "lost": "the work is done, then the connection ends without an answer; `reset` for RST",
    "late": "the connection ends without an answer, and the work is done `seconds` (default 1)"
            " later, when the client may long have asked whether it was done",
    "torn": "the work is done, half of the answer is sent, then the connection ends",
    "cut": "the connection is reset after `bytes` of the request's body (default half of it); "
           "a resumable session keeps what it had of it",
    "hang": "the request is read, and no answer ever comes; `when` after: the work is done; "
            "`seconds` ends it with a close",
    "half_open": "nothing more is read, nothing is sent; `seconds` ends it",
    "slow": "the answer comes with `rate` bytes a second (default 10)",
    "delay": "the answer comes `seconds` later",
    "garbage": "the work is done, and a 200 with broken JSON says so",
    "html": "a proxy's page instead of an answer; `status` (default 502)",
    "short308": "a session keeps only `keep` bytes (default 0) of what it is sent and says so",
    "session_gone": "the session is forgotten; `status` 404 or 410",
    "wrong_md5": "what is stored is not what was sent: one bit differs",
    "wrong_size": "what is stored lacks its last bytes",
    "empty_page": "a list without files that has a next page all the same",
    "incomplete": "a list that says incompleteSearch, and that nothing was found",
    "no_md5": "the answer tells no digest, as of a file that Drive is not done with",
    "other_file": "the answer tells of another file than the one that was asked for",
    "token_expired": "all access tokens are forgotten before the request is looked at",
    "token_revoked": "the access and refresh tokens, too",
    "close": "the answer is good, and the connection closes after it without a word of warning",
}

# Google's reasons: status, domain, message.
REASONS = {
    "badRequest": (400, "global", "Bad Request"),
    "invalidParameter": (400, "global", "Invalid field selection"),
    "invalid": (400, "global", "Invalid Value"),
    "required": (400, "global", "Required parameter is missing"),
    "parseError": (400, "global", "Parse Error"),
    "invalidSharingRequest": (400, "global", "Bad Request. User message: \"\""),
    "authError": (401, "global", "Invalid Credentials"),
    "rateLimitExceeded": (403, "usageLimits", "Rate Limit Exceeded"),
    "userRateLimitExceeded": (403, "usageLimits", "User Rate Limit Exceeded"),
    "sharingRateLimitExceeded": (403, "global", "Rate limit exceeded"),
    "dailyLimitExceeded": (403, "usageLimits", "Daily Limit Exceeded"),
    "quotaExceeded": (403, "usageLimits", "Quota exceeded"),
    "storageQuotaExceeded": (403, "global",
                             "The user's Drive storage quota has been exceeded."),
    "accessNotConfigured": (403, "usageLimits", "Access Not Configured. The API is not enabled"),
    "insufficientPermissions": (403, "global", "Insufficient Permission"),
    "domainPolicy": (403, "global",
                     "The domain administrators have disabled Drive apps."),
    "appNotAuthorizedToFile": (403, "global", "The user has not granted the app {id}"
                               " access to the file {id}."),
    "insufficientFilePermissions": (403, "global", "The user does not have sufficient permissions"
                                    " for this file."),
    "cannotAddParent": (403, "global", "Increasing the number of parents is not allowed"),
    "fieldNotWritable": (403, "global", "The resource body includes fields which are not directly"
                         " writable."),
    "numChildrenInNonRootLimitExceeded": (403, "global", "The limit for this folder's number of"
                                          " children (files and folders) has been exceeded."),
    "notFound": (404, "global", "File not found: ."),
    "fileIdInUse": (409, "global", "A file already exists with the provided ID."),
    "conditionNotMet": (412, "global", "Precondition Failed"),
    "requestedRangeNotSatisfiable": (416, "global", "Requested range not satisfiable"),
    "tooManyRequests": (429, "usageLimits", "Too many requests"),
    "backendError": (500, "global", "Backend Error"),
    "internalError": (500, "global", "Internal Error"),
    "badGateway": (502, "global", "Bad Gateway"),
    "serviceUnavailable": (503, "global", "Service Unavailable"),
    "gatewayTimeout": (504, "global", "Gateway Timeout"),
}
DEFAULT_REASONS = {400: "badRequest", 401: "authError", 403: "insufficientPermissions",
                   404: "notFound", 409: "fileIdInUse", 412: "conditionNotMet",
                   416: "requestedRangeNotSatisfiable", 429: "rateLimitExceeded",
                   500: "internalError", 502: "badGateway", 503: "backendError",
                   504: "gatewayTimeout"}

# The login's endpoints have words of their own for being asked too often; what else Drive refuses
# with means nothing there, but for trouble (5xx).
RATES = {"rateLimitExceeded", "userRateLimitExceeded", "tooManyRequests"}


def login_word(reason, status):
    """What the login's endpoints say instead of a reason of Drive's: status, error; or None."""
    if reason in RATES:
        return 429, "rate_limit_exceeded"
    if status >= 500:
        return status, "internal_failure"
    return None if reason in REASONS else (status, reason)


SELECTORS = {"where", "nth", "every", "after", "count", "probability", "seed", "name"}
PARAMETERS = {
    "error": {"status", "reason", "form", "retry_after", "when", "message"},
    "lost": {"reset"}, "late": {"seconds"}, "torn": set(), "cut": {"bytes"},
    "hang": {"when", "seconds"}, "half_open": {"seconds"}, "slow": {"rate"}, "delay": {"seconds"},
    "garbage": set(),
    "html": {"status", "retry_after"}, "short308": {"keep"}, "session_gone": {"status"},
    "wrong_md5": set(), "wrong_size": set(), "empty_page": set(), "incomplete": set(),
    "no_md5": set(), "other_file": set(),
    "token_expired": set(), "token_revoked": set(), "close": set(),
}


# Kinds that mean something to a few operations only.
NATURAL = {"short308": ["chunk"], "session_gone": ["chunk", "status"],
           "wrong_md5": ["multipart", "simple", "chunk"],
           "wrong_size": ["multipart", "simple", "chunk"],
           "empty_page": ["list"], "incomplete": ["list"],
           "no_md5": ["get", "multipart", "simple", "chunk", "status"],
           "other_file": ["get", "multipart", "simple", "chunk", "status"]}


class Fault:
    def __init__(self, number, spec, groups):
        spec = dict(spec)
        kind = spec.pop("kind")
        if kind in REASONS:
            spec.setdefault("reason", kind)
            kind = "error"
        if kind not in KINDS:
            raise ValueError(f"no fault '{kind}'; there are {', '.join(KINDS)} and the reasons")
        wrong = set(spec) - SELECTORS - PARAMETERS[kind]
        if wrong:
            raise ValueError(f"fault '{kind}' knows no {', '.join(sorted(wrong))}")
        if kind == "error":
            if "reason" in spec:
                spec.setdefault("status", REASONS.get(spec["reason"], (400,))[0])
            elif "status" not in spec:
                raise ValueError("fault 'error' needs a status or a reason")
        self.number = number
        self.kind = kind
        self.spec = spec
        where = spec.get("where", NATURAL.get(kind, "drive"))
        self.operations = set()
        for name in [where] if isinstance(where, str) else where:
            if name not in groups:
                raise ValueError(f"no operation or group '{name}'; there are {', '.join(groups)}")
            self.operations |= groups[name]
        reason = spec.get("reason")
        if kind == "error" and reason and not login_word(reason, spec["status"]):
            self.operations -= groups["oauth"]
            if not self.operations:
                raise ValueError(f"a login never meets '{reason}'")
        nth = spec.get("nth")
        self.nth = None if nth is None else {nth} if isinstance(nth, int) else set(nth)
        self.random = random.Random(spec.get("seed", 1))
        self.seen = 0
        self.hits = 0

    def get(self, key, default=None):
        return self.spec.get(key, default)

    def matches(self, operation, name):
        wanted = self.spec.get("name")
        return operation in self.operations and (wanted is None or wanted in (name or ""))

    def draw(self):
        """Counts a request that matches and says whether this one has it."""
        self.seen += 1
        # Drawn for each, so that the n-th draw belongs to the n-th request whatever else is asked.
        lucky = self.random.random() < self.spec.get("probability", 1)
        if self.nth is not None and self.seen not in self.nth:
            return False
        if self.seen <= self.spec.get("after", 0):
            return False
        if "every" in self.spec and self.seen % self.spec["every"]:
            return False
        return lucky and ("count" not in self.spec or self.hits < self.spec["count"])

    def describe(self):
        return {"number": self.number, "kind": self.kind, "seen": self.seen, "hits": self.hits,
                **self.spec}


class Plan:
    """The faults of a server. Any thread."""

    def __init__(self, groups):
        self.groups = groups
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.faults = []

    def add(self, spec):
        with self.lock:
            fault = Fault(next(self.numbers), spec, self.groups)
            self.faults.append(fault)
            return fault.number

    def clear(self, number=None):
        with self.lock:
            self.faults = [f for f in self.faults if number is not None and f.number != number]

    def choose(self, operation, name=None):
        """The fault of this request, or None."""
        with self.lock:
            chosen = None
            for fault in self.faults:
                if fault.matches(operation, name) and fault.draw() and not chosen:
                    chosen = fault
                    fault.hits += 1
            return chosen

    def describe(self):
        with self.lock:
            return [fault.describe() for fault in self.faults]
