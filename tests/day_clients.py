"""Deployed clients of four kinds, as raw datagrams, for the deployed-client day.

All of them take for an answer to their handshake only the first datagram that comes back, and never
acknowledge anything. What they are told, and what reaches them, is written into the day's account.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from p2ptui.wire.address import Address, format_address
from tests.day_world import DayWorld, Server
from tests.simulation import UNIX_START

GIVE_UP_S = 2.0
"""A client waits this long for the answer to its handshake."""

TRY_AGAIN_S = 5.0
RELAY_PATIENCE_S = 10.0
"""An answer to a RelayRequest names nothing: there is one on its way at a time."""


@dataclass
class Account:
    """What was told and what happened, in the whole day."""

    numbers: int = 0
    told_delivered: dict[int, str] = field(default_factory=dict)
    """Numbers of messages whose sender was told that they are delivered, and to whom they went."""
    received: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How often a message reached whom."""
    told_relayed: set[int] = field(default_factory=set)
    refused_relays: int = 0
    false_sources: list[str] = field(default_factory=list)
    routed: list[tuple[int, str]] = field(default_factory=list)
    """Messages that deployed clients routed to somebody who was there, and to whom."""
    echoes: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def number(self) -> int:
        """A number for one more message."""
        self.numbers += 1
        return self.numbers


class DayClient:
    """What all kinds have in common; the subclasses say what they do by themselves."""

    version = "0.3.0"
    answers_pings = True
    mean_pause_s = 600.0

    def __init__(self, world: DayWorld, server: Server, account: Account, name: str) -> None:
        self.world = world
        self.server = server
        self.account = account
        self.name = name
        self.id = world.node_id()
        self.address: Address = world.network.attach(world.address())
        self.rng = random.Random(f"{world.seed} {name}")
        self.others: Callable[[], str] = lambda: self.id
        """The id of somebody else, of any kind."""
        self.is_on = False
        self.is_joined = False
        self.claimed_id = self.id
        self._request = ""
        self._relay: int | None = None
        self._awaited: dict[str, int] = {}
        self._template = json.dumps(self._message("Pong", None)).encode()
        world.hosts[self.address] = self  # type: ignore[assignment]

    # What a client of any kind can do.

    def start(self) -> None:
        """Switch it on: it shakes hands until it is joined."""
        self.is_on = True
        self._join()
        self.world.after(self.pause_s(), self._live)

    def stop(self) -> None:
        """It ends without a word."""
        self.is_on = self.is_joined = False

    def pause_s(self) -> float:
        return self.rng.expovariate(1 / self.mean_pause_s)

    def _live(self) -> None:
        if self.is_on:
            if self.is_joined:
                self.act()
            self.world.after(self.pause_s(), self._live)

    def act(self) -> None:
        """Do one thing of one's own."""

    def _join(self) -> None:
        if not self.is_on or self.is_joined:
            return
        payload = {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "listen_addr": format_address(self.address),
            "capabilities": ["handshake", "discovery", "data_transfer"],
            "metadata": {},
            "network_id": "p2p_default",
        }
        self.account.counts["handshakes"] += 1
        self._request = self.say("HandshakeRequest", payload, requires_ack=True)
        self.world.after(GIVE_UP_S, lambda request=self._request: self._give_up(request))

    def _give_up(self, request: str) -> None:
        if self._request == request:
            self._request = ""
            self.world.after(TRY_AGAIN_S, self._join)

    def _message(self, kind: str, payload: Any, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.world.message_id(),
            "message_type": kind,
            "timestamp": UNIX_START + int(self.world.now),
            "payload": payload,
            "sender_addr": None,
            "sequence_number": 1,
            "requires_ack": False,
            "ack_for": None,
        } | fields

    def say(self, kind: str, payload: Any, **fields: Any) -> str:
        """Send a message; its id."""
        message = self._message(kind, payload, **fields)
        self._send(json.dumps(message, separators=(",", ":")).encode())
        return str(message["id"])

    def _send(self, data: bytes) -> None:
        self.world.network.send(data, self.address, self.server.address, self.world.now)

    # What reaches it.

    def settle(self) -> None:
        pass

    def receive(self, data: bytes, source: Address) -> None:
        if not self.is_on or source != self.server.address:
            return
        if b'"message_type":"Ping"' in data and not self._request:
            if self.answers_pings:
                self.account.counts["pongs"] += 1
                self._send(self._template)
            return
        message = json.loads(data)
        kind, payload = message["message_type"], message["payload"]
        if self._request:
            # Whatever comes first must be the answer.
            self._request = ""
            if kind == "HandshakeResponse" and payload["success"] and self._accepts(payload):
                self.is_joined = True
                self.joined(payload["node_info"])
            else:
                self.account.counts[f"first datagram: {kind}"] += 1
                self.world.after(TRY_AGAIN_S, self._join)
        elif kind == "Data":
            self._receive_data(payload)
        elif kind == "Ack":
            number = self._awaited.pop(message["ack_for"], None)
            if number is not None:
                self.account.told_delivered[number] = self.server.id
        elif kind == "RelayResponse" and self._relay is not None:
            number, self._relay = self._relay, None
            if payload["success"]:
                self.account.told_relayed.add(number)
            else:
                self.account.refused_relays += 1
        elif kind == "Error" and payload.get("code") == "unauthenticated":
            self.is_joined = False
            self._join()
        else:
            self.account.counts[f"got {kind}"] += 1

    def _accepts(self, response: dict[str, Any]) -> bool:
        return True

    def joined(self, server: dict[str, Any]) -> None:
        """The handshake is complete."""

    def _receive_data(self, payload: Any) -> None:
        if "echo" in payload:
            self.account.echoes += 1
        elif "original_message" in payload:
            inner = payload["original_message"]["payload"]
            self.account.received[inner["n"], self.id] += 1
            if payload["source_node"] != inner["from"]:
                self.account.false_sources.append(f"{payload['source_node']} for {inner['from']}")

    # Single actions.

    def speak(self) -> None:
        """Data for the server, which is to be acknowledged and echoed."""
        number = self.account.number()
        self._awaited[self.say("Data", {"n": number}, requires_ack=True)] = number

    def look(self) -> None:
        """Ask for one of the lists."""
        kind = self.rng.choice(["ListNodesRequest", "DiscoveryRequest", "Data"])
        self.say(kind, {"cmd": "get_routes"} if kind == "Data" else None)

    def route(self) -> None:
        """A message for another node, under the id that this client takes for its own."""
        number, target = self.account.number(), self.others()
        inner = self._message("Data", {"n": number, "from": self.id})
        payload = {
            "original_message": inner | {"sequence_number": None},
            "source_node": self.claimed_id,
            "destination_node": target,
            "hop_count": 0,
            "max_hops": 8,
            "route_id": self.world.message_id(),
        }
        if self.server.endpoint.peers.authenticated(target) is not None and target != self.id:
            self.account.routed.append((number, target))
        self.say("Data", payload)

    def relay(self) -> None:
        """Bytes for another node, by way of the server."""
        if self._relay is not None:
            return
        number = self._relay = self.account.number()
        data = list(number.to_bytes(8, "big"))
        self.say("RelayRequest", {"target_peer_id": self.others(), "data": data})
        self.account.counts["relays asked for"] += 1

        def end() -> None:
            if self._relay == number:
                self._relay = None  # no answer: the request or the answer was lost

        self.world.after(RELAY_PATIENCE_S, end)


class Interactive(DayClient):
    """Somebody at a terminal: it takes the server's id for its own, and comes and goes."""

    mean_pause_s = 300.0
    mean_stay_s = 4 * 3600.0

    def joined(self, server: dict[str, Any]) -> None:
        self.claimed_id = server["id"]
        self.world.after(self.rng.expovariate(1 / self.mean_stay_s), self._leave)

    def _leave(self) -> None:
        if not self.is_joined:
            return
        if self.rng.random() < 0.5:
            self.say("Disconnect", {"reason": "done"})
        self.stop()
        self.world.after(self.rng.uniform(10, 200), self.start)

    def act(self) -> None:
        self.rng.choice([self.speak, self.look, self.route, self.relay])()


class Quiet(DayClient):
    """It sits idle for half an hour at a time and answers Pings only."""

    mean_pause_s = 1800.0

    def act(self) -> None:
        self.speak()


class Mute(DayClient):
    """It answers no Ping; mostly it speaks often enough, but now and then it is idle for longer."""

    answers_pings = False
    long_pause_share = 1 / 180

    def pause_s(self) -> float:
        if self.rng.random() < self.long_pause_share:
            return 200.0
        return self.rng.uniform(20, 50)

    def act(self) -> None:
        self.rng.choice([self.speak, self.speak, self.look, self.route])()


class Old(Interactive):
    """Version 0.2.0: it looks for the network in the metadata of the first datagram."""

    version = "0.2.0"

    def _message(self, kind: str, payload: Any, **fields: Any) -> dict[str, Any]:
        return super()._message(kind, payload, **({"sequence_number": None} | fields))

    def _accepts(self, response: dict[str, Any]) -> bool:
        accepts = response["node_info"]["metadata"].get("network_id") == "p2p_default"
        self.account.counts["gave up for want of a network"] += not accepts
        return bool(accepts)


KINDS: tuple[type[DayClient], ...] = (Interactive, Quiet, Mute, Old)
