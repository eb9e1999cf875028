"""The fault campaign with nodes that speak under seal: loss, disorder, restarts, moves, relays."""

import pytest

from p2ptui.core.sealing import Seals
from tests.campaign import play
from tests.simulation import World

SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_message_arrives_once_or_its_sender_is_told(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "secured", True)
    entered: list[str] = []
    enter = Seals.enter

    def note(seals: Seals, *args: object, **options: object) -> object:
        entered.append(seals.keys.identity.id)
        return enter(seals, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Seals, "enter", note)
    summary = play(seed)

    assert summary.handshakes
    assert summary.delivered
    assert len(set(entered)) > 1, "they have spoken under seal"
