"""Whether there is a node at an address that does not answer STUN.

A node answers a stranger's Ping: ours with an Error that asks for a handshake, the reference's with
a Pong. Either shows that UDP gets there, and that only STUN is missing.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from p2ptui.core.gate import Gate
from p2ptui.io.exits import Exit
from p2ptui.io.udp import DatagramSocket
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_envelope, encode_envelope, encode_payload
from p2ptui.wire.message import Envelope, MessageType, PingPayload

SENDS: Final = 3
PAUSE_S: Final = 0.4
"""Between two Pings, and after the last: together within the time that a silent STUN server
gets.
"""

PADDING: Final = 64
"""Characters of the Ping's nonce: they make the Ping long enough for an Error of three times its
size.
"""

BATCH: Final = 16


async def is_node_at(
    open_socket: Callable[[Address], Awaitable[DatagramSocket]],
    local_host: str,
    address: Address,
    rng: random.Random,
    gate: Gate | None = None,
) -> bool:
    """Whether anyone at an address speaks the node protocol.

    Args:
        open_socket: Opens a socket at a local address.
        local_host: Where to open it.
        address: The address to ask: a literal IP address and a port.
        rng: The source of ids.
        gate: Grants the Pings; None makes a new one.

    Raises:
        BindError: The socket cannot be opened.
    """
    sock = await open_socket((local_host, 0))
    way_out = Exit(sock, gate)
    try:
        for _ in range(SENDS):
            if not way_out.ask(_ping(rng), address):
                break
            try:
                async with asyncio.timeout(PAUSE_S):
                    while True:
                        await sock.wait()
                        if any(_is_answer(*each, address) for each in sock.drain(BATCH)):
                            return True
            except TimeoutError:
                continue
    finally:
        sock.close()
    return False


def _ping(rng: random.Random) -> bytes:
    payload = encode_payload(PingPayload(f"{rng.getrandbits(4 * PADDING):0{PADDING}x}"))
    message_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    return encode_envelope(Envelope(message_id, MessageType.PING, int(time.time()), payload))


def _is_answer(data: bytes, source: Address, address: Address) -> bool:
    if source != address:
        return False
    try:
        decode_envelope(data)
    except MalformedError:
        return False
    return True
