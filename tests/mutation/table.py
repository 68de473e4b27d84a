"""Which tests are to notice a change of which module: its own, few and fast.

The names are those of files in ``tests``, and of files in ``blocker`` with dots.  A module that is
not pure has no entry: what its tests need (processes, namespaces, real files) takes too long to be
run for each of hundreds of mutants.
"""

TESTS: dict[str, tuple[str, ...]] = {
    "addresses": (
        "unit/matching/test_formats.py", "unit/matching/test_samples.py",
        "unit/matching/test_json_lines.py", "property/test_addresses_properties.py",
        "unit/test_model.py",
    ),
    "analysis.either": ("unit/analysis/test_either.py",),
    "analysis.replay_report": (
        "unit/analysis/test_replay_report.py", "property/matching/test_settling_properties.py",
    ),
    "analysis.time_bins": (
        "unit/analysis/test_time_bins.py", "property/analysis/test_backfill_properties.py",
    ),
    "config.fail2ban": ("unit/config/test_fail2ban.py",),
    "config.lint": ("unit/config/test_config.py", "property/config/test_config_properties.py"),
    "config.parse": ("unit/config/test_config.py", "property/config/test_config_properties.py"),
    "config.problems": ("unit/config/test_config.py", "property/config/test_config_properties.py"),
    "config.readers": ("unit/config/test_config.py", "property/config/test_config_properties.py"),
    "config.schema": ("unit/config/test_config.py", "property/config/test_config_properties.py"),
    "engine.advice": ("unit/engine/test_advice.py",),
    "engine.orders": ("unit/engine/test_orders.py",),
    "engine.targets": ("unit/engine/test_targets.py", "unit/engine/test_orders.py"),
    "errors": ("unit/test_errors.py",),
    "escape": ("unit/test_escape.py",),
    "firewall.facts": ("unit/firewall/test_netlink.py",),
    "firewall.netlink": (
        "unit/firewall/test_netlink.py", "property/firewall/test_netlink_properties.py",
    ),
    "firewall.ruleset": ("unit/firewall/test_ruleset.py",),
    "friends.friends": (
        "unit/friends/test_friends.py", "unit/friends/test_lists.py",
        "property/friends/test_friends_properties.py",
    ),
    "friends.network_list": (
        "unit/friends/test_friends.py", "unit/friends/test_lists.py",
        "property/friends/test_friends_properties.py",
    ),
    "friends.publishers": ("unit/friends/test_lists.py",),
    "judging.active_ban_count": ("property/judging/test_active_ban_count_properties.py",),
    "judging.friend_filter": (
        "unit/judging/test_friend_filter.py", "unit/judging/test_judge.py",
    ),
    "judging.judge": ("unit/judging/test_judge.py", "property/judging/test_judge_properties.py"),
    "judging.limits": ("unit/judging/test_judge.py", "property/judging/test_judge_properties.py"),
    "analysis.merge": ("property/analysis/test_merge_properties.py",),
    "judging.pending_windows": (
        "unit/judging/test_pending_windows.py", "unit/judging/test_judge.py",
        "property/judging/test_judge_properties.py",
    ),
    "judging.remembered_bans": (
        "unit/judging/test_remembered_bans.py", "unit/judging/test_judge.py",
        "property/judging/test_judge_properties.py",
        "property/engine/test_ceiling_properties.py",
    ),
    "judging.tally": ("unit/judging/test_judge.py", "property/judging/test_judge_properties.py"),
    "judging.top_offenders": ("unit/judging/test_top_offenders.py",),
    "judging.windows": ("unit/judging/test_judge.py", "property/judging/test_judge_properties.py"),
    "matching.candidates": (
        "unit/matching/test_candidates.py",
        "unit/matching/test_matcher.py", "unit/matching/test_formats.py",
        "unit/matching/test_samples.py", "unit/matching/test_json_lines.py",
        "property/matching/test_matcher_properties.py",
        "property/matching/test_settling_properties.py",
    ),
    "matching.event_lines": ("unit/matching/test_event_lines.py",),
    "matching.event_matcher": ("unit/matching/test_event_matcher.py",),
    "matching.event_messages": (
        "unit/matching/test_event_messages.py", "unit/matching/test_event_lines.py",
    ),
    "matching.format_strings": (
        "unit/matching/test_format_strings.py", "unit/matching/test_formats.py",
    ),
    "matching.formats": (
        "unit/matching/test_formats.py", "unit/matching/test_samples.py",
        "unit/matching/test_json_lines.py", "property/test_addresses_properties.py",
    ),
    "matching.forwarded": (
        "unit/matching/test_forwarded.py", "unit/sources/test_log_proxies.py",
    ),
    "matching.grammar": (
        "unit/matching/test_formats.py", "unit/matching/test_samples.py",
        "unit/matching/test_json_lines.py", "property/test_addresses_properties.py",
    ),
    "matching.json_layouts": (
        "unit/matching/test_json_layouts.py", "property/matching/test_json_layouts_properties.py",
    ),
    "matching.json_lines": (
        "unit/matching/test_json_lines.py", "unit/matching/test_samples.py",
        "property/matching/test_json_lines_properties.py",
    ),
    "matching.line_parser": (
        "unit/matching/test_matcher.py", "unit/matching/test_formats.py",
        "unit/matching/test_samples.py", "unit/matching/test_json_lines.py",
        "unit/matching/test_wrappers.py",
    ),
    "matching.matched": ("unit/matching/test_matched.py",),
    "matching.matcher": (
        "unit/matching/test_matcher.py", "unit/matching/test_formats.py",
        "unit/matching/test_samples.py", "unit/matching/test_json_lines.py",
        "property/matching/test_matcher_properties.py",
        "property/matching/test_settling_properties.py",
    ),
    "service.log_places": ("unit/service/test_log_places.py",),
    "sources.line_buffer": ("unit/sources/test_line_buffer.py",),
    "sources.line_splitter": ("unit/sources/test_line_splitter.py",),
    "sources.schemes": ("unit/sources/test_schemes.py",),
    "matching.matchers": ("unit/sources/test_log_formats.py",),
    "matching.parse_health": ("unit/matching/test_parse_health.py",),
    "matching.recognise": (
        "unit/matching/test_recognise.py", "unit/service/test_log_places.py",
    ),
    "matching.requests": (
        "unit/matching/test_matcher.py", "unit/matching/test_formats.py",
        "unit/matching/test_samples.py", "unit/matching/test_json_lines.py",
        "property/matching/test_matcher_properties.py",
        "property/matching/test_settling_properties.py",
    ),
    "matching.server_variables": ("unit/matching/test_format_strings.py",),
    "matching.verdict": (
        "unit/matching/test_matcher.py", "unit/matching/test_formats.py",
        "unit/matching/test_samples.py", "unit/matching/test_json_lines.py",
        "property/matching/test_matcher_properties.py",
        "property/matching/test_settling_properties.py",
    ),
    "matching.wrappers": ("unit/matching/test_wrappers.py", "unit/matching/test_samples.py"),
    "model": ("unit/test_model.py",),
    "rows": (
        "unit/analysis/test_replay_report.py", "property/matching/test_settling_properties.py",
    ),
    "store.counter_names": ("unit/store/test_counter_names.py",),
    "telemetry.catalogue": ("unit/telemetry/test_catalogue.py",),
    "telemetry.events": ("unit/telemetry/test_events.py",),
    "times": (
        "unit/matching/test_formats.py", "unit/matching/test_samples.py",
        "unit/matching/test_json_lines.py", "property/test_addresses_properties.py",
        "unit/test_model.py", "unit/analysis/test_replay_report.py",
        "property/matching/test_settling_properties.py", "unit/config/test_config.py",
        "property/config/test_config_properties.py",
    ),
}  # fmt: skip
BY_OTHERS = {"sources.stream", "sources.position", "store.records", "store.schema"}
"""Pure, but tested with the files and the database that they describe."""


def path_of(module: str) -> str:
    """Return the path of a module below the project."""
    return f"blocker/{module.replace('.', '/')}.py"
