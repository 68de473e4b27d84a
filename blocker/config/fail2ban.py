"""The keys of fail2ban's configuration, and the advice for each.  Pure.

Many administrators migrate from fail2ban.  A key of its jails, filters or of ``fail2ban.conf`` is
refused like any unknown key, with advice instead of the nearest known key.
"""

from collections.abc import Mapping

_ALLOW = (
    "it is `allow` here, at the top of the file, above all tables: a list, such as"
    ' ["192.0.2.0/24", "@jetpack"]'
)
_LOGS = (
    "it is `logs` here, at the top of the file, above all tables: a list, such as"
    ' ["/var/log/nginx/*access*.log"]'
)
_FACTOR = (
    "it is `bantime_factor` here, under [trap.xmlrpc]: 2 doubles each further ban, 1 makes all"
    " alike"
)
_PORTS = 'it is `firewall.ports` here: a list of numbers, such as [80, 443], or "all"'
_FILTER = (
    "not needed: a trap is a `path` and its `methods`, under [trap.xmlrpc]; how lines are written"
    " is found out, or set by `format`"
)
_ACTION = (
    "not needed: bans go into an nftables set; [firewall] says which ports, and the journal and"
    " metrics report them"
)
_SECTION = (
    "a section of fail2ban's; here general keys stand at the top, above all tables, and those of"
    " a trap under [trap.xmlrpc]"
)
_LINES = "not needed: each line of a log is one request, and lines are not kept"
_MESSAGES = "not needed: messages go to the journal, or to standard error without it"

WORDS: Mapping[str, str] = {
    "ignoreip": _ALLOW,
    "ignoreself": "not needed: the addresses of this host are never banned",
    "ignorecommand": f"there is none; {_ALLOW}",
    "ignorecache": f"there is none; {_ALLOW}",
    "ignoreregex": f"there is none; {_ALLOW}",
    "logpath": _LOGS,
    "skip_if_nologs": "not needed: a log that is not there yet is followed when it appears",
    "logencoding": "not needed: logs are read as bytes, in any encoding",
    "logtimezone": "not needed: the time of each line has its own offset",
    "maxlines": _LINES,
    "maxmatches": _LINES,
    "dbmaxmatches": _LINES,
    "bantime_increment": _FACTOR,
    "bantime_factor": _FACTOR,
    "bantime_formula": _FACTOR,
    "bantime_multipliers": _FACTOR,
    "bantime_maxtime": 'it is `max_bantime` here, under [trap.xmlrpc], such as "30d"',
    "bantime_rndtime": "there is none: a ban lasts as long as `bantime` says",
    "bantime_overalljails": "not needed: earlier bans count whichever trap made them",
    "dbpurgeage": 'it is `remember` here: how long earlier bans count, such as "90d"',
    "dbfile": "it is `state` here: the path of the database",
    "socket": "it is `control` here: the path of the socket of the commands",
    "pidfile": "not needed: the service is supervised by systemd",
    "failregex": _FILTER,
    "prefregex": _FILTER,
    "filter": _FILTER,
    "mode": _FILTER,
    "datepattern": "not needed: the formats of the web servers have their times; see `format`",
    "journalmatch": f"there is none: access logs are files; {_LOGS}",
    "backend": "not needed: logs are files, and the kernel says when they change (inotify)",
    "usedns": "not needed: names are never resolved; a log must hold addresses",
    "dns": "not needed: names are never resolved; a log must hold addresses",
    "allowipv6": "not needed: IPv6 is always judged, by networks of `ipv6_prefix`",
    "enabled": "not needed: every configured trap is active; with `dry_run` none blocks",
    "port": _PORTS,
    "protocol": "not needed: TCP and UDP are both blocked, as HTTP/3 is UDP",
    "chain": "not needed: the table is one of its own; its name is `firewall.table`",
    "blocktype": "not needed: packets of banned addresses are dropped",
    "returntype": "not needed: packets of banned addresses are dropped",
    "banaction": _ACTION,
    "banaction_allports": f"not needed; {_PORTS}",
    "action": _ACTION,
    "actionban": _ACTION,
    "actionunban": _ACTION,
    "actionstart": _ACTION,
    "actionstop": _ACTION,
    "actioncheck": _ACTION,
    "destemail": _ACTION,
    "sender": _ACTION,
    "mta": _ACTION,
    "fail2ban_agent": _ACTION,
    "loglevel": _MESSAGES,
    "logtarget": _MESSAGES,
    "syslogsocket": _MESSAGES,
    "default": _SECTION,
    "definition": _SECTION,
    "init": _SECTION,
    "includes": _SECTION,
    "thread": _SECTION,
}
"""Advice by key, with ``.`` and ``-`` as ``_``; the keys are those of jail.conf(5) and
fail2ban.conf."""


def advice(key: str) -> str:
    """Return the advice for a key of fail2ban, or "" if fail2ban has no such key.

    >>> advice("bantime.maxtime")
    'it is `max_bantime` here, under [trap.xmlrpc], such as "30d"'
    """
    return WORDS.get(key.lower().replace(".", "_").replace("-", "_"), "")
