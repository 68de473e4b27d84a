"""What a failure ends with, and what is said about it."""

import pytest

from blocker import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BlockerError, 1),
        (errors.UsageError, 2),
        (errors.NotReachableError, 3),
        (errors.UnchangedError, 4),
        (errors.NotPermittedError, 5),
        (errors.ConfigError, 78),
        (errors.FriendError, 1),
        (errors.FirewallError, 1),
        (errors.StoreError, 1),
    ],
)
def test_a_failure_has_the_exit_code_of_the_contract(error, code):
    """Scripts rely on it; 78 is EX_CONFIG of sysexits(3)."""
    assert error("why").exit_code == code
    assert str(error("why")) == "why"


def test_a_refusal_of_the_kernel_has_its_number():
    """0 where there is none."""
    refused = errors.FirewallError("why", 28)
    assert (str(refused), refused.errno) == ("why", 28)
    assert errors.FirewallError("why").errno == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError, "name a file that exists"),
        (PermissionError, "make it readable for this user, or run as root"),
        (IsADirectoryError, "name a file, not a directory"),
        (OSError, ""),
        (ValueError, ""),
    ],
)
def test_a_file_that_can_not_be_read_is_reported_with_advice(error, said):
    """Where there is any."""
    assert errors.file_advice(error()) == said
