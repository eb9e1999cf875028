"""One round of checks: what it may cost, and which pairs it tries in which order."""

from collections.abc import Collection, Iterable
from typing import Final

from p2ptui.config import Config, IceOptions, prediction_options
from p2ptui.core.connection import Method
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import MAX_LIMITED_ROUNDS, MAX_ROUNDS, Attempt, NatFacts
from p2ptui.core.traversal.candidates import (
    HOST,
    PREDICTED,
    Believed,
    believed,
    claims_ipv6,
    claims_of,
)
from p2ptui.core.traversal.own_networks import Network, OwnNetworks
from p2ptui.nat.feasibility import Side, Technique, relay_reason, way_between
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
from p2ptui.wire.address import Address, ip_version, parse_ip_address
from p2ptui.wire.offer import MAX_PREDICTED, TraversalOffer

PLAIN_S: Final = 0.7
"""A round of plain checks, plus four round trips to the server: 97.6 % of those that succeed at
all do so at the first try (measured for libp2p's DCUtR)."""

METHODS: Final = {Technique.PREDICTED: Method.PREDICTED, Technique.BIRTHDAY: Method.BIRTHDAY}
"""How a path was won that a round for this way found."""

OPENER_MARGIN_S: Final = 0.02

LEAD_MARGIN_S: Final = 0.002
LONGEST_LEAD_S: Final = 0.6
"""So long at most an answer waits for what its side opens first."""

OPENED_SHARE: Final = 0.25
"""Of the time of a first birthday round the many sockets only open the own NAT, and wait to be
met: what went to the other NAT before that one's host sent there could move its mapping. After
that they reach out themselves: what was guessed too early, or lost, is open there."""

LIMITED_ROUND_S: Final = 0.7
"""A birthday round where the guessing side's NAT limits new flows. Sockets that stay would meet
few guesses; fresh ones are tried by all that came before."""

GUESSING_SHARE: Final = 0.9
"""Of the time of a birthday round the guesses take this, so that the last ones are answered."""


def is_plain_hopeless(attempt: Attempt, own: NatFacts) -> bool:
    """Whether plain checks would only cost time, and take ports away that are predicted.

    Known from what both sides say of their NATs. Behind one and the same outside address the
    table does not count: there may be a network in common.
    """
    if attempt.server.public_address is None or attempt.observed is None:
        return False
    if shared_outside(attempt) is not None:
        return False
    if attempt.remote is not None and claims_ipv6(attempt.offer) and claims_ipv6(attempt.remote):
        return False  # where there is no NAT none is in the way
    # What is not known yet may be loose.
    return way_between(own.side, attempt.remote_facts.side) in METHODS


def shared_outside(attempt: Attempt) -> str | None:
    """The outside address that both sides share: if they are behind a NAT, it is the same one."""
    here, there = attempt.server.public_address, attempt.observed
    return here[0] if here is not None and there is not None and here[0] == there[0] else None


def way_now(attempt: Attempt, own: NatFacts) -> Technique:
    """How the two can come together, as far as is known.

    A server with one address cannot tell whether a NAT uses another port for every other address.
    Where plain checks failed, and nothing speaks against it, many guesses are tried once: the port
    towards one address stays the same, whatever the NAT does for others.
    """
    way = attempt.way(own)
    is_open = way in (Technique.PLAIN, Technique.UNKNOWN)
    return Technique.BIRTHDAY if is_open and _is_blind(attempt, own) else way


def _is_blind(attempt: Attempt, own: NatFacts) -> bool:
    remote = attempt.remote
    if remote is None or not remote.round or not own.is_known or attempt.account.guessed_blindly:
        return False
    if attempt.observed is None or shared_outside(attempt) is not None:
        return False
    sides = {own.side, attempt.remote_facts.side}
    # Whoever lets in more than exact addresses would have been met plainly.
    return Side.UNKNOWN in sides and sides <= {Side.UNKNOWN, Side.PORT_FILTERED}


def note_blind(attempt: Attempt, own: NatFacts) -> None:
    """A round has failed: nothing is guessed a second time without a reason."""
    if attempt.account.method is Method.BIRTHDAY and own.side is not Side.UNPREDICTABLE:
        is_asked_for = attempt.remote_facts.side is Side.UNPREDICTABLE
        attempt.account.guessed_blindly = attempt.account.guessed_blindly or not is_asked_for


def depends_on_nats(attempt: Attempt, networks: OwnNetworks) -> bool:
    """Whether it matters what the two are behind: inside one network it does not."""
    observed = attempt.observed
    is_near = observed is not None and networks.is_near(observed[0])
    return not is_near and shared_outside(attempt) is None


def switched_off(way: Technique, side: Side, config: Config) -> str | None:
    """The option that keeps this side from what a way needs of it; None if there is none."""
    if way is Technique.PREDICTED and side is Side.PREDICTABLE:
        return None if prediction_options(config).enable else "port_prediction.enable"
    if way is Technique.BIRTHDAY and side is Side.UNPREDICTABLE:
        return None if config.ice.birthday_sockets else "ice.birthday_sockets"
    return None


def is_exhausted(
    attempt: Attempt,
    way: Technique,
    own: NatFacts,
    config: Config,
    *,
    limited: bool,
    has_more: bool = False,
) -> bool:
    """Whether another round would find no more than those before.

    Args:
        attempt: What is known of the node.
        way: What the two NATs ask for.
        own: What is known of this side's.
        config: Every option.
        limited: Whether a NAT limits the flows of guesses.
        has_more: Whether there are addresses that were not told, or tried, yet.
    """
    done = attempt.offer.round
    as_before = way is Technique.PLAIN or _needs_only_what_is_off(attempt, way, own, config)
    is_long = has_more if as_before else limited and way is Technique.BIRTHDAY
    if way is Technique.RELAY or done >= (MAX_LIMITED_ROUNDS if is_long else MAX_ROUNDS) - 1:
        return True
    return as_before and done >= 1 and not has_more


def _needs_only_what_is_off(
    attempt: Attempt, way: Technique, own: NatFacts, config: Config
) -> bool:
    if switched_off(way, own.side, config) is None:
        return False
    # Where both ports can be predicted the other side may still do so.
    return attempt.remote_facts.side is not own.side


def no_common_version(
    attempt: Attempt, own_addresses: Iterable[Address], sockets: Collection[int]
) -> str | None:
    """Why no path can be there, if the two have no IP version in common; None if they have.

    Args:
        attempt: With the other side's offer.
        own_addresses: Of this node's sockets.
        sockets: The IP versions that these reach.
    """
    remote, observed = attempt.remote, attempt.observed
    if remote is None or observed is None:
        return None
    told = (parse_ip_address(text) for _, text in remote.candidates)
    there = {ip_version(a[0]) for a in (observed, *told) if a is not None}
    seen = attempt.server.public_address
    known = (*own_addresses, *(() if seen is None else (seen,)))
    here = {ip_version(host) for host, _ in known} & set(sockets)
    if not here or here & there:
        return None
    (mine, *_), (theirs, *_) = here, there
    return (
        f"no IP version in common: here IPv{mine} only, there IPv{theirs} only;"
        f" IPv{theirs} here or IPv{mine} there would help"
    )


def shared_network(attempt: Attempt, own: OwnNetworks) -> Network | None:
    """The network of this machine's in which the other node is, too; None where none is known.

    Many networks have the same addresses: this one counts if a server sees both behind one outside
    address, or both inside.
    """
    observed, here = attempt.observed, attempt.server.public_address
    if observed is None or attempt.remote is None:
        return None
    is_inside = here is None or own.network_of(here[0]) is not None
    near = own.network_of(observed[0]) if is_inside else None
    if near is not None or shared_outside(attempt) is None:
        return near
    told = (parse_ip_address(text) for kind, text in attempt.remote.candidates if kind == HOST)
    hosts = (address[0] for address in told if address is not None)
    found = (own.network_of(host) for host in hosts if not own.holds(host))
    return next((network for network in found if network is not None), None)


def why_relayed(
    attempt: Attempt, own: NatFacts, config: Config, networks: OwnNetworks | None = None
) -> str:
    """Why the two cannot come together, in one line; names the option that is the cause."""
    shared = shared_network(attempt, networks or OwnNetworks())
    if shared is not None:
        return (
            f"both are in the network {shared}, but no check came through: a firewall on one of the"
            " two machines is in the way, or the network keeps its clients apart"
        )
    way, there = attempt.way(own), attempt.remote_facts.side
    option = switched_off(way, own.side, config)
    ends = f"here {own.side.value}, there {there.value}"
    outside = shared_outside(attempt)
    if outside is not None and way is not Technique.RELAY:
        return (
            f"both are behind one NAT at {outside}, which passes nothing between two of its own"
            " (no hairpin); they are on different networks inside, and hairpin there, or IPv6,"
            " would help"
        )
    if option is not None:
        return f"{ends}: what would help is switched off here ({option})"
    remote = attempt.remote
    if remote is not None and remote.round:
        predicts = any(kind == PREDICTED for kind, _ in remote.candidates)
        if way is Technique.BIRTHDAY and there is Side.UNPREDICTABLE and remote.sockets <= 1:
            return f"{ends}: the other side opened no sockets to be met (ice.birthday_sockets)"
        if way is Technique.PREDICTED and own.side is not Side.PREDICTABLE and not predicts:
            return f"{ends}: the other side predicted no ports (port_prediction.enable)"
    return relay_reason(own.side, there)


def is_stale(attempt: Attempt, config: Config, now: float) -> bool:
    """Whether what was predicted of this side's sockets is too old."""
    options = prediction_options(config)
    limit_s = options.prediction_timeout_ms / 1000
    is_predicted = any(kind == PREDICTED for kind, _ in attempt.offer.candidates)
    return bool(attempt.sockets) and is_predicted and now > attempt.prepared_at + limit_s


def sockets_needed(
    way: Technique, side: Side, config: Config, *, preserves: bool = False
) -> tuple[int, int]:
    """Further sockets that a side needs for a round, and ports that it has to predict.

    Args:
        way: What is tried.
        side: This one.
        config: Every option.
        preserves: Whether the NAT keeps the port of a socket.
    """
    options = prediction_options(config)
    if way is Technique.PREDICTED and side is Side.PREDICTABLE and options.enable:
        count = min(options.max_predictions, MAX_PREDICTED)
        return count, count
    if way is Technique.BIRTHDAY and side is Side.UNPREDICTABLE:
        return config.ice.birthday_sockets, 0
    if way is Technique.BIRTHDAY and side is Side.UNKNOWN and not preserves:
        return config.ice.birthday_sockets, 0
    return 0, 0


def lead_s(attempt: Attempt, config: Config) -> float:
    """How long the side that answers checks before it answers, seconds.

    What it opens is open then: of checks that come earlier those to a strict NAT are lost, and
    some NATs move their mapping.
    """
    if attempt.punching is None or not config.ice.opener_ttl:
        return 0.0
    if attempt.account.method is Method.BIRTHDAY:
        return 0.0  # a guess that comes before its socket is open meets that one all the same
    first = sum(pair.kind is not Kind.HOST for pair in attempt.punching.pairs)
    return min(first * config.ice.pace_ms / 1000 + LEAD_MARGIN_S, LONGEST_LEAD_S)


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
    """Make a round ready to run.

    Args:
        attempt: What is known of the node.
        remote: Its offer.
        observed: Where the server sees it.
        way: What the two NATs ask for.
        state: The shared ground.
        now: The time, seconds.
        flow_limit: New flows a second that the guessing side's NAT lets pass; None: no limit is
            known.
        pace: Of this side's new flows.
        own: The networks of this machine.
        own_addresses: Of this node's sockets.
    """
    ice = state.config.ice
    if way is Technique.BIRTHDAY and not attempt.sockets and remote.sockets <= 1:
        way = Technique.PLAIN  # neither side knew in time what it should prepare: no use in waiting
    attempt.account.method = METHODS.get(way, Method.PLAIN)
    rtt_s = attempt.server_rtt_s
    # What should have worked and did not, met a NAT that limits new flows, or loss. Fresh sockets
    # are tried by all the guesses before, which are open still; so a round ends soon, but the last.
    repeats = max(remote.round - 1, 0) if ice.adapt_pace else 0
    seconds = _round_seconds(attempt, way, ice, repeats, flow_limit)
    first_pause_s = FIRST_PAUSE_S
    if ice.adapt_pace:
        first_pause_s = min(max(rtt_s, SHORTEST_FIRST_PAUSE_S), LONGEST_FIRST_PAUSE_S)
    opens = not attempt.controlling and ice.opener_ttl > 0
    # The side that answers begins earlier by two ways to the server: what it sent then would
    # reach the other NAT before that one's own host has sent anything.
    opener_pause_s = 2 * rtt_s + OPENER_MARGIN_S if opens else None
    punching = Punching(
        controlling=attempt.controlling,
        rng=state.rng,
        budget=Budget(
            checks=ice.max_checks,
            seconds=min(seconds, ice.connectivity_check_timeout / 1000),
            pace_s=ice.pace_ms / 1000,
        ),
        now=now,
        opener_pause_s=opener_pause_s,
        opener_ttl=ice.opener_ttl,
        first_pause_s=first_pause_s,
        learnt=attempt.heard.learnt,
        count=state.counters.drop,
    )
    candidates = _chosen(attempt, remote, observed, state, own, own_addresses)
    if way not in METHODS and opens:
        # Whatever the other side will send to from outside is opened before it hears of it.
        candidates.sort(key=lambda candidate: candidate.kind is not Kind.REFLEXIVE)
    if attempt.sockets:
        pause_s = opener_pause_s
        if way is Technique.BIRTHDAY:
            first = remote.round <= 1 and ice.opener_ttl > 0
            pause_s = OPENED_SHARE * punching.budget.seconds if first else None
        targets = _targets(attempt, observed, candidates)
        for number, target in zip(attempt.sockets, targets, strict=False):
            punching.add(Kind.PREDICTED, [target], now, socket=number, opener_pause_s=pause_s)
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
    # Once for each offer, however often its round begins anew.
    claimed_checks = CLAIMED_CHECKS if attempt.exchange.is_first_with(remote) else 0
    for kind, address in known:
        standing = state.socket_of_version.get(ip_version(address[0]))
        if standing is not None:
            punching.add(kind, [address], now, socket=standing, claimed_checks=claimed_checks)
    if way is Technique.BIRTHDAY and remote.sockets > 1:
        is_quick = ice.adapt_pace and not repeats and flow_limit is None
        punching.guess(_guesses(observed, state, punching.budget, pace, now, is_quick=is_quick))
    return punching


def _chosen(
    attempt: Attempt,
    remote: TraversalOffer,
    observed: Address,
    state: NodeState,
    own: OwnNetworks | None,
    own_addresses: tuple[Address, ...],
) -> list[Believed]:
    """What of an offer this round tries: before all else what no round before it did."""
    versions = state.socket_of_version
    before = attempt.exchange.tried_before(remote.round)
    limit = state.config.ice.max_candidates
    chosen = believed(remote, observed, limit, own, own_addresses, versions=versions, tried=before)
    claims = claims_of(remote, observed, own, own_addresses, versions)
    attempt.exchange.note_round(
        remote.round,
        (a for kind in claims if kind is not Kind.PREDICTED for a in claims[kind]),
        (address for one in chosen if one.kind is not Kind.PREDICTED for address in one.remotes),
    )
    return chosen


def _targets(
    attempt: Attempt, observed: Address, candidates: list[Believed]
) -> tuple[Address, ...]:
    """One address for each further socket: its NAT makes one new flow of each, in order."""
    predicted = next((c.remotes for c in candidates if c.kind is Kind.PREDICTED), ())
    if not predicted:
        return (observed,) * len(attempt.sockets)
    if not attempt.controlling:
        return tuple(predicted)
    # Where both predict: the other side takes the ports in turn, this one waits with all of its
    # sockets for one of the middle. In lockstep one flow of somebody else would part them for
    # good; so it only is another socket of each that meets.
    return (predicted[len(predicted) // 2],) * len(attempt.sockets)


def _guesses(
    observed: Address,
    state: NodeState,
    budget: Budget,
    pace: FlowPace,
    now: float,
    *,
    is_quick: bool,
) -> Guesses:
    """The ports that are guessed in a round, at random."""
    options = prediction_options(state.config)
    probes = state.config.ice.birthday_probes
    return Guesses(
        observed[0],
        random_ports(state.rng, options.port_range_min, options.port_range_max),
        probes,
        quick=probes // 2 if is_quick else 0,
        begin=now,
        end=now + GUESSING_SHARE * budget.seconds,
        pace=pace,
    )


def _round_seconds(
    attempt: Attempt, way: Technique, ice: IceOptions, repeats: int, flow_limit: float | None
) -> float:
    """How long a round may last, before the limit of the options."""
    if way is not Technique.BIRTHDAY:
        return PLAIN_S + 4 * attempt.server_rtt_s
    if flow_limit is None:
        return ice.birthday_seconds * (2 if repeats >= MAX_ROUNDS - 2 else 1)
    # The guesses of the side that is led go on until the next offer is here.
    return LIMITED_ROUND_S * (1 if attempt.controlling else 2)
