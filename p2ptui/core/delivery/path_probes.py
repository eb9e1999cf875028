"""Probes of the largest datagram on the path to a peer, and answers to the probes of others.

Peers that announced `path_probe` are sent a binary frame and answer with a short one, so each
direction is measured by itself. Other programs are sent a Ping with padding, but only to find out
whether an unacknowledged message was too large for the path. Peers that have not proved their
address are never probed.
"""

from collections.abc import Callable, Iterable

from p2ptui.core.accounts import Reason
from p2ptui.core.delivery.delivery import Delivery
from p2ptui.core.events import PathMtuChanged, PingResult
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.path_mtu import Probe
from p2ptui.core.state import NodeState
from p2ptui.errors import P2PError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.frames import (
    PathProbe,
    PathProbeAnswer,
    encode_path_probe,
    encode_path_probe_answer,
)
from p2ptui.wire.message import Capability, MessageType, PingPayload


class _PaddedPing(PingPayload):
    padding: str = ""


class PathProbes:
    """Sends probes, answers those of others, and evaluates the answers.

    Args:
        state: The shared state.
        delivery: Sends messages, and reports when it is a peer's turn.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self.sharing: Callable[[Peer, int], Iterable[tuple[Peer, int]]] = lambda *one: (one,)
        """The peer over whose path a peer's datagrams first travel, and how many bytes a datagram
        of a given size has there; set by the code that knows."""
        delivery.probe_path = self._send

    def _send(self, peer: Peer, now: float) -> None:
        """Send a peer's due probes, and report the results."""
        path = peer.channel.sender.path
        if peer.purse.proved:
            probes = path.take(self._state.ids.nonce, now)
            if probes and Capability.PATH_PROBE not in peer.facts.capabilities:
                self._ping(peer, probes, now)
            else:
                for probe in probes:
                    key = bytes.fromhex(probe.key)
                    data = encode_path_probe(key, probe.size_bytes, whole=probe.unfragmented)
                    self._delivery.transmit_frame(peer, data)
        if path.take_news():
            self._state.emit(PathMtuChanged(peer.node_id, peer.sends_to, *path.on_wire))

    def _ping(self, peer: Peer, probes: list[Probe], now: float) -> None:
        """Send probes as Pings, whose answers may not say which one they answer."""
        for probe in probes:
            self._send_ping(peer, probe, now)
        pings, keys = peer.pings, [probe.key for probe in probes]

        def forget(_now: float) -> None:
            pings.forget(keys)

        self._state.timers.schedule(now + peer.channel.rtt.rto(), forget)

    def _send_ping(self, peer: Peer, probe: Probe, now: float) -> None:
        payload = _PaddedPing(probe.key)
        _, data = self._delivery.build(MessageType.PING, encode_payload(payload), now)
        if probe.size_bytes > len(data):
            payload.padding = " " * (probe.size_bytes - len(data))
            _, data = self._delivery.build(MessageType.PING, encode_payload(payload), now)
        self._delivery.transmit(peer, data, MessageType.PING, now, reason=Reason.OWN_PLAN)
        path = peer.channel.sender.path

        def end(outcome: PingResult | P2PError) -> None:
            if isinstance(outcome, PingResult):
                path.handle_answer(probe.key, now + outcome.rtt_s)
                self._delivery.flush(peer, now + outcome.rtt_s)

        # An answer that names none is credited to the large one last of all.
        last = probe.size_bytes == 0
        ping = peer.pings.add(probe.key, now, self._state.counters.drop, last=last)
        ping.on_end = end

    def handle_refused(self, address: Address, size_bytes: int, now: float) -> bool:
        """The local system does not send datagrams of this size to `address`.

        Returns:
            Whether there is a session with it, which goes on in smaller datagrams.
        """
        peer = self._state.peers.at(address)
        if peer is None:
            return False
        for each, size in self.sharing(peer, size_bytes):
            each.channel.sender.path.note_refused(size, now)
            self._delivery.flush(each, now)
        return peer.is_authenticated

    def handle(self, peer: Peer, frame: PathProbe | PathProbeAnswer, now: float) -> None:
        """A peer that has proved its address has sent a probe, or the answer to one."""
        if isinstance(frame, PathProbe):
            self._delivery.transmit_frame(peer, encode_path_probe_answer(frame.key))
        else:
            peer.channel.sender.path.handle_answer(frame.key.hex(), now)
