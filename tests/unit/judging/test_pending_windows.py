"""Windows of all subjects: two generations, a ceiling, and what has to be stored."""

from blocker.judging.pending_windows import PendingWindows

WHO = bytes([203, 0, 113, 7])


def hosts(count, first=10**9):
    return [(first + number).to_bytes(4, "big") for number in range(count)]


def windows_of(subjects, ceiling=100):
    windows = PendingWindows(ceiling)
    for subject in subjects:
        windows.put(subject, subject + subject)
    return windows


def test_a_window_is_known_and_forgotten_in_either_generation():
    """Sixty of a hundred: the first fifty are the older generation."""
    subjects = hosts(60)
    windows = windows_of(subjects)
    assert len(windows) == 60
    assert all(windows.get(each) == each + each for each in subjects)
    assert sorted(windows.subjects()) == subjects
    assert [windows.forget(each) for each in (subjects[0], subjects[-1], WHO)] == [
        True,
        True,
        False,
    ]
    assert len(windows) == 58
    assert windows.get(subjects[0]) == b""


def test_no_window_is_evicted_before_the_ceiling_is_reached():
    """A hundred windows are a hundred; the next one evicts the older half."""
    windows = windows_of(hosts(100))
    assert (len(windows), windows.evicted) == (100, 0)
    windows.put(WHO, b"window")
    assert (len(windows), windows.evicted) == (51, 50)


def test_a_window_that_changes_moves_to_the_younger_generation():
    """It is in one generation only, and outlasts those that were put after it."""
    subjects = hosts(60)
    windows = windows_of(subjects)
    windows.put(subjects[0], b"changed")
    assert (len(windows), windows.get(subjects[0])) == (60, b"changed")
    for subject in hosts(40, first=2 * 10**9):
        windows.put(subject, b"window")
    assert windows.get(subjects[0]) == b"changed"
    assert windows.get(subjects[1]) == b""
    assert windows.evicted == 49


def test_evicted_subjects_are_taken_in_slices_and_once():
    """The store deletes them bit by bit: half a million at one go would delay everything else."""
    windows = windows_of(hosts(400))
    taken = []
    while some := windows.take_forgotten(30):
        assert len(some) <= 30
        taken += some
    assert len(taken) == len(set(taken)) == windows.evicted
    assert not any(windows.get(subject) for subject in taken)


def test_changed_windows_are_taken_for_the_store():
    """Those that were put or dropped; not those that were restored or forgotten with a ban."""
    windows = PendingWindows(100)
    windows.restore(b"stored", b"window")
    windows.restore(b"empty", b"")
    windows.put(b"put", b"window")
    windows.put(b"dropped", b"window")
    windows.drop(b"dropped")
    windows.forget(b"stored")
    assert windows.subjects() == [b"put"]
    assert windows.changed == 2
    assert windows.take_changed() == {b"put", b"dropped"}
    assert (windows.changed, windows.take_changed()) == (0, set())
    windows.put_back([b"put"])
    assert windows.take_changed() == {b"put"}


def test_a_restored_window_is_held():
    """As the store had it."""
    windows = PendingWindows(100)
    windows.restore(WHO, b"window")
    assert (windows.get(WHO), len(windows)) == (b"window", 1)


def test_nothing_is_left_after_a_clear():
    """Neither windows nor what has to be stored."""
    windows = windows_of(hosts(151))
    windows.clear()
    assert (len(windows), windows.changed, windows.take_forgotten(1000)) == (0, 0, [])
