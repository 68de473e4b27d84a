"""A proxy in front: it is never banned, what to change is said, and then the attacker is banned."""

import re
import subprocess

import pytest
from support.daemons import NGINX, PATIENCE, SERVERS, daemon, line, wait_for, web_server, write
from support.namespaces import WHY_NOT, join, namespace, permitted

ATTACKER, FRONT = "198.51.100.66", "198.51.100.1"
PROXY, BACKEND = "10.9.9.2", "10.9.9.1"
ANSWER = 'location / { return 200 "answer"; }'
FORWARD = f"""location / {{
            proxy_pass http://{BACKEND};
            proxy_set_header X-Forwarded-For $remote_addr;
        }}"""
ADVISED = re.compile(r"in nginx `([^`]+)`")


def advised_server(advice=""):
    """The backend's configuration, with what the daemon advised in it."""
    return NGINX.replace("    server {{", f"    {advice}\n    server {{{{")


@pytest.fixture
def servers(monkeypatch):
    """Two more kinds of server: the proxy, and a backend that can look behind it."""
    _, words = SERVERS["nginx"]
    proxy = NGINX.replace("nginx.", "proxy.").replace(
        ANSWER.replace("{", "{{").replace("}", "}}"), FORWARD.replace("{", "{{").replace("}", "}}")
    )
    monkeypatch.setitem(SERVERS, "proxy", (proxy, words))
    return SERVERS


@pytest.fixture
def network():
    """An attacker, a proxy, and a backend that knows only the proxy."""
    if not permitted():
        pytest.skip(WHY_NOT)
    with namespace() as backend, namespace() as proxy, namespace() as attacker:
        join(proxy, attacker, (f"{FRONT}/24", f"{ATTACKER}/24"))
        join(backend, proxy, (f"{BACKEND}/24", f"{PROXY}/24"), link="near1")
        yield backend, proxy, attacker


def attack(attacker):
    """One POST through the proxy; whether it is answered."""
    words = ["curl", "-qs", "--noproxy", "*", "-o", "/dev/null", "-m", str(PATIENCE)]
    target = f"http://{FRONT}/xmlrpc.php"
    done = subprocess.run(attacker.command(*words, "-d", "<methodCall/>", target), check=False)
    return done.returncode == 0


def test_the_advice_about_a_proxy_leads_to_the_attacker(network, servers, tmp_path, monkeypatch):
    """As it stands the proxy's address is logged; as advised the attacker's, and that is banned."""
    backend, proxy, attacker = network
    front, back = tmp_path / "front", tmp_path / "back"
    for each in (front, back):
        each.mkdir()
    with daemon(backend, back) as watchdog, web_server("proxy", proxy, front):
        watchdog.start()
        with web_server("nginx", backend, back):
            assert [attack(attacker) for _ in range(5)] == [True] * 5
            watchdog.until(friends=5, hits=0)
        assert watchdog.bans() == {}
        assert watchdog.metrics()['xmlrpc_blocker_friend_hits_total{reason="private"}'] == 5
        [advice] = ADVISED.findall(watchdog.said())  # once, not five times
        assert PROXY in advice

        monkeypatch.setitem(servers, "nginx", (advised_server(advice), servers["nginx"][1]))
        with web_server("nginx", backend, back):
            assert [attack(attacker) for _ in range(3)] == [True] * 3
            watchdog.until_blocked(ATTACKER)
        assert list(watchdog.bans()) == [ATTACKER]


def test_a_ban_that_does_not_reach_the_attacker_is_reported(network, tmp_path):
    """Who is banned and goes on for over a minute is not stopped by the ban, and that is said."""
    backend, _, _ = network
    with daemon(backend, tmp_path) as watchdog:
        watchdog.start()
        write(watchdog.log, *[line(ATTACKER)] * 3)
        watchdog.until_blocked(ATTACKER)
        write(watchdog.log, line(ATTACKER, ago=-30))
        watchdog.until(blocked=1)
        assert "does not reach" not in watchdog.said()
        write(watchdog.log, line(ATTACKER, ago=-120), line(ATTACKER, ago=-121))
        wait_for(lambda: "the ban does not reach" in watchdog.said(), "the warning")
        assert watchdog.metrics()["xmlrpc_blocker_unreached_bans_total"] >= 1
