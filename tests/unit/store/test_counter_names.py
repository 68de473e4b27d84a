"""The names under which counters are stored: they are in users' databases."""

import pytest

from blocker.engine.batch import PendingBatch
from blocker.judging.tally import Counts
from blocker.store import counter_names
from blocker.store.counter_names import (
    BANS_BY_COUNTRY,
    BANS_BY_OFFENCE,
    BANS_BY_TRAP,
    HITS_BY_FRIEND,
    IGNORED,
    OFFENCES,
    Labelled,
    offence_label,
)
from blocker.store.schema import MIGRATIONS


def test_stored_names_never_change():
    """Another name would begin at zero, and what is stored would be lost."""
    names = {key: each for key, each in vars(counter_names).items() if isinstance(each, str)}
    assert {key: each for key, each in names.items() if not key.startswith("_")} == {
        "NO_LOG": "",
        "GONE": "gone",
        "LINES": "lines",
        "UNPARSED": "unparsed",
        "OVERSIZE": "oversize",
        "HITS": "hits",
        "BLOCKED": "blocked",
        "LATE": "late",
        "FRIENDS": "friends",
        "STALE": "stale",
        "RENEWALS": "renewals",
        "UNBANS": "unbans",
        "UNREACHED": "unreached",
        "BANS_UNSTORED": "bans_unstored",
        "ENFORCING_SINCE": "enforcing_since",
    }


@pytest.mark.parametrize(
    ("counter", "label", "name"),
    [
        (BANS_BY_TRAP, "xmlrpc", "bans:xmlrpc"),
        (BANS_BY_TRAP, "manual", "bans:manual"),
        (BANS_BY_OFFENCE, "4+", "offence:4+"),
        (BANS_BY_COUNTRY, "ZZ", "country:ZZ"),
        (HITS_BY_FRIEND, "private", "friends:private"),
        (HITS_BY_FRIEND, "proxy:cloudflare", "friends:proxy:cloudflare"),
        (HITS_BY_FRIEND, "", "friends:"),
    ],
)
def test_a_label_and_the_name_of_its_counter_lead_to_one_another(counter, label, name):
    """Also where the label has a colon of its own."""
    assert counter.of(label) == name
    assert counter.label(name) == label
    every = (BANS_BY_TRAP, BANS_BY_OFFENCE, BANS_BY_COUNTRY, HITS_BY_FRIEND)
    assert [each.label(name) for each in every if each != counter] == [None] * 3


@pytest.mark.parametrize("name", ["bans", "friends", "bans_unstored", "bansx:a", "x:bans:a", ""])
def test_other_names_have_no_label(name):
    """Neither a counter whose name begins alike, nor one that has the prefix inside."""
    assert BANS_BY_TRAP.label(name) is None
    assert HITS_BY_FRIEND.label(name) is None


def test_every_group_has_a_prefix_of_its_own():
    """None that a single counter's name could be taken for."""
    groups = [each for each in vars(counter_names).values() if isinstance(each, Labelled)]
    assert sorted(each.prefix for each in groups) == [
        "bans",
        "country",
        "event",
        "failures",
        "friends",
        "offence",
    ]


def test_offences_are_distinguished_up_to_the_third():
    """The second migration counted the bans of older databases by the same labels."""
    assert OFFENCES == ("1", "2", "3", "4+")
    assert [offence_label(number) for number in range(1, 7)] == ["1", "2", "3", "4+", "4+", "4+"]
    assert "'offence:' || CASE WHEN offence < 4 THEN offence ELSE '4+' END" in MIGRATIONS[1]


def test_the_migration_notes_since_when_under_the_name_that_is_read():
    """Where there was a ban that was enforced."""
    assert f"'{counter_names.ENFORCING_SINCE}'" in MIGRATIONS[1]


def test_the_judges_counts_are_stored_each_under_its_name():
    """Of the log that the hits are of."""
    pending = PendingBatch()
    pending.count_hits("/log", Counts(hits=5, blocked=1, late=2, friends=3))
    assert pending.counters == {
        ("/log", counter_names.HITS): 5,
        ("/log", counter_names.BLOCKED): 1,
        ("/log", counter_names.LATE): 2,
        ("/log", counter_names.FRIENDS): 3,
    }


def test_hits_that_changed_nothing_are_counted_by_their_reason():
    """Under the names that dashboards show; the judge counts them all, but for stale ones."""
    assert IGNORED == {"banned": "blocked", "late": "late", "friend": "friends", "stale": "stale"}
    assert list(IGNORED) == ["banned", "late", "friend", "stale"]
