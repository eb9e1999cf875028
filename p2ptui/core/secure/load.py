"""Under load, keys are used only for nodes that have shown that they receive at their address, and
not more often for one address than its share."""

from collections.abc import Hashable
from typing import Final

from p2ptui.bounded import BoundedTable, TokenBucket, owners_at
from p2ptui.core.addresses import visible_address
from p2ptui.core.secure.pending import Request, note_answer, write_retry
from p2ptui.core.state import NodeState
from p2ptui.secure import SecureError
from p2ptui.secure.exchange import ephemeral_of
from p2ptui.secure.retry import EACH_PER_S, LoadMeter, RetryTokens
from p2ptui.wire.address import Address, format_address

MAX_RATED: Final = 1024
"""Addresses whose key exchanges are counted under load; the oldest makes room."""

RATED_S: Final = 10.0
"""How long an address is counted after its first one: by then it has its whole share again, or is
counted anew."""


class Load:
    """Counts requests for a key exchange, and has excess ones repeated.

    Args:
        state: The shared state.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._tokens = RetryTokens(state.rng.randbytes(32))
        self._meter = LoadMeter()
        self._rates: BoundedTable[Hashable, TokenBucket] = state.tables.add(
            "exchanges_rated",
            BoundedTable(MAX_RATED, full="exchange_rate_forgotten", lifetime_s=RATED_S),
        )

    def admits(self, request: Request, exchange: str, now: float) -> bool:
        """Whether a key is used for a request: under load only if it carries a token. Otherwise the
        asking node is told to repeat it with one.

        Args:
            request: The request.
            exchange: The key exchange in it.
            now: The time, seconds.
        """
        self._meter.note(now)
        if not self._meter.is_high(now):
            return True
        token, where = request.token, format_address(request.address)
        try:
            is_good = self._tokens.is_good(token, where, ephemeral_of(exchange), now)
        except SecureError:
            return True  # it is refused for what it is
        if not is_good:
            self._ask_again(request, exchange, now)
        elif self._has_share(request.address, now):
            return True
        else:
            self._state.counters.drop("exchange_rate")  # a live node repeats it
        return False

    def _has_share(self, address: Address, now: float) -> bool:
        """Whether an address has not used up its share of key exchanges."""
        place = visible_address(address)
        owner: Hashable = owners_at(place[0])[0] or place
        self._rates.expire(now)
        rate = self._rates.get(owner)
        if rate is None:
            rate = TokenBucket(EACH_PER_S, now)
            self._rates.put(owner, rate, now)
        return rate.take(now)

    def _ask_again(self, request: Request, exchange: str, now: float) -> None:
        """Have the asking node repeat its request with a token; see `admits`."""
        state, address = self._state, request.address
        state.counters.drop("exchange_postponed")
        token = self._tokens.make(format_address(address), ephemeral_of(exchange), now)
        data = write_retry(state, request, token, now)
        is_out = state.gate.refuse(data, address, request.earned, now, is_known=True)
        note_answer(state, data, address, is_out=is_out)
