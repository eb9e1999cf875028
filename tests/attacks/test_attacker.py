"""The ledger counts what was sent in whose name, and what went there."""

from tests.attacks.attacker import Attacker, Ledger
from tests.simulation import World


def test_what_is_forged_is_the_victims_account() -> None:
    world = World()
    server = world.host()
    ledger = Ledger(server)
    pen = Attacker(world).in_the_name_of(("203.0.113.7", 53))

    sent = pen.send(pen.handshake_request(), server)
    world.run_for(1)

    account = ledger.of("203.0.113.7")
    assert account.came.size == sent
    assert account.handshakes == 1
    assert account.went.kinds["HandshakeResponse"] == 1
    assert 1.0 < account.factor <= 3.0
    assert account.datagrams_over <= 0
