"""One round of checks: what it may cost, and which pairs it tries in which order."""

from typing import Final

from p2ptui.config import prediction_options
from p2ptui.core.attempt import Attempt
from p2ptui.core.candidates import believed
from p2ptui.core.connection import Method
from p2ptui.core.state import NodeState
from p2ptui.nat.feasibility import Way
from p2ptui.nat.punching import Budget, Kind, Punching, random_ports
from p2ptui.wire.address import Address
from p2ptui.wire.message import TraversalOffer

PLAIN_S: Final = 0.7
"""A round of plain checks, plus four round trips to the server: 97.6 % of those that succeed at
all do so at the first try (measured for libp2p's DCUtR)."""

METHODS: Final = {Way.PREDICTED: Method.PREDICTED, Way.BIRTHDAY: Method.BIRTHDAY}
"""How a path was won that a round for this way found."""

DEFAULT_RTT_S: Final = 0.05

OPENER_MARGIN_S: Final = 0.02

GUESSING_SHARE: Final = 0.9
"""Of the time of a birthday round the guesses take this, so that the last ones are answered."""


def plan_round(
    attempt: Attempt,
    remote: TraversalOffer,
    observed: Address,
    way: Way,
    state: NodeState,
    now: float,
) -> Punching:
    """Make a round ready to run.

    Args:
        attempt: What is known of the node.
        remote: Its offer.
        observed: Where the server sees it.
        way: What the two NATs ask for.
        state: The shared ground.
        now: The time, seconds.
    """
    ice = state.config.ice
    attempt.method = METHODS.get(way, Method.PLAIN)
    rtt_s = attempt.server.channel.rtt.srtt or DEFAULT_RTT_S
    seconds = ice.birthday_seconds if way is Way.BIRTHDAY else PLAIN_S + 4 * rtt_s
    punching = Punching(
        controlling=attempt.controlling,
        rng=state.rng,
        budget=Budget(
            checks=ice.max_checks,
            guesses=ice.birthday_probes,
            seconds=min(seconds, ice.connectivity_check_timeout / 1000),
            pace_s=ice.pace_ms / 1000,
        ),
        now=now,
        # The side that answers begins earlier by two ways to the server: what it sent then would
        # reach the other NAT before that one's own host has sent anything.
        opener_pause_s=None if attempt.controlling else 2 * rtt_s + OPENER_MARGIN_S,
    )
    candidates = believed(remote, observed, ice.max_candidates)
    if attempt.sockets:
        # One address for each further socket: its NAT makes one new flow of each, in order.
        predicted = next((c.remotes for c in candidates if c.kind is Kind.PREDICTED), ())
        targets = predicted or (observed,) * len(attempt.sockets)
        for number, target in zip(attempt.sockets, targets, strict=False):
            punching.add(Kind.PREDICTED, [target], now, socket=number)
    for candidate in candidates:
        if not (attempt.sockets and candidate.kind is Kind.PREDICTED):
            punching.add(candidate.kind, candidate.remotes, now)
    if attempt.last_good is not None:
        punching.add(Kind.REFLEXIVE, [attempt.last_good], now)
    if way is Way.BIRTHDAY and remote.sockets > 1:
        options = prediction_options(state.config)
        ports = random_ports(state.rng, options.port_range_min, options.port_range_max)
        pace_s = GUESSING_SHARE * ice.birthday_seconds / ice.birthday_probes
        punching.guess(observed[0], ports, pace_s, now)
    return punching
