#!/usr/bin/python3
"""A 1Password Connect server as far as programs that read secrets use it ("1Password Connect Server
API reference"): vaults, items, filters, refusals; and the ways in which it may be away.

    python3 tests/fakes/connect.py --port 0 FILE.json

prints `listening on http://127.0.0.1:PORT` and serves {"token": ..., "vaults": {NAME: {TITLE:
{SECTION: {LABEL: VALUE}}}}} until it is stopped. In tests:

    with FakeConnect() as connect:
        vault = connect.add_vault("Home")
        connect.add_item(vault, "FTP", [("", "username", "cam"), ("", "password", "secret")])
        connect.fault = {"kind": "html", "status": 502}

Faults, for all requests until `fault` is None again: status (`status`, `message`), html (`status`),
garbage, big (`bytes` of JSON), hang, slow (`seconds` before the answer), torn.

Not known of Connect and therefore chosen: how a quote within a filter is written. Here it is \\" as
in JSON, on which SCIM's filters are built (RFC 7644); `plain_filters` refuses it.
"""

import argparse
import json
import os
import re
import secrets
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from fakes import wire  # noqa: E402

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PAGE = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1><p>nginx</p></body></html>"
TOKEN = re.compile(r'\s*(\(|\)|"(?:[^"\\]|\\.)*"|[A-Za-z.]+)')


def new_id():
    return "".join(secrets.choice(ID_LETTERS) for _ in range(26))


class BadFilter(Exception):
    pass


class Filter:
    """attribute operator "value", joined by and, or, with brackets."""

    OPERATORS = {
        "eq": lambda has, value: value in has, "ne": lambda has, value: value not in has,
        "co": lambda has, value: any(value in h for h in has),
        "sw": lambda has, value: any(h.startswith(value) for h in has),
        "ew": lambda has, value: any(h.endswith(value) for h in has),
    }

    def __init__(self, text, attributes, plain=False):
        self.words = []
        self.attributes = attributes
        at = 0
        while text[at:].strip():
            match = TOKEN.match(text, at)
            if not match or (plain and "\\" in match[1]):
                raise BadFilter(f"Invalid filter at {at}")
            self.words.append(match[1])
            at = match.end()
        self.test = self._any()
        if self.words:
            raise BadFilter("Invalid filter: something follows")

    def _any(self):
        tests = [self._all()]
        while self.words and self.words[0].lower() == "or":
            self.words.pop(0)
            tests.append(self._all())
        return lambda of: any(t(of) for t in tests)

    def _all(self):
        tests = [self._one()]
        while self.words and self.words[0].lower() == "and":
            self.words.pop(0)
            tests.append(self._one())
        return lambda of: all(t(of) for t in tests)

    def _one(self):
        if self.words and self.words[0] == "(":
            self.words.pop(0)
            test = self._any()
            if not self.words or self.words.pop(0) != ")":
                raise BadFilter("Invalid filter: no closing bracket")
            return test
        if len(self.words) < 2 or self.words[0] not in self.attributes:
            raise BadFilter("Invalid filter: unknown attribute")
        attribute, operator = self.words.pop(0), self.words.pop(0).lower()
        if operator == "pr":
            return lambda of: bool(of(attribute))
        if operator not in self.OPERATORS or not self.words or self.words[0][0] != '"':
            raise BadFilter("Invalid filter: unknown operator")
        value = json.loads(self.words.pop(0))
        return lambda of: self.OPERATORS[operator](of(attribute), value)


class FakeConnect:
    def __init__(self, port=0, token=None):
        self.token = token or "eyJhbGciOiJFUzI1NiJ9." + secrets.token_urlsafe(60)
        self.vaults = {}  # id: {"name", "items": {id: item}, "open"}
        self.fault = None
        self.plain_filters = False
        self.log = []  # (method, target), of all that was asked
        self.lock = threading.RLock()
        self.server = wire.Server(self._handle, port)
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()

    # ---- for tests ----

    def down(self):
        self.server.down()

    def up(self):
        self.server.up()

    def environment(self, vault=None):
        return {"OP_CONNECT_HOST": self.url, "OP_CONNECT_TOKEN": self.token,
                **({"OP_VAULT": vault} if vault else {})}

    def add_vault(self, name, open_=True):
        """`open_` False: there, but not for this token."""
        vault = new_id()
        with self.lock:
            self.vaults[vault] = {"name": name, "items": {}, "open": open_}
        return vault

    def add_item(self, vault, title, fields, sections_without_label=False, tags=()):
        """Fields are (section or "", label, value or None)."""
        item = {"id": new_id(), "title": title, "vault": {"id": vault}, "category": "LOGIN",
                "tags": list(tags), "version": 1, "sections": [], "fields": []}
        ids = {}
        for section, label, value in fields:
            field = {"id": new_id(), "type": "CONCEALED", "label": label}
            if value is not None:
                field["value"] = value
            if section:
                if section not in ids:
                    ids[section] = new_id()
                    item["sections"].append({"id": ids[section], **(
                        {} if sections_without_label else {"label": section})})
                field["section"] = {"id": ids[section]}
            item["fields"].append(field)
        with self.lock:
            self.vaults[vault]["items"][item["id"]] = item
        return item

    def remove_item(self, item):
        with self.lock:
            del self.vaults[item["vault"]["id"]]["items"][item["id"]]

    def requests(self):
        with self.lock:
            return list(self.log)

    # ---- HTTP ----

    def _handle(self, request):
        with self.lock:
            self.log.append((request.method, request.target))
            fault = dict(self.fault) if self.fault else None
        request.read_body()
        if fault:
            return self._misbehave(request, fault)
        with self.lock:
            answer = self._answer(request)
        request.connection.send(answer.wire(time.time()))
        return True

    def _misbehave(self, request, fault):
        kind = fault["kind"]
        send = request.connection.send
        if kind == "hang":
            self.server.stopped.wait(fault.get("seconds", 3600))
            return False
        if kind == "slow":
            self.server.stopped.wait(fault["seconds"])
            with self.lock:
                answer = self._answer(request)
        elif kind == "status":
            answer = refusal(fault["status"], fault.get("message", "refused"))
        elif kind == "html":
            answer = wire.Answer(fault.get("status", 200), PAGE, "text/html")
        elif kind == "garbage":
            answer = wire.Answer(200, b'[{"id": "x", ', "application/json")
        elif kind == "big":
            answer = as_json([{"id": "x", "name": "y" * fault["bytes"]}])
        else:
            assert kind == "torn"
            with self.lock:
                data = self._answer(request).wire(time.time())
            send(data[:len(data) // 2])
            return False
        send(answer.wire(time.time()))
        return True

    def _answer(self, request):
        path = request.path.rstrip("/")
        if path == "/heartbeat":
            return wire.Answer(200, b".", "text/plain")
        if path == "/health":
            return as_json({"name": "1Password Connect API", "version": "1.8.1", "dependencies": []})
        if not path.startswith("/v1/"):
            return wire.Answer(404, b"404 page not found\n", "text/plain")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return refusal(401, "Invalid bearer token" if "authorization" in request.headers
                           else "Authentication: Missing Authorization header")
        if request.method != "GET":
            return refusal(405, "Method not allowed")
        try:
            return self._get(path.split("/")[2:], request.query.get("filter"))
        except BadFilter as e:
            return refusal(400, str(e))

    def _get(self, words, filter_text):
        if words[0] != "vaults":
            return refusal(404, "Not found")
        if len(words) == 1:
            test = self._filter(filter_text, ("name", "title"))
            return as_json([summary(i, v) for i, v in self.vaults.items()
                            if v["open"] and test(lambda _, v=v: [v["name"]])])
        vault = self.vaults.get(words[1])
        if not vault or not re.fullmatch("[a-z0-9]{26}", words[1]):
            return refusal(404 if vault is None else 400, "Vault not found")
        if not vault["open"]:
            return refusal(403, "Authorization: (vault not in scope), invalid vault")
        if len(words) == 2:
            return as_json(summary(words[1], vault))
        if words[2] != "items" or len(words) > 4:
            return refusal(404, "Not found")
        if len(words) == 4:
            item = vault["items"].get(words[3])
            return as_json(item) if item else refusal(404, "Item not found")
        test = self._filter(filter_text, ("title", "tag"))
        return as_json([{k: v for k, v in item.items() if k not in ("fields", "sections")}
                        for item in vault["items"].values()
                        if test(lambda a, i=item: [i["title"]] if a == "title" else i["tags"])])

    def _filter(self, text, attributes):
        if text is None:
            return lambda of: True
        return Filter(text, attributes, self.plain_filters).test


def summary(vault_id, vault):
    return {"id": vault_id, "name": vault["name"], "items": len(vault["items"]),
            "type": "USER_CREATED", "attributeVersion": 1, "contentVersion": 1}


def as_json(value, status=200):
    return wire.Answer(status, json.dumps(value).encode(), "application/json; charset=utf-8")


def refusal(status, message):
    return as_json({"status": status, "message": message}, status)


def main():
    parser = argparse.ArgumentParser(description="a fake 1Password Connect server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("file")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as f:
        content = json.load(f)
    with FakeConnect(arguments.port, content.get("token")) as connect:
        for name, items in content["vaults"].items():
            vault = connect.add_vault(name)
            for title, sections in items.items():
                connect.add_item(vault, title, [(s, label, value) for s, fields in sections.items()
                                                for label, value in fields.items()])
        print(f"listening on {connect.url}", flush=True)
        connect.server.stopped.wait()


if __name__ == "__main__":
    main()
