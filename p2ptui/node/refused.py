"""Joined servers that are refused because of their identity: they stay visible, with the reason.

There is no session with such a node, hence no peer. But the user wants it, and is waiting for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.connection import Connection, Method
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import Path, PeerStatus
from p2ptui.node.acquaintances import Acquaintances
from p2ptui.node.view import PeerView
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import MAX_KNOWN_ADDRESSES, Trust
from p2ptui.wire.address import Address, format_address

_FAR: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Refused:
    """A node that answered and is refused."""

    address: Address
    node_id: str
    """The id of the node that was there before; if there was none, the id that it claims."""
    name: str
    """The name of that node."""
    words: str
    """Why it is refused, and what to do."""
    at: float
    """When it was last refused, seconds."""


class Refusals:
    """Remembers the nodes that this node asked and refused.

    Args:
        endpoint: The node's protocol.
        acquaintances: What is known about other nodes.
        clock: The time, seconds.
        is_wanted: Whether a server is to be joined now, by its address as given and its actual one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        acquaintances: Acquaintances,
        clock: Callable[[], float],
        is_wanted: Callable[[str, Address], bool],
    ) -> None:
        self._endpoint = endpoint
        self._acquaintances = acquaintances
        self._clock = clock
        self._is_wanted = is_wanted
        self._refused: BoundedTable[Address, tuple[str, PublicKeys | None, float]] = BoundedTable(
            MAX_KNOWN_ADDRESSES
        )
        acquaintances.on_refused = self._note

    def _note(self, address: Address, node_id: str, keys: PublicKeys | None) -> None:
        self._refused.pop(address)
        self._refused.put(address, (node_id, keys, self._clock()))

    def settle(self, address: Address) -> None:
        """There is now a session with the node at an address."""
        self._refused.pop(address)

    def shown(self) -> Mapping[str, Refused]:
        """The servers that are to be joined and would be refused again, by their addresses."""
        shown: dict[str, Refused] = {}
        for address, (node_id, keys, at) in self._refused.items():
            asked = self._acquaintances.asked_as(address)
            if not self._is_wanted(asked.given, address):
                continue
            if self._endpoint.peers.has_session_at(address):
                continue
            # The user may have resolved it meanwhile.
            words = self._acquaintances.against_answer(address, node_id, keys)
            if words:
                known = self._acquaintances.book.known
                wanted = asked.pin or known.at(asked.given) or node_id
                name = known.name_of(wanted)
                shown[format_address(address)] = Refused(address, wanted, name, words, at)
        return shown


def view_of(refused: Refused, now: float) -> PeerView:
    """A snapshot, as if it were a peer whose handshake failed."""
    ago_s = max(now - refused.at, 0.0)
    return PeerView(
        node_id=refused.node_id,
        name=refused.name,
        address=refused.address,
        status=PeerStatus.FAILED,
        path=Path.DIRECT,
        connection=Connection(Method.PLAIN),
        version="",
        dialect="spec",
        capabilities=(),
        public_address=None,
        info=None,
        initiated=True,
        proved=False,
        rtt_ms=None,
        messages_in=0,
        messages_out=0,
        bytes_in=0,
        bytes_out=0,
        retransmissions=0,
        waiting=0,
        last_received_ago_s=ago_s,
        connected_for_s=ago_s,
        trust=Trust.CHANGED,
        advice=refused.words,
    )


def rank_of(refused: Refused, by: str) -> Any:
    """Its rank among sorted peers; `by` is one of `roster.RANKS`."""
    ranks: dict[str, Any] = {
        "status": list(PeerStatus).index(PeerStatus.FAILED),
        "name": refused.name.lower(),
        "node_id": refused.node_id,
        "address": refused.address,
        "rtt_ms": _FAR,
        "last_received": -refused.at,
        "proved": False,
    }
    return ranks.get(by, 0)
