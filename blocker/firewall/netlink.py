"""The wire format of nf_tables over netlink: bytes in, bytes out.  Pure.

What belongs here: requests to the kernel as bytes, and its answers as facts.  What must never: a
socket, a clock, an exception about bytes that were read.  Readers treat truncated or hostile bytes
as the end of the data, and always terminate: each step consumes at least four bytes, and nothing
recurses.

Sources: RFC 3549 section 2.3 (messages), linux/netlink.h (attributes, errors with their extended
acknowledgement), linux/netfilter/nfnetlink.h (batches, ``nfgenmsg``) and
linux/netfilter/nf_tables.h (everything else).  Headers are in the byte order of the host, payloads
of nf_tables in network byte order.  The family is always ``inet``: it is the only one in use here.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final, NamedTuple

# linux/netlink.h: types and flags of messages.
ERROR: Final = 2
DONE: Final = 3
_REQUEST: Final = 0x1
_ACK: Final = 0x4
_DUMP: Final = 0x300
_CREATE: Final = 0x400
_DUMP_INTERRUPTED: Final = 0x10
_CAPPED: Final = 0x100
_ACK_TLVS: Final = 0x200
_NESTED: Final = 0x8000
_KIND_MASK: Final = 0x3FFF

# linux/netfilter/nfnetlink.h
GROUP_NFTABLES: Final = 7
_SUBSYSTEM: Final = 10
_BATCH_BEGIN: Final = 16
_BATCH_END: Final = 17
_INET: Final = 1

# linux/netfilter/nf_tables.h: enum nf_tables_msg_types, with the subsystem in the upper byte.
_BASE: Final = _SUBSYSTEM << 8
_NEW_TABLE: Final = _BASE
_GET_TABLE: Final = _BASE + 1
_DEL_TABLE: Final = _BASE + 2
_NEW_CHAIN: Final = _BASE + 3
_GET_CHAIN: Final = _BASE + 4
_NEW_RULE: Final = _BASE + 6
_GET_RULE: Final = _BASE + 7
_NEW_SET: Final = _BASE + 9
_GET_SET: Final = _BASE + 10
_DEL_SET: Final = _BASE + 11
_NEW_ELEMENTS: Final = _BASE + 12
_GET_ELEMENTS: Final = _BASE + 13
_DEL_ELEMENTS: Final = _BASE + 14
NEW_GENERATION: Final = _BASE + 15
_GET_GENERATION: Final = _BASE + 16
_NEW_OBJECT: Final = _BASE + 18
_GET_OBJECT: Final = _BASE + 19
_DESTROY_ELEMENTS: Final = _BASE + 30

SET_HAS_TIMEOUT: Final = 0x10  # NFT_SET_TIMEOUT
SET_IS_DYNAMIC: Final = 0x20  # NFT_SET_EVAL
SET_KIND: Final = 0x3F  # those two, NFT_SET_ANONYMOUS, _CONSTANT, _INTERVAL and _MAP
_OBJECT_COUNTER: Final = 1  # NFT_OBJECT_COUNTER
KEY_TYPES: Final = {4: 7, 16: 8}  # ipv4_addr and ipv6_addr, as nft numbers them

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr
_FAMILY: Final = struct.Struct(">BBH")  # struct nfgenmsg
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_ERRNO: Final = struct.Struct("=i")

_MOST_IN_ATTRIBUTE: Final = 0xFFFF - 4
"""Bytes in one attribute: its length, the header's four bytes included, is a u16."""


class Request(NamedTuple):
    """One message to the kernel, without a sequence number."""

    kind: int
    flags: int
    body: bytes


class Message(NamedTuple):
    """One message from the kernel; ``payload`` is what follows its header."""

    kind: int
    flags: int
    seq: int
    portid: int
    payload: bytes


class Refusal(NamedTuple):
    """An answer of type NLMSG_ERROR; ``errno`` 0 is an acknowledgement.

    Attributes:
        errno: positive, as in the module ``errno``.
        text: the kernel's extended message, often empty.
        offset: of the offending attribute in the request, or -1.
    """

    errno: int
    text: str
    offset: int


class Elem(NamedTuple):
    """An element of a set, as the kernel reports it: times in milliseconds, -1 for no value."""

    key: bytes
    timeout: int
    expires: int
    packets: int
    bytes: int


class SetInfo(NamedTuple):
    """A set; ``members`` is -1 if the kernel does not report the number of elements."""

    table: str
    name: str
    key_length: int
    members: int
    key_type: int
    flags: int


class ChainInfo(NamedTuple):
    """A chain; without a hook, ``hook`` and ``priority`` are None and ``policy`` is -1."""

    table: str
    name: str
    hook: int | None
    priority: int | None
    policy: int


class RuleInfo(NamedTuple):
    """A rule, by its handle."""

    table: str
    chain: str
    handle: int


class Count(NamedTuple):
    """A named counter."""

    packets: int
    bytes: int


class Generation(NamedTuple):
    """A commit: its number, and the thread that made it, 0 if the kernel does not report it."""

    number: int
    pid: int
    command: str


# --- writing -------------------------------------------------------------------------------------


def encode(request: Request, seq: int) -> bytes:
    """Return one request as bytes."""
    kind, flags, body = request
    return _HEADER.pack(16 + len(body), kind, flags, seq, 0) + body


def encode_batch(requests: Sequence[Request], seq: int) -> bytes:
    """Return one transaction: begin at ``seq``, the requests from ``seq + 1`` on, end.

    Only the last request asks for an acknowledgement: not every kernel acknowledges the end of a
    batch, and one acknowledgement is enough for all.
    """
    mark = _FAMILY.pack(0, 0, _SUBSYSTEM)
    parts = [encode(Request(_BATCH_BEGIN, _REQUEST, mark), seq)]
    last = len(requests)
    for number, request in enumerate(requests, 1):
        flags = request.flags | _ACK if number == last else request.flags
        parts.append(encode(request._replace(flags=flags), seq + number))
    parts.append(encode(Request(_BATCH_END, _REQUEST, mark), seq + last + 1))
    return b"".join(parts)


def upsert(table: str, name: str, elements: Sequence[tuple[bytes, int]]) -> list[Request]:
    """Add elements, each a key and milliseconds, and refresh those that exist.

    Timeout and expiration together refresh an existing element since Linux 6.12; earlier kernels
    ignore them silently.
    """
    return _elements(_NEW_ELEMENTS, _CREATE, (table, name), _with_expiration(elements))


def add(table: str, name: str, elements: Sequence[tuple[bytes, int]]) -> list[Request]:
    """Add elements, each a key and milliseconds; those that exist are not refreshed."""
    return _elements(_NEW_ELEMENTS, _CREATE, (table, name), _with_timeout(elements))


def delete(table: str, name: str, keys: Sequence[bytes]) -> list[Request]:
    """Delete elements; if one is missing, the whole batch fails with ENOENT."""
    return _elements(_DEL_ELEMENTS, 0, (table, name), _bare(keys))


def destroy(table: str, name: str, keys: Sequence[bytes]) -> list[Request]:
    """Delete elements whether they exist or not; not every kernel supports it."""
    return _elements(_DESTROY_ELEMENTS, 0, (table, name), _bare(keys))


def flush(table: str, name: str) -> Request:
    """Delete all elements of a set (nf_tables_delsetelem in the kernel: no keys mean all)."""
    return _request(_DEL_ELEMENTS, 0, _string(1, table) + _string(2, name))


def get_elements(table: str, name: str, keys: Sequence[bytes]) -> list[Request]:
    """Query elements by their keys.

    Answers come in the order of the keys and end with ENOENT at the first missing key.
    """
    return _elements(_GET_ELEMENTS, _ACK, (table, name), _bare(keys))


def list_elements(table: str, name: str) -> Request:
    """Dump all elements of a set; the kernel's time is quadratic, so limit what you read."""
    return _request(_GET_ELEMENTS, _DUMP, _string(1, table) + _string(2, name))


def get_generation() -> Request:
    """Query the generation of the ruleset: the cheapest of all queries."""
    return _request(_GET_GENERATION, _ACK, b"")


def get_table(table: str) -> Request:
    """Query a table."""
    return _request(_GET_TABLE, _ACK, _string(1, table))


def delete_table(table: str) -> Request:
    """Delete a table with everything in it."""
    return _request(_DEL_TABLE, 0, _string(1, table))


def get_chain(table: str, chain: str) -> Request:
    """Query a chain."""
    return _request(_GET_CHAIN, _ACK, _string(1, table) + _string(3, chain))


def list_rules(table: str) -> Request:
    """Dump all rules of a table."""
    return _request(_GET_RULE, _DUMP, _string(1, table))


def get_set(table: str, name: str) -> Request:
    """Query a set, including the number of its elements."""
    return _request(_GET_SET, _ACK, _string(1, table) + _string(2, name))


def get_counter(table: str, name: str) -> Request:
    """Query a named counter."""
    body = _string(1, table) + _string(2, name) + _attribute(3, _U32.pack(_OBJECT_COUNTER))
    return _request(_GET_OBJECT, _ACK, body)


def new_set(table: str, name: str, key_length: int, timeout: int) -> Request:
    """Create a set of addresses with timeouts; ``timeout`` is the default, in milliseconds."""
    body = (
        _string(1, table)
        + _string(2, name)
        + _attribute(3, _U32.pack(SET_HAS_TIMEOUT))
        + _attribute(4, _U32.pack(KEY_TYPES[key_length]))
        + _attribute(5, _U32.pack(key_length))
        + _attribute(10, _U32.pack(1))  # an identifier within the transaction is mandatory
        + _attribute(11, _U64.pack(timeout))
    )
    return _request(_NEW_SET, _CREATE, body)


def delete_set(table: str, name: str) -> Request:
    """Delete a set."""
    return _request(_DEL_SET, 0, _string(1, table) + _string(2, name))


def _request(kind: int, flags: int, attributes: bytes) -> Request:
    return Request(kind, flags | _REQUEST, _FAMILY.pack(_INET, 0, 0) + attributes)


def _attribute(kind: int, value: bytes) -> bytes:
    size = len(value) + 4
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size & 3)


def _string(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode("ascii") + b"\0")


def _elements(
    kind: int, flags: int, where: tuple[str, str], encoded: Sequence[bytes]
) -> list[Request]:
    """Return requests for elements of one size, each with as many as one attribute holds."""
    if not encoded:
        return []
    head = _string(1, where[0]) + _string(2, where[1])
    step = _MOST_IN_ATTRIBUTE // len(encoded[0])
    return [
        _request(
            kind,
            flags,
            head + _attribute(3 | _NESTED, b"".join(encoded[start : start + step])),
        )
        for start in range(0, len(encoded), step)
    ]


def _key_length(keys: Iterable[bytes]) -> int:
    """Return the length of all keys; ``struct`` would pad or cut a different one silently."""
    lengths = set(map(len, keys))
    if len(lengths) != 1 or not lengths <= {4, 16}:
        raise ValueError(f"keys of {sorted(lengths)} bytes in one set: use 4, or 16, throughout")
    return lengths.pop()


def _element_head(key_length: int, rest: int) -> bytes:
    """Return the headers before a key: the element, its key, the key's value."""
    value = 4 + key_length
    return (
        _ATTRIBUTE.pack(4 + 4 + value + rest, 1 | _NESTED)
        + _ATTRIBUTE.pack(4 + value, 1 | _NESTED)
        + _ATTRIBUTE.pack(value, 1)
    )


def _bare(keys: Sequence[bytes]) -> list[bytes]:
    if not keys:
        return []
    head = _element_head(_key_length(keys), 0)
    return [head + key for key in keys]


# The loops of the two encoders below run in C: constant headers around keys and times.


def _with_timeout(elements: Sequence[tuple[bytes, int]]) -> list[bytes]:
    if not elements:
        return []
    keys, times = zip(*elements, strict=True)
    size = _key_length(keys)
    pack = struct.Struct(f">12s{size}s4sQ").pack
    timeout = _ATTRIBUTE.pack(12, 4)
    return list(map(pack, repeat(_element_head(size, 12)), keys, repeat(timeout), times))


def _with_expiration(elements: Sequence[tuple[bytes, int]]) -> list[bytes]:
    if not elements:
        return []
    keys, times = zip(*elements, strict=True)
    size = _key_length(keys)
    pack = struct.Struct(f">12s{size}s4sQ4sQ").pack
    head, timeout, expires = _element_head(size, 24), _ATTRIBUTE.pack(12, 4), _ATTRIBUTE.pack(12, 5)
    return list(map(pack, repeat(head), keys, repeat(timeout), times, repeat(expires), times))


# --- reading -------------------------------------------------------------------------------------


def messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram, up to the first that is cut or malformed."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        size, kind, flags, seq, portid = _HEADER.unpack_from(data, offset)
        if size < 16 or offset + size > end:
            return
        yield Message(kind, flags, seq, portid, data[offset + 16 : offset + size])
        offset += (size + 3) & ~3


def interrupted(message: Message) -> bool:
    """Return whether the ruleset changed during a dump, which is then inconsistent."""
    return bool(message.flags & _DUMP_INTERRUPTED)


def read_refusal(message: Message) -> Refusal | None:
    """Return the outcome in a message (of a request, or of a dump at its end), or None."""
    if message.kind not in (ERROR, DONE):
        return None
    if len(message.payload) < 4:
        return Refusal(0, "", -1)
    code = abs(_ERRNO.unpack_from(message.payload)[0])
    if message.kind == DONE or not message.flags & _ACK_TLVS:
        return Refusal(code, "", -1)
    found = _attributes(message.payload[_extended_at(message) :])
    offset = found.get(2, b"")
    return Refusal(
        code,
        _text(found.get(1, b"")),
        struct.unpack("=I", offset)[0] if len(offset) == 4 else -1,
    )


def read_elements(message: Message) -> list[Elem]:
    """Return the elements in a message, in its order."""
    if message.kind not in (_NEW_ELEMENTS, _DEL_ELEMENTS):
        return []
    inner = _attributes(message.payload[4:]).get(3, b"")
    return [_element(value) for _, value in _walk(inner)]


def read_set(message: Message) -> SetInfo | None:
    """Return the set that a message describes, or None."""
    if message.kind != _NEW_SET:
        return None
    found = _attributes(message.payload[4:])
    return SetInfo(
        _text(found.get(1, b"")),
        _text(found.get(2, b"")),
        _number(found.get(5, b""), 0),
        _number(found.get(20, b"")),
        _number(found.get(4, b""), 0),
        _number(found.get(3, b""), 0),
    )


def read_chain(message: Message) -> ChainInfo | None:
    """Return the chain that a message describes, or None."""
    if message.kind != _NEW_CHAIN:
        return None
    found = _attributes(message.payload[4:])
    hook = _attributes(found.get(4, b""))
    hooked = len(hook.get(1, b"")) == 4 and len(hook.get(2, b"")) == 4
    return ChainInfo(
        _text(found.get(1, b"")),
        _text(found.get(3, b"")),
        int.from_bytes(hook[1], "big") if hooked else None,
        int.from_bytes(hook[2], "big", signed=True) if hooked else None,
        _number(found.get(5, b"")),
    )


def read_rule(message: Message) -> RuleInfo | None:
    """Return the rule that a message describes, or None."""
    if message.kind != _NEW_RULE:
        return None
    found = _attributes(message.payload[4:])
    return RuleInfo(
        _text(found.get(1, b"")), _text(found.get(2, b"")), _number(found.get(3, b""), 0)
    )


def read_dormant(message: Message) -> bool | None:
    """Return whether the table that a message describes is dormant; None for other messages."""
    if message.kind != _NEW_TABLE:
        return None
    return bool(_number(_attributes(message.payload[4:]).get(2, b""), 0) & 1)


def read_counter(message: Message) -> Count | None:
    """Return the named counter that a message describes, or None."""
    if message.kind != _NEW_OBJECT:
        return None
    found = _attributes(_attributes(message.payload[4:]).get(4, b""))
    return Count(_number(found.get(2, b""), 0), _number(found.get(1, b""), 0))


def read_generation(message: Message) -> Generation | None:
    """Return the commit that a message announces, or None."""
    if message.kind != NEW_GENERATION:
        return None
    found = _attributes(message.payload[4:])
    return Generation(
        _number(found.get(1, b""), 0), _number(found.get(2, b""), 0), _text(found.get(3, b""))
    )


def names_table(data: bytes, table: str) -> bool:
    """Return whether a notification is about this table.

    All messages name their table in their first attribute.  A byte search comes first, because
    other processes that fill their own sets cause megabytes of notifications.
    """
    needle = _string(1, table)
    if needle not in data:
        return False
    return any(
        message.kind >> 8 == _SUBSYSTEM
        and message.kind != NEW_GENERATION
        and message.payload[:1] == bytes([_INET])
        and message.payload[4 : 4 + len(needle)] == needle
        for message in messages(data)
    )


def _walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of the attributes, up to the first that is cut or malformed."""
    offset, end = 0, len(data)
    while offset + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            return
        yield kind & _KIND_MASK, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    return dict(_walk(data))


def _number(value: bytes, default: int = -1) -> int:
    return int.from_bytes(value, "big") if len(value) in (4, 8) else default


def _text(value: bytes) -> str:
    """Return a string of the kernel as one line without control characters."""
    text = value[:256].partition(b"\0")[0].decode("ascii", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _extended_at(message: Message) -> int:
    """Return the offset of the extended acknowledgement: behind the request, whole or capped."""
    if message.flags & _CAPPED or len(message.payload) < 8:
        return 20
    size: int = struct.unpack_from("=I", message.payload, 4)[0]
    return 4 + ((max(size, 16) + 3) & ~3)


def _element(data: bytes) -> Elem:
    found = _attributes(data)
    key = _attributes(found.get(1, b"")).get(1, b"")
    packets, octets = _counted(found)
    return Elem(key, _number(found.get(4, b"")), _number(found.get(5, b"")), packets, octets)


def _counted(found: dict[int, bytes]) -> tuple[int, int]:
    """Return packets and bytes of an element's counter, its first expression; -1 if none."""
    expression = found.get(7)
    if expression is None:
        expression = next((value for _, value in _walk(found.get(11, b""))), b"")
    inner = _attributes(expression)
    if inner.get(1) != b"counter\0":
        return -1, -1
    counter = _attributes(inner.get(2, b""))
    return _number(counter.get(2, b"")), _number(counter.get(1, b""))
