"""Signs of the other side: evidence that an offer is from the node that the server names.

An offer, and the address that comes with it, may be forged in the server's name. The answer to it
goes to the true server, and from there to the true other side. A node that proves that it has this
side's offer, which contains something unguessable, is searched for as this node plans. Until then
the offer pays for three checks and no more.
"""

from dataclasses import dataclass

from p2ptui.core.accounts import Grant
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer


@dataclass(slots=True, eq=False)
class Signs:
    """Which offer, with which address, the other side has confirmed."""

    order: Grant | None = None
    """What its latest offer pays for, if that is not confirmed."""
    confirmations: int = 0
    """Times that this side's offer was sent again to show that it has the other side's."""
    _shown: tuple[str, Address] | None = None

    def note(self, offer: TraversalOffer, observed: Address) -> bool:
        """The other side has proved that this offer is its own, and came with this address.

        Returns:
            Whether that is news.
        """
        shown = offer.ufrag, observed
        is_news, self._shown = self._shown != shown, shown
        return is_news

    def stand_for(self, offer: TraversalOffer | None, observed: Address | None) -> bool:
        """Whether the other side is known to have made an offer that came with this address."""
        return offer is not None and self._shown == (offer.ufrag, observed)

    def forget(self) -> None:
        """A new search begins: earlier proofs are of no use for it."""
        self._shown = self.order = None
        self.confirmations = 0
