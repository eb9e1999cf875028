"""The key exchange with a node that is reached through others: the asking side.

Its three messages are forwarded as Data. A node that wants to send something to such a node first
asks, and sends it when the answer has proved the keys of the node's id. The last message of the
exchange travels with the data, each time until something comes back, so neither loss nor reordering
costs anything. A node on the path can drop these messages, but it can neither answer for the other
node nor have anything sent in the open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.identity import RefusedError
from p2ptui.core.mesh.far_accounts import accept_account
from p2ptui.core.mesh.far_offers import FarOffer
from p2ptui.core.mesh.far_seals import FarSeals
from p2ptui.core.mesh.routing import Refusal
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Seals
from p2ptui.core.sessions.offering import own_account
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer
from p2ptui.text import counted
from p2ptui.wire.message import ErrorCode

MAX_ASKING: Final = 256
"""Nodes that are asked for a session at once."""

MAX_READ: Final = 64
"""Answers to one request that are examined: each costs a key exchange, and all but one are
forged."""

FIRST_RTO_S: Final = 1.0
LONGEST_RTO_S: Final = 4.0
"""The longest time between two tries: everything queued depends on the session, so it is kept
short."""

TRIES_FOR_EACH: Final = 2
"""Likewise: tries for each try of a message."""

REFUSALS: Final = 3
"""This many suffice, although anybody on the path can forge one: they could drop all messages just
as well."""

BESIDE_S: Final = 30.0
"""How long new keys are requested while the old ones still seal."""

WORDS_LENGTH: Final = 200
"""Characters of a refusal that are kept."""


@dataclass(slots=True, eq=False)
class Asking:
    """An exchange that this node has begun."""

    node_id: str
    deadline: float
    offer: FarOffer
    is_restart: bool = False
    """Whether the node has forgotten a session: messages sent in it are sent again."""
    tries: int = 0
    read: int = 0
    refusals: int = 0
    """How often somebody said that there will be no session: anybody on the path can."""
    refused: str = ""
    """The reason given: remote text."""
    hops: tuple[Peer, ...] = ()
    """The peers that were handed the last try."""
    route_id: str = ""
    """The `route_id` of the last try."""
    timer: Timer | None = None


class FarAsking:
    """Begins exchanges.

    Args:
        state: The shared state.
        seals: This node's keys.
        far: The sessions that result.
        send: Sends a request, and returns why that failed.
    """

    def __init__(
        self,
        state: NodeState,
        seals: Seals,
        far: FarSeals,
        send: Callable[[Asking, float], Refusal | None],
    ) -> None:
        self._state = state
        self._seals = seals
        self._far = far
        self._send = send
        self._asking: BoundedTable[str, Asking] = state.tables.add(
            "far_asking", BoundedTable(MAX_ASKING, refuses=True, full="far_unasked")
        )
        self.on_ready: Callable[[str, float, bool], None] = lambda *_: None
        """Called with the id of a node that now has a session, the time, and whether it has lost
        what was sent before."""
        self.on_made: Callable[[str, float], None] = lambda *_: None
        """Called after that, if the session resulted from this node's request."""
        self.on_failed: Callable[[str, str, bool], None] = lambda *_: None
        """Called with the id of a node without a session, why, and whether that is final."""

    def ask(
        self, node_id: str, now: float, deadline: float, *, is_restart: bool = False
    ) -> Refusal | None:
        """Get a session, or new keys for one; returns why that cannot even begin.

        Args:
            node_id: The id of the other node.
            now: The time, seconds.
            deadline: Until when a call waits for it, seconds.
            is_restart: Whether the node has forgotten the previous session.
        """
        asking = self._asking.get(node_id)
        if asking is not None:
            asking.deadline = max(asking.deadline, deadline)
            asking.is_restart |= is_restart
            return None
        if not self._asking.has_room:
            words = f"{MAX_ASKING} sessions by way of others are awaited already; try again later"
            return Refusal(ErrorCode.NO_ROOM, words)
        return self._begin(node_id, now, deadline, self._seals.keys.psk, is_restart=is_restart)

    def is_asking(self, node_id: str) -> bool:
        """Whether a node is being asked for a session or new keys."""
        return node_id in self._asking

    def is_for_restart(self, node_id: str) -> bool:
        """Whether it is asked because it has forgotten a session."""
        asking = self._asking.get(node_id)
        return asking is not None and asking.is_restart

    def renew(self, node_id: str, now: float) -> None:
        """A session needs new keys: request them while it goes on."""
        if node_id not in self._asking:
            self.ask(node_id, now, now + BESIDE_S)

    def _begin(
        self, node_id: str, now: float, deadline: float, psk: bytes | None, *, is_restart: bool
    ) -> Refusal | None:
        offer = FarOffer(self._seals, self._state.identity.id, node_id, psk)
        asking = Asking(node_id, deadline, offer, is_restart)
        self._asking.put(node_id, asking)
        return self._try(asking, now)

    def _try(self, asking: Asking, now: float) -> Refusal | None:
        asking.tries += 1
        refusal = self._send(asking, now)
        if refusal is not None:
            asking.refused = refusal.text
        pause = min(FIRST_RTO_S * 2.0 ** min(asking.tries - 1, 16), LONGEST_RTO_S)
        asking.timer = self._state.timers.schedule(now + pause, partial(self._try_again, asking))
        return refusal

    def _try_again(self, asking: Asking, now: float) -> None:
        if self._asking.get(asking.node_id) is not asking:
            return
        if now >= asking.deadline or self._state.closing:
            self.forget(asking.node_id)
        elif asking.refusals >= REFUSALS or (
            asking.tries >= TRIES_FOR_EACH * self._state.config.reliability.max_tries
        ):
            self._fail(asking, self.words(asking.node_id), is_final=False)
        else:
            self._try(asking, now)

    def words(self, node_id: str) -> str:
        """Why there is no session yet with a node that is being asked."""
        asking = self._asking.get(node_id)
        tries = "" if asking is None else f" after {counted(asking.tries, 'try', 'tries')}"
        said = "" if asking is None or not asking.refused else f" ({asking.refused})"
        return (
            f"node {node_id} has not answered the key exchange{tries}{said};"
            " nothing was sent to it in the open: connect to it directly, or try again later"
        )

    def forget(self, node_id: str) -> None:
        """No call waits for a session with a node any more."""
        asking = self._asking.pop(node_id)
        if asking is not None and asking.timer is not None:
            asking.timer.cancel()

    def _fail(self, asking: Asking, words: str, *, is_final: bool) -> None:
        self.forget(asking.node_id)
        self.on_failed(asking.node_id, words, is_final)

    def hear_forgotten(self, node_id: str, text: str, now: float) -> None:
        """A node says that it does not know a session."""
        if self._far.has_forgotten(node_id, text, now):
            self.ask(node_id, now, now + BESIDE_S, is_restart=True)
        else:
            self._state.counters.drop("unknown_session")

    def hear_refusal(self, node_id: str, words: str, proof: str, now: float) -> None:
        """Somebody says why there will be no session; whether it is the node itself must be
        proved."""
        words = words[:WORDS_LENGTH]
        asking, far = self._asking.get(node_id), self._far.get(node_id, now)
        if asking is not None:
            asking.refusals += 1
            asking.refused = f"somebody says: {words}"
            if asking.offer.by_network_key and node_id in self._seals.keys.allowed_ids:
                self.forget(node_id)
                is_restart = asking.is_restart
                self._begin(node_id, now, asking.deadline, None, is_restart=is_restart)
        elif far is not None and far.refusal and proof == far.refusal:
            self._far.forget(node_id)
            if node_id in self._seals.keys.allowed_ids and self._seals.keys.psk:
                self._begin(node_id, now, now + BESIDE_S, None, is_restart=True)
            else:
                self.on_failed(node_id, f"node {node_id} refuses: {words}", True)

    def hear_no_way(self, route_id: str, words: str) -> None:
        """A node that was handed a request cannot forward it."""
        for asking in self._asking.values():
            if asking.route_id == route_id:
                asking.refused = words[:WORDS_LENGTH]

    def take_answer(self, writer: Writer, text: str, now: float) -> None:
        """Message 2: it proves the keys of the node, unless it is from somebody else."""
        node_id = writer.node_id
        asking = self._asking.get(node_id)
        if asking is None or asking.read >= MAX_READ:
            self._state.counters.drop("far_answer_unasked")
            return
        asking.read += 1
        shown = asking.offer.read(text)
        if shown is None:
            self._state.counters.drop("far_answer_refused")
            return
        keys = shown.keys
        if keys.id != node_id:
            self._state.counters.drop("another_key")
            return
        try:
            info = accept_account(
                self._state,
                self._seals,
                shown.account,
                keys,
                writer,
                now,
                by_network_key=asking.offer.by_network_key,
                is_asked=False,
            )
        except RefusedError as error:
            self._far.forget(node_id)
            self._fail(asking, str(error), is_final=True)
            return
        account = own_account(self._state.identity, self._seals, self._state.unix(now))
        finished = asking.offer.finish(account, now)
        if finished is None:
            self._state.counters.drop("far_answer_refused")
            return
        transport, last = finished
        self.forget(node_id)
        self._far.enter(
            node_id,
            transport,
            keys,
            info.capabilities,
            now,
            address=None,
            finish=last,
            refusal=shown.refusal,
        )
        self.on_ready(node_id, now, asking.is_restart)
        self.on_made(node_id, now)
