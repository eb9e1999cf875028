"""The way in: the table of messages, and who takes them from peers and from strangers.

`rows` is the table: of each type one `row` with what it is, what its sender must have shown, on
which of the `budgets` it draws, who handles it and what a refusal answers; `table`, the same as one
node uses it. `arrivals` decodes, `inbox` takes what peers send, `strangers` all else, of which some
waits (`early`) and some is told to shake hands (`telling`); `session_messages` are what two ends
tell each other about their session.
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
