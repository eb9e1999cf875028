"""How a NAT chooses the external port of a new flow, judged from a handful of flows.

The kinds follow RFC 4787, section 4.2 (port assignment), as far as they can be told apart
from outside by the ports that one burst of fresh sockets was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from p2ptui.nat.behavior import LIKELY, SURE, Dependence

FEWEST_SAMPLES: Final = 4
"""Below this nothing is concluded: two equal steps among three flows may be chance."""

BLOCK_PORTS: Final = 2048
"""Carriers give a customer 64 to 2,048 consecutive ports (RFC 7422). Ten ports drawn from the whole
range would fall this close together once in 10^12 times.
"""

LONGEST_GAP: Final = 4
"""Steps between two of our flows: other flows, or a lost request, took the ports in between."""

LARGEST_STEP: Final = 1024

FEWEST_FOR_ODD_ONE: Final = 6
"""With this many samples, one of them may be out of line with the others."""

_PORTS: Final = 1 << 16


class AllocationKind(StrEnum):
    """How the next external port is chosen."""

    PRESERVED = "preserved"
    """The same as the local port."""
    SEQUENTIAL = "sequential"
    """A constant step from the one before."""
    BLOCK = "block"
    """In no order, from a small block of ports."""
    HASHED = "hashed"
    """In no order, but the same for the same local port and destination address."""
    RANDOM = "random"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PortSample:
    """One fresh flow."""

    local_port: int
    mapped_port: int
    in_order: bool = True
    """Whether its first request was answered: a repeated one may have reached the NAT out of
    order.
    """


@dataclass(frozen=True, slots=True)
class PortAllocation:
    """How a NAT chooses ports."""

    kind: AllocationKind = AllocationKind.UNKNOWN
    step: int | None = None
    """Ports from one flow to the next, if it is sequential; may be negative."""
    parity_preserved: bool | None = None
    """Whether even local ports get even external ones, and odd ones odd (RFC 4787, section
    4.2.2).
    """
    confidence: float = 0.0
    evidence: tuple[str, ...] = ()


def classify_allocation(
    samples: Sequence[PortSample], mapping: Dependence = Dependence.UNKNOWN
) -> PortAllocation:
    """Classify how a NAT allocates ports.

    Args:
        samples: Flows to one server from fresh sockets, in the order in which they began.
        mapping: How the NAT maps: a port that is in no order but depends on the address alone is
            computed from it.
    """
    if len(samples) < FEWEST_SAMPLES:
        line = f"ports: only {len(samples)} of the flows that are needed were answered"
        return PortAllocation(evidence=(line,))
    kind, step, confidence = _kind_of(samples, mapping)
    same_parity = all((s.local_port ^ s.mapped_port) & 1 == 0 for s in samples)
    pairs = ", ".join(f"{s.local_port} became {s.mapped_port}" for s in samples)
    return PortAllocation(kind, step, same_parity, confidence, (f"ports: {pairs}",))


def _kind_of(
    samples: Sequence[PortSample], mapping: Dependence
) -> tuple[AllocationKind, int | None, float]:
    kept = sum(s.local_port == s.mapped_port for s in samples)
    if kept >= len(samples) - 1:  # one may have been taken already
        return AllocationKind.PRESERVED, None, SURE
    in_order = [s.mapped_port for s in samples if s.in_order]
    # A request that was lost beyond the NAT still used up a port; if only every second flow was
    # answered at once, the step between those alone would be twice the true one.
    for ports in ([s.mapped_port for s in samples], in_order):
        if len(ports) >= FEWEST_SAMPLES and (step := _step_of(ports)) is not None:
            return AllocationKind.SEQUENTIAL, step, SURE
    if len(in_order) < FEWEST_SAMPLES:
        return AllocationKind.UNKNOWN, None, 0.0
    if mapping is Dependence.ADDRESS:
        return AllocationKind.HASHED, None, LIKELY
    ports = [s.mapped_port for s in samples]
    if max(ports) - min(ports) < BLOCK_PORTS:
        return AllocationKind.BLOCK, None, LIKELY
    return AllocationKind.RANDOM, None, LIKELY


def _step_of(ports: Sequence[int]) -> int | None:
    """The constant step of a sequence in which some ports may be missing and one may be odd, or
    None.
    """
    step = _common_step(ports)
    if step is None and len(ports) >= FEWEST_FOR_ODD_ONE:
        # A local port that was in use a minute ago may still have its old mapping.
        without_one = [
            _common_step([*ports[:odd], *ports[odd + 1 :]], may_jump=False)
            for odd in range(len(ports))
        ]
        return next((found for found in without_one if found is not None), None)
    return step


def _common_step(ports: Sequence[int], *, may_jump: bool = True) -> int | None:
    steps = [_signed(after - before) for before, after in pairwise(ports)]
    candidates = [step for step in set(steps) if 0 < abs(step) <= LARGEST_STEP]
    # One step may be a jump: at the end of its range an allocator starts over.
    needed = len(steps) - (may_jump and len(steps) >= FEWEST_SAMPLES)
    fits = {step: sum(_is_multiple(s, step) for s in steps) for step in candidates}
    # Of two that fit equally well the smaller step: the other one's are multiples of it.
    best = max(candidates, key=lambda step: (fits[step], -abs(step)), default=None)
    return best if best is not None and fits[best] >= needed else None


def _is_multiple(step: int, unit: int) -> bool:
    return step % unit == 0 and 1 <= step // unit <= LONGEST_GAP


def _signed(difference: int) -> int:
    wrapped = difference % _PORTS
    return wrapped - _PORTS if wrapped >= _PORTS // 2 else wrapped
