"""What can go direct between two kinds of NAT, and what this machine's kind means in words.

Measured between kernel NATs (docs/nat.md): a NAT that filters at most by address can meet any
other; one that filters by address and port needs to know the other side's port, which a symmetric
NAT turns into a guess.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.text import printable


class Technique(Enum):
    """How two nodes can connect: a technique of NAT traversal (RFC 5128)."""

    PLAIN = "plain"
    """Each sends to the address where a server saw the other."""
    PREDICTED = "predicted"
    """The next port of a NAT is predicted."""
    BIRTHDAY = "birthday"
    """Many sockets on the one side, many guesses on the other (one in a thousand suffices)."""
    RELAY = "relay"
    """Only through a server."""
    UNKNOWN = "unknown"


class Side(Enum):
    """One side, as far as the table distinguishes."""

    LOOSE = "open or full cone"
    ADDRESS_FILTERED = "restricted cone"
    PORT_FILTERED = "port-restricted cone or firewall"
    PREDICTABLE = "symmetric with ports in sequence"
    UNPREDICTABLE = "symmetric with random ports"
    BLOCKED = "UDP blocked"
    UNKNOWN = "unknown"


_PREDICTABLE_KINDS: Final = frozenset({AllocationKind.PRESERVED, AllocationKind.SEQUENTIAL})

_SIDES: Final = {
    NatType.OPEN: Side.LOOSE,
    NatType.FULL_CONE: Side.LOOSE,
    NatType.RESTRICTED_CONE: Side.ADDRESS_FILTERED,
    NatType.PORT_RESTRICTED_CONE: Side.PORT_FILTERED,
    NatType.FIREWALL: Side.PORT_FILTERED,
    NatType.BLOCKED: Side.BLOCKED,
    NatType.UNKNOWN: Side.UNKNOWN,
}

_STRICT: Final = {
    frozenset({Side.PORT_FILTERED, Side.PREDICTABLE}): Technique.PREDICTED,
    frozenset({Side.PORT_FILTERED, Side.UNPREDICTABLE}): Technique.BIRTHDAY,
    frozenset({Side.PREDICTABLE}): Technique.PREDICTED,
    frozenset({Side.PREDICTABLE, Side.UNPREDICTABLE}): Technique.RELAY,
    frozenset({Side.UNPREDICTABLE}): Technique.RELAY,
}


def side_of(nat_type: NatType, allocation: PortAllocation | None = None) -> Side:
    """Where a NAT stands in the table."""
    if nat_type is not NatType.SYMMETRIC:
        return _SIDES[nat_type]
    kind = allocation.kind if allocation is not None else AllocationKind.UNKNOWN
    return Side.PREDICTABLE if kind in _PREDICTABLE_KINDS else Side.UNPREDICTABLE


def strictest(side: Side) -> Side:
    """What a side counts as when a path is planned: an unknown one as the worst that needs no
    special technique."""
    return Side.PORT_FILTERED if side is Side.UNKNOWN else side


def planned_way(one: Side, other: Side) -> Technique:
    """What two sides try; unlike in `way_between`, something is tried where much is unknown."""
    return way_between(strictest(one), strictest(other))


def way_between(one: Side, other: Side) -> Technique:
    """How two sides can connect."""
    pair = frozenset({one, other})
    if Side.BLOCKED in pair:
        return Technique.RELAY
    if Side.LOOSE in pair:
        return Technique.PLAIN
    if Side.UNKNOWN in pair:
        return Technique.UNKNOWN
    if Side.ADDRESS_FILTERED in pair:
        return Technique.PLAIN
    return _STRICT.get(pair, Technique.PLAIN)


def relay_reason(own: Side, other: Side) -> str:
    """Why two sides are relayed, and what would help, in one line."""
    way = way_between(own, other)
    if Side.BLOCKED in (own, other):
        where = "here" if own is Side.BLOCKED else "at the other side"
        return f"UDP is blocked {where}; allow it in the firewall there"
    ends = f"here {own.value}, there {other.value}"
    if way is Technique.RELAY:
        return (
            f"{ends}: neither port can be guessed; a UDP port forwarded on either router would help"
        )
    if way is Technique.UNKNOWN:
        return f"{ends}: no check came through; p2ptui nat at both sides shows what is in the way"
    return (
        f"{ends}: a direct path should work ({way.value}), but no check came through;"
        " a firewall may be in between"
    )


_WHAT: Final = {
    NatType.OPEN: "No NAT and no filter: anybody can reach this machine.",
    NatType.FIREWALL: "No NAT, but a firewall lets in only answers to what this machine sent.",
    NatType.FULL_CONE: (
        "The NAT uses one public address for all destinations, and lets anybody in through it."
    ),
    NatType.RESTRICTED_CONE: (
        "The NAT uses one public address for all destinations, and lets in only hosts that you have"
        " sent to."
    ),
    NatType.PORT_RESTRICTED_CONE: (
        "The NAT uses one public address for all destinations, and lets in only the exact addresses"
        " that you have sent to."
    ),
    NatType.SYMMETRIC: "The NAT uses another outside port for every destination.",
    NatType.BLOCKED: "UDP does not pass: no server answered.",
    NatType.UNKNOWN: "Too little was seen to tell the type.",
}

_PEERS: Final = (
    Side.LOOSE,
    Side.ADDRESS_FILTERED,
    Side.PORT_FILTERED,
    Side.PREDICTABLE,
    Side.UNPREDICTABLE,
)

_WAYS: Final = (
    (Technique.PLAIN, "Direct works with"),
    (Technique.PREDICTED, "Needs port prediction with"),
    (Technique.BIRTHDAY, "Needs many tries with"),
    (Technique.RELAY, "Needs a relay with"),
)


_NOT_ASKED: Final = "No server could be asked at all: nothing is known of the network."
_NONE_FURTHER_AWAY: Final = (
    "UDP passes to the nodes that are connected, which are nearby. No server further away could be"
    " asked."
)
_MANY_REASONS: Final = 3

CHECK_NAMES: Final = (
    "check that this machine has a network and that names resolve; a server given by its IP address"
    " needs no name: p2ptui nat --server HOST:PORT"
)
OTHER_VERSION: Final = "ask a server that has an address of the other IP version"


def not_asked_words(
    troubles: Sequence[tuple[str, str]], *, is_heard: bool = False
) -> tuple[str, str]:
    """Meaning and advice if no server could be asked at all.

    Args:
        troubles: For each server, what happened and what to do about it.
        is_heard: Whether nodes nearby are connected.
    """
    known = troubles or [("", CHECK_NAMES)]
    said = [printable(one, 200) for one in dict.fromkeys(one for one, _ in known) if one]
    todo = [one for one in dict.fromkeys(do for _, do in known) if one] or [CHECK_NAMES]
    reasons = f" Why: {'; '.join(said[:_MANY_REASONS])}." if said else ""
    steps = [f"{one[0].upper()}{one[1:]}." for one in todo[:_MANY_REASONS]]
    return f"{_NONE_FURTHER_AWAY if is_heard else _NOT_ASKED}{reasons}", " ".join(steps)


def meaning_of(nat_type: NatType, allocation: PortAllocation) -> str:
    """Which nodes can be reached from behind a kind of NAT, in plain words.

    Args:
        nat_type: The kind.
        allocation: How it chooses ports.
    """
    words = [_WHAT[nat_type]]
    side = side_of(nat_type, allocation)
    if nat_type is NatType.SYMMETRIC and allocation.kind is AllocationKind.SEQUENTIAL:
        words.append(f"The ports follow each other in steps of {allocation.step}.")
    if side is Side.BLOCKED:
        words.append("Nobody can be reached directly.")
    elif side is not Side.UNKNOWN:
        for way, lead in _WAYS:
            peers = [peer.value for peer in _PEERS if way_between(side, peer) is way]
            if len(peers) == len(_PEERS):
                words.append(f"{lead} every kind of NAT.")
            elif peers:
                words.append(f"{lead}: {'; '.join(peers)}.")
    return " ".join(words)


_FORWARD: Final = (
    "forward a UDP port on the router to this node (--address 0.0.0.0:PORT), and have the other"
    " side connect there"
)

_ADVICE: Final = {
    NatType.OPEN: "Nothing to do. This machine can serve others: run p2ptui --no-ui here.",
    NatType.FIREWALL: "To let anybody connect, allow the node's UDP port in the firewall.",
    NatType.FULL_CONE: "Nothing to do: join a server, so that others learn the outside address.",
    NatType.RESTRICTED_CONE: "Join the server that the other side joins; the rest is automatic.",
    NatType.PORT_RESTRICTED_CONE: (
        f"Join the server that the other side joins. Where that does not help, {_FORWARD}."
    ),
    NatType.SYMMETRIC: (
        f"Join a server that relays (--relay there). Where a direct path is needed, {_FORWARD}."
    ),
    NatType.BLOCKED: (
        "Check the firewall of this machine and of the network: UDP must be allowed out. Another"
        " network, such as a phone's, shows whether it is the network."
    ),
}

_ASK_MORE: Final = (
    "Join a p2ptui server that other nodes have joined as well: p2ptui nat --join HOST:PORT. Or ask"
    " two servers: give --server twice."
)
_ASK_FILTER: Final = (
    "To test what is let in, join a p2ptui server that other nodes have joined as well: p2ptui nat"
    " --join HOST:PORT. Or ask a server that has two addresses or a partner: --server HOST:PORT."
)
_ASK_MAPPING: Final = (
    "To see how the NAT maps, ask a second server as well, at another address: --server HOST:PORT."
)


def advice_for(
    nat_type: NatType,
    mapping: Dependence = Dependence.UNKNOWN,
    filtering: Dependence = Dependence.UNKNOWN,
) -> str:
    """What the user can do about it.

    Args:
        nat_type: The kind.
        mapping: If the kind is unknown: what is known about the mapping.
        filtering: Likewise, about what is let in.
    """
    known = _ADVICE.get(nat_type)
    if known is not None:
        return known
    if mapping is not Dependence.UNKNOWN:
        return _ASK_FILTER
    return _ASK_MORE if filtering is Dependence.UNKNOWN else _ASK_MAPPING


_MAPS: Final = {
    Dependence.ENDPOINT_INDEPENDENT: "The NAT keeps one address for all.",
    Dependence.NONE: "There is no NAT.",
}


def spared_words(
    nat_type: NatType, mapping: Dependence, spared: Sequence[str], meaning: str, advice: str
) -> tuple[str, str]:
    """Meaning and advice if filtering was not tested, to spare servers in use.

    Args:
        nat_type: What could be named nevertheless.
        mapping: How the NAT maps.
        spared: The servers, `host:port` each.
        meaning: What the type means otherwise.
        advice: What to do otherwise.
    """
    name = printable(spared[0], 80)
    words = (
        f"What is let in was not tested: the test could get {name} banned, and this node"
        " depends on it."
    )
    how = (
        f"To test what is let in: nat --filter-with {name}; a NAT may ban that server for a while"
        " then. Or ask a STUN server that this node does not depend on."
    )
    if nat_type is NatType.UNKNOWN:
        return f"{_MAPS.get(mapping, meaning)} {words}", how
    return f"{meaning} {words}", f"{advice} {how}"


NEARBY_MEANING: Final = (
    "UDP passes to the nodes that are connected, which are nearby. Nobody further away answered:"
    " UDP may be blocked beyond them, or the servers that were asked are down."
)
NEARBY_ADVICE: Final = (
    "Ask a second server: p2ptui nat --server HOST:PORT. If none answers, see whether the firewall"
    " of this network lets UDP out."
)

_DOUBTFUL_ADVICE: Final = (
    "Ask another server: p2ptui nat --server HOST:PORT. If that one is silent as well, check the"
    " firewall of this machine and of the network: UDP must be allowed out."
)


def doubtful_words(server: str) -> tuple[str, str]:
    """Meaning and advice if one server was asked and is silent.

    Args:
        server: The server, `host:port`.
    """
    name = printable(server, 80)
    return f"{name} did not answer: UDP is blocked here, or that server is down.", _DOUBTFUL_ADVICE


_STUN_ADVICE: Final = (
    "Ask a STUN server, or a p2ptui node that runs with --STUN: p2ptui nat --server HOST:PORT."
)


def unanswered_words(nodes: Sequence[str], refused: Sequence[str] = ()) -> tuple[str, str]:
    """Meaning and advice if UDP passes, but nobody reported where this machine is seen.

    Args:
        nodes: Those that were asked and are nodes without STUN, `host:port` each.
        refused: Likewise, those where nothing listens.
    """
    if nodes:
        names = " and ".join(printable(node, 80) for node in nodes)
        subject = (
            f"The node at {names} serves" if len(nodes) == 1 else f"The nodes at {names} serve"
        )
        return f"{subject} no STUN: UDP passes, but nothing is known of the NAT.", _STUN_ADVICE
    if refused:
        names = " and ".join(printable(one, 80) for one in refused)
        words = (
            f"No STUN server is running at {names}: UDP passes, but nothing is known of the NAT."
        )
        return words, _STUN_ADVICE
    return "UDP passes, but no server answered: nothing is known of the NAT.", _STUN_ADVICE
