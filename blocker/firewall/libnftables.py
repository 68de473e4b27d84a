"""Loads rules as text through libnftables.

libnftables contexts are not thread-safe: each call makes its own.
"""

import ctypes
import errno
import importlib
import os

from blocker.errors import FirewallError
from blocker.firewall import netlink, ruleset
from blocker.firewall.netlink_socket import refused
from blocker.firewall.ruleset import Layout

_LIBRARY = "libnftables.so.1"


def load_text(layout: Layout) -> bool:
    """Load the table; False if the existing one had to be replaced, which removes its bans."""
    text = ruleset.render(layout)
    try:
        _run_text(layout.table, text)
    except FirewallError as refused:
        # The type of a set or the priority of a chain can't be changed in place (EEXIST,
        # EOPNOTSUPP): delete the table and create it again in one transaction.
        try:
            _run_text(layout.table, ruleset.remove(layout) + text)
        except FirewallError:
            raise refused from None
        return False
    return True


def _run_text(table: str, text: str) -> None:
    """Have libnftables run a text as one transaction.

    Each text gets a context of its own, because a context caches the host's ruleset.
    """
    try:
        ctypes.CDLL(_LIBRARY)  # without the library, the module's destructor prints an error too
    except OSError as error:
        raise FirewallError(
            f"{_LIBRARY} can't be loaded ({error}): apt install libnftables1"
        ) from error
    try:
        module = importlib.import_module("nftables")
    except ImportError as error:
        raise FirewallError(
            f"the Python module nftables is missing ({error}): "
            "apt install python3-nftables, or pip install pip-nftables"
        ) from error
    code, _, complaint = module.Nftables().cmd(text)
    if code == 0:
        return
    said = next((line for line in complaint.splitlines() if line.strip()), "no reason given")
    if os.strerror(errno.EPERM) in complaint:
        raise refused(table, netlink.Refusal(errno.EPERM, said, -1))
    raise FirewallError(
        f"table inet {table}: libnftables refuses the ruleset ({said}): "
        "compare nft list table with the configuration, and choose a table name that is no word "
        "of nft's"
    )
