"""The wire format, against bytes that a kernel (6.18, little-endian) took and gave."""

import struct
import sys

import pytest

from blocker.firewall import netlink
from blocker.firewall.netlink import Message, Request

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
    """``struct`` would pad or cut them silently, and another address would be banned."""
    with pytest.raises(ValueError, match="bytes in one set"):
        netlink.delete("t", "s", keys)
    with pytest.raises(ValueError, match="bytes in one set"):
        netlink.upsert("t", "s", [(key, 1) for key in keys])
    with pytest.raises(ValueError, match="bytes in one set"):
        netlink.add("t", "s", [(key, 1) for key in keys])


TABLE, NAME = "0600010074000000", "0600020073000000"


@pytest.mark.parametrize(
    ("request_", "kind", "flags", "attributes"),
    [
        (netlink.get_table("t"), 2561, 0x5, TABLE),
        (netlink.delete_table("t"), 2562, 0x1, TABLE),
        (netlink.get_chain("t", "s"), 2564, 0x5, TABLE + "0600030073000000"),
        (netlink.list_rules("t"), 2567, 0x301, TABLE),
        (netlink.get_set("t", "s"), 2570, 0x5, TABLE + NAME),
        (netlink.delete_set("t", "s"), 2571, 0x1, TABLE + NAME),
        (netlink.list_elements("t", "s"), 2573, 0x301, TABLE + NAME),
        (netlink.flush("t", "s"), 2574, 0x1, TABLE + NAME),
        (netlink.get_generation(), 2576, 0x5, ""),
        (netlink.get_counter("t", "s"), 2579, 0x5, TABLE + NAME + "0800030000000001"),
    ],
)
def test_a_question_names_its_object(request_, kind, flags, attributes):
    """Table and name stand under the numbers that the kernel has for them."""
    assert request_ == (kind, flags, bytes.fromhex("01000000" + attributes))


@pytest.mark.parametrize(("length", "type_"), [(4, 7), (16, 8)])
def test_a_new_set_says_of_what_it_is(length, type_):
    """Keys are IPv4 or IPv6 addresses, and elements go by themselves."""
    request = netlink.new_set("t", "s", length, 60_000)
    assert request[:2] == (2569, 0x401)
    assert request.body.hex() == (
        f"01000000{TABLE}{NAME}0800030000000010080004{type_:010x}080005{length:010x}"
        "08000a0000000001" + "0c000b00000000000000ea60"
    )


def test_changes_are_announced_to_group_seven():
    """NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h."""
    assert netlink.GROUP_NFTABLES == 7


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
    """A set reports its key's length and how many elements it has, if the kernel can."""
    payload = (
        "0100000306000100740000000900020062616e34000000000c001000000000000000000b0800030000000010"
        "080004000000000708000500000000040c000b000000000005265c0008000c000000ea600a000d0000040200"
        "000000000c00090008000100000000100800140000000001"
    )
    assert netlink.read_set(answer(2569, payload)) == ("t", "ban4", 4, 1, 7, 0x10)
    assert netlink.read_set(answer(2569, payload[:-16])) == ("t", "ban4", 4, -1, 7, 0x10)


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


def test_an_interrupted_dump_is_reported():
    """The kernel marks the messages of a dump that the ruleset changed under."""
    assert netlink.interrupted(answer(2566, "01000000", flags=0x12))
    assert not netlink.interrupted(answer(2566, "01000000", flags=0x2))

    assert not netlink.interrupted(answer(2566, "01000000", flags=0x1))


def test_a_message_says_that_it_is_from_no_process():
    """The kernel puts in the port that it comes from."""
    (message,) = netlink.messages(netlink.encode(netlink.get_table("t"), 9))
    assert (message.seq, message.portid) == (9, 0)


WHOLE = netlink.encode(netlink.get_table("t"), 1)


@pytest.mark.parametrize(
    "rest",
    [
        WHOLE[:-1],
        struct.pack("=IHHII", 0, 2561, 5, 1, 0) + WHOLE,
        struct.pack("=IHHII", 15, 2561, 5, 1, 0) + WHOLE,
        struct.pack("=IHHII", 1000, 2561, 5, 1, 0) + WHOLE,
    ],
    ids=["cut", "no length", "short length", "long length"],
)
def test_reading_ends_at_a_message_that_is_cut_or_malformed(rest):
    """What comes before it is read."""
    assert len(list(netlink.messages(WHOLE + rest))) == 1


@pytest.mark.parametrize(
    "rest",
    ["0c00020073", "000002007300000008000200", "030002007300000008000200", "ff00020073000000"],
    ids=["cut", "no length", "short length", "long length"],
)
def test_reading_ends_at_an_attribute_that_is_cut_or_malformed(rest):
    """What comes before it is read, and nothing is read for ever."""
    assert netlink.read_rule(answer(2566, "01000003" + TABLE + rest)) == ("t", "", 0)


def test_an_empty_attribute_is_one():
    """An element without a key is still an element, also as the last one."""
    none = (b"", -1, -1, -1, -1)
    assert netlink.read_elements(answer(2572, "010000030c00030004000100" + "04000100")) == [
        none,
        none,
    ]


def test_a_message_without_attributes_has_nothing_in_it():
    """What the kernel does not tell has no name, and no number or zero."""
    bare = "01000003"
    assert netlink.read_elements(answer(2572, bare)) == []
    assert netlink.read_set(answer(2569, bare)) == ("", "", 0, -1, 0, 0)
    assert netlink.read_chain(answer(2563, bare)) == ("", "", None, None, -1)
    assert netlink.read_rule(answer(2566, bare)) == ("", "", 0)
    assert netlink.read_dormant(answer(2560, bare)) is False
    assert netlink.read_counter(answer(2578, bare)) == (0, 0)
    assert netlink.read_generation(answer(2575, bare)) == (0, 0, "")


@pytest.mark.parametrize("half", ["0800010000000000", "08000200fffffeca"])
def test_a_chain_with_half_a_hook_is_none_that_is_hooked(half):
    """Hook and priority come together."""
    chain = answer(2563, "01000003" + TABLE + "06000300730000000c000480" + half)
    assert netlink.read_chain(chain) == ("t", "s", None, None, -1)


def test_the_first_of_several_expressions_of_an_element_counts():
    """Newer kernels put a list where older ones have one."""
    counter = (
        "2c0001000c000100636f756e746572001c0002000c00010000000000000001590c000200000000000000000c"
    )
    other = "100001000a0001006c696d69740000"
    message = answer(
        2572,
        "01000003" + "50000300" + "4c000100" + "0c000100" + "08000100c0000209"
        "3c000b80" + counter + other[:-2] + "0000",
    )
    (element,) = netlink.read_elements(message)
    assert element == (bytes([192, 0, 2, 9]), -1, -1, 12, 345)


def test_an_element_with_another_expression_counts_nothing():
    """Neither packets nor bytes are reported, which is not zero."""
    message = answer(
        2572, "010000031c00030018000100" + "14000700" + "0c000100636f756e74657273" + "04000200"
    )
    (element,) = netlink.read_elements(message)
    assert element[3:] == (-1, -1)


WORDS = b"\x0c\x00\x01\x00too bad\0"


def test_words_are_read_only_where_a_refusal_says_that_there_are_some():
    """The flag stands for them; the end of a dump has none."""
    quoted = struct.pack("=i", -17) + WHOLE + WORDS
    assert netlink.read_refusal(Message(2, 0x1, 3, 0, quoted)) == (17, "", -1)
    assert netlink.read_refusal(Message(3, 0x200, 3, 0, quoted)) == (17, "", -1)
    assert netlink.read_refusal(Message(2, 0x201, 3, 0, quoted)) == (17, "too bad", -1)


def test_words_stand_behind_a_request_of_a_header_alone():
    """The shortest request that can be refused."""
    quoted = struct.pack("=i", -1) + netlink.encode(Request(2576, 5, b""), 3) + WORDS
    assert netlink.read_refusal(Message(2, 0x200, 3, 0, quoted)) == (1, "too bad", -1)


def test_a_refusal_that_is_cut_is_still_one():
    """Four bytes say which; there is nothing behind them to be read."""
    for length in range(4, 20):
        message = Message(2, 0x200, 3, 0, (struct.pack("=i", -1) + bytes(20))[:length])
        assert netlink.read_refusal(message) == (1, "", -1)


def test_words_of_the_kernel_are_at_most_256_bytes():
    """A log line has an end."""
    words = struct.pack("=HH", 304, 1) + b"x" * 300
    message = Message(2, 0x300, 3, 0, struct.pack("=i", -1) + bytes(16) + words)
    assert netlink.read_refusal(message) == (1, "x" * 256, -1)


def test_the_name_of_a_table_counts_only_where_it_stands_in_nftables():
    """Not in another subsystem, not in a generation, not behind another table."""
    body = bytes.fromhex("01000000" + TABLE)
    behind = bytes.fromhex("01000000" + "0600010075000000" + TABLE)
    named = {
        kind: netlink.names_table(netlink.encode(Request(kind, 0, body), 1), "t")
        for kind in (2560, 2572, 2575, 2590, 9 << 8, 11 << 8)
    }
    assert named == {2560: True, 2572: True, 2575: False, 2590: True, 9 << 8: False, 11 << 8: False}
    assert not netlink.names_table(netlink.encode(Request(2572, 0, behind), 1), "t")
