"""Goodbye to a node that has answered in the open and is no peer: it may have begun a session, and
would list this node until that session times out."""

from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction
from p2ptui.core.identity import dialect_of
from p2ptui.core.peers import Dialect
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import DisconnectPayload, Envelope, MessageType


def part(
    state: NodeState, delivery: Delivery, address: Address, answer: Envelope, why: str, now: float
) -> None:
    """Say goodbye to a node that has admitted this one, in a way that only this node can.

    Args:
        state: The shared state.
        delivery: Makes messages.
        address: The address that was asked.
        answer: The response that admitted it.
        why: The reason, in a few words.
        now: The time, seconds.
    """
    goodbye = DisconnectPayload(why)
    if dialect_of(answer) is Dialect.SPEC:
        goodbye.handshake = answer.id
    kind = MessageType.DISCONNECT
    _, data = delivery.build(kind, encode_payload(goodbye), now)
    state.trace(Direction.OUT, address, "", kind, data)
    state.gate.send(data, address, state.gate.grant(Reason.GOODBYE, address, now))
