"""A name is all its addresses, wherever one may stand; in a simulated network on virtual time."""

import asyncio
import logging
import socket

import pytest

from p2ptui.core.events import SendStatus
from p2ptui.core.sessions.race import STAGGER_S
from p2ptui.errors import HandshakeError, LocalError, P2PError
from p2ptui.io.refusal import HOST, PROHIBITED, Refusal
from p2ptui.node import Node
from p2ptui.node.connector import HEED_AFTER_S, LAST_WORD_S, Connector
from tests.town import LATENCY_S, Town
from tests.virtual_loop import VirtualLoop

ROUND_TRIP_S = 2 * LATENCY_S
DEAD = "10.0.0.99"
SIX, SEVEN = "2001:db8::6", "2001:db8::7"


def now() -> float:
    return asyncio.get_running_loop().time()


def run_with_names(story, names):
    """Run a story on virtual time; `names` has the addresses of each host, as they are asked."""

    class Loop(VirtualLoop):
        async def getaddrinfo(self, host, port, **options):
            found = names[host]
            if not isinstance(found, list):
                found = found()
            return [
                (
                    socket.AF_INET6 if ":" in one else socket.AF_INET,
                    socket.SOCK_DGRAM,
                    17,
                    "",
                    (one, port, 0, 0) if ":" in one else (one, port),
                )
                for one in found
            ]

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(story)


def test_a_name_whose_first_address_is_dead():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            began = now()
            peer = await client.connect("server.example:8080")
            assert peer.address == server.address
            assert now() - began == pytest.approx(STAGGER_S + ROUND_TRIP_S)
            assert (await client.send(peer, "hello")).status is SendStatus.DELIVERED
            await asyncio.sleep(20)
            assert [one.address for one in client.peers] == [server.address]

    run_with_names(story(), {"server.example": [DEAD, "10.0.0.2"]})


def test_a_server_at_ipv6_by_a_name_with_both():
    async def story():
        async with Town() as town:
            server = await town.start("server", (SIX, 8080))
            client = await town.start("client", (SEVEN, 8080))
            began = now()
            peer = await client.connect("server.example:8080")
            assert peer.address == server.address
            assert now() - began == pytest.approx(ROUND_TRIP_S)  # the other family is not tried

    run_with_names(story(), {"server.example": [DEAD, SIX]})


def test_a_name_that_the_socket_cannot_reach_names_the_option():
    async def story():
        async with Town() as town:
            client = await town.start("client")
            with pytest.raises(P2PError) as caught:
                await client.connect("server.example:8080")
            assert str(caught.value) == (
                f"server.example: cannot connect to [{SIX}]:8080, [{SEVEN}]:8080: an IPv4 socket"
                f" cannot send to {SIX}; start the node with --address '[::]:8080' to reach both"
                " IPv4 and IPv6"
            )

    run_with_names(story(), {"server.example": [SIX, SEVEN]})


def test_where_none_answers_those_that_were_not_tried_are_named_as_well():
    async def story():
        async with Town() as town:
            client = await town.start("client")
            with pytest.raises(HandshakeError) as caught:
                await client.connect("server.example:8080", timeout_s=2)
            text = str(caught.value)
            assert text.startswith(f"server.example: no answer from {DEAD}:8080; is a node running")
            assert f"cannot connect to [{SIX}]:8080: an IPv4 socket" in text
            assert "\n" not in text

    run_with_names(story(), {"server.example": [SIX, DEAD]})


def test_an_address_that_is_none_beside_one_that_is():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            peer = await client.connect("server.example:8080")
            assert peer.address == server.address

    run_with_names(story(), {"server.example": ["0.0.0.0", "224.0.0.1", "10.0.0.2"]})


def test_a_node_on_loopback_says_why_it_reaches_nobody_else():
    async def story():
        async with Town() as town:
            client = await town.start("client", ("127.0.0.1", 8080))
            for target in ("192.0.2.1:8080", "server.example:8080"):
                with pytest.raises(P2PError, match=r"--address 0\.0\.0\.0:8080 to reach others"):
                    await client.connect(target)

    run_with_names(story(), {"server.example": ["192.0.2.1"]})


def test_a_join_that_cannot_work_says_so_in_the_log(caplog):
    async def story():
        async with Town() as town:
            await town.start("client", ("127.0.0.1", 8080), join=("192.0.2.1:8080",))
            with caplog.at_level(logging.WARNING, "p2ptui.join"):
                await asyncio.sleep(2)
        assert "cannot join 192.0.2.1:8080" in caplog.text
        assert "--address 0.0.0.0:8080" in caplog.text

    run_with_names(story(), {})


def test_joining_by_name_tries_each_address_and_asks_again_at_each_reconnection():
    answers = [[DEAD, "10.0.0.2"], [DEAD, "10.0.0.3"]]
    asked = []

    def servers():
        asked.append(now())
        return answers[min(len(asked), 2) - 1]

    async def story():
        async with Town() as town:
            first, second = await town.start("first"), await town.start("second")
            client = await town.start(
                "client",
                join=("server.example:8080",),
                connection_timeout=5.0,
                heartbeat_interval=1.0,
            )
            await asyncio.sleep(1)
            assert [peer.name for peer in client.peers] == ["first"]
            assert len(asked) == 1
            town.crash(first)
            await asyncio.sleep(20)
            assert [peer.name for peer in client.peers] == [second.info.name]
            assert len(asked) == 2

    run_with_names(story(), {"server.example": servers})


def connector(node: Node, find_refusal) -> Connector:
    runtime = node._runtime
    return Connector(
        node._endpoint,
        runtime.call,
        now,
        node.address,
        runtime.require_running,
        runtime.flush,
        runtime.begin,
        find_refusal,
    )


async def refuse_dead(address, _is_over):
    await asyncio.sleep(ROUND_TRIP_S)
    return address[0] if address[0] == DEAD else None


def test_a_port_that_is_closed_is_told_at_once_to_who_asks_once():
    async def story():
        async with Town() as town:
            client = await town.start("client")
            once = connector(client, refuse_dead)
            began = now()
            with pytest.raises(HandshakeError) as caught:
                await once.connect((DEAD, 8080), 10, heed_refusals=True)
            assert now() - began == pytest.approx(HEED_AFTER_S + ROUND_TRIP_S)
            assert str(caught.value) == (
                f"{DEAD}:8080 refused: nothing listens there; is a node running there?"
            )
            began = now()
            with pytest.raises(HandshakeError, match="no answer"):
                await once.connect((DEAD, 8080), 10)
            assert now() - began == pytest.approx(10)

    run_with_names(story(), {})


def test_one_refusal_of_several_addresses_ends_that_attempt_only():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            once = connector(client, refuse_dead)
            began = now()
            result = await once.connect(("server.example", 8080), 10, heed_refusals=True)
            assert result.address == server.address
            assert now() - began == pytest.approx(HEED_AFTER_S + 2 * ROUND_TRIP_S)

    run_with_names(story(), {"server.example": [DEAD, "10.0.0.2"]})


def test_who_answers_at_once_is_not_asked_whether_it_refuses():
    async def never(_address, _is_over):
        raise AssertionError

    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            await connector(client, never).connect(server.address, 10, heed_refusals=True)
            await asyncio.sleep(5)
            assert not client.has_failed

    run_with_names(story(), {})


def test_a_refusal_by_a_firewall_names_it():
    async def by_router(_address, _is_over):
        return "10.0.0.254"

    async def story():
        async with Town() as town:
            client = await town.start("client")
            with pytest.raises(HandshakeError, match=r"refused by 10\.0\.0\.254 on the way"):
                await connector(client, by_router).connect((DEAD, 1), 10, heed_refusals=True)

    run_with_names(story(), {})


@pytest.mark.parametrize(
    ("refusal", "after_s", "words"),
    [
        (
            Refusal("10.0.0.254", PROHIBITED),
            HEED_AFTER_S,
            "a firewall at 10.0.0.254 refuses (administratively prohibited);"
            " allow UDP to that address there",
        ),
        (
            Refusal("10.0.0.254", HOST),
            10 - LAST_WORD_S,
            "a router at 10.0.0.254 says so (host unreachable);"
            " check the address, and that it is switched on",
        ),
    ],
)
def test_what_may_pass_is_only_named_when_the_time_is_over(refusal, after_s, words):
    async def by_router(_address, _is_over):
        return refusal

    async def story():
        async with Town() as town:
            client = await town.start("client")
            began = now()
            with pytest.raises(HandshakeError) as caught:
                await connector(client, by_router).connect((DEAD, 1), 10, heed_refusals=True)
            assert now() - began == pytest.approx(after_s)
            assert str(caught.value) == f"{DEAD}:1 is not reachable: {words}"

    run_with_names(story(), {})


def test_a_host_that_comes_back_in_time_is_reached():
    async def by_router(_address, _is_over):
        return Refusal("10.0.0.254", HOST)

    async def story():
        async with Town() as town:
            client = await town.start("client")
            once = connector(client, by_router)
            trying = asyncio.ensure_future(once.connect(("10.0.0.3", 8080), 10, heed_refusals=True))
            await asyncio.sleep(3)
            server = await town.start("server")
            assert server.address == ("10.0.0.3", 8080)
            assert (await trying).node_id == server.id
            await asyncio.sleep(10)
            assert [peer.name for peer in client.peers] == ["server"]

    run_with_names(story(), {})


def test_a_refusal_never_ends_a_session():
    async def late(address, _is_over):
        await asyncio.sleep(1)
        return address[0]

    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            once = connector(client, late)
            await once.connect(server.address, 10, heed_refusals=True)
            await asyncio.sleep(5)
            client._endpoint.refuse(server.address, "refused", now())
            assert [peer.name for peer in client.peers if peer.proved] == ["server"]
            assert (await client.send(server.id, "hello")).status is SendStatus.DELIVERED

    run_with_names(story(), {})


def test_each_address_can_be_given():
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            peer = await client.connect_any([(DEAD, 8080), server.address])
            assert peer.address == server.address
            with pytest.raises(LocalError):
                await client.connect_any([])
            with pytest.raises(LocalError, match="no port"):
                await client.connect_any([("10.0.0.2", 0)])

    run_with_names(story(), {})


def test_a_stun_partner_is_known_by_any_address_of_its_name():
    async def story():
        async with Town() as town:
            stun = {"enable": True, "port": 3478, "partner": "partner.example:8080"}
            partner = await town.start("partner")
            node = await town.start("node", stun_server=stun)
            await asyncio.sleep(2)
            assert [peer.name for peer in node.peers] == ["partner"]
            assert node._endpoint.stun._is_partner(node._endpoint.peers.at(partner.address))

    run_with_names(story(), {"partner.example": [DEAD, "10.0.0.2"]})


def test_a_path_that_carries_only_small_datagrams_is_told_from_a_dead_node():
    async def story():
        def narrow(data, source, to, _now):
            return (source, to) if len(data) <= 548 else None

        async with Town(translate=narrow) as town:
            server, client = await town.start("server"), await town.start("client")
            began = now()
            with pytest.raises(HandshakeError) as caught:
                await client.connect_any([server.address], 4, heed_refusals=True)
            assert now() - began == pytest.approx(4, abs=2 * LAST_WORD_S)
            assert str(caught.value) == (
                f"no answer to the handshake from {server.address[0]}:8080, where a node answers"
                " small datagrams; does the path carry datagrams of 720 bytes?"
            )
            with pytest.raises(HandshakeError, match=f"no answer from {DEAD}:8080; is a node"):
                await client.connect_any([(DEAD, 8080)], 4, heed_refusals=True)
            with pytest.raises(HandshakeError, match=r"no answer from .*; is a node"):
                await client.connect_any([server.address], 4)  # it goes on, and is not asked

    run_with_names(story(), {})


def test_a_stun_partner_is_met_over_ipv4_where_that_works(monkeypatch):
    """It helps over the version that it is met by; by another join the system's order holds."""
    names = [SIX, DEAD, SEVEN]
    asked = []

    async def story():
        async with Town() as town:
            tried = Connector.connect_any

            async def connect_any(self, addresses, timeout_s, **options):
                asked.append([host for host, _ in addresses])
                return await tried(self, addresses, timeout_s, **options)

            monkeypatch.setattr(Connector, "connect_any", connect_any)
            stun = {"enable": True, "port": 3478, "partner": "partner.example:8080"}
            node = await town.start("node", stun_server=stun)
            await asyncio.sleep(9)
            assert asked == [[DEAD], names]
            asked.clear()
            with pytest.raises(HandshakeError):
                await node.connect("server.example:8080", timeout_s=0.5)
            assert asked == [names]

    run_with_names(story(), {"partner.example": names, "server.example": names})
