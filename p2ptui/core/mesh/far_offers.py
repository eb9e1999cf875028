"""A key exchange that this node has begun with a node reached through others."""

from typing import NamedTuple

from p2ptui.core.mesh.far_accounts import request_bytes
from p2ptui.core.sealing import Seals
from p2ptui.core.sessions.offering import last_message
from p2ptui.secure import Initiator, SecureError, Transport
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.exchange import Account, decode_far_answer
from p2ptui.wire.sealed import Sealed, to_text


class Shown(NamedTuple):
    """The content of an answer, and whose it is."""

    keys: PublicKeys
    account: Account
    refusal: str
    """What a refusal of the last message names."""


class FarOffer:
    """Offers keys, and reads the answer.

    Args:
        seals: This node's keys.
        own_id: This node's id.
        node_id: The id of the node that is asked.
        psk: The network key; None: there is none.
    """

    def __init__(self, seals: Seals, own_id: str, node_id: str, psk: bytes | None) -> None:
        self._initiator = Initiator(seals.static, number=seals.new_number(), psk=psk)
        placeholder = self._initiator.placeholder
        request = self._initiator.fill(request_bytes(own_id, node_id, placeholder))
        self.request = Sealed(exchange=request.partition(b'"')[2][:-1].decode("ascii"))
        """The request to send."""

    @property
    def by_network_key(self) -> bool:
        """Whether answering requires the network key."""
        return self._initiator.by_network_key

    def read(self, text: str) -> Shown | None:
        """Read an answer; None if it does not belong to this request."""
        try:
            answer = self._initiator.read_answer(text)
            inside = decode_far_answer(answer.payload)
        except (SecureError, MalformedError):
            return None
        keys = PublicKeys(answer.remote_static, inside.account.ed_public)
        return Shown(keys, inside.account, inside.refusal.hex())

    def finish(self, own: Account, now: float) -> tuple[Transport, str] | None:
        """State who this node is, to the node whose answer was last read.

        Args:
            own: This node's account.
            now: The time, seconds.

        Returns:
            The keys of the session, and the last message; None if nobody was read.
        """
        last = last_message(self._initiator, own, now)
        return None if last is None else (last[0].transport, to_text(last[1]))
