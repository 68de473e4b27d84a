r"""Messages of WordPress about failed logins and pingbacks, as plugins write them.  Pure.

Understood are the messages of this project's plugin, and those of wp-fail2ban (3.6 to 6.0), WP
Fail2Ban Redux and "WordPress Fail2Ban".

Rules:

* The identifier says which program wrote a message, and only then is the message read.  It may hold
  the Host header of the request, so it is compared by its beginning.
* A message of the other plugins holds a user name as the client sent it.  So the text before it is
  anchored at the beginning, and the address is behind the last `` from ``, at the very end.
* A message of our plugin is read from its beginning; its values hold no blank and no newline.

Sources: ``packaging/wordpress/xmlrpc-blocker.php``, and lines recorded from the plugins.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from blocker.addresses import parse_address
from blocker.matching.verdict import excerpt
from blocker.model import Address

MAX_COUNT = 100_000
"""Ceiling of the failures that one message may report."""
MAX_FIELDS = 16
"""Ceiling of the further fields that are looked at."""
ALL = 0
"""As ``failures``: as many as make a ban, because the message does not say how many there were."""
HARMLESS_PINGBACK = b"48"
"""Code of a pingback that is registered already: a blog that links to a post twice."""

_IDENTIFIERS = (b"wordpress", b"wp")
OWN = b"xmlrpc-blocker:"
"""How a message of our plugin begins."""
_OWN_MESSAGE = re.compile(
    rb"xmlrpc-blocker: addr=([^ ]*)(?: n=([^ ]*))?(?: event=([^ ]*))?(?![^ ])(.*)\Z", re.DOTALL
)
_NAME = re.compile(rb"[a-z][a-z0-9_-]{0,31}")
_FIELD = re.compile(rb" ([a-z]{1,32})=([A-Za-z0-9._~%-]{1,256})(?![^ ])")
_FROM = re.compile(rb"(.*) from ([^ ]{1,64})\Z", re.DOTALL)


class Event(NamedTuple):
    """What WordPress reported about one client.

    Attributes:
        name: ``login``, ``multicall``, ``pingback``, ``users``, ``disabled``, or another word.
        address: packed, of the client.
        failures: how many it stands for, or ``ALL``.
        attempt: identifies the guessed password within its site, so that the same wrong password is
            counted once; empty if unknown.
    """

    name: str
    address: Address
    failures: int = 1
    attempt: bytes = b""


class NoEvent(NamedTuple):
    """A message that reports no failure.

    Attributes:
        reason: a short explanation.
        is_broken: whether it looks like an event and can't be read: it counts as unparsed.
    """

    reason: str
    is_broken: bool = False


class _Kind(NamedTuple):
    """A message of another plugin, up to the last `` from ``.

    Attributes:
        text: of the message; ``{on}`` is the host that wp-fail2ban 6.0 appends.
        name: of the event, or "" if it is none.
        failures: as in ``Event``.
        reason: why it is no event.
    """

    text: bytes
    name: str = ""
    failures: int = 1
    reason: str = ""


_COMMENTS, _NO_FAILURE = "about a comment", "no failure"
_KINDS: Sequence[_Kind] = (
    _Kind(rb"(?:XML-RPC |REST )?[Aa]uthentication (?:failure for|attempt for unknown user) .*",
          "login"),
    _Kind(rb"Wordpress authentication failure for .*", "login"),
    _Kind(rb"Blocked (?:username )?authentication attempt for .*", "login"),
    _Kind(rb"XML-RPC multicall authentication failure(?: on [^ ]+)?", "multicall", ALL),
    _Kind(rb"Pingback error [0-9]{1,5} generated(?: .*)?", "pingback"),
    _Kind(rb"Blocked user enumeration attempt(?: on [^ ]+)?", "users"),
    _Kind(rb"XML-RPC authentication failure(?: on [^ ]+)?",
          reason="another message is about the same attempt"),
    _Kind(rb"Pingback requested.*", reason="a request, not a failure"),
    _Kind(rb"Accepted password for .*", reason="a success"),
    _Kind(rb"Empty username(?: on [^ ]+)?", reason="nothing was guessed"),
    _Kind(rb"Password reset requested for .*", reason=_NO_FAILURE),
    _Kind(rb"(?:Spam(?:med)? comment|Comment).*", reason=_COMMENTS),
)  # fmt: skip
_COMPILED = tuple((re.compile(kind.text + rb"\Z", re.DOTALL), kind) for kind in _KINDS)
_CODE = re.compile(rb"Pingback error ([0-9]+)")


def is_wordpress(identifier: bytes) -> bool:
    """Return whether a program's identifier is that of a WordPress plugin.

    >>> is_wordpress(b"wordpress(blog.example.org)"), is_wordpress(b"wpa_supplicant")
    (True, False)
    """
    name, bracket, _ = identifier.partition(b"(")
    return name in _IDENTIFIERS and (not bracket or len(identifier) > len(name) + 1)


def read_message(identifier: bytes, message: bytes) -> Event | NoEvent:
    """Return what a message reports.

    Args:
        identifier: of the program that wrote it, without its process id.
        message: its text.
    """
    if not is_wordpress(identifier):
        return NoEvent(f"its identifier is {excerpt(identifier)}, not wordpress or wp")
    if message.startswith(OWN):
        if identifier != _IDENTIFIERS[0]:
            return NoEvent("the plugin's identifier is wordpress")
        return _own(message)
    return _of_others(message)


def _own(message: bytes) -> Event | NoEvent:
    """Read a message of our plugin; what follows the fields that are known is for people."""
    found = _OWN_MESSAGE.match(message)
    if found is None:
        return _broken("addr= does not come first")
    text, digits, name, rest = found.groups()
    if digits is None or not (digits.isdigit() and 1 <= int(digits[:7]) <= MAX_COUNT):
        return _broken(f"expected n=, a number from 1 to {MAX_COUNT}, behind the address")
    if name is None or not _NAME.fullmatch(name):
        return _broken("expected event=, a word, behind n")
    address = parse_address(text)
    if address is None:
        return _broken(f"not a client address: {excerpt(text)}")
    values = dict(_FIELD.findall(rest)[:MAX_FIELDS])
    if name == b"pingback" and values.get(b"code") == HARMLESS_PINGBACK:
        return _harmless()
    attempt = values.get(b"try", b"-")
    return Event(name.decode(), address, int(digits), b"" if attempt == b"-" else attempt[:16])


def _of_others(message: bytes) -> Event | NoEvent:
    found = _FROM.match(message)
    if found is None:
        hidden = OWN in message
        return NoEvent(
            "xmlrpc-blocker: is not at its beginning" if hidden else "no address at its end"
        )
    text, client = found.groups()
    kind = next((kind for pattern, kind in _COMPILED if pattern.match(text)), None)
    if kind is None:
        return NoEvent("not about a login or a pingback")
    if not kind.name:
        return NoEvent(kind.reason)
    code = _CODE.match(text)
    if code is not None and code[1] == HARMLESS_PINGBACK:
        return _harmless()
    address = parse_address(client)
    if address is None:
        return _broken(f"not a client address: {excerpt(client)}")
    return Event(kind.name, address, kind.failures)


def _broken(reason: str) -> NoEvent:
    return NoEvent(reason, is_broken=True)


def _harmless() -> NoEvent:
    return NoEvent("a pingback with code 48 is registered already, and harmless")
