"""Tables and queues that others fill, of all floors: each has a limit, and cannot outgrow it; and
rates, for what others may ask for."""

from p2ptui.bounded.queue import BoundedQueue
from p2ptui.bounded.rates import TokenBucket
from p2ptui.bounded.shares import INDEXED, Limit, Share, number_of, prefix_of
from p2ptui.bounded.table import LOOKED_AT, BoundedTable

__all__ = [
    "INDEXED",
    "LOOKED_AT",
    "BoundedQueue",
    "BoundedTable",
    "Limit",
    "Share",
    "TokenBucket",
    "number_of",
    "prefix_of",
]
