"""Advice about the set-up, and how often it is logged.  Pure: time is an argument.

Conditions that need a change of the configuration: the log shows a proxy instead of the client,
or a ban does not stop the traffic.  Each is logged at most once an hour, with what to change.
"""

from ipaddress import ip_address

from blocker.model import Address
from blocker.times import SECOND

EVERY = 3600 * SECOND
MAX_TOPICS = 4096
"""Ceiling; more than the logs that are followed, each of which is a topic."""


class RateLimit:
    """Allows one message per topic and hour."""

    def __init__(self) -> None:
        self._said: dict[str, int] = {}

    def due(self, topic: str, now: int) -> bool:
        """Whether a topic may be logged now; if so, the hour begins."""
        said = self._said.get(topic)
        if said is not None and said <= now < said + EVERY:
            return False
        if len(self._said) >= MAX_TOPICS:
            self._said.clear()
        self._said[topic] = now
        return True


def is_proxy(reason: str) -> bool:
    """Whether hits of such a friend mean that the log shows a proxy's address."""
    return reason == "private" or reason.startswith("proxy:")


def proxy_advice(reason: str, address: Address) -> str:
    """Return the advice for hits that come from a proxy or a private network.

    >>> proxy_advice("private", bytes([10, 0, 0, 5])).split(":")[0]
    'hits come from 10.0.0.5 (private), which is never banned'
    """
    who = ip_address(address)
    kind = reason.removeprefix("proxy:")
    return (
        f"hits come from {who} ({kind}), which is never banned: the log shows a proxy, not the"
        " attacker. Let the web server log the client: in nginx"
        f" `set_real_ip_from {who}; real_ip_header X-Forwarded-For;`, in Apache"
        f" `RemoteIPHeader X-Forwarded-For` and `RemoteIPInternalProxy {who}` (mod_remoteip),"
        " with all addresses of the proxy"
    )


def reach_advice(who: str, count: int) -> str:
    """Return the advice for banned addresses that are still in the log."""
    others = f" and {count - 1} more" if count > 1 else ""
    return (
        f"{who}{others}: banned for over a minute, and still in the log: the ban does not reach"
        " them. Is a proxy in front, so that their packets come from its address? Is the site on"
        " another port than [firewall] ports? Is the web server in another network namespace?"
    )


def eviction_advice(count: int, ceiling: int) -> str:
    """Return the advice for bans that were evicted because of their ceiling."""
    return (
        f"evicted {count} ended bans: more than max_remembered = {ceiling} were remembered, and"
        " those with the fewest offences go first; raise it, and MemoryMax of the service by 250"
        " bytes for each, if there is memory"
    )


def waiting_advice(count: int, reason: str) -> str:
    """Return the advice for when no more bans may wait for the kernel."""
    return (
        f"{count} bans wait for the kernel, which is the limit: further ones end at once, and their"
        f" addresses are judged again; the kernel says: {reason}; if its set is full, raise"
        " [firewall] set_size"
    )
