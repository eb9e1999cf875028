"""Tables and queues that others fill, for all floors: each has a limit and cannot outgrow it.

Also rates for what others may request, a count of what was left out, and a one-entry cache.
"""

from p2ptui.bounded.drawing import draw_oldest
from p2ptui.bounded.last_made import LastMade
from p2ptui.bounded.left_out import LeftOut
from p2ptui.bounded.queue import BoundedQueue
from p2ptui.bounded.rates import FairBucket, TokenBucket
from p2ptui.bounded.recency import Recency
from p2ptui.bounded.shares import INDEXED, Limit, Share, Shares, number_of, owners_at, prefix_of
from p2ptui.bounded.table import LOOKED_AT, BoundedTable, Crowd

__all__ = [
    "INDEXED",
    "LOOKED_AT",
    "BoundedQueue",
    "BoundedTable",
    "Crowd",
    "FairBucket",
    "LastMade",
    "LeftOut",
    "Limit",
    "Recency",
    "Share",
    "Shares",
    "TokenBucket",
    "draw_oldest",
    "number_of",
    "owners_at",
    "prefix_of",
]
