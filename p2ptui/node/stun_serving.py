"""A node that serves STUN: its sockets for that, and its partner."""

import logging
from collections.abc import Callable
from typing import Final

from p2ptui.config.nat_sections import StunServerOptions
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import StunReplyDue
from p2ptui.errors import LocalError
from p2ptui.io.stun_sockets import Open, StunSockets, require_other_node
from p2ptui.nat.stun_server import Place
from p2ptui.node.connector import Connector
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address, format_address, parse_address

log = logging.getLogger("p2ptui.node")

RESOLVE_PARTNER_S: Final = 5.0


class StunServing:
    """The STUN server of a node; without `open` it serves nothing.

    Args:
        endpoint: The node's protocol, which answers.
        connector: Resolves the partner's name.
        local_address: Where the node's own socket is bound.
        clock: A monotonic clock, seconds.
        flush: Carries out what was asked of the endpoint.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connector: Connector,
        local_address: Address,
        clock: Callable[[], float],
        flush: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._connector = connector
        self._local_address = local_address
        self._clock = clock
        self._flush = flush
        self._sockets = StunSockets({})
        self.partner: list[str] = []
        """Kept connected like a joined server."""

    async def open(self, options: StunServerOptions, open_socket: Open) -> None:
        """Bind the sockets and find the partner; warn about whatever is missing.

        Args:
            options: `[stun_server]` of the configuration.
            open_socket: Binds one address.
        """
        self._sockets = await StunSockets.open(options, open_socket, self._local_address[0])
        partners: list[Address] = []
        if options.partner:
            try:
                partners = await self._connector.resolve(
                    parse_address(options.partner), RESOLVE_PARTNER_S
                )
                for partner in partners:
                    require_other_node(partner, self._local_address)
                # The partner replies over the IP version that it is met over, and IPv4 is where the
                # NATs are.
                self._connector.met_over_ipv4 = {parse_address(options.partner)}
                self.partner = [options.partner]
            except LocalError as error:
                partners = []
                log.warning(
                    "the STUN partner %s is not used: %s; change partner in [stun_server]",
                    options.partner,
                    error,
                    extra=tagged("stun_partner_unused", partner=options.partner, reason=str(error)),
                )
        places = {Place.OWN: self._local_address, **self._sockets.places}
        self._endpoint.stun.open(places, partners[0] if partners else None, *partners[1:])
        self._flush()
        log.info(
            "STUN at %s",
            ", ".join(map(format_address, places.values())),
            extra=tagged("stun_serving", addresses=[format_address(at) for at in places.values()]),
        )

    async def run(self) -> None:
        """Handle what arrives, until cancelled."""
        await self._sockets.run(self._receive, self._flush)

    def _receive(self, data: bytes, source: Address, place: Place) -> None:
        self._endpoint.stun.receive(data, source, place, self._clock())

    def send(self, reply: StunReplyDue) -> None:
        """Send a reply from the requested place, if it exists."""
        self._sockets.send(reply.place, reply.data, reply.to)

    def close(self) -> None:
        """Release the addresses."""
        self._sockets.close()
