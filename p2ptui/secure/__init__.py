"""Secure sessions between two nodes: the key exchange, and what its keys seal.

No I/O and no clock; it knows nothing of messages, peers or tables. Of `cryptography` nothing is
loaded before a key is first used.

`noise/` is the Noise framework; `exchange` carries its handshake in a request, a response and one
frame; `transport` seals and opens with the keys of one exchange, `session` with those in use, of
before and to come; `replay` takes each datagram once; `frames` is what they look like on the wire.
`retry` asks for a token under load, before any key is used. `errors`: what can be refused, and why.
`one_way` is a message to a node whose keys are known, before there is a session.

`identity`: a node's keys and id, made from one seed, and statements that it signs. `known_nodes`:
whom this user's nodes have met before, and what to make of who comes back; `met`: who is met;
`strangers`: which of those that came by themselves are remembered. `secret`: a value that is never
shown, and how one is written for people. `presence`: what a node signs to say which server holds
it.
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
