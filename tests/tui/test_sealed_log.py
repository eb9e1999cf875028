"""The log tells what travelled under seal, and what belongs to the seals themselves."""

import pytest

from p2ptui.core.sealing import SealFrame
from p2ptui.tui.journal import FRAME_WORDS
from p2ptui.tui.message_log import _NARROW_KIND_WIDTH, _SHORT, MessageLog
from p2ptui.tui.records import Record
from tests.tui.stage import Stage, play


def kinds(log: MessageLog, direction: str = "") -> list[str]:
    return [r.kind for r in log.shown() if not direction or r.direction == direction]


def said(log: MessageLog, text: str) -> list[Record]:
    return [record for record in log.shown() if text in record.summary and record.kind]


def test_what_was_inside_is_shown_and_that_it_was_sealed():
    async def story(stage: Stage) -> None:
        app = await stage.open((200, 60))
        bob = await stage.friend("bob", 2)
        old = await stage.friend("old", 3, secured=False)
        await stage.wait()
        await bob.send(stage.alice.id, "from bob")
        await old.send(stage.alice.id, "from old")
        await stage.alice.send(bob.id, "to bob")
        await stage.alice.send(old.id, "to old")
        await stage.wait()
        for text, is_sealed in (("from bob", 1), ("to bob", 1), ("from old", 0), ("to old", 0)):
            (record,) = said(app.messages, text)
            assert record.is_sealed is bool(is_sealed), text
            assert record.kind == "Data"
        await stage.pilot.press("f3", "z")
        await stage.wait()
        lines = stage.lines()

        def line(text: str) -> str:
            (found,) = [line for line in lines if f'"{text}"' in line]
            return found

        assert "⇐ bob" in line("from bob")
        assert " sealed " in line("from bob")
        assert "⇒ bob" in line("to bob")
        assert "← old" in line("from old")
        assert " open " in line("from old")
        assert "→ old" in line("to old")

    play(story)


@pytest.mark.parametrize(
    ("condition", "fitting"), [("sealed:yes", {"secret"}), ("sealed:no", {"in the open"})]
)
def test_a_filter_tells_sealed_from_open(condition, fitting):
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        old = await stage.friend("old", 3, secured=False)
        await stage.wait()
        await bob.send(stage.alice.id, "secret")
        await old.send(stage.alice.id, "in the open")
        await stage.type(f"filter {condition}")
        shown = app.messages.shown()
        texts = {"secret", "in the open"}
        assert {text for text in texts if said(app.messages, text)} == fitting
        assert all(record.direction != "note" for record in shown)
        said_wrong = await stage.type("filter sealed:maybe")
        assert "'maybe' is not" in said_wrong
        assert "yes, no" in said_wrong

    play(story)


def test_a_key_exchange_is_shown_as_what_it_is():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        await stage.wait()
        assert kinds(app.messages, "in")[:2] == ["HandshakeRequest", SealFrame.FINISH]
        assert kinds(app.messages, "out")[:1] == ["HandshakeResponse"]
        for number in (1, 2, 3):
            (record, *_) = said(app.messages, f"key exchange {number} of 3")
            assert not record.is_sealed
        # The other way round.
        await bob.close()
        await stage.wait()
        carol = await stage.node("carol", "10.0.1.4")
        await stage.alice.connect(carol.address)
        await stage.wait()
        sent = [r for r in app.messages.shown() if r.kind == SealFrame.FINISH]
        assert {record.direction for record in sent} == {"in", "out"}
        assert "key exchange 3 of 3" in sent[-1].pretty()

    play(story)


def test_a_message_of_a_peer_is_no_frame_whatever_it_is_called():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        await stage.wait()
        (peer,) = bob._endpoint.peers
        delivery = bob._endpoint._delivery
        _, data = delivery.build(SealFrame.UNKNOWN_SESSION.value, b"null", 0.0)
        delivery.transmit(peer, data, "UnknownSession", bob._clock())
        bob._runtime.flush()
        await stage.wait()
        (record,) = [r for r in app.messages.shown() if r.kind == "UnknownSession"]
        assert record.data
        assert record.text == ""

    play(story)


def test_a_session_that_is_not_known_any_more_is_told_and_taken_up():
    async def story(stage: Stage) -> None:
        app = await stage.open()
        bob = await stage.friend("bob", 2)
        await stage.wait()
        (peer,) = stage.alice._endpoint.peers
        seals = stage.alice._endpoint._state.seals
        for number in list(seals._by_number.of_peer(peer)):
            del seals._by_number[number]
        await bob.send(stage.alice.id, "still there?", timeout_s=5.0)
        await stage.wait()
        (record, *_) = [r for r in app.messages.shown() if r.kind == SealFrame.UNKNOWN_SESSION]
        assert record.direction == "out"
        assert record.summary == FRAME_WORDS[SealFrame.UNKNOWN_SESSION]

    play(story)


def test_the_page_of_a_message_says_who_could_read_it():
    async def story(stage: Stage) -> None:
        await stage.open()
        bob = await stage.friend("bob", 2)
        await stage.wait()
        await bob.send(stage.alice.id, "secret")
        await stage.type("filter secret")
        await stage.pilot.press("f3", "end", "enter")
        await stage.wait()
        assert "sealed   yes: who is on the way can neither read nor alter it" in stage.text()
        await stage.pilot.press("escape")
        await stage.type("filter type:HandshakeRequest")
        await stage.pilot.press("f3", "end", "enter")
        await stage.wait()
        assert "sealed   no: who is on the way can read and alter it" in stage.text()

    play(story)


def test_every_frame_of_a_seal_has_its_words_and_fits_a_narrow_column():
    assert set(FRAME_WORDS) == set(SealFrame)
    assert all(len(_SHORT.get(kind, kind)) <= _NARROW_KIND_WIDTH for kind in SealFrame)
    assert len({_SHORT.get(kind, kind) for kind in SealFrame}) == len(SealFrame)
