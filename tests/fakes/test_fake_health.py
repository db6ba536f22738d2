"""Our Cronitor takes what Cronitor's own client for Node sends, and our Healthchecks answers as the
real one does."""

import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import ROOT, missing
from fakes.health import Health

CLIENT = ROOT / ".deps/cronitor/node_modules/cronitor"
SCRIPT = """
const cronitor = require(process.argv[1])(process.argv[2]);
cronitor._api.pingUrl = (key) => `${process.argv[3]}/ping/${process.argv[2]}/${key}`;
const monitor = new cronitor.Monitor('monitor');
monitor.ping({state: process.argv[4], host: 'Our Pi', message: 'stage:fetch: hangs & more',
              metrics: {count: 11, error_count: 3}}).then((ok) => process.exit(ok ? 0 : 1));
"""


@pytest.fixture
def health():
    running = Health()
    yield running
    running.stop()


def ask(url, data=None):
    with urllib.request.urlopen(url, data, timeout=10) as r:
        return r.status, r.read().decode()


@pytest.mark.parametrize("state", ["ok", "fail"])
def test_cronitors_own_client_is_understood(health, state):
    if not shutil.which("node") or not CLIENT.exists():
        missing("client of Cronitor (npm)")
    subprocess.run(["node", "-e", SCRIPT, CLIENT, "api-key", health.cronitor_url, state],
                   check=True, timeout=60)
    assert not health.wrong
    [ping] = health.pings
    assert (ping.kind, ping.text) == (state, "stage:fetch: hangs & more")
    assert ping.metrics() == {"count": "11", "error_count": "3"}
    # The same names and values as ours (tests/unit/health/test_ping.c), beside its own clock.
    sent = [(name, value) for name, value in ping.query if name not in ("stamp", "env")]
    assert sorted(sent) == [("host", "Our Pi"), ("message", "stage:fetch: hangs & more"),
                            ("metric", "count:11"), ("metric", "error_count:3"), ("state", state)]


def test_an_unknown_check_is_a_success_that_says_otherwise(health):
    assert ask(health.cronitor_url + "/another") == (200, "OK (not found)")
    assert ask(health.check_url + "/fail", b"why") == (200, "OK")
    assert [(p.kind, p.text) for p in health.pings] == [("fail", "why")]


def test_odd_pings_are_written_down(health):
    with pytest.raises(urllib.error.HTTPError):
        ask(health.cronitor_url + "/p/api-key/monitor?state=well")
    with pytest.raises(urllib.error.HTTPError):
        ask(health.cronitor_url + "/p/another/monitor?state=ok")
    with pytest.raises(urllib.error.HTTPError):
        ask(health.check_url + "/begin")
    assert len(health.wrong) == 3 and not health.pings
