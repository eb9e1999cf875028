"""How long a NAT keeps a mapping without traffic (RFC 5780, section 4.6).

Many sockets begin at once and are each left idle for a different time; then the server is asked to
reply to each (RESPONSE-PORT). So the result is there as soon as the lifetime has passed, and no
probe keeps alive what a later one measures.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from typing import Final

from p2ptui.io.stun_client import Schedule, StunClient
from p2ptui.nat.findings import Finding
from p2ptui.nat.report import NatReport
from p2ptui.node.behavior_tests import beside
from p2ptui.node.depended import OPTION, Dependencies, addresses_of
from p2ptui.node.nat_tests import Ground, mapped_address
from p2ptui.node.stun_servers import KnownServer
from p2ptui.text import seconds_words
from p2ptui.wire.stun import StunMessage

SHORTEST_S: Final = 4.0
LONGEST_S: Final = 330.0
"""RFC 4787, section 4.3, asks for five minutes; a NAT that keeps a mapping longer is good
enough.
"""

GROWTH: Final = 1.04
"""From one idle time to the next: the result is exact to half of this."""

DEAD_IN_A_ROW: Final = 4
"""This many silent sockets end the measurement: no later one can be alive."""

PROBE: Final = Schedule((0.0, 0.1, 0.2, 0.3), 0.5)

_NO_ANSWER: Final = "lifetime: the server stopped answering; ask again, or another one"

PACE_S: Final = 0.005
"""Between the first datagrams of two sockets: some NATs limit new flows."""

LIMITED_PACE_S: Final = 0.05
"""If this NAT was seen to limit them."""


async def measure_harmlessly(
    ground: Ground,
    usable: Sequence[KnownServer],
    everybody: Collection[KnownServer],
    depended: Dependencies,
    report: NatReport,
    on_progress: Callable[[str], None],
) -> tuple[float | None, str]:
    """Measure it with replies that are unsolicited once a mapping has died: never from a server in
    use.

    Args:
        ground: The ground of all tests.
        usable: Servers beyond the NAT, the best first.
        everybody: All servers: one may be known by several addresses.
        depended: The hosts that the node depends on.
        report: What the other tests found.
        on_progress: Called with the progress, in words.

    Returns:
        As `measure_lifetime`.
    """
    harmless = [s for s in usable if not depended.forbids(addresses_of(s, everybody))]
    if not harmless:
        best = usable[0]
        return None, (
            "lifetime: not measured: the replies to dead mappings could have"
            f" {best.text} banned, and {depended.why(addresses_of(best, everybody))};"
            f" ask with {OPTION} {best.text}"
        )
    if Finding.BANS_UNASKED_SENDERS in report.findings:
        return None, "lifetime: not measured: the NAT bans whoever replies to a dead mapping"
    on_progress("measuring how long a mapping lives")
    return await measure_lifetime(beside(ground, harmless[0]), on_progress)


async def measure_lifetime(
    ground: Ground, on_progress: Callable[[str], None]
) -> tuple[float | None, str]:
    """Measure it, which takes a little longer than the mapping lives.

    Args:
        ground: The ground of all tests.
        on_progress: Called with the progress, in words.

    Returns:
        Seconds, or None with the reason; and the evidence in words.
    """
    async with AsyncExitStack() as stack:
        asker = await stack.enter_async_context(ground.fresh())
        loop = asyncio.get_running_loop()
        first = await stack.enter_async_context(ground.fresh())
        if not await _reaches(ground, asker, first):
            return None, "lifetime: the server does not send to another port (RESPONSE-PORT)"
        idle = await _leave_alone(ground, stack)
        alive_s: float | None = None
        dead_s: float | None = None
        dead = 0
        for seconds, kept_alive_at, client, port in idle:
            await asyncio.sleep(max(kept_alive_at + seconds - loop.time(), 0))
            # The actual time: a slow answer before makes this one late.
            seconds = loop.time() - kept_alive_at
            if await _arrives(ground, asker, client, port):
                alive_s, dead = seconds, 0
                on_progress(f"lifetime: a mapping lives after {seconds:.0f} s")
                continue
            if dead == 0:
                if not await _answers(ground):
                    return None, _NO_ANSWER
                dead_s = seconds
            dead += 1
            if dead == DEAD_IN_A_ROW:
                break
        if not await _answers(ground):
            return None, _NO_ANSWER
        return _verdict(alive_s, dead_s if dead == DEAD_IN_A_ROW else None)


async def _leave_alone(
    ground: Ground, stack: AsyncExitStack
) -> list[tuple[float, float, StunClient, int]]:
    """Sockets with a mapping: how long to leave each idle, since when, and its outside port."""
    seconds = SHORTEST_S
    begun = []
    while seconds < LONGEST_S:
        client = await stack.enter_async_context(ground.fresh())
        begun.append((seconds, client, client.start(ground.server, ground.schedule)))
        seconds *= GROWTH
        await asyncio.sleep(LIMITED_PACE_S if ground.is_limited else PACE_S)
    idle = []
    for seconds, client, transaction in begun:
        answer = await transaction.wait()
        mapped = mapped_address(answer)
        if answer is not None and mapped is not None:
            # The answer was the last datagram that kept the mapping alive.
            answered_at = transaction.sent_at_s[answer.transmission] + answer.rtt_s
            idle.append((seconds, answered_at, client, mapped[1]))
    return idle


async def _reaches(ground: Ground, asker: StunClient, client: StunClient) -> bool:
    mapped = mapped_address(await client.start(ground.server, ground.schedule).wait())
    return mapped is not None and await _arrives(ground, asker, client, mapped[1])


async def _arrives(ground: Ground, asker: StunClient, client: StunClient, port: int) -> bool:
    """Whether a reply requested from one socket arrives at another one's mapping."""
    arrived = asyncio.Event()
    transaction = asker.start(ground.server, PROBE, response_port=port)

    def note(message: StunMessage, _source: object) -> None:
        if transaction.is_answered_by(message):
            arrived.set()

    client.on_stray = note
    try:
        async with asyncio.timeout(PROBE.give_up_s + 2 * ground.rtt_s):
            await arrived.wait()
    except TimeoutError:
        return False
    finally:
        client.on_stray = None
    return True


async def _answers(ground: Ground) -> bool:
    """Whether the server still answers a fresh socket: a dead server is not a dead mapping."""
    async with ground.fresh() as client:
        return await client.start(ground.server, ground.schedule).wait() is not None


def _verdict(alive_s: float | None, dead_s: float | None) -> tuple[float | None, str]:
    if dead_s is not None and alive_s is None:
        return None, f"lifetime: mappings live for less than {seconds_words(SHORTEST_S)}"
    if alive_s is None:
        return None, "lifetime: no mapping could be watched; the server did not answer"
    if dead_s is None:
        return alive_s, f"lifetime: mappings live for {alive_s:.0f} s and longer"
    middle = (alive_s + dead_s) / 2
    return middle, f"lifetime: alive after {alive_s:.1f} s, gone after {dead_s:.1f} s"
