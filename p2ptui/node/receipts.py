"""Receipts for files: sent until they are acknowledged, a few at a time for each sender."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from p2ptui.bounded import BoundedTable, Share, Shares
from p2ptui.core.events import DataReceived
from p2ptui.errors import P2PError
from p2ptui.node.runtime import Runtime
from p2ptui.wire.address import Address
from p2ptui.wire.files import Receipt, receipt_payload

RECEIPT_TIMEOUT_S: Final = 10.0

MAX_RECEIPTS: Final = 64
"""Most receipts for kept files in transit at once; a sender that accepts none must not fill the
memory."""

MAX_REFUSALS: Final = 32
"""The same for files that were not kept. They are counted apart, since they cost a sender nothing
that is limited otherwise."""

MAX_RECEIPTS_TO_ONE: Final = 8
"""Most of either to one node, and to all nodes whose files one peer has brought: one that
acknowledges none must not keep others from theirs."""


class Receipts:
    """Tells senders what became of their files.

    Args:
        runtime: The node's runtime.
        shares: The part of all receipts in transit for each address and prefix.
        max_hops: How many nodes may forward a receipt.
    """

    def __init__(self, runtime: Runtime, shares: Shares, max_hops: int) -> None:
        self._runtime, self._shares, self._max_hops = runtime, shares, max_hops
        self._kept = self._table(lambda: MAX_RECEIPTS)
        self._refused = self._table(lambda: MAX_REFUSALS)
        self._numbers = count()
        self.at_rest = asyncio.Event()
        """Set while none is in transit."""
        self.at_rest.set()

    def _table(self, limit: Callable[[], int]) -> BoundedTable[int, None]:
        return BoundedTable(
            limit,
            full="receipts_full",
            refuses=True,
            peer_share=Share(MAX_RECEIPTS_TO_ONE),
            shares=self._shares,
            count=self._runtime.endpoint.counters.drop,
        )

    def send(self, event: DataReceived, receipt: Receipt, address: Address | None) -> None:
        """Send a receipt, unless its sender does not know receipts, or has too many in transit.

        Args:
            event: The message with the file.
            receipt: The receipt.
            address: Whose share it takes; None: nobody's.
        """
        peer = self._runtime.endpoint.peers.authenticated(event.node_id)
        if peer is not None and not peer.facts.is_expected_to_ack:
            return  # it does not know receipts, and may have a forged address
        owners: tuple[Any, ...] = (event.node_id,)
        if peer is None:
            # Others bring these, and may have forged the sender.
            owners += (("brought by", event.carrier_id or event.address),)
        table, number = self._kept if receipt.kept else self._refused, next(self._numbers)
        if table.put(number, None, peers=owners, address=address):
            self.at_rest.clear()
            work = self._deliver(table, number, event.node_id, receipt_payload(receipt))
            self._runtime.begin(work, "receipt")

    async def _deliver(
        self, table: BoundedTable[int, None], number: int, node_id: str, payload: dict[str, Any]
    ) -> None:
        endpoint, now = self._runtime.endpoint, self._runtime.now
        try:
            async with asyncio.timeout(RECEIPT_TIMEOUT_S):
                peer = endpoint.peers.authenticated(node_id)
                if peer is not None:
                    token = endpoint.send(peer, payload, now)
                else:
                    token = endpoint.send_routed(
                        node_id, payload, self._max_hops, now, RECEIPT_TIMEOUT_S
                    )
                await self._runtime.call(token)
        except (P2PError, TimeoutError):
            return  # a sender that does not wait needs none
        finally:
            table.pop(number)
            if not (len(self._kept) or len(self._refused)):
                self.at_rest.set()
