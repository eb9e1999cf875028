"""STUN transactions: sent again until answered, no answer taken on trust, losses known."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.io.stun_client import CONTACT, Schedule, StunClient, steady_schedule
from p2ptui.wire.address import Address
from p2ptui.wire.stun import Change, MessageClass, StunMessage, decode, encode
from tests.virtual_loop import VirtualLoop, run_virtual

CLIENT, SERVER = ("10.0.0.1", 5000), ("10.0.0.2", 3478)
ELSEWHERE, STRANGER = ("10.0.0.3", 3479), ("10.0.0.66", 3478)
LATENCY_S = 0.02
EVERY_100_MS = Schedule((0.0, 0.1, 0.2, 0.3), 0.5)


def now() -> float:
    return asyncio.get_running_loop().time()


class Bench:
    """A client, and a server that is played by the test."""

    async def __aenter__(self) -> "Bench":
        self.network = MemoryNetwork(latency_s=LATENCY_S)
        self.client = StunClient(
            await MemorySocket.open(self.network, CLIENT), random.Random("stun client")
        )
        self.server = await MemorySocket.open(self.network, SERVER)
        self.began = now()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.client.close()
        self.server.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def requests(self, count: int) -> list[StunMessage]:
        """The next requests that the server gets."""
        taken: list[StunMessage] = []
        while len(taken) < count:
            await self.server.wait()
            taken += [decode(data) for data, _ in self.server.drain(count - len(taken))]
        return taken

    def answer(self, request: StunMessage, **fields: Any) -> None:
        self.server.send(encode(success(request, **fields)), CLIENT)

    async def answer_from(self, source: Address, request: StunMessage) -> None:
        other = await MemorySocket.open(self.network, source)
        other.send(encode(success(request)), CLIENT)
        await asyncio.sleep(2 * LATENCY_S)
        other.close()


def success(request: StunMessage, **fields: Any) -> StunMessage:
    fields = {
        "message_class": MessageClass.SUCCESS,
        "transaction_id": request.transaction_id,
        "xor_mapped": CLIENT,
    } | fields
    return StunMessage(**fields)


def run(story: Coroutine[Any, Any, None]) -> None:
    run_virtual(story, limit_s=600)


def test_an_answer_ends_a_transaction_and_gives_its_round_trip() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (request,) = await bench.requests(1)
            assert request.message_class is MessageClass.REQUEST
            bench.answer(request)
            answer = await transaction.wait()
            assert answer is not None
            assert (answer.message.xor_mapped, answer.source) == (CLIENT, SERVER)
            assert answer.rtt_s == pytest.approx(2 * LATENCY_S)
            assert transaction.lost == 0
            await asyncio.sleep(1)
            assert bench.server.drain(10) == []  # it is not sent again

    run(story())


def test_it_is_sent_by_the_schedule_and_then_given_up() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            assert await transaction.wait() is None
            assert now() - bench.began == pytest.approx(0.5)
            sent = [at - bench.began for at in transaction.sent_at_s]
            assert sent == pytest.approx([0, 0.1, 0.2, 0.3])
            requests = await bench.requests(4)
            assert len({r.transaction_id for r in requests}) == 4
            assert len({r.transaction_id[:11] for r in requests}) == 1

    run(story())


def test_a_process_that_was_held_up_still_waits_between_two_transmissions() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop._jump(2.0)
            assert await transaction.wait() is None
            sent = [at - bench.began for at in transaction.sent_at_s]
            assert sent == pytest.approx([0, 2.0, 2.1, 2.2])
            assert now() - bench.began == pytest.approx(2.4)

    run(story())


def test_which_transmission_is_answered_is_known_and_so_is_the_round_trip() -> None:
    async def story() -> None:
        async with Bench() as bench:
            bench.network.partition(CLIENT, SERVER)
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            await asyncio.sleep(0.15)
            bench.network.heal(CLIENT, SERVER)
            (request,) = await bench.requests(1)
            bench.answer(request)
            answer = await transaction.wait()
            assert answer is not None
            assert (answer.transmission, transaction.lost) == (2, 2)
            assert answer.rtt_s == pytest.approx(2 * LATENCY_S)

    run(story())


def test_a_late_answer_to_an_earlier_transmission_counts_with_its_own_round_trip() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (first,) = await bench.requests(1)
            await asyncio.sleep(0.2)
            bench.answer(first)
            answer = await transaction.wait()
            assert answer is not None
            assert answer.transmission == 0
            assert answer.rtt_s == pytest.approx(0.2 + 2 * LATENCY_S)

    run(story())


def test_an_answer_from_somebody_else_is_not_taken() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (request,) = await bench.requests(1)
            await bench.answer_from(STRANGER, request)
            assert not transaction.done.is_set()
            bench.answer(request)
            answer = await transaction.wait()
            assert answer is not None
            assert answer.source == SERVER

    run(story())


def test_where_another_place_was_asked_to_answer_its_source_is_told() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS, change=Change.BOTH)
            (request,) = await bench.requests(1)
            assert request.change_request == Change.BOTH
            await bench.answer_from(ELSEWHERE, request)
            answer = await transaction.wait()
            assert answer is not None
            assert answer.source == ELSEWHERE

    run(story())


@pytest.mark.parametrize(
    "change_answer",
    [
        pytest.param({"transaction_id": b"another one!"}, id="another transaction"),
        pytest.param({"message_class": MessageClass.INDICATION}, id="an indication"),
        pytest.param({"message_class": MessageClass.REQUEST}, id="its own request"),
    ],
)
def test_what_answers_nothing_is_a_stray(change_answer: dict[str, Any]) -> None:
    async def story() -> None:
        async with Bench() as bench:
            strays: list[tuple[StunMessage, Address]] = []
            bench.client.on_stray = lambda message, source: strays.append((message, source))
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (request,) = await bench.requests(1)
            bench.answer(request, **change_answer)
            assert await transaction.wait() is None
            assert [source for _, source in strays] == [SERVER]

    run(story())


def test_a_transmission_that_was_never_sent_cannot_be_answered() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (request,) = await bench.requests(1)
            forged = msgspec.structs.replace(
                request, transaction_id=request.transaction_id[:11] + b"\x09"
            )
            bench.answer(forged)
            assert await transaction.wait() is None

    run(story())


def test_an_error_is_an_answer() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (request,) = await bench.requests(1)
            bench.answer(
                request,
                message_class=MessageClass.ERROR,
                xor_mapped=None,
                error=(420, "Unknown Attribute"),
            )
            answer = await transaction.wait()
            assert answer is not None
            assert answer.message.error == (420, "Unknown Attribute")

    run(story())


def test_what_the_system_does_not_send_says_why() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(("2001:db8::1", 3478), EVERY_100_MS)
            assert await transaction.wait() is None
            assert transaction.error
            # There is nothing to wait for.
            assert now() == bench.began
            assert transaction.sent == 0

    run(story())


def test_closing_lets_a_cancellation_through() -> None:
    async def story() -> None:
        async with Bench() as bench:
            closing = asyncio.ensure_future(bench.client.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing

    run(story())


def test_closing_tells_what_the_reader_died_of() -> None:
    async def story() -> None:
        async with Bench() as bench:

            def fail(*_: Any) -> None:
                raise RuntimeError("a defect")

            client = StunClient(
                await MemorySocket.open(bench.network, STRANGER), random.Random("another")
            )
            client.on_stray = fail
            bench.server.send(
                encode(
                    success(
                        StunMessage(
                            message_class=MessageClass.REQUEST, transaction_id=b"not expected"
                        )
                    )
                ),
                STRANGER,
            )
            await asyncio.sleep(1)
            with pytest.raises(RuntimeError, match="a defect"):
                await client.close()

    run(story())


def test_many_transactions_share_a_socket() -> None:
    async def story() -> None:
        async with Bench() as bench:
            started = [bench.client.start(SERVER, EVERY_100_MS) for _ in range(20)]
            requests = await bench.requests(20)
            for request in reversed(requests):
                bench.answer(request, xor_mapped=("10.0.0.1", request.transaction_id[0] + 1))
            for transaction, request in zip(started, requests, strict=True):
                answer = await transaction.wait()
                assert answer is not None
                assert answer.message.xor_mapped == ("10.0.0.1", request.transaction_id[0] + 1)

    run(story())


def test_an_indication_carries_the_tag_by_which_it_is_known() -> None:
    async def story() -> None:
        async with Bench() as bench:
            bench.client.indicate(SERVER)
            (message,) = await bench.requests(1)
            assert message.message_class is MessageClass.INDICATION
            assert message.transaction_id == bench.client.tag

    run(story())


def test_closing_gives_up_what_is_under_way() -> None:
    async def story() -> None:
        async with Bench() as bench:
            told: list[str] = []
            transaction = bench.client.start(SERVER, CONTACT)
            transaction.on_done = lambda: told.append("done")
            await asyncio.sleep(0.1)
            await bench.client.close()
            assert await transaction.wait() is None
            assert told == ["done"]
            await asyncio.sleep(10)
            assert len(bench.server.drain(100)) == 1

    run(story())


def test_garbage_does_no_harm() -> None:
    async def story() -> None:
        async with Bench() as bench:
            transaction = bench.client.start(SERVER, EVERY_100_MS)
            (request,) = await bench.requests(1)
            for data in (b"", b"\x01", b"{}", encode(success(request))[:-1]):
                bench.server.send(data, CLIENT)
            bench.answer(request)
            assert await transaction.wait() is not None

    run(story())


def test_the_first_contact_is_over_before_three_seconds() -> None:
    assert len(CONTACT.sends_at_s) >= 6
    assert CONTACT.give_up_s < 3


@given(st.floats(0, 3), st.integers(1, 20))
def test_a_steady_schedule_waits_for_the_last_answer(rtt_s: float, sends: int) -> None:
    schedule = steady_schedule(rtt_s, sends)
    assert len(schedule.sends_at_s) == sends
    assert schedule.sends_at_s[0] == 0
    pauses = [
        after - before
        for before, after in zip(schedule.sends_at_s, schedule.sends_at_s[1:], strict=False)
    ]
    assert all(0.1 - 1e-9 <= pause <= 0.15 + 1e-9 for pause in pauses)
    assert schedule.give_up_s - schedule.sends_at_s[-1] >= 2 * rtt_s - 1e-9
