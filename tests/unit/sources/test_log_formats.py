"""Logs with formats of their own: which format a log has, and that it is read so."""

from pathlib import Path

import pytest

from blocker.analysis.reading import Reader
from blocker.analysis.replay import replay
from blocker.config.parse import parse
from blocker.config.schema import Config, LogConfig
from blocker.errors import ConfigError
from blocker.matching import matchers
from blocker.matching.matchers import Matchers
from blocker.sources.files.log_formats import LogFormats

OWN = """
[[log]]
path = "/data/logs/proxy-host-*_access.log"
format = "npm"
[[log]]
path = "/data/**/access.log"
format = "common"
"""
RULES = list(Config().traps.values())


def read(*texts):
    return parse([(f"{name}.toml", text) for name, text in zip("abc", texts, strict=False)])


def refused(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


# Which format a log has ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "log_format"),
    [
        ("/data/logs/proxy-host-1_access.log", "npm"),
        ("/data/logs/proxy-host-1_error.log", "json"),
        ("/data/access.log", "common"),
        ("/data/a/b/access.log", "common"),
        ("/data/a/.b/access.log", "json"),
        ("/var/log/nginx/access.log", "json"),
    ],
)
def test_the_first_log_whose_path_fits_decides(path, log_format):
    """Another one has the format of all."""
    config = read(f'format = "json"\n{OWN}')
    assert LogFormats(config.format, config.own_formats).of(path) == log_format


def test_all_patterns_are_followed_once():
    """Those of ``logs`` first, in the order in which they stand."""
    config = read(f'logs = ["/var/log/a.log", "/data/**/access.log"]\n{OWN}')
    own = "/data/logs/proxy-host-*_access.log"
    assert config.patterns == ("/var/log/a.log", "/data/**/access.log", own)
    assert read(OWN).patterns == (*Config().logs, own, "/data/**/access.log")


def test_tables_of_several_files_add_up():
    """Each file can bring the logs of one program."""
    other = '[[log]]\npath = "/srv/x.log"\n'
    config = read(OWN, other)
    assert config.log[-1] == LogConfig(path="/srv/x.log")
    assert len(config.log) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log = 5", "a.toml: log = 5: tables of logs, each under [[log]]"),
        ("[log]\npath = '/x'", "tables of logs, each under [[log]]"),
        ("log = [5]", "a table, with keys of its own"),
        ("[[log]]\nformat = 'json'", "the path of a log, or a pattern of paths"),
        ("[[log]]\npath = 'access.log'", "write the whole path"),
        ("[[log]]\npath = '/x'\nformat = 'jsn'", "json"),
        ("[[log]]\npath = '/x'\nformt = 'json'", "format"),
        ("[[log]]\npath = '/x'\nfields = {}", "a table of names, such as {address"),
        ("[[log]]\npath = '/x'\nfields = 'a'", "a table of names, such as {address"),
        ("[[log]]\npath = '/x'\nfields = {tim = 'ts'}", "tim is none of the fields"),
        ("[[log]]\npath = '/x'\nfields = {time = 't'}", "name address and request (or method"),
        ("[[log]]\npath = '/x'\nfields = {time = '$t'}", "time: the name of a member"),
        ("[[log]]\npath = '/x'\nfields = {time = 'a..b'}", "time: the name of a member"),
        ("[[log]]\npath = '/x'\nfields = {time = 5}", "a table of names"),
        (
            (
                "[[log]]\npath = '/x'\nformat = 'json'\n"
                "fields = {address = 'a', time = 't', request = 'r'}"
            ),
            "format and fields: write one of them",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_said(text, said):
    """With its key, as for every other table."""
    assert said in refused(text)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ("address = 'ip', time = 'ts', request = 'req'", '"ip":"%s","ts":%d,"req":"%s"'),
        (
            "address = 'c.ip', time = 'ts', request = 'r.l'",
            '"c":{"ip":"%s"},"ts":%d,"r":{"l":"%s"}',
        ),
        ("address = 'c.ip', time = 'ts', request = 'r'", '"c.ip":"%s","ts":%d,"r":"%s"'),
        (
            "address = 'a', time = 'b', method = 'c', target = 'd', status = 'e'",
            '"a":"%s","b":%d,"e":405,"c":"POST","d":"/xmlrpc.php","request":"%s"',
        ),
    ],
)
@pytest.mark.parametrize("shape", ["{%s}", '{"x":"\\x41",%s}', '{"remote_addr":"9.9.9.9",%s}'])
def test_json_lines_are_read_by_the_names_of_their_members(fields, line, shape):
    """In strict JSON and in what servers write; members of the usual names are not looked at."""
    own = read(f"[[log]]\npath = '/x'\nfields = {{{fields}}}").own_formats
    matcher = Matchers(RULES, LogFormats("auto", own)).of("/x")
    text = shape % (line % ("203.0.113.7", 1773144000, "POST /xmlrpc.php HTTP/1.1"))
    block = text.encode() + b"\n"
    (hit,) = matcher.scan(block).hits
    assert hit.address == bytes([203, 0, 113, 7])


# That it is read so ----------------------------------------------------------------------------


def test_logs_of_one_format_share_a_matcher():
    """And its caches; of two formats they do not."""
    made = Matchers(RULES, LogFormats("auto", [("/j", "json")]))
    assert made.of("/a") is made.of("/b") is made.of("/a")
    assert made.of("/j") is not made.of("/a")
    assert made.requests("/a") is not made.requests("/a")


def test_a_format_that_can_be_forged_is_refused_before_a_log_is_read():
    """The daemon makes its matchers when it starts and when it reloads."""
    with pytest.raises(ConfigError, match="a host may hold ; itself"):
        Matchers(RULES, LogFormats("auto", [("/x", '$host;$remote_addr [$time_local] "$request"')]))


def test_the_paths_that_are_remembered_have_a_ceiling(monkeypatch):
    """A host may have logs without end, one after the other."""
    monkeypatch.setattr(matchers, "MAX_PATHS", 10)
    made = Matchers(RULES, LogFormats("auto"))
    first = made.of("0")
    assert all(made.of(str(number)) is first for number in range(100))
    assert len(made._by_path) <= 10


def test_replay_reads_each_log_in_its_format(tmp_path: Path):
    """Rotated files have the format of their log, wherever the command is called."""
    line = '203.0.113.7 [10/Mar/2026:12:00:0{} +0000] POST "/xmlrpc.php"\n'
    own, other = tmp_path / "own.log", tmp_path / "other.log"
    own.write_text(line.format(2))
    Path(f"{own}.1").write_text(line.format(1) + line.format(0))
    other.write_text(line.format(3))
    own_format = "format = '%h %t %m \"%U\"'"
    config = read(f'[[log]]\npath = "{tmp_path}/own.*"\n{own_format}\n')
    report = replay([str(own), f"{own}.1", str(other)], config, Reader())
    assert report["hits"] == 3
    assert report["unparsed"] == 1
