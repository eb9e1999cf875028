"""The distance table: the shorter way wins, every way ends, and the table has a limit."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.mesh.evidence import Evidence
from p2ptui.core.mesh.routes import Route, RouteTable

LIFETIME = 300.0


def table(limit: int = 100) -> RouteTable:
    return RouteTable(LIFETIME, limit)


def way(routes: RouteTable, destination: str, now: float = 0.0) -> tuple[str, int] | None:
    route = routes.lookup(destination, now)
    return (route.next_hop, route.distance) if route else None


def test_a_way_holds_for_its_lifetime_after_the_last_news() -> None:
    routes = table()
    routes.learn("d", "a", 2, now=0.0)
    routes.learn("d", "a", 2, now=100.0)
    assert routes.lookup("d", 399.9) == Route("a", 2, 400.0)
    assert routes.lookup("d", 400.0) is None
    assert len(routes) == 0


def test_a_longer_way_does_not_replace_a_shorter_one_that_holds() -> None:
    routes = table()
    routes.learn("d", "a", 2, now=0.0)
    routes.learn("d", "b", 3, now=200.0)
    assert way(routes, "d", 200.0) == ("a", 2)
    assert way(routes, "d", 300.0) is None  # nor does it prolong it


def test_a_shorter_or_equally_long_way_replaces_it() -> None:
    routes = table()
    routes.learn("d", "a", 3, now=0.0)
    routes.learn("d", "b", 3, now=1.0)
    assert way(routes, "d") == ("b", 3)
    routes.learn("d", "c", 2, now=2.0)
    assert way(routes, "d") == ("c", 2)


def test_any_way_replaces_one_that_has_expired() -> None:
    routes = table()
    routes.learn("d", "a", 2, now=0.0)
    routes.learn("d", "b", 9, now=LIFETIME)
    assert way(routes, "d", LIFETIME) == ("b", 9)


def test_the_same_next_hop_may_say_that_the_way_has_become_longer() -> None:
    routes = table()
    routes.learn("d", "a", 2, now=0.0)
    routes.learn("d", "a", 5, now=1.0)
    assert way(routes, "d") == ("a", 5)


def test_what_a_destination_announced_is_kept_when_later_news_say_nothing() -> None:
    routes = table()
    routes.learn("d", "a", 2, now=0.0, capabilities=("routing",))
    routes.learn("d", "b", 2, now=1.0)
    assert routes.lookup("d", 1.0) == Route("b", 2, 301.0, ("routing",))
    routes.learn("d", "b", 2, now=2.0, capabilities=("data",))
    assert routes.lookup("d", 2.0) == Route("b", 2, 302.0, ("data",))


def test_a_way_is_forgotten_only_by_its_own_next_hop() -> None:
    routes = table()
    routes.learn("d", "a", 2, now=0.0)
    routes.forget("d", "b")
    routes.forget("unknown", "a")
    assert way(routes, "d") == ("a", 2)
    routes.forget("d", "a")
    assert way(routes, "d") is None


def test_with_a_peer_go_all_ways_through_it() -> None:
    routes = table()
    for number in range(10):
        routes.learn(f"d{number}", "ab"[number % 2], 2, now=0.0)
    routes.forget_next_hop("a")
    assert {route.next_hop for _, route in routes.items(0.0)} == {"b"}
    assert len(routes) == 5


def test_the_list_leaves_out_what_has_expired() -> None:
    routes = table()
    routes.learn("old", "a", 2, now=0.0)
    routes.learn("new", "a", 2, now=1.0)
    assert [destination for destination, _ in routes.items(LIFETIME)] == ["new"]


def test_what_was_not_refreshed_for_longest_makes_room() -> None:
    routes = table(limit=3)
    for destination in ("first", "second", "third"):
        routes.learn(destination, "a", 2, now=0.0)
    routes.learn("first", "a", 2, now=1.0)
    routes.learn("fourth", "a", 2, now=2.0)
    assert {destination for destination, _ in routes.items(2.0)} == {"first", "third", "fourth"}


def test_what_is_in_use_makes_room_last_and_is_counted() -> None:
    drops = Counter[str]()
    routes = RouteTable(LIFETIME, 3, lambda cause: drops.update([cause]))
    for destination in ("used", "second", "third"):
        routes.learn(destination, "a", 2, now=0.0)
    for number in range(20):
        assert routes.lookup("used", 1.0) is not None
        routes.learn(f"d{number}", "a", 2, now=1.0)
    assert drops == {"routes_full": 20}

    routes.learn("late", "a", 2, now=LIFETIME + 2)
    assert drops == {"routes_full": 20}, "what has expired is no loss"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz"), st.integers(1, 9)),
        max_size=60,
    ),
    st.integers(1, 6),
)
def test_the_limit_holds_and_what_was_just_learned_is_there(
    news: list[tuple[str, str, int]], limit: int
) -> None:
    routes = table(limit)
    for now, (destination, next_hop, distance) in enumerate(news):
        routes.learn(destination, next_hop, distance, now)
        assert len(routes) <= limit
        found = way(routes, destination, now)
        assert found is not None
        assert found[1] <= distance


# What stands behind news.


def test_news_that_are_known_less_well_move_nothing() -> None:
    routes = table()
    routes.learn("d", "server", 2, 0.0, name="bob", evidence=Evidence.VOUCHED, listed_at="a:1")
    for evidence in (Evidence.HEARSAY, Evidence.LISTED):
        routes.learn("d", "liar", 1, 1.0, name="eve", evidence=evidence, listed_at="b:2")
        routes.learn("d", "server", 2, 1.0, name="eve", evidence=evidence, listed_at="b:2")
        route = routes.peek("d", 1.0)
        assert route is not None
        assert (route.next_hop, route.name, route.listed_at) == ("server", "bob", "a:1")
    routes.learn("d", "other", 3, 1.0, name="robert", evidence=Evidence.VOUCHED)
    assert way(routes, "d", 1.0) == ("server", 2)
    routes.learn("d", "other", 2, 1.0, name="robert", evidence=Evidence.VOUCHED)
    route = routes.peek("d", 1.0)
    assert route is not None
    assert (route.next_hop, route.name, route.earlier_name) == ("other", "robert", "")


def test_a_name_that_moves_without_a_voucher_fits_both() -> None:
    routes = table()
    for name in ("bob", "eve", "mallory"):
        routes.learn("d", "server", 2, 0.0, name=name, evidence=Evidence.LISTED)
    route = routes.peek("d", 0.0)
    assert route is not None
    assert (route.name, route.earlier_name) == ("mallory", "bob")


def test_a_way_that_brought_no_answer_gives_way_to_a_servers_word() -> None:
    routes = table()
    routes.learn("d", "a", 2, 0.0, evidence=Evidence.ANSWERED)
    routes.learn("d", "server", 2, 1.0, evidence=Evidence.VOUCHED)
    assert way(routes, "d", 1.0) == ("a", 2)
    routes.doubt("d", "other")
    routes.doubt("d", "a")
    routes.learn("d", "liar", 1, 1.0)
    routes.learn("d", "a", 2, 1.0)  # its own word does not end the doubt
    assert way(routes, "d", 1.0) == ("a", 2)
    routes.learn("d", "server", 2, 1.0, evidence=Evidence.LISTED)
    assert way(routes, "d", 1.0) == ("server", 2)


def test_hearsay_of_a_node_that_is_here_is_forgotten() -> None:
    routes = table()
    routes.learn("d", "a", 2, 0.0)
    routes.learn("e", "a", 2, 0.0, evidence=Evidence.LISTED)
    routes.forget_hearsay("d")
    routes.forget_hearsay("e")
    assert [destination for destination, _ in routes.items(0.0)] == ["e"]
