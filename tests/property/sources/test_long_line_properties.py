"""However long a line is, and behind any hole, it is delivered once, by its beginning.

The oracle is naive: it has the whole content, splits it at newlines, and cuts what is too long.
"""

import gzip
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from blocker.sources.files import logfile, packed, plain
from blocker.sources.files.logfile import LogFile, blocks
from blocker.sources.files.plain import BlockReader
from blocker.sources.stream import TAIL, Block

CEILING = 16


@pytest.fixture(autouse=True, scope="module")
def _small_ceiling():
    with pytest.MonkeyPatch.context() as patch:
        for module in (plain, packed, logfile):
            patch.setattr(module, "BLOCK", CEILING)
        patch.setattr(plain, "_TURN", 2)
        yield


PIECES = st.one_of(
    st.integers(1, 70).map(bytes),
    st.integers(1, 70).map(lambda count: bytes(33 + n % 90 for n in range(count))),
    st.just(b"\n"),
    st.just(b"\n"),
)
CONTENTS = st.lists(PIECES, max_size=12)


def expected(content: bytes) -> list[tuple[bytes, bool]]:
    """Return the lines by their beginnings and whether they are cut, the empty ones left out."""
    lines = (line.lstrip(b"\0") for line in content.split(b"\n"))
    return [(line[: CEILING - 1], len(line) >= CEILING) for line in lines if line]


def delivered(found: Iterable[Block]) -> list[tuple[bytes, bool]]:
    lines = [
        (line.lstrip(b"\0"), block.cut is not None)
        for block in found
        for line in block.data.split(b"\n")[:-1]
    ]
    return [(line, cut) for line, cut in lines if line]


@examples(300)
@given(CONTENTS, st.sampled_from(["", ".gz"]))
def test_a_file_that_is_closed(pieces, packed):
    """Plain or packed, each line comes once, and positions are those of the file."""
    content = b"".join(pieces)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"log{packed}"
        path.write_bytes(gzip.compress(content) if packed else content)
        found = list(blocks(str(path)))
    assert delivered(found) == expected(content)
    for block in found:
        end, before = block.place(len(block.data))
        assert len(block.data) <= CEILING
        assert block.before == content[max(0, block.start - TAIL) : block.start]
        if end <= len(content):
            assert before == content[max(0, end - TAIL) : end]


@examples(300)
@given(CONTENTS, st.lists(st.booleans(), min_size=60, max_size=60), st.integers(1, CEILING))
def test_a_file_that_grows_with_starts_in_between(pieces, starts, limit):
    """A line that grows in small writes comes once its newline is there, also after a restart."""
    content = b"".join(pieces)
    found, turns = [], iter(starts)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        path.touch()
        with LogFile(str(path)) as file, path.open("ab", buffering=0) as writer:
            reader = BlockReader(file.fd)
            for piece in pieces:
                os.write(writer.fileno(), piece)
                while (block := reader.block(limit)) or not reader.at_end:
                    if block:
                        assert reader.block(limit) == block
                        reader.advance(block)
                        found.append(block)
                    if next(turns, False):
                        assert reader.is_intact()
                        reader = BlockReader(file.fd, reader.offset, reader.before)
    whole = content[: content.rfind(b"\n") + 1]
    assert delivered(found) == expected(whole)
