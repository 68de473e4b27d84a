"""A log grows: whole lines, half lines, endless lines, and what a position says of them."""

from support.logs_by_hand import Bench, append

from blocker.sources.stream import BLOCK, TAIL


def test_new_lines_come_once(bench: Bench):
    """What is appended between two looks is one block, and is not read twice."""
    bench.start()
    append(bench.path, b"one\ntwo\n")
    assert bench.look() == b"one\ntwo\n"
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"
    assert bench.look() == b""


def test_half_a_line_waits_for_its_newline(bench: Bench):
    """A line is delivered when its newline is there, and then whole."""
    bench.start()
    append(bench.path, b"one\nha")
    assert bench.look() == b"one\n"
    append(bench.path, b"lf")
    assert bench.look() == b""
    append(bench.path, b" a line\nmo")
    assert bench.look() == b"half a line\n"
    assert bench.log().behind == 2


def test_every_byte_may_come_alone(bench: Bench):
    """Byte by byte, the same lines come."""
    bench.start()
    found = b""
    for byte in b"one\n\ntwo\n":
        append(bench.path, bytes([byte]))
        bench.scan()
        found += bench.drain()
    assert found == b"one\n\ntwo\n"


def test_a_log_without_news_is_not_ready(bench: Bench):
    """After everything was read a log is ready only when its file has changed."""
    tailer = bench.start()
    append(bench.path, b"one\n")
    bench.look()
    assert tailer.ready() == []
    bench.scan()
    assert tailer.ready() == []
    append(bench.path, b"two\n")
    bench.scan()
    assert tailer.ready() == [bench.log()]


def test_the_disk_is_not_asked_without_a_reason(bench: Bench):
    """Reading a log that was not reported as changed is None at once."""
    bench.start()
    append(bench.path, b"one\n")
    bench.look()
    append(bench.path, b"two\n")
    assert bench.runner.run(bench.log().read()) is None
    assert bench.look() == b"two\n"


def test_a_line_beyond_the_ceiling_comes_by_its_beginning(bench: Bench):
    """A line of more than a block comes once its newline is there, and is counted."""
    bench.start()
    append(bench.path, b"one\n" + b"x" * (BLOCK + 1))
    assert bench.look() == b"one\n"
    append(bench.path, b"x" * BLOCK)
    assert bench.look() == b""
    assert bench.cut == 0
    append(bench.path, b"\ntwo\n")
    assert bench.look() == b"x" * (BLOCK - 1) + b"\ntwo\n"
    assert bench.cut == 1


def test_a_start_within_an_endless_line_delivers_it_once(bench: Bench):
    """The durable position stays before such a line until its newline is there, then behind it."""
    bench.start()
    append(bench.path, b"one\n" + b"x" * (BLOCK + 1))
    bench.look()
    bench.start()
    append(bench.path, b"\ntwo\n")
    bench.scan()
    (log,) = bench.tailer.ready()
    block = bench.runner.run(log.read())
    assert (block.data, block.lines_cut) == (b"x" * (BLOCK - 1) + b"\n", 1)
    bench.note(log.position(block, len(block.data)))
    bench.start()
    assert bench.look() == b"two\n"
    bench.start()
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"


def test_a_long_hole_and_a_long_line_are_read_in_turns(bench: Bench):
    """The reader gets the turn back on the way, and what stands behind comes once."""
    hole, long = bytes(20 * BLOCK), b"x" * (20 * BLOCK) + b"\n"
    append(bench.path, b"one\n" + hole + b"two\n" + long + b"three\n")
    bench.start()
    bench.scan()
    (log,) = bench.tailer.ready()
    found, turns = [], 0
    while log.state.pending:
        block = bench.runner.run(log.read())
        if block is not None:
            found += [line[:5] for line in block.data.split(b"\n")[:-1] if line.strip(b"\0")]
            bench.note(log.position(block, len(block.data)))
        turns += block is None
    assert found == [b"one", b"two", b"xxxxx", b"three"]
    assert turns >= 4
    bench.start()
    assert bench.look() == b""


def test_a_start_behind_a_hole_goes_on_behind_it(bench: Bench):
    """The bytes before the position are those of the file: NULs."""
    bench.start()
    append(bench.path, b"one\n" + bytes(2 * BLOCK + 7) + b"two\n")
    assert bench.look().replace(b"\0", b"") == b"one\ntwo\n"
    bench.start()
    append(bench.path, b"three\n")
    assert bench.look() == b"three\n"


def test_a_backlog_comes_in_blocks(bench: Bench):
    """Several blocks come without another look, each at most 1 MiB."""
    content = b"".join(b"%07d %s\n" % (n, b"x" * 100) for n in range(30_000))
    append(bench.path, content)
    tailer = bench.start()
    bench.scan()
    (log,) = tailer.ready()
    first = bench.runner.run(log.read())
    assert len(first.data) <= BLOCK
    assert tailer.ready() == [log]
    assert log.behind == len(content) - len(first.data)
    assert first.data + bench.drain() == content


def test_a_position_may_lie_within_a_block(bench: Bench):
    """Judged up to some line means: go on with the next one, after a start."""
    append(bench.path, b"".join(b"line %d\n" % n for n in range(1000)))
    tailer = bench.start()
    bench.scan()
    (log,) = tailer.ready()
    block = bench.runner.run(log.read())
    for count in (0, 1, 40, 999, 1000):
        end = len(b"".join(block.data.splitlines(keepends=True)[:count]))
        bench.known.clear()
        bench.note(log.position(block, end))
        assert log.position(block, end).tail == block.data[max(0, end - TAIL) : end]
        other = Bench(bench.runner, bench.directory)
        other.known = dict(bench.known)
        other.start()
        assert other.look() == block.data[end:]
        other.stop()


def test_a_small_limit_holds_less_at_a_time(bench: Bench):
    """The limit bounds a block; all of it comes in the end."""
    append(bench.path, b"one\ntwo\nthree\n")
    bench.start()
    bench.scan()
    assert bench.drain(limit=5) == b"one\ntwo\nthree\n"
    assert len(bench.order) == 3


def test_positions_are_true_over_short_blocks(bench: Bench):
    """The tail of a position reaches back over as many short blocks as it takes."""
    content = b"".join(b"%d\n" % n for n in range(200))
    bench.start()
    for line in content.splitlines(keepends=True):
        append(bench.path, line)
        bench.look()
    assert bench.log().delivered.tail == content[-TAIL:]
