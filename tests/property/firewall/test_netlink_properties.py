"""The readers of netlink, against what no kernel would send, and against their own writers."""

from hypothesis import given
from hypothesis import strategies as st

from blocker.firewall import netlink
from blocker.firewall.netlink import Message

READERS = (
    netlink.read_refusal,
    netlink.read_elements,
    netlink.read_set,
    netlink.read_chain,
    netlink.read_rule,
    netlink.read_dormant,
    netlink.read_counter,
    netlink.read_generation,
    netlink.interrupted,
)
KINDS = st.sampled_from([2, 3, *range(2560, 2595)])
TIMES = st.integers(0, 2**64 - 1)


def keys_of(size):
    return st.binary(min_size=size, max_size=size)


KEY_LISTS = st.sampled_from([4, 16]).flatmap(lambda size: st.lists(keys_of(size), min_size=1))
ELEMENT_LISTS = st.sampled_from([4, 16]).flatmap(
    lambda size: st.lists(st.tuples(keys_of(size), TIMES), min_size=1)
)


def read_everything(data):
    """Read as the daemon would, and count what there is: each byte is read a few times at most."""
    found = list(netlink.messages(data))
    for message in found:
        for read in READERS:
            read(message)
    netlink.names_table(data, "t")
    return found


@given(st.binary(max_size=2048))
def test_random_bytes_are_read_without_complaint(data):
    """No bytes raise anything, and no message is shorter than its header."""
    assert 16 * len(read_everything(data)) <= len(data)


@given(KINDS, st.integers(0, 0xFFFF), st.binary(max_size=512))
def test_random_payloads_are_read_without_complaint(kind, flags, payload):
    """The same for what has a proper header, of every kind."""
    message = Message(kind, flags, 1, 0, payload)
    for read in READERS:
        read(message)
    assert 4 * len(netlink.read_elements(message)) <= len(payload)


@given(
    ELEMENT_LISTS,
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 2**16),
)
def test_mutated_messages_are_read_without_complaint(elements, mutations, cut):
    """Bytes changed anywhere, and cut anywhere, are still read to an end."""
    data = bytearray(netlink.encode_batch(netlink.upsert("t", "s", elements), 1))
    for place, value in mutations:
        data[place % len(data)] = value
    read_everything(bytes(data[: cut % (len(data) + 1)]))


@given(ELEMENT_LISTS, st.sampled_from([netlink.upsert, netlink.add]))
def test_what_is_written_is_read_again(elements, build):
    """Elements survive the way there and back, in their order."""
    data = netlink.encode_batch(build("t", "s", elements), 1)
    found = [e for message in netlink.messages(data) for e in netlink.read_elements(message)]
    assert [(e.key, e.timeout) for e in found] == elements
    expires = [e.expires for e in found]
    assert expires == ([e[1] for e in elements] if build is netlink.upsert else [-1] * len(found))


@given(KEY_LISTS, st.integers(1, 2000))
def test_keys_survive_however_many(keys, times):
    """Splitting at the limit of an attribute loses and doubles nothing."""
    keys = (keys * times)[:5000]
    data = netlink.encode_batch(netlink.delete("t", "s", keys), 1)
    found = [e.key for message in netlink.messages(data) for e in netlink.read_elements(message)]
    assert found == keys


@given(st.lists(st.binary(max_size=64).map(lambda body: body + bytes(-len(body) & 3))))
def test_every_message_of_a_batch_is_found(bodies):
    """Begin and end included, numbered in a row."""
    data = netlink.encode_batch([netlink.Request(2572, 1, body) for body in bodies], 10)
    found = list(netlink.messages(data))
    assert [m.seq for m in found] == list(range(10, 12 + len(bodies)))
    assert [m.payload for m in found[1:-1]] == bodies


@given(KINDS, st.binary(max_size=128))
def test_a_kind_is_read_by_its_reader_only(kind, payload):
    """At most one reader has something to say about a message."""
    message = Message(kind, 0, 1, 0, payload)
    spoke = [read for read in READERS[:-1] if read(message) not in (None, [])]
    assert len(spoke) <= 1
