"""A table that others fill never outgrows its limit, and gives up what it may, in its order."""

import ast
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from p2ptui.bounded import LOOKED_AT, BoundedQueue, BoundedTable, Share, Shares, prefix_of
from p2ptui.bounded.recency import Recency
from p2ptui.core import cluster
from p2ptui.core.tables import Tables
from p2ptui.errors import LocalError


def counted() -> tuple[Tables, Counter[str]]:
    drops = Counter[str]()
    return Tables(lambda cause: drops.update([cause])), drops


def test_the_oldest_makes_room_and_is_counted() -> None:
    tables, drops = counted()
    table = tables.add("notes", BoundedTable[str, int](2, full="notes_full"))
    assert table.put("a", 1)
    assert table.put("b", 2)
    table.touch("a")
    assert table.put("c", 3)

    assert list(table.items()) == [("a", 1), ("c", 3)]
    assert drops == {"notes_full": 1}
    assert tables.sizes() == {"notes": 2}


def test_parts_that_know_how_full_they_are_are_asked_each_time() -> None:
    class Part:
        used = 3

        def sizes(self) -> dict[str, int]:
            return {"bytes": self.used, "waiting": 0}

    tables, _ = counted()
    part = Part()
    tables.add("notes", BoundedTable[str, int](2))
    tables.watch(part)
    part.used = 5
    assert tables.sizes() == {"notes": 0, "bytes": 5, "waiting": 0}


def test_a_memory_forgets_in_silence() -> None:
    tables, drops = counted()
    table = tables.add("seen", BoundedTable[int, None](3))
    for number in range(10):
        table.put(number, None)

    assert list(table) == [7, 8, 9]
    assert not drops


def test_a_full_table_may_refuse() -> None:
    tables, drops = counted()
    table = tables.add("calls", BoundedTable[str, int](1, full="calls_full", refuses=True))
    assert table.put("a", 1)
    assert not table.put("b", 2)
    assert table.put("a", 3), "it is in already"

    assert dict(table.items()) == {"a": 3}
    assert drops == {"calls_full": 1}
    with pytest.raises(LocalError, match="1 routed messages already wait; try again later"):
        table.require_room("routed messages already wait")


def test_what_is_entered_again_is_the_newest() -> None:
    table = BoundedTable[str, int](2)
    table.put("a", 1)
    table.put("b", 2)
    table.put("a", 3)
    table.replace("b", 4)
    assert list(table.items()) == [("b", 4), ("a", 3)]
    table.put("c", 5)
    assert list(table) == ["a", "c"]
    with pytest.raises(KeyError):
        table.replace("b", 6)
    with pytest.raises(KeyError):
        del table["b"]


def test_what_is_in_use_never_makes_room() -> None:
    tables, drops = counted()
    used = {1, 2}
    table = tables.add("t", BoundedTable[int, int](3, full="t_full", in_use=used.__contains__))
    for number in (1, 2, 3):
        table.put(number, number)
    assert table.put(4, 4)
    assert set(table) == {1, 2, 4}
    used.add(4)
    assert not table.put(5, 5)
    assert set(table) == {1, 2, 4}
    assert drops == {"t_full": 2}


def test_few_are_looked_at_however_many_are_in_use() -> None:
    looked: list[int] = []

    def in_use(value: int) -> bool:
        looked.append(value)
        return value >= 0

    table = BoundedTable[int, int](10_000, in_use=in_use)
    for number in range(9_999):
        table.put(number, number)
    table.put(-1, -1)
    assert not table.put(10_000, 10_000)
    assert len(looked) == LOOKED_AT

    # What was found in use is not met first again: the idle one is found in the end.
    tries = 1
    while not table.put(10_000, 10_000):
        tries += 1
    assert tries <= 10_000 / LOOKED_AT + 1
    assert -1 not in table


def test_the_unproved_make_room_first_and_take_nothing_from_the_proved() -> None:
    table = BoundedTable[str, int](3)
    table.put("proved", 1)
    table.put("forged", 2, proved=False)
    table.put("other", 3, proved=False)
    assert table.put("newcomer", 4)
    assert list(table) == ["proved", "other", "newcomer"]
    table.prove("other")
    assert table.oldest_unproved() is None
    assert not table.put("late", 5, proved=False)
    assert table.put("sure", 6)
    assert list(table) == ["other", "newcomer", "sure"]


def test_nothing_holds_longer_than_it_may() -> None:
    tables, drops = counted()
    gone: list[str] = []
    table = tables.add(
        "t",
        BoundedTable[str, int](
            10, lifetime_s=5.0, expired="t_late", on_evicted=lambda key, _: gone.append(key)
        ),
    )
    table.put("a", 1, 0.0)
    table.put("b", 2, 1.0)
    table.renew("a", 2.0)
    assert table.next_expiry() == 6.0
    table.expire(5.9)
    assert len(table) == 2
    table.put("c", 3, 6.0)
    assert list(table) == ["a", "c"]
    assert gone == ["b"]
    assert drops == {"t_late": 1}


def test_bytes_are_counted_as_well() -> None:
    tables, drops = counted()
    table = tables.add("t", BoundedTable[int, bytes](100, limit_bytes=10, full="t_full"))
    for number in range(4):
        assert table.put(number, b"", size_bytes=4)
    assert list(table) == [2, 3]
    assert table.used_bytes == 8
    assert not table.put(9, b"", size_bytes=11)
    assert list(table) == [2, 3], "what can find no room drives nobody out"
    del table[2]
    assert table.used_bytes == 4
    table.clear()
    assert (len(table), table.used_bytes) == (0, 0)
    assert drops == {"t_full": 3}


def test_one_peer_holds_no_more_than_its_share() -> None:
    tables, drops = counted()
    table = tables.add(
        "t",
        BoundedTable[int, str](
            100, full="t_full", peer_share=Share(2, full="t_of_one_full", makes_room=True)
        ),
    )
    for number in range(5):
        table.put(number, "", peers=("greedy",))
    table.put(7, "", peers=("modest",))
    assert list(table) == [3, 4, 7]
    assert table.of_peer("greedy") == (3, 4)
    assert table.held_by("nobody") == 0
    assert drops == {"t_of_one_full": 3}


def test_one_address_and_one_prefix_hold_no_more_than_a_part() -> None:
    tables, drops = counted()
    table = tables.add(
        "t",
        BoundedTable[int, str](
            100, full="t_full", address_share=Share(0.5), prefix_share=Share(0.75)
        ),
    )
    mine = sum(table.put(n, "", address=("192.0.2.1", n)) for n in range(100))
    others = sum(table.put(1000 + n, "", address=(f"192.0.2.{n + 2}", 1)) for n in range(100))
    assert (mine, others) == (50, 25)
    assert table.put(5000, "", address=("198.51.100.1", 1)), "there is room for others"
    assert drops == {"t_full": 125}
    for key in table.of_address("192.0.2.1"):
        del table[key]
    assert table.put(6000, "", address=("192.0.2.1", 1))


def test_others_make_room_where_all_of_who_holds_too_much_is_in_use() -> None:
    table = BoundedTable[int, bool](
        2 * LOOKED_AT, shares=Shares(), lifetime_s=9.0, in_use=lambda value: value
    )
    for number in range(LOOKED_AT + 20):  # of one address, and all in use
        assert table.put(number, True, 1.0, address=("192.0.2.1", number))
    idle = range(1000, 1000 + LOOKED_AT - 20)
    for number in idle:
        assert table.put(number, False, 2.0, address=(f"198.51.{number % 100}.1", 1))
    for number in range(LOOKED_AT + 20):
        table.renew(number, 3.0)

    assert table.put(5000, False, 4.0, address=("203.0.113.1", 1))
    assert idle[0] not in table
    assert not table.put(6000, False, 4.0, address=("192.0.2.1", 999)), "not for its own"


@pytest.mark.parametrize("part", [0.1, 0.2])
def test_who_holds_more_than_a_small_share_makes_room_first(part: float) -> None:
    table = BoundedTable[int, str](
        100, full="t_full", shares=Shares(address=lambda: part, prefix=lambda: 1.0)
    )
    modest = [f"198.51.{n}.1" for n in range(10)]
    for number, host in enumerate(modest):
        table.put(number, host, address=(host, 1))
    for number in range(90):  # three hold too much, none of them half
        host = f"{20 + number % 3}.0.0.1"
        table.put(100 + number, host, address=(host, 1))
    for number in range(90 - 3 * int(part * 100)):
        host = f"203.{number}.113.1"
        assert table.put(1000 + number, host, address=(host, 1))

    assert set(modest) <= set(table.values()), "who holds little stays"
    held = Counter(value for value in table.values() if value.startswith("2") and value[2] == ".")
    assert max(held.values()) - min(held.values()) <= 1, "who holds most goes first"


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=60), st.booleans())
def test_it_is_known_who_holds_most(steps: list[tuple[int, int]], by_prefix: bool) -> None:
    table = BoundedTable[int, str](10, shares=Shares())
    holdings = table._by_prefix if by_prefix else table._by_address
    assert holdings is not None
    assert holdings.ranks is not None
    table._index()
    for key, host in steps:
        if host == 3:
            table.pop(key)
        else:
            address = f"192.0.{host}.{key}" if by_prefix else f"192.0.2.{host}"
            table.put(
                key, address.rpartition(".")[0] if by_prefix else address, address=(address, 1)
            )
        held = Counter(table.values())
        assert holdings.ranks.most == max(held.values(), default=0)
        first = holdings.ranks.first
        assert (0 if first is None else holdings.held_by(first)) == holdings.ranks.most


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:1::1", "2001:db8:1:ffff::2", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("name@192.0.2.1", "192.0.2.1", False),
    ],
)
def test_a_prefix_is_a_site(one: str, other: str, same: bool) -> None:
    assert (prefix_of(one) == prefix_of(other)) is same


def test_a_limit_may_change_while_it_runs() -> None:
    limit = [3]
    table = BoundedTable[int, int](lambda: limit[0])
    for number in range(3):
        table.put(number, number)
    limit[0] = 1
    assert table.put(3, 3)
    assert list(table) == [3]
    limit[0] = 0
    assert not table.put(4, 4)


def test_what_meant_nothing_any_more_is_not_counted() -> None:
    tables, drops = counted()
    table = tables.add(
        "t", BoundedTable[int, float](1, full="t_full", holds=lambda until, now: until > now)
    )
    table.put(1, 5.0, 0.0)
    table.put(2, 50.0, 6.0)
    assert not drops
    table.put(3, 50.0, 7.0)
    assert drops == {"t_full": 1}


def test_a_queue_refuses_what_finds_no_room() -> None:
    tables, drops = counted()
    queue = tables.add("q", BoundedQueue[bytes](3, limit_bytes=10, size_of=len, full="q_full"))
    assert [queue.append(bytes(size)) for size in (4, 7, 6, 1, 0, 0)] == [
        True, False, True, False, True, False,
    ]  # fmt: skip
    assert (len(queue), queue.used_bytes) == (3, 10)
    assert queue.popleft() == bytes(4)
    assert queue[0] == bytes(6)
    assert queue.append(bytes(4))
    assert drops == {"q_full": 3}
    queue.clear()
    assert (len(queue), queue.used_bytes) == (0, 0)


def test_tables_of_one_name_are_told_together() -> None:
    tables, _ = counted()
    one = tables.add("both", BoundedTable[int, int](5))
    other = tables.add("both", BoundedTable[int, int](5))
    tables.gauge("bytes", lambda: 17)
    one.put(1, 1)
    other.put(1, 1)
    other.put(2, 2)
    assert tables.sizes() == {"both": 3, "bytes": 17}


# Against a list that knows nothing but the rules.


@dataclass
class Entry:
    key: int
    value: int
    since: float
    size: int
    peer: int
    host: str
    proved: bool
    touched: int


@dataclass
class Model:
    """The same table, slow and plain."""

    limit: int
    limit_bytes: int
    lifetime_s: float
    peer_most: int
    host_most: int
    refuses: bool
    makes_room: bool
    entries: list[Entry] = field(default_factory=list)
    drops: Counter[str] = field(default_factory=Counter)

    def find(self, key: int) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)

    def remove(self, key: int) -> None:
        self.entries = [entry for entry in self.entries if entry.key != key]

    def expire(self, now: float) -> None:
        while self.entries and self.entries[0].since <= now - self.lifetime_s:
            del self.entries[0]
            self.drops["late"] += 1

    def put(self, entry: Entry) -> bool:
        self.remove(entry.key)
        self.expire(entry.since)
        of_peer = [each for each in self.entries if each.peer == entry.peer]
        if len(of_peer) >= self.peer_most < self.limit:
            self.drops["of_one"] += 1
            if not self.makes_room:
                return False
            self.remove(of_peer[0].key)
        of_host = sum(each.host == entry.host for each in self.entries)
        if of_host >= self.host_most < self.limit:
            self.drops["full"] += 1
            return False
        if entry.size > self.limit_bytes:
            self.drops["full"] += 1
            return False
        while (
            len(self.entries) >= self.limit
            or sum(each.size for each in self.entries) + entry.size > self.limit_bytes
        ):
            self.drops["full"] += 1
            unproved = [each for each in self.entries if not each.proved]
            if self.refuses or not (unproved or entry.proved):
                return False
            self.remove((unproved or self.entries)[0].key)
        self.entries.append(entry)
        return True


KEYS = st.integers(0, 12)


class TableAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    @precondition(lambda self: not hasattr(self, "model"))
    @rule(
        limit=st.integers(1, 8),
        limit_bytes=st.integers(1, 30),
        lifetime_s=st.sampled_from([3.0, 1000.0]),
        peer_most=st.integers(1, 5),
        host_part=st.sampled_from([0.25, 0.5, 1.0]),
        refuses=st.booleans(),
        makes_room=st.booleans(),
    )
    def begin(
        self,
        limit: int,
        limit_bytes: int,
        lifetime_s: float,
        peer_most: int,
        host_part: float,
        refuses: bool,
        makes_room: bool,
    ) -> None:
        host_most = max(int(limit * host_part), 1)
        self.model = Model(
            limit, limit_bytes, lifetime_s, peer_most, host_most, refuses, makes_room
        )
        self.drops = Counter[str]()
        self.table = BoundedTable[int, int](
            limit,
            limit_bytes=limit_bytes,
            lifetime_s=lifetime_s,
            full="full",
            expired="late",
            refuses=refuses,
            peer_share=Share(peer_most, full="of_one", makes_room=makes_room),
            address_share=Share(host_part),
            count=lambda cause: self.drops.update([cause]),
        )

    @precondition(lambda self: hasattr(self, "model"))
    @rule(
        key=KEYS,
        value=st.integers(),
        size=st.integers(0, 12),
        peer=st.integers(0, 3),
        host=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        proved=st.booleans(),
    )
    def put(self, key: int, value: int, size: int, peer: int, host: str, proved: bool) -> None:
        entry = Entry(key, value, self.now, size, peer, host, proved, 0)
        assert self.table.put(
            key,
            value,
            self.now,
            size_bytes=size,
            peers=(peer,),
            address=(host, 7),
            proved=proved,
        ) is self.model.put(entry)

    @precondition(lambda self: hasattr(self, "model"))
    @rule(key=KEYS)
    def pop(self, key: int) -> None:
        entry = self.model.find(key)
        assert self.table.pop(key) == (None if entry is None else entry.value)
        self.model.remove(key)

    @precondition(lambda self: hasattr(self, "model"))
    @rule(key=KEYS)
    def prove(self, key: int) -> None:
        self.table.prove(key)
        entry = self.model.find(key)
        if entry is not None:
            entry.proved = True

    @precondition(lambda self: hasattr(self, "model"))
    @rule(passed_s=st.sampled_from([0.5, 1.0, 4.0]))
    def wait(self, passed_s: float) -> None:
        self.now += passed_s
        self.table.expire(self.now)
        self.model.expire(self.now)

    @precondition(lambda self: hasattr(self, "model"))
    @rule()
    def clear(self) -> None:
        self.table.clear()
        self.model.entries.clear()

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        entries = self.model.entries
        assert list(self.table.items()) == [(entry.key, entry.value) for entry in entries]
        assert self.table.used_bytes == sum(entry.size for entry in entries)
        assert len(self.table) <= self.model.limit
        for peer in range(4):
            held = [entry.key for entry in entries if entry.peer == peer]
            assert self.table.of_peer(peer) == tuple(held)
        for host in {entry.host for entry in entries}:
            held = [entry.key for entry in entries if entry.host == host]
            assert self.table.of_address(host) == tuple(held)
        assert self.drops == self.model.drops
        first = next((entry.value for entry in entries if not entry.proved), None)
        assert self.table.oldest_unproved() == first


TestTableAgainstModel = TableAgainstModel.TestCase
TestTableAgainstModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(KEYS, st.sampled_from(["put", "touch", "pop"])), max_size=80))
def test_order_is_that_of_use(steps: list[tuple[int, str]]) -> None:
    table, order = BoundedTable[int, int](5), list[int]()
    for key, what in steps:
        if what == "put":
            table.put(key, key)
            order = [*(each for each in order if each != key), key][-5:]
        elif what == "touch" and key in order:
            table.touch(key)
            order = [*(each for each in order if each != key), key]
        elif what == "pop":
            table.pop(key)
            order = [each for each in order if each != key]
        assert list(table) == order


def test_a_lifetime_that_becomes_shorter_holds_for_what_comes_and_for_what_is_there() -> None:
    lifetime_s = [60.0]
    table: BoundedTable[str, int] = BoundedTable(10, lifetime_s=lambda: lifetime_s[0])
    table.put("gone", 1, 0.0)
    table.pop("gone")
    table.put("there", 2, 1.0)
    lifetime_s[0] = 5.0
    table.put("new", 3, 2.0)
    assert table.next_expiry() == 6.0
    table.expire(6.0)
    assert list(table) == ["new"]
    assert table.next_expiry() == 7.0
    table.expire(7.0)
    assert table.next_expiry() is None


def test_the_newest_stays_so_until_it_goes_itself():
    order = Recency()
    for one in "abc":
        order.enter(one)
    order.discard("a")
    order.discard("never there")
    assert order.newest == "c"
    order.touch("b")
    order.discard("b")
    assert (order.newest, list(order)) == (None, ["c"])


def test_every_table_of_a_cluster_is_told_of() -> None:
    """Whoever writes to the broker fills them, and can be seen to."""
    for path in sorted((Path(cluster.__file__).parent).glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        made = [call for call in calls if ast.unparse(call.func).startswith("BoundedTable")]
        added = [
            argument
            for call in calls
            if ast.unparse(call.func).endswith("tables.add")
            for argument in call.args
        ]
        assert [ast.unparse(call) for call in made if call not in added] == []
