"""A session under seal is certain with the first frame of it that opens: what else answers its
request, from elsewhere or late, begins no other one."""

import pytest

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import World


@pytest.mark.parametrize("moves", [True, False], ids=["asker moves", "asker stays"])
def test_a_session_without_the_ack_of_its_request_goes_on(moves: bool) -> None:
    world = World(secured=True)
    asker, answerer = world.host(), world.host()
    tap = Wiretap(world)
    until = world.now + 0.3

    def lose_acks(seen: Seen) -> bytes | None:
        is_lost = seen.is_sealed and seen.source == answerer.address and seen.when < until
        return None if is_lost else seen.data

    tap.rules.append(lose_acks)
    asker.outcome(asker.connect(answerer))
    peer = asker.endpoint.peers.with_id(answerer.id)
    world.run_until(lambda: peer.seal.session.current.opened > 0)
    assert not peer.facts.acks, "the request is not acknowledged"
    if moves:
        world.move(asker)
    world.run_for(10)

    told = [each for each in asker.told(PeerStatusChanged) if each.previous is not None]
    told = told[[each.status for each in told].index(PeerStatus.AUTHENTICATED) + 1 :]
    assert PeerStatus.HANDSHAKING not in [each.status for each in told]
    assert peer.is_authenticated
    assert asker.outcome(asker.send(answerer, "still here")).delivered
