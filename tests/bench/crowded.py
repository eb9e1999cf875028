"""A node with ten thousand peers: how they join, their memory, and what each datagram costs then.

The node is the program itself without its screen, as a user runs it; the peers are addresses of
one socket, played by the compiled generator, which acknowledges and answers Pings.
"""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

from tests.bench.crowd import OWN, PLAIN, Crowd, OpenPeer, handshake_request, host_of
from tests.bench.loads import WINDOW, Load, of_many
from tests.bench.machine import Cores, Interpreter, cpu_s, ended, private_mb, rss_mb
from tests.bench.report import Row, spread
from tests.bench.rounds import Match, Target, drive, play, ratios

STEPS: Final = 10
"""Parts of the ramp; growth compares the cost of the last one with that of the first."""

RAMP_WINDOW: Final = 32
"""Handshakes in flight: fewer than may be pending."""

RAMP_S: Final = 20.0
"""The longest time that a step may take."""

START_S: Final = 20.0
"""The longest time until the program says where it listens."""

REST_S: Final = 1.0
"""The time from its start until its memory is read."""

QUESTIONS_S: Final = 0.8
"""How long after a handshake nothing follows; then a newcomer is asked for a proof."""

LATER_MS: Final = 3_600_000
"""When news of newcomers is sent, if it would disturb the measurement."""

CALM_S: Final = 8.0
"""The time after the handshakes until nothing is in flight, and freed memory was returned to the
system."""

NO_NEWS: Final = "news of newcomers put off"

SCALE: Final = 10_000
"""The number of peers to which the idle cost is scaled."""

FIRST: Final = 3
"""Datagrams of each peer before any is measured."""

FEW: Final = WINDOW
"""Peers whose datagrams are compared with those of all: enough that, taking turns, none has two
answers in flight, as with all of them. A single peer is answered with segmentation offload
(UDP_SEGMENT); a crowd cannot be."""

ASKERS: Final = range(40_000, 40_016)
"""The numbers of the peers that ask for lists: each is sent a page every 10 ms."""

LOOKS, LOOK_S = 3, 0.7
"""How often and for how long the pages are counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        peers: How many join.
        secured: How many peers have keys, at another node.
        storm: How many join at once while the others are told about it.
        storm_s: How long they are told.
        rest_s: How long a program without peers is watched.
        settle_s: The time after the handshakes until everything was sent and each peer had its
            first heartbeat.
        idle_s: How long they are watched while idle.
        rounds: The rounds of the loads.
        load_s: How long one load takes.
        asked_s: The time until newcomers were pinged and have answered.
    """

    peers: int = 10_000
    secured: int = 3_000
    storm: int = 1_000
    storm_s: float = 15.0
    rest_s: float = 3.0
    settle_s: float = 31.0
    idle_s: float = 20.0
    rounds: int = 5
    load_s: float = 0.2
    asked_s: float = 2.5


@contextlib.contextmanager
def program(
    interpreter: Interpreter, peers: int, *arguments: str, tells: bool = True
) -> Iterator[Target]:
    """Run the program without its screen during the block.

    Args:
        interpreter: The interpreter that runs it.
        peers: The most that join.
        arguments: Arguments of its command line.
        tells: Whether it tells the others about newcomers at once, as by default.

    Raises:
        RuntimeError: It does not say where it listens.
    """
    server: dict[str, object] = {"max_connections": peers + 100, "enable_discovery": False}
    if not tells:
        server |= dict.fromkeys(
            ("peerlist_broadcast_debounce_ms", "peerlist_broadcast_max_wait_ms"), LATER_MS
        )
    config = {
        "server": server,
        "security": {"unvouched_bytes_per_minute": 10**9, "ephemeral": True},
    }
    path = interpreter.home / f"crowded-{time.monotonic_ns()}.json"
    path.write_text(json.dumps(config))
    log = path.with_suffix(".log")
    command = ["-m", "p2ptui", "--no-ui", "-a", "127.0.0.1:0", "-c", str(path), *arguments]
    with log.open("wb") as errors:
        process = interpreter.start(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
    with ended(process):
        yield Target(process.pid, _port_told(process, log))


def _port_told(process: "subprocess.Popen[Any]", log: Path) -> int:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"is listening on \S+:(\d+)", log.read_text("utf-8", "replace")):
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError("the program did not start: " + log.read_text("utf-8", "replace")[-500:])


def at_rest(interpreter: Interpreter, cores: Cores, *arguments: str) -> dict[str, float]:
    """The memory of the program that has just started: the figures of a row."""
    with cores.of_server():
        running = program(interpreter, 100, *arguments)
        with running as target:
            time.sleep(REST_S)
            return {"whole_mb": rss_mb(target.pid), "private_mb": private_mb(target.pid)}


def share_of(node: Target, seconds: float, wait: Callable[[float], object] = time.sleep) -> float:
    """The share of a core that a node takes for this long, during which `wait` is called."""
    before, began = cpu_s(node.pid), time.monotonic()
    wait(seconds)
    return (cpu_s(node.pid) - before) / (time.monotonic() - began)


def idle_figures(share: float, alone: float, peers: int) -> dict[str, float]:
    """The figures of a row: what a node takes with peers, and before any joined.

    Args:
        share: The share of a core with the peers.
        alone: The share without any.
        peers: How many there are; the figures are scaled to `SCALE`.
    """
    figures = {"core_percent": share * 100, "before_any_came_percent": alone * 100}
    if peers != SCALE:
        at_scale = alone + (share - alone) * SCALE / peers
        figures[f"core_for_{SCALE}_percent"] = at_scale * 100
    return figures


class Crowded:
    """The node, and its measurements.

    Args:
        node: The running program.
        echo: The bare C echo.
        crowd: The socket of the peers.
        plan: How much is measured.
        cores: Where processes run.
        kind: What the peers are: `own`, which announce everything that p2ptui does, or `plain`,
            which announce no extensions, like the deployed clients.
    """

    def __init__(
        self,
        node: Target,
        echo: Target,
        crowd: Crowd,
        plan: Plan,
        cores: Cores,
        kind: Literal["own", "plain"],
    ) -> None:
        self._kind: Final = kind
        self._node, self._echo, self._crowd = node, echo, crowd
        self._plan, self._cores = plan, cores
        self._rest_mb = rss_mb(node.pid)
        self._alone = 0.0
        """The share of a core that it takes before any has joined."""
        self._polite = 0
        """Messages of the peers while they last lingered."""

    @property
    def _many(self) -> str:
        return f"{self._plan.peers:,} {self._kind} peers"

    @contextlib.contextmanager
    def _watched(self, seconds: float) -> Iterator["subprocess.Popen[str]"]:
        """Have all peers acknowledge and answer for this many seconds, or until the block ends."""
        self._crowd.write([])
        with (
            self._cores.of_load(),
            self._crowd.driving(self._node.port, seconds=0, window=1, linger_s=seconds) as process,
        ):
            yield process

    def rows(self, wanted: Callable[[str], bool]) -> Iterator[Row]:
        """The wanted rows, and perhaps more."""
        is_idle_wanted = wanted(f"idle-{self._kind}")
        if is_idle_wanted:
            self._alone = share_of(self._node, self._plan.rest_s)
        ramp = self.ramp()
        if ramp.skipped:
            yield ramp
            return
        yield self.memory()
        if is_idle_wanted:
            yield self.idle()
        if self._kind == "plain":
            return
        if wanted("echo-crowd") or wanted("ping-crowd"):
            yield from self.growth()
        if wanted("paging"):
            yield self.paging()

    def ramp(self, *, apart: bool = False) -> Row:
        """All peers shake hands. The echoes use another socket: what the node asks the peers
        meanwhile waits for them, and is not lost.

        Args:
            apart: Whether they wait now and then until the newcomers were pinged, so that this cost
                is reported separately.
        """
        with contextlib.closing(self._crowd.sibling()) as beside:
            return self._ramp(beside, apart=apart)

    def _ramp(self, beside: Crowd, *, apart: bool) -> Row:
        key, title = f"handshakes-{self._kind}", f"handshakes, 1 to {self._many}"
        capabilities = OWN if self._kind == "own" else PLAIN
        size = max(self._plan.peers // STEPS, 1)
        rates, cpu_us, echo_rates, echo_us, lost = [], [], [], [], 0
        whole_s, came, first_came, took_s = cpu_s(self._node.pid), 0, time.monotonic(), 0.0
        for first in range(0, size * STEPS, size):
            began = time.monotonic()
            if apart and began + took_s > first_came + QUESTIONS_S:
                self._linger(self._plan.asked_s)
                began = first_came = time.monotonic()
            requests = [
                (host_of(number), handshake_request(number, capabilities))
                for number in range(first, first + size)
            ]
            self._crowd.write(requests)
            before = cpu_s(self._node.pid)
            with self._cores.of_load():
                driven = self._crowd.drive(
                    self._node.port,
                    seconds=RAMP_S,
                    window=RAMP_WINDOW,
                    match='"HandshakeResponse"',
                )
            if not driven.answers:
                return Row(key, title, skipped="no handshake was answered")
            rates.append(driven.rate)
            cpu_us.append((cpu_s(self._node.pid) - before) / driven.answers * 1e6)
            lost += driven.lost
            came += driven.answers
            before = cpu_s(self._echo.pid)
            beside.write(requests)
            with self._cores.of_load():
                driven = beside.drive(self._echo.port, seconds=RAMP_S, window=RAMP_WINDOW)
            took_s = time.monotonic() - began
            echo_rates.append(driven.rate)
            echo_us.append((cpu_s(self._echo.pid) - before) / max(driven.answers, 1) * 1e6)
        settled = {}
        if apart:
            self._linger(self._plan.asked_s)
            settled["settled_us"] = (cpu_s(self._node.pid) - whole_s) / came * 1e6
        return Row(
            key,
            title,
            rate=spread(rates),
            by_clock=spread(ratios(rates, echo_rates)),
            cpu_us=spread(cpu_us),
            by_cpu=spread(ratios(echo_us, cpu_us)),
            echo_rate=spread(echo_rates),
            echo_cpu_us=spread(echo_us),
            lost=lost,
            figures={
                "first_tenth_us": cpu_us[0],
                "last_tenth_us": cpu_us[-1],
                "handshake_growth": ratios(cpu_us[-1:], cpu_us[:1])[0],
                **settled,
            },
            note=NO_NEWS,
        )

    def memory(self) -> Row:
        """The memory that the peers take: right after they joined, and once everything has
        settled."""
        now_mb, of_it_mb = rss_mb(self._node.pid), private_mb(self._node.pid)
        self._linger(min(self._plan.settle_s, CALM_S))
        return Row(
            f"memory-{self._kind}",
            f"memory at {self._many}",
            figures={
                "whole_mb": now_mb,
                "private_mb": of_it_mb,
                "peer_kb": (now_mb - self._rest_mb) * 1000 / self._plan.peers,
                "settled_mb": rss_mb(self._node.pid),
                "settled_private_mb": private_mb(self._node.pid),
            },
        )

    def idle(self) -> Row:
        """What idle peers cost, once everything about their joining is over."""
        self._linger(self._plan.settle_s)
        share = share_of(self._node, self._plan.idle_s, self._linger)
        return Row(
            f"idle-{self._kind}",
            f"idle, {self._many}, each is sent a Ping every 30 s and answers",
            figures=idle_figures(share, self._alone, self._plan.peers),
            note=f"over {self._plan.idle_s:g} s, in which {self._polite / self._plan.idle_s:,.0f}"
            " Pongs a second came",
        )

    def _linger(self, seconds: float) -> None:
        """The peers acknowledge and answer for this long."""
        self._crowd.write([])
        with self._cores.of_load():
            driven = self._crowd.drive(self._node.port, seconds=0, window=1, linger_s=seconds)
        self._polite = driven.polite

    def growth(self) -> list[Row]:
        """An echo and a Ping of one peer, of a few in turn, and of all in turn."""
        rows = []
        crowds = 1, min(FEW, self._plan.peers), self._plan.peers
        matches: dict[str, list[Match]] = {}
        for kind, match in (("Data", '"echo"'), ("Ping", '"Pong"')):
            for peers in crowds:
                make = of_many(self._crowd, peers, kind)
                load = Load(f"{kind}-{peers}", "", self._crowd, make, match)
                matches.setdefault(kind, []).append(Match(load, self._node, self._echo))
                # By then, what a peer's first datagram allocates once is there.
                self._crowd.write(make(FIRST * peers))
                drive(load, self._node, self._cores)
        played = [match for of_kind in matches.values() for match in of_kind]
        play(played, self._plan.rounds, self._plan.load_s, self._cores)
        for kind, key in (("Data", "echo"), ("Ping", "ping")):
            title = f"{'echo' if key == 'echo' else 'Ping'}, {self._many}"
            rows.append(_grown(*matches[kind], f"{key}-crowd", title))
        return rows

    def paging(self) -> Row:
        """A few more peers ask for the list of all."""
        title = f"discovery paging, lists of {self._many}, a page"
        crowd = self._crowd.sibling()
        port = self._node.port
        counts, cpu_us, page = [], [], b""
        with contextlib.closing(crowd), self._watched(60.0):
            askers = [OpenPeer(crowd, number).join(port, PLAIN, 0.02) for number in ASKERS]
            crowd.drain()
            for _ in range(LOOKS):
                before = cpu_s(self._node.pid)
                for asker in askers:  # while its last list is in progress, nothing new begins
                    crowd.send(asker.host, asker.message("DiscoveryRequest", None), port)
                count, page = _pages(crowd, page)
                if not count:
                    return Row("paging", title, skipped="no page of a list came")
                counts.append(count)
                cpu_us.append((cpu_s(self._node.pid) - before) / count * 1e6)
        echo_us, echo_rates = self._echoes(page, counts)
        return Row(
            "paging",
            title,
            rate=spread([count / LOOK_S for count in counts]),
            cpu_us=spread(cpu_us),
            by_cpu=spread(ratios(echo_us, cpu_us)),
            echo_rate=spread(echo_rates),
            echo_cpu_us=spread(echo_us),
            figures={"page_kb": len(page) / 1000},
            note=f"{len(ASKERS)} ask at once; the pace is by design",
        )

    def _echoes(self, page: bytes, counts: list[int]) -> tuple[list[float], list[float]]:
        """The same number of datagrams of that size, returned by the bare echo: CPU time of each,
        and rate."""
        cpu_us, rates = [], []
        for count in counts:
            self._crowd.write([(host_of(0), page)] * count)
            before = cpu_s(self._echo.pid)
            with self._cores.of_load():
                driven = self._crowd.drive(self._echo.port, seconds=RAMP_S, window=RAMP_WINDOW)
            cpu_us.append((cpu_s(self._echo.pid) - before) / max(driven.answers, 1) * 1e6)
            rates.append(driven.rate)
        return cpu_us, rates


def _pages(crowd: Crowd, page: bytes) -> tuple[int, bytes]:
    """How many pages come while counting, and the longest of them."""
    end = time.monotonic() + LOOK_S
    count = 0
    while (left := end - time.monotonic()) > 0 and (came := crowd.receive(left)) is not None:
        if b'"DiscoveryResponse"' in came[1]:
            count += 1
            page = max(page, came[1], key=len)
    return count, page


def _grown(one: Match, few: Match, many: Match, key: str, title: str) -> Row:
    if failed := one.failed or few.failed or many.failed:
        return Row(key, title, skipped=failed)
    node, echo = many.taken["node"], many.taken["echo"]
    of_one, of_few, echo_of_few = one.taken["node"], few.taken["node"], few.taken["echo"]
    return Row(
        key,
        title,
        rate=spread(node.rates),
        by_clock=spread(ratios(node.rates, echo.rates)),
        cpu_us=spread(node.cpu_us),
        by_cpu=spread(ratios(echo.cpu_us, node.cpu_us)),
        echo_rate=spread(echo.rates),
        echo_cpu_us=spread(echo.cpu_us),
        lost=node.lost,
        figures={
            "one_to_all_growth": median(ratios(node.cpu_us, of_one.cpu_us)),
            "few_to_all_growth": median(ratios(node.cpu_us, of_few.cpu_us)),
            "few_to_all_of_C_growth": median(ratios(echo.cpu_us, echo_of_few.cpu_us)),
        },
        note=f"few: {FEW} in turn",
    )


def storm(interpreter: Interpreter, crowd: Crowd, plan: Plan, cores: Cores) -> Row:
    """Many join at once, and all are told about each other, as by default."""
    title = f"join storm of {plan.storm:,} peers, a newcomer"
    with cores.of_server():
        running = program(interpreter, plan.storm)
        with running as node:
            crowd.write([(host_of(n), handshake_request(n, OWN)) for n in range(plan.storm)])
            before = cpu_s(node.pid)
            with cores.of_load():
                driven = crowd.drive(
                    node.port,
                    seconds=RAMP_S,
                    window=RAMP_WINDOW,
                    match='"HandshakeResponse"',
                    linger_s=plan.storm_s,
                )
            cpu = cpu_s(node.pid) - before
    if not driven.answers:
        return Row("storm", title, skipped="no handshake was answered")
    return Row(
        "storm",
        title,
        figures={
            "CPU_us": cpu / driven.answers * 1e6,
            "messages_and_Acks_ratio": driven.polite / driven.answers,
        },
        lost=driven.lost,
        note=f"with all that is told within {plan.storm_s:g} s",
    )


PLAIN_PARTS: Final = ("handshakes-plain", "memory-plain", "idle-plain")
OWN_PARTS: Final = (
    *("handshakes-own", "memory-own", "idle-own"),
    *("echo-crowd", "ping-crowd", "paging"),
)
PARTS: Final = ("storm", *PLAIN_PARTS, *OWN_PARTS)


def measure(
    interpreter: Interpreter,
    echo: Target,
    new_crowd: Callable[[], Crowd],
    plan: Plan,
    cores: Cores,
    wanted: Callable[[str], bool],
) -> Iterator[Row]:
    """The wanted rows of a crowd; the handshakes come first."""
    if wanted("storm"):
        yield storm(interpreter, new_crowd(), plan, cores)
    kinds: tuple[tuple[Literal["own", "plain"], tuple[str, ...]], ...]
    kinds = ("plain", PLAIN_PARTS), ("own", OWN_PARTS)
    for kind, parts in kinds:
        shaking, *others = parts
        if wanted(shaking):
            with contextlib.ExitStack() as stack:
                with cores.of_server():
                    node = stack.enter_context(program(interpreter, plan.peers, tells=False))
                time.sleep(REST_S)
                yield Crowded(node, echo, new_crowd(), plan, cores, kind).ramp(apart=True)
        if not any(map(wanted, others)):
            continue
        with contextlib.ExitStack() as stack:
            with cores.of_server():
                node = stack.enter_context(program(interpreter, plan.peers, tells=False))
            time.sleep(REST_S)
            crowded = Crowded(node, echo, new_crowd(), plan, cores, kind)
            yield from (row for row in crowded.rows(wanted) if wanted(row.key))
