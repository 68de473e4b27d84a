"""Friends of every kind before the real judge, and the lists that make some of them friends."""

import http.server
import json
import signal
import threading
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest

from blocker.addresses import subject_of
from blocker.cli.main import main
from blocker.config.schema import Config
from blocker.engine.enforcer import Enforcer
from blocker.errors import BlockerError, ConfigError
from blocker.friends import publishers
from blocker.friends.friends import Friends
from blocker.friends.network_list import LIST_NAMES
from blocker.friends.publishers import (
    SOURCES,
    Source,
    difference,
    parse_networks,
    render,
    suspicious,
)
from blocker.friends.refresh import MAX_SIZE, fetch, refresh
from blocker.friends.shipped import shipped_lists
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.model import Hit
from blocker.times import SECOND

LISTS = shipped_lists()
NOW = 1_773_144_000 * SECOND

# Every kind, before the judge ------------------------------------------------------------------


def packed(text):
    return ip_address(text).packed


def attacked(*addresses, **settings):
    """Let each address attack ten times; return the bans and the hits of friends by reason."""
    friends = Friends.build(lists=LISTS, **settings)
    config = Config()
    limits = Limits(config.remember, config.max_tracked, config.ipv6_prefix)
    judge = Judge(list(config.traps.items()), limits, friends.why)
    hits = [
        Hit(NOW + n * SECOND, packed(address), 0, 200, 0)
        for n in range(10)
        for address in addresses
    ]
    bans = judge.judge(hits, NOW + 10 * SECOND).bans
    enforcer = Enforcer(None, friends, lambda: NOW)
    for ban in bans:
        assert not enforcer._is_friend(ban.subject), "judged, and refused at the last moment"
    return {ban.subject for ban in bans}, judge.friends.hits


OWN = {"own": [packed("192.0.2.7"), packed("2001:db8::7")]}
KINDS = [
    ("allow", ["198.51.100.9"], {"allow": ["198.51.100.9"]}),
    ("allow", ["198.51.100.0", "198.51.100.255"], {"allow": ["198.51.100.0/24"]}),
    ("allow", ["2001:db8:1::9"], {"allow": ["2001:db8:1::9"]}),
    ("allow", ["2001:db8:1:ffff::"], {"allow": ["2001:db8:1::/48"]}),
    ("own", ["192.0.2.7", "2001:db8::7"], OWN),
    ("loopback", ["127.0.0.1", "127.255.255.254", "::1"], {}),
    ("link-local", ["169.254.0.1", "169.254.255.254", "fe80::1", "febf::1"], {}),
    ("private", ["10.0.0.0", "10.255.255.255"], {}),
    ("private", ["172.16.0.0", "172.31.255.255"], {}),
    ("private", ["192.168.0.0", "192.168.255.255"], {}),
    ("private", ["fc00::1", "fdff:ffff::1"], {}),
    ("private", ["100.64.0.0", "100.127.255.255"], {}),
    ("nat64", ["64:ff9b::", "64:ff9b::203.0.113.1", "64:ff9b::ffff:ffff"], {}),
    ("nat64", ["64:ff9b:1::", "64:ff9b:1:ffff::1"], {}),
    ("@jetpack", ["192.0.64.1"], {"allow": ["@jetpack"]}),
]


@pytest.mark.parametrize(("reason", "addresses", "settings"), KINDS)
def test_a_friend_of_this_kind_is_never_banned(reason, addresses, settings):
    """However often it attacks: no ban, and its hits are counted apart, with the reason."""
    assert attacked(*addresses, **settings) == (set(), {reason: 10 * len(addresses)})


@pytest.mark.parametrize("name", [name for name in LIST_NAMES if LISTS[name].kind == "proxy"])
def test_a_proxy_of_each_shipped_list_is_never_banned(name):
    """First and last address of every network of the list; but all of them with ban_proxies."""
    networks = LISTS[name].networks
    ends = {str(end) for each in networks for end in (each[0], each[-1])}
    bans, friends = attacked(*ends)
    assert not bans
    assert sum(friends.values()) == 10 * len(ends)
    assert f"proxy:{name}" in friends
    bans, friends = attacked(*ends, ban_proxies=True)
    assert bans == {subject_of(packed(end), 64) for end in ends}
    assert not friends


STRANGERS = [
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.254", "2001:db8::1",
    "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
    "169.255.0.0", "fbff::1", "fec0::1", "64:ff9b:0:1::1", "64:ff9b:2::1", "64:ff9a::1", "::2:1",
    "192.0.64.1",
]  # fmt: skip


def test_strangers_are_banned():
    """Documentation and benchmarking ranges, neighbours of each range, and services not named."""
    bans, friends = attacked(*STRANGERS, own=[packed("192.0.2.7")])
    assert bans == {subject_of(packed(each), 64) for each in STRANGERS}
    assert not friends


def test_private_neighbours_can_be_banned_if_that_is_wished():
    """With ban_private all private ranges are ordinary, and loopback and allow are not."""
    neighbours = ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd00::1", "fe80::1"]
    friends = ["127.0.0.1", "::1", "10.9.9.9"]
    bans, hits = attacked(*neighbours, *friends, ban_private=True, allow=["10.9.9.9"])
    assert bans == {subject_of(packed(each), 64) for each in neighbours}
    assert hits == {"loopback": 20, "allow": 10}


# What is published -----------------------------------------------------------------------------

ONE, TWO, SIX = map(ip_network, ("198.51.100.0/24", "203.0.113.0/25", "2001:db8::/32"))


@pytest.mark.parametrize(
    "text",
    [
        "198.51.100.0/24\n203.0.113.0/25\n2001:db8::/32\n",
        "# head\r\n\r\n203.0.113.0/25 # remark\r\n198.51.100.0/24, 2001:db8::/32 ; end",
        "198.51.100.0/24 203.0.113.0/25\t2001:db8::/32\n198.51.100.0/24\n",
        '["198.51.100.0/24", "203.0.113.0/25", "2001:db8::/32"]',
        '{"a": {"b": [{"c": "198.51.100.0/24"}]}, "d": ["203.0.113.0/25"], "e": "2001:db8::/32"}',
        '{"u": "http://x/24", "v": [["198.51.100.0/24"], "203.0.113.0/25", ["2001:db8::/32"]]}',
    ],
)
def test_a_list_is_read_in_any_of_its_forms(text):
    """Lines, remarks, several a line, JSON with networks anywhere: in order, each once."""
    assert parse_networks(text) == (ONE, TWO, SIX)


def test_single_addresses_are_networks_of_one():
    """As publishers of single servers list them."""
    assert parse_networks("198.51.100.7\n2001:db8::7") == (
        ip_network("198.51.100.7/32"),
        ip_network("2001:db8::7/128"),
    )


def test_only_what_is_meant_is_taken_from_a_list_of_everything():
    """Under a name, or in objects of a label: the rest of the publisher's networks is no proxy."""
    text = json.dumps(
        {
            "result": {"ipv4_cidrs": [str(TWO)], "jdcloud_cidrs": [str(ONE)]},
            "prefixes": [
                {"ip_prefix": str(TWO), "service": "EC2"},
                {"ip_prefix": str(ONE), "service": "CLOUDFRONT_ORIGIN_FACING"},
            ],
            "values": [
                {"name": "Other", "properties": {"addressPrefixes": [str(TWO)]}},
                {"name": "AzureFrontDoor.Backend", "properties": {"addressPrefixes": [str(ONE)]}},
            ],
        }
    )
    for name in ("cloudflare-china", "cloudfront", "azure-front-door"):
        assert parse_networks(text, SOURCES[name]) == (ONE,), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no networks"),
        ("# nothing\n", "no networks"),
        ("{}", "no networks"),
        ("<html><body>198.51.100.0/24</body></html>", "line 1: '<html"),
        ("198.51.100.1/24", "is no network"),
        ("198.51.100.0/24\n\x1b[31m", "line 2: '\\x1b"),
        ("0.0.0.0/0", "too much"),
        ("::/0", "too much"),
        ("64.0.0.0/9", "too much"),
        ("2001::/16", "too much"),
        ('["0.0.0.0/0"]', "too much"),
        ("[" * 100_000, "no JSON"),
        ('{"a": ', "no JSON"),
    ],
)
def test_what_is_no_list_is_refused(text, said):
    """Nothing, a page for people, junk, and networks too wide to be one publisher's."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_networks(text)
    assert said in str(caught.value)


def test_a_list_without_end_is_refused():
    """There is a ceiling on what makes friends."""
    text = "\n".join(f"198.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(100_001))
    with pytest.raises(ValueError, match="100001 networks"):
        parse_networks(text)


def test_a_list_may_hold_as_many_networks_as_its_ceiling_says(monkeypatch):
    """And not one more."""
    monkeypatch.setattr(publishers, "MAX_NETWORKS", 2)
    assert len(parse_networks("198.51.100.0/32 198.51.100.1/32 198.51.100.1/32")) == 2
    with pytest.raises(ValueError, match="holds 3 networks; more than 2 are no list"):
        parse_networks("198.51.100.0/32 198.51.100.1/32 198.51.100.2/32")


@pytest.mark.parametrize(
    ("widest", "wider"), [("198.64.0.0/10", "198.0.0.0/9"), ("2001:d000::/20", "2001:c000::/19")]
)
def test_a_network_may_be_so_wide_and_no_wider(widest, wider):
    """What is wider is a mistake, or an attack on the publisher."""
    assert parse_networks(widest) == (ip_network(widest),)
    with pytest.raises(ValueError, match=f"holds {wider}, which is too much to be one publisher's"):
        parse_networks(wider)


def test_a_remark_may_be_empty():
    """A sign alone is no word."""
    assert parse_networks("198.51.100.0/24 #\n;\n") == (ONE,)


def test_in_json_only_networks_with_their_length_count():
    """Numbers, addresses of servers, versions and dates stand there, too."""
    others = '1, null, true, 2.5, "", "192.0.2.1", "2001:db8::1", "a/b", "2026/01/01"'
    assert parse_networks(f'{{"x": [{others}, "198.51.100.0/24"]}}') == (ONE,)


def test_a_member_that_is_empty_is_no_label():
    """Where a list is found by its name, nothing else is taken."""
    text = '{"a": {"note": "", "ips": ["192.0.2.0/24"]}, "wanted": ["198.51.100.0/24"]}'
    assert parse_networks(text, Source(member="wanted")) == (ONE,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("192.0.2.0/24", "192.0.2.0/25", ""),
        (
            "192.0.2.0/24",
            "192.0.2.0/26 192.0.2.64/27",
            "covers less than half of the IPv4 addresses that it covered",
        ),
        ("192.0.2.0/28", "192.0.2.0/25 192.0.2.128/27", ""),
        (
            "192.0.2.0/28",
            "192.0.2.0/25 192.0.2.128/27 192.0.2.160/32",
            "covers more than 10 times the IPv4 addresses that it covered",
        ),
        ("2001:db8::/64", "2001:db8::/65", ""),
        (
            "2001:db8::/64",
            "2001:db8::/66",
            "covers less than half of the IPv6 addresses that it covered",
        ),
        (
            "2001:db8::/64",
            "2001:db8::/60",
            "covers more than 10 times the IPv6 addresses that it covered",
        ),
    ],
)
def test_a_list_is_doubted_below_half_and_beyond_ten_times(old, new, said):
    """Of either family, by the addresses that it covers."""
    assert suspicious(parse_networks(old), parse_networks(new)) == said


def test_a_list_is_written_as_it_is_read():
    """One network a line, below the header, each line with its end."""
    old = shipped_lists()["bunny"]
    text = render(old, (ONE, TWO), "2026-03-10", "https://x.example")
    assert text == (
        f"# name: bunny\n# title: {old.title}\n# source: https://x.example\n"
        f"# date: 2026-03-10\n# kind: proxy\n{ONE}\n{TWO}\n"
    )


def test_the_difference_is_what_changes():
    """What is added, and what is removed, each in order."""
    assert difference([ONE, TWO], [SIX, ONE]) == ((SIX,), (TWO,))


@pytest.mark.parametrize(
    ("old", "new", "doubtful"),
    [
        (["198.51.100.0/24"], ["198.51.100.0/25"], False),
        (["198.51.100.0/24"], ["198.51.100.0/26"], True),
        (["198.51.100.0/24"], ["198.51.100.0/25", "198.51.100.128/25"], False),
        (["198.51.100.0/24", "2001:db8::/32"], ["198.51.100.0/24"], True),
        (["198.51.100.0/24"], ["198.51.100.0/24", "2001:db8::/32"], False),
        (["198.51.100.0/24"], ["198.18.0.0/20"], True),
        (["198.51.100.0/24"], ["198.18.0.0/21"], False),
    ],
)
def test_a_list_that_shrinks_or_grows_beyond_belief_is_doubted(old, new, doubtful):
    """By what it covers, in each family, and not by how it is written."""
    old, new = ([ip_network(text) for text in each] for each in (old, new))
    assert bool(suspicious(old, new)) == doubtful


def test_every_list_knows_where_it_comes_from():
    """By https, or by hand with a page to get it from."""
    assert set(SOURCES) == set(LIST_NAMES)
    for source in SOURCES.values():
        assert all(url.startswith("https://") for url in source.urls)


# Fetching --------------------------------------------------------------------------------------


@contextmanager
def publisher(pages):
    """A publisher on loopback: by path, a body, or a redirection to elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = pages.get(self.path)
            if isinstance(page, bytes):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(page)
            elif page:
                self.send_response(302)
                self.send_header("Location", page)
                self.end_headers()
            else:
                self.send_error(404)

        def log_message(self, *_words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def by_loopback(url):
    return fetch(url, loopback=True)


def test_a_list_is_fetched_and_compared():
    """All of its pages, and what would change in the list in use."""
    old = LISTS["sucuri"]
    lines = "\n".join(map(str, old.networks[1:]))
    pages = {"/4": lines.encode(), "/6": json.dumps([str(SIX)]).encode()}
    with publisher(pages) as base:
        source = Source((f"{base}/4", f"{base}/6"))
        refreshed = refresh(old, by_loopback, {"sucuri": source})
    assert refreshed.difference == ((SIX,), old.networks[:1])
    assert "# name: sucuri\n" in refreshed.text
    assert f"# source: {base}/4 and {base}/6\n" in refreshed.text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none", "Not Found"),
        ("/page", "no network"),
        ("/binary", "no text"),
        ("/huge", "more than 4 MiB"),
        ("/elsewhere", "not https"),
        ("/file", "not allowed"),
        ("/round", "redirect"),
    ],
)
def test_what_can_not_be_trusted_is_not_taken(path, said):
    """A missing page, one for people, rubbish, one without end, and a way out of https."""
    pages = {
        "/page": b"<html>",
        "/binary": b"\xff\xfe\x00",
        "/huge": b"198.51.100.1\n" * (MAX_SIZE // 13 + 1),
        "/elsewhere": "http://192.0.2.1/list",
        "/file": "file:///etc/passwd",
        "/round": "/round",
    }
    with publisher(pages) as base:
        source = Source((base + path,))
        with pytest.raises(BlockerError) as caught:
            refresh(LISTS["fastly"], by_loopback, {"fastly": source})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://example.org/", "file:///etc/passwd"]
)
def test_only_https_is_fetched(url):
    """A list that makes friends does not come by a way that others can write on."""
    with pytest.raises(BlockerError, match="not https"):
        fetch(url)


def test_a_publisher_who_does_not_answer_is_reported():
    """With the address and the reason."""
    with publisher({}) as base:
        pass
    with pytest.raises(BlockerError, match="Connection refused; try later"):
        by_loopback(f"{base}/list")


# The command -----------------------------------------------------------------------------------


def command(capsys, *words):
    """Run a command; return its exit code and what it printed."""
    before = signal.getsignal(signal.SIGPIPE)
    try:
        with pytest.raises(SystemExit) as caught:
            main(["lists", *map(str, words)])
    finally:
        signal.signal(signal.SIGPIPE, before)  # a command lets itself be ended by it, tests don't
    return caught.value.code, *capsys.readouterr()


def test_lists_are_listed(capsys):
    """Each with name, kind, number of networks, date and source."""
    code, out, _ = command(capsys, "-o", "json")
    rows = {row["name"]: row for row in json.loads(out)["lists"]}
    assert code == 0
    assert set(rows) == set(LIST_NAMES)
    fastly = LISTS["fastly"]
    assert rows["fastly"]["networks"] == len(fastly.networks)
    assert rows["fastly"]["date"] == fastly.date
    code, out, _ = command(capsys, "-o", "csv")
    assert out.splitlines()[0] == "name,kind,networks,date,source"
    assert command(capsys)[0] == 0


def test_the_difference_is_shown_and_written_only_if_asked_for(capsys, tmp_path):
    """A list from a file: first what would change, then, with --write, it takes precedence."""
    old = LISTS["sucuri"].networks
    file, directory = tmp_path / "fetched", tmp_path / "lists"
    file.write_text("\n".join(map(str, [*old[1:], ONE])))
    words = ("refresh", "sucuri", "--from", file, "--directory", directory)
    code, out, err = command(capsys, *words)
    assert code == 0
    assert out.splitlines() == ["sucuri: 1 added, 1 removed", f"+ {ONE}", f"- {old[0]}"]
    assert "nothing is written without --write" in err
    assert not directory.exists()
    code, out, err = command(capsys, *words, "--write")
    assert (code, out.splitlines()[0]) == (0, "sucuri: 1 added, 1 removed")
    assert [each.name for each in directory.iterdir()] == ["sucuri.txt"]
    lists = shipped_lists(directory)
    assert set(lists["sucuri"].networks) == {*old[1:], ONE}
    assert lists["sucuri"].kind == "proxy"
    assert Friends.build(lists=lists).why(ONE[1].packed) == "proxy:sucuri"
    assert lists["fastly"] == LISTS["fastly"]
    assert command(capsys, *words)[1] == "sucuri: 0 added, 0 removed\n"


def test_a_list_that_shrinks_needs_force(capsys, tmp_path):
    """Shown, refused with advice, and written if accepted."""
    file, directory = tmp_path / "fetched", tmp_path / "lists"
    file.write_text(str(LISTS["sucuri"].networks[0]))
    words = ("refresh", "sucuri", "--from", file, "--directory", directory, "--write")
    code, out, err = command(capsys, *words)
    assert code == 1
    assert "covers less than half" in err
    assert out.startswith("sucuri: 0 added, ")
    assert not directory.exists()
    assert command(capsys, *words, "--force")[0] == 0
    assert len(shipped_lists(directory)["sucuri"].networks) == 1


def test_an_empty_list_is_always_refused(capsys, tmp_path):
    """Nothing is no list, not even by force."""
    (tmp_path / "fetched").write_text("\n")
    words = ("refresh", "sucuri", "--from", tmp_path / "fetched", "--write", "--force")
    code, _, err = command(capsys, *words, "--directory", tmp_path / "lists")
    assert code == 1
    assert "holds no networks; the list sucuri stays as it is" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["refresh", "nonsense"], 2, "no list is named nonsense; there are: akamai"),
        (["refresh", "--from", "x"], 2, "name one list"),
        (["refresh", "akamai", "fastly", "--from", "x"], 2, "name one list"),
        (["refresh", "akamai", "--from", "/none"], 1, "/none: No such file"),
        (["refresh", "akamai"], 1, "published for people only; get it from https://"),
        (["--write"], 2, "lists refresh"),
    ],
)
def test_what_can_not_be_done_is_reported(capsys, words, code, said):
    """With an exit code and what to do instead."""
    ended, _, err = command(capsys, *words)
    assert ended == code
    assert said in err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "198.51.100.0/24\n",
        "# name: fastly\n# title: x\n# source: x\n# date: x\n# kind: proxy\n198.51.100.0/24\n",
        "# name: sucuri\n# title: x\n# source: x\n# date: x\n# kind: proxy\n",
        "# name: sucuri\n# title: x\n# source: x\n# date: x\n# kind: proxy\nnonsense\n",
    ],
)
def test_a_refreshed_list_that_is_broken_is_reported(tmp_path, text):
    """A file that is no list, or another one, is a mistake in the configuration, with advice."""
    (tmp_path / "sucuri.txt").write_text(text)
    with pytest.raises(ConfigError, match="delete it to use the one that comes with the program"):
        shipped_lists(tmp_path)


def test_a_refreshed_list_behind_a_closed_door_is_reported(tmp_path):
    """A directory that this user may not look into is reported, no matter what may be in it."""
    # The user that this is run as may look everywhere; a name that is too long can't be looked at.
    with pytest.raises(ConfigError, match=r"akamai\.txt: File name too long; check the file"):
        shipped_lists(tmp_path / ("x" * 300))


@pytest.mark.parametrize("text", ["::%\x18Rh/3", "fe80::%eth0/64", '{"a": ["::%\\u0018Rh/3"]}'])
def test_a_network_with_an_interface_is_refused_in_printable_words(text):
    """Text of a publisher behind a percent sign never reaches the terminal."""
    with pytest.raises(ValueError, match="network") as refusal:
        parse_networks(text)
    assert str(refusal.value).isprintable()
