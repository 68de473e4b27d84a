from hypothesis import given
from hypothesis import strategies as st

from blocker.config.lint import warnings
from blocker.config.parse import parse
from blocker.config.schema import Config
from blocker.errors import ConfigError
from blocker.times import MAX_DURATION, SECOND, duration, format_duration

KEYS = [
    "allow", "ban_private", "control", "firewall", "format", "lookback", "logs", "metrics",
    "remember", "state", "trap", "xmlrpc", "path", "methods", "maxretry", "findtime", "ports",
    "table", "listen", "set_size", "ipv6_prefix", "bantime_factor", "x y", "",
]  # fmt: skip

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
hints = st.sampled_from(["1h", "/x", "POST", "192.0.2.0/24", "::1", "@jetpack", "all", "a\x00b"])
scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(0, 200),
    st.floats(),
    text,
    hints,
    st.datetimes(),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), text), inner, max_size=4),
    ),
    max_leaves=8,
)
documents = st.dictionaries(st.one_of(st.sampled_from(KEYS), text), values, max_size=5)


def _quoted(value):
    escaped = "".join(
        char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}"
        for char in value
    )
    return f'"{escaped}"'


def _written(value):
    """Write a value as TOML, tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{_quoted(key)} = {_written(inner)}" for key, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, int | float):
        return repr(value)
    return value.isoformat()


def _document(table):
    return "".join(f"{_quoted(key)} = {_written(value)}\n" for key, value in table.items())


def _outcome(texts):
    """Parse, and return the configuration or the lines of the error; nothing else may happen."""
    try:
        config = parse([(f"{number}.toml", each) for number, each in enumerate(texts)])
    except ConfigError as error:
        lines = str(error).split("\n")
        assert all(line.partition(":")[0].removesuffix(".toml").isdigit() for line in lines)
        assert all(line.isprintable() for line in lines)
        return lines
    assert isinstance(config, Config)
    assert all(isinstance(word, str) for word in warnings(config))
    return config


@given(st.lists(documents, min_size=1, max_size=3))
def test_any_document_is_a_configuration_or_an_error(tables):
    """With any values under any keys, the outcome is a Config or a ConfigError."""
    _outcome([_document(table) for table in tables])


@given(st.lists(st.text(max_size=60), min_size=1, max_size=2))
def test_any_text_is_a_configuration_or_an_error(texts):
    """Text that is no TOML ends in a ConfigError, lone surrogates and NUL included."""
    _outcome(texts)


@given(
    st.sampled_from(["[", "{a=", "[[", "a.", "'''", '"', "0x", "1_", "\\u", "[a]\n[a.b]\n"]),
    st.integers(1, 5000),
)
def test_repetition_is_a_configuration_or_an_error(piece, times):
    """Depth and length do not bring the reader down."""
    _outcome(["a = " + piece * times, piece * times])


@given(
    st.lists(st.sampled_from(["192.0.2.1", "::1", "@jetpack", "10.0.0.0/8"]), max_size=4),
    st.lists(st.sampled_from(["192.0.2.1", "::1", "@sucuri", "fd00::/8"]), max_size=4),
)
def test_allow_is_the_union_of_the_files(first, second):
    """However the friends are spread over files, none is lost and the order stays."""
    config = _outcome([_document({"allow": first}), _document({"allow": second})])
    assert config.allow == tuple(dict.fromkeys(first + second))


@given(st.integers(1, MAX_DURATION // SECOND))
def test_durations_survive_writing_and_reading(seconds):
    """What is written is read as the same length."""
    assert duration(format_duration(seconds * SECOND)) == seconds * SECOND


@given(st.one_of(values, st.none(), st.text(max_size=20)))
def test_a_duration_is_a_positive_whole_number_or_refused(value):
    """No value at all makes a duration that is zero, negative, endless or broken."""
    try:
        length = duration(value)
    except ValueError:
        return
    assert type(length) is int
    assert 0 < length <= MAX_DURATION
