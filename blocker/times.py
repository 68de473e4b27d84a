"""Times and durations in whole microseconds: parsing and formatting.  Pure.

A time is the number of microseconds since 1970-01-01T00:00:00Z.
"""

import re
from datetime import UTC, date, datetime, timedelta

SECOND = 1_000_000
"""Microseconds in a second."""

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

MAX_DURATION = 3650 * DAY
"""Ceiling of a configured duration: ten years; a longer ban should be a firewall rule."""


_UNITS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
_DURATION = "".join(rf"(?:([0-9]{{1,9}}){unit})?" for unit in _UNITS)
_DURATION_HELP = 'a duration above zero and up to ten years, such as "90s", "5m", "1h30m", "2w"'


def duration(value: object) -> int:
    """Return a duration in microseconds: units in descending order; a plain number is seconds.

    >>> duration("1h30m") // SECOND
    5400

    Raises:
        ValueError: the value is no duration, zero, or longer than ten years.
    """
    length = _length(value)
    if not 0 < length <= MAX_DURATION:
        raise ValueError(_DURATION_HELP)
    return length


def _length(value: object) -> int:
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return int(value) * SECOND
        parts = re.fullmatch(_DURATION, value)
        counts = zip(parts.groups(), _UNITS.values(), strict=True) if parts else ()
        return sum(int(count) * unit for count, unit in counts if count)
    if isinstance(value, int) and not isinstance(value, bool):
        return value * SECOND
    if isinstance(value, float) and abs(value) < MAX_DURATION:
        return round(value * SECOND)
    return 0


def format_duration(length: int) -> str:
    """Return the shortest text that ``duration`` reads as ``length``, cut to whole seconds.

    >>> format_duration(5400 * SECOND)
    '1h30m'
    """
    single = [(unit, size) for unit, size in _UNITS.items() if length and length % size == 0]
    if single and single[0][0] in "wd":
        return f"{length // single[0][1]}{single[0][0]}"
    text = ""
    for unit, size in list(_UNITS.items())[1:]:
        count, length = divmod(length, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


_CLF_TIME = re.compile(
    rb"([0-9]{2})/(\w{3})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})"
    rb" ([+-])([0-9]{2})([0-9]{2})"
)
# Bytes, compiled by ``re`` on first use: most logs have neither.
_ISO_TIME = (
    rb"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    rb"(?:[.,]([0-9]{1,9}))?(?:Z| ?([+-])([0-9]{2}):?([0-9]{2}))"
)
_FINE_CLF_TIME = (
    rb"([0-9]{2})/(\w{3})/([0-9]{4})[: ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    rb"(?:[.,]([0-9]{1,6}))?(?: ([+-])([0-9]{2})([0-9]{2}))?"
)
_EPOCH_TIME = rb"([0-9]{1,11})(?:\.([0-9]{1,20}))?"
# 13, 16 and 19 digits are milli-, micro- and nanoseconds of the years 2001 to 2286.
_FINE_EPOCH_TIME = rb"([0-9]{13}(?:[0-9]{3}){0,2})(?:\.([0-9]{1,20}))?"
_MONTH_NAMES = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LATEST = 64_060_588_800  # the year 4000, in seconds: a window has room until 4253


def _instant(day: tuple[int, int, int], clock: tuple[int, int, int], offset: int) -> int | None:
    """Return microseconds since the epoch; ``offset`` is seconds east of UTC."""
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 60 or abs(offset) >= 86400:
        return None
    try:
        days = date(*day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * SECOND if 0 <= seconds < _LATEST else None


def _offset(sign: bytes | None, hours: bytes | None, minutes: bytes | None) -> int:
    seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60
    return -seconds if sign == b"-" else seconds


def _fraction(digits: bytes | None) -> int:
    return int(digits[:6].ljust(6, b"0")) if digits else 0


def parse_time(text: bytes) -> int | None:
    """Return microseconds since the epoch, or None for a text that is no time.

    Accepted are the common log format (``25/Mar/2015:05:22:15 -0700``), also with a fraction,
    RFC 3339 (``2015-03-25T05:22:15.5-07:00``), also with spaces, seconds since the epoch with an
    optional fraction, or milli-, micro- or nanoseconds, and HAProxy's time with milliseconds,
    which has no zone: that is the zone of this process (tzset(3)).
    """
    if found := _CLF_TIME.fullmatch(text):
        day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
        moment = (int(year), _MONTHS.get(month, 0), int(day))
        clock = (int(hour), int(minute), int(second))
        return _instant(moment, clock, _offset(sign, hours, minutes))
    if found := re.fullmatch(_ISO_TIME, text):
        *numbers, digits, sign, hours, minutes = found.groups()
        values = [int(number) for number in numbers]
        moment = (values[0], values[1], values[2])
        clock = (values[3], values[4], values[5])
        whole = _instant(moment, clock, _offset(sign, hours, minutes))
        return None if whole is None else whole + _fraction(digits)
    if found := re.fullmatch(_FINE_CLF_TIME, text):
        return _fine_clf_time(found)
    if found := re.fullmatch(_EPOCH_TIME, text):
        instant = int(found[1]) * SECOND + _fraction(found[2])
        return instant if instant < _LATEST * SECOND else None
    if found := re.fullmatch(_FINE_EPOCH_TIME, text):
        return int((found[1] + (found[2] or b""))[:16].ljust(16, b"0"))
    return None


def _fine_clf_time(found: re.Match[bytes]) -> int | None:
    day, month, year, hour, minute, second, digits, sign, hours, minutes = found.groups()
    moment = (int(year), _MONTHS.get(month, 0), int(day))
    clock = (int(hour), int(minute), int(second))
    whole = _instant(moment, clock, _offset(sign, hours, minutes))
    if whole is None or not (sign or digits):
        return None
    if not sign:
        local = datetime.fromtimestamp(whole // SECOND, UTC).replace(tzinfo=None)
        whole = int(local.timestamp()) * SECOND
    return whole + _fraction(digits) if 0 <= whole < _LATEST * SECOND else None


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout, and an offset would cost to drop


def format_time(micros: int) -> str:
    """Return the time in RFC 3339, UTC, without a fraction if that is zero.

    >>> format_time(1_427_286_306_000_000)
    '2015-03-25T12:25:06Z'
    """
    text = (_EPOCH + timedelta(microseconds=micros)).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"
