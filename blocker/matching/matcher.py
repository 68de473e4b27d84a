"""Blocks of bytes in, hits out.  Pure.  The daemon, ``replay`` and ``explain`` all use it.

A block is whole lines.  The few lines that may hold a hit are found by byte search in C (the
trap's method, then the path's last segment or a percent sign).  Only those are parsed; a line that
is no candidate runs no Python code.  ``explain`` uses the same parser and the same request table
for every line, and returns the reason.

Every cache has a ceiling and is emptied when it is reached: an attacker can cause a cache to be
emptied, never to grow.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from blocker.addresses import parse_address
from blocker.matching.candidates import BRACE, NEWLINE, ODD, QUOTE, SPACE, Candidates, count_lines
from blocker.matching.json_layouts import (
    MAX_LENGTH,
    NO_LAYOUT,
    JsonLayouts,
    Layout,
    decoded_request,
    time_text,
)
from blocker.matching.line_parser import ADDRESS_CURE, TIME_CURE, LineParser
from blocker.matching.matched import Matched
from blocker.matching.requests import MAX_CACHED_REQUEST, MAX_REQUESTS, Requests, Rule
from blocker.matching.verdict import Verdict, excerpt
from blocker.matching.wrappers import join_records
from blocker.model import Address, Ban, Hit, LogFormat, Subject
from blocker.times import MINUTE, parse_time

_K = TypeVar("_K", bytes, int)
_T = TypeVar("_T")

MAX_TIMES = 4096
"""Ceiling of the cached times, and of the cached stretches."""
MAX_ADDRESSES = 131072
"""Ceiling of the cached addresses."""
MAX_CACHED_FIELD = 64
"""Ceiling of a cached address or time, bytes: a longer text is neither."""


_BEFORE_TIME, _BEHIND_TIME = b" - - [", b'] "'
"""The text of a usual line between address and time, and between time and request."""
_STATUS = re.compile(rb'" ([0-9]{3}) ')
_STATUS_SPACE = 6
"""Length of a match of ``_STATUS``, bytes."""
_MIDDLE = 35
"""Bytes between address and request of a usual line: `` - - [25/Mar/2015:05:22:15 -0700] "``."""


class _Stretch(NamedTuple):
    """The part of a usual line between its address and its size, and its parsed fields."""

    text: bytes
    time: int
    trap: int
    status: int


_NEVER = 1 << 62
_NO_TEXT = bytes(2 * _MIDDLE)
"""The text of no stretch: a method holds no NUL."""


class Client:
    """A cached address, and the end of its active ban if its hits are skipped.

    Attributes:
        address: packed; None for a text that is not a client address.
        until: end of the ban, microseconds, exclusive; 0 if hits are not skipped.
        hits: number of hits skipped.
        last: time of the latest of them, microseconds.
    """

    __slots__ = ("address", "hits", "last", "until")

    def __init__(self, address: Address | None) -> None:
        self.address = address
        self.until = self.hits = self.last = 0


class Matcher:
    """Turns blocks into hits.

    Attackers repeat themselves: most addresses, times and requests have been seen before.  They
    are cached, and a line of the usual shape is read with a few slices; every other line is parsed
    in full.  Both ways give the same result, which is tested.

    A caller that judges all hits in the order in which they are scanned may pass its bans to
    ``skip_banned``: further hits within these bans are counted, and no longer returned.

    Args:
        rules: the traps; ``Hit.trap`` is an index into them.
        log_format: ``format`` of the configuration.
        is_proxy: returns whether a peer is a known proxy, which may name the client.
    """

    is_of_events = False

    def __init__(
        self,
        rules: Sequence[Rule],
        log_format: LogFormat = "auto",
        is_proxy: Callable[[Address], bool] = lambda _: False,
    ) -> None:
        self._lines = LineParser(log_format, is_proxy)
        self._format = self._lines.format
        self._layouts = JsonLayouts(self._format.keys)
        self._candidates = Candidates(rules)
        self._requests = Requests(rules)
        self._usual = log_format in {"auto", "common", "combined"}
        self._traps: dict[bytes, int] = {}
        self._clients: dict[bytes, Client] = {}
        self._times: dict[bytes, int | None] = {}
        self._entries: dict[bytes, int] = {}
        self._stretches: dict[bytes, _Stretch] = {}
        # From 000: nginx logs 000 if the client disconnected before a response.
        self._statuses = {b"%03d" % status: status for status in range(1000)}
        self._newest = 0
        self._ends: dict[int, int] = {}
        self.skipped: set[Client] = set()
        """The cached addresses whose bans were passed to ``skip_banned``."""

    def skip_banned(self, bans: Iterable[Ban], name: Callable[[Subject], str]) -> None:
        """Skip further hits within these bans; ``name`` formats a subject as logs do."""
        clients, ends, newest = self._clients, self._ends, self._newest
        for subject, _, since, until, _, _ in bans:
            client = clients.get(name(subject).encode())
            if client is None:
                continue
            self.skipped.add(client)
            # Rounded down to the minute, so that clients share few numbers, which are likely to be
            # in the CPU's cache; hits of the ban's last minute are returned as before.
            minute = until - until % MINUTE
            client.until = ends.get(minute) or _remember(ends, minute, minute, MAX_TIMES)
            newest = max(newest, since)
        self._newest = newest

    def scan(self, block: bytes, _now: int = 0) -> Matched:
        """Return the hits of a block of newline-terminated lines."""
        if (joined := join_records(block)) is not None:
            found = self._scan_lines(joined.block)
            hits = [hit._replace(end=joined.ends[hit.end]) for hit in found.hits]
            return Matched(count_lines(block), [joined.ends[end] for end in found.unparsed], hits)
        return self._scan_lines(block)

    def _scan_lines(self, block: bytes) -> Matched:
        matched = Matched(count_lines(block), [], [])
        needles = self._candidates.needles
        if len(needles) != 1:
            for start, end in self._candidates.lines(block):
                self._parse(block, start, end, matched)
        elif self._usual:
            self._scan(block, needles[0], matched)
        else:
            self._scan_json(block, 0, matched)
        return matched

    # One loop: a call per line would cost as much as the line itself.
    def _scan(self, block: bytes, needle: bytes, matched: Matched) -> None:  # noqa: C901 - see above
        """Read the usual lines with a few slices each, and the others with ``_parse``."""
        find, rfind, startswith, clients = block.find, block.rfind, block.startswith, self._clients
        add, new, may_hold = matched.hits.append, tuple.__new__, self._candidates.may_hold
        # The other variables of a stretch are set whenever ``text`` is one.
        text, after = _NO_TEXT, 0
        while (at := find(needle, after)) >= 0:
            start = rfind(NEWLINE, 0, at) + 1
            if not startswith(text, at - _MIDDLE):
                taken, after = start < after, find(NEWLINE, at)
                if taken or not may_hold(block, start, after):
                    continue
                if block[start] == BRACE:
                    after = self._scan_json(block, start, matched)
                    continue
                stretch = self._new_stretch(block, at, after)
                if stretch is None:
                    self._parse(block, start, after, matched)
                    text = _NO_TEXT
                    continue
                text, time, trap, status = stretch
                behind, skip_time, after = len(text) - _MIDDLE, self._skip_time(time, trap), start
            # A line without a usual size, such as one that ends with its size, is parsed in full.
            size = at + behind
            if block[size : find(SPACE, size)].isdigit():
                name = block[start : at - _MIDDLE]
                try:
                    client = clients[name]
                except KeyError:
                    client = self._client(name)
                if skip_time < client.until:
                    client.hits += 1
                    client.last = time
                    after = size
                    continue
                if client.address:
                    after = size
                    if trap >= 0:
                        after = find(NEWLINE, size)
                        add(new(Hit, (time, client.address, trap, status, after + 1)))
                    continue
            taken, after = start < after, find(NEWLINE, at)
            if not taken and may_hold(block, start, after):
                self._parse(block, start, after, matched)
                text = _NO_TEXT

    # One loop, for the same reason.
    def _scan_json(self, block: bytes, after: int, matched: Matched) -> int:  # noqa: C901 - above
        """Read the lines from an offset on: JSON of a known layout, and others with ``_parse``.

        Text of the usual shape has a quicker way: return where the first line of text begins.
        """
        find, needle, layouts = block.find, self._candidates.needles[0], self._layouts
        clients, times, entries, new = self._clients, self._times, self._entries, tuple.__new__
        layout = NO_LAYOUT
        while (at := find(needle, after)) >= 0:
            start, end = after, find(NEWLINE, after)
            if end < at:
                start, end = block.rfind(NEWLINE, 0, at) + 1, find(NEWLINE, at)
            is_short = end - start <= MAX_LENGTH
            found = layout.pattern.fullmatch(block, start, end) if is_short else None
            if found is None:
                if self._usual and block[start] != BRACE:
                    return start
                found = layouts.find(block, start, end)
                layout = layouts.latest
                times = self._layouts.numbers if layout.has_number else self._times
            after = end + 1
            if found is not None:
                name, moment, request, target, status, other = found.group(*layout.groups)
                if target:
                    request = request + SPACE + target
                client = clients.get(name) or self._client(name)
                time = times.get(moment) or self._moment(moment, layout)
                trap = entries[request] if request in entries else self._entry(request)
                is_proxied = other and other not in (name, b"-")
                if client.address and time and trap is not None and not is_proxied:
                    if trap >= 0 and time >= self._newest:
                        self._newest = time
                        if time < client.until:
                            client.hits += 1
                            client.last = time
                            continue
                    if trap >= 0:
                        code = self._statuses.get(status, 0)
                        matched.hits.append(new(Hit, (time, client.address, trap, code, after)))
                    continue
            if self._candidates.may_hold(block, start, end):
                read = self._decode if block[start] == BRACE else self._parse
                read(block, start, end, matched)
        return len(block)

    def _skip_time(self, time: int, trap: int) -> int:
        """Return the time to compare with bans, or ``_NEVER`` for a hit that must not be skipped.

        That is a hit older than an earlier one: it may be older than the ban.
        """
        if trap < 0 or time < self._newest:
            return _NEVER
        self._newest = time
        return time

    def _new_stretch(self, block: bytes, at: int, end: int) -> _Stretch | None:
        """Return the stretch of a line of the usual shape with a cached request, or None."""
        # A text that ends in a backslash, its quote escaped, is never cached as a request.
        quote = block.find(QUOTE, at, end)
        # Without a quote, the slice up to -1 would be the rest of the block.
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
        fields: Sequence[bytes] | None = None
        if block[start] == BRACE:
            fields = self._layouts.fields(block, start, end)
        elif block[start] not in ODD and (found := self._format.pattern.match(block, start, end)):
            fields = self._format.fields(found)
        if fields is None:
            self._decode(block, start, end, matched)
        else:
            self._take(fields, end, matched)

    def _decode(self, block: bytes, start: int, end: int, matched: Matched) -> None:
        """Parse a line that may hold a hit without any short cut."""
        fields = self._lines.parse(block[start:end])
        if fields is None:
            matched.unparsed.append(end + 1)
            return
        if block[start] == BRACE:
            self._layouts.learn(block[start:end])
        self._take(fields, end, matched)

    def _take(self, fields: Sequence[bytes], end: int, matched: Matched) -> None:
        """Add a line with these fields to the hits or the unparsed lines, or to neither."""
        hit = self._hit(fields, end)
        if hit is None:
            matched.unparsed.append(end + 1)
        elif hit.trap >= 0:
            matched.hits.append(hit)

    def _hit(self, fields: Sequence[bytes], end: int) -> Hit | None:
        """Return the hit, with trap -1 for a request that falls into no trap; None if unparsed."""
        address_text, time_text, request, status = fields
        client = self._clients.get(address_text) or self._client(address_text)
        time = self._times.get(time_text) or self._time(time_text)
        if client.address is None or time is None:
            return None
        trap = self._traps.get(request)
        if trap is None:
            trap = self._trap(request)
        self._newest = max(self._newest, time)
        return Hit(time, client.address, trap, self._statuses.get(status, 0), end + 1)

    def explain(self, line: bytes, _now: int = 0) -> Verdict:
        """Return the verdict on one line (without its newline), candidate or not."""
        fields = self._lines.parse(line)
        if fields is None:
            return Verdict("unparsed", self._lines.why_not(line))
        if parse_address(fields.address) is None:
            shown = excerpt(fields.address)
            return Verdict("unparsed", f"not a client address: {shown}; {ADDRESS_CURE}", fields)
        if parse_time(fields.time) is None:
            return Verdict("unparsed", f"not a time: {excerpt(fields.time)}; {TIME_CURE}", fields)
        trap, reason = self._requests.classify(fields.request)
        return Verdict("hit" if trap >= 0 else "no hit", reason, fields, trap)

    def time_of(self, line: bytes, _now: int = 0) -> int | None:
        """Return the event time of a line, microseconds since the epoch, or None."""
        fields = self._lines.parse(line)
        return None if fields is None else parse_time(fields.time)

    def _client(self, text: bytes) -> Client:
        if len(text) > MAX_CACHED_FIELD:
            return Client(None)
        return _remember(self._clients, text, Client(parse_address(text)), MAX_ADDRESSES)

    def _time(self, text: bytes) -> int | None:
        if len(text) > MAX_CACHED_FIELD:
            return None
        return _remember(self._times, text, parse_time(text), MAX_TIMES)

    def _moment(self, text: bytes, layout: Layout) -> int | None:
        """Return the time of a line that was read by its layout; None: it has to be decoded."""
        if len(text) > MAX_CACHED_FIELD:
            return None
        moment = time_text(text, is_number=layout.has_number)
        cache = self._layouts.numbers if layout.has_number else self._times
        time = None if moment is None else parse_time(moment)
        return _remember(cache, text, time, MAX_TIMES)

    def _entry(self, request: bytes) -> int | None:
        """Return the trap of a request as JSON has it; None: the line has to be decoded."""
        line = decoded_request(request)
        if line is None:
            return None
        trap = self._trap(line)
        if len(request) > MAX_CACHED_REQUEST:
            return trap
        return _remember(self._entries, request, trap, MAX_REQUESTS)

    def _usual_time(self, middle: bytes) -> int | None:
        """Return the time in the text between address and request; None if it is not usual."""
        if not (middle.startswith(_BEFORE_TIME) and middle.endswith(_BEHIND_TIME)):
            return None
        text = middle[6:-3]
        return self._times.get(text) or self._time(text)

    def _trap(self, request: bytes) -> int:
        trap = self._requests.classify(request)[0]
        if len(request) > MAX_CACHED_REQUEST:
            return trap
        return _remember(self._traps, request, trap, MAX_REQUESTS)


def _remember(cache: dict[_K, _T], key: _K, value: _T, ceiling: int) -> _T:
    if len(cache) >= ceiling:
        cache.clear()
    cache[key] = value
    return value
