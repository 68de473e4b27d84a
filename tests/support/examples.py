"""How many examples the property tests try.

Profiles: ``local`` is the default.  ``ci``, with ``CI`` in the environment, tries the same examples
in each run, so that no commit fails for what another one brought.  ``release`` tries ten times as
many: ``make test TESTS="tests/property --hypothesis-profile=release"``.  No profile has a deadline
for an example: a busy machine is no fault.
"""

import os

from hypothesis import HealthCheck, settings

USUAL = 100
"""Examples of a test that does not say how many."""


def register_profiles() -> None:
    """Register the profiles, and load the usual one; pytest's option comes later."""
    anywhere = settings(
        deadline=None, max_examples=USUAL, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.register_profile("local", anywhere)
    settings.register_profile("ci", anywhere, derandomize=True, database=None)
    settings.register_profile("release", anywhere, max_examples=10 * USUAL)
    settings.load_profile("ci" if os.environ.get("CI") else "local")


def examples(count: int) -> settings:
    """Return the settings of a test that tries so many examples, in the profile ``local``."""
    assert settings.default is not None
    return settings(max_examples=count * settings.default.max_examples // USUAL)
