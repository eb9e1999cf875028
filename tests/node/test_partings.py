"""A server that the user said goodbye to stays alone until the user wants it again."""

import asyncio

from p2ptui.node.partings import Partings
from tests.virtual_loop import run_virtual

SERVER = ("192.0.2.1", 8080)


def test_a_second_goodbye_before_the_joiner_is_awake_holds() -> None:
    async def story() -> None:
        partings = Partings()
        partings.note_joined(SERVER)
        assert partings.part(SERVER)
        joiner = asyncio.ensure_future(partings.wait_until_wanted(SERVER))
        await asyncio.sleep(1)
        partings.resume(SERVER)
        partings.part(SERVER)
        await asyncio.sleep(1)
        assert not joiner.done()
        partings.resume(SERVER)
        assert await joiner

    run_virtual(story())


def test_who_was_never_parted_from_is_joined_at_once() -> None:
    async def story() -> None:
        partings = Partings()
        assert not partings.part(SERVER), "it is not kept joined"
        assert not await partings.wait_until_wanted(SERVER)

    run_virtual(story())
