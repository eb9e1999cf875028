"""The hosts that a node depends on right now: its peers, nodes that it looks for, servers it is to
join.
"""

import asyncio
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from p2ptui.config import Config
from p2ptui.core.addresses import visible_address
from p2ptui.core.endpoint import Endpoint
from p2ptui.errors import P2PError
from p2ptui.io.resolve import is_literal, resolve_all
from p2ptui.node.depended import OPTION, Dependencies, plain_host
from p2ptui.node.stun_servers import RESOLVE_S
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.joined import parse_joined


class DependencyFinder:
    """Finds out which hosts the tests of a diagnosis must not get banned.

    Args:
        config: Every option.
        endpoint: The node's protocol.
        named: Servers, `host:port` each, that the user named for such tests.
        found_at: Where the servers that are kept joined were found, by their addresses as given.
    """

    def __init__(
        self,
        config: Config,
        endpoint: Endpoint,
        named: Sequence[str],
        found_at: Mapping[Address, Address] | None = None,
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._named = named
        self._found_at = found_at or {}
        self._looked_up: tuple[_Found, _Found] | None = None

    async def find(self) -> Dependencies:
        """The hosts at this moment; names are looked up once, for a second at most.

        If the name of a server to join is not found in that time, any host may be that server, and
        all are spared.
        """
        if self._looked_up is None:
            self._looked_up = await self._look_up()
        told, named = self._looked_up
        # A connected server is spared by the address in use, whatever its name.
        in_use = {peer.address for peer in self._endpoint.peers if peer.is_authenticated}
        unfound = [name for name in told.unfound if self._found_at.get(name) not in in_use]
        return Dependencies.on(
            [*self._in_use(), *told.hosts], named.hosts, dict.fromkeys(host for host, _ in unfound)
        )

    async def _look_up(self) -> "tuple[_Found, _Found]":
        wanted = [*self._config.server.join]
        if self._config.stun_server.partner:
            wanted.append(self._config.stun_server.partner)
        return await asyncio.gather(_hosts_of(wanted), _hosts_of(self._named))

    def _in_use(self) -> Iterator[str]:
        endpoint = self._endpoint
        wanted = {attempt.node_id for attempt in endpoint.traversal.offers.all()}
        for attempt in endpoint.traversal.offers.all():
            if attempt.observed is not None:
                yield attempt.observed[0]
        for peer in endpoint.peers:
            wanted.add(peer.node_id)
            # For a relayed peer also the server, which the node depends on as well.
            yield from (visible_address(at)[0] for at in (peer.address, peer.sends_to))
        for entry in endpoint.introductions:
            if entry.node_id in wanted:
                yield entry.address[0]


class _Found(NamedTuple):
    """Where servers are, and the names of those not found in time."""

    hosts: list[str]
    unfound: list[Address]


async def _hosts_of(texts: Sequence[str]) -> _Found:
    """The IP addresses of servers."""
    addresses = [parse_joined(text).plain for text in texts]
    found = [host for host, _ in addresses if is_literal(host)]
    names = [address for address in addresses if not is_literal(address[0])]
    looked_up = await asyncio.gather(*map(_look_up, names))
    found += [host for hosts in looked_up for host in hosts]
    unfound = [name for name, hosts in zip(names, looked_up, strict=True) if not hosts]
    return _Found(found, unfound)


async def _look_up(name: Address) -> list[str]:
    with suppress(TimeoutError, P2PError):
        async with asyncio.timeout(RESOLVE_S):
            return [host for host, _ in await resolve_all(name)]
    return []


def why_spared(helper: Address | None, server: Address, depended: Dependencies) -> str | None:
    """Why a server's peer must not send unsolicited datagrams, in words that follow the server's
    name.

    Args:
        helper: The peer's address as the server sees it; None if it does not say.
        server: The server, which arranges it.
        depended: The hosts that the node depends on.

    Returns:
        None if it may.
    """
    if not depended or plain_host(server[0]) in depended.named:
        return None
    ask = f"; ask with {OPTION} {format_address(server)}"
    if helper is None:
        return f"which does not say who would send: it could be a node in use{ask}"
    # The server's own machine has other addresses for itself than others see.
    near = not ipaddress.ip_address(plain_host(helper[0])).is_global
    if near and ipaddress.ip_address(plain_host(server[0])).is_global:
        return f"whose peer may share its address, and could have it banned{ask}"
    if depended.unfound:
        names = " or ".join(depended.unfound)
        return f"whose peer may be {names}, whose address was not found, and could be banned{ask}"
    if depended.forbids([helper[0]]):
        return f"whose peer is a node in use, and could be banned{ask}"
    return None
