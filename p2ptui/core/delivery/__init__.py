"""The way out: messages become datagrams, each within what its peer may be sent.

`delivery` turns messages into datagrams or transfers, `deferred` keeps those that may not leave
yet, `outlet` sends what leaves at once, Pings above all, `sizes` says how large a message may be,
and `path_probes` find out how large a datagram may be.
"""

from p2ptui.core.delivery.deferred import (
    MAX_DEFERRED,
    MAX_DEFERRED_BYTES,
    MAX_DEFERRED_OF_ALL_BYTES,
    why_not_kept,
)
from p2ptui.core.delivery.delivery import INSISTENCE_S, Delivery
from p2ptui.core.delivery.outlet import not_sent
from p2ptui.core.delivery.path_probes import PathProbes
from p2ptui.core.delivery.sizes import MAX_DATAGRAM_BYTES

__all__ = [
    "INSISTENCE_S",
    "MAX_DATAGRAM_BYTES",
    "MAX_DEFERRED",
    "MAX_DEFERRED_BYTES",
    "MAX_DEFERRED_OF_ALL_BYTES",
    "Delivery",
    "PathProbes",
    "not_sent",
    "why_not_kept",
]
