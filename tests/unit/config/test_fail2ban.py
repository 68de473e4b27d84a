"""The words of fail2ban's configuration: none is left without an answer."""

import pytest

from blocker.config.fail2ban import WORDS, advice

SAID = {
    "it is `allow` here, at the top": "ignoreip",
    "there is none; it is `allow` here": "ignorecommand ignorecache ignoreregex",
    "not needed: the addresses of this host are never banned": "ignoreself",
    "it is `logs` here, at the top": "logpath",
    "there is none: access logs are files; it is `logs` here": "journalmatch",
    "not needed: a log that is not there yet is followed": "skip_if_nologs",
    "not needed: logs are read as bytes": "logencoding",
    "not needed: the time of each line has its own offset": "logtimezone",
    "not needed: each line of a log is one request": "maxlines maxmatches dbmaxmatches",
    "it is `bantime_factor` here, under [trap.xmlrpc]": (
        "bantime_increment bantime_factor bantime_formula bantime_multipliers"
    ),
    "it is `max_bantime` here, under [trap.xmlrpc]": "bantime_maxtime",
    "there is none: a ban lasts as long as `bantime` says": "bantime_rndtime",
    "not needed: earlier bans count whichever trap": "bantime_overalljails",
    "it is `remember` here": "dbpurgeage",
    "it is `state` here": "dbfile",
    "it is `control` here": "socket",
    "not needed: the service is supervised by systemd": "pidfile",
    "not needed: a trap is a `path` and its `methods`": "failregex prefregex filter mode",
    "not needed: the formats of the web servers have their times": "datepattern",
    "not needed: logs are files, and the kernel says when": "backend",
    "not needed: names are never resolved": "usedns dns",
    "not needed: IPv6 is always judged": "allowipv6",
    "not needed: every configured trap is active": "enabled",
    "it is `firewall.ports` here": "port",
    "not needed; it is `firewall.ports` here": "banaction_allports",
    "not needed: TCP and UDP are both blocked": "protocol",
    "not needed: the table is one of its own": "chain",
    "not needed: packets of banned addresses are dropped": "blocktype returntype",
    "not needed: bans go into an nftables set": (
        "banaction action actionban actionunban actionstart actionstop actioncheck destemail"
        " sender mta fail2ban_agent"
    ),
    "not needed: messages go to the journal": "loglevel logtarget syslogsocket",
    "a section of fail2ban's": "default definition init includes thread",
}
"""How the answer begins, and the words that get it."""


@pytest.mark.parametrize(("said", "words"), SAID.items())
def test_a_word_of_fail2bans_is_answered_with_what_stands_here(said, words):
    """Or with why nothing has to."""
    for word in words.split():
        assert advice(word).startswith(said)


def test_no_word_is_answered_without_a_test():
    """A new one is added here as well."""
    assert sorted(WORDS) == sorted(" ".join(SAID.values()).split())


@pytest.mark.parametrize(
    ("written", "meant"),
    [("bantime.increment", "bantime_increment"), ("DEFAULT", "default"), ("bantime-maxtime",
     "bantime_maxtime"), ("skip_if_nologs", "skip_if_nologs")],
)  # fmt: skip
def test_a_word_is_known_however_it_is_spelled(written, meant):
    """With dots, as in a jail, with dashes, and in capitals."""
    assert advice(written) == WORDS[meant]


def test_other_words_have_no_answer():
    """They are no words of fail2ban's."""
    assert advice("maxretry") == advice("") == advice("nonsense") == ""
