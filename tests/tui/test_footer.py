"""Keys that are pressed leave nothing behind, however long somebody works at the screen."""

import gc

from textual.widget import Widget

from tests.tui.stage import Stage, play


def widgets() -> int:
    """How many are alive, shown or not."""
    gc.collect()
    return sum(isinstance(each, Widget) for each in gc.get_objects())


def test_no_widget_outlives_a_change_of_focus_or_a_command():
    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.friend("bob", 2)

        async def work() -> None:
            for _ in range(8):
                await stage.pilot.press("f2", "f3", ":")
            await stage.type("ping bob 1")
            await stage.pilot.press("f1", "escape")

        await work()
        before = widgets()
        await work()
        await work()
        assert widgets() <= before

    play(story)
