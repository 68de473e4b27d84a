r"""Blocks of bytes in, hits out.  Pure, and the only matcher in the house.

A block is whole lines.  The few lines that may hold a hit are found by byte search in C (the
trap's method, then the path's last segment or a percent sign); only those are parsed, and a line
that is no candidate costs no Python at all.  ``explain`` runs the same parser and the same
request table over every line and says why.

Every cache has a ceiling and is emptied when it is reached: an attacker can make us forget, never
grow.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from blocker.json_lines import explain_json, parse_json
from blocker.lines import Fields, line_format, parse_address, parse_time
from blocker.model import SECOND, Address, Ban, Hit, Subject

MAX_TIMES = 4096
MAX_ADDRESSES = 131072
MAX_REQUESTS = 4096
MAX_CACHED_REQUEST = 1024
MAX_CACHED_FIELD = 64
"""Bytes of an address or a time: what is longer is neither, and is not remembered."""
MAX_LINE = (1 << 20) - 1
"""Bytes of a line without its newline; one that has as many may have been cut."""
_COMMON_METHODS = frozenset({b"GET", b"HEAD"})
_NEWLINE, _QUOTE, _SPACE, _BRACE = b"\n", b'"', b" ", 0x7B
_BLANK = b"\0 \t\xef\xbb\xbf"
"""What may stand before a line: a hole that a truncation left, blanks, a byte order mark."""
_ODD = frozenset(b"{" + _BLANK)
"""What a line begins with that is JSON, or has something before it."""
_K = TypeVar("_K", bytes, int)
_T = TypeVar("_T")


class Rule(Protocol):
    """What the matcher needs to know of a trap."""

    @property
    def path(self) -> str:
        """What the canonical path ends in, such as ``/xmlrpc.php``."""

    @property
    def methods(self) -> Sequence[str]:
        """The request methods that count, in capitals."""


class Matched(NamedTuple):
    """What one block held.

    Attributes:
        lines: newline-terminated lines.
        unparsed: where candidate lines that do not parse end, offsets within the block.
        hits: in the order of the lines.
    """

    lines: int
    unparsed: list[int]
    hits: list[Hit]


class Verdict(NamedTuple):
    """What one line was taken for.

    Attributes:
        kind: ``hit``, ``no hit`` or ``unparsed``.
        reason: why, in a few words.
        fields: what was read, where the line could be read.
        trap: index of the trap, or -1.
    """

    kind: str
    reason: str
    fields: Fields | None = None
    trap: int = -1


# Requests --------------------------------------------------------------------------------------

# The rarer ones are texts, compiled when they are needed.
_ESCAPE = rb'\\(?:x([0-9A-Fa-f]{2})|(["\\])|([abfnrtv]))'
_CONTROL = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_SCHEME = rb"[A-Za-z][A-Za-z0-9+.-]*+://[^/?#]*+"
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++) ++(.*)", re.DOTALL)
_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9])?")


def _unescaped(found: re.Match[bytes]) -> bytes:
    hexadecimal, literal, control = found.groups()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    return literal or bytes([_CONTROL[control[0]]])


def _decoded(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])


def canonical(target: bytes) -> bytes:
    r"""Return the path that a server would look up for a request target as logged.

    In this order: the log's own escapes undone, absolute form (RFC 9112, section 3.2.2) reduced
    to its path, cut at ``?`` or ``#``, percent-decoded once, empty, ``.`` and ``..`` segments
    collapsed (RFC 3986, section 5.2.4), cut behind the first segment that ends in ``.php``
    (PATH_INFO, RFC 3875, section 4.1.5).

    >>> canonical(b"http://host//a/../%78mlrpc.php/x?y")
    b'/xmlrpc.php'
    """
    if b"\\" in target:
        target = re.sub(_ESCAPE, _unescaped, target)
    path = target
    if not path.startswith(b"/") and (scheme := re.match(_SCHEME, path)):
        path = path[scheme.end() :]
    path = path.partition(b"?")[0].partition(b"#")[0]
    if b"%" in path:
        path = _PERCENT.sub(_decoded, path)
    if not path.startswith(b"/"):
        return path
    return _collapsed(path)


def _collapsed(path: bytes) -> bytes:
    kept: list[bytes] = []
    last = b""
    for last in path.split(b"/")[1:]:
        if last == b"..":
            del kept[-1:]
        elif last not in {b"", b"."}:
            kept.append(last)
    for index, segment in enumerate(kept):
        if segment.endswith(b".php"):
            return b"/" + b"/".join(kept[: index + 1])
    slash = b"/" if kept and last in {b"", b".", b".."} else b""
    return b"/" + b"/".join(kept) + slash


def split_request(request: bytes) -> tuple[bytes, bytes] | None:
    """Return method and target of a request line, or None for what is none (TLS, nothing).

    Old nginx lets spaces into a target, so it reaches up to the version; several spaces may stand
    round it.  Without a version (HTTP/0.9, or a cut line) it must be one word.
    """
    found = _REQUEST.match(request)
    if found is None:
        return None
    method, rest = found.groups()
    rest = rest.rstrip(b" ")
    # Not by a search: one for "spaces, then a version" tries again from each of many spaces.
    before, space, last = rest.rpartition(b" ")
    if space and _VERSION.fullmatch(last):
        return method, before.rstrip(b" ")
    return (method, rest) if rest and not space else None


class Requests:
    """The verdict on request lines: which trap, or why none."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        # The longest path first: the most specific trap gets the hit.
        order = sorted(range(len(rules)), key=lambda index: -len(rules[index].path))
        self._rules = [
            (index, rules[index].path.encode(), frozenset(m.encode() for m in rules[index].methods))
            for index in order
        ]

    def judge(self, request: bytes) -> tuple[int, str]:
        """Return the trap's index (or -1) and the reason."""
        parts = split_request(request)
        if parts is None:
            return -1, "no HTTP request line"
        method, target = parts
        path = canonical(target)
        wrong_method = False
        for index, tail, methods in self._rules:
            if path.endswith(tail):
                if method in methods:
                    return index, "path and method match"
                wrong_method = True
        shown = _printable(path[:200].decode("utf-8", "backslashreplace"))
        if wrong_method:
            return -1, f"path {shown} matches, method {method[:20].decode()} does not"
        return -1, f"path is {shown}"


# Candidates ------------------------------------------------------------------------------------


class _Candidates:
    """Finds the lines of a block that may hold a hit, by byte search."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        methods = {method.encode() for rule in rules for method in rule.methods}
        names = {rule.path.rpartition("/")[2].encode() for rule in rules}
        # Nearly every line holds GET: there the names (or a percent sign) are the rarer thing.
        by_method = not methods & _COMMON_METHODS
        self.needles = sorted(methods) if by_method else [*sorted(names), b"%", b"\\u"]
        self._names = (*sorted(names), b"%") if by_method and len(names) <= 3 else ()

    def may_hold(self, block: bytes, start: int, end: int) -> bool:
        """Whether a line that holds a needle may hold a hit after all."""
        if not self._names:
            return True
        for name in self._names:
            if block.find(name, start, end) >= 0:
                return True
        return block[start] == _BRACE and block.find(b"\\u", start, end) >= 0

    def lines(self, block: bytes) -> list[tuple[int, int]]:
        """Return where the lines that may hold a hit start and end, in order."""
        found = {line for needle in self.needles for line in _lines_with(needle, block)}
        return sorted(line for line in found if self.may_hold(block, *line))


def _lines_with(needle: bytes, block: bytes) -> Iterator[tuple[int, int]]:
    at = block.find(needle)
    while at >= 0:
        end = block.find(_NEWLINE, at)
        yield block.rfind(_NEWLINE, 0, at) + 1, end
        at = block.find(needle, end)


def count_lines(block: bytes) -> int:
    """Return how many newlines a block holds.

    ``bytes.replace`` looks for them with memchr(3), ``bytes.count`` one byte at a time: CPython
    3.11 takes a seventh of the time this way, copy and all.
    """
    return len(block) - len(block.replace(_NEWLINE, b""))


_FORMAT_CURE = "set `format` to the LogFormat or log_format of the server that writes this log"
_ADDRESS_CURE = "let the server log one address, that of the client that connected"
_TIME_CURE = (
    "this time can't be read; let the server log it as $time_iso8601, $time_local or $msec"
    " (nginx), %t (Apache), StartUTC (Traefik) or with time_format rfc3339 (Caddy)"
)
_ZONE_CURE = "only neighbours have an address with a zone: let the server log it without"
_ADDRESS_AND_MORE = re.compile(rb"([0-9A-Fa-f.:]{2,45})(?:(,| ,)|%)")


def _cure_of_address(line: bytes, offset: int) -> str:
    """Return what helps if a line breaks at an address with more behind it, or nothing."""
    before = line[max(0, offset - 45) : offset]
    # A format with a fixed text behind the address breaks behind it, one with a host before it.
    here = offset - len(before) + len(before.rstrip(b"0123456789ABCDEFabcdef.:"))
    for start in (here, line.find(b" ", offset) + 1):
        found = _ADDRESS_AND_MORE.match(line, start)
        if found and parse_address(found[1]) is not None:
            return _ADDRESS_CURE if found[2] else _ZONE_CURE
    return ""


# The matcher -----------------------------------------------------------------------------------

_BEFORE_TIME, _BEHIND_TIME = b" - - [", b'] "'
"""What nearly every line has between address, time and request."""
_STATUS = re.compile(rb'" ([0-9]{3}) ')
_STATUS_SPACE = 6
"""Bytes of that."""
_MIDDLE = 35
"""Bytes between an address and its request: `` - - [25/Mar/2015:05:22:15 -0700] "``."""


class _Stretch(NamedTuple):
    """What a usual line holds from behind its address up to its size."""

    text: bytes
    time: int
    trap: int
    status: int


_NEVER = 1 << 62
_MINUTE = 60 * SECOND
_NO_STRETCH = _Stretch(bytes(2 * _MIDDLE), 0, -1, 0)


class Client:
    """An address as a log writes it, and the ban that stands against it, if that is settled.

    Attributes:
        address: packed; None for what is no client's address.
        until: end of the ban, microseconds, exclusive; 0 while nothing is settled.
        hits: how many hits were settled by it.
        last: time of the latest of them.
    """

    __slots__ = ("address", "hits", "last", "until")

    def __init__(self, address: Address | None) -> None:
        self.address = address
        self.until = self.hits = self.last = 0


class Matcher:
    """Turns blocks into hits.

    Attackers repeat themselves: address, time and request have mostly been seen before.  What was
    found out about each is remembered, and a line of the usual shape is then read with a handful
    of slices; every other line is parsed in full.  The two say the same, which is tested.

    Whoever judges everything in the order in which it is scanned may say whose hits are settled
    until when (``settle``): those are counted in passing, and are no longer handed out.

    Args:
        rules: the traps, in the order that a hit's index speaks of.
        log_format: ``format`` of the configuration.
        is_proxy: tells whether a peer is a known proxy, whose word about the client is believed.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        log_format: str = "auto",
        is_proxy: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        self._format = line_format(log_format)
        self._is_proxy = is_proxy
        self._candidates = _Candidates(rules)
        self._requests = Requests(rules)
        self._usual = log_format in {"auto", "common", "combined"}
        self._traps: dict[bytes, int] = {}
        self._clients: dict[bytes, Client] = {}
        self._times: dict[bytes, int | None] = {}
        self._stretches: dict[bytes, _Stretch] = {}
        # From 000 on: nginx writes that where a client left before anything was answered.
        self._statuses = {b"%03d" % status: status for status in range(1000)}
        self._newest = 0
        self._ends: dict[int, int] = {}
        self.settled: set[Client] = set()
        """Whose hits were settled."""

    def settle(self, bans: Iterable[Ban], name: Callable[[Subject], str]) -> None:
        """Count the hits inside these bans as settled; ``name`` writes addresses as logs do."""
        clients, ends, newest = self._clients, self._ends, self._newest
        for subject, _, since, until, _, _ in bans:
            client = clients.get(name(subject).encode())
            if client is None:
                continue
            self.settled.add(client)
            # A shared number is at hand, one of its own has to be waited for; what is left of
            # the last minute is handed out as before.
            minute = until - until % _MINUTE
            client.until = ends.get(minute) or _remember(ends, minute, minute, MAX_TIMES)
            newest = max(newest, since)
        self._newest = newest

    def scan(self, block: bytes) -> Matched:
        """Return the hits of a block of newline-terminated lines."""
        matched = Matched(count_lines(block), [], [])
        needles = self._candidates.needles
        if len(needles) == 1 and self._usual:
            self._scan(block, needles[0], matched)
            return matched
        for start, end in self._candidates.lines(block):
            self._parse(block, start, end, matched)
        return matched

    # One loop, for a call per line would cost as much as the line does.
    def _scan(self, block: bytes, needle: bytes, matched: Matched) -> None:  # noqa: C901 - see above
        """Take the usual lines with a few slices each; leave the others to ``_parse``."""
        find, rfind, startswith, clients = block.find, block.rfind, block.startswith, self._clients
        add, new, may_hold = matched.hits.append, tuple.__new__, self._candidates.may_hold
        text, time, trap, status = _NO_STRETCH
        after, behind, settling = 0, 0, _NEVER
        while (at := find(needle, after)) >= 0:
            start = rfind(_NEWLINE, 0, at) + 1
            if not startswith(text, at - _MIDDLE):
                taken, after = start < after, find(_NEWLINE, at)
                if taken or not may_hold(block, start, after):
                    continue
                stretch = self._new_stretch(block, at, after)
                if stretch is None:
                    self._parse(block, start, after, matched)
                    continue
                text, time, trap, status = stretch
                behind, settling = len(text) - _MIDDLE, self._settling(time, trap)
            # Whatever is no usual size, such as one that ends the line, is parsed in full.
            after = at + behind
            if block[after : find(_SPACE, after)].isdigit():
                name = block[start : at - _MIDDLE]
                try:
                    client = clients[name]
                except KeyError:
                    client = self._client(name)
                if settling < client.until:
                    client.hits += 1
                    client.last = time
                    continue
                if client.address:
                    if trap >= 0:
                        if time >= client.until:
                            client.until = 0
                        after = find(_NEWLINE, after)
                        add(new(Hit, (time, client.address, trap, status, after + 1)))
                    continue
            after = find(_NEWLINE, at)
            if may_hold(block, start, after):
                self._parse(block, start, after, matched)

    def _settling(self, time: int, trap: int) -> int:
        """Return the time to settle hits at, or never: a late one may be older than the ban."""
        if trap < 0 or time < self._newest:
            return _NEVER
        self._newest = time
        return time

    def _new_stretch(self, block: bytes, at: int, end: int) -> _Stretch | None:
        """Return what stands round a request that is remembered, in a line of the usual shape."""
        # What ends in a backslash, its quote escaped, is never remembered as a request.
        quote = block.find(_QUOTE, at, end)
        # Without a quote, -1 would stand for the rest of the block.
        trap = self._traps.get(block[at:quote]) if quote >= 0 else None
        if trap is None:
            return None
        text = block[at - _MIDDLE : quote + _STATUS_SPACE]
        known = self._stretches.get(text)
        if known is not None:
            return known
        found = _STATUS.match(block, quote)
        time = self._usual_time(block[at - _MIDDLE : at])
        if found is None or not time:
            return None
        new = _Stretch(text, time, trap, self._statuses[found[1]])
        return _remember(self._stretches, text, new, MAX_TIMES)

    def _parse(self, block: bytes, start: int, end: int, matched: Matched) -> None:
        """Parse a line that may hold a hit in full."""
        fields: Sequence[bytes] | None
        if block[start] in _ODD:
            fields = self._odd(block[start:end])
        else:
            found = self._format.pattern.match(block, start, end)
            fields = None if found is None else self._format.fields(found)
        if fields is None and end - start >= MAX_LINE:
            fields = self._cut(block[start:end])
        hit = None if fields is None else self._hit(fields, end)
        if hit is None:
            matched.unparsed.append(end + 1)
        elif hit.trap >= 0:
            matched.hits.append(hit)

    def _odd(self, line: bytes) -> Fields | None:
        """Return the fields of a line that begins with a brace, or with something before it.

        A brace alone makes no JSON: a client can choose one, where its Host stands in front.
        """
        text = line.lstrip(_BLANK)
        found = (
            parse_json(text, self._format.keys, self._is_proxy) if text.startswith(b"{") else None
        )
        return found or self._parsed(line)

    def _parsed(self, line: bytes) -> Fields | None:
        """Return the fields of a line of text, whatever stands before it.

        As it is at first: a tab in front may be the end of an empty field.
        """
        return self._format.parse(line) or self._format.parse(line.lstrip(_BLANK))

    def _fields_of(self, line: bytes) -> Fields | None:
        fields = self._odd(line) if line and line[0] in _ODD else self._format.parse(line)
        return self._cut(line) if fields is None and len(line) >= MAX_LINE else fields

    def _cut(self, line: bytes) -> Fields | None:
        """Return the fields of a line of text that was cut in the query of its request."""
        fields = self._parsed(line.rstrip(b"\\") + b'" - -')
        if fields is None or b"?" not in fields.request:
            return None
        return fields._replace(request=fields.request.partition(b"?")[0] + b"?")

    def _hit(self, fields: Sequence[bytes], end: int) -> Hit | None:
        """Return the hit, one with trap -1 for a request that is none, None if unparsed."""
        address_text, time_text, request, status = fields
        client = self._clients.get(address_text) or self._client(address_text)
        time = self._times.get(time_text) or self._time(time_text)
        if client.address is None or time is None:
            return None
        trap = self._traps.get(request)
        if trap is None:
            trap = self._trap(request)
        if trap >= 0 and time >= client.until:
            client.until = 0
        return Hit(time, client.address, trap, self._statuses.get(status, 0), end + 1)

    def explain(self, line: bytes) -> Verdict:
        """Return the verdict on one line (without its newline), parsed whatever it holds."""
        fields = self._fields_of(line)
        if fields is None:
            return Verdict("unparsed", self._broken(line))
        if parse_address(fields.address) is None:
            shown = _shown(fields.address)
            return Verdict("unparsed", f"not a client address: {shown}; {_ADDRESS_CURE}", fields)
        if parse_time(fields.time) is None:
            return Verdict("unparsed", f"not a time: {_shown(fields.time)}; {_TIME_CURE}", fields)
        trap, reason = self._requests.judge(fields.request)
        return Verdict("hit" if trap >= 0 else "no hit", reason, fields, trap)

    def time_of(self, line: bytes) -> int | None:
        """Return the event time of a line, microseconds since the epoch, or None."""
        fields = self._fields_of(line)
        return None if fields is None else parse_time(fields.time)

    def _broken(self, line: bytes) -> str:
        """Return where a line breaks that does not parse, and what to do."""
        line = line.lstrip(_BLANK)
        if line.startswith(b"{") and (why := explain_json(line, self._format.keys)):
            return why
        name, offset = self._format.broken_at(line)
        shown = _shown(line[offset : offset + 40])
        cure = _cure_of_address(line, offset) or _FORMAT_CURE
        return f"no {name} at byte {offset}: {shown}; {cure}"

    def _client(self, text: bytes) -> Client:
        if len(text) > MAX_CACHED_FIELD:
            return Client(None)
        return _remember(self._clients, text, Client(parse_address(text)), MAX_ADDRESSES)

    def _time(self, text: bytes) -> int | None:
        if len(text) > MAX_CACHED_FIELD:
            return None
        return _remember(self._times, text, parse_time(text), MAX_TIMES)

    def _usual_time(self, middle: bytes) -> int | None:
        """Return the time in what usually stands between address and request."""
        if not (middle.startswith(_BEFORE_TIME) and middle.endswith(_BEHIND_TIME)):
            return None
        text = middle[6:-3]
        return self._times.get(text) or self._time(text)

    def _trap(self, request: bytes) -> int:
        trap = self._requests.judge(request)[0]
        if len(request) > MAX_CACHED_REQUEST:
            return trap
        return _remember(self._traps, request, trap, MAX_REQUESTS)


def _remember(cache: dict[_K, _T], key: _K, value: _T, ceiling: int) -> _T:
    if len(cache) >= ceiling:
        cache.clear()
    cache[key] = value
    return value


def _printable(text: str) -> str:
    """A path may hold anything once its percent signs are undone: terminals are not to be told."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _shown(text: bytes) -> str:
    """Printable whatever the attacker sent: control bytes would speak to the terminal."""
    return ascii(text[:80])[1:]
