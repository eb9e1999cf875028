"""The way in: the table of messages, and their handling for peers and for strangers.

`rows` is the table: for each type a `row` that says what it is, what its sender must have proved,
which of the `budgets` it draws on, who handles it and how a refusal is answered; `table` is the
same, bound to one node. `arrivals` decodes, `inbox` takes what peers send, `strangers` all else:
some of that waits (`early`), and some senders are told to shake hands (`telling`).
`session_messages` are what the two ends tell each other about their session.
"""

from p2ptui.core.messages.budgets import Cost
from p2ptui.core.messages.row import Refusal, Row
from p2ptui.core.messages.rows import (
    EXTENSIONS,
    FOLLOWING,
    MEANINGS,
    ROWS,
    TOLD_TO_SHAKE_HANDS,
)
from p2ptui.core.messages.session_messages import SessionMessages

__all__ = [
    "EXTENSIONS",
    "FOLLOWING",
    "MEANINGS",
    "ROWS",
    "TOLD_TO_SHAKE_HANDS",
    "Cost",
    "Refusal",
    "Row",
    "SessionMessages",
]
