"""A message of 1 MB from one node to another, beside a bare echo of the same number of bytes."""

import contextlib
from collections.abc import Iterator
from typing import Final

from tests.bench.crowd import Crowd, host_of
from tests.bench.loads import WINDOW
from tests.bench.machine import Cores, Interpreter, Served, cpu_s, served
from tests.bench.report import Row, spread
from tests.bench.rounds import LONGEST_S, Target, ratios

MEGABYTE: Final = 1_000_000
PIECE_BYTES: Final = 1_200
"""The size of the bare echo's datagrams: a node begins with it too, and finds a larger one."""


class Transfer:
    """A sender, and the cost of its messages.

    Args:
        sender: The node that sends.
        node: The receiver.
        echo: The bare echo.
        crowd: A socket for its datagrams.
        cores: Where processes run.
    """

    def __init__(
        self, sender: Served, node: Target, echo: Target, crowd: Crowd, cores: Cores
    ) -> None:
        self._sender, self._node, self._echo = sender, node, echo
        self._crowd, self._cores = crowd, cores
        self._seconds: list[float] = []
        self._cpu_ms: list[float] = []
        self._echo_s: list[float] = []
        self._echo_ms: list[float] = []
        self._failed = ""

    def play(self) -> None:
        """Send one message, and as many bytes to the bare echo."""
        if self._failed:
            return
        before = cpu_s(self._node.pid)
        told = self._sender.ask("go")
        if told["status"] != "delivered":
            self._failed = f"the message was {told['status']}"
            return
        self._cpu_ms.append((cpu_s(self._node.pid) - before) * 1e3)
        self._seconds.append(told["seconds"])
        self._crowd.write([(host_of(0), bytes(PIECE_BYTES))] * (MEGABYTE // PIECE_BYTES))
        before = cpu_s(self._echo.pid)
        with self._cores.of_load():
            driven = self._crowd.drive(self._echo.port, seconds=LONGEST_S, window=WINDOW)
        self._echo_ms.append((cpu_s(self._echo.pid) - before) * 1e3)
        self._echo_s.append(driven.seconds)

    def row(self) -> Row:
        """The row with the results; an answer is a message here."""
        title = "transfer of 1 MB"
        if self._failed or not self._seconds:
            return Row("transfer", title, skipped=self._failed or "no round was played")
        pieces = MEGABYTE / PIECE_BYTES
        seconds = spread(self._seconds)
        return Row(
            "transfer",
            title,
            rate=spread([1 / took for took in self._seconds]),
            by_clock=spread(ratios(self._echo_s, self._seconds)),
            cpu_us=spread([took * 1e3 for took in self._cpu_ms]),
            by_cpu=spread(ratios(self._echo_ms, self._cpu_ms)),
            echo_rate=spread([pieces / took for took in self._echo_s]),
            echo_cpu_us=spread([took * 1e3 / pieces for took in self._echo_ms]),
            figures={"whole_ms": seconds.median * 1e3, "second_mb": 1 / seconds.median},
            note=f"the echo returns it in datagrams of {PIECE_BYTES:,} bytes",
        )


@contextlib.contextmanager
def ready(
    interpreter: Interpreter, node: Target, echo: Target, crowd: Crowd, cores: Cores
) -> Iterator[Transfer]:
    """Run a sender, in the open dialect, during the block."""
    about = {"role": "send", "to": ["127.0.0.1", node.port], "secured": False}
    with contextlib.ExitStack() as stack:
        with cores.of_load():
            sender = stack.enter_context(served(interpreter, about))
        yield Transfer(sender, node, echo, crowd, cores)
