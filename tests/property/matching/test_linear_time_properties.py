"""Time grows with the length of what an attacker writes, and not with its square."""

from time import process_time

import pytest

from blocker.config.schema import Config
from blocker.firewall import netlink
from blocker.friends.publishers import parse_networks
from blocker.matching.grammar import JSON_KEYS
from blocker.matching.json_layouts import JsonLayouts
from blocker.matching.matcher import Matcher
from blocker.matching.requests import canonical

RULES = list(Config().traps.values())
SHORT, TIMES = 60_000, 8
GENEROUS = 3
"""A square would be eight times what is expected; caches and chance are not three times."""
FLOOR = 0.0005
"""Seconds: what is faster than this is not measured, but fast."""
HEAD = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST '
TAIL = b' HTTP/1.1" 200 370 "-" "-"'


def best(run):
    """Return the best of five times: the others are the neighbours' fault."""
    times = []
    for _ in range(5):
        start = process_time()
        run()
        times.append(process_time() - start)
    return min(times)


def assert_linear(run):
    """Compare a text with one that is eight times as long."""
    short = max(best(lambda: run(SHORT)), FLOOR)
    long = best(lambda: run(SHORT * TIMES))
    assert long <= short * TIMES * GENEROUS, f"{long / short:.0f} times as long for {TIMES} times"


UNITS = [
    b"A", b" ", b'"', b"\\", b'\\"', b"\\\\", b"[", b"] ", b'] "', b"- ", b"%", b"%2f", b"%25",
    b"/", b"//", b"/.", b"/..", b"/../", b"/./", b"/a/..", b"/a.php", b"/xmlrpc.php", b"?", b"#",
    b"http://", b"a:", b":", b".", b"1.", b"0", b"::", b"POST ", b" HTTP/1.1", b" HTTP/1.1 ",
    b"xmlrpc.php", b"\\x5c", b"\\x", b"\xff", b"\0", b"{", b'{"a":', b"[[", b'"a",', b"\\u0041",
    b" [10/Mar/2026:12:00:00 +0000]", b' - - [10/Mar/2026:12:00:00 +0000] "',
]  # fmt: skip
SHAPES = {
    "alone": lambda filler: b"POST /xmlrpc.php" + filler,
    "target": lambda filler: HEAD + b"/xmlrpc.php" + filler + TAIL,
    "before": lambda filler: HEAD + b"/" + filler + b"/xmlrpc.php" + TAIL,
    "user": lambda filler: (
        b"203.0.113.7 - " + filler + b' [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php' + TAIL
    ),
    "client": lambda filler: filler + HEAD + b"/xmlrpc.php" + TAIL,
    "agent": lambda filler: HEAD + b"/xmlrpc.php" + TAIL[:-2] + filler,
    "member": lambda filler: (
        b'{"bad":-,' + filler + b',"remote_addr":"203.0.113.7","request":"POST /xmlrpc.php"}'
    ),
    "value": lambda filler: (
        b'{"bad":"\\xff' + filler + b'","remote_addr":"203.0.113.7","request":"POST /xmlrpc.php"}'
    ),
    "json": lambda filler: b'{"remote_addr":"203.0.113.7","request":"POST /xmlrpc.php' + filler,
}
FORMATS = ("auto", "combined", "vhost_combined", '%h %l %u %t "%r" %>s %b "%{Referer}i"')


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_costs_what_its_length_costs(shape, log_format):
    """With anything in any field, and however the log is written: scan and explain."""

    def run(length):
        matcher = Matcher(RULES, log_format)
        for unit in UNITS:
            line = SHAPES[shape](unit * (length // len(unit) // 8))
            matcher.scan(line + b"\n")
            matcher.explain(line)

    assert_linear(run)


CADDY = (
    b'{"ts":1773144000,"request":{"remote_ip":"203.0.113.7","method":"POST","uri":"/xmlrpc.php",'
    b'"headers":{"A":["%s"]}},"agent":"%s","status":200}\n'
)


@pytest.mark.parametrize("end", [b"", b'"', b"\\", b'"]}', b'",{"'])
def test_a_line_of_a_known_layout_costs_what_its_length_costs(end):
    """A client fills the members that are not needed; the line may match or not."""
    layouts = JsonLayouts(JSON_KEYS)
    layouts.learn(CADDY[:-1] % (b"a", b"b"))
    units = [*UNITS, b'","', b'"],["', b'":{"', b'"]}', b'{"a":["b"]},', b'\\"', b'\\\\"']

    def run(length):
        for unit in units:
            filler = unit * (length // len(unit) // 8) + end
            for line in (CADDY % (filler, b""), CADDY % (b"", filler)):
                layouts.find(line, 0, len(line) - 1)

    assert_linear(run)


@pytest.mark.parametrize("unit", [b"POST \n", b"POST /xmlrpc.php\n", b"%\n", HEAD + b"\n", b"\n"])
def test_a_block_costs_what_its_length_costs(unit):
    """So does a block of many short lines, whether or not one method is enough to find them."""
    matchers = [Matcher(RULES), Matcher([*RULES, type(RULES[0])(path="/x", methods=("GET",))])]

    def run(length):
        for matcher in matchers:
            matcher.scan(unit * (length // len(unit)))

    assert_linear(run)


def test_a_path_costs_what_its_length_costs():
    """The canonical path is found in one go, for any text."""
    assert_linear(lambda length: [canonical(b"/" + u * (length // len(u))) for u in UNITS])


def test_what_others_send_costs_what_its_length_costs():
    """The readers of netlink and of published lists, too."""
    pieces = [b"\x10\0\0\0\0\x0a\0\0" + bytes(8), b"\x04\0\1\0", b"\0", b"\xff"]

    def run(length):
        for piece in pieces:
            data = piece * (length // len(piece))
            for message in netlink.messages(data):
                netlink.read_elements(message)
            netlink.read_elements(netlink.Message(2572, 0, 1, 0, data))
            netlink.names_table(data, "t")
        parse_networks("198.51.100.1\n" * (length // 13))

    assert_linear(run)
