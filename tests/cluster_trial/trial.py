"""What is done to a cluster, and what is looked at meanwhile."""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import nats

from p2ptui.io.nats_names import Names
from p2ptui.wire.cluster import decode_presence
from tests.cluster.brokers import Broker
from tests.cluster_trial.processes import (
    MONITORED,
    CrowdProcess,
    Server,
    Way,
    counted,
    die_with_parent,
    until,
)
from tests.cluster_trial.watch import Watch, rest

SERVERS: Final = 3
NETWORK: Final = "p2p_default"
KINDS: Final = ((False, 1), (True, 1), (True, 2))
"""Whether a node looks for direct paths, and how many servers it joins."""

TRAFFIC_PAUSE_S: Final = 0.1
BACK_S: Final = 5.0
"""Within this time all is as it was."""

LIMIT_S: Final = 20.0
"""So long it is waited for."""

REST_S: Final = 60.0
"""So long it is waited until all that was started has time to spare, before something is measured:
it shares the processors of one machine."""

TALK_S: Final = 15.0
"""Two nodes have so long to meet, Ping, and send."""


@dataclass
class Options:
    """How large a trial is."""

    nodes: int = 600
    crowds: int = 4
    pairs: int = 300
    kills: int = 20
    server_kills: int = 10
    cuts: int = 10
    cut: float = 60.0
    probed: int = 10
    """Peers of a killed server that are looked for."""
    lines: int = 6
    """Pairs with traffic, of each kind."""
    quiet: float = 20.0
    calm: float = 3.0
    """Between two kills, and before the first."""
    watched: float = BACK_S
    """After a kill of the broker, until that is calm."""
    seed: int = 1


@dataclass
class Row:
    """One thing that was looked at."""

    name: str
    measured: str
    wanted: str
    holds: bool
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """In one line."""
        met = "MET" if self.holds else "NOT MET"
        return f"{met:7}  {self.name}: {self.measured} (wanted: {self.wanted})"


class Trial:
    """Servers, a broker, and nodes."""

    def __init__(self, options: Options, folder: Path, say: Any) -> None:
        self.options, self.say = options, say
        self.rng = random.Random(options.seed)
        self.broker = Broker(folder, MONITORED, at_start=die_with_parent)
        self.folder = folder
        self.ways: list[Way] = []
        self.servers: list[Server] = []
        self.crowds: list[CrowdProcess] = []
        self.rows: list[Row] = []
        self.ids: dict[str, str] = {}
        """Of nodes, by name."""
        self.home: dict[str, int] = {}
        """Which server a node has joined first, by name."""
        self.joined: dict[str, set[int]] = {}
        self.crowd_of: dict[str, CrowdProcess] = {}
        self.kinds: dict[tuple[int, int], list[str]] = {
            (home, kind): [] for home in range(SERVERS) for kind in range(len(KINDS))
        }
        """Names, by their server and their kind."""
        self.watch = Watch([])
        self.listed_s: float | None = None
        """How long it last took until all were in all lists, whoever holds them."""
        self._names: dict[str, str] = {}

    async def begin(self) -> None:
        """Start all."""
        options = self.options
        self.broker.start()
        for number in range(SERVERS):
            way = Way(self.broker)
            self.ways.append(way)
            server = Server(self.folder, f"server{number + 1}", f"nats://127.0.0.1:{way.port}")
            self.servers.append(server)
            server.start()
        for number in range(options.crowds):
            crowd = CrowdProcess(self.folder, number)
            self.crowds.append(crowd)
            await crowd.begin()

        self.watch = Watch([server.watched for server in self.servers])
        if not await until(self._are_up, LIMIT_S * 2):
            raise RuntimeError("the servers do not find the broker")
        told: list[list[dict[str, Any]]] = [[] for _ in self.crowds]
        for number in range(options.nodes):
            # Of each crowd as many at each server; some join one server, some two; two thirds
            # look for direct paths.
            name, home = f"node{number}", number % SERVERS
            crowd = number // SERVERS % options.crowds
            kind = number // SERVERS // options.crowds % len(KINDS)
            is_direct, joins = KINDS[kind]
            joined = [(home + other) % SERVERS for other in range(joins)]
            at = [self.servers[server].address for server in joined]
            # Each at an address of its own: one address has a share of a server only.
            host = f"127.{1 + number // 250}.0.{1 + number % 250}"
            node = {"name": name, "host": host, "join": at, "direct": is_direct}
            told[crowd].append(node)
            self.home[name], self.joined[name] = home, set(joined)
            self.crowd_of[name] = self.crowds[crowd]
            self.kinds[home, kind].append(name)
        began = time.monotonic()
        for ids in await asyncio.gather(
            *(crowd.do("start", nodes) for crowd, nodes in zip(self.crowds, told, strict=True))
        ):
            self.ids |= ids

        started_s = time.monotonic() - began
        self._names = {node_id: name for name, node_id in self.ids.items()}
        took_s = await self._one_truth(60, began)
        if took_s is None:
            raise RuntimeError("the servers do not know all nodes")
        busy = await rest(REST_S)
        self.say(
            f"{options.nodes} nodes started after {started_s:.1f} s, in all lists after"
            f" {took_s:.1f} s; they use {busy:.0%} of the processors after"
            f" {time.monotonic() - began:.0f} s"
        )

    async def _are_up(self) -> bool:
        return all([await view.look() for view in self.watch.views])

    async def restore(self) -> None:
        """Have all that was started be there, whatever a part has left behind."""
        if not self.broker.is_running:
            self.broker.start()
        for way in self.ways:
            way.mend()
        for server in self.servers:
            if not server.is_running:
                server.start()
        for crowd in self.crowds:
            await crowd.do("stop", 5.0)
            await crowd.do("arrived")
        if await self._one_truth(90) is None:
            self.say("  there is no one truth before the next part begins")
        await rest(REST_S)

    async def end(self) -> None:
        """End all that was started."""
        await asyncio.gather(*(crowd.end() for crowd in self.crowds))
        for started in (*self.servers, *self.ways):
            started.kill() if isinstance(started, Server) else started.end()
        self.broker.kill()

    def note(self, name: str, measured: str, wanted: str, *, holds: bool, **figures: Any) -> None:
        """Something was looked at."""
        self.rows.append(Row(name, measured, wanted, holds, figures))
        self.say(f"{'  ' if holds else '! '}{name}: {measured} (wanted: {wanted})")

    def relayed(self, home: int) -> list[str]:
        """Nodes that have joined one server, and that speak to others by way of it."""
        return self.kinds[home, 0]

    async def _one_truth(self, seconds: float, since: float | None = None) -> float | None:
        """How long it takes, from now or from a time, until every server lists all nodes, each
        once, and all say the same of who holds them; None: longer."""
        began = time.monotonic() if since is None else since
        self.listed_s, took_s = await self.watch.one_truth(set(self.ids.values()), began, seconds)
        if took_s is None:
            self.say("  no one truth: " + "; ".join(self.watch.wrong))
            listed = set(self.ids.values())
            for view in self.watch.views:
                listed &= view.times.keys()
            await self._tell_missing(set(self.ids.values()) - listed)
        return took_s

    async def _tell_missing(self, missing: set[str]) -> None:
        """What there is to say of nodes that a server does not know."""
        keys = Names.of(NETWORK)
        if not missing:
            return
        client = await nats.connect(self.broker.url)
        try:
            for node_id in sorted(missing)[:5]:
                told: object = "deleted"
                try:
                    js = client.jetstream()
                    entry = await js.get_last_msg(keys.stream, f"{keys.keys}{node_id}")
                    if entry.data:
                        told = decode_presence(entry.data)
                except nats.errors.Error as error:
                    told = error
                name = self._names[node_id]
                at = await self.crowd_of[name].do("sessions", name)
                self.say(f"  {name} {node_id}: sessions {at}, joined {self.joined[name]}, {told}")
        finally:
            await client.close()

    # Everybody reaches everybody.

    async def all_pairs(self) -> None:
        """A sample of ordered pairs, of different servers."""
        names = list(self.ids)
        pairs = set[tuple[str, str]]()
        while len(pairs) < self.options.pairs:
            one, other = self.rng.sample(names, 2)
            if not self.joined[one] & self.joined[other]:
                pairs.add((one, other))
        of: dict[CrowdProcess, list[list[str]]] = {crowd: [] for crowd in self.crowds}
        for one, other in sorted(pairs):
            of[self.crowd_of[one]].append([one, self.ids[other]])
        answers = await asyncio.gather(
            *(crowd.do("talk", told, TALK_S) for crowd, told in of.items())
        )
        results = [result for answer in answers for result in answer]
        failed = [(why, took) for why, took, _ in results if why]
        for why, took in failed[:3]:
            source, _, rest_of = why.partition(" to ")
            target = self._names[rest_of.partition(":")[0]]
            told = [await self.crowd_of[name].do("tell", name) for name in (source, target)]
            self.say(f"  {why} {took}\n    {source}: {told[0]}\n    {target}: {told[1]}")
        took = sorted(sum(took) for _, took, _ in results)
        talk = len(pairs) - len(failed)
        lost = sum(lost for _, _, lost in results)
        self.note(
            "pairs of different servers that talk",
            f"{talk} of {len(pairs)}, each within {took[-1]:.2f} s, half within"
            f" {statistics.median(took):.2f} s; {lost} Pings lost and sent again",
            "all",
            holds=not failed,
            talk=talk,
            lost=lost,
            failed=failed[:10],
            slowest_s=took[-10:],
        )

    # Traffic.

    async def _begin_traffic(self, homes: Iterable[int] = range(SERVERS)) -> None:
        """Lines of each kind: within each server, and between all of them."""
        homes = list(homes)
        pairs: list[tuple[str, str, str]] = []
        for number in range(self.options.lines):
            home = homes[number % len(homes)]
            at = self.relayed(home)
            pairs.append((f"local{home}", at[2 * number % len(at)], at[(2 * number + 1) % len(at)]))
            other = self.relayed((home + 1) % SERVERS)
            to = (home + 1) % SERVERS
            ends = at[-1 - number % len(at)], other[-1 - number % len(other)]
            pairs.append((f"cross{home}{to}", *(ends if number % 2 else reversed(ends))))
        of: dict[CrowdProcess, list[list[str]]] = {}
        for kind, one, other_name in pairs:
            of.setdefault(self.crowd_of[one], []).append([kind, one, self.ids[other_name]])
        met = await asyncio.gather(
            *(crowd.do("talk", [line[1:] for line in lines], TALK_S) for crowd, lines in of.items())
        )
        if failed := [why for answer in met for why, *_ in answer if why]:
            self.say(f"  do not meet: {failed}")
        for crowd, lines in of.items():
            await crowd.do("traffic", lines, TRAFFIC_PAUSE_S)

    async def _end_traffic(self) -> "Traffic":
        told = await asyncio.gather(*(crowd.do("stop", 60.0) for crowd in self.crowds))
        await asyncio.sleep(0.5)
        sent = [Sent(*one) for answer in told for one in answer["sent"]]
        came: Counter[tuple[str, str, int]] = Counter()
        for arrived in await asyncio.gather(*(crowd.do("arrived") for crowd in self.crowds)):
            for to, source, number, count in arrived:
                came[to, source, number] += count
        still_open = sum(answer["open"] for answer in told)
        return Traffic(sent, came, self._names, still_open)

    # What goes wrong.

    async def kill_broker(self) -> None:
        """Kill the broker again and again under traffic."""
        await self._begin_traffic()
        await asyncio.sleep(self.options.calm)
        calm, rough, backs = list[tuple[float, float]](), list[tuple[float, float]](), list[float]()
        for _ in range(self.options.kills):
            began = time.monotonic()
            self.broker.kill()
            await asyncio.sleep(self.rng.uniform(0.2, 2.0))
            self.broker.start()
            backs.append(time.monotonic())
            await asyncio.sleep(self.options.watched)
            rough.append((began, time.monotonic()))
            began = time.monotonic()
            await asyncio.sleep(self.options.calm)
            calm.append((began, time.monotonic()))
        traffic = await self._end_traffic()
        back_s = [traffic.back_s("cross", back) for back in backs]
        self.note(
            "broker killed: messages between servers again",
            f"{_within(back_s)}, of {len(backs)} kills",
            f"{BACK_S:.0f} s",
            holds=max(back_s, default=0) <= BACK_S,
            back_s=back_s,
        )
        hurt, unhurt = (traffic.latency_s("local", spans) for spans in (rough, calm))
        self.note(
            "broker killed: latency within a server",
            f"{hurt * 1e3:.2f} ms, otherwise {unhurt * 1e3:.2f} ms: x {hurt / unhurt:.2f}",
            "x 1.1",
            holds=hurt <= 1.1 * unhurt,
            ratio=hurt / unhurt,
        )
        self._note_fate("broker killed", traffic, local="local")

    def _note_fate(self, name: str, traffic: "Traffic", local: str = "") -> None:
        fate = traffic.fate()
        if local:
            failed = [one for one in traffic.of(local) if one.status != "delivered"]
            self.note(
                f"{name}: messages within a server that were not delivered",
                f"{len(failed)} of {len(traffic.of(local))}",
                "none",
                holds=not failed,
                reasons=dict(Counter(one.reason for one in failed).most_common(5)),
            )
        self.note(
            f"{name}: messages lost and nobody told, twice",
            f"{fate['lost']}, {fate['twice']} of {fate['sent']}"
            f" ({fate['told']} not delivered and told)",
            "none",
            holds=not fate["lost"] and not fate["twice"] and not fate["open"],
            **fate,
        )

    async def kill_servers(self) -> None:
        """Kill one server after the other, and look for its peers."""
        took: list[float] = []
        # Nodes go back to it for some seconds: who holds them differs while they do.
        lists: list[float | None] = []
        truths: list[float | None] = []
        missing = 0
        for number in range(self.options.server_kills):
            home = number % SERVERS
            await self.watch.look(set(self.ids.values()))
            # Whoever is there now, whatever it has joined; looked for by one that is elsewhere.
            mine = [self._names[node_id] for node_id in self._held_by(home)]
            victims = self.rng.sample(mine, min(self.options.probed, len(mine)))
            relayed = [name for other in range(SERVERS) for name in self.relayed(other)]
            safe = {self._names[node_id] for node_id in self._held_by((home + 2) % SERVERS)}
            prober = self.rng.choice([name for name in relayed if name in safe] or relayed)
            crowd = self.crowd_of[prober]
            ids = [self.ids[name] for name in victims]
            before = await crowd.do("reach", prober, ids, LIMIT_S)
            if len(before) < len(ids):
                self.say(f"  before: {len(before)} of {len(ids)} are reached")
            self.servers[home].kill()
            began = time.monotonic()
            reached = await crowd.do("reach", prober, ids, LIMIT_S)
            took += [when - began for when in reached.values()]
            missing += len(ids) - len(reached)
            self.say(f"  {home + 1} killed: {_within([when - began for when in reached.values()])}")
            for name in (self._names[node_id] for node_id in set(ids) - reached.keys()):
                self.say(f"    not {name}: {await self.crowd_of[name].do('tell', name)}")
            if len(reached) < len(ids):
                self.say(f"    from {prober}: {await crowd.do('tell', prober)}")
            await asyncio.sleep(1)
            self.servers[home].start()
            if not await until(self.watch.views[home].look, LIMIT_S):
                self.say("  a server does not come back")
            truths.append(await self._one_truth(LIMIT_S))
            lists.append(self.listed_s)
            await rest(self.options.calm + REST_S / 3)
        late = sum(one > BACK_S for one in took)
        known = [truth for truth in lists if truth is not None]
        self.note(
            "server killed: its peers served by another",
            f"{_within(took)}, of {len(took)} after {len(truths)} kills; {late} later than"
            f" {BACK_S:.0f} s, {missing} not within {LIMIT_S:.0f} s; all nodes in all lists"
            f" {max(known, default=0):.2f} s at most after it is up again,"
            f" {len(lists) - len(known)} times not",
            f"{BACK_S:.0f} s",
            holds=bool(took) and not missing and max(took) <= BACK_S and len(known) == len(lists),
            took_s=sorted(took),
            listed_s=lists,
            truth_s=truths,
        )

    def _held_by(self, home: int) -> list[str]:
        """Ids of the nodes that a server holds, as it was last looked."""
        return self.watch.held_by(self.watch.views[home].server_id)

    def _note_truth(self, name: str, truths: list[float | None]) -> None:
        known = [truth for truth in truths if truth is not None]
        self.note(
            f"{name}: one truth about all nodes in all servers again",
            f"after {max(known, default=0):.2f} s at most, of {len(truths)} times;"
            f" {len(truths) - len(known)} not within {LIMIT_S:.0f} s",
            f"{BACK_S:.0f} s",
            holds=len(known) == len(truths) and max(known, default=0) <= BACK_S,
            truth_s=truths,
        )

    async def cut_off(self) -> None:
        """Cut one server off from the broker."""
        backs: list[float] = []
        truths: list[float | None] = []
        await self._begin_traffic()
        await asyncio.sleep(self.options.calm)
        for number in range(self.options.cuts):
            way = self.ways[number % SERVERS]
            if number % 2:
                way.end()
            else:
                way.silence()
            await asyncio.sleep(self.options.cut)
            way.mend()
            backs.append(time.monotonic())
            truths.append(await self._one_truth(LIMIT_S, backs[-1]))
            await asyncio.sleep(max(0.0, BACK_S - (time.monotonic() - backs[-1])))
        traffic = await self._end_traffic()
        back_s = [traffic.back_s("cross", back) for back in backs]
        self.note(
            f"cut off for {self.options.cut:.0f} s: messages between servers again",
            f"after {max(back_s, default=0):.2f} s at most, of {len(backs)} cuts",
            f"{BACK_S:.0f} s",
            holds=max(back_s, default=0) <= BACK_S,
            back_s=back_s,
        )
        self._note_truth(f"cut off for {self.options.cut:.0f} s", truths)
        self._note_fate("cut off", traffic, local="local")

    # What it costs.

    async def cost(self) -> None:
        """Latency between servers against that within one, and what the broker hears."""
        await self._begin_traffic()
        await asyncio.sleep(2)
        began = time.monotonic()
        await asyncio.sleep(self.options.quiet)
        took_s = time.monotonic() - began
        spans = [(began, time.monotonic())]
        traffic = await self._end_traffic()
        local, cross = (traffic.latency_s(kind, spans) for kind in ("local", "cross"))
        self.note(
            "latency between servers, against within one",
            f"{cross * 1e3:.2f} ms, {local * 1e3:.2f} ms: x {cross / local:.2f}",
            "x 3",
            holds=cross <= 3 * local,
            ratio=cross / local,
        )
        await asyncio.sleep(1)
        began = time.monotonic()
        before = self._broker_counts()
        await asyncio.sleep(self.options.quiet)
        took_s = time.monotonic() - began
        after = self._broker_counts()
        per = 60 / took_s / self.options.nodes
        puts, bytes_in, bytes_out = (
            (new - old) * per for old, new in zip(before, after, strict=True)
        )
        self.note(
            "presence, a node a minute",
            f"{puts:.2f} entries, {bytes_in:.0f} bytes to the broker, {bytes_out:.0f} from it",
            "2 entries, some more at first",
            holds=puts < 4.5,
            puts=puts,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
        )

    def _broker_counts(self) -> tuple[int, int, int]:
        told, server = counted(self.broker, "jsz?streams=true"), counted(self.broker, "varz")
        streams = told["account_details"][0]["stream_detail"]
        last = sum(stream["state"]["last_seq"] for stream in streams)
        return last, server["in_bytes"], server["out_bytes"]


def _within(seconds: list[float]) -> str:
    most, middle = max(seconds, default=0.0), statistics.median(seconds or [0.0])
    return f"after {most:.2f} s at most, {middle:.2f} s in the middle"


@dataclass(frozen=True)
class Sent:
    """What became of one message."""

    kind: str
    source: str
    target: str
    number: int
    began: float
    ended: float
    status: str
    reason: str


class Traffic:
    """What became of all messages."""

    def __init__(
        self,
        sent: list[Sent],
        came: "Counter[tuple[str, str, int]]",
        names: dict[str, str],
        still_open: int,
    ) -> None:
        self.sent, self._came, self._names, self._open = sent, came, names, still_open

    def of(self, kind: str) -> list[Sent]:
        """Those of lines of a kind."""
        return [one for one in self.sent if one.kind.startswith(kind)]

    def latency_s(self, kind: str, spans: list[tuple[float, float]]) -> float:
        """Of what was delivered at once, in the middle."""
        took = [
            one.ended - one.began
            for one in self.of(kind)
            if one.status == "delivered" and any(a <= one.began < b for a, b in spans)
        ]
        return statistics.median(took) if took else float("nan")

    def back_s(self, kind: str, back: float) -> float:
        """Until each line has delivered what was sent after a time."""
        lines: dict[tuple[str, str], float] = {}
        for one in self.of(kind):
            line = one.source, one.target
            lines.setdefault(line, float("inf"))
            if one.status == "delivered" and one.ended >= back:
                lines[line] = min(lines[line], one.ended - back)
        return max(lines.values(), default=float("inf"))

    def fate(self) -> dict[str, Any]:
        """How many were delivered as they say, and how many not."""
        delivered = [one for one in self.sent if one.status == "delivered"]
        lost = [
            one
            for one in delivered
            if not self._came[self._names[one.target], one.source, one.number]
        ]
        told = [one for one in self.sent if one.status == "told"]
        return {
            "sent": len(self.sent),
            "delivered": len(delivered),
            "told": len(told),
            "lost": len(lost),
            "twice": sum(count > 1 for count in self._came.values()),
            "open": self._open,
            "unconfirmed": len(self.sent) - len(delivered) - len(told),
            "reasons": dict(Counter(one.reason for one in told).most_common(6)),
        }
