"""Flow control of Data: how a node without room tells its senders, and what it does as a sender."""

import math
from typing import Final

from p2ptui.core.data.content import DataContent
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    Capability,
    MessageType,
    ReceiveWindowPayload,
    SequenceSkipPayload,
)

BUSY_INTERVAL_S: Final = 0.1
"""Within this time a sender is told only once about refused Data."""


class ReceiveWindows:
    """Tells senders how much room the readers here have, and heeds what others say about theirs.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports peers that leave.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        lifecycle.on_left.append(lambda peer, _: state.readers.forget(peer.node_id))

    def refuse_data(self, peer: Peer, content: DataContent, now: float) -> None:
        """There is no room for Data: its sender is told to wait, or the reader that it is lost."""
        if not content.message.requires_ack:
            self._state.drop_data(peer.node_id)
            return
        self._state.counters.drop("reader_full")
        self._ask_to_wait(peer, len(content.message.payload), now)

    def _ask_to_wait(self, peer: Peer, size_bytes: int, now: float) -> None:
        if Capability.RECEIVE_WINDOW not in peer.capabilities:
            return
        peer.channel.reassembly.pause()
        if not self._state.readers.wait(peer.node_id, size_bytes):
            self._state.counters.drop("reader_line_full")  # it learns of room when it asks again
        channel = peer.channel
        if now - channel.busy_told_at >= BUSY_INTERVAL_S:
            channel.busy_told_at = now
            self._tell(peer, 0, now)

    def handle_read(self, now: float) -> None:
        """A reader has read something: the senders that have waited longest are told, while there
        is room."""
        readers = self._state.readers
        while (found := readers.next_with_room(now)) is not None:
            node_id, room_bytes = found
            peer = self._state.peers.authenticated(node_id)
            if peer is not None:
                peer.channel.busy_told_at = -math.inf
                peer.channel.reassembly.resume(now)
                self._delivery.flush(peer, now)
                self._tell(peer, room_bytes, now)

    def _tell(self, peer: Peer, room_bytes: int, now: float) -> None:
        peer.channel.windows_told += 1
        payload = ReceiveWindowPayload(peer.handshake_heard, peer.channel.windows_told, room_bytes)
        self._delivery.send(peer, MessageType.RECEIVE_WINDOW, encode_payload(payload), now)

    def handle_update(self, peer: Peer, content: ReceiveWindowPayload, now: float) -> None:
        """A receiver says how much room it has."""
        peer.liveness.note_answer(now)
        peer.channel.sender.handle_receive_window(content.number, content.room, now)
        self._delivery.flush(peer, now)

    def handle_skip(self, _peer: Peer, _content: SequenceSkipPayload, _now: float) -> None:
        """A sender skips numbers: done when it was admitted, since only then it is acknowledged."""

    def admits_skip(self, peer: Peer, content: SequenceSkipPayload, _now: float) -> bool:
        """A sender skips numbers; returns whether it was believed and done."""
        channel = peer.channel
        if channel.numbers is None:
            self._state.counters.drop("skip_without_proof")
            return False
        if content.number <= channel.skips_heard:
            self._state.counters.drop("skip_repeated")
            return False
        channel.skips_heard = content.number
        channel.numbers.skip_to(content.sequence_number)
        return True
