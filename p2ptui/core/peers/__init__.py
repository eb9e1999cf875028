"""The nodes that this one talks to: the table of peers, and what is known about each.

`peers` is the table, by id and by address; `relayed` keeps the addresses of peers behind servers. A
`peer` has parts: the `session` and its `handshakes`, `liveness` with the proof by `timing`,
`reach`, `facts` and `traffic`; a secured one has a `seal`. `held` is what waits for it. `elsewhere`
is the interface to the nodes that other servers of the network hold, and `own_cluster` knows which
servers can stand in for each other.
"""

from p2ptui.core.accounts import AMPLIFICATION_LIMIT, PING_BYTES
from p2ptui.core.aliases import Standing
from p2ptui.core.peers.elsewhere import (
    ALONE,
    NO_TAKER,
    Elsewhere,
    Foreign,
    Handed,
    Handing,
    Listed,
    NotHanded,
    Taker,
    is_claim,
)
from p2ptui.core.peers.facts import Dialect
from p2ptui.core.peers.handshakes import HANDSHAKES_REMEMBERED
from p2ptui.core.peers.held import Held, OnLost
from p2ptui.core.peers.liveness import Suspicion
from p2ptui.core.peers.peer import MAX_ACKS_OWED, Peer
from p2ptui.core.peers.peers import PeerTable, last_seen, peer_info

__all__ = [
    "ALONE",
    "AMPLIFICATION_LIMIT",
    "HANDSHAKES_REMEMBERED",
    "MAX_ACKS_OWED",
    "NO_TAKER",
    "PING_BYTES",
    "Dialect",
    "Elsewhere",
    "Foreign",
    "Handed",
    "Handing",
    "Held",
    "Listed",
    "NotHanded",
    "OnLost",
    "Peer",
    "PeerTable",
    "Standing",
    "Suspicion",
    "Taker",
    "is_claim",
    "last_seen",
    "peer_info",
]
