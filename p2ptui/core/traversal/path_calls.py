"""Calls that wait for a direct path to a node, and continue at an address."""

from p2ptui.core.calls import Call
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.errors import PeerTimeoutError
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address


def begin_call(state: NodeState, attempt: Attempt, now: float, timeout_s: float) -> int:
    """Let a call wait for a direct path while nothing relays; returns its token.

    Args:
        state: The shared state.
        attempt: The search.
        now: The time, seconds.
        timeout_s: How long it waits, seconds.
    """

    def overdue(_: Call[None]) -> PeerTimeoutError:
        why = f": {attempt.account.reason}" if attempt.account.reason else ""
        within = seconds_words(timeout_s)
        words = f"no direct path to node {attempt.node_id} was found within {within}{why}"
        return PeerTimeoutError(f"{words}; {attempt.why_not_relayed}")

    return state.session_calls.begin(attempt.node_id, None, now, timeout_s, overdue).token


def go_on(
    state: NodeState,
    handshake: Handshake,
    waiting_for: str,
    address: Address,
    now: float,
    timeout_s: float,
    node_id: str = "",
) -> int:
    """Calls that wait for a direct path wait for a session with an address from now on.

    Args:
        state: The shared state.
        handshake: Asks that address.
        waiting_for: The id of the node that they wait for.
        address: The address to ask.
        now: The time, seconds.
        timeout_s: How long to try, seconds.
        node_id: Who is there, if authentic checks have shown it.

    Returns:
        How many there are.
    """
    calls = state.session_calls.waiting(waiting_for)
    for call in calls:
        state.session_calls.hand_over(
            call, lambda token: handshake.connect(address, now, timeout_s, token, node_id)
        )
    return len(calls)
