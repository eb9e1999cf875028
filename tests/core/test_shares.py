"""No table that strangers or peers fill is made without shares, and a share is what it says."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import p2ptui
from p2ptui.bounded import BoundedTable, Shares, owners_at
from p2ptui.core.tables import Tables

CORE = Path(p2ptui.__file__).parent / "core"

OWN = "what this node does, chose or asked for by itself; nobody else fills it"
EACH_PEER = "an entry, or a fixed number of them, for each peer: the peers are shared"
EACH_ATTEMPT = "one for each search of a path: the searches are shared"
ONE_PEER = "it is one peer's, or one node's, alone"
OWN_SERVER = "filled by servers that this node chose; one of them may be its only one"

CLUSTER = "filled by the servers of the network, who share out their own tables"

EXEMPT = {
    "Claims._asked": EACH_PEER,
    "Claims._doubts": EACH_PEER,
    "Beacons._latest": CLUSTER,
    "Deletions._taken": CLUSTER,
    "Others._runs": CLUSTER,
    "Others._unheard": CLUSTER,
    "OwnPresence._due": EACH_PEER,
    "OwnPresence._mine": EACH_PEER,
    "OwnPresence._yielded": EACH_PEER,
    "Statements._latest": EACH_PEER,
    "Statements._former": CLUSTER,
    "Tellings._waiting": CLUSTER,
    "UnprovedElsewhere._runs": CLUSTER,
    "View._entries": CLUSTER,
    "View._in_use": CLUSTER,
    "View._odd": CLUSTER,
    "Passing._entries": CLUSTER,
    "View._unverified": CLUSTER,
    "RouteTable._announced": "what is forgotten is kept by each route, and its bytes are counted",
    "_Settled.refused": "those who claim one id; who is forgotten is looked at anew",
    "_Account.shares": EACH_PEER,
    "_Query.pages": ONE_PEER,
    "Aliases._known": EACH_PEER,
    "Answering._by_request": "an index of `Answering._pending`, which is shared",
    "DirectPaths._asked": OWN,
    "DirectPaths._consents": ONE_PEER,
    "Discovery._changes": EACH_PEER,
    "Discovery._told": EACH_PEER,
    "Displacing._asked": EACH_PEER,
    "EarlyChecks._checks": ONE_PEER,
    "EndToEnd._delivered": "behind `Seen._marks`, which is shared",
    "FarAsking._asking": OWN,
    "FarAnswering._by_request": "an index of `FarAnswering._answered`, which is shared",
    "FarAnswering._rates": EACH_PEER,
    "Keepalives._bindings": OWN,
    "Keepalives._late": EACH_PEER,
    "Keepalives._lives": OWN,
    "Keepalives._seen_at": OWN,
    "Load._rates": "an entry for each address that has shown that it is there",
    "Membership._probes": EACH_PEER,
    "Membership._questions": OWN,
    "Naming._asked_at": OWN,
    "Neighbours._probe_ids": OWN,
    "Neighbours._probed": OWN,
    "Neighbours._shunned": OWN,
    "Offers._by_ufrag": EACH_ATTEMPT,
    "OwnMoves._told": OWN,
    "PathMtu._sent": ONE_PEER,
    "PeerTable._by_id": EACH_PEER,
    "PeerTable._initiated": OWN,
    "Queries._queries": OWN,
    "Races._losers": OWN,
    "Readers._promised": EACH_PEER,
    "Readers._waiting": EACH_PEER,
    "Reasons._found_at": EACH_ATTEMPT,
    "Reassembly._completed": ONE_PEER,
    "Reassembly._partial": ONE_PEER,
    "Relayed._owners": OWN_SERVER,
    "RelayControl._accounts": EACH_PEER,
    "RelayControl._departed": "it remembers as many as there may be peers, who are shared",
    "RelayFrames._unsettled": OWN_SERVER,
    "RelayFrames._ways": OWN_SERVER,
    "Beside._asked": EACH_PEER,
    "Confirming._open": OWN,
    "Rekeying._answered": EACH_PEER,
    "Rekeying._begun": EACH_PEER,
    "Rekeying._looks": EACH_PEER,
    "Resumptions._asked": OWN,
    "Roaming._moves": EACH_PEER,
    "Seals._by_number": EACH_PEER,
    "Securing._open": EACH_PEER,
    "Seals._departed": "peers that have shown their keys and are gone; they come back without it",
    "SecondAcks._expected": ONE_PEER,
    "ServerWatch._looks": OWN,
    "Slowness._servers": OWN,
    "Takeover._settled": EACH_PEER,
    "Unheard._doubts": EACH_PEER,
    "Watching._due": OWN,
    "Way.asked": ONE_PEER,
    "WayChecks.servers": OWN,
    "WayChecks.sessions": EACH_PEER,
}
"""Why these need none."""


def tables_in(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """`Class.attribute` of each table that is made, or `Class.method`; whether it has shares."""
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        for statement in ast.walk(owner):
            match statement:
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    name = getattr(target, "attr", "") or getattr(target, "id", "")
                case ast.Assign(targets=[target, *_], value=value):
                    name = getattr(target, "attr", "") or getattr(target, "id", "")
                case ast.FunctionDef(body=[*_, ast.Return(value=ast.expr() as value)]):
                    name = statement.name
                case _:
                    continue
            for call in ast.walk(value):
                if isinstance(call, ast.Call) and "BoundedTable" in ast.unparse(call.func):
                    yield f"{owner.name}.{name}", any(k.arg == "shares" for k in call.keywords)


def test_every_table_that_others_fill_is_shared() -> None:
    found = dict[str, bool]()
    calls = 0
    for path in sorted(CORE.rglob("*.py")):
        text = path.read_text("utf-8")
        found |= dict(tables_in(ast.parse(text)))
        calls += sum(
            isinstance(node, ast.Call) and ast.unparse(node.func).startswith("BoundedTable")
            for node in ast.walk(ast.parse(text))
        )
    unshared = {name for name, has_shares in found.items() if not has_shares}
    assert unshared - EXEMPT.keys() == set(), "give it `shares`, or say why nobody shares it"
    assert EXEMPT.keys() - unshared == set(), "these are gone, or shared now"
    assert len(found) == calls, "one is made where this test does not see it"


def test_a_planted_table_without_shares_is_found() -> None:
    source = """
class Careless:
    def __init__(self, state):
        self._seen = state.tables.add("seen", BoundedTable[str, int](MAX_SEEN, full="full"))
        self._fair = BoundedTable(MAX_SEEN, shares=state.tables.shares)
    def more(self):
        return BoundedTable(MAX_SEEN)
"""
    assert dict(tables_in(ast.parse(source))) == {
        "Careless._seen": False, "Careless._fair": True, "Careless.more": False,
    }  # fmt: skip


def test_a_shared_table_is_told_whose_an_entry_is() -> None:
    table = BoundedTable[str, int](100, shares=Shares())
    with pytest.raises(TypeError, match="whose"):
        table.put("a", 1)
    assert table.put("a", 1, address=None), "this node's own"


def test_a_table_that_refuses_keeps_to_the_shares() -> None:
    drops = list[str]()
    table = BoundedTable[int, None](
        100, shares=Shares(), refuses=True, full="full", count=drops.append
    )
    mine = sum(table.put(n, None, address=("192.0.2.1", n)) for n in range(100))
    near = sum(table.put(100 + n, None, address=(f"192.0.2.{n + 2}", 1)) for n in range(100))
    own = sum(table.put(1000 + n, None, address=None) for n in range(100))
    assert (mine, near, own) == (50, 25, 25)
    assert set(drops) == {"full"}
    del table[0]
    assert table.put(0, None, address=("192.0.2.1", 1))


def test_one_that_forgets_takes_what_it_has_room_for_and_then_keeps_to_the_shares() -> None:
    table = BoundedTable[int, None](20, shares=Shares())
    greedy, modest = ("192.0.2.1", 1), ("198.51.100.1", 1)
    table.put(100, None, address=modest)
    for n in range(19):
        assert table.put(n, None, address=greedy, proved=n != 7)
    assert table.put(19, None, address=greedy)
    assert 7 not in table, "its own, the unproved first"
    for n in range(9):
        assert table.put(101 + n, None, address=modest)
    assert 100 in table, "who holds more than half makes room, however old others are"
    assert sum(n < 100 for n in table) == 10
    assert table.put(20, None, address=greedy)
    assert sum(n < 100 for n in table) == 10
    assert not table.put(21, None, address=greedy, proved=False), "they take no place of proved"


def test_bytes_have_shares_as_well_but_one_message_always_fits() -> None:
    table = BoundedTable[int, None](100, limit_bytes=1000, shares=Shares(), refuses=True)
    host = ("192.0.2.1", 1)
    assert table.put(1, None, address=host, size_bytes=900)
    assert not table.put(2, None, address=host, size_bytes=10)
    del table[1]
    assert table.put(1, None, address=host, size_bytes=250)
    assert table.put(2, None, address=host, size_bytes=250)
    assert not table.put(3, None, address=host, size_bytes=1)
    assert table.put(4, None, address=("192.0.2.2", 1), size_bytes=250)
    assert not table.put(5, None, address=("192.0.2.3", 1), size_bytes=1), "the prefix has its part"
    assert table.put(5, None, address=("198.51.100.1", 1), size_bytes=250)
    table.clear()
    assert table.put(1, None, address=host, size_bytes=500)


def test_a_small_table_keeps_nobody_out() -> None:
    table = BoundedTable[int, None](5, shares=Shares(), refuses=True)
    assert all(table.put(n, None, address=("192.0.2.1", n)) for n in range(5))


def test_the_options_are_read_each_time() -> None:
    part = [0.5]
    tables = Tables(lambda _: None, Shares(lambda: part[0], lambda: 1.0))
    table = BoundedTable[int, None](100, shares=tables.shares, refuses=True)
    assert sum(table.put(n, None, address=("192.0.2.1", n)) for n in range(100)) == 50
    part[0] = 0.6
    assert sum(table.put(n + 100, None, address=("192.0.2.1", n)) for n in range(100)) == 10


@pytest.mark.parametrize(
    ("one", "other", "address", "prefix"),
    [
        ("192.0.2.1", "192.0.2.1", True, True),
        ("192.0.2.1", "192.0.2.2", False, True),
        ("192.0.2.1", "192.0.3.1", False, False),
        ("::ffff:192.0.2.1", "192.0.2.1", True, True),
        ("64:ff9b::192.0.2.1", "192.0.2.1", True, True),
        ("64:ff9b::192.0.2.1", "64:ff9b::198.51.100.1", False, False),
        ("2001:db8:1:1::1", "2001:db8:1:1:ffff::1", True, True),
        ("2001:db8:1:1::1", "2001:db8:1:2::1", False, True),
        ("2001:db8:1:1::1", "2001:db8:2:1::1", False, False),
        ("name@192.0.2.1", "name@192.0.2.1", True, False),
        ("name@192.0.2.1", "192.0.2.1", False, False),
        ("10.0.0.1", "10.0.0.1", True, False),
        ("10.0.0.1", "10.0.0.2", False, False),
        ("192.168.1.1", "192.168.1.2", False, False),
        ("fe80::1%eth0", "fe80::2%eth0", False, False),
        ("fd00::1", "fd00::2", False, False),
        ("127.0.0.1", "127.0.0.1", False, False),
        ("::1", "::1", False, False),
        ("::ffff:127.0.0.1", "127.0.0.1", False, False),
    ],
)
def test_whose_share_it_is(one: str, other: str, address: bool, prefix: bool) -> None:
    (a, p), (b, q) = owners_at(one), owners_at(other)
    assert (a is not None and a == b) is address
    assert (p is not None and p == q) is prefix


HOSTS = ["192.0.2.1", "192.0.2.2", "192.0.3.1", "10.0.0.1", "127.0.0.1", "2001:db8::1"]
ENTRY = st.tuples(
    st.integers(0, 30), st.sampled_from(HOSTS), st.integers(0, 40), st.booleans(), st.booleans()
)


@given(
    st.lists(st.tuples(st.sampled_from(["put", "put", "put", "pop", "prove", "clear"]), ENTRY)),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_nobody_ever_holds_more_than_a_share(
    steps: list[tuple[str, tuple[int, str, int, bool, bool]]], refuses: bool
) -> None:
    table = BoundedTable[int, tuple[str, int]](
        20, limit_bytes=400, shares=Shares(), refuses=refuses
    )
    for what, (key, host, size, proved, is_own) in steps:
        if what == "put":
            address = None if is_own else (host, 1)
            value = ("" if is_own else host, size)
            before = dict(table.items())
            if table.put(key, value, address=address, size_bytes=size, proved=proved):
                assert table[key] == value
            elif refuses:
                assert dict(table.items()) == {k: v for k, v in before.items() if k != key}
        elif what == "pop":
            table.pop(key)
        elif what == "prove":
            table.prove(key)
        elif what == "clear":
            table.clear()
        assert len(table) <= 20
        assert table.used_bytes <= 400
        for whose, part in ((0, 0.5), (1, 0.75)):
            held, sizes = Counter[object](), Counter[object]()
            for value in table.values():
                owner = owners_at(value[0])[whose] if value[0] else None
                if owner is not None:
                    held[owner] += 1
                    sizes[owner] += value[1]
            if refuses:
                assert all(count <= part * 20 for count in held.values())
                assert all(size <= part * 400 for size in sizes.values())
