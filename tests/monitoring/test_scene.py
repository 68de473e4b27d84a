"""The scene shows what it says: an attack, seen by a real Prometheus."""

import pytest

P = "xmlrpc_blocker_"


@pytest.mark.parametrize(
    "expression",
    [
        f"sum(increase({P}hits_total[1m])) > 60",
        f"sum(increase({P}requests_total[1m])) > sum(increase({P}hits_total[1m]))",
        f"sum(increase({P}parse_failures_total[1m])) > 0",
        f'{P}active_bans{{family="ipv4"}} > 1',
        f'{P}active_bans{{family="ipv6"}} > 1',
        f'increase({P}dropped_packets_total{{family="ipv4"}}[1m]) > 0',
        f'increase({P}dropped_packets_total{{family="ipv6"}}[1m]) > 0',
        f"{P}repeat_offenders > 3",
        f"count({P}log_up == 1) == 2",
        f"sum({P}log_lag_bytes) == 0",
    ],
)
def test_prometheus_sees_the_attack(watched, expression):
    """Hits among requests, bans of both families, drops, and offenders that came back."""
    assert watched.prometheus.query(expression)
