"""What a traversal needs from the machine: facts about the NAT, further sockets, predicted
ports.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from p2ptui.config import Config, prediction_options
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import (
    DatagramDue,
    Event,
    FlowProbeWanted,
    NatFactsWanted,
    SocketsDone,
    SocketsWanted,
)
from p2ptui.errors import P2PError
from p2ptui.io.advice import barrier
from p2ptui.io.exits import carry_out
from p2ptui.io.resolve import resolve_all
from p2ptui.io.stun_client import Schedule, StunClient
from p2ptui.io.udp import DatagramSocket
from p2ptui.nat.prediction import PortPredictor
from p2ptui.node.flow_probes import FlowProbes
from p2ptui.node.nat_service import NatService
from p2ptui.node.port_forecast import PortForecast, Samples, foretell, sample_flows
from p2ptui.node.stun_servers import RESOLVE_S, first_to_answer
from p2ptui.wire.address import Address, parse_address

log = logging.getLogger("p2ptui.nat")

MAX_SOCKETS: Final = 2048
"""Further sockets at once, for all nodes together."""

BATCH: Final = 64
SAMPLES: Final = 8

WISHES: Final = frozenset(
    {DatagramDue, NatFactsWanted, SocketsWanted, FlowProbeWanted, SocketsDone}
)
"""The events that request something."""


class TraversalSupport:
    """Carries out the requests of traversals; `close` ends them all.

    Args:
        config: Every option.
        endpoint: The node's protocol.
        sock: The node's own socket.
        nat: The diagnosis.
        clock: The time on the endpoint's clock, seconds.
        flush: Carries out what was asked of the endpoint.
        rng: Where transaction ids come from.
        begin: Starts a task that the node owns.
    """

    def __init__(
        self,
        config: Config,
        endpoint: Endpoint,
        sock: DatagramSocket,
        nat: NatService,
        clock: Callable[[], float],
        flush: Callable[[], None],
        rng: random.Random,
        begin: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._socket = sock
        self._nat = nat
        self._clock = clock
        self._flush = flush
        self._rng = rng
        self._begin = begin
        self._sockets: dict[int, DatagramSocket] = {}
        self._next_number = 1
        self._forecast = PortForecast(endpoint.counters.predictions)
        self._diagnosing = False
        self._flow_probes = FlowProbes(
            self._sampling_server, self._open_client, clock, begin, self._note_flow
        )

    def handle(self, event: Event) -> bool:
        """Carry out what an event requests; return whether it requested anything."""
        if type(event) not in WISHES:
            return False  # nearly always
        match event:
            case DatagramDue(0, data, to, ttl):
                carry_out(self._socket, data, to, ttl)
            case DatagramDue(number, data, to, ttl):
                sock = self._sockets.get(number)
                if sock is not None:
                    carry_out(sock, data, to, ttl)
            case NatFactsWanted():
                if not self._diagnosing:
                    self._diagnosing = True
                    self._begin(self._find_facts(), "facts of the NAT")
            case SocketsWanted():
                self._begin(self._open(event), "sockets for a traversal")
            case FlowProbeWanted():
                if not self._flow_probes.start(event.node_id, event.patience_s):
                    self._endpoint.counters.drop("flow_probes_full")
            case SocketsDone(sockets):
                for number in sockets:
                    self._close(number)
            case _:
                return False
        return True

    def stand_beside(self, sock: DatagramSocket | None) -> None:
        """Use an IPv6 socket for all attempts, replacing the previous one; None: none any more."""
        standing = self._endpoint.traversal.standing
        if sock is None:
            standing.stand_beside(None, (), self._clock())
        else:
            number = self._enter(sock)
            self._begin(self._pump(number, sock), f"socket {number}")
            standing.stand_beside(number, (sock.local_address,), self._clock())
        self._flush()

    def _enter(self, sock: DatagramSocket) -> int:
        number = self._next_number
        self._next_number += 1
        self._sockets[number] = sock
        return number

    def close(self) -> None:
        """Close all sockets."""
        for number in list(self._sockets):
            self._close(number)

    def _close(self, number: int) -> None:
        sock = self._sockets.pop(number, None)
        if sock is not None:
            sock.close()

    async def _find_facts(self) -> None:
        is_told = False
        try:
            is_told = await self._nat.find_facts()
        finally:
            self._diagnosing = False
        if not is_told:
            self._nat.tell_no_facts()

    async def _open(self, wanted: SocketsWanted) -> None:
        sockets: dict[int, DatagramSocket] = {}
        predicted: tuple[Address, ...] = ()
        try:
            while len(sockets) < wanted.count and len(self._sockets) < MAX_SOCKETS:
                sock = await self._nat.open_probe((self._probe_host, 0))
                # Entered at once, so that whatever ends this closes it.
                sockets[self._enter(sock)] = sock
            if len(sockets) < wanted.count:
                self._endpoint.counters.drop("sockets_full")
                log.info(
                    "%d of %d sockets for a direct path to %s: %d are open for all nodes together",
                    len(sockets),
                    wanted.count,
                    wanted.node_id,
                    MAX_SOCKETS,
                    extra={
                        "event": "sockets_short",
                        "fields": {
                            "node_id": wanted.node_id,
                            "opened": len(sockets),
                            "wanted": wanted.count,
                        },
                    },
                )
            if wanted.predict:
                locals_ = [sock.local_address[1] for sock in sockets.values()]
                predicted = await self._predict(locals_)
        except P2PError as error:
            log.info(
                "no further sockets for a direct path: %s",
                error,
                extra={
                    "event": "sockets_failed",
                    "fields": {"node_id": wanted.node_id, "reason": str(error)},
                },
            )
        for number, sock in sockets.items():
            self._begin(self._pump(number, sock), f"socket {number}")
        now = self._clock()
        self._endpoint.traversal.sockets_ready(wanted.node_id, tuple(sockets), predicted, now)
        self._flush()

    def _note_flow(self, node_id: str, fresh: bool, old: bool) -> None:
        now = self._clock()
        self._endpoint.traversal.flows.take_probe(node_id, fresh=fresh, old=old, now=now)
        self._flush()

    async def _open_client(self) -> StunClient:
        sock = await self._nat.open_probe((self._probe_host, 0))
        return StunClient(sock, self._rng, self._nat.gate)

    @property
    def _probe_host(self) -> str:
        return self._nat.probe_host or _any(self._socket)

    async def _pump(self, number: int, sock: DatagramSocket) -> None:
        while not sock.closed:
            await sock.wait()
            now = self._clock()
            for data, address in sock.drain(BATCH):
                self._endpoint.receive_beside(data, address, number, now)
            self._flush()
            await asyncio.sleep(0)

    # Ports.

    async def _predict(self, local_ports: list[int]) -> tuple[Address, ...]:
        """Predict the outside addresses of sockets, in the order of their first use."""
        options = prediction_options(self._config)
        server = await self._sampling_server()
        if server is None or not options.enable or (":" in server[0] and not options.enable_ipv6):
            return ()
        samples, outside = await self._sample(server)
        if outside is None:
            return ()
        facts = self._endpoint.traversal.offers.facts
        predictor = self._forecast.learn(options, facts, server, samples, outside)
        if predictor is None:
            return ()
        return self._addresses(predictor, samples, local_ports, outside)

    def _addresses(
        self,
        predictor: PortPredictor,
        samples: Samples,
        local_ports: list[int],
        outside: str,
    ) -> tuple[Address, ...]:
        options = prediction_options(self._config)
        return foretell(predictor, options, samples, local_ports, outside, self._clock())

    async def _sampling_server(self) -> Address | None:
        ice = self._config.ice
        for text in (*self._nat.joined_stun_servers(), *ice.stun_servers):
            with suppress(P2PError, TimeoutError):
                async with asyncio.timeout(RESOLVE_S):
                    found = await resolve_all(parse_address(text))
                local = (self._probe_host, 0)
                reached = [one for one in found if barrier(one, local) is None]
                if len(reached) < 2:
                    return (reached or found)[0]
                if (answering := await self._first_to_answer(reached)) is not None:
                    return answering
        return None

    async def _first_to_answer(self, addresses: Sequence[Address]) -> Address | None:
        client = await self._open_client()
        try:
            return await first_to_answer(client, addresses)
        finally:
            await client.close()

    async def _sample(self, server: Address) -> tuple[Samples, str | None]:
        """Begin several flows in quick succession, and see which ports they get."""
        ice = self._config.ice
        pause = 0.1
        sends = tuple(pause * number for number in range(ice.stun_retry_count + 1))
        options = prediction_options(self._config)
        longest_ms = min(ice.stun_timeout, options.verification_timeout_ms)
        schedule = Schedule(sends, min(longest_ms / 1000, sends[-1] + 0.3))
        return await sample_flows(SAMPLES, server, schedule, self._open_client, self._clock)


def _any(sock: DatagramSocket) -> str:
    return "::" if ":" in sock.local_address[0] else "0.0.0.0"
