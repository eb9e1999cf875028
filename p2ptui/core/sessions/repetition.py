"""When a handshake request is repeated: by the clock, or by what is known about the path."""

from typing import Final

from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.peers import Peer, PeerTable

RETRY_INTERVAL_S: Final = 0.5
"""Between repetitions of a request. Not doubled: within `auth_timeout` that would leave five
tries, and one handshake in 170 would fail at 20 % loss each way; two small datagrams a second
burden nobody."""

RETRY_JITTER: Final = 0.1

RELAYED_RETRY_S: Final = 0.1
RELAYED_ROUND_TRIPS: Final = 3
RELAYED_GROWTH: Final = 1.5
LONGEST_RELAYED_RETRY_S: Final = 0.25
"""Through a server, the distance is known: the first repetition follows after this many round trips
to it, and not before; each further pause is longer by this factor, up to the last of these, since a
request over four paths is lost more often."""


def first_pause_s(peer: Peer, peers: PeerTable) -> float:
    """From a request to its first repetition.

    Args:
        peer: The peer that is asked.
        peers: All peers, including the server through which it is asked.

    Returns:
        Seconds.
    """
    if relayed_node(peer.address) is None:
        return RETRY_INTERVAL_S
    server = peers.at(visible_address(peer.home))
    rtt_s = None if server is None else server.channel.srtt
    if rtt_s is None:
        return RETRY_INTERVAL_S
    # On a longer path it would only double the datagrams in flight.
    return min(max(RELAYED_ROUND_TRIPS * rtt_s, RELAYED_RETRY_S), RETRY_INTERVAL_S)


def next_pause_s(pause_s: float) -> float:
    """From a repetition to the next; both in seconds."""
    longer = min(RELAYED_GROWTH * pause_s, LONGEST_RELAYED_RETRY_S)
    return max(pause_s, longer)
