import re
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import fields
from attrs.exceptions import FrozenInstanceError
from config_example import example

from blocker.config import fail2ban, files
from blocker.config.lint import offers, warnings
from blocker.config.parse import parse
from blocker.config.readers import FORMATS
from blocker.config.schema import (
    WORDPRESS,
    Config,
    FirewallConfig,
    MetricsConfig,
    OriginsConfig,
    TrapConfig,
)
from blocker.errors import ConfigError
from blocker.firewall.ruleset import table_name
from blocker.friends import host
from blocker.matching.formats import line_format
from blocker.times import DAY, HOUR, MINUTE, SECOND, duration, format_duration

ROOT = Path(__file__).parents[3]


def mistakes(*documents):
    """Return what parsing says about documents, named a.toml, b.toml … in order."""
    named = [(f"{letter}.toml", text) for letter, text in zip("abc", documents, strict=False)]
    with pytest.raises(ConfigError) as caught:
        parse(named)
    return str(caught.value).split("\n")


def only(text):
    """Return the only mistake in a document."""
    (line,) = mistakes(text)
    return line


def read(text):
    return parse([("a.toml", text)])


def test_a_log_format_may_be_pasted_over_several_lines():
    """As nginx's own configuration has it; other formats have no control characters."""
    pasted = "log_format main '$remote_addr [$time_local] '\n\t'\"$request\"';"
    config = read(f"format = '''{pasted}'''")
    assert line_format(config.format).parse(b'192.0.2.1 [10/Mar/2026:12:00:00 +0000] "POST /x"')
    assert "control characters" in only('format = "%h\\n%t %r"')


TABS = b'192.0.2.1\t[10/Mar/2026:12:00:00 +0000]\t"POST /x"'


@pytest.mark.parametrize("gap", [" ", "\t", "\n", "\r\n", "\n\t"])
def test_a_pasted_log_format_has_any_gaps_and_keeps_its_tabs(gap):
    """Between its words and parts any white space may stand; a tab in quotes is the log's."""
    pasted = f"log_format{gap}main{gap}''{gap}'$remote_addr\t'{gap}'[$time_local]\t\"$request\"';"
    assert line_format(read(f"format = '''{pasted}'''").format).parse(TABS)


def test_a_format_may_hold_tabs():
    """As they stand, or as servers write them."""
    for tab in ("\t", "\\t", "\\\\t"):
        assert line_format(read(f'format = "%h{tab}%t{tab}\\"%r\\""').format).parse(TABS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_known_format_is_named(name):
    """Each that is documented; a name like no other is reported with all of them."""
    assert read(f'format = "{name}"').format == name
    assert only('format = "qqqq"') == (
        f'a.toml: format = "qqqq": one of {", ".join(FORMATS)}; or a string'
        " with % (Apache LogFormat) or $ (nginx log_format)"
    )


# The defaults and the example


def test_defaults_are_those_of_the_contract():
    """Other tools rely on these values, so they are written down twice."""
    config = Config()
    assert config.logs == ("/var/log/nginx/*access*.log", "/var/log/apache2/*access*.log")
    assert config.format == "auto"
    assert config.allow == ("127.0.0.0/8", "::1")
    assert (config.ban_private, config.ban_proxies, config.dry_run) == (False, False, False)
    assert (config.lookback, config.remember) == (HOUR, 90 * DAY)
    assert (config.ipv6_prefix, config.max_tracked) == (64, 1_000_000)
    assert config.state == "/var/lib/xmlrpc-blocker/state.db"
    assert config.control == "/run/xmlrpc-blocker/control.sock"
    assert dict(config.traps) == {"xmlrpc": TrapConfig(), "wordpress": WORDPRESS}
    assert config.firewall == FirewallConfig(
        table="xmlrpc_blocker", ports=(80, 443), set_size=1_048_576
    )
    assert config.metrics.listen == "127.0.0.1:9947"


def test_default_trap_is_that_of_the_contract():
    """Three POSTs to xmlrpc.php within an hour cost a day."""
    trap = TrapConfig()
    assert (trap.path, trap.methods, trap.maxretry) == ("/xmlrpc.php", ("POST",), 3)
    assert (trap.findtime, trap.bantime, trap.max_bantime) == (HOUR, DAY, 30 * DAY)
    assert trap.bantime_factor == 1


def test_example_is_the_default_configuration():
    """Who copies the example as it is changes nothing."""
    assert parse([("example", example())]) == Config()


def test_example_shows_every_key_with_its_meaning():
    """No key can be added without being shown and explained."""
    lines = example().splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# ")
    keys = re.findall(r"(?m)^([a-z0-9_]+) = ", example())
    tables = (Config, TrapConfig, FirewallConfig, MetricsConfig, OriginsConfig)
    attributes = [name for table in tables for name in table.__slots__]
    tables = {"traps", "log", "firewall", "metrics", "origins", "__weakref__"}
    assert set(keys) == set(attributes) - tables


def test_the_default_trap_of_events_is_that_of_the_contract():
    """Three failed logins or pingbacks in an hour are a ban of a day."""
    trap = Config().traps["wordpress"]
    assert (trap.kind, trap.path, trap.methods) == ("event", "", ())
    assert trap.events == ("login", "multicall", "pingback")
    assert (trap.maxretry, trap.findtime, trap.bantime) == (3, HOUR, DAY)


def test_a_trap_is_of_the_kind_that_its_keys_say():
    """A path makes one of requests, events make one of events; both are a mistake."""
    text = '[trap.a]\nevents = ["users"]\n[trap.b]\npath = "/b.php"\n[trap.wordpress]\npath = "/c"'
    kinds = {name: trap.kind for name, trap in read(text).traps.items()}
    assert kinds == {"xmlrpc": "access", "a": "event", "b": "access", "wordpress": "access"}
    assert only('[trap.a]\nevents = ["users"]\npath = "/a"') == (
        'a.toml: trap.a = a table: a trap of the kind "access" has no events: kind = "event" has'
    )
    assert only('[trap.wordpress]\nkind = "event"\nmethods = ["GET"]') == (
        'a.toml: trap.wordpress = a table: a trap of the kind "event" has no methods: kind ='
        ' "access" has'
    )


def test_a_trap_of_events_names_them():
    """Only the default one has an answer of its own."""
    assert only('[trap.a]\nkind = "event"') == (
        'a.toml: trap.a.events = (not given): a list, such as ["login", "pingback"]'
    )
    assert only('[trap.a]\nevents = ["logins"]') == (
        'a.toml: trap.a.events holds "logins": did you mean login?'
    )
    assert 'trap.a.kind = a list: "access" for' in only('[trap.a]\nkind = ["event"]\npath = "/a"')


@pytest.mark.parametrize("name", ["journal", "/var/log/auth.log", "unix:/run/events.sock"])
def test_events_come_from(name):
    """The journal, a file of a syslog daemon, or a socket."""
    config = read(f'events = ["{name}"]')
    assert config.events == (name,)
    assert config.patterns == (*Config().logs, name)
    assert config.own_formats == ((name, "events"),)


@pytest.mark.parametrize("name", ["udp:127.0.0.1:5140", "fifo:/run/a", "-", "journal:a.service"])
def test_events_do_not_come_from(name):
    """A source that does not say who reports, or whose place is not kept."""
    assert 'write "journal", the path of a file' in only(f'events = ["{name}"]')


def test_a_log_of_events_is_no_access_log():
    """One of the two would not be read."""
    assert only('logs = ["/var/log/a"]\nevents = ["/var/log/a"]') == (
        'a.toml: events holds "/var/log/a", which is an access log, too: name it once'
    )


def test_an_unused_trap_of_events_does_not_lengthen_the_lookback():
    """Without a source of events its findtime is of no use."""
    short = '[trap.xmlrpc]\nfindtime = "5m"\n'
    assert read(short).lookback == 5 * MINUTE
    assert read(f'events = ["journal"]\n{short}').lookback == HOUR


def test_example_in_the_documentation_is_the_generated_one():
    """docs/config.example.toml is written by the program, not by hand."""
    assert (ROOT / "docs/config.example.toml").read_text() == example()


def test_nothing_to_read_loads_nothing():
    """Offline commands start quickly: defaults need neither cattrs nor tomllib."""
    code = (
        "import sys; from blocker.config.parse import parse; parse([]);"
        "print([name for name in ('cattrs', 'tomllib', 'difflib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_configuration_is_frozen():
    """No part changes a setting behind the back of the others."""
    with pytest.raises(FrozenInstanceError):
        Config().dry_run = True
    with pytest.raises(TypeError):
        Config().traps["other"] = TrapConfig()


# Reading


def test_values_are_read():
    """Every kind of value arrives as what it means."""
    config = read(
        """
        logs = ["/srv/*/access.log"]
        format = "%h %l %u %t \\"%r\\" %>s %b"
        allow = ["192.0.2.1", "2001:db8::/32", "@jetpack"]
        dry_run = true
        lookback = "2d"
        [firewall]
        ports = "all"
        [metrics]
        listen = false
        """
    )
    assert config.logs == ("/srv/*/access.log",)
    assert config.format.startswith("%h")
    assert config.allow == ("192.0.2.1", "2001:db8::/32", "@jetpack")
    assert config.dry_run
    assert config.lookback == 2 * DAY
    assert config.firewall.ports == "all"
    assert config.metrics.listen == ""


def test_keys_not_given_keep_their_defaults():
    """A trap of which one value is set is otherwise the default trap."""
    assert read("[trap.xmlrpc]\nmaxretry = 5").traps["xmlrpc"] == TrapConfig(maxretry=5)


def test_a_further_trap_needs_only_a_path():
    """A new trap inherits the defaults of all but its path, and comes after the default one."""
    config = read('[trap.login]\npath = "/wp-login.php"')
    assert list(config.traps) == ["xmlrpc", "login", "wordpress"]
    assert config.traps["login"] == TrapConfig(path="/wp-login.php")


def test_lookback_follows_the_longest_findtime():
    """Unless it is set, a new log is read back as far as any window reaches."""
    text = '[trap.xmlrpc]\nfindtime = "3h"\n[trap.b]\npath = "/b.php"\nfindtime = "5h"'
    assert read(text).lookback == 5 * HOUR
    assert read('lookback = "1m"\n' + text).lookback == MINUTE


def test_allow_is_normalised_and_said_once():
    """However an address is spelled, it is kept in one form."""
    assert read('allow = ["FD00::/8"]').allow == ("fd00::/8",)
    assert read('allow = ["2001:DB8:0::1", "2001:db8::1", "192.0.2.1/32"]').allow == (
        "2001:db8::1",
        "192.0.2.1/32",
    )


@pytest.mark.parametrize(
    ("listen", "normal", "endpoint"),
    [
        ("127.0.0.1:9947", "127.0.0.1:9947", ("127.0.0.1", 9947)),
        ("localhost:80", "127.0.0.1:80", ("127.0.0.1", 80)),
        ("192.0.2.1:65535", "192.0.2.1:65535", ("192.0.2.1", 65535)),
        ("127.0.0.1:99", "127.0.0.1:99", ("127.0.0.1", 99)),
        ("[::1]:9947", "[::1]:9947", ("::1", 9947)),
        ("[0:0::1]:09947", "[::1]:9947", ("::1", 9947)),
        ("unix:/run/m.sock", "unix:/run/m.sock", "/run/m.sock"),
        ("", "", None),
    ],
)
def test_listen_is_read_in_all_its_forms(listen, normal, endpoint):
    """An address and port, a socket, or nothing."""
    metrics = read(f'[metrics]\nlisten = "{listen}"').metrics
    assert (metrics.listen, metrics.endpoint) == (normal, endpoint)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h", 3600),
        ("1d", 86400),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1w1d1h1m1s", 694_861),
        ("90", 90),
        (1e-6, 1e-6),
        (90, 90),
        (0.5, 0.5),
        ("3650d", 315_360_000),
        ("315360000", 315_360_000),
        (315_360_000.0, 315_360_000),
        ("315360000s", 315_360_000),
    ],
)
def test_durations_are_read(value, seconds):
    """Units in falling order; a plain number is seconds."""
    assert duration(value) == seconds * SECOND


@pytest.mark.parametrize(
    "value",
    [
        *("", "0", "0s", "-1", "1x", "1H", "30m1h", "1h 30m", "1.5h", "3651d", "9999999999s"),
        *("\u0661s", "\u0661", "0000000090", "1s1s", " 1s", "1s ", 1e308, -1e308, -1.5),
        *(0, -1, True, None, [], float("nan"), float("inf"), 1e300, 1e-9, 10**400),
    ],
)
def test_what_is_no_duration_is_refused(value):
    """Zero, negative, endless, without a known unit or in the wrong order: no duration."""
    with pytest.raises(ValueError, match="such as"):
        duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90, "1m30s"),
        (3600, "1h"),
        (5400, "1h30m"),
        (86400, "1d"),
        (1_209_600, "2w"),
        (0, "0s"),
        (604_800, "1w"),
        (864_000, "10d"),
        (694_800, "8d1h"),
        (1_209_601, "14d1s"),
        (60, "1m"),
        (1, "1s"),
        (90_061, "1d1h1m1s"),
        (1.9, "1s"),
    ],
)
def test_durations_are_written(seconds, text):
    """A duration is written in the way that people write it."""
    assert format_duration(round(seconds * SECOND)) == text


# Several files


def test_tables_merge_and_later_values_replace():
    """A file in conf.d changes what it names and leaves the rest."""
    config = parse(
        [
            ("a", 'logs = ["/a", "/b"]\n[trap.xmlrpc]\nmaxretry = 5\nfindtime = "2h"'),
            ("b", 'logs = ["/c"]\n[trap.xmlrpc]\nmaxretry = 7\n[firewall]\nports = [80]'),
        ]
    )
    assert config.logs == ("/c",)
    assert config.traps["xmlrpc"] == TrapConfig(maxretry=7, findtime=2 * HOUR)
    assert config.firewall == FirewallConfig(ports=(80,))


def test_allow_is_the_union_in_order():
    """A file can add a friend without knowing of the others."""
    config = parse([("a", 'allow = ["192.0.2.1"]'), ("b", 'allow = ["@jetpack", "192.0.2.1"]')])
    assert config.allow == ("192.0.2.1", "@jetpack")


def test_what_a_later_file_puts_in_the_place_of_a_wrong_value_is_what_counts():
    """A table is no exception: only known tables are merged."""
    first, second = "[trap.xmlrpc]\nmaxretry = {x = 1}", "[trap.xmlrpc]\nmaxretry = {y = 1}"
    (found,) = mistakes(first, second)
    assert found.startswith("b.toml: trap.xmlrpc.maxretry = a table")
    documents = [("a", first), ("b", "[trap.xmlrpc]\nmaxretry = 5")]
    assert parse(documents).traps["xmlrpc"].maxretry == 5


@pytest.mark.parametrize("value", ["3", '"192.0.2.2"', "{ x = 1 }"])
def test_what_is_no_list_is_not_added_to_that_of_another_file(value):
    """It is refused, in the file that has it."""
    (found,) = mistakes('allow = ["192.0.2.1"]', f"allow = {value}")
    assert found.startswith("b.toml: allow = ")
    assert found.endswith(': a list, such as ["192.0.2.0/24"]')


def test_a_mistake_is_reported_with_its_own_file():
    """Of several files, the one that holds the mistake is named."""
    found = mistakes("[trap.xmlrpc]\nmaxretry = 0", "[trap.xmlrpc]\nbantime = 0", "dry_run = 1")
    assert [line.partition(":")[0] for line in found] == ["a.toml", "b.toml", "c.toml"]


def test_a_mistake_in_allow_is_reported_with_its_own_file():
    """The lists are joined, and still it is known who wrote what."""
    found = mistakes('allow = ["192.0.2.1", "x"]', 'allow = ["y"]')
    assert [line[:18] for line in found] == ["a.toml: allow hold", "b.toml: allow hold"]
    assert ['"x"' in found[0], '"y"' in found[1]] == [True, True]


# Mistakes


def test_all_mistakes_are_reported_at_once():
    """It is not necessary to fix one to learn of the next."""
    found = mistakes(
        'dry_run = "yes"\nunknown = 1\nallow = ["x", 3]\n[trap.b]\nmaxretry = true\n'
        "[firewall]\nports = [0, 80]\nset_size = -1\n",
        "lookback = [\n",
    )
    assert len(found) == 9


def test_an_unknown_key_is_reported_with_the_nearest_right_one():
    """A misspelled key is refused, for it would be without effect."""
    assert only("[trap.xmlrpc]\nmaxretri = 3") == (
        "a.toml: trap.xmlrpc.maxretri: unknown key; did you mean maxretry?"
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("maxretries = 3", "maxretry, under [trap.xmlrpc]?"),
        ("ban_time = 3", "bantime, under [trap.xmlrpc]?"),
        ("webconfig = 3", "web_config, under [metrics]?"),
        ("[trap.xmlrpc]\ndryrun = true", "dry_run, at the top, above all tables?"),
        ("[metrics]\nprot = 80", "ports, under [firewall]?"),
        ("[firewall]\nTabel = 80", "table?"),
        ("[metric]\nlisten = false", "metrics?"),
        ("[trapp.x]", "trap?"),
    ],
)
def test_the_nearest_key_may_belong_elsewhere(text, meant):
    """The closest of all keys is named, with its table."""
    assert only(text).endswith(f"unknown key; did you mean {meant}")


def test_a_key_in_the_wrong_table_is_refused_with_where_it_belongs():
    """The commonest mistake in TOML is a key above or below its table."""
    assert only("maxretry = 3").endswith("unknown key here; it belongs under [trap.xmlrpc]")
    assert only("[firewall]\nlisten = 3").endswith("it belongs under [metrics]")
    assert only("[metrics]\ndry_run = true").endswith("it belongs at the top, above all tables")
    assert only("asn_db = '/x'").endswith("it belongs under [origins]")
    assert only("ports = [80]").endswith("it belongs under [firewall]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'ignoreip = "127.0.0.1/8"',
            "a.toml: ignoreip: unknown key; it is `allow` here, at the top",
        ),
        (
            '[trap.xmlrpc]\nignoreip = "::1"',
            "it is `allow` here, at the top of the file, above all",
        ),
        ('[DEFAULT]\nignoreip = "x"', "DEFAULT: unknown key; a section of fail2ban's"),
        ('logpath = "/var/log/nginx/access.log"', "logpath: unknown key; it is `logs` here"),
        ('[trap.xmlrpc]\nfailregex = "^<HOST>"', "trap.xmlrpc.failregex: unknown key; not needed:"),
        ('filter = "wordpress"', "a trap is a `path` and its `methods`"),
        ('banaction = "nftables"', "[firewall] says which ports"),
        ("[trap.xmlrpc]\nmaxlines = 1", "trap.xmlrpc.maxlines: unknown key; not needed: each line"),
        ("bantime_increment = true", "it is `bantime_factor` here"),
        ("bantime-maxtime = 1", "it is `max_bantime` here"),
        ('dbfile = "/x"', "it is `state` here"),
        ('usedns = "warn"', "names are never resolved"),
        ('port = "http,https"', "it is `firewall.ports` here"),
        ('[firewall]\nport = "http"', "firewall.port: unknown key; it is `firewall.ports` here"),
        ('backend = "polling"', "the kernel says when they change"),
        ("enabled = true", "every configured trap is active"),
        ('[trap.xmlrpc]\naction = "%(action_)s"', "not needed: bans go into an nftables set"),
        ("ignoreself = true", "the addresses of this host are never banned"),
        ('dbpurgeage = "1d"', "it is `remember` here"),
        ('datepattern = "%Y"', "see `format`"),
    ],
)
def test_a_key_of_fail2ban_is_refused_with_its_name_here(text, said):
    """Most configurations are translated from a jail, by people who know its words."""
    assert said in only(text)


def test_the_dotted_keys_of_fail2ban_are_reported_one_by_one():
    """In TOML ``bantime.increment`` makes a table of ``bantime``, wherever it stands."""
    dotted = "bantime.increment = true\nbantime.maxtime = 9\n"
    first, second = mistakes(f"[trap.xmlrpc]\n{dotted}")
    assert first.startswith("a.toml: trap.xmlrpc.bantime.increment: it is `bantime_factor` here")
    assert second.startswith("a.toml: trap.xmlrpc.bantime.maxtime: it is `max_bantime` here")
    assert [line.partition(": ")[2].partition(":")[0] for line in mistakes(dotted)] == [
        "bantime",
        "bantime.increment",
        "bantime.maxtime",
    ]


@pytest.mark.parametrize(
    "text",
    ["ignoreip = 127.0.0.1/8", "dry_run = true\nignoreip = 127.0.0.1/8 ::1\nlogs = []",
     "ignoreip =\n", "  ignoreip = %(x)s", 'dry_run = true\nignoreip = ["::1"\nx = 1',
     "ignoreip=::1", "\n" * 18 + "ignoreip = ::1", "[ignoreip = ::1"],
)  # fmt: skip
def test_a_line_of_fail2ban_is_recognised_though_it_is_no_toml(text):
    """Its values have no quotes, so that the file can't be read at all."""
    line = only(text)
    assert "not TOML" in line
    assert "it is `allow` here" in line


def test_a_line_of_fail2bans_above_is_not_blamed_for_another():
    """Only the line of the mistake is looked at, and the one before, whose value may not end."""
    mistake = "Invalid value (at line 3, column 5)"
    assert only('ignoreip = "x"\na = 1\nb = ?') == f"a.toml: not TOML: {mistake}"
    assert "as for this key: it is `allow`" in only('a = 1\nignoreip = "x"\nb = ?')


def test_every_word_of_fail2bans_is_unknown_here():
    """What is known here needs no translation, and each advice is one line without its own key."""
    known = {
        name
        for cls in (Config, TrapConfig, FirewallConfig, MetricsConfig, OriginsConfig)
        for name in fields_of(cls)
    }
    assert not (known - {"bantime_factor"}) & set(fail2ban.WORDS)
    for advice in fail2ban.WORDS.values():
        assert advice.isprintable()
        for named in re.findall(r"`([a-z_.]+)`", advice):
            assert named.rpartition(".")[2] in known, named


def fields_of(cls):
    return [each.name for each in fields(cls)]


def test_an_unknown_key_like_no_other_is_refused_with_what_is_known():
    """Where nothing is near, the known keys are listed."""
    assert only("[firewall]\nqqq = 3").endswith("unknown key; known are table, ports, set_size")
    assert only("qqqq = 3").startswith("a.toml: qqqq: unknown key; known are trap, logs, format, ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dry_run = 1", "dry_run = 1: write true or false"),
        ('dry_run = "yes"', 'dry_run = "yes": write true or false'),
        ("max_tracked = true", "max_tracked = true: a whole number from 1"),
        ("max_tracked = 1.0", "max_tracked = 1.0: a whole number from 1"),
        ("max_tracked = 0x" + "f" * 40, "a number beyond 64 bits: a whole number"),
        ("ipv6_prefix = 31", "from 32 to 128"),
        ("ipv6_prefix = 129", "from 32 to 128"),
        ("remember = 2020-01-01", "remember = 2020-01-01: a duration"),
        ('logs = "/var/log/a"', "a list, such as"),
        ("logs = []", "logs = a list: a list, such as"),
        ('logs = ["access.log"]', "write the whole path"),
        ('logs = ["/a\\u0000"]', "control characters"),
        ('logs = ["/a\\u007f"]', "control characters"),
        ('format = "combine"', "did you mean combined?"),
        ("format = 1", "one of auto, common"),
        ('state = "state.db"', "from / on"),
        ('state = "/var/lib/"', "from / on"),
        ('control = "/' + "x" * 107 + '"', "at most 107 bytes"),
        ("metrics = 3", "metrics = 3: a table"),
        ("trap = 3", "trap = 3: a table of traps"),
        ("[trap]\nxmlrpc = 3", "trap.xmlrpc = 3: a table"),
        ("[trap]\nwp = 3", "trap.wp = 3: a table, with keys of its own"),
        ("[trap.manual]\npath = '/x'", 'not "manual"'),
        ("[trap.5]", "trap.5 = a table: a trap is named"),
        ("[trap.Ab]\npath = '/x'", "small letters"),
        ("[trap.wp]", 'trap.wp.path = (not given): the end of a path, such as "/xmlrpc.php"'),
        ("[trap.xmlrpc]\nbantime_factor = 0.5", "from 1 to 1000"),
        ("[trap.xmlrpc]\nbantime_factor = nan", "from 1 to 1000"),
        ("[trap.xmlrpc]\nbantime_factor = true", "from 1 to 1000"),
        ("[trap.xmlrpc]\nbantime_factor = '2'", "from 1 to 1000"),
        ("[trap.xmlrpc]\nmethods = []", "a list, such as"),
        ('[trap.xmlrpc]\nmethods = ["post"]', 'in capitals: "POST"'),
        ("[firewall]\nports = 80", 'or "all"'),
        ("[firewall]\nports = [65536]", "from 1 to 65535"),
        ("[firewall]\nports = [true]", "from 1 to 65535"),
        ("[firewall]\ntable = 'Table'", "small letters"),
        ("[firewall]\ntable = '1a'", "led by a letter"),
        ("[firewall]\ntable = ''", "led by a letter"),
        ("[firewall]\ntable = '_a'", "led by a letter"),
        ("[firewall]\ntable = 5", "led by a letter"),
        ("[firewall]\ntable = 'filter'", "another program"),
        ("[metrics]\nlisten = '9947'", "address:port"),
        ("[metrics]\nlisten = '::1:9947'", "address:port"),
        ("[metrics]\nlisten = '[127.0.0.1]:9947'", "address:port"),
        ("[metrics]\nlisten = '127.0.0.1:65536'", "address:port"),
        ("[metrics]\nlisten = '127.0.0.1:000080'", "address:port"),
        ("[metrics]\nlisten = '127.0.0.1:'", "address:port"),
        ("[metrics]\nlisten = '[::1:9947'", "address:port"),
        ("[metrics]\nlisten = '::1]:9947'", "address:port"),
        ("[metrics]\nlisten = 'x::1]:9947'", "address:port"),
        ("[metrics]\nlisten = '[::1x:9947'", "address:port"),
        ("[metrics]\nlisten = 9947", "address:port"),
        ("[metrics]\nlisten = 'example.org:80'", "address:port"),
        ("[metrics]\nlisten = true", "address:port"),
        ("[metrics]\nlisten = 'unix:m.sock'", "from / on"),
    ],
)
def test_a_wrong_value_is_reported_with_what_is_right(text, said):
    """Wrong types, ranges and forms are refused with key, value and advice."""
    assert said in only(text)


# Limits: the last value that is accepted, and the next one, which is not


def value_of(config, key):
    """Return what the configuration holds under the full name of a key."""
    for name in key.split("."):
        config = config.traps["xmlrpc"] if name == "trap" else config
        config = config if name in {"trap", "xmlrpc"} else getattr(config, name)
    return config


@pytest.mark.parametrize(
    ("key", "lowest", "highest"),
    [
        ("ipv6_prefix", 32, 128),
        ("max_tracked", 1, 100_000_000),
        ("max_remembered", 1, 100_000_000),
        ("trap.xmlrpc.maxretry", 1, 10_000),
        ("firewall.set_size", 1, 16_777_216),
        ("metrics.top_offenders", 0, 100),
    ],
)
def test_a_number_is_accepted_up_to_its_limits_and_no_further(key, lowest, highest):
    """Each with its own; what is refused is reported with both."""
    for value in (lowest, highest):
        assert value_of(read(f"{key} = {value}"), key) == value
    for value in (lowest - 1, highest + 1):
        assert only(f"{key} = {value}") == (
            f"a.toml: {key} = {value}: a whole number from {lowest} to {highest}, without quotes"
        )


@pytest.mark.parametrize(
    "key",
    ["lookback", "remember", "trap.xmlrpc.findtime", "trap.xmlrpc.bantime",
     "trap.xmlrpc.max_bantime"],
)  # fmt: skip
def test_a_duration_is_accepted_up_to_ten_years(key):
    """And above zero."""
    for text, length in (("1s", SECOND), ("3650d", 3650 * DAY)):
        assert value_of(read(f'{key} = "{text}"'), key) == length
    for text in ("0s", "3650d1s"):
        assert only(f'{key} = "{text}"') == (
            f'a.toml: {key} = "{text}": a duration above zero and up to ten years, such as "90s",'
            ' "5m", "1h30m", "2w"'
        )


def test_a_factor_is_accepted_from_1_to_1000():
    """Below, bans would become shorter with each offence."""
    key = "trap.xmlrpc.bantime_factor"
    for value in (1, 1.5, 1000):
        assert value_of(read(f"{key} = {value}"), key) == value
    for value in (0.999, 1000.001):
        said = f"a.toml: {key} = {value}: a number from 1 to 1000, without quotes"
        assert only(f"{key} = {value}") == said


@pytest.mark.parametrize(
    "key", ["ban_private", "ban_proxies", "dry_run", "metrics.per_log"]
)  # fmt: skip
def test_a_switch_is_true_or_false(key):
    """Nothing else, lest a slip turn on what should be off."""
    for text, value in (("true", True), ("false", False)):
        assert value_of(read(f"{key} = {text}"), key) is value
    for text in ("1", "0", '"true"', '""', "[]"):
        shown = "a list" if text == "[]" else text
        assert only(f"{key} = {text}") == (
            f"a.toml: {key} = {shown}: write true or false, without quotes"
        )


@pytest.mark.parametrize(
    ("key", "may_be_empty"),
    [("state", False), ("control", False), ("metrics.web_config", True),
     ("origins.country_db", True), ("origins.asn_db", True)],
)  # fmt: skip
def test_a_file_is_named_by_its_whole_path(key, may_be_empty):
    """The daemon's working directory is none that an administrator would think of."""
    assert value_of(read(f'{key} = "/x/y z"'), key) == "/x/y z"
    for path in ("x/y", "/x/", "/"):
        assert only(f'{key} = "{path}"') == (
            f'a.toml: {key} = "{path}": write the whole path of a file, from / on'
        )
    if may_be_empty:
        assert value_of(read(f'{key} = ""'), key) == ""
    else:
        assert only(f'{key} = ""') == f'a.toml: {key} = "": the path of a file'


@pytest.mark.parametrize(
    ("key", "prefix", "most"),
    [
        ("state", "/", 4096),
        ("control", "/", 107),
        ("metrics.listen", "unix:/", 112),
        ("firewall.table", "", 32),
    ],
)
def test_a_text_is_accepted_up_to_its_length_and_no_longer(key, prefix, most):
    """As long as the kernel, or the file system, lets it be."""
    longest = prefix + "x" * (most - len(prefix))
    assert value_of(read(f'{key} = "{longest}"'), key) == longest
    assert only(f'{key} = "{longest}x"').startswith(f"a.toml: {key} = ")


def test_a_method_has_up_to_32_characters():
    """Longer ones are known to no server."""
    for name in ("A", "Z", "ZZ", "X-9_A", "M" * 32):
        assert read(f'trap.xmlrpc.methods = ["{name}"]').traps["xmlrpc"].methods == (name,)
    for name in ('""', '"9"', '"-A"', '"A B"', f'"{"M" * 33}"', "5"):
        assert only(f"trap.xmlrpc.methods = [{name}]") == (
            f"a.toml: trap.xmlrpc.methods holds {name}: a method of HTTP in capitals"
        )
    for name in ("post", "m" * 32):
        assert only(f'trap.xmlrpc.methods = ["{name}"]') == (
            f'a.toml: trap.xmlrpc.methods holds "{name}": a method of HTTP in capitals:'
            f' "{name.upper()}"'
        )


@pytest.mark.parametrize("name", ["a", "z", "az9_x"])
def test_a_table_may_be_named_so(name):
    """As long as it is one of its own."""
    config = read(f'firewall.table = "{name}"')
    assert table_name(config.firewall.table) == name


@pytest.mark.parametrize(
    "name", ["crowdsec", "filter", "firewalld", "fw4", "mangle", "nat", "raw", "security"]
)
def test_the_table_of_another_program_is_refused(name):
    """Loading ours over it would be an accident, and deleting it a worse one."""
    assert only(f'firewall.table = "{name}"') == (
        f'a.toml: firewall.table = "{name}": usually the table of another program; choose a name of'
        " its own"
    )


def test_a_port_is_from_1_to_65535():
    """Or all of them."""
    assert read("firewall.ports = [1, 65535]").firewall.ports == (1, 65535)
    for port in (0, 65536):
        assert only(f"firewall.ports = [80, {port}]") == (
            f"a.toml: firewall.ports holds {port}: a whole number from 1 to 65535, without quotes"
        )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "a number beyond 64 bits"),
        ("'" + "x" * 118 + "'", '"' + "x" * 118 + '"'),
        ("'" + "x" * 119 + "'", '"' + "x" * 119 + "…"),
        (r"""'a\b"c'""", r'"a\\b\"c"'),
        (r'"\u0085\u202e\n"', r'"\x85\u202e\n"'),
        ("true", "true"),
        ("2.50", "2.5"),
        ("[1]", "a list"),
        ("{ a = 1 }", "a table"),
    ],
)
def test_a_wrong_value_is_shown_in_one_short_line(text, shown):
    """As TOML has it, cut where it is long, with nothing that a terminal would obey."""
    said = "a whole number from 1 to 100000000, without quotes"
    assert only(f"max_tracked = {text}") == f"a.toml: max_tracked = {shown}: {said}"


def test_a_key_that_a_terminal_would_obey_is_shown_escaped():
    """Names are the file's, too."""
    assert only(r'"a\nb\u001b\u0027" = 1').startswith(r"a.toml: a\nb\x1b': unknown key; known are ")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "the end of a path"),
        ("xmlrpc.php", "begins with /"),
        ("/", "ends in a name"),
        ("/blog/", "ends in a name"),
        ("/x?y", "without query"),
        ("/x#y", "without query"),
        ("/%78", "decoded"),
        ("/a b", "or space"),
        ("/a//b", "no //"),
        ("/a/../b", "no //"),
        ("/./b", "no //"),
        ("/a.php/b", "never matches"),
    ],
)
def test_a_path_that_could_never_match_is_refused(path, said):
    """A trap's path is compared with simplified paths, so it must be one."""
    assert said in only(f'[trap.xmlrpc]\npath = "{path}"')


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("@jetpac", "did you mean @jetpack?"),
        ("@nobody-knows", "there are @akamai"),
        ("192.0.2.1/24", "the network is 192.0.2.0/24"),
        ("2001:db8::1/32", "the network is 2001:db8::/32"),
        ("192.0.2.0/255.255.255.0", "address/length"),
        ("192.0.2.0/33", "neither an address nor a network"),
        ("192.0.2", "neither an address"),
        ("158.108.45.1093", "neither an address"),
        ("example.org", "neither an address"),
        ("", "an address, a network or"),
        ("fe80::1%eth0", "leave the interface out: fe80::1"),
        ("::ffff:192.0.2.1", "read as IPv4 here: 192.0.2.1"),
        ("::ffff:192.0.2.0/120", "read as IPv4 here: 192.0.2.0/24"),
        ("::ffff:0.0.0.0/96", "read as IPv4 here: 0.0.0.0/0"),
        ("::1%eth0/64", "address/length"),
        ("192.0.2.0/", "address/length"),
        ("/24", "address/length"),
        ("192.0.2.0/0024", "address/length"),
        ("192.0.2.0/-1", "address/length"),
        ("1.2.3/24", "neither an address nor a network"),
    ],
)
def test_a_wrong_friend_is_reported_with_the_right_one(item, said):
    """A friend has to be named exactly: a slip would leave it out."""
    assert said in only(f'allow = ["{item}"]')


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = 1\nb = \n", "line 2"),
        ("a = 1\na = 2", "line 2"),
        ("a = [\n1,\n", "line 3"),
        ('a = "\x00"', "line 1"),
    ],
)
def test_a_mistake_of_syntax_is_reported_with_its_line(text, where):
    """What is not TOML is reported with file and line."""
    assert re.match(rf"a\.toml: not TOML: .*{where}", only(text))


def test_a_mistake_at_the_end_is_reported_with_the_last_line():
    """Python's reader says only "at end of document", which is no line that an editor has."""
    assert only("a = [\n1,\n") == "a.toml: not TOML: Invalid value (at line 3, the end)"


def test_a_number_that_python_would_not_read_is_refused():
    """Its error has no line in it."""
    assert only("a = " + "1" * 5000).startswith("a.toml: not TOML: Exceeds the limit (4300 digits)")


def test_the_other_files_are_checked_beside_one_that_is_no_toml():
    """One broken file hides nothing of the rest."""
    assert len(mistakes("[", "dry_run = 3")) == 2


def test_a_file_may_have_a_mebibyte_and_no_more():
    """A configuration has a ceiling, too."""
    assert read("#" * 1_048_576) == Config()
    assert only("#" * 1_048_577) == ("a.toml: larger than 1048576 characters: not a configuration")


def test_nesting_without_end_is_refused():
    """Deep nesting ends in a message, not in a crash."""
    assert "nested too deeply" in only("a = " + "[" * 50_000)
    assert only("a" + ".a" * 2_000 + " = 1").startswith("a.toml: a: unknown key")


def test_at_most_65_traps_are_allowed_the_default_ones_among_them():
    """Each trap is looked for in every line, so their number is limited."""
    named = [f"[trap.t{n}]\npath = '/x'\n" for n in range(64)]
    assert len(read("".join(named[:63])).traps) == 65
    assert only("".join(named)) == (
        "a.toml: trap = a table: at most 65 traps, the two default ones among them"
    )
    assert len(read("".join(named[:63]) + "[trap.xmlrpc]").traps) == 65


@pytest.mark.parametrize("name", ["a", "z", "az", "a-b_0", "z9", "x" * 32, "traps"])
def test_a_trap_may_be_named_so(name):
    """Small letters, digits, _ and -, up to 32 of them."""
    assert [*read(f"[trap.{name}]\npath = '/x'").traps] == ["xmlrpc", name, "wordpress"]


@pytest.mark.parametrize("name", ["manual", "0", "_a", "-a", "A", "aB", "x" * 33, '"a.b"', '""'])
def test_a_trap_may_not_be_named_so(name):
    """Its name stands in metrics and events; bans by hand are those of "manual"."""
    assert only(f"[trap.{name}]\npath = '/x'") == (
        f"a.toml: trap.{name.strip(chr(34))} = a table: a trap is named in small letters, digits,"
        ' _ and -, and not "manual"'
    )


# Words of warning

FIRST_COUNTS = "maxretry = 1: a single request is enough, a mistaken one of a visitor too."
TWICE = (
    'events: with "journal" leave the files of syslog out: they have the same lines again, so each'
    " failure counts twice."
)
OPEN = "metrics.listen: open to all who reach this host; ask for a password by web_config."


def test_the_default_configuration_gives_no_warning():
    """Who sets nothing has nothing to be warned of."""
    assert warnings(Config()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dry_run = true", "dry_run: bans are judged and reported, but no address is blocked."),
        (
            "ban_private = true",
            "ban_private: your own network, containers and a private proxy can be banned.",
        ),
        (
            "ban_proxies = true",
            "ban_proxies: a ban of a CDN or proxy blocks all clients that come through it.",
        ),
        (
            "[firewall]\nports = 'all'",
            'firewall.ports = "all": a banned address reaches no port of this host, not even SSH.',
        ),
        (
            "[trap.xmlrpc]\nmaxretry = 1",
            f"trap.xmlrpc: {FIRST_COUNTS}",
        ),
        (
            "[trap.wordpress]\nmaxretry = 1",
            f"trap.wordpress: {FIRST_COUNTS.replace('request', 'failure')}",
        ),
        (
            "events = ['journal', '/var/log/auth.log']",
            TWICE,
        ),
        (
            "[trap.wp]\npath = '/x'\nbantime = '2d'\nmax_bantime = '1d'",
            "trap.wp: bantime 2d is longer than max_bantime: bans last 1d.",
        ),
        ("allow = ['0.0.0.0/0']", "allow holds 0.0.0.0/0: no address in it is ever banned."),
        ("allow = ['::/0']", "allow holds ::/0: no address in it is ever banned."),
        (
            "allow = ['::/0', '10.0.0.0/8', '0.0.0.0/0']",
            "allow holds 0.0.0.0/0 and ::/0: no address in it is ever banned.",
        ),
        ("metrics.listen = '0.0.0.0:9947'", OPEN),
        ("metrics.listen = '[::]:9947'", OPEN),
        ("metrics.listen = '192.0.2.1:9947'", OPEN),
    ],
)
def test_what_is_allowed_but_dangerous_is_reported(text, said):
    """A bold setting is obeyed, with a word."""
    assert warnings(read(text)) == [said]


@pytest.mark.parametrize(
    "text",
    [
        "[firewall]\nports = [22, 80]",
        "[trap.xmlrpc]\nmaxretry = 2",
        "[trap.xmlrpc]\nbantime = '3d'\nmax_bantime = '3d'",
        "allow = ['0.0.0.0/1', '::/1']",
        "[metrics]\nlisten = '127.9.9.9:9947'",
        "[metrics]\nlisten = '[::1]:9947'",
        "[metrics]\nlisten = 'unix:/run/m.sock'",
        "[metrics]\nlisten = false",
        "events = ['journal', 'unix:/run/events.sock']",
        "events = ['/var/log/auth.log', '/var/log/auth-2.log']",
        "[metrics]\nlisten = '0.0.0.0:9947'\nweb_config = '/etc/web.yml'",
    ],
)
def test_what_is_not_dangerous_gives_no_warning(text):
    """The next value beside one that does."""
    assert warnings(read(text)) == []


# Files


def test_no_files_are_the_defaults(tmp_path):
    """It works with no configuration at all."""
    assert files.load(directory=tmp_path / "missing") == Config()


def test_files_are_read_in_order(tmp_path):
    """config.toml comes first, then conf.d in lexical order; other files are left alone."""
    (tmp_path / "config.toml").write_text("ipv6_prefix = 48\nmax_tracked = 1")
    parts = tmp_path / "conf.d"
    parts.mkdir()
    (parts / "10-a.toml").write_text("max_tracked = 10")
    (parts / "9.toml").write_text("max_tracked = 9")
    (parts / ".hidden.toml").write_text("max_tracked = 11")
    (parts / "old.toml~").write_text("max_tracked = 12")
    config = files.load(directory=tmp_path)
    assert (config.ipv6_prefix, config.max_tracked) == (48, 9)


def test_a_named_file_is_read_alone(tmp_path):
    """--config FILE ignores the directory."""
    (tmp_path / "config.toml").write_text("ipv6_prefix = 48")
    named = tmp_path / "other.toml"
    named.write_text("\ufeffmax_tracked = 7", encoding="utf-8")
    config = files.load(named, directory=tmp_path)
    assert (config.ipv6_prefix, config.max_tracked) == (64, 7)


def test_a_named_file_must_exist(tmp_path):
    """Who names a file means it."""
    with pytest.raises(ConfigError, match="No such file or directory; name a file that exists"):
        files.load(tmp_path / "missing.toml")


def test_a_link_that_leads_nowhere_is_reported(tmp_path):
    """A dangling config.toml is a mistake, not an absent configuration."""
    (tmp_path / "config.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"config\.toml: No such file"):
        files.load(directory=tmp_path)


def test_a_directory_is_no_file(tmp_path):
    """A directory in the place of a file is reported as such."""
    with pytest.raises(ConfigError, match="name a file, not a directory"):
        files.load(tmp_path)


def test_a_file_that_is_not_utf8_is_reported_with_its_line(tmp_path):
    """Bytes that are no text end in a message."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"# a\n# \xff\n")
    with pytest.raises(ConfigError, match="line 2 is not UTF-8"):
        files.load(path)


# The host's own addresses

FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
Local:
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 198.51.100.9
           /32 link UNICAST
           /32 host LOCAL
"""
IF_INET6 = (
    "00000000000000000000000000000001 01 80 10 80       lo\n"
    "20010db8000000000000000000000007 02 40 00 00     eth0\n"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('control = "/run/a.sock"\nx = [', "/run/a.sock"),
        ("  control='/run/a.sock' # here\n\0", "/run/a.sock"),
        ('control = "/run/a.sock"\ncontrol = "/run/b.sock"', "/run/b.sock"),
        ('[trap.x]\ncontrol = "/run/a.sock"', "/run/a.sock"),
        ('logs = [\n["/a"]\n]\ncontrol = "/run/a.sock"', "/run/a.sock"),
        ('control = "/run/a.sock\nx = 1', "/run/a.sock"),
        ("control = /run/a.sock # here", "/run/a.sock"),
        ('control = "/run/a#b.sock"\nx = [', "/run/a#b.sock"),
        ('control = "/run/a.sock"\ncontrol = "b.sock"', "/run/a.sock"),
        ('control = "/run/\\u0061"\nx = [', Config().control),
        ('# control = "/run/a.sock"\nx = [', Config().control),
        ('control = "a.sock"', Config().control),
        ("control = 5", Config().control),
        ("", Config().control),
    ],
)
def test_the_control_socket_of_a_broken_file_is_found(tmp_path, text, found):
    """Wherever it stands, though a quote may be missing; what is no path is not taken for one."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert files.salvaged(path).control == found
    assert files.salvaged(directory=tmp_path).control == found


@pytest.mark.parametrize(
    "text",
    [
        'state = "/srv/s.db"\n[firewall]\ntable = "mine"\n[trap',
        "firewall.table = \"mine\"\nstate = '/srv/s.db'\nx = [",
        'firewall = { table = "mine" }\nstate = "/srv/s.db',
    ],
)
def test_the_state_and_the_table_of_a_broken_file_are_found(tmp_path, text):
    """In the table, with a dotted key and inline."""
    (tmp_path / "config.toml").write_text(text)
    found = files.salvaged(directory=tmp_path)
    assert (found.state, found.firewall.table) == ("/srv/s.db", "mine")


def test_what_is_no_configuration_leaves_the_defaults(tmp_path):
    """A file that is missing or a directory says nothing, one with a byte that is no text does."""
    assert files.salvaged(tmp_path / "missing.toml") == Config()
    assert files.salvaged(tmp_path) == Config()
    (tmp_path / "config.toml").write_bytes(b'control = "/run/a.sock"\r\n\xff')
    assert files.salvaged(directory=tmp_path).control == "/run/a.sock"


def test_a_directory_of_further_files_that_cannot_be_listed_hides_no_socket(tmp_path):
    """The main file is read nevertheless."""
    (tmp_path / "config.toml").write_text('control = "/run/a.sock"')
    (tmp_path / "conf.d").symlink_to("conf.d")
    assert files.salvaged(directory=tmp_path).control == "/run/a.sock"


def test_own_addresses_are_found(tmp_path):
    """All local addresses of both families, each once, without loopback."""
    net = tmp_path / "self/net"
    net.mkdir(parents=True)
    (net / "fib_trie").write_text(FIB_TRIE)
    (net / "if_inet6").write_text(IF_INET6)
    assert host.own_addresses(tmp_path) == (
        bytes([192, 0, 2, 7]),
        bytes([198, 51, 100, 9]),
        bytes.fromhex("20010db8000000000000000000000007"),
    )


def test_link_local_addresses_come_and_go_unnoticed(tmp_path):
    """A container's are the host's own while they last, but no change worth a reload."""
    net = tmp_path / "self/net"
    net.mkdir(parents=True)
    (net / "fib_trie").write_text(FIB_TRIE.replace("198.51.100.9", "169.254.7.7"))
    (net / "if_inet6").write_text(IF_INET6)
    before = host.own_addresses(tmp_path)
    of_container = "fe80000000000000ac11c0fffe000001 0a 40 20 80  veth0\n"
    (net / "if_inet6").write_text(of_container + IF_INET6)
    after = host.own_addresses(tmp_path)
    assert set(after) - set(before) == {bytes.fromhex(of_container.split(maxsplit=1)[0])}
    assert host.lasting(after) == host.lasting(before)
    assert host.lasting(after) == {
        bytes([192, 0, 2, 7]),
        bytes.fromhex("20010db8000000000000000000000007"),
    }


def test_a_host_without_ipv6_has_own_addresses(tmp_path):
    """A kernel without IPv6 has no if_inet6, and that is no error."""
    net = tmp_path / "self/net"
    net.mkdir(parents=True)
    (net / "fib_trie").write_text(FIB_TRIE)
    assert len(host.own_addresses(tmp_path)) == 2
    assert host.own_addresses(tmp_path / "missing") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('state = "/s"\ncontrol = "/s"', 'control = "/s": state'),
        ('state = "/s"\ncontrol = "/a/../s"', 'control = "/a/../s": state'),
        ('state = "//s"\ncontrol = "/s"', 'control = "/s": state'),
        ('state = "/s"\ncontrol = "/s-wal"', 'control = "/s-wal": state'),
        ('state = "/s"\ncontrol = "/s-shm"', 'control = "/s-shm": state'),
        ('state = "/s"\ncontrol = "/s-journal"', 'control = "/s-journal": state'),
        ('state = "/s"\ncontrol = "/s.lock"', 'control = "/s.lock": state'),
        ('control = "/c"\n[metrics]\nlisten = "unix:/c"', 'metrics.listen = "unix:/c": control'),
        ('state = "/s"\n[metrics]\nlisten = "unix:/./s"', 'metrics.listen = "unix:/./s": state'),
    ],
)
def test_state_control_and_metrics_have_a_file_each(text, said):
    """However it is spelt, and the files beside the state are its own, too."""
    assert only(text) == f"a.toml: {said} has this file; choose another"


def test_with_events_a_strict_trap_of_requests_can_be_a_gate():
    """An offer, since it is no mistake; a wide gate and other paths get none."""
    said = (
        "trap.xmlrpc: WordPress reports its failures, so this trap can be a gate against floods"
        " that bans no user of a mobile app: consider maxretry = 300 (docs/wordpress.md)."
    )
    assert offers(read("events = ['journal']")) == [said]
    assert offers(read("events = ['journal']\n[trap.xmlrpc]\nmaxretry = 30")) == []
    assert offers(read("[trap.login]\npath = '/wp-login.php'")) == []
