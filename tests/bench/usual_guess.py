"""The usual way to guess the ports that a NAT gives next, to compare ours with."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from p2ptui.nat.allocators import PortRange
from p2ptui.wire.address import MAX_PORT


def constant_step_guess(
    ports: Sequence[int], k: int, port_range_min: int = 1024, port_range_max: int = MAX_PORT
) -> tuple[int, ...]:
    """The usual method: continue from the last port by the most frequent step.

    For comparison; it ignores time and other hosts' flows.

    Args:
        ports: External ports in the order of their mappings.
        k: Ports wanted.
        port_range_min: The least port.
        port_range_max: The greatest, followed by the least.
    """
    steps = Counter(b - a for a, b in pairwise(ports) if a != b)
    if not ports:
        return ()
    step = steps.most_common(1)[0][0] if steps else 1
    ring = PortRange(port_range_min, port_range_max)
    guesses = (ring.wrapped(ports[-1] + step * ahead) for ahead in range(1, k + 1))
    return tuple(dict.fromkeys(guesses))
