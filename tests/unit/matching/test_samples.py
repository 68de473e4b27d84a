"""Every sample of tests/samples gets the verdict that stands behind it, by both ways in."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from blocker.addresses import format_subject, subject_of
from blocker.config.schema import Config
from blocker.matching.matcher import Matcher

SAMPLES = Path(__file__).parents[2] / "samples"
REPEAT = re.compile(r"«(.*?)\*([0-9]+)»")
RAW = re.compile("«hex:([0-9a-f]+)»".encode())
RULES = list(Config().traps.values())
# In every sample the true client is one of these; all other addresses are decoys.
CLIENTS = {"203.0.113.7", "2001:db8:1:2::/64"}
NEIGHBOUR = b'192.0.2.9 - - [10/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-"\n'


class Sample(NamedTuple):
    where: str
    log_format: str
    line: bytes
    verdict: str


def samples():
    for path in sorted(SAMPLES.glob("*.txt")):
        log_format, line = "auto", None
        for number, text in enumerate(path.read_text().splitlines(), 1):
            if text.startswith("# format: "):
                log_format = text.removeprefix("# format: ")
            elif text.startswith("= "):
                yield Sample(f"{path.stem}:{number}", log_format, line, text[2:])
            elif text and not text.startswith("# "):
                line = REPEAT.sub(lambda found: found[1] * int(found[2]), text).encode()
                line = RAW.sub(lambda found: bytes.fromhex(found[1].decode()), line)


ALL = list(samples())
every_sample = pytest.mark.parametrize("sample", ALL, ids=[each.where for each in ALL])


@every_sample
def test_explain_says_what_the_sample_says(sample):
    """A line is taken for what stands behind it, and for that reason."""
    verdict = Matcher(RULES, sample.log_format).explain(sample.line)
    kind = next(each for each in ("hit", "no hit", "unparsed") if sample.verdict.startswith(each))
    assert verdict.kind == kind, verdict.reason
    if kind != "hit":
        assert verdict.reason.startswith(sample.verdict.removeprefix(kind).strip())


@every_sample
def test_the_block_scan_finds_the_same_hits(sample):
    """In a block between other lines the hit is found, with its address, and nothing else is."""
    block = NEIGHBOUR + sample.line + b"\n" + NEIGHBOUR
    matched = Matcher(RULES, sample.log_format).scan(block)
    found = [format_subject(subject_of(hit.address)) for hit in matched.hits]
    assert found == ([sample.verdict.split()[1]] if sample.verdict.startswith("hit") else [])
    assert matched.lines == 3
    assert all(hit.end == len(block) - len(NEIGHBOUR) for hit in matched.hits)


@every_sample
def test_a_line_cut_anywhere_raises_nothing_and_forges_nothing(sample):
    """However a line is cut, no other address than the true client's ever comes out of it."""
    matcher = Matcher(RULES, sample.log_format)
    step = max(1, len(sample.line) // 200)
    for end in range(0, len(sample.line), step):
        for hit in matcher.scan(sample.line[:end] + b"\n").hits:
            assert format_subject(subject_of(hit.address)) in CLIENTS


def test_there_are_samples_of_every_kind():
    """The samples cover hits, misses and lines that can't be read."""
    kinds = {sample.verdict.split()[0] for sample in ALL}
    assert kinds == {"hit", "no", "unparsed"}
    assert len(ALL) > 100
