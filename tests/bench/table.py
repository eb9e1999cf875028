"""The one table: every row of the benchmark, measured in one run."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import coturn, crowded, machine, secured_crowd, transfer
from tests.bench.crowd import Crowd
from tests.bench.loads import LOADS, OPTIONS, Stage
from tests.bench.loopback import compiled
from tests.bench.report import FORM, Report, Row, judged
from tests.bench.rounds import Match, Target, play, row_beside, row_of
from tests.bench.secured import endpoint

ROWS: Final = (
    "echo",
    "ping",
    "reliable",
    "secured",
    "relay",
    "relay-secured",
    "routed",
    "stun",
    "stun-beside",
    "latency",
    "transfer",
    "memory",
    *crowded.PARTS,
    *secured_crowd.PARTS,
)
"""The keys of all rows, in the order of the table."""

IN_ROUNDS: Final = (*LOADS, "transfer")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        rounds: The rounds of each row.
        load_s: Roughly how long a row takes in a round.
        crowd: What is measured with many peers.
        alone: Whether other programs wait meanwhile.
    """

    rounds: int = 9
    load_s: float = 0.25
    crowd: crowded.Plan = field(default_factory=crowded.Plan)
    alone: bool = False


QUICK: Final = Plan(
    rounds=3,
    load_s=0.1,
    crowd=crowded.Plan(
        peers=1_000,
        secured=50,
        storm=200,
        storm_s=2.0,
        rest_s=0.2,
        settle_s=1.0,
        idle_s=3.0,
        rounds=3,
        load_s=0.1,
        asked_s=1.5,
    ),
)
"""Under a minute: fewer rounds, and a crowd of a thousand."""


def reason_to_skip() -> str:
    """Why nothing can be measured here; empty if everything can."""
    if not sys.platform.startswith("linux"):
        return "the load generator and the CPU times of processes are those of Linux"
    with compiled() as program:
        return "" if program else "there is no C compiler for the bare echo and the load"


class Bench:
    """What all rows share.

    Args:
        stack: Ends what was started.
        interpreter: The interpreter whose p2ptui is measured.
        program: The compiled echo and generator.
        folder: A folder for what a run writes.
        plan: How much is measured.
        wanted: Whether a row is to be measured.
        tell: Called with the progress.
    """

    def __init__(
        self,
        stack: ExitStack,
        interpreter: machine.Interpreter,
        program: str,
        folder: Path,
        plan: Plan,
        wanted: Callable[[str], bool],
        tell: Callable[[str], None],
    ) -> None:
        self.cores = machine.Cores(alone=plan.alone)
        self._stack = stack
        self.interpreter, self._program, self._folder = interpreter, program, folder
        self._plan, self._wanted, self._tell = plan, wanted, tell
        self._matches: list[Match] = []
        self._sent: transfer.Transfer | None = None

    def new_crowd(self) -> Crowd:
        """A socket for a load."""
        return self._stack.enter_context(closing(Crowd(self._program, self._folder)))

    def prepare(self, node: machine.Served, echo: Target) -> list[Match]:
        """Have the peers of the rows that are played in rounds join a node; returns these rows."""
        self._node, self._echo = Target(node.pid, node.port), echo
        if not any(map(self._wanted, (*IN_ROUNDS, "stun-beside"))):
            return []
        self._tell("peers join")
        self._beside, self._no_coturn = self._coturn()
        stage = Stage(node.port, self.new_crowd, lambda n, at: endpoint(n, at, secured=True))
        is_in = lambda key: self._wanted(key) or (key == "stun" and self._wanted("stun-beside"))  # noqa: E731
        self._matches = [
            Match(load, self._node, echo, self._beside if load.key == "stun" else None)
            for load in stage.loads(is_in)
        ]
        if self._wanted("transfer"):
            ready = transfer.ready(self.interpreter, self._node, echo, self.new_crowd(), self.cores)
            self._sent = self._stack.enter_context(ready)
        return self._matches

    def play_transfer(self) -> None:
        """Play a round of the transfer, if it is wanted."""
        if self._sent is not None:
            self._sent.play()

    def rows(self) -> list[Row]:
        """The rows that were played, and all rows that are measured separately."""
        rows = self._played()
        if self._wanted("memory"):
            rows.append(self._memory())
        if any(map(self._wanted, ("storm", *crowded.PLAIN_PARTS, *crowded.OWN_PARTS))):
            self._tell(f"a crowd of {self._plan.crowd.peers:,}")
        rows += crowded.measure(
            self.interpreter, self._echo, self.new_crowd, self._plan.crowd, self.cores, self._wanted
        )
        if any(map(self._wanted, secured_crowd.PARTS)):
            self._tell(f"{self._plan.crowd.secured:,} secured peers")
        rows += secured_crowd.measure(
            self.interpreter, self.new_crowd, self._plan.crowd, self.cores, self._wanted
        )
        return rows

    def _played(self) -> list[Row]:
        rows = []
        for match in self._matches:
            if self._wanted(match.load.key):
                rows.append(row_of(match))
            if match.load.key == "stun" and self._wanted("stun-beside"):
                rows.append(
                    row_beside(match, "STUN, coturn")
                    if self._beside
                    else Row("stun-beside", "STUN, coturn", skipped=self._no_coturn)
                )
        if self._sent is not None:
            rows.append(self._sent.row())
        return rows

    def _coturn(self) -> tuple[Target | None, str]:
        """The running coturn, or why there is none."""
        if why := coturn.reason_to_skip():
            return None, why
        try:
            with self.cores.of_server():
                return self._stack.enter_context(coturn.running(self._folder)), ""
        except RuntimeError as error:
            return None, str(error)

    def _memory(self) -> Row:
        return Row(
            "memory",
            "memory at rest, the program without its screen",
            figures=crowded.at_rest(self.interpreter, self.cores),
        )


def measure(
    plan: Plan,
    rows: Sequence[str] = ROWS,
    python: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run the benchmark; `reason_to_skip` must be empty.

    Args:
        plan: How much is measured.
        rows: The keys of the rows to measure.
        python: An interpreter whose p2ptui is measured instead of that of this folder.
        tell: Called with the progress.
    """
    [report] = compare(plan, rows, [python], tell)
    return report


def compare(
    plan: Plan,
    rows: Sequence[str],
    pythons: Sequence[str | None],
    tell: Callable[[str], None] = lambda _: None,
) -> list[Report]:
    """Run it for several p2ptui in one run, each round of each row for one after the other.

    Rows of a crowd are measured for one after the other as a whole, each beside the same echo.

    Args:
        plan: How much is measured.
        rows: The keys of the rows to measure.
        pythons: Interpreters whose p2ptui is measured; None for that of this folder.
        tell: Called with the progress.

    Returns:
        A report for each interpreter, in their order.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        home = stack.enter_context(machine.folder())
        program = stack.enter_context(compiled())
        assert program is not None
        benches, nodes = [], []
        for python in pythons:
            interpreter = machine.Interpreter(python, home)
            wanted = set(rows).__contains__
            benches.append(Bench(stack, interpreter, program, home, plan, wanted, tell))
        cores = benches[0].cores
        about = machine.this_machine(cores)
        with cores.of_server():
            echo = Target(*stack.enter_context(machine.bare_echo(program)))
            told = {"role": "serve", "options": OPTIONS}
            for bench in benches:
                nodes.append(stack.enter_context(machine.served(bench.interpreter, told)))
        played = [bench.prepare(node, echo) for bench, node in zip(benches, nodes, strict=True)]
        in_turn = [match for same in zip(*played, strict=True) for match in same]
        tell(f"{plan.rounds} rounds of {len(in_turn)} rows")
        play(in_turn, plan.rounds, plan.load_s, cores)
        for _ in range(plan.rounds):
            for bench in benches:
                bench.play_transfer()
        measured = [bench.rows() for bench in benches]
        about.load_after = round(machine.load_average(), 2)
        took = round(time.monotonic() - began, 1)
        order = {key: number for number, key in enumerate(ROWS)}
        return [
            Report(
                FORM,
                about,
                machine.this_program(bench.interpreter, node.about),
                plan.rounds,
                plan.crowd.peers < crowded.Plan().peers,
                took,
                sorted(found, key=lambda row: order[row.key]),
                judged(found, about),
            )
            for bench, node, found in zip(benches, nodes, measured, strict=True)
        ]
