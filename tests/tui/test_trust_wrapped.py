"""On a peer's page what is said of trust stands in its column; no id is cut, nothing said twice."""

import re

import pytest

from p2ptui.tui.peer_detail import node_text
from tests.tui.stage import Stage, play
from tests.tui.test_trust_seen import all_kinds

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.mark.parametrize("width", [40, 50, 51, 60, 74, 90, 200])
def test_in_every_width_ids_are_whole_and_lines_stand_in_their_column(width, tmp_path):
    async def story(stage: Stage) -> None:
        app = await stage.open((120, 40))
        await all_kinds(stage, tmp_path)
        for trust in ("changed", "open", "new", "known", "verified"):
            node = app.roster.find(trust)
            page = node_text(node, width=width).plain
            lines = page.split("state", 1)[1].split("keys  ", 1)[0].splitlines()[1:]
            words = " ".join(" ".join(lines).split())
            assert words.startswith(f"trust {trust}: ")
            assert all(len(line) <= width for line in lines)
            assert all(line.startswith("  ") for line in lines[1:])
            ids = re.findall(ID, words)
            assert len(ids) == {"changed": 3, "new": 1, "known": 1}.get(trust, 0)
            assert re.findall(ID, "\n".join(lines)) == ids  # none goes over the end of a line
            assert words.count("changed:") == (trust == "changed")

    play(story)
