"""Which tests are to notice a change of which module: its own, few and fast.

The names are those of files in ``tests``.  A module that is not pure has no entry: what its tests
need (processes, namespaces, real files) takes too long to be run for each of hundreds of mutants.
"""

_CONFIG = ("unit/test_config.py", "property/test_config_properties.py")
_LINES = ("unit/test_lines.py", "unit/test_samples.py", "property/test_address_properties.py")
_ORDERS = ("unit/test_orders.py",)

TESTS: dict[str, tuple[str, ...]] = {
    "book": ("property/test_book_properties.py",),
    "catalogue": ("unit/test_catalogue.py",),
    "config": _CONFIG,
    "errors": ("unit/test_control.py", *_ORDERS),
    "escape": ("unit/test_events.py", *_ORDERS),
    "events": ("unit/test_events.py",),
    "fail2ban": ("unit/test_config.py",),
    "friends": (
        "unit/test_friends.py", "unit/test_lists.py", "property/test_friends_properties.py",
    ),
    "health": ("unit/test_health.py",),
    "hours": ("unit/test_backfill.py", "property/test_backfill_properties.py"),
    "json_lines": (
        "unit/test_json_lines.py", "unit/test_samples.py", "property/test_json_properties.py",
    ),
    "judge": ("unit/test_judge.py", "property/test_judge_properties.py"),
    "lines": _LINES,
    "listsource": ("unit/test_lists.py", "property/test_linear_time.py"),
    "logformat": ("unit/test_lines.py", "unit/test_samples.py", "property/test_linear_time.py"),
    "match": (
        "unit/test_lines.py", "unit/test_samples.py", "unit/test_json_lines.py",
        "property/test_match_properties.py", "property/test_settling_properties.py",
        "property/test_long_line_properties.py",
    ),
    "merge": ("unit/test_replay.py",),
    "model": ("unit/test_judge.py", "property/test_judge_properties.py"),
    "netlink": ("unit/test_netlink.py", "property/test_netlink_properties.py"),
    "notices": ("unit/test_engine.py",),
    "offenders": ("unit/test_offenders.py",),
    "orders": _ORDERS,
    "report": ("unit/test_replay.py", "property/test_settling_properties.py"),
    "ruleset": ("unit/test_ruleset.py",),
    "targets": _ORDERS,
    "values": _CONFIG,
}  # fmt: skip
