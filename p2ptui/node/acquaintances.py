"""Whom this node's user knows, and what that makes of everybody who comes.

Who was secured once is not spoken to in the open any more, and a pinned id is no other: such a
session does not come about. All else is let in and said: the session counts, and what to make of
who is on the other side is told with it.
"""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from p2ptui.bounded import BoundedTable
from p2ptui.core.acquaintance import Judged, TrustChanged
from p2ptui.core.addresses import visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.core.peers import Peer
from p2ptui.errors import UnknownPeerError
from p2ptui.node.known_nodes_book import KnownNodesBook
from p2ptui.secure.known_nodes import (
    MAX_KNOWN_ADDRESSES,
    Judgement,
    KnownNode,
    Met,
    Trust,
)
from p2ptui.text import printable
from p2ptui.wire.address import Address

log = logging.getLogger("p2ptui.node")

_OPEN: Final = Judgement(Trust.OPEN)


class Asked(NamedTuple):
    """How the user named an address."""

    joined: str
    """As it was typed."""
    pin: str = ""
    """The id that must be there; empty for whoever is."""


class Acquaintances:
    """Judges who comes, and remembers whom this node has met.

    Args:
        endpoint: The node's protocol.
        book: The known nodes.
        tell: Tells an event to all who read them.
    """

    def __init__(
        self, endpoint: Endpoint, book: KnownNodesBook, tell: Callable[[TrustChanged], None]
    ) -> None:
        self.book = book
        self._endpoint = endpoint
        self._tell = tell
        self._asked: BoundedTable[Address, Asked] = BoundedTable(MAX_KNOWN_ADDRESSES)
        """How the user named each address that this node has asked."""
        self._seals = endpoint.seals

    # Who has come.

    def note(self, event: PeerStatusChanged) -> None:
        """A peer's status has changed: whoever has a session now is met."""
        if event.status is not PeerStatus.AUTHENTICATED:
            return
        peer = self._endpoint.peers.at(event.address)
        if peer is None or not peer.is_authenticated:
            return
        before = peer.facts.judged
        met = self._met(peer)
        if before is not None and before.met == met and event.previous is None:
            return  # it goes on at another address
        judged = Judged(met, self._judge(met))
        if self._seals is not None:
            self.book.note(met)
        peer.facts.judged = judged
        self._say(peer, judged, None)

    def _met(self, peer: Peer) -> Met:
        keys = peer.seal.keys if peer.seal is not None else None
        asked = self._asked.get(peer.address)
        joined = asked.joined if asked is not None else None
        return Met(peer.node_id, keys, peer.name, joined)

    def _judge(self, met: Met) -> Judgement:
        # Without keys of its own this node cannot tell who anybody is.
        return _OPEN if self._seals is None else self.book.judge(met)

    def judge_again(self) -> None:
        """What is known has changed: look at everybody with a session anew."""
        for peer in list(self._endpoint.peers):
            judged = peer.facts.judged
            if judged is None or not peer.is_authenticated:
                continue
            judgement, before = self._judge(judged.met), judged.judgement
            if judgement == Judgement(Trust.KNOWN) and before.trust is Trust.NEW:
                continue  # by this very session
            if judgement != before:
                peer.facts.judged = Judged(judged.met, judgement)
                self._say(peer, peer.facts.judged, before.trust)

    def _say(self, peer: Peer, judged: Judged, previous: Trust | None) -> None:
        met, judgement = judged.met, judged.judgement
        signer_id = met.signer.id if met.signer is not None else ""
        self._tell(
            TrustChanged(
                met.id,
                visible_address(peer.sends_to),
                met.name,
                judgement.trust,
                previous,
                judgement.advice,
                signer_id,
            )
        )

    async def keep(self) -> None:
        """Keep the file of the known nodes, and look at everybody anew when somebody else has
        changed it; until cancelled."""
        await self.book.keep(self.judge_again)

    # What the user says.

    async def trust(self, ref: str, peer: Peer | None) -> KnownNode:
        """The user says that a node is the right one.

        Args:
            ref: Its name, its id, or the beginning of its id.
            peer: The one with a session that is meant by it, if one is.

        Raises:
            UnknownPeerError: None is known by it, or several are.
        """
        met = _met_as(peer)
        if met is not None and met.keys is None:
            raise UnknownPeerError(f"{_called(met)} has no keys: nobody can tell who it is")
        if met is not None and met.ephemeral:
            if met.signer is None:
                raise UnknownPeerError(
                    f"{_called(met)} has keys that last no longer than it runs: trust its user's"
                    " lasting node"
                )
            ref, met = met.lasting_id, None
        node = await self.book.trust(ref, met)
        self.judge_again()
        return node

    async def forget(self, ref: str, peer: Peer | None = None) -> KnownNode:
        """Forget a node: who comes next in its place is new.

        Args:
            ref: Its name, its id, the beginning of its id, or an address at which it was joined.
            peer: The one with a session that is meant by it, if one is.

        Raises:
            UnknownPeerError: None is known by it, or several are.
        """
        met, known = _met_as(peer), self.book.known
        if met is not None and known.at(ref) is None and known.get(met.lasting_id) is not None:
            ref = met.lasting_id
        node = await self.book.forget(ref)
        self.judge_again()
        return node


def _met_as(peer: Peer | None) -> Met | None:
    judged = peer.facts.judged if peer is not None else None
    return judged.met if judged is not None else None


def _called(met: Met) -> str:
    return printable(met.name, 64) or met.id
