"""All pairs of a LAN at once: a part of tests/bench/lan.py."""

from tests.bench.lan import run

PACKETS_A_PAIR = 26
"""At most, however busy the machine is: 5,000 for twenty nodes. On a quiet one there are 8."""


def test_all_pairs_of_a_lan_meet_at_little_cost_to_the_server(requires_laboratory: None) -> None:
    outcome = run(10, watched_s=15.0)

    assert outcome.direct == outcome.pairs == 45
    assert outcome.connected == 45, outcome.errors
    assert outcome.server_packets <= PACKETS_A_PAIR * outcome.pairs
