"""The content of an update: who joined and who left, written once for all receivers.

A storm of joins is reported as one update, which the joining nodes get too. Nothing is written for
any of them alone: all are sent the same pages, except for the one page that names the receiver
itself. Nobody is sent more than a few pages of one update. If there are more, the pages are divided
among the receivers, and each of them asks for whatever else it needs.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import UNSET, Raw
from msgspec.structs import replace

from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import PeerInfo

PAGES_EACH: Final = 64
"""Each receiver is sent at most this many pages of an update about nodes that joined, and as many
about nodes that left: some 250 nodes. Beyond that, the total sent no longer grows, however many
come at once."""


class _Cut:
    """Entries in pages, each written once.

    Args:
        entries: The entries, by the id of the node that each is about.
        budget_bytes: Most bytes of a page.
    """

    def __init__(self, entries: dict[str, bytes], budget_bytes: int) -> None:
        pages: list[dict[str, bytes]] = []
        room = -1
        for node_id, entry in entries.items():
            room -= len(entry) + 1
            if room < 0:
                pages.append({})
                room = budget_bytes - len(entry)
            pages[-1][node_id] = entry
        self._pages = tuple(pages)
        self._joined = tuple(b",".join(page.values()) for page in pages)
        on = {node_id: number for number, page in enumerate(pages) for node_id in page}
        self._on = on
        """The page of each id."""

    def pages_for(self, node_id: str, rng: random.Random) -> Iterator[bytes]:
        """The pages for one node: at most `PAGES_EACH`, and without the node itself.

        Args:
            node_id: The id of the node.
            rng: Chooses the pages.
        """
        count = len(self._joined)
        told = min(count, PAGES_EACH)
        first = rng.randrange(count) if told < count else 0
        own = self._on.get(node_id)
        for number in range(first, first + told):
            number %= count
            page = self._joined[number]
            if number == own:
                others = [entry for key, entry in self._pages[number].items() if key != node_id]
                page = b",".join(others)
            if page:
                yield page


class News:
    """Who joined and who left.

    Args:
        joined: The entries of nodes that joined, as nodes of our kind are sent them.
        left: The ids of nodes that left.
        budget_bytes: Most bytes of the entries in a message.
    """

    def __init__(self, joined: Sequence[PeerInfo], left: Sequence[str], budget_bytes: int) -> None:
        self.joined: Final = joined
        """Who joined."""
        self._budget_bytes = budget_bytes
        came = {one.id: _written(one) for one in joined}
        self._came = _Cut(came, budget_bytes)
        self._nameless = {one.id: came[one.id] for one in joined if one.name is UNSET}
        self._went = _Cut({one: _written(one) for one in left}, budget_bytes)
        self._bare: _Cut | None = None
        """Like `_came`, without names; made for the first receiver that needs it."""

    def updates_for(self, node_id: str, rng: random.Random) -> Iterator[Raw]:
        """The payloads of the DiscoveryUpdates for a node of our kind.

        Args:
            node_id: The id of the node.
            rng: Chooses the pages if there are many.
        """
        for page in self._came.pages_for(node_id, rng):
            yield Raw(b'{"joined":[%s],"left":[]}' % page)
        for page in self._went.pages_for(node_id, rng):
            yield Raw(b'{"joined":[],"left":[%s]}' % page)

    def lists_for(self, node_id: str, rng: random.Random) -> Iterator[Raw]:
        """The payloads of the DiscoveryResponses for another program.

        Args:
            node_id: The id of the node.
            rng: Chooses the pages if there are many.
        """
        if self._bare is None:
            # Deployed programs have no use for names here, and little allowance for them.
            bare = {
                one.id: self._nameless.get(one.id) or _written(replace(one, name=UNSET))
                for one in self.joined
            }
            self._bare = _Cut(bare, self._budget_bytes)
        for page in self._bare.pages_for(node_id, rng):
            yield Raw(b"[%s]" % page)


def _written(entry: PeerInfo | str) -> bytes:
    return bytes(encode_payload(entry))
