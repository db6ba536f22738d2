"""The fake Connect, judged by 1Password's own client for Node."""

import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from fakes.connect import FakeConnect  # noqa: E402

CLIENT = ROOT / ".deps/op_connect/node_modules/@1password/connect"
SCRIPT = """
const { OnePasswordConnect } = require(%s);
const [url, token, method, ...rest] = process.argv.slice(1);
const client = OnePasswordConnect({ serverURL: url, token, keepAlive: false });
client[method](...rest).then(
  (x) => console.log(JSON.stringify({ ok: x })),
  (e) => console.log(JSON.stringify({ error: { status: e.status, message: e.message } })));
"""


@pytest.fixture(name="connect")
def fixture_connect():
    with FakeConnect() as fake:
        yield fake


def vendor(connect, method, *arguments, token=None):
    if not CLIENT.exists():
        pytest.skip("needs @1password/connect: tools/setup test")
    done = subprocess.run(
        ["node", "-e", SCRIPT % json.dumps(str(CLIENT)), connect.url, token or connect.token,
         method, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_vendors_client_finds_vaults_and_items(connect):
    home = connect.add_vault("Home Automation")
    connect.add_vault("Closed", open_=False)
    item = connect.add_item(home, "Sentry", [("app", "dsn", "https://k@host/1"),
                                             ("", "note", None)])
    assert [v["name"] for v in vendor(connect, "listVaults")["ok"]] == ["Home Automation"]
    assert vendor(connect, "getVault", "Home Automation")["ok"]["id"] == home
    assert vendor(connect, "getVault", home)["ok"]["name"] == "Home Automation"
    by_title = vendor(connect, "getItem", home, "Sentry")["ok"]
    assert by_title == vendor(connect, "getItem", home, item["id"])["ok"]
    assert by_title["fields"][0]["value"] == "https://k@host/1"
    assert by_title["fields"][0]["section"]["id"] == by_title["sections"][0]["id"]
    assert "value" not in by_title["fields"][1]


def test_the_vendors_client_filters_as_it_does(connect):
    home = connect.add_vault("Home")
    for title in ("FTP", "FTP old", "Drive"):
        connect.add_item(home, title, [("", "a", "b")])
    contains = vendor(connect, "listItemsByTitleContains", home, "FTP")["ok"]
    assert sorted(i["title"] for i in contains) == ["FTP", "FTP old"]
    assert [i["title"] for i in vendor(connect, "listItemsByTitle", home, "FTP")["ok"]] == ["FTP"]


@pytest.mark.parametrize("method,arguments,status", [
    ("getItem", ("Missing",), 404), ("getItem", ("a" * 26,), 404)])
def test_the_vendors_client_is_told_what_is_missing(connect, method, arguments, status):
    home = connect.add_vault("Home")
    assert vendor(connect, method, home, *arguments)["error"]["status"] == status


def test_the_vendors_client_is_refused_with_a_wrong_token_and_a_closed_vault(connect):
    closed = connect.add_vault("Closed", open_=False)
    refused = vendor(connect, "listVaults", token="wrong")["error"]
    assert refused["status"] == 401 and "token" in refused["message"]
    assert vendor(connect, "listItems", closed)["error"]["status"] == 403


def get(connect, path):
    request = urllib.request.Request(connect.url + path,
                                     headers={"Authorization": f"Bearer {connect.token}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


@pytest.mark.parametrize("text,titles", [
    ('title eq "a"', ["a"]), ('title sw "a"', ["a", "ab"]), ('title co "b"', ["ab", 'b"c']),
    ('title eq "b\\"c"', ['b"c']), ('tag eq "x" and title ne "a"', ["ab"]),
    ('title eq "a" or (title eq "ab")', ["a", "ab"]), ("title pr", ["a", "ab", 'b"c'])])
def test_filters_have_their_operators(connect, text, titles):
    home = connect.add_vault("Home")
    connect.add_item(home, "a", [], tags=["x"])
    connect.add_item(home, "ab", [], tags=["x"])
    connect.add_item(home, 'b"c', [])
    status, items = get(connect, f"/v1/vaults/{home}/items?filter={urllib.parse.quote(text)}")
    assert (status, [i["title"] for i in items]) == (200, titles)


@pytest.mark.parametrize("text", ['title', 'title eq', 'title eq a', 'name eq "a"',
                                  'title is "a"', 'title eq "a" "b"', '(title eq "a"', 'title eq "a'])
def test_a_bad_filter_is_refused(connect, text):
    home = connect.add_vault("Home")
    status, said = get(connect, f"/v1/vaults/{home}/items?filter={urllib.parse.quote(text)}")
    assert (status, said["status"]) == (400, 400)
