"""The addresses of one peer: a limit that counts, and a path that always has its place."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import Config
from p2ptui.core.aliases import MAX_ALIASES, MAX_CLAIMED_ALIASES, Aliases, Standing
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.reassembly import ReassemblyBudget
from p2ptui.wire.address import Address


def at(number: int) -> Address:
    return ("203.0.113.9", number)


def peer_at(table: PeerTable, host: str) -> Peer:
    peer = Peer((host, 1), Channel(Config(), 1, ReassemblyBudget(1000)), True, 0.0)
    table.add(peer)
    return peer


def full() -> tuple[Aliases[str], Counter[str]]:
    drops: Counter[str] = Counter()
    aliases: Aliases[str] = Aliases(lambda cause: drops.update([cause]))
    for number in range(MAX_ALIASES):
        assert aliases.enter("one", at(number), Standing.ANSWERED) == "one"
    return aliases, drops


def test_a_full_table_refuses_and_counts() -> None:
    aliases, drops = full()

    assert aliases.enter("one", at(9000), Standing.ANSWERED) is None
    assert aliases.enter("one", at(9001), Standing.CLAIMED) is None
    assert drops == {"aliases_full": 2}
    assert aliases.enter("another", at(9000), Standing.ANSWERED) == "another"


def test_the_chosen_one_finds_room_at_any_time_and_the_oldest_goes() -> None:
    aliases, drops = full()

    assert aliases.enter("one", at(9000), Standing.CHOSEN) == "one"
    assert aliases.owner(at(0)) is None
    assert len(aliases) == MAX_ALIASES
    assert drops == {"aliases_full": 1}


def test_claims_go_first_and_the_chosen_one_never() -> None:
    aliases: Aliases[str] = Aliases(lambda _: None)
    aliases.enter("one", at(0), Standing.CHOSEN)
    for number in range(1, 1 + MAX_CLAIMED_ALIASES):
        aliases.enter("one", at(number), Standing.CLAIMED)
    for number in range(100, 100 + 2 * MAX_ALIASES):
        aliases.enter("one", at(number), Standing.ANSWERED)

    assert aliases.owner(at(0)) == "one"
    assert aliases.owner(at(1)) is None
    assert len(aliases) == MAX_ALIASES


def test_a_claim_takes_nothing_from_another_but_an_answer_does() -> None:
    aliases: Aliases[str] = Aliases(lambda _: None)
    aliases.enter("one", at(1), Standing.CLAIMED)

    assert aliases.enter("another", at(1), Standing.CLAIMED) == "one"
    assert aliases.enter("another", at(1), Standing.ANSWERED) == "another"
    assert not aliases.of("one")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "remove", "clear"]),
        st.sampled_from(["one", "another"]),
        st.integers(1, 300),
        st.sampled_from(Standing),
    ),
    max_size=400,
)


@given(STEPS)
def test_it_stays_whole_and_bounded(steps: list[tuple[str, str, int, Standing]]) -> None:
    aliases: Aliases[str] = Aliases(lambda _: None)
    chosen: dict[str, Address] = {}
    for what, owner, number, standing in steps:
        if what == "enter":
            holder = aliases.enter(owner, at(number), standing)
            if standing is Standing.CHOSEN:
                assert holder == owner
                chosen[owner] = at(number)
            if holder == owner and standing is not Standing.CLAIMED:
                for other, address in list(chosen.items()):
                    if other != owner and address == at(number):
                        del chosen[other]
        elif what == "remove":
            if chosen.get(owner) != at(number):
                aliases.remove(owner, at(number))
        else:
            aliases.clear(owner)
            chosen.pop(owner, None)
        for other, address in chosen.items():
            assert aliases.owner(address) == other
        assert len(aliases) == sum(len(aliases.of(o)) for o in ("one", "another"))
        assert all(aliases.owner(a) == o for o in ("one", "another") for a in aliases.of(o))
        assert all(len(aliases.of(o)) <= MAX_ALIASES for o in ("one", "another"))


# A path and its alias are one.


def test_a_path_has_its_alias_or_is_not_taken() -> None:
    table = PeerTable()
    one, another = peer_at(table, "10.0.0.1"), peer_at(table, "10.0.0.2")

    assert table.take_path(one, at(1))
    assert table.at(at(1)) is one
    assert one.sends_to == at(1)
    assert not table.take_path(one, another.address)
    assert one.sends_to == at(1)


def test_who_loses_an_address_to_its_new_owner_does_not_send_there() -> None:
    table = PeerTable()
    one, another = peer_at(table, "10.0.0.1"), peer_at(table, "10.0.0.2")
    table.take_path(one, at(1))
    table.take_path(another, at(1))

    assert table.at(at(1)) is another
    assert one.sends_to == one.address


def test_without_aliases_datagrams_go_to_the_own_address() -> None:
    table = PeerTable()
    one = peer_at(table, "10.0.0.1")
    table.take_path(one, at(1))
    table.remove_aliases(one)

    assert one.sends_to == one.address
    assert table.at(at(1)) is None
    assert table.aliases == 0
