"""Secure sessions between two nodes: the key exchange, and what its keys seal.

No I/O and no clock; it knows nothing about messages, peers or tables. `cryptography` is loaded when
a key is first used.

`noise/` is the Noise framework; `exchange` carries its handshake in a request, a response and one
frame; `transport` seals and opens with the keys of one exchange, `session` with the current,
previous and next ones; `replay` accepts each datagram once; `frames` is their form on the wire.
`retry` asks for a token under load, before any key is used. `errors`: what can be refused, and why.
`one_way` is a message to a node whose keys are known, before there is a session.

`identity`: a node's keys and id, made from one seed, and statements that it signs. `secret`: a
value that is never shown, and its form for people. `presence`: what a node signs to say which
server holds it.

`known_nodes`: the nodes that this user's nodes have met, and which of them are remembered;
`judging`: how far a node can be trusted. `met` is the current other side, `known_node` what is
known about one met before; `node_index` finds these by id and name, `known_addresses` by where they
answered; `strangers` came by themselves. `known_nodes_json`: all of it as JSON.
"""

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.exchange import (
    PATTERNS,
    Answer,
    Completed,
    Finished,
    Initiator,
    Responder,
    StaticKeys,
    prologue_of,
)
from p2ptui.secure.frames import decode_message_3
from p2ptui.secure.session import SecureSession
from p2ptui.secure.transport import SessionKeys, Transport

__all__ = [
    "PATTERNS",
    "Answer",
    "Completed",
    "Finished",
    "Initiator",
    "Reason",
    "Responder",
    "SecureError",
    "SecureSession",
    "SessionKeys",
    "StaticKeys",
    "Transport",
    "decode_message_3",
    "prologue_of",
]
