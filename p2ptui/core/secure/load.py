"""Under load a key is used for nobody who has not shown that it receives where it asks from."""

from p2ptui.core.secure.pending import Request, note_answer, offered_token, write_retry
from p2ptui.core.state import NodeState
from p2ptui.secure import SecureError
from p2ptui.secure.exchange import ephemeral_of
from p2ptui.secure.retry import LoadMeter, RetryTokens
from p2ptui.wire.address import format_address


class Load:
    """Counts requests for a key exchange, and has those come again that are too many.

    Args:
        state: The shared ground.
    """

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._tokens = RetryTokens(state.rng.randbytes(32))
        self._meter = LoadMeter()

    def admits(self, request: Request, exchange: str, now: float) -> bool:
        """Whether a key is used for a request: under load only if it brings a token.

        Args:
            request: Which.
            exchange: The key exchange in it.
            now: The time, seconds.
        """
        self._meter.note(now)
        if not self._meter.is_high(now):
            return True
        token, where = offered_token(request.message), format_address(request.address)
        try:
            return self._tokens.is_good(token, where, ephemeral_of(exchange), now)
        except SecureError:
            return True  # it is refused as what it is

    def ask_again(self, request: Request, exchange: str, now: float) -> None:
        """Have whoever asks come again with a token; see `admits`."""
        state, address = self._state, request.address
        state.counters.drop("exchange_postponed")
        token = self._tokens.make(format_address(address), ephemeral_of(exchange), now)
        data = write_retry(state, request, token, now)
        is_out = state.gate.refuse(data, address, request.earned, now, is_known=True)
        note_answer(state, data, address, is_out=is_out)
