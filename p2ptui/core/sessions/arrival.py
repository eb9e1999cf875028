"""Requests for a handshake, read: who asks, from where, and whether that can be a peer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from msgspec import UNSET, UnsetType

from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relayed_node
from p2ptui.core.identity import RefusedError, accept_node_info
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.text import counted
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import Envelope, NodeInfo, ReceivedNodeInfo


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a newcomer had at its last address, where it was found silent."""

    channel: Channel | None = None
    former_ids: tuple[str, ...] = ()
    """Of the requests that it made from there: copies may come late."""


NOTHING: Final = Legacy()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A HandshakeRequest that passed all checks but that of its id's owner."""

    address: Address
    message: Envelope
    info: NodeInfo
    earned: Purse
    """What the request pays for."""
    legacy: Legacy = NOTHING
    continues: str | UnsetType = UNSET
    """What names the session that goes on, if one does."""

    came_by: Address | None = None
    """Where its answer goes, if not to its address: a relayed node may come by another server."""

    def bringing(self, channel: Channel | None) -> "Arrival":
        """The same, with what it had elsewhere."""
        return replace(self, legacy=replace(self.legacy, channel=channel))


Refuse: TypeAlias = Callable[[Address, Envelope, Purse, str, float], None]
"""Is told where a request came from, the request, what it pays for, why it is refused, and when."""


class Requests:
    """Reads requests, and turns away who cannot be a peer.

    Args:
        state: The shared ground.
        lifecycle: Knows whether there is room.
        refuse: Tells who is turned away.
    """

    def __init__(self, state: NodeState, lifecycle: Lifecycle, refuse: Refuse) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._refuse = refuse

    def read(
        self, address: Address, message: Envelope, earned: Purse, legacy: Legacy, now: float
    ) -> Arrival | None:
        """Check who asks; None where that is refused.

        Args:
            address: Where the request came from.
            message: The request.
            earned: What it pays for.
            legacy: What it had at its last address.
            now: The time, seconds.
        """
        try:
            received = decode_payload(message.payload, ReceivedNodeInfo)
            info = accept_node_info(received, self._state.identity, relayed_node(address))
            self._check_room(address, info.id, now)
        except MalformedError as error:
            self._refuse(address, message, earned, f"malformed handshake: {error}", now)
        except RefusedError as error:
            self._refuse(address, message, earned, str(error), now)
        else:
            return Arrival(address, message, info, earned, legacy, received.continues)
        return None

    def _check_room(self, address: Address, node_id: str, now: float) -> None:
        peers = self._state.peers
        if peers.at(address) is not None or peers.with_id(node_id) is not None:
            return
        if not self._lifecycle.make_room(now):
            limit = self._state.config.server.max_connections
            raise RefusedError(f"the server is full: {counted(limit, 'peer')} (max_connections)")
