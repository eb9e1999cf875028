"""The table of metrics in the form of prometheus-client: read on each request, and stored
nowhere.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from p2ptui.core.counters import ROUND_TRIP_BOUNDS_S, RoundTrips
from p2ptui.log_file import lost_lines
from p2ptui.metrics.families import FAMILIES, Family, Reading, Value, bounded
from p2ptui.node import Node
from p2ptui.version import VERSION


def registry_of(node: Node) -> CollectorRegistry:
    """A separate registry for a node, including the system's metrics of the process."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(lambda: read(node)))
    ProcessCollector(registry=registry)
    return registry


def read(node: Node) -> Reading:
    """Read a running node; only in its event loop.

    Raises:
        LocalError: It is not running.
    """
    return Reading(
        node.stats(),
        node.path_kinds(),
        node.servers_to_join,
        VERSION,
        max_connections=node.max_connections,
        log_lines_lost=lost_lines(),
        cluster=node.cluster,
        configured_servers_joined=node.configured_servers_joined,
    )


class NodeCollector(Collector):
    """Collects every metric of a node at the time of the request.

    Args:
        take: Reads the node.
    """

    def __init__(self, take: Callable[[], Reading]) -> None:
        self._take = take

    def describe(self) -> list[Metric]:
        """Announce no names beforehand: the node need not be running yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        reading = self._take()
        for family in FAMILIES:
            value = family.read(reading)
            if value is not None:
                yield _metric(family, value)


def _metric(family: Family, value: Value) -> Metric:
    if isinstance(value, RoundTrips):
        return _histogram(family, value)
    labels = [family.label] if family.label else None
    of_kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = of_kind(family.name, family.help, labels=labels)
    if isinstance(value, Mapping):
        for name, number in bounded(value).items():
            metric.add_metric([name], number)
    elif value is not None:
        metric.add_metric([], value)
    return metric


def _histogram(family: Family, value: RoundTrips) -> Metric:
    below, buckets = 0, []
    for bound, count in zip((*ROUND_TRIP_BOUNDS_S, "+Inf"), value.counts, strict=True):
        below += count
        buckets.append((str(bound), below))
    return HistogramMetricFamily(family.name, family.help, buckets=buckets, sum_value=value.total_s)
