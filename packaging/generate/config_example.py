"""Writes docs/config.example.toml from the schema: config_example.py DIRECTORY."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from blocker.config.problems import keys_of
from blocker.config.schema import (
    Config,
    FirewallConfig,
    LogConfig,
    MetricsConfig,
    OriginsConfig,
    TrapConfig,
)


def example() -> str:
    """Return the complete configuration as TOML: every key, its meaning and its default."""
    config = Config()
    head = (
        "The complete configuration of xmlrpc-blocker: every key with its default, so no"
        " key is required. Read from /etc/xmlrpc-blocker/config.toml, then from"
        " conf.d/*.toml beside it in lexical order: tables merge, and a later value replaces an"
        ' earlier one, except that the lists of "allow" add up. Durations are units in falling'
        ' order (w, d, h, m, s), such as "1h30m"; a plain number is seconds.'
    )
    trap = "A path with its policy. Further traps are tables of this form, each with another path."
    event = "What WordPress reports, with its policy: the same keys, but for path and methods."
    tables: list[tuple[str, str | None, Any]] = [
        ("trap.xmlrpc", trap, config.traps["xmlrpc"]),
        ("trap.wordpress", event, config.traps["wordpress"]),
        ("firewall", FirewallConfig.__doc__, config.firewall),
        ("metrics", MetricsConfig.__doc__, config.metrics),
        ("origins", OriginsConfig.__doc__, config.origins),
    ]
    own = (
        LogConfig(path="/data/logs/proxy-host-*_access.log", format="npm"),
        LogConfig(
            path="/srv/app/access.json",
            fields=(("address", "client.ip"), ("time", "ts"), ("request", "req")),
        ),
        LogConfig(
            path="/var/log/nginx/behind.json",
            format="json",
            proxy=(("192.0.2.10", "@cloudflare"), "http_x_forwarded_for"),
        ),
    )
    about = f"{LogConfig.__doc__} As many as there are, in any file. For example:"
    tables_of_logs = "".join(_as_comment("[[log]]", each) for each in own)
    parts = [_comment(head), *_entries(config), _comment(about) + tables_of_logs]
    for name, text, table in tables:
        parts += [f"{_comment(text)}[{name}]\n", *_entries(table)]
    return "\n".join(parts)


_ONE_KIND = {"path", "methods", "events"}
"""Keys of a trap that are empty in the other kind."""


def _entries(table: Any) -> Iterator[str]:
    for key, attribute in keys_of(type(table)):
        value = getattr(table, attribute.name)
        if isinstance(table, TrapConfig) and key in _ONE_KIND and not value:
            continue
        if "help" in attribute.metadata:
            text = attribute.metadata["write"](value)
            yield f"{_comment(attribute.metadata['help'])}{key} = {text}\n"


def _as_comment(title: str, table: Any) -> str:
    lines = [title]
    for key, attribute in keys_of(type(table)):
        value = getattr(table, attribute.name)
        if value != attribute.default:
            lines.append(f"{key} = {attribute.metadata['write'](value)}")
    return "".join(f"# {line}\n" for line in lines)


def _comment(text: str | None) -> str:
    lines = wrap(text or "", 90, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def main() -> None:
    (Path(sys.argv[1]) / "config.example.toml").write_text(example(), "utf-8")


if __name__ == "__main__":
    main()
