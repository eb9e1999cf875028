"""The way in: the table of messages, and who takes them from peers and from strangers."""

from p2ptui.core.messages.budgets import Cost
from p2ptui.core.messages.rows import (
    EXTENSIONS,
    INTRODUCTION,
    MEANINGS,
    REQUEST,
    ROWS,
    TOLD_TO_SHAKE_HANDS,
    Admission,
    Handler,
    Reader,
    Refusal,
    Row,
    Taker,
)

__all__ = [
    "EXTENSIONS",
    "INTRODUCTION",
    "MEANINGS",
    "REQUEST",
    "ROWS",
    "TOLD_TO_SHAKE_HANDS",
    "Admission",
    "Cost",
    "Handler",
    "Reader",
    "Refusal",
    "Row",
    "Taker",
]
