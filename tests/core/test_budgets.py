"""What others may make a node do: each message draws on a budget, before its handler is called."""

import inspect
import re
from pathlib import Path

import pytest

from p2ptui.core.messages import ROWS, Cost, Row, budgets
from p2ptui.core.messages.budgets import BUDGETS, Accounts, Budget
from p2ptui.core.peers import Peer
from p2ptui.wire.message import MessageType
from tests.simulation import World

LIMITS = (Path(__file__).parents[2] / "docs" / "limits.md").read_text("utf-8")
DRAWN = [row for row in ROWS if row.budget.judge is None]
"""Rows whose budget the table judges."""


def of(seconds: float | None, *, each: float | None = None, burst: float | None = None) -> Budget:
    return Budget("test", Cost.SEARCH, seconds, burst, each, over="too_many")


class Desk:
    """A handler behind a budget, and peers."""

    def __init__(self, budget: Budget) -> None:
        world = World()
        node = world.host()
        self.peers: list[Peer] = []
        for _ in range(2):
            other = world.host()
            other.outcome(other.connect(node))
        self.peers = list(node.endpoint.peers)
        self.dropped: list[str] = []
        self.handled: list[Peer] = []
        self.accounts = Accounts(self.dropped.append, lambda: 10)
        self.handle = self.accounts.guard(budget, lambda peer, _content, _now: self._note(peer))

    def _note(self, peer: Peer) -> None:
        self.handled.append(peer)

    def say(self, count: int, who: int, now: float) -> int:
        """How many of so many messages were handled."""
        before = len(self.handled)
        for _ in range(count):
            self.handle(self.peers[who], None, now)
        return len(self.handled) - before


def test_what_is_over_is_counted_and_the_handler_never_hears_of_it() -> None:
    desk = Desk(of(5))
    assert desk.say(8, 0, now=10.0) == 5
    assert desk.dropped == ["too_many"] * 3
    assert desk.say(8, 1, now=10.4) == 2


def test_who_asks_too_often_takes_nothing_away_from_the_others() -> None:
    desk = Desk(of(5, each=2))
    assert desk.say(100, 0, now=0.0) == 2
    assert desk.say(100, 1, now=0.0) == 2


def test_a_share_goes_with_its_peer() -> None:
    desk = Desk(of(5, each=2))
    desk.say(100, 0, now=0.0)
    desk.accounts.forget(desk.peers[0], 0.0)
    assert desk.say(100, 0, now=0.0) == 2


def test_a_burst_may_be_larger_than_a_second() -> None:
    desk = Desk(of(1, burst=4))
    assert desk.say(10, 0, now=0.0) == 4
    assert desk.say(10, 0, now=1.0) == 1


def test_every_budget_of_a_row_is_in_the_table_of_budgets() -> None:
    assert {row.budget for row in ROWS} == set(BUDGETS)
    assert all(budget in vars(budgets).values() for budget in BUDGETS)


def test_the_documents_say_the_same() -> None:
    page = LIMITS.split("## Rates\n")[1].split("\n## ")[0]
    rows = {
        name: [cell.strip() for cell in rest.split("|")]
        for name, rest in re.findall(r"^\| `([a-z ]+)` \|(.*)\|$", page, re.MULTILINE)
    }
    assert list(rows) == [budget.name for budget in BUDGETS]
    for budget in BUDGETS:
        cost, rate, burst, each, over = rows[budget.name]
        assert cost == budget.cost.value
        if budget.rate is not None:
            assert rate == f"{budget.rate:,}"
            assert burst == f"{budget.burst or budget.rate:,}"
        if budget.rate_each is not None:
            assert each == f"{budget.rate_each:,}"
        assert budget.over in over


def test_a_budget_is_judged_here_or_by_who_counts_what_is_over() -> None:
    for budget in BUDGETS:
        if budget.judge is None:
            assert budget.rate, budget.name
            assert budget.over, budget.name
        elif budget.over:
            assert f'"{budget.over}"' in inspect.getsource(budget.judge), budget.name


@pytest.mark.parametrize("row", DRAWN, ids=lambda row: row.kind)
def test_a_handler_never_asks_for_the_rate_of_its_messages(row: Row) -> None:
    assert row.handler is not None
    assert "take(now" not in inspect.getsource(row.handler)


def test_what_is_over_its_budget_is_acknowledged_but_not_done() -> None:
    """Its sender need not send it again: it would only be more of the same."""
    world = World()
    node, client = world.host(), world.puppet()
    client.join(node)
    node.ping(client)
    world.run_for(1)
    nobody = world.node_id()
    for _ in range(2 * budgets.INTRODUCTIONS_OF_ONE):
        client.say(MessageType.P2P_CONNECT, {"peer_id": nobody}, node)
    client.say(MessageType.P2P_CONNECT, {"peer_id": nobody}, node, requires_ack=True)
    world.run_for(0.1)

    kinds = client.take_types()
    assert kinds[-1] == "Ack"
    assert kinds.count("Error") <= budgets.INTRODUCTIONS_OF_ONE
    assert node.endpoint.counters.drops["introductions_limited"] > budgets.INTRODUCTIONS_OF_ONE


def test_nobody_else_counts_what_others_ask_for() -> None:
    """A rate in a handler is one that the table does not know."""
    core = Path(budgets.__file__).parent.parent
    counting = {
        str(path.relative_to(core))
        for path in core.rglob("*.py")
        if "TokenBucket(" in path.read_text("utf-8")
    }
    judges = {Path(inspect.getfile(b.judge)).name for b in BUDGETS if b.judge is not None}
    assert counting == {
        "cluster/beacons.py",  # what verifying them takes
        "cluster/deletions.py",  # what a broker brings
        "cluster/others.py",  # of other servers, whose messages come by a broker
        "cluster/presence.py",  # a pace of its own
        "cluster/runs.py",  # of other servers, likewise
        "cluster/statements.py",  # of keys, behind the budget of their message
        "cluster/view.py",  # likewise, of what a broker brings
        "messages/budgets.py",
        "sessions/admission.py",  # of strangers, before their messages are read
        "mesh/neighbours.py",  # of strangers nearby: those from afar must not use it up
        "mesh/far_answering.py",  # inside what others hand on: no type of its own
        "mesh/routing.py",
        "relay/control.py",
        "secure/load.py",  # of strangers, before a key is used for them
        "secure/refusals.py",  # of lines for the user: everybody is answered all the same
        "traversal/offer_intake.py",
    }
    assert {Path(path).name for path in counting} - judges == {
        "budgets.py",
        "beacons.py",
        "deletions.py",
        "others.py",
        "runs.py",
        "presence.py",
        "statements.py",
        "view.py",
        "admission.py",
        "far_answering.py",
        "load.py",
        "neighbours.py",
        "refusals.py",
    }
