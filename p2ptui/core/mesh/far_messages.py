"""What is said under seal to nodes that are reached by way of others, as `endtoend` says it.

Inside a routed message is Data, and in that a `Sealed`: see `wire.sealed`. In its frames is the
inner message, as it would have been routed in the open.
"""

from collections.abc import Callable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.far_answering import FarAnswering
from p2ptui.core.mesh.far_asking import Asking, FarAsking
from p2ptui.core.mesh.far_seals import FarSeals
from p2ptui.core.mesh.routing import Refusal, Routing
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.mesh.tries import Tries
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError
from p2ptui.wire.codec import decode_envelope, decode_payload, encode_payload
from p2ptui.wire.message import Envelope, MessageType
from p2ptui.wire.sealed import SEALED, Sealed, is_sealed, sealed_size


class FarMessages:
    """Seals and opens inner messages, and makes the sessions for that.

    Args:
        state: The shared ground.
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
        """Chooses whom something is handed to."""
        self.seals = FarSeals(state)
        """The sessions."""
        self.asking: FarAsking | None = None
        """Asks for them; None for a node without keys."""
        if state.seals is not None:
            self.asking = asking = FarAsking(state, state.seals, self.seals, self._ask)
            self._answering = FarAnswering(state, state.seals, self.seals, asking)

    def is_needed(self, node_id: str, hops: Sequence[Peer] = ()) -> bool:
        """Whether what goes to a node must be sealed for it; see `FarSeals.is_needed`."""
        return self.asking is not None and self.seals.is_needed(node_id, hops)

    def require_allowed(self, node_id: str) -> None:
        """Raises:
        LocalError: A node without keys, and this one speaks under seal only.
        """
        words = self.seals.refusal_to(node_id)
        if words:
            raise LocalError(words)

    def is_deaf(self, node_id: str, now: float) -> bool:
        """Whether a node is known not to answer inside routed messages. One with keys does,
        whatever is listed of it."""
        return not self.is_needed(node_id) and self._routing.is_deaf(node_id, now)

    def capabilities_of(self, writer: Writer, now: float) -> tuple[str, ...] | None:
        """What a writer announced: under its keys if it has shown them. None if nobody told."""
        far = self.seals.get(writer.node_id, now) if writer.is_sealed else None
        return (
            self._routing.capabilities_of(writer.node_id, now) if far is None else far.capabilities
        )

    def size(self, node_id: str, size: int) -> int:
        """How long an inner message of so many bytes is at most, as it is routed to a node."""
        return sealed_size(size) if self.is_needed(node_id) else size

    def seal(self, node_id: str, message: bytes, now: float) -> bytes | None:
        """An inner message as it is routed to a node under seal; None while there are no keys.

        Keys that are getting old are replaced beside that.
        """
        sealed = self.seals.seal(node_id, message, now)
        if self.asking is not None and self.seals.needs_rekey(node_id, now):
            self.asking.renew(node_id, now)
        return None if sealed is None else self._wrap(sealed, now)

    def _wrap(self, sealed: Sealed, now: float) -> bytes:
        payload = encode_payload(sealed)
        _, message = self._delivery.build(MessageType.DATA, payload, now, ack_for=SEALED)
        return message

    def _ask(self, asking: Asking, now: float) -> Refusal | None:
        node_id, routing = asking.node_id, self._routing
        hops = self.tries.hops(node_id, asking.hops, now)
        message, max_hops = (
            self._wrap(asking.offer.request, now),
            self._state.config.routing.max_hops,
        )
        routed = routing.wrap(node_id, message, max_hops)
        asking.hops, asking.route_id = tuple(hops), routed.route_id
        return routing.originate(routed, now, hops)

    def open(self, writer: Writer, message: Envelope, now: float) -> tuple[Writer, Envelope] | None:
        """What came from the writer of a routed message.

        Returns:
            The message itself, and its writer as one who has shown its keys where they sealed it;
            None where there is nothing more to be done about it.

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
        if opened is None:
            return None
        return replace(writer, is_sealed=True), decode_envelope(opened)

    def _answer(self, writer: Writer, sealed: Sealed | None, now: float) -> None:
        if sealed is not None:
            self.hand_back(writer, self._wrap(sealed, now), now)

    def reply(self, writer: Writer, message: bytes, now: float) -> None:
        """Answer an inner message as it came: under seal, if it was."""
        answer: bytes | None = message
        if writer.is_sealed:
            answer = self.seal(writer.node_id, message, now)
        if answer is None:
            self._state.counters.drop("far_unanswered")
        else:
            self.hand_back(writer, answer, now)

    def hand_back(self, writer: Writer, message: bytes, now: float) -> None:
        """Send something by the way that a message came: that one works."""
        routed = self._routing.wrap(writer.node_id, message, self._state.config.routing.max_hops)
        hop = writer.origin.peer
        came_by = [hop] if writer.is_second_hand and hop is not None else None
        refusal = self._routing.originate(routed, now, came_by)
        if refusal is not None:
            self._state.counters.drop(f"routed_{refusal.code}")
