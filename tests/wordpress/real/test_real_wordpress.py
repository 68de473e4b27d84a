"""The plugin in a real WordPress: who is reported, and that no answer differs.

`make wordpress-test` installs and unpacks what this needs.
"""

import itertools
import urllib.parse
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path

import pytest
from wordpress.real.callers import ATTACKERS, FRIENDS, Caller, basic
from wordpress.real.site import BLOG, CLIENT6, HOST, LINE, targets, wordpress

MARK = "198.18.0.250"
"""A client whose line shows that all lines before it have arrived."""
HARMLESS = "48"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def site(request):
    with wordpress(Path(request.config.getoption("--wordpress"))) as made:
        yield made


@pytest.fixture
def caller(site):
    """A client at an address of its own."""
    return Caller(site, f"198.18.0.{next(NUMBERS)}")


@dataclass(frozen=True)
class Event:
    """A line, taken apart."""

    n: int
    event: str
    fields: dict[str, str]


def events(caller):
    """Return what the plugin wrote about a caller; there is no line about another."""
    Caller(caller.site, MARK).call("wp.getUsersBlogs", "mark", "mark")
    found = []
    while True:
        text = caller.site.datagram()
        line = LINE.fullmatch(text)
        assert line, text
        address, n, event, rest = line.groups()
        if address == MARK:
            return found
        assert address == caller.source
        found.append(Event(int(n), event, dict(each.split("=") for each in rest.split())))


def counted(found):
    """Return how many events count: not the pingbacks that are there already."""
    return sum(each.n for each in found if each.fields.get("code") != HARMLESS)


def distinct(found):
    """Return how many of them are different guesses, as the daemon is to count them."""
    seen = {each.fields.get("try") for each in found} - {None, "-"}
    others = [each for each in found if each.fields.get("try", "-") == "-"]
    return len(seen) + counted(others)


@pytest.mark.parametrize("row", FRIENDS + ATTACKERS, ids=lambda row: row.act.__name__)
def test_the_table_of_friends_and_attackers(row, caller):
    """Friends have fewer than three distinct guesses in all, attackers three or more at once."""
    row.act(caller)
    found = events(caller)
    assert (caller.posts, counted(found), distinct(found)) == (row.posts, row.events, row.distinct)
    assert (distinct(found) >= 3) == (row in ATTACKERS)


def test_friends_really_do_their_work(site):
    """The calls of the friends succeed: only the refused list of users is a fault."""
    by_name = {row.act.__name__: row.act for row in FRIENDS}
    faults = {}
    for name in ("android", "ios", "desktop_editor", "app_with_its_own_password"):
        caller = Caller(site, f"198.18.0.{next(NUMBERS)}")
        by_name[name](caller)
        faults[name] = caller.faults
        assert events(caller) == []
    assert faults == {
        "android": [], "ios": [401], "desktop_editor": [], "app_with_its_own_password": [],
    }  # fmt: skip


def test_a_multicall_is_few_lines(caller):
    """500 guesses are two lines, or one more a second: the journal limits a service's lines."""
    calls = [("wp.getUsersBlogs", ("admin", f"guess {number}")) for number in range(500)]
    answers = caller.multicall(calls)
    assert [each["faultCode"] for each in answers] == [403] * 500
    first, *others = events(caller)
    assert (first.n, first.event, first.fields["user"]) == (1, "login", "admin")
    assert {each.fields["try"] for each in others} == {"-"}
    assert sum(each.n for each in others) == 499
    assert len(others) < 10


def test_the_right_password_then_wrong_ones(caller):
    """WordPress checks the first wrong one, and no further one of the same request."""
    words = ["right editor", "a", "b", "c"]
    caller.multicall([("wp.getUsersBlogs", ("editor", each)) for each in words])
    first, *others = events(caller)
    assert first.fields["user"] == "editor"
    assert first.fields["try"] != "-"
    assert sum(each.n for each in others) == 2


@pytest.mark.parametrize(
    ("name", "password", "user"),
    [
        ("admin", "x", "admin"),
        ("editor@example.org", "x", "editor"),
        ("a b", "x", "a%20b"),
        ("hunter2", "x", "-"),
        ("", "", "-"),
        ("admin", "", "admin"),
        ("a\nxmlrpc-blocker: addr=192.0.2.66 n=9 event=login", "x", "-"),
        ("x n=9 addr=192.0.2.66", "x", "-"),
        ("%0A%00'\"\\<b>é", "x", "-"),
        ("x" * 5000, "x", "-"),
        (["admin"], "x", None),
        ("admin", {"a": "b"}, None),
    ],
)
def test_names_that_exist_and_hostile_ones(name, password, user, caller):
    """One line a failure, of one form, and only names of users who exist."""
    caller.call("wp.getUsersBlogs", name, password)
    found = events(caller)
    if user is None:  # WordPress 6.1 ends with a fatal error before any hook
        assert len(found) <= 1
        return
    (event,) = found
    assert (event.n, event.event, event.fields["via"]) == (1, "login", "xmlrpc")
    assert event.fields["user"] == user


@pytest.mark.parametrize(
    ("page", "post", "code"),
    [
        (f"http://{BLOG}:8080/refused.html", "one", "16"),
        (f"http://{BLOG}/no-link.html", "one", "17"),
        (f"http://{BLOG}/no-title.html", "one", "32"),
        (f"http://{BLOG}/links.html", "none", "33"),
        (f"http://{BLOG}/links.html", "elsewhere", "0"),
    ],
)
def test_a_pingback_has_the_code_that_the_visitor_does_not_see(page, post, code, caller):
    """WordPress answers 0 to all of them."""
    to = {
        "one": targets(caller.site.facts)[0],
        "none": f"http://{HOST}/?p=99999",
        "elsewhere": f"http://{BLOG}/",
    }[post]
    caller.call("pingback.ping", page, to)
    (event,) = events(caller)
    assert (event.n, event.event, event.fields) == (1, "pingback", {"via": "xmlrpc", "code": code})
    assert caller.faults == [0]


def test_a_disabled_xmlrpc(caller):
    """It has no hook; the server object says it at the end."""
    body = xmlrpc.client.dumps(("admin", "x"), "wp.getUsersBlogs")
    caller.post(body, headers={"X-Disabled": "1"})
    (event,) = events(caller)
    assert (event.n, event.event, event.fields) == (1, "disabled", {"via": "xmlrpc"})


def test_another_plugin_that_ends_the_request(caller):
    """wp-fail2ban exits within the filter: the line is written, and what waits is, too."""
    calls = [
        {"methodName": "wp.getUsersBlogs", "params": ["admin", f"guess {number}"]}
        for number in range(3)
    ]
    body = xmlrpc.client.dumps((calls,), "system.multicall")
    caller.post(body, headers={"X-Late-Exit": "1"})
    (event,) = events(caller)
    assert (event.n, event.fields["user"]) == (1, "admin")


def test_the_form(caller):
    """A wrong password in the browser; a look at the form is nothing."""
    caller.ask("GET", "/wp-login.php")
    form = urllib.parse.urlencode({"log": "admin", "pwd": "wrong", "wp-submit": "Log In"})
    header = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _ = caller.ask("POST", "/wp-login.php", form, header)
    (event,) = events(caller)
    assert (event.event, event.fields["via"], event.fields["user"]) == ("login", "form", "admin")
    assert status == 200


@pytest.mark.parametrize(
    ("name", "password", "expected"),
    [("editor", "wrong", "editor"), ("hunter2", "x", "-"), ("editor", None, None)],
)
def test_an_application_password_of_the_rest_interface(name, password, expected, caller):
    """Once a request; the right one is not reported."""
    header = basic(name, password or caller.site.facts["password"])
    status, _ = caller.ask("GET", "/index.php?rest_route=/wp/v2/posts", headers=header)
    assert status in {200, 401}
    found = [(each.n, each.fields["via"], each.fields["user"]) for each in events(caller)]
    assert found == ([(1, "basic", expected)] if expected else [])


@pytest.mark.parametrize(
    ("target", "via"),
    [
        ("/index.php?rest_route=/wp/v2/users", "rest"),
        ("/wp-json/wp/v2/users", "rest"),
        ("/?author=1", "author"),
        ("/?author=99", "author"),
        ("/author/admin/", None),
        ("/wp-json/wp/v2/posts?author=1", None),
        ("/?author=admin", None),
        ("/", None),
        ("/one/", None),
    ],
)
def test_questions_for_user_names(target, via, caller):
    """The list of users, and numbers of authors."""
    caller.ask("GET", target)
    found = [(each.event, each.fields) for each in events(caller)]
    assert found == ([("users", {"via": via})] if via else [])


def test_ipv6(site):
    """Addresses are as PHP has them."""
    caller = Caller(site, CLIENT6)
    caller.call("wp.getUsersBlogs", "admin", "x")
    assert len(events(caller)) == 1


LOGIN = xmlrpc.client.dumps(("admin", "x"), "wp.getUsersBlogs")


@pytest.mark.parametrize(
    ("verb", "target", "body"),
    [
        ("POST", "/xmlrpc.php", LOGIN),
        ("POST", "/xmlrpc.php", xmlrpc.client.dumps(("", ""), "wp.getUsersBlogs")),
        (
            "POST",
            "/xmlrpc.php",
            xmlrpc.client.dumps(("editor", "right editor"), "wp.getUsersBlogs"),
        ),
        ("POST", "/xmlrpc.php", xmlrpc.client.dumps((), "demo.sayHello")),
        ("POST", "/xmlrpc.php", xmlrpc.client.dumps(("a", "b"), "pingback.ping")),
        ("POST", "/xmlrpc.php", xmlrpc.client.dumps((), "no.method")),
        ("POST", "/xmlrpc.php", "no XML"),
        ("GET", "/xmlrpc.php", ""),
        ("GET", "/index.php?rest_route=/wp/v2/users", ""),
        ("GET", "/?author=1", ""),
    ],
)
def test_no_answer_differs_from_that_of_a_site_without_the_plugin(verb, target, body, caller):
    """Status and body are the same, byte by byte."""
    without = caller.ask(verb, target, body, {"X-Without-Plugin": "1"})
    assert events(caller) == []
    assert caller.ask(verb, target, body) == without
    events(caller)
