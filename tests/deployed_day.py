"""A day of deployed clients and our own nodes on one server, in virtual time, and what must hold.

    python -m tests.deployed_day
    python -m tests.deployed_day --clients 20 --nodes 5 --hours 2 --seed 7

Clients of four kinds (interactive, quiet, mute, version 0.2.0) and our own nodes live on one server
while 2 % of all datagrams is lost. Whoever was told that a message is delivered finds it received
(or relayed: that it has left), nobody is dropped who answers Pings or speaks, and no address gets
more than three times its bytes before it has proved itself.
"""

import argparse
import math
import random
import time
from collections import Counter
from typing import Any, Final

from p2ptui.core.events import DataReceived, PeerStatusChanged, SendResult, SendStatus
from p2ptui.errors import LocalError
from tests.day_clients import KINDS, Account, DayClient, Mute
from tests.day_world import GONE, DayHost, DayWorld, Server

LOSS = 0.02
NODE_PAUSE_S = 120.0
"""Each of our own nodes does something this often, and the server for each of them as well."""

CRASH_PAUSE_S = 3 * 3600.0
REJOIN_S = 5.0
SEVERAL_PINGS = 2
"""Silence to fewer Pings is no reason to drop a client."""


LEAST_ARRIVED: Final = 0.9
"""Of what deployed clients route to somebody who is there: nobody sends it again, two hops lose
4 %, and some have left without a word."""


class BrokenError(AssertionError):
    """Something that must hold does not."""


class Day:
    """One day.

    Args:
        seed: Decides everything.
        clients: Deployed clients, a quarter of each kind.
        nodes: Nodes of our own.
    """

    def __init__(self, seed: int, clients: int, nodes: int) -> None:
        # No jitter: the two datagrams that answer a handshake would change places every other time.
        self.world = world = DayWorld(seed, latency_s=0.02, loss=LOSS)
        self.rng = random.Random(seed)
        self.account = Account()
        options = {"allow_symmetric_nat_relay": True, "max_connections": clients + nodes + 50}
        server = world.day_host(Server, name="server", **options)
        assert isinstance(server, Server)
        self.server = server
        self._watch(server)
        server.on_status = self._note_status
        self.clients: dict[Any, DayClient] = {}
        for number in range(clients):
            kind = KINDS[number % len(KINDS)]
            client = kind(world, server, self.account, f"{kind.__name__.lower()}-{number}")
            client.others = self._anybody
            self.clients[client.address] = client
            for ends in ((client.address, server.address), (server.address, client.address)):
                world.network.set_link(*ends, latency_s=self.rng.uniform(0.002, 0.12))
            world.after(self.rng.uniform(0, 60), client.start)
        self.nodes = [
            world.day_host(DayHost, name=f"node-{number}", ice={"enable": False})
            for number in range(nodes)
        ]
        for node in self.nodes:
            self._watch(node)
            world.after(self.rng.uniform(0, 60), lambda node=node: self._join(node))
            world.after(self._pause_s(NODE_PAUSE_S), lambda node=node: self._act(node))
        world.after(self._pause_s(CRASH_PAUSE_S), self._crash)
        self.expired: Counter[str] = Counter()
        self.wrongly_expired: list[str] = []
        self.outcomes: Counter[str] = Counter()

    # Our own nodes.

    def _pause_s(self, mean_s: float) -> float:
        return self.rng.expovariate(1 / mean_s)

    def _anybody(self) -> str:
        everybody = [*self.clients.values(), *self.nodes]
        return self.rng.choice(everybody).id

    def _watch(self, host: DayHost) -> None:
        def note(event: DataReceived) -> None:
            if event.is_echo or not isinstance(event.payload, dict):
                return
            self.account.received[event.payload["n"], host.id] += 1
            source = event.payload.get("from")
            if source is not None and source != event.node_id:
                self.account.false_sources.append(f"{event.node_id} for {source}")

        host.on_data = note

        def rejoin(event: PeerStatusChanged) -> None:
            if event.status in GONE:
                self.world.after(REJOIN_S, lambda: self._join(host))

        if host is not self.server:
            host.on_status = rejoin

    def _join(self, node: DayHost) -> None:
        if node.is_running and not node.is_connected_to(self.server):
            node.connect(self.server)

    def _act(self, node: DayHost) -> None:
        self.world.after(self._pause_s(NODE_PAUSE_S), lambda: self._act(node))
        node = next(
            (n for n in self.nodes if n.id == node.id), node
        )  # after a crash, its successor
        if not node.is_connected_to(self.server):
            return
        self._carry_out(self.rng.randrange(4), node)
        node.settle()
        self.server.settle()

    def _carry_out(self, choice: int, node: DayHost) -> None:
        now, account = self.world.now, self.account
        number, target = account.number(), self._anybody()
        sender, payload = node, {"n": number, "from": node.id}
        peer = node.peer(self.server)
        assert peer is not None
        try:
            if choice == 0:
                target = self.server.id
                token = node.endpoint.send(peer, payload, now)
            elif choice == 1:
                there = self.server.peer(node)
                if there is None or not there.is_authenticated:
                    return
                sender, target = self.server, node.id
                token = sender.endpoint.send(there, {"n": number}, now)
            elif choice == 2:
                token = node.endpoint.send_routed(target, payload, 8, now, 60.0)
            else:
                data = number.to_bytes(8, "big")
                token = node.endpoint.relay(peer, target, data, now, 10.0)
        except LocalError:
            self.outcomes["no way"] += 1
            return

        def end(outcome: object) -> None:
            status = outcome.status.value if isinstance(outcome, SendResult) else "error"
            self.outcomes[status] += 1
            if not isinstance(outcome, SendResult):
                return
            if outcome.status is SendStatus.DELIVERED:
                account.told_delivered[number] = target
            elif choice == 3 and outcome.status is SendStatus.SENT:
                account.told_relayed.add(number)

        sender.on_outcome[token] = end

    def _crash(self) -> None:
        self.world.after(self._pause_s(CRASH_PAUSE_S), self._crash)
        if not self.nodes:
            return
        place = self.rng.randrange(len(self.nodes))
        old = self.nodes[place]
        old.is_running = False
        self.world.remove(old)
        new = self.world.day_host(DayHost, old.id, name=f"again-{place}", ice={"enable": False})
        self.nodes[place] = new
        self._watch(new)
        self.world.after(self.rng.uniform(1, 100), lambda: self._join(new))

    # What the server does with its peers.

    def _note_status(self, event: PeerStatusChanged) -> None:
        if event.status not in GONE:
            return
        address, server, now = event.address, self.server, self.world.now
        reason = event.reason or ""
        if "nothing heard" in reason:
            self._note_expiry(event, now - server.last_heard.get(address, 0.0))
        server.forget(address)

    def _note_expiry(self, event: PeerStatusChanged, silent_s: float) -> None:
        timeout = self.server.endpoint.config.server.connection_timeout
        client, pings = self.clients.get(event.address), self.server.pings_since[event.address]
        is_alive = client.is_on if client is not None else event.address in self.world.hosts
        if silent_s < timeout - 1e-6:
            self.wrongly_expired.append(f"{event.name} spoke {silent_s:.1f} s ago")
        elif not is_alive:
            self.expired["ended without a word"] += 1
        elif isinstance(client, Mute):
            self.expired["mute and idle"] += 1
        elif event.address in self.server.proved:
            # The server may ask it as often as it likes: 2 % of loss is no excuse.
            self.wrongly_expired.append(f"{event.name} after {pings} Pings, which answered before")
        elif pings < SEVERAL_PINGS:
            self.wrongly_expired.append(f"{event.name} after {pings} Pings")
        else:
            # The network lost every Ping that it might be sent, or the answer.
            self.expired["never got a Ping through"] += 1

    # The end.

    def run(self, hours: float) -> None:
        """Let it pass.

        Raises:
            BrokenError: Something that must hold does not.
        """
        self.world.run_until_time(self.world.now + hours * 3600)
        self.check()

    def check(self) -> None:
        """Whether all holds that must.

        Raises:
            BrokenError: It does not.
        """
        account, server = self.account, self.server
        problems: list[str] = []
        missing = [
            number
            for number, target in account.told_delivered.items()
            if not account.received[number, target]
        ]
        if missing:
            problems.append(f"told delivered and not received: {missing[:10]}")
        left = {
            bytes(map(int, data.strip(b"[ ").split(b",")))
            for data in server.relayed
            if data.strip(b"[ ")
        }
        not_left = [n for n in account.told_relayed if n.to_bytes(8, "big") not in left]
        if not_left:
            problems.append(f"told relayed and not left: {not_left[:10]}")
        own = {node.id for node in self.nodes} | {server.id}
        twice = [key for key, times in account.received.items() if times > 1 and key[1] in own]
        if twice:
            problems.append(f"received twice: {twice[:10]}")
        if account.false_sources:
            problems.append(f"under a false name: {account.false_sources[:10]}")
        if self.wrongly_expired:
            problems.append(f"dropped: {self.wrongly_expired[:10]}")
        lost = self.expired["never got a Ping through"]
        if lost > max(2, account.counts["handshakes"] / 200):
            problems.append(f"{lost} clients were dropped that answer")
        arrived = sum(1 for key in account.routed if account.received[key])
        by_chance = 2 * math.sqrt(len(account.routed) * LEAST_ARRIVED * (1 - LEAST_ARRIVED))
        if arrived < LEAST_ARRIVED * len(account.routed) - by_chance:
            problems.append(f"{arrived} of {len(account.routed)} routed messages arrived")
        unpaid = sum(host.endpoint.counters.drops["unpaid"] for host in (server, *self.nodes))
        if unpaid:
            problems.append(f"{unpaid} datagrams that nothing paid for")
        if server.excesses:
            problems.append(f"too much before a proof: {server.excesses[:10]}")
        if account.counts["gave up for want of a network"]:
            problems.append("clients of version 0.2.0 gave up")
        if problems:
            raise BrokenError("; ".join(problems))

    def report(self, hours: float, wall_s: float) -> str:
        """What happened, in lines."""
        account, server = self.account, self.server
        lines = [
            f"{len(self.clients)} deployed clients and {len(self.nodes)} nodes, {hours:g} h,"
            f" {LOSS:.0%} loss: {wall_s:.0f} s, {self.world.datagrams:,} datagrams arrived",
            f"told delivered: {len(account.told_delivered):,}, of which received: all",
            f"told relayed: {len(account.told_relayed):,}, of which left: all;"
            f" refused: {account.refused_relays:,}",
            f"our nodes' messages ended as {_listed(self.outcomes)}",
            f"routed by deployed clients to who was there: {len(account.routed):,}, arrived:"
            f" {sum(1 for key in account.routed if account.received[key]):,}",
            f"echoes to deployed clients: {account.echoes:,}",
            f"dropped: {_listed(self.expired)}; of those that answer or speak: none",
            f"most bytes to an unproved address for each of its own: {server.worst_ratio:.3f}",
            f"deployed clients: {_listed(account.counts)}",
            f"full: {_listed(Counter(server.endpoint.sizes()))}",
        ]
        return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{what}: {number:,}" for what, number in sorted(counts.items()) if number)


def main() -> None:
    """Run a day and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--hours", type=float, default=24.0)
    options = parser.parse_args()
    began = time.perf_counter()
    day = Day(options.seed, options.clients, options.nodes)
    day.run(options.hours)
    print(day.report(options.hours, time.perf_counter() - began))


if __name__ == "__main__":
    main()
