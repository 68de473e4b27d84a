"""Which new paths are logs of their own."""

import gzip

import pytest

from blocker.sources.files.admission import Admission
from blocker.sources.files.directories import Directories
from blocker.sources.files.disks import Disks
from blocker.sources.files.logfile import LogFile
from blocker.sources.files.open_files import OpenFiles


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"the first line\nthe second line\n")
    return path


def admission(known=(), followed=(), opened=None):
    contents = Directories(lambda: 0.0, Disks(lambda: None))
    return Admission(known, contents, lambda: set(followed), lambda: opened or OpenFiles())


def test_a_plain_file_is_a_log_of_its_own(log):
    """Nothing is known of it, so that its start has to be found."""
    deciding = admission()
    admitted = deciding.admit(str(log), 3)
    assert (admitted.path, admitted.order, list(admitted.known.ends)) == (str(log), 3, [])
    assert (deciding.refused, deciding.doubles) == ({}, set())


def test_what_is_known_of_its_path_goes_with_it(log):
    """And not what is known of others."""
    with LogFile(str(log)) as file:
        own = file.end(str(log))
    deciding = admission([own, own._replace(path="/other")])
    assert list(deciding.admit(str(log), 0).known.ends) == [own]


def test_a_second_name_of_a_log_that_is_followed_is_a_double(log):
    """By the path that it leads to."""
    link = log.with_name("link.log")
    link.symlink_to(log)
    deciding = admission(followed=[str(log)])
    assert deciding.admit(str(link), 0) is None
    assert deciding.doubles == {str(link)}


def test_a_packed_file_is_no_log(log):
    """It is read with the log that it was rotated from."""
    packed = log.with_name("other.log.gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    deciding = admission()
    assert deciding.admit(str(packed), 0) is None
    assert (deciding.refused, deciding.doubles) == ({}, set())


def test_a_file_that_can_not_be_opened_is_refused_with_the_reason(log):
    """As the system gives it."""
    deciding = admission()
    path = str(log.with_name("missing.log"))
    assert deciding.admit(path, 0) is None
    assert deciding.refused == {path: f"{path}: No such file or directory"}
    deciding.refuse("/log", "its name is no text")
    assert deciding.refused["/log"] == "/log: its name is no text"
