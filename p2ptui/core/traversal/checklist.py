"""The checklist of a round (RFC 8445, section 6.1.2): which pairs are checked, in which order."""

from typing import Final

from p2ptui.config import Config, IceOptions, prediction_options
from p2ptui.core.connection import Method
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.candidates import Believed, believed, claims_of
from p2ptui.core.traversal.checks import affordable_checks
from p2ptui.core.traversal.own_networks import OwnNetworks
from p2ptui.core.traversal.round_plans import PLANNERS, RoundPlan, Situation
from p2ptui.nat.behavior import NatType
from p2ptui.nat.feasibility import Technique
from p2ptui.nat.flow_pace import FlowPace
from p2ptui.nat.guessing import Guesses, random_ports
from p2ptui.nat.punching import (
    CLAIMED_CHECKS,
    FIRST_PAUSE_S,
    LONGEST_FIRST_PAUSE_S,
    SHORTEST_FIRST_PAUSE_S,
    Budget,
    Kind,
    Punching,
)
from p2ptui.wire.address import Address, ip_version
from p2ptui.wire.offer import TraversalOffer

LEAD_MARGIN_S: Final = 0.002
LONGEST_LEAD_S: Final = 0.6
"""How long an answer waits, at most, for what its side opens first."""

GUESSING_SHARE: Final = 0.9
"""The guesses take this fraction of a birthday round, so that the last ones are answered."""


def plan_round(
    attempt: Attempt,
    remote: TraversalOffer,
    observed: Address,
    way: Technique,
    state: NodeState,
    now: float,
    *,
    flow_limit: float | None,
    pace: FlowPace,
    own: OwnNetworks | None = None,
    own_addresses: tuple[Address, ...] = (),
) -> Punching:
    """Prepare a round.

    Args:
        attempt: The attempt to reach the node.
        remote: Its offer.
        observed: Where the server sees it.
        way: The technique that the two NATs require.
        state: The shared state.
        now: The time, seconds.
        flow_limit: New flows a second that the guessing side's NAT lets pass; None: no limit is
            known.
        pace: The pace of this side's new flows.
        own: The networks of this machine.
        own_addresses: The addresses of this node's sockets.
    """
    here = Situation(
        state.config.ice,
        attempt.controlling,
        attempt.server_rtt_s,
        remote.round,
        len(attempt.sockets),
        remote.sockets,
        flow_limit,
        can_be_met=attempt.offer.nat_type != NatType.SYMMETRIC,
    )
    plan = PLANNERS[way](here)
    attempt.account.method = plan.method
    state.counters.rounds[plan.method.value] += 1
    punching = _empty_round(attempt, here, plan, state, now)
    candidates = _chosen(attempt, remote, observed, state, own, own_addresses)
    if plan.outside_first:
        candidates.sort(key=lambda candidate: candidate.kind is not Kind.REFLEXIVE)
    if attempt.sockets:
        targets = _targets(attempt, observed, candidates)
        for number, target in zip(attempt.sockets, targets, strict=False):
            punching.add(
                Kind.PREDICTED, [target], now, socket=number, opener_pause_s=plan.sockets_pause_s
            )
    claimed_checks = CLAIMED_CHECKS if attempt.exchange.is_first_with(remote) else 0
    for kind, address in _for_standing_sockets(attempt, observed, candidates):
        standing = state.socket_of_version.get(ip_version(address[0]))
        if standing is not None:
            punching.add(kind, [address], now, socket=standing, claimed_checks=claimed_checks)
    if plan.guesses is not None:
        punching.guess(_guesses(observed, plan.guesses, plan, state, pace, now))
    for source, socket, nominated, spare_bytes in attempt.heard.early.take():
        allowed = affordable_checks(attempt.offer, remote, spare_bytes)
        punching.receive_request(source, socket, now, nominated=nominated, allowed=allowed)
    return punching


def _empty_round(
    attempt: Attempt, here: Situation, plan: RoundPlan, state: NodeState, now: float
) -> Punching:
    """A round without anything to check yet."""
    ice = here.ice
    return Punching(
        controlling=attempt.controlling,
        rng=state.rng,
        budget=Budget(checks=ice.max_checks, seconds=plan.seconds, pace_s=ice.pace_ms / 1000),
        now=now,
        opener_pause_s=here.opener_pause_s,
        opener_ttl=ice.opener_ttl,
        first_pause_s=_first_pause_s(ice, here.server_rtt_s),
        learnt=attempt.heard.learnt,
        count=state.counters.drop,
    )


def _first_pause_s(ice: IceOptions, rtt_s: float) -> float:
    if not ice.adapt_pace:
        return FIRST_PAUSE_S
    return min(max(rtt_s, SHORTEST_FIRST_PAUSE_S), LONGEST_FIRST_PAUSE_S)


def _chosen(
    attempt: Attempt,
    remote: TraversalOffer,
    observed: Address,
    state: NodeState,
    own: OwnNetworks | None,
    own_addresses: tuple[Address, ...],
) -> list[Believed]:
    """The part of an offer that this round tries: first of all what no earlier round did."""
    versions = state.socket_of_version
    before = attempt.exchange.tried_before(remote.round)
    limit = state.config.ice.max_candidates
    chosen = believed(remote, observed, limit, own, own_addresses, versions=versions, tried=before)
    claims = claims_of(remote, observed, own, own_addresses, versions)
    attempt.exchange.note_round(
        remote.round,
        [a for kind in claims if kind is not Kind.PREDICTED for a in claims[kind]],
        [address for one in chosen if one.kind is not Kind.PREDICTED for address in one.remotes],
    )
    return chosen


def _targets(
    attempt: Attempt, observed: Address, candidates: list[Believed]
) -> tuple[Address, ...]:
    """One address for each further socket, whose NAT makes a new flow for each, in order."""
    predicted = next((c.remotes for c in candidates if c.kind is Kind.PREDICTED), ())
    if not predicted:
        return (observed,) * len(attempt.sockets)
    if not attempt.controlling:
        return tuple(predicted)
    # If both predict, the other side takes the ports in turn, while this one waits with all of its
    # sockets for one in the middle. In lockstep, one foreign flow would separate them for good;
    # this way, it only means that other sockets meet.
    return (predicted[len(predicted) // 2],) * len(attempt.sockets)


def _for_standing_sockets(
    attempt: Attempt, observed: Address, candidates: list[Believed]
) -> list[tuple[Kind, Address]]:
    """What the existing sockets check; predicted ports are left to the further ones."""
    known = [
        (candidate.kind, address)
        for candidate in candidates
        if not (attempt.sockets and candidate.kind is Kind.PREDICTED)
        for address in candidate.remotes
    ]
    last_good = attempt.heard.last_good
    if last_good is not None:
        is_vouched = last_good[0] == observed[0] or ip_version(last_good[0]) == 4
        known.append((Kind.REFLEXIVE if is_vouched else Kind.CLAIMED, last_good))
    return known


def _guesses(
    observed: Address, count: int, plan: RoundPlan, state: NodeState, pace: FlowPace, now: float
) -> Guesses:
    """The guessed ports of a round, at random."""
    options = prediction_options(state.config)
    return Guesses(
        observed[0],
        random_ports(state.rng, options.port_range_min, options.port_range_max),
        count,
        quick=plan.quick,
        begin=now,
        end=now + GUESSING_SHARE * plan.seconds,
        pace=pace,
    )


def lead_s(attempt: Attempt, config: Config) -> float:
    """How long the answering side sends checks before it answers, seconds. By then its checks have
    opened the NAT: checks that arrive earlier are lost at a strict NAT, and make some NATs change
    their mapping."""
    if attempt.punching is None or not config.ice.opener_ttl:
        return 0.0
    if attempt.account.method is Method.BIRTHDAY:
        return 0.0  # a guess that comes before its socket is open still meets it
    first = sum(pair.kind is not Kind.HOST for pair in attempt.punching.pairs)
    return min(first * config.ice.pace_ms / 1000 + LEAD_MARGIN_S, LONGEST_LEAD_S)
