"""A program that reads slowly gets all that its senders were told it has."""

import asyncio

import pytest

from p2ptui import Config
from p2ptui.core.events import DataReceived
from tests.slow_reader import judge, measure, part
from tests.town import Town
from tests.virtual_loop import run_virtual


@pytest.mark.parametrize("size", [100, 5_000, 700_000])
def test_what_was_told_as_delivered_comes_out_of_the_loop_over_events(size: int) -> None:
    count = 24

    async def read(town: Town, server, got: list[str]) -> None:
        async for event in server.events():
            if isinstance(event, DataReceived):
                got.append(event.payload)
                await asyncio.sleep(0.5)
                if len(got) == count:
                    return

    async def story():
        async with Town() as town:
            server = await town.start("server", reader_bytes=2 << 20)
            client = await town.start("client")
            await client.connect(server.address)
            got: list[str] = []
            reading = asyncio.ensure_future(read(town, server, got))
            await asyncio.sleep(0)
            results = await asyncio.gather(
                *(client.send("server", part(number, size)) for number in range(4)),
            )
            for number in range(4, count):
                results.append(await client.send("server", part(number, size)))
            assert all(result.delivered for result in results)
            await reading
            assert sorted(got) == sorted(part(number, size) for number in range(count))

    run_virtual(story())


def test_the_same_between_two_processes() -> None:
    result = measure(parts=9, size=700_000, side_by_side=3, pause_s=0.01)
    assert judge(result, 9, Config()) == []
