"""Habits of a NAT beyond its type that a user must know about, and what they mean in words."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class Finding(StrEnum):
    """A habit that the classical names do not cover."""

    LIMITS_NEW_FLOWS = "limits new flows"
    """Datagrams that begin a flow are dropped beyond some rate, while old flows still pass."""
    BANS_UNASKED_SENDERS = "bans unasked senders"
    """A sender of unsolicited datagrams is blocked for a while."""


_MEANING: Final = {
    Finding.LIMITS_NEW_FLOWS: (
        "The NAT limits new flows: it drops some of the datagrams that begin one, while flows that"
        " are established pass. Plain direct paths work; many tries at once do not."
    ),
    Finding.BANS_UNASKED_SENDERS: (
        "The NAT bans unasked senders: after one datagram that nobody asked for, nothing from its"
        " sender is let in for a while, often a minute."
    ),
}

_ADVICE: Final = {
    Finding.LIMITS_NEW_FLOWS: (
        "Nothing to do for plain paths; a search that needs many tries paces itself and takes"
        " longer. If the router has flood protection, a higher limit for UDP there helps."
    ),
    Finding.BANS_UNASKED_SENDERS: (
        "If a server or node is silent after a test or a failed search, wait a minute. Switch off"
        " the router's scan or flood protection for UDP, or forward the node's UDP port there."
    ),
}


def meaning_with(findings: Sequence[Finding], meaning: str) -> str:
    """What a type means, and then what the findings do."""
    return " ".join([meaning, *(_MEANING[finding] for finding in findings)])


def advice_with(findings: Sequence[Finding], advice: str) -> str:
    """What to do about the findings, and then about the type."""
    return " ".join([*(_ADVICE[finding] for finding in findings), advice])
