"""The judge against a naive oracle that keeps every hit for ever and counts from scratch."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from blocker.config.schema import TrapConfig
from blocker.judging.judge import Judge
from blocker.judging.limits import Limits
from blocker.judging.tally import Counts
from blocker.model import Hit
from blocker.times import SECOND

HOUR, DAY = 3600 * SECOND, 86400 * SECOND
ADDRESSES = [bytes([203, 0, 113, n]) for n in range(3)]
ADDRESSES += [bytes.fromhex(f"20010db80001000{n // 2}00000000000000{n:02x}") for n in range(4)]
FRIEND_ADDRESS = ADDRESSES[2]
FRIEND, BLOCKED, LATE, PENDING = range(4)


class Oracle:
    """The semantics, written down as naively as they are stated."""

    def __init__(self, traps, remember):
        self.traps, self.remember = traps, remember
        self.hits, self.late, self.bans = {}, {}, {}

    def judge(self, hit):
        if hit.address == FRIEND_ADDRESS:
            return FRIEND, None
        who = hit.address if len(hit.address) == 4 else hit.address[:8]
        hits, bans = self.hits.setdefault(who, []), self.bans.setdefault(who, [])
        if bans and hit.time < bans[-1][0]:
            return LATE, None
        if bans and hit.time < bans[-1][1]:
            return BLOCKED, None
        trap = self.traps[hit.trap]
        latest = max([hit.time, *(time for time, _ in hits)])
        if trap.kind == "event" and hit.time % 1000 and hit.time > latest - trap.findtime:
            same = [each for each in hits if each[1] == hit.trap and alike(each[0], hit.time)]
            if any(time >= hit.time for time, _ in same):
                return PENDING, None
            hits[:] = [each for each in hits if each not in same]
        hits.append((hit.time, hit.trap))
        window = [t for t, n in hits if n == hit.trap and latest - trap.findtime < t <= latest]
        late = self.late.setdefault(who, [])
        outcome = PENDING
        if hit.time not in window:
            outcome = LATE
            late.append((latest, hit.trap))
            window = [t for t, n in late if n == hit.trap and latest - trap.findtime < t]
        if len(window) < trap.maxretry:
            return outcome, None
        now = latest - latest % 1000 if trap.kind == "event" else latest
        offence = 1 + sum(now - self.remember < start <= now for start, _ in bans)
        length = min(trap.bantime * trap.bantime_factor ** (offence - 1), trap.max_bantime)
        bans.append((now, now + int(length)))
        hits.clear()
        late.clear()
        return outcome, (now, now + int(length), len(window), offence)


def alike(one, other):
    """Whether two times hold the same attempt."""
    return one % 1000 == other % 1000


def traps_of(count):
    plain = TrapConfig(maxretry=3, findtime=HOUR, bantime=2 * HOUR, bantime_factor=2.0)
    return [evolve(plain, maxretry=3 + n, findtime=HOUR * (n + 1)) for n in range(count)]


times = st.integers(0, 12 * 60).map(lambda minutes: (10**6 + minutes * 60) * SECOND)
hits = st.builds(
    Hit, time=times, address=st.sampled_from(ADDRESSES), trap=st.integers(0, 1),
    status=st.just(200), end=st.just(0),
)  # fmt: skip


guesses = st.builds(
    Hit, time=st.builds(int.__add__, times, st.integers(0, 3)), address=st.sampled_from(ADDRESSES),
    trap=st.integers(0, 1), status=st.just(0), end=st.just(0),
)  # fmt: skip


@examples(400)
@given(st.lists(hits, max_size=120), st.integers(1, 2), st.booleans())
def test_the_judge_says_what_the_naive_oracle_says(stream, traps, in_order):
    """Bans, their lengths, offences and what was blocked are equal, late lines included."""
    compare(stream, traps_of(traps), in_order=in_order)


@examples(400)
@given(st.lists(guesses, max_size=120), st.integers(1, 2), st.booleans())
def test_guesses_are_judged_as_the_naive_oracle_says(stream, traps, in_order):
    """The same attempt once in a window; without an attempt each; beside a trap of requests."""
    policies = traps_of(traps)
    policies[-1] = evolve(policies[-1], kind="event", events=("login",))
    compare(stream, policies, in_order=in_order)


def compare(stream, policies, *, in_order):
    """Judge a stream, and have the oracle judge it."""
    stream, traps = sorted(stream) if in_order else stream, len(policies)
    oracle = Oracle(policies, 6 * HOUR)
    judge = Judge(
        [(f"trap{n}", policy) for n, policy in enumerate(policies)],
        Limits(6 * HOUR),
        lambda address: "a friend" if address == FRIEND_ADDRESS else None,
    )
    expected, counted = [0] * 4, Counts()
    for hit in (each._replace(trap=each.trap % traps) for each in stream):
        bans, counts, _ = judge.judge([hit])
        counted = counted.plus(counts)
        outcome, sentence = oracle.judge(hit)
        expected[outcome] += 1
        made = [(ban.start, ban.until, ban.hits, ban.offence) for ban in bans]
        assert made == ([sentence] if sentence else [])
    friends, blocked, late = expected[: LATE + 1]
    assert counted == Counts(len(stream) - expected[FRIEND], blocked, late, friends)


@examples(100)
@given(st.lists(hits, max_size=60), st.integers(1, 50))
def test_a_judge_restored_at_any_point_goes_on_as_if_nothing_happened(stream, cut):
    """Windows and bans, taken out and put back, are everything that a judge knows."""
    policies = [("trap0", traps_of(1)[0])]
    stream = [hit._replace(trap=0) for hit in stream]

    def fresh():
        return Judge(policies, Limits(6 * HOUR), lambda _address: None)

    whole, first, second = fresh(), fresh(), fresh()
    before = first.judge(stream[:cut]).bans
    for ban in before:
        second.add_ban(ban.subject, ban.start, ban.until)
    for subject in first.subjects():
        second.windows.restore(subject, first.windows.get(subject))
    assert before + second.judge(stream[cut:]).bans == whole.judge(stream).bans


@examples(50)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=400), st.integers(2, 40))
def test_tracked_windows_never_exceed_their_ceiling(numbers, ceiling):
    """However many addresses attack, memory stays under the ceiling, and each loss is counted."""
    judge = Judge(
        [("xmlrpc", TrapConfig(maxretry=1000))], Limits(DAY, ceiling + ceiling % 2), lambda _a: None
    )
    for time, number in enumerate(numbers):
        judge.judge([Hit(time * SECOND, number.to_bytes(4, "big"), 0, 200, 0)])
        assert len(judge.windows) <= ceiling + ceiling % 2
    assert len(judge.windows) + judge.windows.evicted >= len(set(numbers)) - len(numbers)
