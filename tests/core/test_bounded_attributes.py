"""Whatever grows in core/, nat/, node/ and io/ has a limit by its type, or a reason for none."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_limits import MEMORIES

PACKAGE = Path(__file__).parents[2] / "p2ptui"
MADE_OF_SOMETHING = ast.DictComp | ast.ListComp | ast.SetComp
GROWING = {"dict", "OrderedDict", "Counter", "defaultdict", "set", "list", "deque"}


def is_growing(value: ast.expr | None) -> bool:
    """Whether an expression makes something empty that can grow without a limit."""
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.DictComp() | ast.ListComp() | ast.SetComp():
            return True
        case ast.Call(func=func, keywords=keywords) if name_of(func) == "field":
            makers = {keyword.arg: keyword.value for keyword in keywords}
            maker = makers.get("default_factory")
            if isinstance(maker, ast.Lambda):
                return is_growing(maker.body)
            return maker is not None and name_of(maker) in GROWING
        case ast.Call(func=func, args=args):
            # `deque(maxlen=...)` has a limit; what is made of something is as large as that.
            name = name_of(func)
            has_limit = any(keyword.arg == "maxlen" for keyword in value.keywords)
            is_filled = bool(args) and name != "defaultdict" and not is_empty(args[0])
            return name in GROWING and not is_filled and not has_limit
        case ast.BoolOp(values=values):
            return any(is_growing(each) for each in values)
        case ast.IfExp(body=body, orelse=orelse):
            return is_growing(body) or is_growing(orelse)
    return False


def name_of(maker: ast.expr) -> str:
    """The last name of what makes something: `collections.deque[int]` is a `deque`."""
    if isinstance(maker, ast.Subscript):
        return name_of(maker.value)
    return getattr(maker, "attr", "") or getattr(maker, "id", "")


def is_empty(value: ast.expr) -> bool:
    """Whether an expression holds nothing, so that what is made of it begins empty."""
    return (isinstance(value, ast.List | ast.Tuple) and not value.elts) or is_growing(value)


def attributes(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """`Class.attribute` and what it is made of, in whichever method, or as a field of a dataclass;
    and likewise the names of the module itself."""
    for statement in tree.body:
        for target, value in assigned(statement):
            if isinstance(target, ast.Name) and not isinstance(value, MADE_OF_SOMETHING):
                yield target.id, value
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        methods = [each for each in owner.body if not isinstance(each, ast.ClassDef)]
        for statement in (each for method in methods for each in ast.walk(method)):
            for target, value in assigned(statement):
                if isinstance(target, ast.Attribute) and name_of(target.value) in ("self", "cls"):
                    yield f"{owner.name}.{target.attr}", value
                elif isinstance(target, ast.Name) and statement in owner.body:
                    yield f"{owner.name}.{target.id}", value


def assigned(statement: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """What a statement assigns to what: each of several by itself."""
    if isinstance(statement, ast.AnnAssign):
        yield statement.target, statement.value
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from pairs(target, statement.value)


def pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its_value in zip(target.elts, value.elts, strict=False):
            yield from pairs(one, its_value)
    else:
        yield target, value


def unbounded(source: str) -> set[str]:
    """The attributes in a module that can grow, but for lists of listeners, which parts fill."""
    return {
        name
        for name, value in attributes(ast.parse(source))
        if is_growing(value) and not name.rpartition(".")[2].startswith("on_")
    }


def tables_in(tree: ast.Module) -> Iterator[ast.Call]:
    """Where a table or a queue is made."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            made = call.func.value if isinstance(call.func, ast.Subscript) else call.func
            if name_of(made) in ("BoundedTable", "BoundedQueue"):
                yield call


def silent(source: str) -> set[str]:
    """What limits the tables that forget without a word: constants, options, and others' limits."""
    return {
        getattr(part, "id", "") or getattr(part, "attr", "")
        for call in tables_in(ast.parse(source))
        if not {keyword.arg for keyword in call.keywords} & {"full", "refuses", "on_evicted"}
        and getattr(call.func, "id", "") != "BoundedQueue"
        for part in ast.walk(call.args[0])
        if isinstance(part, ast.Name | ast.Attribute)
    } - PARTS_OF_LIMITS


def unnamed(source: str) -> list[int]:
    """Lines where a table is made whose limit is a bare number: it stands in no list of limits."""
    return [
        call.lineno
        for call in tables_in(ast.parse(source))
        if not any(isinstance(part, ast.Name | ast.Attribute) for part in ast.walk(call.args[0]))
    ]


def uncounted(source: str) -> list[int]:
    """Lines where a table is made that names a count, and that nobody gives what counts."""
    tree = ast.parse(source)
    added = {
        id(argument)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add"
        for argument in call.args
    }
    lines = []
    for call in tables_in(tree):
        named = {keyword.arg for keyword in call.keywords}
        is_counted = "count" in named or id(call) in added
        if named & {"full", "expired"} and not is_counted:
            lines.append(call.lineno)
    return lines


PARTS_OF_LIMITS = {"state", "config", "self", "server", "max", "max_connections"}

AS_MANY_AS_OTHERS = {
    "most_peers",  # what is known of each peer
    "limit",  # the indexes of the peer table
    "MAX_ATTEMPTS",  # what is known of each attempt
    "budget",  # a round may be told to send more checks than are usual
    "checks",
    "MAX_EARLY",  # its table chooses itself who goes, and tells its caller
    "MAX_LEARNT",  # who is forgotten loses nothing but a few checks
}

OWN_CALLS = "what this node was asked to do by its user, or to send; its own queues are bounded"
NAMED_IN_CODE = "as many as are named in the code"
OWN_MACHINE = "this machine's own addresses, sockets and options"
ONE_OFFER = "addresses of offers, each with at most MAX_CANDIDATES, in at most MAX_LIMITED_ROUNDS"
SIMULATED = "a network inside of one process, for tests and examples"
HOT = "a bounded type of its own, in the path of each message"
HERE = "its limit is kept where it is filled, in one place, and tested there"

EXEMPT = {
    "SmallHttp._clients": HERE,  # MAX_CLIENTS
    "SmallHttp._told": HERE,  # pages, and the errors that they can raise
    "Cluster._orders": HERE,  # MAX_ORDERS and MAX_ORDERED_BYTES
    "ClusterService._told": "one for each server, of which there are at most MAX_RUNS",
    "MemoryBroker._buses": SIMULATED,
    "MemoryBroker._steps": SIMULATED,
    "MemoryBroker._table": SIMULATED,
    "Others._told_at": NAMED_IN_CODE,
    "Guests._left": "the peers of one telling",
    "News._nameless": "of what one update tells",
    "Taken._taken": "of one list or update: no more than its claims",
    "Taken._wanted": "of one list or update: no more than its claims",
    "Run.node_ids": "an index of `View._entries`",
    "Link._due": HERE,  # MAX_QUEUED_BYTES
    "Link._under_way": HERE,  # MAX_PUTS
    "_Doubt.runs": "one for each server, of which there are at most MAX_RUNS",
    "Newcomer.timers": "one for each of its steps, which are four",
    "Accounts._accounts": NAMED_IN_CODE,
    "Counters.grants": NAMED_IN_CODE,
    "Counters.connects": NAMED_IN_CODE,
    "Counters.refusals": NAMED_IN_CODE,
    "Counters.rounds": NAMED_IN_CODE,
    "Counters.paths_won": NAMED_IN_CODE,
    "Counters.predictions": NAMED_IN_CODE,
    "EndToEnd.takers": NAMED_IN_CODE,
    "Exchange.claimed_since": ONE_OFFER,
    "Exchange.tried": ONE_OFFER,
    "Gate._grants": NAMED_IN_CODE,  # a table for each reason
    "Gate.detours": "one for each relayed node, and for each socket that this node opened",
    "Gate.outgoing": HERE,  # MAX_OUTGOING
    "Gathered.wanted": OWN_CALLS,
    "Asking.contestants": OWN_CALLS,
    "Clockwork.sockets": SIMULATED,
    "Connector.met_over_ipv4": "the one partner that the options name",
    "Control._beside_tests": OWN_CALLS,
    "Control._fresh": OWN_CALLS,
    "Control._tracks": OWN_CALLS,
    "DependencyFinder._found_at": OWN_CALLS,
    "Driven._calls": OWN_CALLS,
    "FairInbox._queues": HERE,  # MAX_DEBTORS, and the bytes of those with something
    "FairInbox._rings": NAMED_IN_CODE,  # one of each standing
    "FirstContact._clients": OWN_MACHINE,  # one for each version of IP
    "FirstContact._first_answer_at": OWN_MACHINE,
    "FirstContact._known": OWN_CALLS,  # cut to MAX_SERVERS
    "FirstContact._tasks": OWN_CALLS,
    "Ground.transactions": OWN_CALLS,
    "IdSource._left": NAMED_IN_CODE,  # _BATCH
    "Joining._ids": OWN_CALLS,
    "Joining._kept": OWN_CALLS,
    "Joining._tasks": OWN_CALLS,
    "Joining.found_at": OWN_CALLS,
    "KernelChoice.known": HERE,  # MAX_CHOICES
    "KnownNodesBook._under_way": OWN_CALLS,
    "KnownNodesStore._told": HERE,  # a line for each fault, and MAX_KEPT_BESIDE
    "KnownServer.contacts": OWN_CALLS,
    "MemoryNetwork._attached": SIMULATED,
    "MemoryNetwork._cuts": SIMULATED,
    "MemoryNetwork._in_flight": HERE,  # MAX_IN_FLIGHT
    "MemoryNetwork._links": SIMULATED,
    "MemorySocket._inbox": SIMULATED,
    "NatService.found_at": OWN_CALLS,
    "Moving._clients": HERE,  # MAX_FOLLOWED
    "NetworkMonitor._away": HERE,  # MAX_DESTINATIONS, looked up anew each time
    "NetworkMonitor._down": OWN_MACHINE,
    "NetworkMonitor._ways": HERE,  # MAX_DESTINATIONS, looked up anew each time
    "Partings._kept": OWN_CALLS,
    "Partings._wanted": OWN_CALLS,
    "BatchReader._earlier": HERE,  # MAX_SENDERS
    "BatchReader._senders": HERE,  # MAX_SENDERS
    "BatchReader.names": HERE,  # as many
    "BatchWriter._entries": HERE,  # CALL_ENTRIES
    "OfThread._kinds": NAMED_IN_CODE,
    "PktinfoStream._earlier": HERE,  # MAX_SOURCES
    "PktinfoStream._sources": HERE,  # MAX_SOURCES
    "NodesElsewhere._found": "SHOWN_ELSEWHERE of what the tables of the core hold",
    "Roster._others": "a copy of what the tables of the core hold, made anew each time",
    "Runtime._tasks": OWN_CALLS,
    "SendFailures._counts": NAMED_IN_CODE,  # the errors of the system
    "SocketPerAddress._members": OWN_MACHINE,
    "SocketPerAddress._readable": OWN_MACHINE,
    "Stats.grants": NAMED_IN_CODE,
    "Stats.connects": NAMED_IN_CODE,
    "Stats.refusals": NAMED_IN_CODE,
    "Stats.rounds": NAMED_IN_CODE,
    "Stats.paths_won": NAMED_IN_CODE,
    "Stats.predictions": NAMED_IN_CODE,
    "StunClient._waiting": OWN_CALLS,
    "StunServing.partner": "the addresses of the one partner that the options name",
    "Subscription._events": HERE,  # its limit, and the reader's room for Data
    "Subscription._awaited": "readers of this node's own user",
    "Subscriptions._awaited": "readers of this node's own user",
    "Subscriptions._references": "readers of this node's own user",
    "Track._asked": OWN_CALLS,
    "Transaction.sent_at_s": OWN_CALLS,
    "TraversalSupport._sockets": HERE,  # MAX_SOCKETS
    "UdpSocket._backlog": HERE,  # BACKLOG_DATAGRAMS
    "_Questions._asked": OWN_CALLS,
    "_Pool.by_size": HERE,  # the same queues as `FairInbox._queues`
    "_Queue.waiting": HERE,  # MAX_SOURCE_DATAGRAMS and MAX_SOURCE_BYTES
    "_Waiting._waiting": OWN_CALLS,
    "Attempt.unknown_at": "servers that this node joined",
    "Calls._waiting": "a bounded type of its own: calls beyond its limits are refused",
    "Counters.drops": NAMED_IN_CODE,
    "Crossings._asked": "peers that this node asks, which are in the peer table",
    "Deadlines._heap": OWN_CALLS,
    "DirectPaths._homes": "sockets that this node opened, at most MAX_SOCKETS",
    "Gaps._stretches": HOT,
    "Handshake._attempts": "peers that this node asks, which are in the peer table",
    "Lane._small": OWN_CALLS,
    "Lookups._names": HERE,  # MAX_LOOKUPS
    "_Name.looking": HERE,  # MAX_OF_A_NAME
    "_Writer.runs": HERE,  # MAX_RUNS
    "Learnt.traffic": "read from this machine's own file, at most MAX_ENTRIES",
    "Learnt.trust": "read from this machine's own file, at most MAX_ENTRIES",
    "Learnt.weights": "read from this machine's own file, at most MAX_ENTRIES",
    "MessageTable._types": NAMED_IN_CODE,
    "Mixture._models": NAMED_IN_CODE,
    "Mixture._priors": NAMED_IN_CODE,
    "Mixture._weights": NAMED_IN_CODE,
    "Neighbours._ports": OWN_MACHINE,
    "Neighbours._probes": OWN_MACHINE,  # cut to MAX_PROBES
    "NodeState._events": HERE,  # MAX_EVENTS, for all that may be left out
    "NodeState._watched": OWN_CALLS,
    "Offers.asking": "one for each attempt, of which there are at most MAX_ATTEMPTS",
    "Outbox._begun": OWN_CALLS,
    "Outbox._by_id": OWN_CALLS,
    "Outbox._by_sequence": OWN_CALLS,
    "Outbox._by_token": OWN_CALLS,
    "OutgoingTransfer._lost": OWN_CALLS,
    "OutgoingTransfer._sent_at": OWN_CALLS,
    "OwnNetworks._places": OWN_MACHINE,
    "Outlet._templates": NAMED_IN_CODE,
    "PeerTable._statuses": NAMED_IN_CODE,
    "Pings._pings": HERE,  # its limit, and MAX_WAITING_PINGS
    "PortPredictor._trust": NAMED_IN_CODE,
    "Punching._hosts": ONE_OFFER,
    "Punching._pairs": HERE,  # MAX_PAIRS
    "Race.asked": OWN_CALLS,
    "Race.errors": OWN_CALLS,
    "Race.running": OWN_CALLS,
    "Races._running": OWN_CALLS,
    "ReaderRoom._held": "each holds at least EVENT_OVERHEAD_BYTES of the reader's bytes",
    "Readers._rooms": "readers of this node's own user",
    "NO_METADATA": "never changed",
    "_NO_PINGS": "never changed",
    "RelayedSession.ways": "servers that this node joined",
    "ReliableSender._withdrawn": OWN_CALLS,
    "SenderParts._withdrawn": OWN_CALLS,
    "ResendBuffer._messages": OWN_CALLS,  # within its bytes
    "StunService._partner_places": OWN_MACHINE,
    "StunService._ports": OWN_MACHINE,
    "Abilities.partner": OWN_MACHINE,
    "Tables._gauges": NAMED_IN_CODE,
    "Timers._heap": "what is planned for an entry of a table, or for a peer",
    "Timers._moments": "what is planned for an entry of a table, or for a peer",
    "Timers._later": "as `Timers._moments`, into which it goes",
    "_Moment.planned": "what is planned for an entry of a table, or for a peer",
    "TransferQueue._under_way": OWN_CALLS,
    "TransferQueue._waiting": OWN_CALLS,
    "_Account.refused": NAMED_IN_CODE,
    "_Carried.hops": "peers that one own message goes to",
}
"""Why others cannot fill them, or not without a limit."""

FLOORS = ("core", "nat", "node", "io")
MODULES = [path for floor in FLOORS for path in sorted((PACKAGE / floor).rglob("*.py"))]


def test_whatever_others_can_fill_has_a_limit() -> None:
    found = {name for path in MODULES for name in unbounded(path.read_text("utf-8"))}
    assert found - EXEMPT.keys() == set(), "make it a BoundedTable, or say why nobody can fill it"
    assert EXEMPT.keys() - found == set(), "these are gone, or have a limit now"


def test_each_table_counts_what_it_gives_up() -> None:
    lines = {str(path): uncounted(path.read_text("utf-8")) for path in MODULES}
    assert {path: found for path, found in lines.items() if found} == {}


def test_each_limit_has_a_name() -> None:
    lines = {str(path): unnamed(path.read_text("utf-8")) for path in MODULES}
    assert {path: found for path, found in lines.items() if found} == {}


def test_only_memories_forget_in_silence() -> None:
    memories = {row[0].strip("`").rpartition(":")[2] for row in MEMORIES}
    for path in MODULES:
        assert silent(path.read_text("utf-8")) <= memories | AS_MANY_AS_OTHERS, path


@pytest.mark.parametrize(
    "planted",
    [
        "self._seen: dict[str, float] = {}",
        "self._seen = OrderedDict()",
        "self._seen: set[Address] = set()",
        "self._seen = []",
        "self._queue: deque[bytes] = deque()",
        "self._known = defaultdict[str, list[int]](list)",
        "self._counts = Counter[str]()",
        "self._first = self._second = {}",
        "self._first, self._second = {}, []",
        "self._seen = collections.deque()",
        "self._seen = deque([])",
        "self._seen = dict(())",
        "self._seen = known or {}",
        "self._seen = {} if known is None else known",
        "self._seen: set[str] = collections.OrderedDict[str, int]()",
    ],
)
def test_a_planted_map_without_a_limit_is_found(planted: str) -> None:
    for method in ("def __init__", "def reset", "async def open"):
        source = f"class Careless:\n    {method}(self) -> None:\n        {planted}\n"
        assert unbounded(source)
    assert unbounded(planted.replace("self.", ""))


@pytest.mark.parametrize(
    "planted",
    [
        "seen: dict[str, float] = field(default_factory=dict)",
        "seen: list[int] = field(default_factory=lambda: [])",
        "queue: deque[int] = field(default_factory=deque)",
        "seen: dict[str, int] = field(default_factory=dict[str, int])",
        "seen: dict[str, int] = dataclasses.field(default_factory=collections.OrderedDict)",
        "seen: ClassVar[dict[str, int]] = {}",
    ],
)
def test_a_planted_field_without_a_limit_is_found(planted: str) -> None:
    assert unbounded(f"@dataclass\nclass Careless:\n    {planted}\n") != set()


def test_what_has_a_limit_is_no_finding() -> None:
    source = """
class Careful:
    def __init__(self, state):
        self._last = deque(maxlen=8)
        self._seen: BoundedTable[str, int] = state.tables.add("seen", BoundedTable(8, full="full"))
        self._memory = BoundedTable(8)
        self.on_left = []
"""
    assert not unbounded(source)
    assert not uncounted(source)
    assert not unnamed("BoundedTable(MAX_CALLS)\nBoundedTable(lambda: 2 * self._most)")
    assert unnamed("BoundedTable(lambda: 10**9)\nBoundedQueue[int](10**9)") == [1, 2]
    assert silent("BoundedTable(MAX_CALLS)") == {"MAX_CALLS"}
    assert uncounted('self._seen = BoundedTable[str, int](8, full="full")')


# Bytes, not items: what holds datagrams, messages or events is bounded by what these take.

CONTENT = {"bytes", "bytearray", "Raw", "Envelope", "Event", "Datagram", "OutgoingMessage", "_Data"}
HOLDERS = {"_Waiting", "_Queue", "_Partial"}
"""Types of this package that hold such."""

KEYS = "its bytes are keys of a fixed length: transactions, nonces or tags"
BY_OPTIONS = "the sender's own, within the bytes that `reliability` gives to one peer"

COUNTED_OTHERWISE = {
    "Beacons._latest": KEYS,
    "Others._runs": "the bytes of one beacon each, of which the codec bounds all parts",
    "Others._unheard": "no beacon of any has come",
    "Statements._latest": KEYS,
    "Statements._former": KEYS,
    "CheckExchange._copies": KEYS,
    "DirectPaths._asked": KEYS,
    "DirectPaths._consents": KEYS,
    "FilterProbes._armed": KEYS,
    "IdSource._left": KEYS,
    "Keepalives._late": KEYS,
    "BatchReader._earlier": KEYS,
    "BatchReader._senders": KEYS,
    "BatchReader.names": KEYS,
    "BatchWriter._entries": "CALL_BYTES, and it is empty after each call",
    "PktinfoStream._earlier": KEYS,
    "PktinfoStream._sources": KEYS,
    "Punching._sent": KEYS,
    "StunClient._waiting": KEYS,
    "StunService._in_work": KEYS,
    "Lane._small": BY_OPTIONS,
    "Outbox._begun": BY_OPTIONS,
    "Outbox._by_id": BY_OPTIONS,
    "Outbox._by_sequence": BY_OPTIONS,
    "Outbox._by_token": BY_OPTIONS,
    "ResendBuffer._messages": BY_OPTIONS,
    "TransferQueue._under_way": BY_OPTIONS,
    "TransferQueue._waiting": BY_OPTIONS,
    "EarlyMessages._senders": "none is kept that is longer than MAX_BYTES",
    "FairInbox._queues": "MAX_PROVED_BYTES and MAX_UNPROVED_BYTES",
    "FairInbox._rings": "the same queues, in turn",
    "Gate.outgoing": "taken out by the driver after each slice of time",
    "MemorySocket._inbox": SIMULATED,
    "Requests._waiting": "none is longer than MAX_REQUEST_BYTES",
    "NodeState._events": "taken out by the driver after each slice of time",
    "Subscription._events": "reader_bytes, MAX_TRACED_BYTES and MAX_LISTED_BYTES",
    "Partings._wanted": "events of asyncio, which hold nothing",
    "UdpSocket._backlog": "BACKLOG_BYTES",
    "_Pool.by_size": "the same queues, by size",
    "_Queue.waiting": "MAX_SOURCE_BYTES",
}
"""What bounds the bytes of those without `limit_bytes`."""


def without_bytes(source: str) -> set[str]:
    """`Class.attribute` of each container of contents whose type counts no bytes itself."""
    found = set()
    for owner in ast.walk(ast.parse(source)):
        if not isinstance(owner, ast.ClassDef):
            continue
        for node in ast.walk(owner):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)):
                continue
            names = [name_of(part) for part in _without_callables(node.annotation)]
            kind, inner = "".join(names[:1]), names[1:]
            if kind in GROWING | {"BoundedTable", "BoundedQueue"} and (CONTENT | HOLDERS) & set(
                inner
            ):
                words = {each.arg for each in ast.walk(node.value or node) if hasattr(each, "arg")}
                if "limit_bytes" not in words:
                    found.add(f"{owner.name}.{node.target.attr}")
    return found


def _without_callables(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.Subscript):
        if name_of(annotation) not in ("Callable", "type"):
            yield annotation.value
            yield from _without_callables(annotation.slice)
    elif isinstance(annotation, ast.Tuple | ast.List):
        for part in annotation.elts:
            yield from _without_callables(part)
    elif isinstance(annotation, ast.BinOp):
        yield from _without_callables(annotation.left)
        yield from _without_callables(annotation.right)
    else:
        yield annotation


def test_whatever_holds_contents_is_bounded_by_their_bytes() -> None:
    found = {name for path in MODULES for name in without_bytes(path.read_text("utf-8"))}
    assert found - COUNTED_OTHERWISE.keys() == set(), "say limit_bytes, or what bounds the bytes"
    assert COUNTED_OTHERWISE.keys() - found == set(), "these are gone, or count bytes now"


def test_a_planted_queue_of_contents_without_bytes_is_found() -> None:
    planted = "class Careless:\n    def __init__(self) -> None:\n        self._kept: {} = {}\n"
    for kind, made in (
        ("deque[bytes]", "deque()"),
        ("BoundedQueue[tuple[Envelope, int]]", "BoundedQueue(MAX_KEPT)"),
        ("BoundedTable[Address, Event | None]", "BoundedTable(MAX_KEPT)"),
    ):
        assert without_bytes(planted.format(kind, made)) == {"Careless._kept"}
    bounded = planted.format("BoundedQueue[bytes]", "BoundedQueue(MAX, limit_bytes=MAX_BYTES)")
    assert without_bytes(bounded) == set()
