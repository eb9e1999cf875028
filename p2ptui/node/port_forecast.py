"""Predicts the outside ports of a traversal's sockets from samples."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

from p2ptui.config.nat_sections import PortPredictionOptions
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.io.stun_client import Schedule, StunClient, Transaction
from p2ptui.nat.allocation import AllocationKind, PortSample, classify_allocation
from p2ptui.nat.prediction import PortPredictor
from p2ptui.node.nat_tests import mapped_address
from p2ptui.node.port_store import PortStore
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address
from p2ptui.wire.offer import MAX_PREDICTED

log = logging.getLogger("p2ptui.nat")

SAMPLE_PACE_S: Final = 0.005
"""Between two samples: the time between them and the missing ports tell how many flows others begin
(docs/prediction.md).
"""

USE_AFTER_S: Final = 0.15
"""Time from the samples to the checks that use them: an offer and its answer."""

Samples: TypeAlias = list[tuple[float, PortSample]]
"""Samples, each with the time at which it was sent."""


async def sample_flows(
    count: int,
    server: Address,
    schedule: Schedule,
    open_client: Callable[[], Awaitable[StunClient]],
    clock: Callable[[], float],
) -> tuple[Samples, str | None]:
    """Begin several flows in quick succession, and see which ports they get.

    Args:
        count: The number of flows.
        server: The STUN server that they go to.
        schedule: When each request is sent.
        open_client: Opens a fresh socket.
        clock: A monotonic clock, seconds.

    Returns:
        The flows whose first request was answered, and the outside host.
    """
    outside: str | None = None
    samples: Samples = []
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(count):
            client = await open_client()
            stack.push_async_callback(client.close)
            clients.append(client)
        started: list[tuple[float, Transaction]] = []
        for client in clients:
            if started:
                await asyncio.sleep(SAMPLE_PACE_S)
            started.append((clock(), client.start(server, schedule)))
        for client, (began, transaction) in zip(clients, started, strict=True):
            answer = await transaction.wait()
            mapped = mapped_address(answer)
            if answer is not None and mapped is not None and answer.transmission == 0:
                outside = mapped[0]
                samples.append((began, PortSample(client.local_address[1], mapped[1])))
    return samples, outside


class PortForecast:
    """Learns from samples, and remembers what was learnt about the NATs of networks.

    Args:
        predictions: Counts of predictions for samples, by `right` or `wrong`.
    """

    def __init__(self, predictions: Counter[str]) -> None:
        self._predictions = predictions
        self._store = PortStore()

    def learn(
        self,
        options: PortPredictionOptions,
        facts: NatFacts,
        server: Address,
        samples: Samples,
        outside: str,
    ) -> PortPredictor | None:
        """Build a predictor of the next ports.

        Args:
            options: `[port_prediction]` of the configuration.
            facts: What is known about the NAT.
            server: The server that the samples asked.
            samples: The samples.
            outside: The outside host.

        Returns:
            None if it must first predict the last sample, and cannot.
        """
        predictor = PortPredictor(
            max_predictions=min(options.max_predictions, MAX_PREDICTED),
            min_samples=options.min_samples,
            prediction_window=options.prediction_window,
            port_range_min=options.port_range_min,
            port_range_max=options.port_range_max,
            enable_nat_type_optimization=options.enable_nat_type_optimization,
            remembered=self._store.recall(outside, time.time()),
        )
        if options.enable_nat_type_optimization:
            predictor.diagnosed(facts.mapping, facts.allocation)
        verified = self._feed(predictor, samples, server)
        self._store.remember(outside, predictor.learnt(time.time()))
        if options.enable_port_verification and not verified:
            log.debug("the next port could not be predicted", extra=tagged("prediction_wrong"))
            return None
        return predictor

    def _feed(self, predictor: PortPredictor, samples: Samples, server: Address) -> bool:
        """Feed the samples to the predictor; return whether it predicted the last one."""
        verified = False
        for at, sample in samples:
            guess = predictor.predict(at, at, sample.local_port, server)
            verified = sample.mapped_port in guess.ports
            if guess.ports:
                self._predictions["right" if verified else "wrong"] += 1
            predictor.observe(at, sample.local_port, server, sample.mapped_port)
        return verified


def foretell(
    predictor: PortPredictor,
    options: PortPredictionOptions,
    samples: Samples,
    local_ports: list[int],
    outside: str,
    now: float,
) -> tuple[Address, ...]:
    """Predict the outside addresses of sockets, in the order of their first use.

    Args:
        predictor: A predictor that has learnt from the samples.
        options: `[port_prediction]` of the configuration.
        samples: The samples.
        local_ports: The local ports of the sockets.
        outside: The outside host.
        now: The time on the clock of the samples, seconds.
    """
    allocation = classify_allocation([sample for _, sample in samples])
    if allocation.kind is AllocationKind.PRESERVED:
        return tuple((outside, port) for port in local_ports)
    guess = predictor.predict(now, now + USE_AFTER_S, local_ports[0], ("0.0.0.0", 0))
    if not guess.ports or not guess.believed:
        return ()
    if allocation.step is None:
        return tuple((outside, port) for port in guess.ports)
    # The sockets begin one after the other, so they take that many consecutive ports: wherever the
    # first one falls within them, one of them matches. Ports outside the range are replaced by
    # likely ones.
    row = (guess.ports[0] + allocation.step * number for number in range(len(local_ports)))
    fits = [p for p in row if options.port_range_min <= p <= options.port_range_max]
    ports = list(dict.fromkeys((*fits, *guess.ports)))[: len(local_ports)]
    return tuple((outside, port) for port in ports)
