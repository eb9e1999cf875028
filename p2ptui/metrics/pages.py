"""The page of metrics, in whichever format of Prometheus a scraper asks for."""

from collections.abc import Callable

from prometheus_client.exposition import choose_encoder

from p2ptui.errors import LocalError
from p2ptui.io.small_http import Answer
from p2ptui.metrics.collector import registry_of
from p2ptui.node import Node


def metrics_page(node: Node) -> Callable[[str], Answer]:
    """What answers for a node."""
    registry = registry_of(node)

    def respond(accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        try:
            return Answer(200, encode(registry), content_type)
        except LocalError as error:  # it has not started yet, or is closing
            return Answer(503, f"{error}\n".encode())

    return respond
