"""The page of a node is live, and who reads it keeps the place."""

import re

from p2ptui.tui.trends import MAX_NODES, SAMPLES, STEP_S, Trends, highest_of_each
from tests.tui.stage import Stage, play


def test_samples_are_bounded_for_each_node_and_all_together():
    trends = Trends()
    for number in range(SAMPLES + 10):
        trends.take([("bob", float(number)), ("carol", None)])
    assert trends.of("bob") == tuple(float(n) for n in range(10, SAMPLES + 10))
    assert trends.of("carol") == ()
    trends.take((f"node {number}", 1.0) for number in range(MAX_NODES))
    assert trends.of("bob") == ()
    assert SAMPLES * STEP_S >= 300


def test_many_values_are_shown_in_little_room_and_the_highest_is_seen():
    assert highest_of_each([1, 2, 9, 4, 5], 3) == [2, 9, 5]
    assert highest_of_each([], 3) == []
    assert highest_of_each([1, 2], 75) == [1, 2]


def test_the_page_of_a_node_follows_the_traffic():
    async def story(stage: Stage) -> None:
        app = await stage.open((80, 24))
        bob = await stage.friend("bob", 2)
        await stage.pilot.press("f3")  # nobody looks at the table
        for _ in range(100):
            await bob.send(stage.alice.id, "x")
            await stage.alice.ping(bob.id)
            await stage.wait(2)
        await stage.pilot.press("f2", "enter")
        await stage.wait(1.5)
        assert re.search("[▁▂▃▄▅▆▇█]{30}", stage.text())
        assert re.search(r"last [34]m +[▁▂▃▄▅▆▇█]{30}", stage.text())
        before = int(re.search(r"messages +(\d+) in", stage.text())[1])
        await stage.pilot.press("down", "down")
        frame = app.screen.query_one("#text")
        place = frame.scroll_offset.y
        for _ in range(20):
            await bob.send(stage.alice.id, "x")
        await stage.wait(1.5)
        assert int(re.search(r"messages +(\d+) in", stage.text())[1]) >= before + 20
        assert frame.scroll_offset.y == place > 0
        await stage.pilot.press("y")
        assert f"messages       {before}" not in app.clipboard
        await stage.pilot.press("home")
        await bob.disconnect(stage.alice.id)
        await stage.wait(1.5)
        assert "It has gone" in stage.text()
        assert re.search("state +○ gone, it was authenticated", stage.text())
        assert "bob" in stage.text()
        await stage.pilot.press("escape")
        assert app.is_running

    play(story)


def test_the_routes_are_live_too():
    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.type("routes")
        assert "nobody is connected" in stage.text()
        bob = await stage.friend("bob", 2)
        await stage.wait(1.5)
        assert bob.id in stage.text()

    play(story)
