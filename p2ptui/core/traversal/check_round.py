"""Whether another round of checks is worthwhile: which technique, what it needs, or why none."""

from p2ptui.config import Config, prediction_options
from p2ptui.core.connection import Method
from p2ptui.core.traversal.attempt import MAX_LIMITED_ROUNDS, MAX_ROUNDS, Attempt, NatFacts
from p2ptui.core.traversal.candidates import PREDICTED, claims_ipv6
from p2ptui.core.traversal.common_ground import shared_network, shared_outside
from p2ptui.core.traversal.own_networks import OwnNetworks
from p2ptui.nat.feasibility import Side, Technique, relay_reason, way_between
from p2ptui.wire.offer import MAX_PREDICTED


def is_plain_hopeless(attempt: Attempt, own: NatFacts) -> bool:
    """Whether plain checks would only cost time, and use up predicted ports. Decided by what both
    sides say about their NATs. Behind the same outside address the table does not apply: there may
    be a common network."""
    if attempt.server.public_address is None or attempt.observed is None:
        return False
    if shared_outside(attempt) is not None:
        return False
    if attempt.remote is not None and claims_ipv6(attempt.offer) and claims_ipv6(attempt.remote):
        return False  # without a NAT, none is in the way
    # An unknown NAT may be a loose one.
    way = way_between(own.side, attempt.remote_facts.side)
    return way in (Technique.PREDICTED, Technique.BIRTHDAY)


def way_now(attempt: Attempt, own: NatFacts) -> Technique:
    """How the two can connect, as far as is known.

    A server with one address cannot tell whether a NAT uses another port for every other address.
    If plain checks failed and nothing rules it out, many guesses are tried once: the port towards
    one address stays the same, whatever the NAT does for others.
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
    # Plain checks would have passed a NAT that admits more than exact addresses.
    return Side.UNKNOWN in sides and sides <= {Side.UNKNOWN, Side.PORT_FILTERED}


def note_blind(attempt: Attempt, own: NatFacts) -> None:
    """A round has failed: guess no further without a reason."""
    if attempt.account.method is Method.BIRTHDAY and own.side is not Side.UNPREDICTABLE:
        is_asked_for = attempt.remote_facts.side is Side.UNPREDICTABLE
        attempt.account.guessed_blindly = attempt.account.guessed_blindly or not is_asked_for


def switched_off(way: Technique, side: Side, config: Config) -> str | None:
    """The option that keeps this side from doing its part of a technique; None if there is none."""
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
    """Whether another round would find no more than the previous ones.

    Args:
        attempt: The attempt to reach the node.
        way: The technique that the two NATs require.
        own: What is known about this side's NAT.
        config: All options.
        limited: Whether a NAT limits the flows of guesses.
        has_more: Whether there are addresses not yet offered, or not yet tried.
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


def why_relayed(
    attempt: Attempt, own: NatFacts, config: Config, networks: OwnNetworks | None = None
) -> str:
    """Why the two cannot connect directly, in one line; names the option that is the cause."""
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
    """Whether the prediction of this side's ports is too old."""
    options = prediction_options(config)
    limit_s = options.prediction_timeout_ms / 1000
    is_predicted = any(kind == PREDICTED for kind, _ in attempt.offer.candidates)
    return bool(attempt.sockets) and is_predicted and now > attempt.prepared_at + limit_s


def sockets_needed(
    way: Technique, side: Side, config: Config, *, preserves: bool = False
) -> tuple[int, int]:
    """How many further sockets a side needs for a round, and how many ports it has to predict.

    Args:
        way: The technique.
        side: This side.
        config: All options.
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
