"""The wire format, against bytes that a kernel (6.18, little-endian) took and gave."""

import struct
import sys

import pytest

from blocker import netlink
from blocker.netlink import Message, Request

KEY = bytes([192, 0, 2, 1])
NET = bytes.fromhex("20010db8000100020000000000000000")

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the samples were taken on a little-endian machine"
)


def answer(kind, payload, flags=0):
    """A message as the kernel would have sent it, read back."""
    data = netlink.encode(Request(kind, flags, bytes.fromhex(payload)), 7)
    (message,) = netlink.messages(data)
    return message


def test_upsert_is_what_the_kernel_echoed():
    """An element with timeout and expiration reads as in the kernel's own notification."""
    (request,) = netlink.upsert("t", "ban4", [(KEY, 600_000)])
    assert request.kind == 2572
    assert request.flags == 0x401
    assert request.body.hex() == (
        "01000000"
        "0600010074000000"
        "0900020062616e3400000000"
        "2c000380"
        "28000180"
        "0c000180" + "08000100" + "c0000201" + "0c000400"
        "00000000000927c0" + "0c000500"
        "00000000000927c0"
    )


def test_add_has_no_expiration():
    """Kernels before 6.12 are given what they understand: a timeout."""
    (request,) = netlink.add("t", "ban6", [(NET, 1)])
    assert request.body.hex().endswith(
        "28000180" + "18000180" + "14000100" + NET.hex() + "0c000400" + "0000000000000001"
    )


@pytest.mark.parametrize(
    ("build", "kind"),
    [(netlink.delete, 2574), (netlink.destroy, 2590), (netlink.get_elements, 2573)],
)
def test_keys_alone(build, kind):
    """Deleting, destroying and asking name keys, and nothing else."""
    (request,) = build("t", "ban4", [KEY, KEY])
    assert request.kind == kind
    assert request.body.hex().endswith("24000380" + 2 * ("10000180" + "0c00018008000100c0000201"))


def test_a_batch_is_framed_and_acknowledged_at_its_end():
    """Begin, requests, end are numbered in a row, and only the last request asks for an answer."""
    requests = [*netlink.delete("t", "ban4", [KEY]), netlink.delete_table("t")]
    framed = list(netlink.messages(netlink.encode_batch(requests, 41)))
    assert [m.seq for m in framed] == [41, 42, 43, 44]
    assert [m.kind for m in framed] == [16, 2574, 2562, 17]
    assert [m.flags for m in framed] == [1, 1, 5, 1]
    assert framed[0].payload == framed[3].payload == bytes([0, 0, 0, 10])


@pytest.mark.parametrize(("key", "most"), [(KEY, 1638), (NET, 1260)])
def test_elements_are_split_at_the_limit_of_an_attribute(key, most):
    """The length of an attribute is a u16, so many elements make several messages."""
    assert len(netlink.upsert("t", "s", [(key, 1)] * most)) == 1
    first, second = netlink.upsert("t", "s", [(key, 1)] * (most + 1))
    assert len(first.body) <= 0xFFFF + 32
    size = struct.unpack_from("=H", first.body, 4 + 8 + 8)[0]
    assert size == len(first.body) - 20
    assert len(second.body) < 100


def test_nothing_makes_no_request():
    """No elements, no message: an empty list would mean all elements to a deletion."""
    for build in (netlink.upsert, netlink.add, netlink.delete, netlink.destroy):
        assert build("t", "ban4", []) == []


@pytest.mark.parametrize("keys", [[b"123"], [b""], [KEY, NET], [KEY, b"123", b"12345"]])
def test_keys_of_another_length_are_refused(keys):
    """``struct`` would pad or cut them silently, and somebody else would be banned."""
    with pytest.raises(ValueError, match="bytes in one set"):
        netlink.delete("t", "s", keys)
    with pytest.raises(ValueError, match="bytes in one set"):
        netlink.upsert("t", "s", [(key, 1) for key in keys])
    with pytest.raises(ValueError, match="bytes in one set"):
        netlink.add("t", "s", [(key, 1) for key in keys])


def test_questions_name_their_object():
    """Each question carries table and name under the numbers of its kind."""
    table, name = "0600010074000000", "0600020073000000"
    assert netlink.get_table("t")[1:] == (5, bytes.fromhex("01000000" + table))
    assert netlink.get_set("t", "s")[1:] == (5, bytes.fromhex("01000000" + table + name))
    assert netlink.list_elements("t", "s").flags == 0x301
    assert netlink.list_rules("t")[1:] == (0x301, bytes.fromhex("01000000" + table))
    assert netlink.get_chain("t", "s").body.hex().endswith("0600030073000000")
    assert netlink.get_counter("t", "s").body.hex().endswith(name + "0800030000000001")
    assert netlink.get_generation().body == bytes([1, 0, 0, 0])
    assert netlink.delete_set("t", "s").flags == 1
    assert netlink.new_set("t", "s", 4, 60_000).body.hex() == (
        "01000000" + table + name + "0800030000000010" + "0800040000000007" + "0800050000000004"
        "08000a0000000001" + "0c000b00000000000000ea60"
    )


def test_element_read():
    """A key, its timeout, and what is left of it."""
    message = answer(
        2572,
        "0100000306000100740000000900020062616e34000000002c000300280001000c00010008000100c0000201"
        "0c00040000000000000927c00c00050000000000000927c0",
    )
    assert netlink.read_elements(message) == [(KEY, 600_000, 600_000, -1, -1)]


def test_counting_element_read():
    """An element with a counter, and without a timeout of its own."""
    message = answer(
        2572,
        "0100000406000100740000000a00020068697473340000004c000300480001000c00010008000100c0000209"
        "2c0007000c000100636f756e746572001c0002000c00010000000000000001590c000200000000000000000c"
        "0c0005000000000005265c00",
    )
    (element,) = netlink.read_elements(message)
    assert element == (bytes([192, 0, 2, 9]), -1, 86_400_000, 12, 345)


def test_set_read():
    """A set tells its key's length and how many are in it, where the kernel can."""
    payload = (
        "0100000306000100740000000900020062616e34000000000c001000000000000000000b0800030000000010"
        "080004000000000708000500000000040c000b000000000005265c0008000c000000ea600a000d0000040200"
        "000000000c00090008000100000000100800140000000001"
    )
    assert netlink.read_set(answer(2569, payload)) == ("t", "ban4", 4, 1)
    assert netlink.read_set(answer(2569, payload[:-16])) == ("t", "ban4", 4, -1)


def test_chain_read():
    """A hooked chain has a hook, a priority and a policy; another has none."""
    hooked = answer(
        2563,
        "0100000306000100740000000f000300707265726f7574696e6700000c000200000000000000000114000400"
        "080001000000000008000200fffffeca08000500000000010b00070066696c746572000008000a0000000001",
    )
    assert netlink.read_chain(hooked) == ("t", "prerouting", 0, -310, 1)
    plain = answer(2563, "0100000306000100740000000a00030064726f7034000000")
    assert netlink.read_chain(plain) == ("t", "drop4", None, None, -1)


def test_rule_table_counter_and_generation_read():
    """The small facts, each from its message."""
    rule = "0100000306000100740000000f000200707265726f7574696e6700000c0003000000000000000019"
    assert netlink.read_rule(answer(2566, rule)) == ("t", "prerouting", 25)
    table = "010000030600010074000000080003000000000e0c000400000000000000000108000200"
    assert netlink.read_dormant(answer(2560, table + "00000000")) is False
    assert netlink.read_dormant(answer(2560, table + "00000001")) is True
    counter = (
        "0100000306000100740000000d00020064726f7070656434000000000800030000000001"
        "1c0004000c00010000000000000001590c000200000000000000000c"
    )
    assert netlink.read_counter(answer(2578, counter)) == (12, 345)
    made = "000000030800010000000003080002000000191b0b000300707974686f6e0000"
    assert netlink.read_generation(answer(2575, made)) == (3, 6427, "python")


def test_readers_pass_over_other_messages():
    """A reader that is given something else has nothing to say."""
    other = answer(2575, "00000003")
    assert netlink.read_elements(other) == []
    for read in (
        netlink.read_refusal,
        netlink.read_set,
        netlink.read_chain,
        netlink.read_rule,
        netlink.read_dormant,
        netlink.read_counter,
    ):
        assert read(other) is None
    assert netlink.read_generation(answer(2572, "01000003")) is None


def test_refusal_read():
    """A capped error with the offset of the attribute at fault, as the kernel gave it."""
    data = bytes.fromhex(
        "2c000000020000034d0000001b190000feffffff4c0000000d0a05004d00000000000000080002003c000000"
    )
    (message,) = netlink.messages(data)
    assert (message.seq, message.portid) == (77, 6427)
    assert netlink.read_refusal(message) == (2, "", 60)


def test_refusal_with_words_behind_the_whole_request():
    """Where the request is quoted in full, the words stand behind it."""
    request = netlink.encode(netlink.get_table("t"), 3)
    words = b"\x0c\x00\x01\x00too bad\0"
    error = Message(2, 0x200, 3, 0, struct.pack("=i", -17) + request + words)
    assert netlink.read_refusal(error) == (17, "too bad", -1)


def test_acknowledgement_and_end_of_dump_read():
    """No error is errno 0; a dump may end with one."""
    assert netlink.read_refusal(answer(2, "00000000" + "00" * 16, 0x100)) == (0, "", -1)
    assert netlink.read_refusal(answer(3, "00000000")) == (0, "", -1)
    assert netlink.read_refusal(answer(3, "fcffffff")) == (4, "", -1)
    assert netlink.read_refusal(answer(2, "")) == (0, "", -1)


def test_words_of_the_kernel_are_one_printable_line():
    """Nothing that a terminal would act on comes through."""
    words = b"\x10\x00\x01\x00a\x1b[2J\n\xffb\0\0\0\0"
    error = Message(2, 0x300, 3, 0, struct.pack("=i", -1) + bytes(16) + words)
    assert netlink.read_refusal(error) == (1, "a?[2J?\ufffdb", -1)


def test_a_notification_names_its_table():
    """Our table is recognised in any message of a datagram, and never in a neighbour's."""
    ours = netlink.encode(netlink.get_set("mine", "s"), 1)
    theirs = netlink.encode(netlink.get_set("mine2", "s"), 1)
    set_of_that_name = netlink.encode(netlink.get_chain("other", "mine"), 1)
    family = bytearray(ours)
    family[16] = 2
    assert netlink.names_table(ours, "mine")
    assert netlink.names_table(theirs + ours, "mine")
    assert not netlink.names_table(theirs, "mine")
    assert not netlink.names_table(set_of_that_name, "mine")
    assert not netlink.names_table(bytes(family), "mine")


def test_an_interrupted_dump_is_told():
    """The kernel marks the messages of a dump that the ruleset changed under."""
    assert netlink.interrupted(answer(2566, "01000000", flags=0x12))
    assert not netlink.interrupted(answer(2566, "01000000", flags=0x2))
