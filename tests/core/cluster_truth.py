"""What must be true of who is where, whatever happens to servers, their broker, and nodes.

    python -m tests.core.cluster_truth --seeds 500

Each seed is a story in virtual time: nodes with and without keys come, go, move with a word or
without, and have sessions at two servers; servers are killed and started again; links and the
broker are cut. Now and then all is mended, and some seconds later there has to be one truth: every
node that has a session somewhere is in the list of every server, once; all servers say that the
same one holds it, where it is; nobody else is in any list; and the broker's table says the same.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Final

from p2ptui.core.mesh.roll import Roll
from p2ptui.wire.cluster import decode_presence
from p2ptui.wire.frames import node_id_text
from tests.core.cluster_rooms import FakeNode, Rooms, Server

SETTLE_S: Final = 5.0
"""Within this there is one truth again, after the last thing that happened."""

ASKED_S: Final = 8.0
"""More for nodes without keys: a server asks its peer for so long before it lets it go."""

NOTICED_S: Final = (2.5, 4.5)
"""So long after its server has died a node is at another one."""

SIGNED: Final = 0.6


class Story:
    """One of them.

    Args:
        seed: Which.
        nodes: How many at first.
        servers: How many.
    """

    def __init__(self, seed: int, nodes: int = 24, servers: int = 3) -> None:
        self.rng = random.Random(f"truth {seed}")
        self.rooms = Rooms(servers, seed=seed, latency_s=self.rng.choice((0.002, 0.02, 0.1)))
        self.most = nodes
        self.sessions: dict[str, list[Server]] = {}
        """Where each node has a session that it knows of, its home last."""
        self.nodes: dict[str, FakeNode] = {}
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.cut: set[str] = set()
        """Servers that have no link."""
        self.dead: list[Server] = []
        self.silent: dict[tuple[str, str], float] = {}
        """Nodes that have left servers without a word, and until when those keep their sessions."""
        self.lost: set[str] = set()
        """Those of which servers have just found out."""
        self.said: list[str] = []
        """What happened, for whoever looks why something is not so."""
        for _ in range(nodes):
            self.come()

    # What happens.

    def say(self, *words: object) -> None:
        self.said.append(f"{self.rooms.now:.2f} {' '.join(map(str, words))}")

    def called(self, server: Server) -> str:
        return f"{server.id[:4]}"

    def server(self, but: list[Server] | None = None) -> Server | None:
        """Some server that is up, and that is none of these, nor a run after them."""
        ids = {one.id for one in but or []}
        all_ = [one for one in self.rooms.servers if one.id not in ids]
        return self.rng.choice(all_) if all_ else None

    def some(self) -> FakeNode | None:
        return self.nodes[self.rng.choice(list(self.nodes))] if self.nodes else None

    def _begin(self, node: FakeNode, server: Server, *, is_home: bool = True) -> None:
        known = server.state.peers.authenticated(node.node_id)
        if known is not None:
            # It shakes hands anew.
            server.leave(node)
        self.silent.pop((node.node_id, server.id), None)
        server.join(node, says_so=is_home)
        at = self.sessions.setdefault(node.node_id, [])
        if server in at:
            at.remove(server)
        at.insert(len(at) if is_home else 0, server)

    def come(self) -> None:
        server = self.server()
        if server is not None:
            node = self.rooms.node(keys=self.rng.random() < SIGNED)
            self.nodes[node.node_id] = node
            self.say(node.name, "comes to", self.called(server))
            self._begin(node, server)

    def go(self) -> None:
        node = self.some()
        if node is not None:
            self.say(node.name, "goes")
            for server in self.sessions.pop(node.node_id, []):
                server.leave(node)
            del self.nodes[node.node_id]

    def move(self) -> None:
        """To another server, and it says so to the one that it leaves, or not."""
        node = self.some()
        at = self.sessions.get(node.node_id) if node else None
        if node is None or not at or (to := self.server(at)) is None:
            return
        former, is_told = at.pop(), self.rng.random() < 0.5
        self.say(node.name, "moves from", self.called(former), "to", self.called(to), is_told)
        if is_told and self.rng.random() < 0.5:
            former.leave(node)
            self._begin(node, to)
            return
        self._begin(node, to)
        if is_told:
            former.leave(node)
        else:
            former.forget(node)
            self.silent[node.node_id, former.id] = self.rooms.now + self.rng.uniform(1, 60)

    def double(self) -> None:
        """A second session; a node with keys may have its home there."""
        node = self.some()
        at = self.sessions.get(node.node_id) if node else None
        if node is not None and at and (to := self.server(at)) is not None:
            is_home = self.rng.random() < 0.5
            self.say(node.name, "also at", self.called(to), is_home)
            self._begin(node, to, is_home=is_home)

    def single(self) -> None:
        """One of two sessions ends; the other is the home then."""
        node = self.some()
        at = self.sessions.get(node.node_id) if node else None
        if node is not None and at and len(at) > 1:
            server = self.rng.choice(at)
            self.say(node.name, "ends at", self.called(server))
            self._end(node, server)
            server.leave(node)

    def swap(self) -> None:
        """The home of a node with keys is its other server from now on."""
        node = self.some()
        at = self.sessions.get(node.node_id) if node else None
        if node is not None and node.identity is not None and at and len(at) > 1:
            at.append(at.pop(0))
            self.say(node.name, "is at home at", self.called(at[-1]))
            at[-1].say(node)

    def _end(self, node: FakeNode, server: Server) -> None:
        at = self.sessions[node.node_id]
        was_home = at[-1] is server
        at.remove(server)
        if was_home and at and node.identity is not None:
            at[-1].say(node)

    def kill(self) -> None:
        if len(self.rooms.servers) < 2:
            return
        server = self.server()
        assert server is not None
        self.say("killed:", self.called(server))
        server.kill()
        self.cut.discard(server.id)
        self.dead.append(server)
        for node_id, at in self.sessions.items():
            if server in at:
                self._later(NOTICED_S, lambda node_id=node_id: self._notice(node_id, server))  # type: ignore[misc]

    def _notice(self, node_id: str, dead: Server) -> None:
        """A node has noticed that its server is gone: it has another one, or joins one."""
        node, at = self.nodes.get(node_id), self.sessions.get(node_id)
        if node is None or at is None or dead not in at:
            return
        self._end(node, dead)
        if not at and (to := self.server()) is not None:
            self.say(node.name, "goes on to", self.called(to))
            self._begin(node, to)
        elif not at:
            del self.sessions[node_id], self.nodes[node_id]

    def start(self) -> None:
        if self.dead:
            dead = self.dead.pop(0)
            self.say("started:", self.called(dead))
            server = self.rooms.server(like=dead)
            assert server.id == dead.id
            # Nodes that were told to join it do so within the next seconds.
            for node_id in self.rng.sample(list(self.nodes), len(self.nodes) // 3):
                self._later((0.2, 6.0), lambda node_id=node_id: self._come_back(node_id, server))  # type: ignore[misc]

    def _come_back(self, node_id: str, to: Server) -> None:
        node, at = self.nodes.get(node_id), self.sessions.get(node_id)
        if node is None or not at or to in at or to not in self.rooms.servers:
            return
        former = at.pop()
        self.say(node.name, "comes back to", self.called(to))
        if former.id == to.id:
            former.leave(node)  # it has not noticed yet that it was killed
            self._begin(node, to)
            return
        self._begin(node, to)
        former.leave(node)

    def cut_off(self) -> None:
        server = self.server()
        if server is not None and server.bus.is_up:
            self.say("cut off:", self.called(server))
            self.cut.add(server.id)
            self.rooms.broker.cut(server.bus, self.rooms.now)

    def mend(self) -> None:
        for server in self.rooms.servers:
            if not server.bus.is_up:
                self.say("mended:", self.called(server))
                self.rooms.broker.mend(server.bus, self.rooms.now)
        self.cut.clear()

    def kill_broker(self) -> None:
        self.say("the broker is killed")
        self.rooms.broker.kill(self.rooms.now)
        if self.rng.random() < 0.2:
            self.say("and its entries are gone")
            self.rooms.broker._table.clear()
        self._later((0.2, 8.0), self.mend)

    def _later(self, within: tuple[float, float], action: Callable[[], None]) -> None:
        self.due.append((self.rooms.now + self.rng.uniform(*within), action))
        self.due.sort(key=lambda each: each[0])

    def pass_time(self, seconds: float) -> None:
        end = self.rooms.now + seconds
        while self.due and self.due[0][0] <= end:
            when, action = self.due.pop(0)
            self.rooms.run_for(max(0.0, when - self.rooms.now))
            action()
        self.rooms.run_for(max(0.0, end - self.rooms.now))
        self.lost.clear()
        for (node_id, server_id), until in list(self.silent.items()):
            if until <= end:
                self.lost.add(node_id)
                del self.silent[node_id, server_id]
                for server in self.rooms.servers:
                    peer = server.state.peers.authenticated(node_id)
                    if server.id == server_id and peer is not None:
                        self.say(node_id[:8], "has been silent at", self.called(server))
                        server.leave(server.nodes[node_id])

    def happen(self) -> None:
        """Something, and time."""
        acts = (
            *((self.come, 4), (self.go, 2), (self.move, 5), (self.double, 4), (self.single, 2)),
            *((self.swap, 2), (self.kill, 1), (self.start, 2), (self.cut_off, 1), (self.mend, 1)),
            *((self.kill_broker, 0.5),),
        )
        weights = [weight for _, weight in acts]
        (act,) = self.rng.choices([act for act, _ in acts], weights)
        act()
        self.pass_time(self.rng.choice((0.0, 0.01, 0.1, 1.0, 4.0, 12.0)))

    def run(self, rounds: int = 4, acts: int = 15) -> None:
        """All of it.

        Raises:
            AssertionError: Something is not so; the story stands behind it.
        """
        for _ in range(rounds):
            for _ in range(acts):
                self.happen()
            while self.dead:
                self.start()
            self.mend()
            while self.due:
                self.pass_time(self.due[-1][0] - self.rooms.now + 0.001)
            self.say("all is mended")
            self.pass_time(SETTLE_S)
            self.check(only_signed=True)
            self.pass_time(ASKED_S)
            self.check()

    # What has to be true.

    def check(self, *, only_signed: bool = False) -> None:
        """One truth."""
        wrong = [
            *self._wrong_lists(only_signed=only_signed),
            *self._wrong_holders(only_signed=only_signed),
            *(() if only_signed else self._wrong_table()),
        ]
        assert not wrong, "\n".join([*self.said, *wrong])

    def _believed(self) -> set[str]:
        """Those that are there, or believed to be."""
        return {*self.nodes, *(node_id for node_id, _ in self.silent), *self.lost}

    def _wrong_lists(self, *, only_signed: bool) -> list[str]:
        wrong = []
        for server in self.rooms.servers:
            ids = [peer.node_id for peer in server.state.peers]
            came = Counter(
                one.node_id for one, _ in Roll(server.state).everybody(ids, self.rooms.now)
            )
            for node_id, node in self.nodes.items():
                if came[node_id] != 1:
                    wrong.append(f"{node.name} {came[node_id]} times in {self.called(server)}")
            if not only_signed:
                wrong += [
                    f"{node_id} is gone, and in {self.called(server)}"
                    for node_id in came.keys() - self._believed()
                ]
        return wrong

    def _wrong_holders(self, *, only_signed: bool) -> list[str]:
        wrong = []
        known = {server.id: server.known() for server in self.rooms.servers}
        for node_id, node in self.nodes.items():
            at = self.sessions[node_id]
            if only_signed and node.identity is None:
                continue
            right = [at[-1].id] if node.identity is not None else [server.id for server in at]
            holders = {one: told.get(node_id) for one, told in known.items()}
            if len(set(holders.values())) > 1 or not set(holders.values()) <= set(right):
                told = {one[:4]: (holder or "nobody")[:4] for one, holder in holders.items()}
                wrong.append(f"{node.name} is at {[one[:4] for one in right]}, said: {told}")
        return wrong

    def _wrong_table(self) -> list[str]:
        told = self.rooms.broker.entries(self.rooms.now)
        entries = {node_id: decode_presence(value) for node_id, value in told.items()}
        # What a former run has put ends by itself.
        runs = {server.cluster._own.instance for server in self.rooms.servers}
        wrong = [
            f"{node_id} stands in the table"
            for node_id, presence in entries.items()
            if node_id not in self._believed() and presence.instance in runs
        ]
        for node_id, node in self.nodes.items():
            if node_id not in entries:
                wrong.append(f"{node.name} does not stand in the table")
                continue
            holder = node_id_text(entries[node_id].server)
            if holder not in [server.id for server in self.sessions[node_id]]:
                wrong.append(f"{node.name} is at {holder[:4]} in the table")
        return wrong


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--nodes", type=int, default=24)
    parser.add_argument("--servers", type=int, default=3)
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        try:
            Story(seed, options.nodes, options.servers).run()
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}:\n{error}\n", flush=True)
    print(f"{options.seeds} seeds, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
