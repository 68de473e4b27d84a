"""Where the plugin's lines go, and whose address they name."""

import socket

import pytest
from wordpress.played import CLIENT, SECRETS, Site, datagrams, lines, received, request

FAILURE = "xmlrpc()->login('nobody', 'x');"
LOG_PID, LOG_AUTHPRIV, LOG_NOTICE = 1, 10 << 3, 5


def addresses(server, proxies=None):
    """Return the addresses that are reported for a request."""
    constants = dict(SECRETS) if proxies is None else {**SECRETS, "XMLRPC_BLOCKER_PROXIES": proxies}
    found = lines(FAILURE, Site(server=server, constants=constants))
    return [line.split()[1].removeprefix("addr=") for line in found]


def test_syslog_has_the_identifier_and_the_facility():
    """wordpress[PID], authpriv.notice; other messages of PHP keep their own identifier."""
    played = request(FAILURE, to_socket=False)
    opened, logged, closed = played.calls
    assert opened == ["openlog", "wordpress", LOG_PID, LOG_AUTHPRIV]
    assert logged[:2] == ["syslog", LOG_NOTICE]
    assert logged[2].startswith(f"xmlrpc-blocker: addr={CLIENT} n=1 event=login via=xmlrpc try=")
    assert closed == ["closelog"]
    assert (played.out, played.err) == ("", "")


def test_where_syslog_is_disabled_the_error_log_has_the_line():
    """For the reader only: no program should read events there."""
    played = request(FAILURE, Site(syslog=False), to_socket=False)
    assert played.err.startswith(f"xmlrpc-blocker: addr={CLIENT} n=1 event=login ")
    assert played.err.count("\n") == 1
    assert played.out == ""


def test_a_socket_is_preferred():
    """What the socket took is written nowhere else, also where syslog is disabled."""
    played = request(FAILURE, Site(syslog=False))
    assert len(played.sent) == 1
    assert (played.out, played.err, played.calls) == ("", "", [])


@pytest.mark.parametrize("prefix", ["unix:", "unix://", "udg://"])
def test_a_socket_may_be_written_as_in_the_configuration(prefix):
    """The daemon's own way to name a socket is understood."""
    with datagrams() as listener:
        path = prefix + listener.getsockname()
        request(FAILURE, Site(constants={**SECRETS, "XMLRPC_BLOCKER_SOCKET": path}))
        assert len(received(listener)) == 1


@pytest.mark.parametrize(
    "path", ["/nowhere/events.sock", "", "/dev/null", 7, ["x"], "\0", "x" * 999]
)
def test_a_socket_that_is_missing_is_passed_over(path):
    """Syslog gets the line; no warning is printed."""
    played = request(FAILURE, Site(constants={**SECRETS, "XMLRPC_BLOCKER_SOCKET": path}))
    assert len(played.logged) == 1
    assert (played.out, played.err) == ("", "")


def test_a_socket_whose_reader_is_gone_is_passed_over():
    """The file is there and nothing reads: syslog gets the line."""
    with datagrams() as listener:
        path = listener.getsockname()
        listener.close()
        played = request(FAILURE, Site(constants={**SECRETS, "XMLRPC_BLOCKER_SOCKET": path}))
    assert len(played.logged) == 1
    assert (played.out, played.err) == ("", "")


def test_a_socket_for_streams_is_passed_over(tmp_path, monkeypatch):
    """Another kind of socket refuses datagrams."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("stream.sock")
        listener.listen()
        site = Site(constants={**SECRETS, "XMLRPC_BLOCKER_SOCKET": "stream.sock"})
        assert len(request(FAILURE, site).logged) == 1


def test_a_full_socket_never_waits_and_loses_nothing():
    """What does not fit goes to syslog: 3,000 lines of a reader that sleeps all arrive."""
    scenario = "for ($i = 0; $i < 3000; $i++) { $r = new Xmlrpc_Blocker_Reporter();"
    scenario += " $r->on_pingback_error(new IXR_Error($i)); }"
    played = request(scenario)
    assert played.sent
    assert played.logged
    codes = [int(line.rpartition("=")[2]) for line in played.sent + played.logged]
    assert sorted(codes) == list(range(3000))
    assert (played.out, played.err) == ("", "")


def test_a_reader_that_returns_within_a_request_gets_lines_again():
    """A restart of the daemon makes a new socket."""
    scenario = (
        "$r = new Xmlrpc_Blocker_Reporter(); $r->on_pingback_error(new IXR_Error(1));"
        ' $path = XMLRPC_BLOCKER_SOCKET; rename($path, "$path.x");'
        " $r->on_pingback_error(new IXR_Error(2));"
        ' rename("$path.x", $path); $r->on_shutdown();'
    )
    assert len(lines(scenario)) == 2


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        (CLIENT, [CLIENT]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("::ffff:198.18.0.9", ["::ffff:198.18.0.9"]),
        ("", []),
        ("unix:", []),
        ("198.18.0.7 n=9", []),
        ("198.18.0.7\n", []),
        ("198.18.0.777", []),
        ("fe80::1%eth0", []),
        (["198.18.0.7"], []),
    ],
)
def test_the_address_is_the_servers(remote, expected):
    """Addresses are as PHP has them; without a valid one nothing is reported."""
    assert addresses({"REMOTE_ADDR": remote}) == expected


def test_without_an_address_nothing_is_reported():
    """wp-cron and wp-cli run without a client."""
    assert addresses({}) == []


def test_headers_of_the_client_are_not_believed():
    """Without proxies in the configuration, X-Forwarded-For is a text of the visitor."""
    server = {
        "REMOTE_ADDR": CLIENT, "HTTP_X_FORWARDED_FOR": "192.0.2.66",
        "HTTP_CLIENT_IP": "192.0.2.66", "HTTP_X_REAL_IP": "192.0.2.66",
    }  # fmt: skip
    assert addresses(server) == [CLIENT]
    assert addresses(server, "") == [CLIENT]
    assert addresses(server, "192.0.2.1") == [CLIENT]


def test_an_address_that_a_later_plugin_replaces_is_not_believed():
    """Many sites set REMOTE_ADDR from a header, which the visitor writes."""
    (line,) = lines("$_SERVER['REMOTE_ADDR'] = '192.0.2.66'; " + FAILURE)
    assert f" addr={CLIENT} " in line


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("198.18.0.1", ["198.18.0.1"]),
        ("192.0.2.66, 198.18.0.1", ["198.18.0.1"]),
        ("192.0.2.66,198.18.0.1, 10.9.8.7", ["198.18.0.1"]),
        ("198.18.0.1 ,10.0.0.2,\t2001:db8:1::5", ["198.18.0.1"]),
        ("2001:db8:2::5", ["2001:db8:2::5"]),
        ("::ffff:198.18.0.1", ["::ffff:198.18.0.1"]),
        ("198.18.0.1, ::ffff:10.0.0.2", ["198.18.0.1"]),
        (None, []),
        ("", []),
        ("10.0.0.2", []),
        ("10.0.0.2, 10.0.0.3", []),
        ("unknown", []),
        ("198.18.0.1, unknown", []),
        ("198.18.0.1,", []),
        ("198.18.0.1:4711", []),
        ("198.18.0.1\n", []),
        ("198.18.0.1 198.18.0.2", []),
        ("10.0.0.2," * 3000, []),
    ],
)
@pytest.mark.parametrize(
    "proxies", ["10.0.0.0/8, 2001:db8:1::/48", ["10.0.0.0/8", "2001:db8:1::/48"]]
)
def test_proxies_are_skipped_from_the_right(forwarded, expected, proxies):
    """If nothing is left but a proxy or junk, nothing is reported."""
    server = {"REMOTE_ADDR": "10.0.0.1"}
    if forwarded is not None:
        server["HTTP_X_FORWARDED_FOR"] = forwarded
    assert addresses(server, proxies) == expected


@pytest.mark.parametrize(
    ("proxies", "is_proxy"),
    [
        ("10.1.2.3", True), ("10.1.2.4", False), ("10.1.2.2/31", True), ("10.1.2.4/31", False),
        ("10.1.0.0/17", True), ("10.1.128.0/17", False), ("0.0.0.0/1", True), ("::/0", False),
        ("10.1.2.3/33", False), ("10.1.2.3/", False), ("10.1.2.3/8/8", False), ("/8", False),
        ("10.1.2.3/-1", False), ("junk 10.1.2.3", True), (7, False), ([7, ["x"]], False),
        ([None, "10.1.2.3"], True),
    ],
)  # fmt: skip
def test_which_addresses_are_proxies(proxies, is_proxy):
    """Addresses and networks; what is neither is left out."""
    server = {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "198.18.0.1"}
    assert addresses(server, proxies) == (["198.18.0.1"] if is_proxy else ["10.1.2.3"])
