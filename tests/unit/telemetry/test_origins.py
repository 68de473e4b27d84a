"""Where addresses are from: for any shape of a database, and without one."""

import logging
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from blocker.telemetry.origins import MAX_NAME, UNKNOWN, Origin, Origins

FOUR, SIX = bytes([203, 0, 113, 7]), bytes.fromhex("20010db800010002") + bytes(8)
ELSEWHERE = bytes([192, 0, 2, 1])
NETWORKS = ["203.0.113.0/24", "2001:db8::/32"]
NAME = "Example Networks"


def database(path, record, *, version=6):
    """Write a database that knows the documentation networks by one record."""
    writer = MMDBWriter(version, "Test", ipv4_compatible=version == 6)
    writer.insert_network(IPSet(NETWORKS[: 1 if version == 4 else 2]), record)
    writer.to_db_file(str(path))
    return str(path)


def opened(tmp_path, country=None, asn=None, **how):
    """Return origins with databases of these records."""
    made, paths = Origins(), {}
    for name, record in (("country", country), ("asn", asn)):
        paths[name] = "" if record is None else database(tmp_path / f"{name}.mmdb", record, **how)
    made.open(paths, tmp_path)
    return made


@pytest.mark.parametrize(
    "record",
    [
        {"country": {"iso_code": "NL", "names": {"en": "The Netherlands"}}},
        {"registered_country": {"iso_code": "NL"}},
        {"country_code": "NL"},
        {"country_code": "nl", "country": "The Netherlands"},
        {"country": "NL"},
    ],
    ids=["MaxMind, DB-IP", "registered only", "ip-location-db", "IPinfo Lite", "IPinfo"],
)
def test_a_country_is_found_in_every_shape(tmp_path, record):
    """As two capitals, for both families."""
    origins = opened(tmp_path, country=record)
    assert origins.knows_countries
    assert [origins.country(who) for who in (FOUR, SIX, ELSEWHERE)] == ["NL", "NL", UNKNOWN]
    assert origins.of(FOUR) == Origin("NL", "", "")
    assert origins.of(ELSEWHERE) == Origin()
    origins.close()


@pytest.mark.parametrize(
    "record",
    [
        {"autonomous_system_number": 64500, "autonomous_system_organization": NAME},
        {"asn": "AS64500", "as_name": NAME, "as_domain": "example.org"},
        {"asn": "AS64500", "name": NAME, "type": "hosting"},
    ],
    ids=["MaxMind, DB-IP, ip-location-db", "IPinfo Lite", "IPinfo"],
)
def test_a_system_is_found_in_every_shape(tmp_path, record):
    """Its number without AS, and its name."""
    origins = opened(tmp_path, asn=record)
    assert not origins.knows_countries
    assert origins.of(FOUR) == origins.of(SIX) == Origin("", "64500", NAME)
    origins.close()


@pytest.mark.parametrize(
    "record",
    [
        {"country": {"iso_code": "EVIL"}, "asn": "64500; drop"},
        {"country": {"iso_code": 7}, "asn": [1], "as_name": {"a": "b"}},
        {"country_code": "ÄÖ", "asn": "9" * 30},
        {"country": "N1"},
        {"country_code": "", "asn": -1},
        "NL",
    ],
)
def test_what_is_no_country_and_no_number_is_blank(tmp_path, record):
    """No label comes of what a database should not hold."""
    origins = opened(tmp_path, country=record, asn=record)
    assert origins.country(FOUR) == UNKNOWN
    assert origins.of(FOUR) == Origin()
    origins.close()


def test_a_name_is_cut_and_printable(tmp_path):
    """The text of strangers has a ceiling, and no control characters."""
    origins = opened(tmp_path, asn={"asn": "AS1", "as_name": 'a"\n\x1b[31m' + "x" * 500})
    name = origins.of(FOUR).as_name
    assert len(name) <= MAX_NAME
    assert name.startswith('a"  [31mx')
    assert name.isprintable()
    origins.close()


def test_a_database_of_ipv4_knows_nothing_of_ipv6(tmp_path):
    """And goes on answering."""
    origins = opened(tmp_path, country={"country_code": "NL"}, version=4)
    assert [origins.country(who) for who in (SIX, FOUR)] == [UNKNOWN, "NL"]
    origins.close()


def test_it_says_when_it_was_built(tmp_path):
    """In seconds, by the name of the database."""
    origins = opened(tmp_path, country={"country_code": "NL"})
    assert list(origins.built) == ["country"]
    assert origins.built["country"] > 1_600_000_000
    origins.close()


def test_a_database_may_be_overwritten_while_it_is_read(tmp_path):
    """Cut short in place, it goes on as it was, and leaves no copy behind."""
    origins = opened(tmp_path, country={"country_code": "NL"})
    (tmp_path / "country.mmdb").write_bytes(b"")
    assert origins.country(FOUR) == "NL"
    assert [path.name for path in tmp_path.iterdir()] == ["country.mmdb"]
    origins.close()


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\xab\xcd\xefMaxMind.com" * 9])
def test_a_database_that_is_missing_or_broken_is_one_warning(tmp_path, caplog, content):
    """Everything is blank then, and nothing fails."""
    path = tmp_path / "country.mmdb"
    if content is not None:
        path.write_bytes(content)
    origins = Origins()
    with caplog.at_level(logging.WARNING, "blocker"):
        origins.open({"country": str(path), "asn": ""}, tmp_path)
        assert origins.country(FOUR) == UNKNOWN
        assert origins.of(FOUR) == Origin()
    assert len(caplog.records) == 1
    assert not origins.knows_countries
    assert str(path) in caplog.text
    assert not origins.built


def test_a_database_broken_within_is_one_warning(tmp_path, caplog):
    """Found when it is asked; blank from then on."""
    path = Path(database(tmp_path / "country.mmdb", {"country_code": "NL"}))
    content = path.read_bytes()
    marker = content.index(b"\xab\xcd\xefMaxMind.com")
    path.write_bytes(b"\xff" * marker + content[marker:])
    origins = Origins()
    with caplog.at_level(logging.WARNING, "blocker"):
        origins.open({"country": str(path)}, tmp_path)
        assert [origins.country(who) for who in (FOUR, SIX, FOUR)] == [UNKNOWN] * 3
    assert len(caplog.records) == 1


def test_what_is_remembered_has_a_ceiling(tmp_path):
    """However many are asked for."""
    origins = opened(tmp_path, country={"country_code": "NL"})
    for number in range(3000):
        origins.of((0x50000000 + number).to_bytes(4))
    assert len(origins._remembered) <= 1000
    origins.close()
