"""Two whole nodes and a man in the middle.

    python -m tests.fuzz.middle --seeds 1000
    python -m tests.fuzz.middle --seed 17 -v

Every other seed, he drops, doubles, delays, repeats, and damages what he cannot forge: then all
that holds in the fault campaign holds. In the others he forges as well, by the grammar of
tests/fuzz/grammar.py. Without keys he may end and divert sessions, and acknowledge what was lost;
but nothing raises, every call ends, tables are bounded, nothing is delivered twice under one id,
no address gets more than three times its bytes, and once he is gone the nodes find together again,
and nothing is left over. In every third seed there is a third node, and one of the three is a
server, which relays where he forges.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from p2ptui.core.accounts import DATAGRAMS_EACH, Reason
from p2ptui.core.events import ConnectResult, DataReceived, SendResult
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address
from tests.campaign import run, safely
from tests.campaign_checks import (
    Summary,
    check_end,
    check_peers,
    check_rest,
    require,
)
from tests.campaign_story import QUIET_S, Story
from tests.fuzz.grammar import THIRD_PARTY
from tests.fuzz.man import STRANGERS, Man
from tests.simulation import Host, Puppet

NO_FAULTS: Final = {"loss": 0.0, "duplication": 0.0, "reorder": 0.0}
"""The network does nothing by itself: he does."""

SHARE: Final = 0.3
"""Of all datagrams, he does something with so many."""

ACTIONS: Final = 16
RECOVERY_S: Final = 60.0
"""So long after he has gone, a node that connects anew has a session, and its message arrives."""

FORGED_CALLS_END_S: Final = 1500.0
"""Where he has made one side believe that the other acknowledges, each message in a queue is tried
to its end, a few at a time."""

MAX_TO_THIRD_PARTY: Final = DATAGRAMS_EACH * ACTIONS
"""Datagrams to a host that he named and that has never sent anything, of all nodes together: each
thing that he invents is an order for so many at most."""

OWN_REASONS: Final = (Reason.USER_ASKED, Reason.OWN_SESSION, Reason.OWNER_CHECK)
PROGRESS_EVERY: Final = 100


class WatchedStory(Story):
    """A story with a man in the middle, who says nothing that nobody said."""

    forges = False

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
        has_server = seed % 3 == 2
        super().__init__(
            seed,
            tell,
            clients=2 if has_server else 1,
            faults=NO_FAULTS,
            relays=has_server and self.forges,
            secured=0,  # what he may do to secured sessions is in tests/attacks/middle_sealed.py
        )
        self.man = Man(self.world, seed, share=SHARE, forges=self.forges)
        remove = self.world.remove

        def forgotten(host: Host | Puppet) -> None:
            # Without a key, a process whose words come again is not dead to anybody.
            self.man.forget(host.address)
            remove(host)

        self.world.remove = forgotten  # type: ignore[method-assign]

    def _weighted(self) -> list[tuple[Callable[[], None], int]]:
        weighted = super()._weighted()
        # What becomes of open sessions whose end moves is looked at elsewhere.
        weighted = [each for each in weighted if each[0] not in (self._move, self._restart_server)]
        if len(self.clients) > 1:
            return weighted
        for_two = (self._connect_clients, self._connect_crossing, self._introduce)
        return [(action, weight) for action, weight in weighted if action not in for_two]

    def _settle(self) -> None:
        super()._settle()
        # What only one side remembers it may take longer to notice, with a man in between.
        self.world.run_for(15.0)
        super()._settle()

    def _mend(self) -> None:
        self.man.stop()
        super()._mend()


class ForgedStory(WatchedStory):
    """A story with a man in the middle who forges: what holds without a key is looked at."""

    forges = True

    def __init__(self, seed: int, tell: Callable[[str], None] = lambda _line: None) -> None:
        super().__init__(seed, tell)
        self._out: Counter[Address] = Counter()
        self._to_third_party = 0
        self._proved: set[Address] = set()
        network = self.world.network
        send = network.send

        def counted(data: bytes, source: Address, to: Address, *more: Any, **rest: Any) -> None:
            if to in STRANGERS and data[:1] >= b"\4":
                self._out[to] += len(data)
            elif to[0] == THIRD_PARTY:
                self._to_third_party += 1
            send(data, source, to, *more, **rest)

        network.send = counted  # type: ignore[method-assign]

    def run(self) -> Summary:
        """Live through it; what must hold is checked on the way and at the end."""
        rng, world = self._rng, self.world
        # In every other of these seeds he only listens while they join.
        self.man.active = self.seed % 4 == 3
        for client in self.clients:
            self._try(lambda client=client: self._connect(client, self.server))  # type: ignore[misc]
            world.run_for(rng.uniform(0.0, 0.5))
        self.man.active = True
        actions = [action for action, weight in self._weighted() for _ in range(weight)]
        for _ in range(ACTIONS):
            self._try(rng.choice(actions))
            world.run_for(rng.uniform(0.0, 1.5))
            self._read()
            self._heal()
            self._check()
        self._mend()
        self._end_of_calls()
        self._check()
        for client in self.clients:
            self._recover(client)
        world.run_for(QUIET_S)
        self._check()
        check_rest(self)
        summary = Summary(seeds=1, virtual_s=self.elapsed_s)
        summary.datagrams = sum(h.endpoint.counters.datagrams_out for h in self.all)
        summary.handshakes = sum(
            isinstance(c.asker.outcomes.get(c.token), ConnectResult) for c in self.connects
        )
        for host in self.living:
            host.endpoint.close("the story ends", world.now)
        world.run_for(QUIET_S)
        check_end(self)
        return summary

    def _try(self, action: Callable[[], None]) -> None:
        """What a user asks for may be refused: he sees to that."""
        with suppress(LocalError):
            action()

    def _end_of_calls(self) -> None:
        deadline = self.world.now + FORGED_CALLS_END_S
        self.world.run_for(max([t - self.world.now for t in self._cuts.values()], default=0.0))
        self._heal()
        while waiting := self._waiting():
            require(self.world.now < deadline, f"{waiting} calls or messages never end")
            self.world.run_for(1.0)
            self._read()
        for host in self.living:
            self._read_all(host)

    def _recover(self, client: Host) -> None:
        """A node connects anew, and a message goes each way."""
        world, server = self.world, self.server
        known = client.peer(server)
        if known is not None:
            client.endpoint.disconnect(known, "to begin anew", world.now)
            client.settle()
        deadline = world.now + RECOVERY_S
        outcome: Any = client.outcome(client.connect(server))
        while not isinstance(outcome, ConnectResult):
            world.run_for(1.0)
            require(world.now < deadline, f"no session {RECOVERY_S:g} s later: {outcome}")
            outcome = client.outcome(client.connect(server))
        self._exchange(client, server, deadline)
        self._exchange(server, client, deadline)

    def _exchange(self, one: Host, other: Host, deadline: float) -> None:
        world = self.world
        text = f"from {one.id} at {world.now}"
        world.run_until(lambda: one.is_connected_to(other), max(deadline - world.now, 0.1))
        outcome = one.outcome(one.send(other, text))
        self._read_all(other)
        require(isinstance(outcome, SendResult) and outcome.delivered, f"{text}: {outcome}")
        came = [payload for payload in other.received() if payload == text]
        require(len(came) == 1, f"{text}: it came {len(came)} times")

    def _check(self) -> None:
        """What holds at any time."""
        for host in self.living:
            drops = host.endpoint.counters.drops
            for cause in ("unpaid", "call_forgotten"):
                require(not drops[cause], f"{drops[cause]} {cause} at {self.name(host)}")
            self._check_sizes(host)
            self._check_deliveries(host)
        self._check_strangers()

    def _check_sizes(self, host: Host) -> None:
        sizes = host.endpoint.sizes()
        limit = 60 + 12 * sizes["peers"] + 3 * self.calls_of(host) + 4 * sizes["traversals"]
        require(sizes["timers"] <= limit, f"{sizes['timers']} timers, the limit is {limit}")
        check_peers(host)

    def _check_deliveries(self, host: Host) -> None:
        """Each id of a sender's comes once."""
        came = Counter((e.node_id, e.message_id) for e in host.told(DataReceived))
        for (node_id, message_id), times in came.items():
            require(times == 1, f"{message_id} of {node_id} was delivered {times} times")

    def _check_strangers(self) -> None:
        for address in STRANGERS:
            spent = 0
            for host in self.all:
                peer = host.endpoint.peers.at(address)
                if peer is not None and peer.purse.proved:
                    self._proved.add(address)
                grants = host.endpoint.counters.grants
                spent += sum(grants[r.value].bytes for r in OWN_REASONS if r.value in grants)
            require(address not in self._proved, f"{address} proved itself and hears nothing")
            most = 3 * self.man.sent[address] + spent
            require(self._out[address] <= most, f"{self._out[address]} bytes to {address}")
        require(
            self._to_third_party <= MAX_TO_THIRD_PARTY,
            f"{self._to_third_party} datagrams to somebody who was only named",
        )


def play(seed: int, tell: Callable[[str], None] = lambda _line: None) -> Summary:
    """Run one seed.

    Raises:
        BrokenError: Something that must hold does not.
    """
    began = time.perf_counter()
    story = (ForgedStory if seed % 2 else WatchedStory)(seed, tell)
    summary = story.run()
    tell(f"he did {dict(story.man.did)}")
    summary.slowest_seed = (time.perf_counter() - began, seed)
    return summary


play_safely = partial(safely, play)


def main() -> int:
    """The command line; 1 if a seed failed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.middle", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: its account")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    began = time.perf_counter()

    told: set[int] = set()

    def progress(total: Summary) -> None:
        for seed in total.failures.keys() - told:
            told.add(seed)
            print(f"FAILED seed {seed}: {total.failures[seed]}", file=sys.stderr, flush=True)
        if total.seeds % PROGRESS_EVERY == 0:
            failed = f", {len(total.failures)} failed" if total.failures else ""
            seconds = time.perf_counter() - began
            print(f"{total.seeds} seeds{failed}, {seconds:.0f} s", file=sys.stderr, flush=True)

    if options.seed is not None:
        total = play_safely(options.seed, print if options.verbose else lambda _line: None)
    else:
        seeds = range(options.first, options.first + options.seeds)
        total = run(seeds, options.jobs, progress, play_safely)
    print(
        f"{total.seeds:,} seeds: {total.datagrams:,} datagrams in {total.virtual_s / 3600:.1f} h of"
        f" virtual time, {time.perf_counter() - began:.0f} s of real time;"
        f" {total.handshakes:,} handshakes, {len(total.failures)} failed"
    )
    for seed, text in sorted(total.failures.items()):
        print(f"FAILED seed {seed}: {text}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
