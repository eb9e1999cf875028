"""The parts of the bus that need no broker: names, words for trouble, what a watch believes."""

import asyncio
import json
import socket
import ssl
import uuid

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from p2ptui.io.ended import end_tasks
from p2ptui.io.nats_names import Names, network_token
from p2ptui.io.nats_trouble import AWAY_S, REFUSED_S, BrokerError, trouble
from p2ptui.io.nats_watch import PULL, PULL_S, Watch, answered


@pytest.mark.parametrize("network_id", ["p2p_default", "Blue-7", "x" * 64])
def test_a_plain_network_id_is_seen_in_subjects(network_id: str) -> None:
    names = Names.of(network_id)
    node_id = str(uuid.uuid4())
    assert names.subject("servers") == f"p2ptui.{network_id}.servers"
    assert names.subject(node_id) == f"p2ptui.{network_id}.to.{node_id}"
    assert names.stream == f"KV_p2ptui_{network_id}"
    assert names.keys == f"$KV.p2ptui_{network_id}."


def test_any_other_is_hashed_and_none_is_taken_for_another() -> None:
    odd = ["a.b", "*", ">", "a b", "ä", "x" * 65, "x\r\nPUB y 0", "h-1", network_token("a.b")]
    tokens = [network_token(text) for text in odd]
    assert len(set(tokens)) == len(odd)
    assert all(token.startswith("h-") and len(token) == 34 for token in tokens)


@pytest.mark.parametrize(
    ("error", "says", "again_s"),
    [
        (ConnectionRefusedError(), "there is no broker at", AWAY_S),
        (TimeoutError(), "does not answer", AWAY_S),
        (socket.gaierror(-2, "Name or service not known"), "was not found", AWAY_S),
        (ConnectionResetError(), "ended the connection", AWAY_S),
        (ssl.SSLError(1, "tlsv13 alert certificate required"), "cluster.tls_cert", REFUSED_S),
        (RuntimeError("nats: 'Authorization Violation'"), "cluster.credentials", REFUSED_S),
        (RuntimeError("nats: 'User Authentication Expired'"), "cluster.credentials", REFUSED_S),
        (RuntimeError('Permissions Violation for Publish to "a.b"'), "to publish (", REFUSED_S),
        (RuntimeError("something else"), "cannot be used: something else", AWAY_S),
        (RuntimeError(), "cannot be used: RuntimeError", AWAY_S),
        (BrokerError("as it is", 5.0), "as it is", 5.0),
    ],
)
def test_trouble_is_told_in_a_line(error: Exception, says: str, again_s: float) -> None:
    told = trouble(error, "nats://host")
    assert says in str(told)
    assert "\n" not in str(told)
    assert told.again_s == again_s


class Story:
    """A watch that has begun, on a clock that is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 100.0
        self.watch = Watch("inbox", Names.of("net"), self.write, lambda: self.now)
        self.watch.begin("consumer")

    def write(self, subject: str, _data: bytes, reply: str) -> bool:
        what = "INFO" if reply.endswith(".much") else "MSG.NEXT"
        assert subject == f"$JS.API.CONSUMER.{what}.KV_p2ptui_net.consumer"
        self.asked.append(reply)
        return True

    def entry(self, reply: str) -> tuple[int, int]:
        return self.watch.take(Msg(Client(), subject="$KV.p2ptui_net.k", reply=reply))

    def status(self, subject: str, status: str) -> None:
        self.watch.take_status(Msg(Client(), subject=subject, headers={"Status": status}))

    def tell_how_much(self, pending: int, sent: int) -> None:
        answer = {"num_pending": pending, "delivered": {"consumer_seq": sent}}
        data = json.dumps(answer).encode()
        self.watch.take_status(Msg(Client(), subject="inbox.pull.much", data=data))


async def test_entries_come_in_order_with_a_domain_or_without() -> None:
    story = Story()
    assert story.entry("$JS.ACK.stream.consumer.1.17.1.1700000000.4") == (17, 4)
    assert story.entry("$JS.ACK.hub.hash.stream.consumer.1.19.2.1700000000.3.x") == (19, 3)
    with pytest.raises(BrokerError, match="were missed"):
        story.entry("$JS.ACK.stream.consumer.1.23.4.1700000000.1")


@pytest.mark.parametrize("reply", ["x", "$JS.ACK.a.b.c.d.e.f.g", "$JS.ACK.a.b.1.-.1.1.1", "." * 99])
async def test_what_makes_no_sense_ends_the_watch(reply: str) -> None:
    with pytest.raises(BrokerError, match="makes no sense"):
        Story().entry(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "a.b.c.d.1.23.4.5.6",
        "$JS.ACK.KV_p2ptui_net.other.1.23.4.5.6",
        "$JS.ACK.a.consumer.1.23.4.5.6",
        "x",
    ],
)
async def test_what_somebody_else_sends_to_the_place_of_entries_is_none(reply: str) -> None:
    watch = Story().watch
    assert not watch.is_of_it(reply)
    assert watch.is_of_it("$JS.ACK.KV_p2ptui_net.consumer.1.17.1.1700000000.4")
    assert watch.is_of_it("$JS.ACK.hub.hash.KV_p2ptui_net.consumer.1.19.2.1700000000.3.x")


async def test_more_is_asked_for_when_all_have_come_or_none_do() -> None:
    story = Story()
    for number in range(1, PULL + 1):
        story.entry(f"$JS.ACK.stream.consumer.1.{number}.{number}.1700000000.9")
    assert story.asked == ["inbox.pull.1", "inbox.pull.2"]
    story.status("inbox.pull.1", "408")  # of the one before
    assert len(story.asked) == 2
    story.watch.is_read = True
    story.status("inbox.pull.2", "408")
    assert story.asked[2:] == ["inbox.pull.3"]
    with pytest.raises(BrokerError, match="ended the watch"):
        story.status("inbox.pull.3", "409")


@pytest.mark.parametrize(
    ("pending", "sent", "is_read"), [(0, 1, True), (1, 1, False), (0, 2, False), (1, 2, False)]
)
async def test_all_is_read_if_the_broker_has_nothing_more_and_all_it_sent_is_here(
    pending: int, sent: int, is_read: bool
) -> None:
    story = Story()
    story.entry("$JS.ACK.stream.consumer.1.17.1.1700000000.4")
    story.status("inbox.pull.1", "408")  # it is busy, or there is nothing
    assert not story.watch.is_read
    assert story.asked[1:] == ["inbox.pull.2", "inbox.pull.much"]
    story.tell_how_much(pending, sent)
    assert story.watch.is_read is is_read
    story.status("inbox.pull.1", "404")  # of one that is over
    assert len(story.asked) == 3
    story.status("inbox.pull.2", "408")
    assert story.asked[3:] == ["inbox.pull.3"] + ["inbox.pull.much"] * (not is_read)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"error":{"code":404}}', b"[]"])
async def test_a_broker_that_does_not_say_how_much_there_is_ends_the_watch(data: bytes) -> None:
    with pytest.raises(BrokerError, match="makes no sense"):
        Story().watch.take_status(Msg(Client(), subject="inbox.pull.much", data=data))


async def test_a_broker_that_says_nothing_has_forgotten_the_watch() -> None:
    story = Story()
    story.status("inbox.pull.1", "408")
    story.now += PULL_S + 1
    story.watch.require_alive(story.now)
    with pytest.raises(BrokerError, match="stood still"):
        story.watch.require_alive(story.now + 2)


async def test_a_task_that_takes_no_notice_of_its_end_is_told_again() -> None:
    told = []

    async def deaf() -> None:
        while len(told) < 3:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                told.append("once more")

    task = asyncio.ensure_future(deaf())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert task.done()
    assert len(told) == 3


def test_answers_are_known_by_their_number() -> None:
    assert answered("inbox.put.17") == 17
    assert {answered(text) for text in ("", "a", "a.b", "a.-1", "a." + "9" * 40, "a.²")} == {0}
