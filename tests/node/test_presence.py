"""A node without STUN is known by its answer to a Ping, and nobody else is taken for one."""

import asyncio
import random

import pytest

from p2ptui.io.memory import MemorySocket
from p2ptui.node.presence import PAUSE_S, SENDS, is_node_at
from p2ptui.wire.address import Address
from tests.town import Town
from tests.virtual_loop import run_virtual

HERE, THERE = "10.0.0.200", ("10.0.0.99", 8080)


async def ask(town: Town, address: Address) -> bool:
    async def open_socket(at: Address) -> MemorySocket:
        return await MemorySocket.open(town.network, at)

    return await is_node_at(open_socket, HERE, address, random.Random(1))


def test_a_node_answers():
    async def story():
        async with Town() as town:
            server = await town.start("server")
            assert await ask(town, server.address) is True

    run_virtual(story())


def test_a_lost_question_is_asked_again():
    async def story():
        async with Town(loss=0.4) as town:
            server = await town.start("server")
            assert await ask(town, server.address) is True

    run_virtual(story())


def test_nobody_answers_in_time():
    async def story():
        async with Town() as town:
            began = asyncio.get_running_loop().time()
            assert await ask(town, THERE) is False
            took_s = asyncio.get_running_loop().time() - began
            assert took_s == pytest.approx(SENDS * PAUSE_S)

    run_virtual(story())


@pytest.mark.parametrize("said", [b"", b"{}", b"junk", b"\x01\x01\x00\x00", b"[" * 1000])
def test_other_bytes_and_other_senders_are_no_answer(said):
    async def story():
        async with Town() as town:
            there = await MemorySocket.open(town.network, THERE)
            elsewhere = await town.start("elsewhere")
            question = asyncio.ensure_future(ask(town, THERE))
            await asyncio.sleep(0.1)
            for data, source in there.drain(10):
                there.send(said, source)
                # A node's own words, but from another address.
                (await MemorySocket.open(town.network, ("10.0.0.98", 1))).send(data, source)
            assert await question is False
            there.close()
            assert elsewhere.stats().connected == 0

    run_virtual(story())
