"""A flood of requests costs no key exchanges, and who is there gets in all the same."""

from p2ptui.core.events import ConnectResult
from p2ptui.secure.retry import ASK_ABOVE_PER_S
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Wiretap
from tests.simulation import World

FLOOD = 2000


def test_under_load_who_is_there_comes_again_and_is_let_in() -> None:
    world = World(secured=True)
    tap = Wiretap(world)
    server, decoy, client = world.host(), world.host(), world.host()
    decoy.connect(server)
    request = next(seen.data for seen in tap.seen if seen.to == server.address)
    world.run_for(1)

    def flood(count: int) -> None:
        for number in range(count):
            forged = request.replace(b'"id":"', b'"id":"%08x' % number, 1)[: len(request) + 8]
            forged = forged.replace(b"%08x" % number + request[7:15], b"%08x" % number, 1)
            tap.inject(forged, (f"198.18.{number % 200}.{number // 200}", 1000 + number), server)

    flood(FLOOD)
    world.run_for(0.02)
    drops = server.endpoint.counters.drops
    assert drops["exchange_postponed"] >= FLOOD - 3 * ASK_ABOVE_PER_S
    token = client.connect(server)
    assert isinstance(client.outcome(token, within=3.0), ConnectResult)
    assert peer_of(client, server).is_secured
    assert client.outcome(client.send(server, "hello")).delivered
    assert any(b'"retry"' in seen.data for seen in tap.between(client, server))
