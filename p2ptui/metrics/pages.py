"""The page of metrics, in whichever Prometheus format a scraper asks for."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client.exposition import choose_encoder

from p2ptui.errors import LocalError
from p2ptui.io.small_http import Answer
from p2ptui.metrics.collector import registry_of
from p2ptui.node import Node

KEPT_S: Final = 1.0
"""How long a page is reused: writing it looks at every peer, and a client that asks over and over
must not slow the node down.
"""

_OPENMETRICS: Final = "application/openmetrics-text"
_TEXT: Final = ""
"""The library's value for a client that does not ask for a format."""


def metrics_page(
    node: Node, clock: Callable[[], float] = time.monotonic
) -> Callable[[str], Answer]:
    """The function that answers for a node.

    Args:
        node: The node.
        clock: A monotonic clock, seconds.
    """
    registry = registry_of(node)
    kept: dict[str, tuple[Answer, float]] = {}

    def respond(accept: str) -> Answer:
        wanted, now = _format_for(accept), clock()
        answer, until = kept.get(wanted, (None, now))
        if answer is None or now >= until:
            encode, content_type = choose_encoder(wanted)
            try:
                answer = Answer(200, encode(registry), content_type)
            except LocalError as error:  # it has not started yet, or is closing
                kept.clear()
                return Answer(503, f"{error}\n".encode())
            kept[wanted] = answer, now + KEPT_S
        return answer

    return respond


def _format_for(accept: str) -> str:
    """One of two formats, whatever a client asks for: the library repeats the client's words in its
    answer, and raises an exception if it cannot parse them.
    """
    try:
        _, content_type = choose_encoder(accept)
    except Exception:
        return _TEXT
    return _OPENMETRICS if content_type.startswith(_OPENMETRICS) else _TEXT
