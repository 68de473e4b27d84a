"""How often the periodic tasks run."""

from typing import NamedTuple


class Intervals(NamedTuple):
    """Seconds between two runs of each periodic task.

    Attributes:
        reconcile: comparing the kernel's set with the bans, if nothing else triggers it.
        tidy: deleting what is no longer needed.
        status: reporting to the service manager, and looking at the logs and the clock.
        store: checking that the database file is still there.
        metrics: retrying to serve the metrics.
        web: looking for changes of the ``web.config.file``.
        addresses: reading the addresses of this host.
        addresses_again: repeating a reload that was refused when the addresses had changed.
        probe: measuring the delay of a busy event loop.
        probe_idle: measuring the delay of an idle event loop.
    """

    reconcile: float = 300.0
    tidy: float = 86400.0
    status: float = 10.0
    store: float = 5.0
    metrics: float = 60.0
    web: float = 5.0
    addresses: float = 60.0
    addresses_again: float = 3600.0
    probe: float = 0.25
    probe_idle: float = 4.0
