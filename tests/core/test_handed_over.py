"""What is handed over stays what it is, compiled or not; addresses: `test_asked_addresses.py`."""

import pytest

from p2ptui.wire.frames import RELAY, Unfragmented, decode_relay, encode_relay
from tests.simulation import World


def test_a_datagram_that_must_not_be_cut_says_so_on_both_legs() -> None:
    wrapped = encode_relay(RELAY, bytes(16), Unfragmented(b"{}"))
    assert type(wrapped) is Unfragmented
    told = decode_relay(wrapped)
    assert told is not None
    assert type(told[1]) is Unfragmented


@pytest.mark.parametrize("data", [b"", b"{", b"\x00" * 40, b'{"a":1}', b"\xe0" * 80, b"[1,2]"])
def test_what_is_no_message_is_no_error(data: bytes) -> None:
    """Nor where what is compiled looks at the types of all that it is handed."""
    world = World()
    host = world.host()
    host.endpoint.receive_datagram(data, ("192.0.2.9", 9), world.now)
