"""All pairs of a LAN at once: a part of tests/bench/lan.py."""

from tests.bench.lan import run
from tests.patience import PATIENCE_S, SLOWER

PACKETS_A_PAIR = 8
"""On a quiet machine; on a busy one offers are repeated, and some are relayed for a moment. The
strict bound is asserted in tests/core/traversal/test_one_lan.py."""


def test_all_pairs_of_a_lan_meet_at_little_cost_to_the_server(requires_laboratory: None) -> None:
    outcome = run(10, watched_s=PATIENCE_S, until_direct=True)

    assert outcome.direct == outcome.pairs == 45
    assert outcome.connected == 45, outcome.errors
    assert outcome.server_packets <= SLOWER * PACKETS_A_PAIR * outcome.pairs
