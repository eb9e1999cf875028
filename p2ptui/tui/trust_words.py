"""What is known about a node's identity, in words for the screen."""

from typing import Final, TypeGuard

from p2ptui.core.events import PeerStatus, TrustChanged
from p2ptui.node import OtherNode
from p2ptui.node.view import PeerView
from p2ptui.secure.known_nodes import Trust
from p2ptui.text import printable

MAX_ADVICE: Final = 400
"""Characters of a sentence on what to do: two ids, and two names or addresses."""

TRUST_MEANS: Final = {
    Trust.VERIFIED: "you have said that it is the right one",
    Trust.KNOWN: "the same as before; its id was not compared with its user",
    Trust.NEW: "not met before",
    Trust.OPEN: "it has no keys: anybody on the way can read, alter and forge its messages",
    Trust.CHANGED: "its name, address or id belonged to another node before",
}


def advice_in_bar(advice: str) -> str:
    """What happened and what to do, as on the screen: commands without the program's name."""
    for verb in ("trust", "forget"):
        advice = advice.replace(f"p2ptui {verb} ", f"{verb} ")
    return printable(advice, MAX_ADVICE)


def is_refused(node: PeerView | OtherNode) -> TypeGuard[PeerView]:
    """Whether it is a server to join that is refused because of its identity."""
    return isinstance(node, PeerView) and node.status is PeerStatus.FAILED and bool(node.advice)


def keys_words(node: PeerView | OtherNode) -> str:
    """Whether a node has shown keys."""
    if isinstance(node, OtherNode):
        return "not shown: there is no session with it"
    if is_refused(node):
        return "not shown: there is no session with it"
    if not node.secured:
        return "none: messages are sent in the open"
    until = "; they last as long as it runs" if node.ephemeral else ""
    return f"shown: the id is derived from them, so no other node can have it{until}"


def event_words(event: TrustChanged) -> str:
    """What is known about a peer from now on, in one line."""
    what = "refused" if event.is_refused else event.trust.value
    words = f"{what}: {advice_in_bar(event.advice) or TRUST_MEANS[event.trust]}"
    return f"{words}; it was {event.previous}" if event.previous is not None else words


def level_of(event: TrustChanged) -> str:
    """How serious that is: a session that has begun as expected is hardly worth a line."""
    if event.advice:
        return "warn"
    return "debug" if event.previous is None else "info"
