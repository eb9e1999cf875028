"""A world on a busy machine: each program waits for its turn, and then finds all that has come.

What is due by then is due late, and is done after what has arrived was read, as `io.driver` does.
"""

from collections.abc import Callable
from typing import Any

from p2ptui.wire.address import Address
from tests.simulation import Host, World


class SlowWorld(World):
    """A network, its hosts and their time; hosts only, no further sockets and no puppets."""

    def __init__(self, seed: int = 0, **link: Any) -> None:
        super().__init__(seed, **link)
        self.turn_s: Callable[[], float] = lambda: 0.0
        """How long a host waits for its turn from now on, seconds."""
        self._turns: dict[Host, float] = {}
        self._unread: dict[Host, list[tuple[bytes, Address]]] = {}

    def _step(self, end: float) -> bool:
        for node in self._nodes.values():
            node.settle()
            due = node.endpoint.next_timeout()
            if due is not None and due <= self.now:
                self._want_turn(node)
        timeouts = (
            node.endpoint.next_timeout() for node in self._nodes.values() if node not in self._turns
        )
        times = [self.network.next_delivery(), *self._turns.values(), *timeouts]
        due = min((time for time in times if time is not None), default=end)
        if due >= end:
            self.now = end
            return False
        self.now = max(due, self.now)
        for data, source, destination in self.network.deliver(self.now):
            receiver = self.hosts.get(destination)
            assert isinstance(receiver, Host)
            self._unread.setdefault(receiver, []).append((data, source))
            self._want_turn(receiver)
        for node in [node for node, turn in self._turns.items() if turn <= self.now]:
            del self._turns[node]
            for data, source in self._unread.pop(node, []):
                node.receive(data, source)
            due = node.endpoint.next_timeout()
            if due is not None and due <= self.now:
                node.endpoint.handle_timeout(self.now)
            node.settle()
        return True

    def _want_turn(self, node: Host) -> None:
        if node not in self._turns:
            self._turns[node] = self.now + self.turn_s()
