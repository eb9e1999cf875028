"""What has gone to a peer and come from it."""

import math
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Traffic:
    """Counts, and when something last went."""

    messages_in: int = 0
    messages_out: int = 0
    last_sent: float = -math.inf
    """When a message last went to it."""
    data_at: float = -math.inf
    """When Data last went to it or came from it: heartbeats alone are no use of a session."""
