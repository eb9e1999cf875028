"""Serves the metrics and the health of one node, for as long as it lives."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from importlib.util import find_spec
from types import TracebackType
from typing import Final

from p2ptui.config import MetricsOptions
from p2ptui.errors import ConfigError, P2PError
from p2ptui.io.advice import bind_advice
from p2ptui.io.resolve import resolve
from p2ptui.io.small_http import Answer, SmallHttp
from p2ptui.metrics.health import Health, liveness, readiness
from p2ptui.node import Node
from p2ptui.tagged import tagged
from p2ptui.wire.address import format_address, is_loopback, parse_address

log = logging.getLogger("p2ptui.metrics")

INSTALL: Final = (
    "metrics.address is set, and prometheus-client is not installed: install p2ptui with its"
    " extra (in a checkout: pip install '.[metrics]'), or leave metrics.address empty"
)
AGAIN_S: Final = 10.0
"""Time until an address that could not be bound is tried again."""


def require_client() -> None:
    """Refuse to serve metrics without prometheus-client.

    Raises:
        ConfigError: prometheus-client is not installed.
    """
    if find_spec("prometheus_client") is None:
        raise ConfigError(INSTALL)


def notices(address: str) -> tuple[str, ...]:
    """What the user should know about an address for metrics, one line each."""
    host, _ = parse_address(address)
    if host == "localhost" or is_loopback(host):
        return ()
    return (
        f"metrics at {address} have no password: anyone who can reach that address can read them",
    )


class MetricsServer(AbstractAsyncContextManager["MetricsServer"]):
    """Use it around the node: it listens before the node starts, and then answers that it is not
    ready.

    An address that cannot be bound does not end the node: its users would lose it for the sake of
    monitoring. It is reported once, and tried again until it can be bound.

    Args:
        node: The node.
        options: The section [metrics].

    Raises:
        ConfigError: prometheus-client is not installed.
    """

    def __init__(self, node: Node, options: MetricsOptions) -> None:
        require_client()
        from p2ptui.metrics import pages

        self._given = options.address
        self._http = SmallHttp(
            {
                "/metrics": pages.metrics_page(node),
                "/healthz": _health_page(lambda: liveness(node)),
                "/readyz": _health_page(lambda: readiness(node)),
            }
        )
        self._trying: asyncio.Task[None] | None = None
        self.address: tuple[str, int] | None = None
        """Where it listens; None while it cannot."""

    async def __aenter__(self) -> "MetricsServer":
        """Listen, or begin to retry."""
        problem = await self._open()
        if problem:
            log.error(
                "cannot serve metrics at %s: %s; the node runs on without them",
                self._given,
                problem,
                extra=tagged("metrics_not_served", address=self._given, reason=problem),
            )
            self._trying = asyncio.create_task(self._try_again(), name="metrics")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        if self._trying is not None:
            self._trying.cancel()
            with suppress(asyncio.CancelledError):
                await self._trying
        await self._http.close()

    async def _open(self) -> str:
        """Listen; return what prevents it, or an empty text."""
        try:
            given = parse_address(self._given)
            host, port = await resolve(given)
            # At any other address it may be reached under names that are unknown here.
            names = {"localhost", given[0].lower()} if is_loopback(host) else None
            self.address = await self._http.open(host, port, names)
        except P2PError as error:
            return str(error)
        except OSError as error:
            return str(bind_advice(error, "choose another address with --metrics"))
        where = format_address(self.address)
        log.info(
            "metrics at http://%s/metrics, /healthz and /readyz",
            where,
            extra=tagged("metrics_serving", address=where),
        )
        for notice in notices(where):
            log.warning("%s", notice, extra=tagged("metrics_open", address=where))
        return ""

    async def _try_again(self) -> None:
        try:
            while True:
                await asyncio.sleep(AGAIN_S)
                if not await self._open():
                    return
        except Exception as error:  # a mistake of this program: the node goes on
            log.exception(
                "metrics are not served at %s, and this is not tried again; the node goes on",
                self._given,
                extra=tagged("metrics_not_served", address=self._given, reason=repr(error)),
            )


def _health_page(judge: Callable[[], Health]) -> Callable[[str], Answer]:
    def respond(_accept: str) -> Answer:
        is_well, said = judge()
        body = json.dumps(said).encode() + b"\n"
        return Answer(200 if is_well else 503, body, "application/json")

    return respond
