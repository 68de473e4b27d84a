"""Targets for coverage-guided fuzzing: any bytes in, and what must hold for all of them.

Run by ``run.py``, one target a process: ``targets.py NAME [libFuzzer's words]``.  What an input
breaks is written to a file, and giving that file as the last word shows it again.
"""

import asyncio
import contextlib
import json
import re
import socket
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["blocker"]):
    from blocker.addresses import parse_address
    from blocker.config.lint import warnings
    from blocker.config.parse import parse
    from blocker.config.schema import Config
    from blocker.errors import ConfigError
    from blocker.firewall import netlink
    from blocker.firewall.facts import OPERATIONS
    from blocker.friends.friends import Friends
    from blocker.friends.publishers import MAX_NETWORKS, parse_networks
    from blocker.matching.event_matcher import EventMatcher
    from blocker.matching.format_strings import compile_format
    from blocker.matching.formats import NAMED
    from blocker.matching.matcher import Matcher
    from blocker.matching.wrappers import prefix_length
    from blocker.service.admin_commands import AdminCommands
    from blocker.service.control import ControlServer
    from blocker.service.health import Health
    from blocker.service.parts import make_parts
    from blocker.service.protocol import MAX_REQUEST
    from blocker.service.status import Status
    from blocker.store.store import Store
    from blocker.telemetry.exposition import Durations
    from blocker.times import parse_time

SAMPLES = Path(__file__).parent.parent / "samples"
RULES = list(Config().traps.values())
NOW = 1_773_144_000_000_000

# Matching --------------------------------------------------------------------------------------

FORMATS = tuple(NAMED)
MATCHERS = {name: Matcher(RULES, name) for name in FORMATS}
CAREFUL = {name: Matcher(RULES, name) for name in FORMATS}


def match(data):
    """The scan of a block and the explanation of its lines agree, and no address is made up."""
    log_format = FORMATS[data[0] % len(FORMATS)] if data else "auto"
    block = data[1:] + b"\n"
    matched = MATCHERS[log_format].scan(block)
    lines = block[:-1].split(b"\n")
    assert matched.lines == len(lines)
    if re.search(rb" std(out|err) P", block):
        return  # several lines are one record
    hits, unparsed, end = {}, set(), 0
    for line in lines:
        end += len(line) + 1
        verdict = CAREFUL[log_format].explain(line)
        assert verdict.reason.isprintable(), "control bytes would speak to a terminal"
        if verdict.kind == "hit":
            hits[end] = (parse_address(verdict.fields.address), parse_time(verdict.fields.time))
            check_client(line, verdict.fields.address)
        elif verdict.kind == "unparsed":
            unparsed.add(end)
    assert {hit.end: (hit.address, hit.time) for hit in matched.hits} == hits
    assert unparsed.issuperset(matched.unparsed)


def check_client(line, address):
    """The client is the first or, behind a virtual host, the second word; or a value in JSON.

    What begins with a brace may be either: a client can choose its Host.  A word may have a quote
    before it (OpenLiteSpeed) or a port behind it (HAProxy); Nginx Proxy Manager names its client.
    """
    line = line.lstrip(b"\0 \t\r\xef\xbb\xbf")
    if address in line.lstrip(b'"').split(b" ")[:2] or b" [Client " + address + b"] " in line:
        return
    if re.match(re.escape(address) + rb":[0-9]+ \[", line):
        return
    if length := prefix_length(line):
        check_client(line[length:], address)
        return
    line = line[line.find(b"{") :] if b"handled request" in line else line  # Caddy's console
    assert line.startswith(b"{")
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        # No strict JSON, and read as far as it goes: the value stands behind a name.
        assert b"\\" in line or re.search(rb'"\s*:\s*"?\s*\[?' + re.escape(address), line)
        return
    inner = entry.get("request")
    if "log" in entry and "stream" in entry:
        check_client(entry["log"].encode("utf-8", "surrogatepass"), address)
        return
    values = [*entry.values(), *(inner.values() if isinstance(inner, dict) else ())]
    assert any(isinstance(value, str) and address.decode() in value for value in values)


def match_seeds():
    for path in sorted(SAMPLES.glob("*.txt")):
        for line in path.read_bytes().splitlines():
            if line and not line.startswith((b"#", b"=")) and len(line) < 2000:
                yield b"\x00" + line
    known = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370 "-"'
    for number in range(len(FORMATS)):
        yield bytes([number]) + b"\n".join([known, b"www.example.org:80 " + known, known])


# Events ----------------------------------------------------------------------------------------

REPORTS = EventMatcher(RULES, {33})
CLIENT = b"198.51.100.1"
CHOSEN = (
    b"Nov 28 13:55:29 www wordpress(%b)[7]: Authentication failure for admin from " + CLIENT,
    b"Nov 28 13:55:29 www wordpress[7]: XML-RPC authentication failure for %b from " + CLIENT,
    b"1795874183787706 33 wordpress: Blocked authentication attempt for %b from " + CLIENT,
    b"1795874183787706 33 wordpress: xmlrpc-blocker: addr=" + CLIENT + b" n=1 event=login user=%b",
)
"""Lines of plugins with a place that a client chooses: Host, or user name."""


def events(data):
    """A scan agrees with the explanations, and what a client chooses is no address and no event."""
    block = data[1:] + b"\n"
    matched = REPORTS.scan(block, NOW)
    lines = block[:-1].split(b"\n")
    assert matched.lines == len(lines)
    seen, unparsed, end = set(), set(), 0
    for line in lines:
        end += len(line) + 1
        verdict = REPORTS.explain(line, NOW)
        assert verdict.reason.isprintable(), "control bytes would speak to a terminal"
        {"event": seen, "unparsed": unparsed}.get(verdict.kind, set()).add(end)
    assert {each.end for each in matched.events} == seen
    assert {hit.end for hit in matched.hits} <= seen
    assert set(matched.unparsed) <= unparsed
    chosen = data[1:].replace(b"\n", b"#012")
    line = CHOSEN[data[0] % len(CHOSEN) if data else 0] % chosen
    found = REPORTS.scan(line + b"\n", NOW)
    assert len(found.events) <= 1
    assert {hit.address for hit in found.hits} <= {parse_address(CLIENT)}


def events_seeds():
    for name in ("syslog.txt", "journal.jsonl"):
        for line in (SAMPLES / "events" / name).read_bytes().splitlines():
            if line and not line.startswith((b"#", b"=")) and len(line) < 2000:
                yield b"\x00" + line
    for number in range(len(CHOSEN)):
        yield bytes([number]) + b"x from 192.0.2.66"
        yield bytes([number]) + b"a: xmlrpc-blocker: addr=192.0.2.66 n=9 event=login"


# Formats ---------------------------------------------------------------------------------------


def logformat(data):
    """A format compiles or is refused with a reason, and what it reads are pieces of the line."""
    text, _, line = data.partition(b"\n")
    try:
        made = compile_format(text.decode("utf-8", "replace"))
    except ConfigError as error:
        assert str(error).startswith("format: ")
        return
    line = line.replace(b"\n", b" ")
    fields = made.parse(line)
    if fields is None:
        name, offset = made.broken_at(line)
        assert name
        assert 0 <= offset <= len(line)
    else:
        assert fields.address in line
        assert fields.time in line


def logformat_seeds():
    line = b'203.0.113.7 - - [10/Mar/2026:12:00:00 +0000] "POST /xmlrpc.php HTTP/1.1" 200 370 "-"'
    for text in (
        b'%h %l %u %t \\"%r\\" %>s %b \\"%{Referer}i\\"',
        b'%v:%p %h %l %u %t "%r" %>s %O',
        b'$remote_addr - $remote_user [$time_local] "$request" $status',
        b'$time_iso8601 $remote_addr "$request_method" "$request_uri" $msec',
        b'%a %{%s}t "%m" "%U" %>s',
    ):
        yield text + b"\n" + line


# Configuration ---------------------------------------------------------------------------------


def config(data):
    """Any text makes a configuration or one error that says what is wrong, in printable lines."""
    first, _, second = data.decode("utf-8", "replace").partition("\x00")
    try:
        made = parse([("a", first), ("b", second)])
    except ConfigError as error:
        assert str(error)
        assert all(line.isprintable() for line in str(error).split("\n")), str(error)
        return
    warnings(made)
    with contextlib.suppress(ConfigError):
        Matcher(list(made.traps.values()), made.format)


def config_seeds():
    yield (Path(__file__).parents[2] / "docs/config.example.toml").read_bytes()
    yield b'logs = ["/a"]\x00allow = ["@jetpack", "192.0.2.0/24", "::1"]\nlookback = "1h30m"'
    yield b'[trap.login]\npath = "/wp-login.php"\nmethods = ["GET"]\nbantime_factor = 1.5'
    yield b'[firewall]\nports = "all"\ntable = "x"\n[metrics]\nlisten = "unix:/a"'


# Control ---------------------------------------------------------------------------------------


class Control:
    """Real handlers behind a real server, spoken to over a real socket."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        settings, store = Config(dry_run=True), Store(":memory:", dry=True)
        friends, durations = Friends.build(lists={}), Durations(OPERATIONS)
        parts = make_parts(settings, friends, store, lambda: NOW, durations)
        handlers = {**Status(parts, Health()).handlers(), **AdminCommands(parts).handlers()}
        self.server = ControlServer(handlers)
        self.loop.set_exception_handler(self.fail)
        self.wrong = []

    def fail(self, _loop, what):
        self.wrong.append(what)

    async def speak(self, data):
        ours, theirs = socket.socketpair()
        with ours:
            reader, writer = await asyncio.open_connection(sock=theirs, limit=MAX_REQUEST)
            serving = asyncio.ensure_future(self.server._serve(reader, writer))
            ours.settimeout(0)
            await self.loop.sock_sendall(ours, data[:100_000])
            ours.shutdown(socket.SHUT_WR)
            text = b""
            try:
                while more := await self.loop.sock_recv(ours, 1 << 16):
                    text += more
            except ConnectionResetError:
                pass
            await serving
        return text

    def run(self, data):
        text = self.loop.run_until_complete(self.speak(data))
        assert not self.wrong, self.wrong
        answers = text.splitlines()
        assert len(answers) <= data.count(b"\n") + 1
        for line in answers:
            answer = json.loads(line)
            assert answer["ok"] or (answer["error"] and answer["code"] in {1, 2, 4}), answer
        assert not self.server._idle
        assert not self.server._busy


CONTROL = []


def control(data):
    """For any input, each line gets one answer in JSON, and nothing is left behind."""
    if not CONTROL:
        CONTROL.append(Control())
    CONTROL[0].run(data)


def control_seeds():
    yield b'{"command": "status"}\n{"command": "bans", "after": 0}\n'
    yield b'{"command": "ban", "address": "192.0.2.1", "for": "1d"}\n'
    yield b'{"command": "unban", "address": "2001:db8::/64"}\n{"command": "unban", "all": true}\n'
    yield b'{"command": "forget", "address": "192.0.2.1"}\n'


# Netlink ---------------------------------------------------------------------------------------

READERS = (
    netlink.read_refusal, netlink.read_elements, netlink.read_set, netlink.read_chain,
    netlink.read_rule, netlink.read_dormant, netlink.read_counter, netlink.read_generation,
    netlink.interrupted,
)  # fmt: skip


def kernel(data):
    """Any input of a socket is read to an end, in messages that are there, as plain text."""
    found = list(netlink.messages(data))
    assert 16 * len(found) <= len(data)
    for message in found:
        for read in READERS:
            reported = read(message)
            for value in reported if isinstance(reported, tuple) else ():
                assert not isinstance(value, str) or value.isprintable()
        assert 4 * len(netlink.read_elements(message)) <= len(message.payload)
    netlink.names_table(data, "xmlrpc_blocker")


def kernel_seeds():
    elements = [(b"\xc0\0\2\1", 86_400_000), (b"\xc0\0\2\2", 1)]
    yield netlink.encode_batch(netlink.upsert("xmlrpc_blocker", "ban4", elements), 1)
    yield netlink.encode_batch(netlink.delete("xmlrpc_blocker", "ban6", [bytes(16)]), 1)
    yield netlink.encode(netlink.new_set("xmlrpc_blocker", "probe", 4, 1000), 7)
    yield netlink.encode(netlink.Request(2, 0x300, b"\xfe\xff\xff\xff" + bytes(16)), 1)
    for kind in range(2560, 2595):
        yield netlink.encode(netlink.Request(kind, 0, b"\1\0\0\0\x08\0\1\0t\0\0\0"), 1)


# Lists -----------------------------------------------------------------------------------------


def lists(data):
    """What a publisher sends is a list of networks or refused with a reason."""
    try:
        networks = parse_networks(data.decode("utf-8", "replace"))
    except ValueError as error:
        assert str(error).isprintable()
        return
    assert 0 < len(networks) <= MAX_NETWORKS
    assert all(each.prefixlen >= 10 for each in networks)


def lists_seeds():
    yield b"198.51.100.0/24\n2001:db8::/32 # x\n"
    yield b'{"a": [{"b": "198.51.100.0/24"}], "c": "2001:db8::/32"}'


TARGETS = {
    "match": (match, match_seeds),
    "events": (events, events_seeds),
    "logformat": (logformat, logformat_seeds),
    "config": (config, config_seeds),
    "control": (control, control_seeds),
    "netlink": (kernel, kernel_seeds),
    "lists": (lists, lists_seeds),
}


def main():
    run, seeds = TARGETS[sys.argv[1]]
    if sys.argv[2:3] == ["seeds"]:
        for number, seed in enumerate(seeds()):
            (Path(sys.argv[3]) / f"{number:04}").write_bytes(seed)
        return
    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
