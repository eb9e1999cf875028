"""The nodes that this node's user knows, and how others are judged by them.

A node that was secured once is no longer accepted in the open, and another id than a pinned one is
refused: no such session begins. Everyone else is admitted and reported: the session counts, and the
judgement of the other side is reported with it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.acquaintance import Judged, TrustChanged
from p2ptui.core.addresses import address_words, visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import ConnectResult, PeerStatus, PeerStatusChanged
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Mode
from p2ptui.errors import HandshakeError, LocalError, UnknownPeerError
from p2ptui.node.known_nodes_book import KnownNodesBook
from p2ptui.node.meant import against, several
from p2ptui.node.peer_warnings import MAX_TOLD, PeerWarnings
from p2ptui.secure.identity import (
    PublicKeys,
    StatementError,
    read_short_statement,
    signer_in,
)
from p2ptui.secure.known_nodes import (
    MAX_KNOWN_ADDRESSES,
    Judgement,
    KnownNode,
    Met,
    Trust,
)
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.joined import JoinedAddress, joined_text

log = logging.getLogger("p2ptui.node")

PART: Final = 200
"""Peers that are judged in one go: some milliseconds."""

_AUTHENTICATED: Final = PeerStatus.AUTHENTICATED
_LETS_ANYONE_IN: Final = Mode.OPEN
_OPEN: Final = Judgement(Trust.OPEN)
_OWN: Final = Judgement(Trust.VERIFIED)
"""Another node of this node's user: only the keys of its identity prove that."""


class Acquaintances:
    """Judges other nodes, and remembers those that this node has met.

    Args:
        endpoint: The node's protocol.
        book: The known nodes.
        tell: Reports an event to all readers.
    """

    def __init__(
        self, endpoint: Endpoint, book: KnownNodesBook, tell: Callable[[TrustChanged], None]
    ) -> None:
        self.book = book
        self._endpoint = endpoint
        self._tell = tell
        self._asked: BoundedTable[Address, JoinedAddress] = BoundedTable(MAX_KNOWN_ADDRESSES)
        """How the user named each address that this node has asked."""
        self._led_to: BoundedTable[Address, str] = BoundedTable(MAX_KNOWN_ADDRESSES)
        """The node that joining at each address led to first: only that one is named by the
        address."""
        self.kept_pin: Callable[[Address], str] = lambda _: ""
        """Returns the id in a configured join that has led to an address; empty without one."""
        self.is_kept: Callable[[JoinedAddress], bool] = lambda _: False
        """Whether a join is configured with exactly this text."""
        self._warnings = PeerWarnings()
        self._met_here: BoundedTable[str, Judged] = BoundedTable(MAX_TOLD)
        """Nodes that had a session, by id: what they have sent may be read when they are gone."""
        self.on_refused: Callable[[Address, str, PublicKeys | None], None] = lambda *_: None
        """Called when a node that answered is refused, with its address, its id and its keys."""
        book.heed(self._is_here)
        self._user_id: str | None = None
        """See `_find_user`; None until it is needed."""
        self._seals = seals = endpoint.seals
        if seals is not None:
            seals.judge, seals.turn_away = self._judge_answer, self._judge_request

    def _is_here(self, node_id: str) -> bool:
        return self._endpoint.peers.authenticated(node_id) is not None

    # Nodes that this one asks, and nodes that ask it.

    def ask(self, address: JoinedAddress) -> Address:
        """This node is about to ask an address for a session; returns the plain address.

        The id required there is the one named now. Without one, it is that of a configured join
        that has led to this address: connecting to a server that was left means joining it again.

        Raises:
            LocalError: An id is named, and this node has no keys to check it with.
        """
        plain = address.plain
        if address.pin and self._seals is None:
            raise LocalError(
                f"{joined_text(address)}: this node has no keys (node_id is set), and cannot tell"
                " which node answers; leave node_id out, or the id after the #"
            )
        if not address.pin and (pin := self.kept_pin(plain)):
            address = JoinedAddress(plain, address.given, pin)
        self._asked.pop(plain)
        self._asked.put(plain, address)
        return plain

    def note_failed(self, addresses: Iterable[Address]) -> None:
        """These addresses were asked in vain: an id that was required only for that is required no
        longer."""
        for address in addresses:
            self._give_up_pin(address)

    def _give_up_pin(self, address: Address) -> None:
        asked = self._asked.get(address)
        if asked is not None and asked.pin and not self.is_kept(asked):
            self._asked.put(address, JoinedAddress(address, asked.given))

    def _pin_at(self, address: Address) -> str:
        """The id required at an address; empty if any is accepted.

        It is required while this node asks for a session, as long as there is one, and while the
        join that names it is configured.
        """
        asked = self._asked.get(address)
        if asked is None or not asked.pin:
            return ""
        is_in_use = self._endpoint.peers.at(address) is not None or self.is_kept(asked)
        return asked.pin if is_in_use else ""

    def require_pinned(self, result: ConnectResult) -> None:
        """Check that a session that may have begun long ago is with the required node.

        Raises:
            HandshakeError: It is with another one.
        """
        asked, peer = self._asked.get(result.address), self._endpoint.peers.at(result.address)
        keys = peer.seal.keys if peer is not None and peer.seal is not None else None
        words = _answers_against(asked.pin if asked is not None else "", result.node_id, keys)
        if words:
            raise HandshakeError(f"{address_words(result.address)}: {words}")

    def _judge_answer(self, address: Address, node_id: str, keys: PublicKeys | None) -> str:
        """Why a node that has answered this one is refused, for this node's user."""
        words = self.against_answer(address, node_id, keys)
        if words:
            self.on_refused(address, node_id, keys)
            if not _answers_against(self._pin_at(address), node_id, keys):
                self._tell_refused(address, node_id, "without keys", words, is_asked=True)
        return words

    def against_answer(self, address: Address, node_id: str, keys: PublicKeys | None) -> str:
        """Why a node that has answered this one is refused, for this node's user; empty if it may
        be admitted, as far as is known now."""
        pin = self._pin_at(address)
        return _answers_against(pin, node_id, keys) or self._downgrade(address, node_id, keys)

    def asked_as(self, address: Address) -> JoinedAddress:
        """An address as the user gave it when it was last asked."""
        return self._asked.get(address) or JoinedAddress(address)

    def _judge_request(self, address: Address, node_id: str, keys: PublicKeys | None) -> str:
        """Why a node that asks this one is refused, for that node's user."""
        pin = self._pin_at(address)
        words = _asks_against(pin, node_id, keys) if pin else ""
        cause = pin if words else "without keys"
        words = words or self._downgrade(address, node_id, keys, asks=True)
        if not words:
            return ""
        self._tell_refused(address, node_id, cause, words)
        if keys is not None:
            return "another node is expected at this address"
        return "this node has met you with keys, and speaks to you in no other way"

    def _downgrade(
        self, address: Address, node_id: str, keys: PublicKeys | None, *, asks: bool = False
    ) -> str:
        """The refusal of a node that comes without the keys that it had before, or of another in
        its place; empty if that does not apply, or the user admits anyone."""
        if keys is not None or self._seals is None or self._seals.keys.mode is _LETS_ANYONE_IN:
            return ""
        known, asked = self.book.known, self._asked.get(address)
        met = self._met_here.get(node_id)
        if met is not None and met.met.ephemeral and met.met.keys is not None:
            return f"{met.met.called} answers without its key, which it had before: ask its user"
        if not known.has_addresses and node_id not in known:
            return ""
        places = (asked.given if asked is not None else None, format_address(address))
        if not known.has_met(node_id, *places):
            return ""  # nearly all newcomers
        name = known.name_of(node_id)
        for joined in places:
            judgement = known.judge(Met(node_id, None, name, joined, asks=asks))
            if judgement.trust is Trust.CHANGED:
                return judgement.advice
        return ""

    def _tell_refused(
        self, address: Address, node_id: str, cause: str, words: str, *, is_asked: bool = False
    ) -> None:
        """Report that a node was refused."""
        may_tell = self._warnings.may_refuse(address, cause, is_asked=is_asked)
        if may_tell is False:
            self._endpoint.counters.drop("refusal_untold")
        if not may_tell:
            return
        name, where = self.book.known.name_of(node_id), visible_address(address)
        self._warnings.warn(f"{address_words(address)} is refused: {words}")
        self._tell(
            TrustChanged(
                node_id,
                where,
                name,
                Trust.CHANGED,
                None,
                words,
                is_refused=True,
                is_claim=not is_asked,
            )
        )

    # Sessions that begin.

    def note(self, event: PeerStatusChanged, tell: Callable[[PeerStatusChanged], None]) -> None:
        """A peer's status has changed: one that now has a session is met.

        Args:
            event: The event.
            tell: Reports it to all readers, with what is known about the peer.
        """
        peer = self._endpoint.peers.at(event.address)
        judged = trust = None
        if event.status is _AUTHENTICATED:
            if peer is not None and peer.status is _AUTHENTICATED:
                judged = self._meet(peer, is_first=event.previous is not None)
            trust = self._trust_now(peer) if judged is None else judged.judgement.trust
        tell(event if trust is None else event.judged(trust.value))
        if peer is not None and judged is not None and judged.judgement.advice:
            self._say(peer, judged, None)

    def _trust_now(self, peer: Peer | None) -> Trust | None:
        """The trust in a peer with a session, even if that has just moved; None if it has gone by
        now."""
        if self._seals is None:
            return Trust.OPEN
        judged = peer.facts.judged_now if peer is not None and peer.is_authenticated else None
        return judged.judgement.trust if judged is not None else None

    def _meet(self, peer: Peer, *, is_first: bool) -> Judged | None:
        """Judge a peer that has a session now; None if that was done, and the session only
        moves."""
        before, keys = peer.facts.judged, peer.seal.keys if peer.seal is not None else None
        is_same = before is not None and (before.met.id, before.met.keys) == (peer.node_id, keys)
        if is_same and not is_first:
            return None
        met = self._met(peer)
        judged = Judged(met, self._judge(met))
        if self._seals is not None and keys is not None:
            self.book.note(met)
        peer.facts.note_judged(judged)
        self._met_here.put(met.id, judged)
        return judged

    def _met(self, peer: Peer) -> Met:
        asked, seal = self._asked.get(peer.address), peer.seal
        if asked is not None and asked.pin not in ("", peer.node_id):
            self._give_up_pin(peer.address)  # it came itself, after an abandoned attempt
        joined = asked.given if asked is not None else None
        came_from = None if self._is_named(peer) else visible_address(peer.address)[0]
        if seal is None:
            asks = not peer.initiated
            return Met(peer.node_id, None, peer.name, joined, asks=asks, came_from=came_from)
        ephemeral, signer = seal.claims.ephemeral, self._signer_of(peer)
        return Met(
            peer.node_id, seal.keys, peer.name, joined, ephemeral, signer, came_from=came_from
        )

    def _is_asked(self, peer: Peer) -> bool:
        """Whether the session exists because this node asked an address for one."""
        return peer.initiated and peer.address in self._asked

    def _is_named(self, peer: Peer) -> bool:
        """Whether the user has named a node by the address in a configured join: one for each,
        however often that is asked again, and never one that comes from there by itself. A node
        that the user connects to is named then; see `note_named`."""
        asked = self._asked.get(peer.address) if peer.initiated else None
        if asked is None or not self.is_kept(asked):
            return False
        if peer.address not in self._led_to:
            self._led_to.put(peer.address, peer.node_id)
        return self._led_to.get(peer.address) == peer.node_id

    def note_named(self, node_id: str) -> None:
        """The user has named a node to connect to it, and there is a session with it."""
        peer = self._endpoint.peers.authenticated(node_id)
        judged = peer.facts.judged_now if peer is not None else None
        if judged is not None and self._seals is not None:
            self.book.note(judged.met.as_named())

    def statement_trouble(self, node_id: str) -> str:
        """Why the owner that an ephemeral node names is not proved; empty if it is, or if it names
        none."""
        peer = self._endpoint.peers.authenticated(node_id)
        try:
            self._read_signer(peer)
        except StatementError as error:
            return str(error)
        return ""

    def _read_signer(self, peer: Peer | None) -> PublicKeys | None:
        claims = peer.seal.claims if peer is not None and peer.seal is not None else None
        if peer is None or claims is None or not claims.ephemeral or not claims.statement:
            return None
        return read_short_statement(claims.statement, peer.node_id, self.book.now_wall).signer

    def _signer_of(self, peer: Peer) -> PublicKeys | None:
        """The owner of an ephemeral node, if that is proved."""
        try:
            return self._read_signer(peer)
        except StatementError as error:
            log.info(
                "%s: %s: its user is not known",
                address_words(peer.address),
                error,
                extra={
                    "event": "signer_unknown",
                    "fields": {
                        "node_id": peer.node_id,
                        "address": address_words(peer.address),
                        "reason": str(error),
                    },
                },
            )
            return None

    def _judge(self, met: Met) -> Judgement:
        if self._seals is None:
            return _OPEN  # without keys of its own this node cannot tell who anybody is
        judgement = self.book.judge(met)
        is_fine = met.keys is not None and judgement.trust in (Trust.NEW, Trust.KNOWN)
        if not is_fine:
            return judgement
        if self._user_id is None:
            self._user_id = self._find_user()
        return _OWN if met.lasting_id == self._user_id else judgement

    def _find_user(self) -> str:
        """The id of the lasting identity of this node's user; empty if there is none."""
        if self._seals is None:
            return ""
        keys = self._seals.keys
        statement = keys.statement(self.book.now_wall) if keys.ephemeral else b""
        signer = signer_in(statement)
        return keys.identity.id if not keys.ephemeral else "" if signer is None else signer.id

    async def judge_again(self) -> None:
        """The known nodes have changed: judge all peers with a session anew."""
        for number, peer in enumerate(list(self._endpoint.peers), 1):
            if number % PART == 0:
                await asyncio.sleep(0)  # datagrams need not wait for all of them
            judged = peer.facts.judged
            if judged is None or not peer.is_authenticated:
                continue
            judgement, before = self._judge(judged.met), judged.judgement
            if judgement == Judgement(Trust.KNOWN) and before.trust is Trust.NEW:
                continue  # this session made it known
            if judgement != before:
                again = Judged(judged.met, judgement)
                peer.facts.note_judged(again)
                self._met_here.put(again.met.id, again)
                self._say(peer, again, before.trust)

    def _say(self, peer: Peer, judged: Judged, previous: Trust | None) -> None:
        met, judgement = judged.met, judged.judgement
        if judgement.advice:
            self._warnings.changed(
                address_words(peer.address),
                judgement.advice,
                is_asked=self._is_asked(peer),
                named=self.book.known.claimed_of_named(met),
            )
        signer_id = met.signer.id if met.signer is not None else ""
        self._tell(
            TrustChanged(
                met.id,
                visible_address(peer.sends_to),
                met.name,
                judgement.trust,
                previous,
                judgement.advice,
                signer_id=signer_id,
                is_claim=peer.is_claim,
            )
        )

    async def keep(self) -> None:
        """Keep the file of the known nodes up to date, and judge all peers anew when somebody else
        has changed it; until cancelled."""
        await self.book.keep(self.judge_again)

    async def close(self) -> None:
        """Report and write what is still pending."""
        self._warnings.tell_untold()
        await self.book.close()

    # Which node the user means.

    def judged(self, node_id: str) -> Judged | None:
        """The node that has, or had, a session under an id, with its judgement; None if unknown."""
        peer = self._endpoint.peers.authenticated(node_id)
        judged = peer.facts.judged_now if peer is not None else None
        return judged or self._met_here.get(node_id)

    def against(self, ref: str, node_id: str, name: str) -> str:
        """Why nothing should be sent to a node, or accepted as its own, in a line for the user;
        empty if nothing speaks against it.

        Args:
            ref: How the user named it: a name, an id or the beginning of one; empty if it was by
                its address.
            node_id: The node that is about to get it, or has sent it.
            name: The name of that node.
        """
        judged = self.judged(node_id)
        if judged is not None:
            return against(self.book.known, ref, judged, has_keys=judged.met.keys is not None)
        # Through others, everything for an id made from keys is sealed from end to end.
        met = Met(node_id, None, name)
        has_keys = self._endpoint.far_seals.is_needed(node_id)
        known = self.book.known
        listed = known.judge_listed(node_id, name) or Judgement(Trust.NEW)
        judgement = listed if has_keys else known.judge(met)
        return against(known, ref, Judged(met, judgement), has_keys=has_keys)

    # The user's decisions.

    async def trust(self, ref: str, peer: Peer | None) -> KnownNode:
        """The user confirms that a node is the right one.

        Args:
            ref: Its name, its id, or the beginning of its id.
            peer: The peer with a session that is meant by it, if any.

        Raises:
            UnknownPeerError: No known node is meant by it, or several are.
            NotWrittenError: The file of known nodes could not be written: nothing is changed.
        """
        met = self._only_one(ref, peer)
        if met is not None and met.keys is None:
            raise UnknownPeerError(f"{met.called} has no keys: nobody can tell who it is")
        if met is not None and met.ephemeral:
            if met.signer is None:
                raise UnknownPeerError(
                    f"{met.called} has keys that last no longer than it runs: trust its user's"
                    " lasting node"
                )
            met = Met(met.signer.id, met.signer, met.name)
        node = await self.book.trust(ref if peer is None else peer.node_id, met)
        await self.judge_again()
        return node

    async def forget(self, ref: str, peer: Peer | None = None) -> KnownNode:
        """Forget a node: the next one in its place is new.

        Args:
            ref: Its name, its id, the beginning of its id, or an address at which it was joined.
            peer: The peer with a session that is meant by it, if any.

        Raises:
            UnknownPeerError: No known node is meant by it, or several are.
            NotWrittenError: The file of known nodes could not be written: nothing is changed.
        """
        met, known = self._only_one(ref, peer), self.book.known
        if met is not None and known.at(ref) is None and known.get(met.lasting_id) is not None:
            ref = met.lasting_id
        node = await self.book.forget(ref)
        await self.judge_again()
        return node

    def _only_one(self, ref: str, peer: Peer | None) -> Met | None:
        """The node with a session that is meant, if the reference fits no other.

        Raises:
            UnknownPeerError: Other known nodes fit it too; the text names them.
        """
        met = _met_as(peer)
        words = several(self.book.known, ref, met) if met is not None else ""
        if words:
            raise UnknownPeerError(words)
        return met


def _answers_against(pin: str, node_id: str, keys: PublicKeys | None) -> str:
    """The error if another node answers than the required one; empty if it is that one."""
    if _is_pinned(pin, node_id, keys):
        return ""
    if pin == node_id:
        return (
            f"it answers without keys, and cannot show that it is node {pin}: wait, or ask its user"
        )
    who = "it is" if keys is not None else "it answers without keys, and claims to be"
    return (
        f"{who} node {node_id}, and must be node {pin}: ask its user for its id, and give that"
        " after the #"
    )


def _asks_against(pin: str, node_id: str, keys: PublicKeys | None) -> str:
    """As `_answers_against`, for a node that asks this one from the address of a required one."""
    if _is_pinned(pin, node_id, keys):
        return ""
    if pin == node_id:
        return f"it asks without keys, and cannot show that it is node {pin}: wait, or ask its user"
    who = "it asks as" if keys is not None else "it asks without keys, and claims to be"
    return (
        f"{who} node {node_id}, and you have said that node {pin} is at this address: if its id"
        " has changed, ask its user for the new one, and connect or join with that"
    )


def _is_pinned(pin: str, node_id: str, keys: PublicKeys | None) -> bool:
    return not pin or (pin == node_id and keys is not None)


def _met_as(peer: Peer | None) -> Met | None:
    judged = peer.facts.judged if peer is not None else None
    return judged.met if judged is not None else None
