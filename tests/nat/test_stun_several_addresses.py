"""STUN on all addresses of a machine, one of which is the alternate one (RFC 5780)."""

import pytest

from p2ptui.nat.stun_server import Abilities, Place, Reply, StunServer
from p2ptui.wire.address import Address, AskedAddress, own_host
from p2ptui.wire.stun import BINDING, Change, MessageClass, StunMessage, decode, encode

MAIN, ALTERNATE, CLIENT = "198.51.100.1", "198.51.100.2", ("192.0.2.9", 5000)
SERVER = StunServer(
    Abilities(
        {
            Place.OWN: ("0.0.0.0", 8080),
            Place.PRIMARY: (MAIN, 3478),
            Place.ALTERNATE_PORT: (MAIN, 3479),
            Place.ALTERNATE_ADDRESS: (ALTERNATE, 3478),
            Place.ALTERNATE_BOTH: (ALTERNATE, 3479),
        }
    )
)


def ask(server: StunServer, own: str, change: Change | None, source: Address = CLIENT) -> Reply:
    request = StunMessage(
        message_class=MessageClass.REQUEST,
        method=BINDING,
        transaction_id=bytes(12),
        change_request=change,
    )
    answer = server.answer(encode(request), AskedAddress(source, own), Place.OWN)
    assert isinstance(answer, Reply)
    return answer


@pytest.mark.parametrize("own", [MAIN, ALTERNATE])
@pytest.mark.parametrize("change", [None, Change.PORT, Change.BOTH])
def test_what_is_to_change_does_and_nothing_else(own: str, change: Change | None) -> None:
    reply = ask(SERVER, own, change)
    response = decode(reply.data)
    assert response.response_origin is not None
    host, port = response.response_origin
    assert (host != own) is (change is Change.BOTH)
    assert (port != 8080) is (change is not None)
    assert response.other_address is not None
    assert response.other_address[0] != own


def test_a_server_with_one_address_each_changes_none() -> None:
    server = StunServer(
        Abilities({Place.OWN: ("::", 8080), Place.PRIMARY: ("::", 3478)}, software="x")
    )
    for own, source in ((MAIN, CLIENT), ("2001:db8::1", ("2001:db8::9", 5000))):
        refused = decode(ask(server, own, Change.BOTH, source).data)
        assert refused.message_class is MessageClass.ERROR
        reply = ask(server, own, Change.PORT, source)
        assert reply.place is Place.PRIMARY
        assert own_host(reply.to) == own
        assert decode(reply.data).response_origin == (own, 3478)


def test_without_what_was_asked_no_origin_is_made_up() -> None:
    server = StunServer(Abilities({Place.OWN: ("0.0.0.0", 8080)}))
    assert decode(ask(server, "", None).data).response_origin is None
