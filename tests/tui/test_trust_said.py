"""From the bar the user says who is the right one and whom to forget, and asks who this node is."""

from pathlib import Path

import pytest

from p2ptui.core.events import DataReceived
from p2ptui.node import Node
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.node.subscription import Subscription
from p2ptui.secure.known_nodes import Trust
from p2ptui.tui.completion import completions
from p2ptui.tui.palette import GrammarProvider
from p2ptui.verbs import VERBS, UsageError, parse_command
from tests.tui.stage import Stage, play
from tests.tui.test_trust_seen import all_kinds, lasting


def trust_in(stage: Stage, name: str) -> Trust | None:
    return stage.app.roster.find(name).trust


def offers(stage: Stage, line: str) -> list[str]:
    return [offer[len(line) :] for offer in completions(line, stage.app._words_of)]


@pytest.mark.parametrize("named_by", ["name", "id", "prefix", "selected"])
def test_trust_says_what_changed_and_the_same_for_a_shell(named_by, tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((160, 40))
        bob = await lasting(stage, tmp_path, "bob", 2)
        await stage.wait()
        word = {"name": "bob", "id": bob.id, "prefix": bob.id[:8], "selected": "."}[named_by]
        assert trust_in(stage, "bob") is Trust.NEW
        said = await stage.type(f"trust {word}")
        assert said == f"bob ({bob.id}) is trusted: it is verified; it was new"
        assert app.bar.beside == f"p2ptui trust {bob.id}"
        assert trust_in(stage, "bob") is Trust.VERIFIED
        assert any(said in record.text for record in app.messages.shown())
        said = await stage.type(f"forget {word}")
        assert said == f"bob ({bob.id}) is forgotten: who comes next in its place is new"
        assert app.bar.beside == f"p2ptui forget {bob.id}"
        assert trust_in(stage, "bob") is Trust.NEW

    play(story)


def test_what_is_not_written_is_not_said_to_be_done(tmp_path, monkeypatch):
    async def story(stage: Stage) -> None:
        app = await stage.open((160, 40))
        bob = await lasting(stage, tmp_path, "bob", 2)
        await stage.wait()
        path = tmp_path / "known"
        path.mkdir()  # a file that cannot be read
        monkeypatch.setattr(stage.alice._runtime.acquaintances.book, "_store", store_at(path))
        for line in ("trust bob", f"forget {bob.id}"):
            said = await stage.type(line)
            assert said == (
                f"{path}: cannot be read: Is a directory: nothing is changed;"
                " repair it or move it away, and try again"
            )
            assert app.roster.find("bob").trust is Trust.NEW

    play(story)


def store_at(path: Path) -> KnownNodesStore:
    return KnownNodesStore(lambda: 1_000_000.0, path)


def test_a_change_is_settled_from_the_bar(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((160, 40))
        await all_kinds(stage, tmp_path)
        changed = app.roster.find("changed")
        # What the sentence says is typed as it stands there.
        line = changed.advice.rpartition("p2ptui ")[2]
        assert line == f"trust {changed.node_id}"
        said = await stage.type(line)
        assert said.endswith("is trusted: it is verified; it was changed")
        assert trust_in(stage, changed.node_id) is Trust.VERIFIED

    play(story)


def test_who_is_not_here_any_more_is_trusted_and_forgotten_by_name(tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((160, 40))
        bob = await lasting(stage, tmp_path, "bob", 2)
        await stage.wait()
        bob_id = bob.id
        await bob.close()
        await stage.wait()
        assert len(app.roster) == 0
        assert "is trusted" in await stage.type("trust bob")
        assert app.bar.beside == "p2ptui trust bob"
        assert stage.alice.known_node(bob_id).verified
        assert "is forgotten" in await stage.type("forget bob")
        assert stage.alice.known_node(bob_id) is None
        assert "no known node is called 'bob'" in await stage.type("forget bob")

    play(story)


@pytest.mark.parametrize("verb", ["trust", "forget"])
def test_nobody_is_trusted_or_forgotten_by_being_under_the_cursor(verb, tmp_path):
    async def story(stage: Stage) -> None:
        await stage.open((160, 40))
        await lasting(stage, tmp_path, "bob", 2)
        await stage.wait()
        assert await stage.type(verb) == f"usage: {verb} PEER"
        assert trust_in(stage, "bob") is Trust.NEW
        await stage.type("disconnect bob")
        await stage.wait()
        assert await stage.type(f"{verb} .") == f"nobody is selected; usage: {verb} PEER"

    play(story)


def test_there_is_no_trust_in_who_has_no_keys(tmp_path):
    async def story(stage: Stage) -> None:
        await stage.open((160, 40))
        await all_kinds(stage, tmp_path)
        assert "open has no keys" in await stage.type("trust open")
        assert trust_in(stage, "open") is Trust.OPEN

    play(story)


def test_names_and_ids_are_completed_also_of_who_has_gone(tmp_path):
    async def story(stage: Stage) -> None:
        await stage.open((160, 40))
        bob = await lasting(stage, tmp_path, "bob", 2)
        carol = await lasting(stage, tmp_path, "carol smith", 3, key="carol")
        carol_id = carol.id
        await carol.close()
        await stage.wait()
        for verb in ("trust", "forget"):
            assert offers(stage, f"{verb} b")[:1] == ["ob"]
            assert offers(stage, f'{verb} "c') == ['arol smith"']
            assert offers(stage, f"{verb} {carol_id[:6]}") == [carol_id[6:]]
            assert offers(stage, f"{verb} {bob.id[:6]}") == [bob.id[6:]]
            assert offers(stage, f"{verb} bob x") == []
        assert carol_id not in str(offers(stage, "ping "))
        assert offers(stage, "key ") == ["show"]
        assert offers(stage, "peers trust:c") == ["hanged"]
        assert offers(stage, "filter sealed:") == ["yes", "no"]
        assert "sealed:no" in str(offers(stage, "filter "))

    play(story)


def test_key_show_tells_the_id_and_the_public_keys(tmp_path):
    async def story(stage: Stage) -> None:
        path = tmp_path / "alice.key"
        app = await stage.open((120, 40), security={"identity": str(path)})
        await stage.type("key show")
        await stage.wait()
        text = " ".join(stage.text().split())
        own = stage.alice.own_identity
        from base64 import b64encode

        assert f"id {own.id}" in text
        assert b64encode(own.identity.x_public).decode() in text
        assert b64encode(own.identity.ed_public).decode() in text
        assert str(path) in "".join(stage.text().split())
        await stage.pilot.press("y")
        assert own.id in app.clipboard
        secret = own.file.key.reveal()
        assert b64encode(secret).decode()[:20] not in app.clipboard

    play(story)


def test_a_network_key_is_made_in_a_shell():
    assert parse_command("key show").text == "show"
    for line, words in (("key new", "p2ptui key new"), ("key", "usage"), ("key x", "usage")):
        with pytest.raises(UsageError, match=words):
            parse_command(line)


def test_the_palette_offers_them_for_secured_peers_and_types_them(tmp_path: Path):
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        await all_kinds(stage, tmp_path)
        titles = [offer.title for offer in GrammarProvider(app.screen)._nodes()]
        assert "trust new" in titles
        assert "forget known" in titles
        assert "trust open" not in titles
        app.bar.type("")
        await stage.pilot.press("ctrl+p", *"trust new")
        await stage.wait()
        await stage.pilot.press("enter")
        await stage.wait()
        assert app.bar.input.value == f"trust {app.roster.find('new').node_id}"
        assert trust_in(stage, "new") is Trust.NEW

    play(story)


def test_the_words_are_those_of_the_shell():
    for name in ("trust", "forget"):
        assert VERBS[name].usage == f"{name} PEER"
        assert VERBS[name].in_shell
    assert VERBS["key"].usage == "key show"


async def an_impostor(stage: Stage, folder: Path) -> tuple[Node, Subscription]:
    """Bob goes, and a node with other keys comes under his name; what it hears."""
    bob = await lasting(stage, folder, "bob", 2)
    await bob.close()
    await stage.wait()
    impostor = await lasting(stage, folder, "bob", 3, key="other")
    await stage.wait()
    assert trust_in(stage, "bob") is Trust.CHANGED
    return impostor, impostor.events()


def heard(events: Subscription) -> list[object]:
    return [event for event in events.take(1000) if isinstance(event, DataReceived)]


@pytest.mark.parametrize("verb", ["send", "relay"])
@pytest.mark.parametrize("named_by", ["name", "id", "prefix", "address", "selected"])
def test_nothing_is_sent_to_who_is_not_who_it_was(verb, named_by, tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 40))
        impostor, events = await an_impostor(stage, tmp_path)
        changed = app.roster.find("bob")
        word = {
            "name": "bob",
            "id": changed.node_id,
            "prefix": changed.node_id[:8],
            "address": "10.0.1.3:8080",
            "selected": ".",
        }[named_by]
        app.peers.list.place_cursor(list(app.peers.list.keys).index(changed.node_id))
        said = await stage.type(f"{verb} {word} secret")
        assert said == f"not sent: {changed.advice.replace('p2ptui trust', 'trust')}"
        assert heard(events) == []
        await stage.type(f"trust {changed.node_id}")
        assert (await stage.type(f"send {word} secret")).startswith("delivered 6 characters")
        assert [event.payload for event in heard(events)] == ["secret"]
        assert impostor.id == changed.node_id

    play(story)


def test_a_broadcast_leaves_out_who_is_not_who_it_was(tmp_path):
    async def story(stage: Stage) -> None:
        await stage.open((160, 40))
        _, events = await an_impostor(stage, tmp_path)
        said = await stage.type("broadcast secret")
        assert said == "not sent: 1 peer, and each has changed"
        await stage.friend("carol", 4)
        said = await stage.type("broadcast secret")
        assert said == "delivered to 1 of 1 peer; not sent to 1 changed"
        assert heard(events) == []

    play(story)
