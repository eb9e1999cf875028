"""Secured sessions with nodes that are reached through others: both ends seal and open.

An id derived from keys shows by itself that its node has keys. So nothing is sent in the open to
such a node through others, and nothing that arrives in the open in its name is believed: a node on
the path can drop sealed messages, and do nothing else. All other ids belong to nodes without keys.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Mode
from p2ptui.core.state import NodeState
from p2ptui.secure import SecureError, SecureSession, Transport
from p2ptui.secure.frames import UnknownSession, decode_unknown_session, encode_unknown_session
from p2ptui.secure.identity import PublicKeys, is_made_of_keys
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.sealed import Sealed, open_parts, seal_parts, to_bytes, to_text

MAX_FAR_SESSIONS: Final = 1024
"""Sessions through others; the least recently used one makes room."""

FAR_IDLE_S: Final = 900.0
"""How long an unused session is kept: its keys open nothing afterwards."""

SEALS_FOR_S: Final = 900.0
"""Keys this old seal nothing any more, whatever became of the exchange of new ones."""

OPENS_FOR_S: Final = 960.0
"""Keys this old open nothing any more."""

AWAKE: Final = 64
"""With more sessions than this, the objects made from their keys, which take kilobytes, are made
anew for each message."""

ASK_AGAIN_S: Final = 3.0
"""A node that again reports a session as unknown is not asked again before this time."""


@dataclass(slots=True, eq=False)
class FarSession:
    """The session with one node."""

    session: SecureSession
    keys: PublicKeys
    """The node's keys; its id is derived from them."""
    announced: tuple[str, ...]
    """The capabilities that it announced under its keys."""
    finish: str = ""
    """The last message of the exchange, added to each message until one comes back."""
    refusal: str = ""
    """What a refusal of that message names."""
    asked_at: float = -math.inf
    """When it was last reported as forgotten, and a new one requested."""


class FarSeals:
    """Keeps these sessions, and knows which nodes require one.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._sessions: BoundedTable[str, FarSession] = state.tables.add(
            "far_sessions",
            BoundedTable(
                MAX_FAR_SESSIONS,
                full="far_session_forgotten",
                shares=state.tables.shares,
                lifetime_s=FAR_IDLE_S,
                on_evicted=lambda _, far: far.session.rest(),
            ),
        )

    # Which nodes need seals.

    def is_needed(self, node_id: str, hops: Sequence[Peer] = ()) -> bool:
        """Whether messages to a node must be sealed for it.

        Args:
            node_id: The node's id.
            hops: The next hops: in its own secured session everything is sealed already.
        """
        if self._state.seals is None or not is_made_of_keys(node_id):
            return False
        return not hops or any(hop.node_id != node_id or hop.seal is None for hop in hops)

    def refusal_to(self, node_id: str) -> str:
        """Why nothing may be sent to a node; empty if it may."""
        seals = self._state.seals
        if seals is None or seals.keys.mode is not Mode.REQUIRE or is_made_of_keys(node_id):
            return ""
        return (
            f"node {node_id} has no keys, and this node speaks under seal only:"
            " set security.mode to prefer to reach it"
        )

    def is_believed(self, writer: Writer) -> bool:
        """Whether a message in the open may be from the node named as its writer."""
        seals, hop = self._state.seals, writer.origin.peer
        if seals is None:
            return True
        if not writer.is_second_hand and hop is not None and hop.seal is not None:
            return True
        return not (is_made_of_keys(writer.node_id) or seals.keys.mode is Mode.REQUIRE)

    # The sessions.

    def get(self, node_id: str, now: float) -> FarSession | None:
        """The session with a node, if it has one whose keys still open."""
        self._sessions.expire(now)
        far = self._sessions.get(node_id)
        if far is not None and now >= far.session.current.began_at + OPENS_FOR_S:
            self.forget(node_id)
            return None
        return far

    def enter(
        self,
        node_id: str,
        transport: Transport,
        keys: PublicKeys,
        capabilities: tuple[str, ...],
        now: float,
        *,
        address: Address | None,
        finish: str = "",
        refusal: str = "",
    ) -> bool:
        """A node has proved the keys of its id.

        Args:
            node_id: The id of the node.
            transport: The keys of the session; they replace earlier ones.
            keys: The node's keys.
            capabilities: The capabilities that it announced.
            now: The time, seconds.
            address: Where its messages come from; None: this node has asked for the session.
            finish: The message that it must be sent before it has the keys.
            refusal: What it names if it refuses that message.

        Returns:
            Whether there is room for it.
        """
        if self._state.seals is not None:
            self._state.seals.keys.note_session_keys(node_id, transport)
        far = self.get(node_id, now)
        if far is None:
            far = FarSession(SecureSession(transport), keys, capabilities, finish, refusal)
            return self._sessions.put(node_id, far, now, address=address)
        far.session.adopt(transport, now)
        far.announced, far.finish, far.refusal = capabilities, finish, refusal
        self._sessions.renew(node_id, now)
        return True

    def forget(self, node_id: str) -> None:
        """The session with a node has ended."""
        far = self._sessions.pop(node_id)
        if far is not None:
            far.session.rest()

    def needs_rekey(self, node_id: str, now: float) -> bool:
        """Whether the session with a node needs new keys."""
        far = self._sessions.get(node_id)
        return far is not None and far.session.needs_rekey(now)

    def seal(self, node_id: str, message: bytes, now: float) -> Sealed | None:
        """A message sealed for a node; None if there are no keys for that."""
        far = self.get(node_id, now)
        if far is None or now >= far.session.current.began_at + SEALS_FOR_S:
            return None
        try:
            frames = seal_parts(message, far.session.seal)
        except SecureError as error:
            self._state.counters.drop(f"far_{error.reason}")
            return None
        self._note_use(node_id, far, now)
        sealed = Sealed(frames=frames)
        if far.finish:
            sealed.finish = far.finish
        return sealed

    def open(self, node_id: str, frames: list[str], now: float) -> bytes | Sealed | None:
        """What a node has sealed: the message; what to tell the node instead; or None."""
        far, counters = self.get(node_id, now), self._state.counters
        try:
            read = [to_bytes(frame) for frame in frames] or [b""]
            if far is None:
                return _unknown(read[0])
            session = far.session
            message = open_parts(read, lambda frame: session.open(frame, now))
        except MalformedError:
            counters.drop("malformed")
            return None
        except SecureError as error:
            if error.reason == "unknown_session":
                return _unknown(read[0])
            counters.drop(f"far_{error.reason}")
            return None
        if session.current.opened:
            far.finish = far.refusal = ""
        self._note_use(node_id, far, now)
        return message

    def _note_use(self, node_id: str, far: FarSession, now: float) -> None:
        self._sessions.renew(node_id, now)
        if len(self._sessions) > AWAKE:
            far.session.rest()

    def has_forgotten(self, node_id: str, text: str, now: float) -> bool:
        """Whether a node's report that a session is unknown is about the current one. Anyone who
        has seen a frame can send it, so the session goes on until there is another."""
        far, unknown = self.get(node_id, now), _read_unknown(text)
        if far is None or unknown is None or not far.session.is_ours(unknown):
            return False
        if now < far.asked_at + ASK_AGAIN_S:
            return False
        far.asked_at = now
        return True


def _unknown(frame: bytes) -> Sealed | None:
    answer = encode_unknown_session(frame)
    return None if answer is None else Sealed(unknown=to_text(answer))


def _read_unknown(text: str) -> UnknownSession | None:
    try:
        return decode_unknown_session(to_bytes(text))
    except MalformedError:
        return None
