"""The tests of one diagnosis in their order: those that can get someone banned come last."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from p2ptui.io.stun_client import StunClient
from p2ptui.nat.allocation import PortSample
from p2ptui.nat.behavior import FilterTest, Reply, Seen, is_silence_believed
from p2ptui.node.control import Control
from p2ptui.node.depended import Dependencies, FilterPlan
from p2ptui.node.filter_test import banned, controlled, probe_filter, source_of
from p2ptui.node.nat_tests import (
    SENDS,
    Ground,
    begin_more_flows,
    observe_mapping,
    probe_hairpin,
    probe_mtu,
    sample_ports,
)
from p2ptui.node.stun_servers import KnownServer
from p2ptui.wire.address import Address

SETTLED_S: Final = 0.35
"""Time reserved for the other tests before anyone is asked for an unsolicited reply: a host that is
banned for one answers nothing else either. Without loss they take one or two round trips.
"""

NEAR_S: Final = 0.1
"""Up to this round trip, that time also suffices for repeating the test of the largest packet."""

STEP_ASIDE_S: Final = 0.01
"""The many flows whose ports are compared begin this much later than the few that show mapping and
filtering, and so does each repetition: if only few new flows pass, those few do.
"""

CLOSER_LOOKS: Final = 2
"""Further bursts of new flows if the first one leaves open whether they are limited."""

Begin: TypeAlias = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
"""Starts a task that ends with the diagnosis."""
AskPeer: TypeAlias = Callable[[], Coroutine[Any, Any, FilterTest]]
"""Has a peer of a server send an unsolicited datagram."""
ProbeByPeer: TypeAlias = Callable[[Ground, Dependencies], Coroutine[Any, Any, FilterTest]]
"""The same, on a ground, unless it would harm someone on whom the node depends."""


@dataclass(slots=True)
class Results:
    """What the tests observed."""

    seen: list[Seen]
    ports: list[PortSample]
    mtu: int | None
    hairpin: bool | None
    """None also if it was not tested."""
    tests: list[tuple[KnownServer, FilterTest]]
    by_peer: FilterTest | None
    asked: set[Address]
    """The servers that answered the main socket."""
    fell_silent: list[Address]
    """Of those that sent an unsolicited reply, the ones that have not answered since."""
    still_answer: list[Address]
    """And the ones that have."""
    witness_answers: bool | None = None
    """Whether others are still heard while some fell silent; None if there are no others."""
    is_hairpin_spared: bool = False
    """Whether that test was skipped for the sake of this machine."""

    @property
    def banned(self) -> list[Address]:
        """The servers that are not heard any more since their unsolicited reply, while nothing else
        fell silent.
        """
        if self.witness_answers is False:
            return []
        return list(dict.fromkeys(banned(self.tests, self.fell_silent)))

    def filter_tests(self, observations: Collection[Seen]) -> list[FilterTest]:
        """The filter tests, as far as each counts."""
        heard = {one.server for one in observations}
        tests = controlled(self.tests, heard, self.banned)
        return tests if self.by_peer is None else [*tests, self.by_peer]


class BehaviorTests:
    """Runs the tests (behaviour discovery, RFC 5780).

    Args:
        ground: The ground of all tests.
        main: The socket that asked the servers first.
        plan: The servers that may be asked for unsolicited replies.
        depended: The hosts that the node depends on.
        begin: Starts a task that ends with the diagnosis.
    """

    def __init__(
        self,
        ground: Ground,
        main: StunClient,
        plan: FilterPlan,
        depended: Dependencies,
        begin: Begin,
    ) -> None:
        self._ground = ground
        self._main = main
        self._plan = plan
        self._depended = depended
        self._begin = begin
        self._may_ask = asyncio.Event()
        self._may_hairpin = asyncio.Event()
        self._control = ground.control = Control(main, ground.server, ground.rtt_s)

    async def run(
        self, targets: Sequence[Address], asked: set[Address], ask_peer: AskPeer | None
    ) -> Results:
        """Run all tests.

        Args:
            targets: Further addresses that tell where they see the main socket.
            asked: The addresses that have answered it.
            ask_peer: Has a peer of a joined server send an unsolicited datagram, if allowed.
        """
        ground, begin = self._ground, self._begin
        seen = begin(observe_mapping(ground, self._main, targets))
        filters = [
            (server, begin(probe_filter(beside(ground, server), change, self._may_ask)))
            for server, change in self._plan.questions
        ]
        await asyncio.sleep(STEP_ASIDE_S)
        ports = begin(sample_ports(ground))
        hairpin = begin(probe_hairpin(ground, self._main, ground.mapped, self._may_hairpin))
        mtu = begin(probe_mtu(ground))
        begin(self._control.ask_beside_new_flows(lambda: ports.done() and mtu.done()))
        if not self._depended.is_careful:
            self._may_hairpin.set()
        await asyncio.wait([seen, ports], timeout=SETTLED_S)
        if ground.rtt_s <= NEAR_S:
            await asyncio.wait([mtu], timeout=2 * ground.rtt_s + STEP_ASIDE_S)
        if seen.done():
            asked |= {one.server for one in seen.result()}
        await self._look_closer()
        by_peer = begin(ask_peer()) if ask_peer is not None else None
        unasked = [task for _, task in filters]
        if by_peer is not None:
            unasked.append(by_peer)
        sources = [at for at in [*self._sources(), ground.server] if at in asked]
        sources = list(dict.fromkeys(sources))
        self._may_ask.set()
        watch = begin(self._control.ask_on(sources))
        if unasked:
            await asyncio.wait(unasked)
        watch.cancel()
        silent = await self._silent(sources) if unasked else []
        tests = [(server, task.result()) for server, task in filters]
        witness_answers = await self._hear_witness(asked) if silent else None
        results = Results(
            seen=await seen,
            ports=await ports,
            mtu=await mtu,
            hairpin=None,
            tests=tests,
            by_peer=await by_peer if by_peer is not None else None,
            asked=asked,
            fell_silent=silent,
            still_answer=[at for at in sources if at not in silent] if unasked else [],
            witness_answers=witness_answers,
        )
        if self._may_hairpin.is_set() or _is_harmless(results):
            self._may_hairpin.set()
            results.hairpin = await hairpin
        else:
            hairpin.cancel()
            results.is_hairpin_spared = True
        return results

    async def _look_closer(self) -> None:
        """Begin more flows if the losses of the first ones could be either a limit or chance."""
        for _ in range(CLOSER_LOOKS):
            losses = self._control.new_flows
            if losses.are_limited or not losses.may_be_limited:
                return
            more = self._begin(begin_more_flows(self._ground))
            await self._control.ask_beside_new_flows(more.done)

    def _sources(self) -> list[Address]:
        found = (source_of(server, change) for server, change in self._plan.questions)
        return list(dict.fromkeys(at for at in found if at is not None))

    async def _silent(self, servers: Sequence[Address]) -> list[Address]:
        questions = max(self._ground.sends, SENDS)
        silent = await self._control.silent(servers, questions)
        return silent if is_silence_believed(self._ground.loss, questions) else []

    async def _hear_witness(self, asked: Collection[Address]) -> bool | None:
        """Whether a server that had no part in it is still heard."""
        hosts = {host for host, _ in self._sources()}
        witnesses = [at for at in asked if at[0] not in hosts]
        if not witnesses:
            return None
        return len(await self._silent(witnesses)) < len(witnesses)


def beside(ground: Ground, server: KnownServer) -> Ground:
    """The same ground, with another server."""
    assert server.address is not None
    return replace(ground, server=server.address, rtt_s=server.rtt_s)


def _is_harmless(results: Results) -> bool:
    """Whether it was seen that this NAT does not ban for unsolicited datagrams."""
    tests = [test for _, test in results.tests]
    if results.by_peer is not None and results.by_peer.reply is Reply.CAME:
        return True
    return not results.fell_silent and any(test.reply is not Reply.UNTESTABLE for test in tests)
