"""A request with a key exchange, as a handshake carries it, and two sides that went through it."""

import json
from dataclasses import dataclass

from p2ptui.secure import Completed, Finished, Initiator, Responder, StaticKeys

NETWORK_KEY = b"n" * 32
KEY = "key_exchange"


def request_with(placeholder, **more):
    """A request's bytes, with this as the value of its key exchange."""
    payload = {"name": "alice", KEY: placeholder, "capabilities": ["frames"], **more}
    return json.dumps({"message_type": "HandshakeRequest", "payload": payload}).encode()


def value_in(request):
    """The value of the key exchange that a request carries."""
    return json.loads(request)["payload"][KEY]


@dataclass
class Exchanged:
    """Both sides of a key exchange, and what each of them has of it."""

    alice: StaticKeys
    bob: StaticKeys
    finished: Finished
    completed: Completed


def exchange(psk=None, now=0.0, numbers=(0xA11CE, 0xB0B), alice=None, bob=None):
    """Go through one: Alice asks, Bob answers."""
    alice, bob = alice or StaticKeys.generate(), bob or StaticKeys.generate()
    initiator = Initiator(alice, number=numbers[0], psk=psk)
    request = initiator.fill(request_with(initiator.placeholder))
    responder = Responder(request, value_in(request), bob, psk=psk)
    initiator.read_answer(responder.answer(b"about bob", number=numbers[1]))
    finished = initiator.finish(b"about alice", now)
    return Exchanged(alice, bob, finished, responder.complete(finished.message_3, now))
