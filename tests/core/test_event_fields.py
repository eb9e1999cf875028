"""An event that is told with more than it began with keeps all else."""

import dataclasses

from p2ptui.core.events import PeerStatusChanged


def test_what_is_judged_keeps_every_field_but_the_judgement() -> None:
    fields = [field.name for field in dataclasses.fields(PeerStatusChanged)]
    event = PeerStatusChanged(**{name: f"the {name}" for name in fields})  # type: ignore[arg-type]
    assert event.judged("changed") == dataclasses.replace(event, trust="changed")
