"""Logs in which a proxy names the client: how they are configured, and who is judged."""

import json

import pytest

from blocker.analysis.reading import Reader, make_friends, make_matchers
from blocker.analysis.replay import replay
from blocker.config.parse import parse
from blocker.errors import ConfigError

MAIN = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
    ' "$http_referer" "$http_user_agent" "$http_x_forwarded_for"'
)
APACHE = '%h %l %u %t \\"%r\\" %>s %b \\"%{X-Forwarded-For}i\\"'
TEXT = '{peer} - - [10/Mar/2026:12:00:0{n} +0000] "POST /xmlrpc.php HTTP/1.1" 200 5 '
OURS = '["10.0.0.1", "192.0.2.0/24", "@cloudflare"]'


def table(field, text="", addresses=OURS):
    return f"[[log]]\npath = '/x'\n{text}\nproxy = {{addresses = {addresses}, field = '{field}'}}"


def configured(text):
    return parse([("a.toml", text)])


def made(text):
    config = configured(text)
    return make_matchers(config, make_friends(config))


def refused(text):
    with pytest.raises(ConfigError) as caught:
        made(text)
    return str(caught.value)


def clients(text, *lines):
    """Return the clients of the hits in a log, or None for an unparsed line."""
    matcher = made(text).of("/x")
    for line in lines:
        verdict = matcher.explain(line.encode())
        matched = matcher.scan(line.encode() + b"\n")
        assert len(matched.hits) == (verdict.kind == "hit")
        yield verdict.fields.address.decode() if verdict.kind == "hit" else None


LISTS = [
    ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "192.0.2.66, 203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "8.8.8.8, 203.0.113.7, 192.0.2.66", "203.0.113.7"),
    ("104.16.0.1", "8.8.8.8, 203.0.113.7", "203.0.113.7"),
    ("10.0.0.1", "-", "10.0.0.1"),
    ("10.0.0.1", "8.8.8.8, unknown", "10.0.0.1"),
    ("10.0.0.2", "8.8.8.8", "10.0.0.2"),
    ("203.0.113.9", "8.8.8.8", "203.0.113.9"),
]
each_list = pytest.mark.parametrize(("peer", "sent", "client"), LISTS)


@each_list
def test_a_field_of_text_names_the_client(peer, sent, client):
    """Of nginx and of Apache, in quotes, wherever it stands."""
    nginx = TEXT.format(peer=peer, n=0) + f'"-" "a \\x22 b" "{sent}"'
    assert list(clients(table("$http_x_forwarded_for", f"format = '{MAIN}'"), nginx)) == [client]
    apache = TEXT.format(peer=peer, n=0) + f'"{sent}"'
    found = clients(table("%{X-Forwarded-For}i", f'format = "{APACHE}"'), apache)
    assert list(found) == [client]
    first = '"$http_x_real_ip" $remote_addr [$time_local] "$request"'
    line = f'"{sent}" {peer} [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1"'
    assert list(clients(table("$http_x_real_ip", f"format = '{first}'"), line)) == [client]


@each_list
def test_a_member_of_json_names_the_client(peer, sent, client):
    """By its name, in a log of any format of JSON; of the members of the usual names none does."""
    entry = {
        "remote_addr": peer,
        "client_ip": "8.8.4.4",
        "ts": 1773144000,
        "request": "POST /xmlrpc.php HTTP/1.1",
        "xff": sent,
    }
    line, empty = json.dumps(entry), json.dumps(entry | {"xff": None})
    fields = "fields = {address = 'remote_addr', time = 'ts', request = 'request'}"
    for text in ("", "format = 'json'", fields):
        assert list(clients(table("xff", text), line, line, empty)) == [client, client, peer]
    nested = json.dumps(entry | {"h": {"xff": sent}, "xff": "8.8.4.4"})
    assert list(clients(table("h.xff", fields), nested)) == [client]


def test_a_line_without_the_peer_is_not_read():
    """The whole list could be the client's."""
    line = json.dumps({"ts": 1773144000, "request": "POST /xmlrpc.php HTTP/1.1", "xff": "8.8.8.8"})
    assert list(clients(table("xff", "format = 'json'"), line)) == [None]


def test_other_logs_believe_nothing_more():
    """What is believed of one log is not believed of another."""
    line = json.dumps({
        "remote_addr": "10.0.0.1", "ts": 1773144000, "request": "POST /xmlrpc.php HTTP/1.1",
        "xff": "203.0.113.7",
    })  # fmt: skip
    verdict = made(table("xff")).of("/y").explain(line.encode())
    assert verdict.fields.address == b"10.0.0.1"


def test_the_proxies_are_friends_and_their_clients_are_not(tmp_path):
    """A line in which a proxy names no client bans no proxy, not even one at a public address."""
    log = tmp_path / "x"
    lines = [TEXT.format(peer="192.0.2.10", n=n) + f'"-" "-" "{sent}"\n'
             for n in range(4) for sent in ("-", "8.8.8.8, 203.0.113.7")]  # fmt: skip
    log.write_text("".join(lines))
    text = table("$http_x_forwarded_for", f"format = '{MAIN}'").replace("/x", str(log))
    report = replay([str(log)], configured(text), Reader())
    assert [ban["address"] for ban in report["bans"]] == ["203.0.113.7"]
    assert report["friends"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[log]]\npath = '/x'\nproxy = '10.0.0.1'", "a table such as {addresses = "),
        ("[[log]]\npath = '/x'\nproxy = {field = 'a'}", "a table such as {addresses = "),
        (table("a", addresses="[]"), "addresses: a list of those of your proxies"),
        (table("a", addresses="['x']"), "neither an address, nor a network"),
        (table("a", addresses="['@cloudfare']"), "@cloudflare"),
        (table("a", addresses="['0.0.0.0/0']"), "can't all be proxies of yours"),
        (table("a", addresses="['2000::/3']"), "can't all be proxies of yours"),
        (table(""), "field: a variable of the format"),
        (table("a b"), "field: a variable of the format"),
        (table("$http_x", "format = 'combined'"), "lines of the format combined have no $http_x"),
        (table("$http_x", "format = 'npm'"), "lines of the format npm have no $http_x"),
        (table("$http_x", f"format = '{MAIN}'"), "the format has no $http_x; write the field as"),
        (
            table("$http_x", "format = '$http_x $remote_addr [$time_local] \"$request\"'"),
            "forwarded is not in quotes",
        ),
    ],
)
def test_what_is_wrong_is_said(text, said):
    """Before a log is read."""
    assert said in refused(text)
