"""Which nodes a server lists: all with a session here, or with another server of the network.

A long list is sent in pages, over seconds, and nodes move meanwhile. A node that is at some server
all the time is in it. Mere claims come last; `taken` decides which, and whether with names.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from p2ptui.core.mesh.taken import Taken, told_of
from p2ptui.core.peers import Foreign, Listed, Peer, is_claim
from p2ptui.core.state import NodeState


class Roll:
    """Lists all nodes, one after the other.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def everybody(self, here: list[str], now: float) -> Iterator[tuple[Listed, bool]]:
        """All nodes, each once: those here, those elsewhere, and those that came here meanwhile;
        each with whether it may be named: a claim may not, if another node has its name.

        A node that moves meanwhile may come twice, the second time at its new place.

        Args:
            here: The ids of all peers, in the order in which they are listed. Each node is
                looked up when its turn comes.
            now: The time, seconds.
        """
        authenticated = self._state.peers.authenticated
        claims = [
            one.node_id
            for node_id in here
            if (one := authenticated(node_id)) is not None and one.is_claim
        ]
        elsewhere = self._state.claims_elsewhere()
        far: list[Listed] = [
            node for node in elsewhere if not isinstance(self._here(node.node_id), Peer)
        ]
        taken = Taken(self._state, [*filter(is_claim, self._still_here(claims)), *far])
        taken.note_servers(now)
        for node in self._known(here, now):
            taken.note(node)
            yield node, True
        for node in chain(self._still_here(claims), far):  # some may be proved by now
            is_named = taken.naming(node)
            if is_named is not None:
                yield node, is_named

    def _still_here(self, node_ids: list[str]) -> Iterator[Listed]:
        """Those of some nodes that are here; nodes elsewhere are listed with the others there."""
        for node_id in node_ids:
            found = self._here(node_id)
            if isinstance(found, Peer):
                yield found

    def _known(self, here: list[str], began: float) -> Iterator[Listed]:
        away = set[str]()
        for node_id in here:
            found = self._here(node_id)
            if found is None:
                away.add(node_id)
            elif not is_claim(found):
                yield found
        yield from self.elsewhere()
        came = [
            peer.node_id for peer in self._state.peers if peer.session.joined_at >= began
        ]  # few: only if there are any is a set made of all that were here
        if came:
            listed = set(here) - away
            for node_id in came:
                found = None if node_id in listed else self._here(node_id)
                if found is not None and not is_claim(found):
                    yield found

    def _here(self, node_id: str) -> Listed | None:
        """A node with a session here; or, if that may be a mere claim, where it is instead."""
        return self._state.find(node_id) if self._state.is_here(node_id) else None

    def elsewhere(self) -> Iterator[Foreign]:
        """The nodes with a session at another server, and none here."""
        is_here = self._state.is_here
        for node in self._state.elsewhere.nodes():
            if not is_here(node.node_id):
                yield node

    def news(self, node_ids: Iterable[str], now: float) -> list[tuple[Listed, bool]]:
        """Which newcomers are announced, and whether by name.

        Args:
            node_ids: The newcomers.
            now: The time, seconds.
        """
        return told_of(self._state, node_ids, now)
