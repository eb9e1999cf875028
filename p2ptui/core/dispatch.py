"""Arriving datagrams, told apart by first byte and source, and passed to their handlers."""

from typing import Final, NamedTuple

from p2ptui.core.addresses import socket_address
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.messages.arrivals import Arrivals
from p2ptui.core.messages.inbox import Inbox
from p2ptui.core.peers import Peer
from p2ptui.core.relay.failover import Failover
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.sessions.keepalive import Keepalives
from p2ptui.core.state import NodeState
from p2ptui.core.stun import StunService
from p2ptui.core.traversal.check_exchange import CheckExchange
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address
from p2ptui.wire.codec import JSON_START
from p2ptui.wire.frames import (
    FRAME_START,
    KEEPALIVE,
    KEPT_ALIVE,
    RELAY,
    RELAY_WHOLE,
    RELAYED,
    SEALS,
)

STUN_LAST_FIRST_BYTE: Final = 0x03
"""STUN messages begin with 0x00 to 0x03 (RFC 7983, section 7)."""


class Receivers(NamedTuple):
    """The handlers of each kind of datagram."""

    arrivals: Arrivals
    inbox: Inbox
    relay_frames: RelayFrames
    keepalives: Keepalives
    failover: Failover
    checks: CheckExchange
    probes: FilterProbes
    stun: StunService


class Dispatch:
    """The first look at every datagram.

    Args:
        state: The shared state.
        receivers: The handlers of each kind of datagram.
    """

    def __init__(self, state: NodeState, receivers: Receivers) -> None:
        self._state = state
        self._gate = state.gate
        self._counters = state.counters
        self._own_address = state.peers.own
        self._peer_beside = state.peers.beside
        self._receivers = receivers
        self._arrivals = receivers.arrivals
        self._checks = receivers.checks
        self._probes = receivers.probes
        self._stun = receivers.stun
        if self._arrivals.clear is not None:
            self._arrivals.clear.opening.early.take = self._take_early

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Take one datagram from the node's own socket."""
        gate = self._gate
        gate.now = now
        gate.source = address
        try:
            self._take(data, address, now)
        finally:
            gate.settle()

    def _take(self, data: bytes, address: Address, now: float) -> None:
        counters = self._counters
        size = len(data)
        counters.datagrams_in += 1
        counters.bytes_in += size
        if self._state.closing:
            counters.drop("closing")
            return
        peer = self._own_address(address)
        if peer is None:
            peer = self._peer_beside(address)
            if peer is None and not address[1]:
                counters.drop("no_port")  # a forged source: nothing can be sent there
                return
        purse = None
        if peer is not None:
            purse = peer.purse
            if address is not peer.address:  # for nearly all it is
                peer.note_asked_in_the_open(address)
        first = data[0] if size else -1
        if first == JSON_START:
            self._gate.note_arrival(purse, address, size)
            self._arrivals.receive(data, address, peer, now)
        elif first >= FRAME_START:
            self._gate.note_arrival(purse, address, size)
            if first in SEALS and self._arrivals.clear is not None:
                self._take_sealed(data, address, peer, now)
            elif peer is None or peer.seal is None:
                self._receive_frame(data, address, peer, now)
            else:
                counters.drop("unsealed")
        elif 0 <= first <= STUN_LAST_FIRST_BYTE:
            self._take_stun(data, address, peer, now)
        else:
            counters.drops["junk"] += 1

    def _take_stun(self, data: bytes, address: Address, peer: Peer | None, now: float) -> None:
        # It is answered whatever its sender has spent, so it must not pay for anything else.
        self._gate.note_arrival(None, address, len(data))
        if peer is not None:
            peer.purse.bytes_in += len(data)
        if not (
            self._checks.receive(data, address, 0, now) or self._probes.notice(data, address, now)
        ):
            self._stun.answer(data, address, Place.OWN, peer, now)

    def _take_sealed(self, data: bytes, address: Address, peer: Peer | None, now: float) -> None:
        """Handle the content of a sealed frame like any datagram from the peer that sealed it."""
        rules = self._arrivals.clear
        opened = None if rules is None else rules.opening.receive(data, address, peer, now)
        if opened is None:
            return
        inner, peer = opened
        peer.note_asked(address)
        self._gate.vouch()
        first = inner[0] if inner else -1
        if first == JSON_START:
            self._arrivals.receive(inner, address, peer, now, is_sealed=True)
        elif first >= FRAME_START:
            self._receive_frame(inner, address, peer, now)
        elif inner:
            self._counters.drop("junk")
        else:
            peer.liveness.hear(now)

    def _take_early(self, data: bytes, address: Address, now: float) -> None:
        """Take a sealed frame that has waited for its session; it was counted when it arrived."""
        if self._state.closing:
            return
        peer = self._own_address(address)
        if peer is None:
            peer = self._peer_beside(address)
        gate = self._gate
        gate.now = now
        gate.note_arrival(None if peer is None else peer.purse, address, 0)
        try:
            self._take_sealed(data, address, peer, now)
        finally:
            gate.settle()

    def _receive_frame(self, data: bytes, address: Address, peer: Peer | None, now: float) -> None:
        to = self._receivers
        if peer is None or not peer.is_authenticated:
            to.arrivals.receive_frame(address, peer, data, now)
        elif data[0] in (RELAY, RELAY_WHOLE):
            to.relay_frames.forward(peer, data, now)
        elif data[0] == RELAYED:
            unwrapped = to.relay_frames.unwrap(peer, data, now)
            if unwrapped is not None:
                sender = self._state.peers.at(unwrapped[1])
                if sender is not None and sender.path is not None:
                    to.checks.note_relayed(sender.node_id, now)
                self._take(*unwrapped, now)
                if sender is not None and sender.path is None:
                    if sender.answered_at == now and sender.home == unwrapped[1]:
                        peer.liveness.note_answer(now)  # what was answered went through it, too
                    to.failover.note_received(sender, now)
        elif data[0] in (KEEPALIVE, KEPT_ALIVE):
            to.keepalives.receive(peer, data, now)
        else:
            to.inbox.receive_frame(peer, data, now)

    def receive_beside(self, data: bytes, address: Address, socket: int, now: float) -> None:
        """Take one datagram from a further socket, which handles only checks and chosen paths."""
        self._gate.now = now
        try:
            self._take_beside(data, address, socket, now)
        finally:
            self._gate.settle()

    def _take_beside(self, data: bytes, address: Address, socket: int, now: float) -> None:
        if data and data[0] <= STUN_LAST_FIRST_BYTE:
            self._gate.note_arrival(None, address, len(data))
            self._receivers.checks.receive(data, address, socket, now)
            return
        known = socket_address(socket, address)
        if self._state.peers.at(known) is not None or known in self._state.detours:
            self._take(data, known, now)
        else:
            self._state.counters.drop("unauthenticated")
