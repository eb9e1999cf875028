"""Sealed messages to nodes that are reached through others, for `endtoend`.

Inside a routed message is Data, and inside that a `Sealed`: see `wire.sealed`. Its frames carry the
inner message, as it would have been routed in the open.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UNSET, Raw
from msgspec.structs import replace

from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction
from p2ptui.core.mesh.far_answering import FarAnswering
from p2ptui.core.mesh.far_asking import Asking, FarAsking
from p2ptui.core.mesh.far_seals import FarSeals
from p2ptui.core.mesh.routing import Refusal, Routing
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.mesh.tries import Tries
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import decode_envelope, decode_payload, encode_payload
from p2ptui.wire.message import Envelope, MessageType, RoutedPayload
from p2ptui.wire.sealed import SEALED, Sealed, is_sealed, sealed_size

INSIDE: Final = "inside"
"""The id shown in traces for the content of a sealed message, in place of the ids around it."""


class FarMessages:
    """Seals and opens inner messages, and makes the sessions for that.

    Args:
        state: The shared state.
        delivery: Makes messages.
        routing: Carries them.
        doubt: See `Tries`.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        routing: Routing,
        doubt: Callable[[Peer, float], None],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._routing = routing
        self.tries = Tries(routing, doubt)
        """Chooses the next hops."""
        self.seals = FarSeals(state)
        """The sessions."""
        self.asking: FarAsking | None = None
        """Requests sessions; None for a node without keys."""
        if state.seals is not None:
            self.asking = asking = FarAsking(state, state.seals, self.seals, self._ask)
            asking.on_made = self._finish
            self._answering = FarAnswering(state, state.seals, self.seals, asking)

    @property
    def _max_hops(self) -> int:
        return self._state.config.routing.max_hops

    def is_needed(self, node_id: str, hops: Sequence[Peer] = ()) -> bool:
        """Whether messages to a node must be sealed for it; see `FarSeals.is_needed`."""
        return self.asking is not None and self.seals.is_needed(node_id, hops)

    def require_allowed(self, node_id: str) -> None:
        """Raises:
        LocalError: The node has no keys, and this one speaks only under seal.
        """
        words = self.seals.refusal_to(node_id)
        if words:
            raise LocalError(words)

    def is_deaf(self, node_id: str, now: float) -> bool:
        """Whether a node is known not to answer inside routed messages. One with keys does,
        whatever lists say about it."""
        return not self.is_needed(node_id) and self._routing.is_deaf(node_id, now)

    def capabilities_of(self, writer: Writer, now: float) -> tuple[str, ...] | None:
        """The capabilities that a writer announced: under its keys if it has proved them. None if
        unknown."""
        far = self.seals.get(writer.node_id, now) if writer.is_sealed else None
        return self._routing.capabilities_of(writer.node_id, now) if far is None else far.announced

    def size(self, node_id: str, size: int) -> int:
        """The most bytes that an inner message of this size takes when routed to a node."""
        return sealed_size(size) if self.is_needed(node_id) else size

    def wrap(
        self, node_id: str, message: bytes, max_hops: int, hops: Sequence[Peer], now: float
    ) -> RoutedPayload | None:
        """Put an inner message into the routed form, sealed if it must be.

        Keys that are getting old are renewed at the same time.

        Args:
            node_id: The id of the receiver.
            message: The inner message.
            max_hops: As in `Routing.wrap`.
            hops: The next hops.
            now: The time, seconds.

        Returns:
            The routed form; None if it must be sealed, and there are no keys for that.
        """
        if not self.is_needed(node_id, hops):
            return self._routing.wrap(node_id, message, max_hops)
        sealed = self.seals.seal(node_id, message, now)
        if self.asking is not None and self.seals.needs_rekey(node_id, now):
            self.asking.renew(node_id, now)
        if sealed is None:
            return None
        return self._routing.wrap(node_id, self._write(sealed, now), max_hops)

    def originate(
        self, routed: RoutedPayload, message: bytes, hops: list[Peer] | None, now: float
    ) -> Refusal | None:
        """Send what was wrapped; returns why that failed. Arguments as for `wrap`."""
        refusal = self._routing.originate(routed, now, hops)
        if refusal is None:
            self._routing.contacts.note_sent(routed.destination_node)
            if hops and bytes(routed.original_message) != message:
                self._trace(Direction.OUT, hops[0].sends_to, hops[0].node_id, routed, message)
        return refusal

    def _write(self, sealed: Sealed, now: float) -> bytes:
        payload = encode_payload(sealed)
        _, message = self._delivery.build(MessageType.DATA, payload, now, ack_for=SEALED)
        return message

    def _trace(
        self, way: Direction, address: Address, hop: str, routed: RoutedPayload, message: bytes
    ) -> None:
        """Show the content in message traces, as if it had been in the open."""
        if self._state.tracing:
            inside = encode_payload(replace(routed, original_message=Raw(message)))
            _, data = self._delivery.build(MessageType.DATA, inside, 0.0, message_id=INSIDE)
            self._state.trace(way, address, hop, MessageType.DATA, data)

    def _ask(self, asking: Asking, now: float) -> Refusal | None:
        node_id, routing = asking.node_id, self._routing
        hops = self.tries.hops(node_id, asking.hops, now)
        routed = routing.wrap(node_id, self._write(asking.offer.request, now), self._max_hops)
        asking.hops, asking.route_id = tuple(hops), routed.route_id
        return routing.originate(routed, now, hops)

    def _finish(self, node_id: str, now: float) -> None:
        """There are new keys: if nothing was sent with them, the node does not know it yet."""
        far = self.seals.get(node_id, now)
        if far is not None and not far.session.current.sealed:
            hops = self._routing.next_hops(node_id, now)
            routed = self.wrap(node_id, b"", self._max_hops, (), now)
            if routed is not None:
                self._note(self._routing.originate(routed, now, hops))

    def open(self, writer: Writer, message: Envelope, now: float) -> tuple[Writer, Envelope] | None:
        """The message from the writer of a routed message.

        Returns:
            The message itself, and its writer, marked if its keys sealed the message; None if
            nothing more is to be done.

        Raises:
            MalformedError: It makes no sense.
        """
        asking = self.asking
        if asking is not None and is_sealed(message) and self.is_needed(writer.node_id):
            return self._unseal(asking, writer, message, now)
        if self.seals.is_believed(writer):
            return writer, message
        self._state.counters.drop("routed_unsealed")
        return None

    def _unseal(
        self, asking: FarAsking, writer: Writer, message: Envelope, now: float
    ) -> tuple[Writer, Envelope] | None:
        sealed, node_id = decode_payload(message.payload, Sealed), writer.node_id
        if sealed.exchange is not UNSET:
            self._answer(writer, self._answering.take_request(writer, sealed.exchange, now), now)
        elif sealed.answer is not UNSET:
            asking.take_answer(writer, sealed.answer, now)
        elif sealed.unknown is not UNSET:
            asking.hear_forgotten(node_id, sealed.unknown, now)
        elif sealed.refused is not UNSET:
            proof = sealed.proof if sealed.proof is not UNSET else ""
            asking.hear_refusal(node_id, sealed.refused, proof, now)
        elif sealed.frames is not UNSET:
            return self._open_frames(writer, sealed, now)
        return None

    def _open_frames(
        self, writer: Writer, sealed: Sealed, now: float
    ) -> tuple[Writer, Envelope] | None:
        if isinstance(sealed.finish, str):
            refusal = self._answering.take_finish(writer, sealed.finish, now)
            if refusal is not None:
                self._answer(writer, refusal, now)
                return None
        assert isinstance(sealed.frames, list)
        opened = self.seals.open(writer.node_id, sealed.frames, now)
        if isinstance(opened, Sealed):
            self._state.counters.drop("far_session_unknown")
            if self._answering.admits(writer, now):
                self._answer(writer, opened, now)
            return None
        if not opened:
            return None  # it does not open; or it is empty and only puts new keys into use
        message, origin, own_id = decode_envelope(opened), writer.origin, self._state.identity.id
        routed = RoutedPayload(
            Raw(opened), writer.node_id, own_id, writer.hops, writer.hops, INSIDE
        )
        self._trace(Direction.IN, origin.address, origin.node_id or "", routed, opened)
        return replace(writer, is_sealed=True), message

    def _answer(self, writer: Writer, sealed: Sealed | None, now: float) -> None:
        if sealed is not None:
            message = self._write(sealed, now)
            routed = self._routing.wrap(writer.node_id, message, self._max_hops)
            self._note(self._routing.originate(routed, now, _way_back(writer)))

    def reply(self, writer: Writer, message: bytes, now: float) -> None:
        """Answer an inner message on the path that it came by, and sealed if it was."""
        hops = _way_back(writer)
        if writer.is_sealed:
            routed = self.wrap(writer.node_id, message, self._max_hops, (), now)
        else:
            routed = self._routing.wrap(writer.node_id, message, self._max_hops)
        if routed is None:
            self._state.counters.drop("far_unanswered")
        else:
            self._note(self.originate(routed, message, hops, now))

    def _note(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._state.counters.drop(f"routed_{refusal.code}")


def _way_back(writer: Writer) -> list[Peer] | None:
    """The peer that brought a message: that path works."""
    hop = writer.origin.peer
    return [hop] if writer.is_second_hand and hop is not None else None
