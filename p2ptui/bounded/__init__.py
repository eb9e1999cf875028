"""Tables and queues that others fill, of all floors: each has a limit, and cannot outgrow it;
rates, for what others may ask for, and the number of what was left out; and one place for what was
made last."""

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
