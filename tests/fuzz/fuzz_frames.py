"""Binary frames: what is read is written back the same, and both halves of a transfer keep to it.

The first byte says which: one datagram for all readers, fragments for a receiver, or reports for a
sender.
"""

from collections import Counter
from typing import Final

from p2ptui.core.reliability.fragments import OutgoingTransfer
from p2ptui.core.reliability.reassembly import (
    PARTIAL_MESSAGES_PER_PEER,
    Assembled,
    Reassembly,
    ReassemblyBudget,
)
from p2ptui.wire.frames import (
    FRAGMENT_OVERHEAD,
    KEEPALIVE,
    MAX_BITMAP_BYTES,
    MIN_CHUNK_BYTES,
    RELAY_OVERHEAD,
    Fragment,
    FragmentAck,
    Keepalive,
    PathProbe,
    TransferStatus,
    Unfragmented,
    decode_frame,
    decode_keepalive,
    decode_path_probe,
    decode_relay,
    encode_fragment,
    encode_fragment_ack,
    encode_keepalive,
    encode_kept_alive,
    encode_path_probe,
    encode_path_probe_answer,
    encode_relay,
)
from tests.fuzz.choices import Choices

MAX_BYTES: Final = 300
"""Of one case."""

MAX_STEPS: Final = 30

FED: Final[Counter[str]] = Counter()
"""What all cases of this process have fed: datagrams."""

MAX_MESSAGE_BYTES: Final = 20_000
PEER_BYTES: Final = 30_000
TOTAL_BYTES: Final = 50_000
TIMEOUT_S: Final = 10.0
_CHUNKS: Final = (256, 300, 1185, 255, 512, 65535, 257)
_TOTALS: Final = (1000, 1, 256, 257, 5000, 19_999, 20_001, 2**32 - 1, 0)
_INDEXES: Final = (0, 1, 2, 3, 78, 79, 2**32 - 1, 4)


def test_one(data: bytes) -> None:
    """One case."""
    choices = Choices(data)
    way = choices.byte() % 3
    if way == 0:
        _read(choices.rest())
    elif way == 1:
        _receive(choices)
    else:
        _send(choices)


# One datagram.


def _read(data: bytes) -> None:
    FED["datagrams"] += 1
    frame = decode_frame(data)
    if isinstance(frame, Fragment):
        assert encode_fragment(frame) == data
        assert frame.index < frame.count
        assert frame.chunk_bytes >= MIN_CHUNK_BYTES
    elif frame is not None:
        assert encode_fragment_ack(frame) == data
        assert len(frame.bitmap) <= MAX_BITMAP_BYTES
    _read_probe(data)
    _read_keepalive(data)
    inner = decode_relay(data)
    if inner is not None:
        node_id, datagram = inner
        wrapped = encode_relay(data[0], node_id, datagram)
        assert wrapped == data
        assert len(wrapped) == RELAY_OVERHEAD + len(datagram)
        probe = decode_path_probe(datagram)
        if isinstance(wrapped, Unfragmented):
            assert probe is None or isinstance(probe, PathProbe)


def _read_probe(data: bytes) -> None:
    probe = decode_path_probe(data)
    if isinstance(probe, PathProbe):
        written = encode_path_probe(probe.key, len(data), whole=False)
        assert decode_path_probe(written) == probe
        assert len(written) == len(data)
    elif probe is not None:
        assert encode_path_probe_answer(probe.key) == data


def _read_keepalive(data: bytes) -> None:
    keepalive = decode_keepalive(data)
    if isinstance(keepalive, Keepalive):
        assert data[0] == KEEPALIVE
        again = decode_keepalive(encode_keepalive(keepalive))
        assert isinstance(again, Keepalive)
        assert abs(again.later_s - keepalive.later_s) < 0.11
    elif keepalive is not None:
        assert decode_keepalive(encode_kept_alive(keepalive)) == keepalive


# A receiver.


def _receive(choices: Choices) -> None:
    budget = ReassemblyBudget(TOTAL_BYTES)
    peers = [Reassembly(MAX_MESSAGE_BYTES, PEER_BYTES, TIMEOUT_S, budget) for _ in range(2)]
    now = 1000.0
    for _ in range(MAX_STEPS):
        if not choices:
            break
        now += choices.one((0.0, 0.0, 0.01, 0.5, 3.1, 11.0))
        peer = peers[choices.byte() & 1]
        _step(peer, choices, now)
        due = peer.next_timeout()
        if due is not None and due <= now:
            reports, _ = peer.handle_timeout(now)
            for report in reports:
                _check_report(report)
            due = peer.next_timeout()
            assert due is None or due > now, "a receiver's timer runs hot"
        _check_room(peers, budget)
    for peer in peers:
        peer.resume(now)
        peer.handle_timeout(now + TIMEOUT_S + 1)
        assert peer.partial_bytes == 0
        assert peer.next_timeout() is None
        peer.clear()
    assert budget.used_bytes == 0


def _step(peer: Reassembly, choices: Choices, now: float) -> None:
    what = choices.byte()
    if what < 16:
        peer.withdraw(choices.below(8))
    elif what < 32:
        peer.pause()
    elif what < 48:
        peer.resume(now)
    elif what < 52:
        peer.clear()
    else:
        fragment = _fragment(choices, recut=what > 200)
        if fragment is None:
            return
        FED["datagrams"] += 1
        assembled = peer.receive(fragment, now)
        _check_assembled(assembled, fragment)
        if assembled.message is not None:
            report = None
            if what % 3 == 0:
                report = peer.accept(fragment)
            elif what % 3 == 1:
                report = peer.defer(fragment, now)
            else:
                peer.discard(fragment)
            if report is not None:
                _check_report(report)


def _fragment(choices: Choices, *, recut: bool) -> Fragment | None:
    sequence, total, chunk = choices.below(8), choices.one(_TOTALS), choices.one(_CHUNKS)
    index = choices.one(_INDEXES)
    count = -(-total // chunk)
    if index == 4:
        index = max(count - 1, 0)
    size = min(chunk if index < count - 1 else max(total - chunk * (count - 1), 0), 2000)
    data = bytes((choices.byte() & 1,)) * size
    read = decode_frame(encode_fragment(Fragment(sequence, total, chunk, index, data, recut)))
    assert read is None or isinstance(read, Fragment)
    return read


def _check_assembled(assembled: Assembled, fragment: Fragment) -> None:
    if assembled.report is not None:
        _check_report(assembled.report)
    if assembled.message is not None:
        assert len(assembled.message) == fragment.total_bytes <= MAX_MESSAGE_BYTES
        assert not assembled.refused


def _check_report(report: FragmentAck) -> None:
    data = encode_fragment_ack(report)
    assert decode_frame(data) == report
    assert len(data) <= 1200


def _check_room(peers: list[Reassembly], budget: ReassemblyBudget) -> None:
    assert budget.used_bytes == sum(peer.partial_bytes for peer in peers) <= TOTAL_BYTES
    for peer in peers:
        assert peer.partial_bytes <= PEER_BYTES
        assert len(peer._partial) <= PARTIAL_MESSAGES_PER_PEER


# A sender.


def _send(choices: Choices) -> None:
    size = choices.bits(16) or 1
    message = bytes(size)
    transfer = OutgoingTransfer(7, message, 1200)
    now, sent = 1000.0, 0
    for _ in range(MAX_STEPS):
        if not choices:
            break
        now += choices.one((0.001, 0.05, 1.0))
        what = choices.byte()
        if what < 100 and transfer.has_more and sent < 500:
            frame = transfer.frame(transfer.take(now))
            assert isinstance(decode_frame(frame), Fragment)
            assert len(frame) <= 1200
            sent += 1
        elif what < 180:
            _report_to(transfer, choices, now)
        elif what < 200:
            transfer.detect_timeout(now - 0.5)
        elif what < 220:
            transfer.detect_lost(now - 0.2, 0.01)
        elif what < 230:
            if not transfer.has_more and transfer.has_left:
                transfer.repeat_last()
        elif what < 236 and size > 300:
            room = MIN_CHUNK_BYTES + FRAGMENT_OVERHEAD + choices.bits(8)
            transfer = transfer.recut(room, named=bool(what & 1), deaf_until=now + 1)
        assert 0 <= transfer.arrived <= transfer.count
        assert transfer.bytes_in_flight <= size + FRAGMENT_OVERHEAD * transfer.count
        assert 0 <= transfer.probe_index < transfer.count


def _report_to(transfer: OutgoingTransfer, choices: Choices, now: float) -> None:
    data = encode_fragment_ack(
        FragmentAck(
            7,
            choices.one(tuple(TransferStatus)),
            choices.one((choices.byte(), 2**32 - 1, 0)),
            choices.take(choices.one((0, 1, 4, 32))),
            choices.one((0, 1185, 256)),
        )
    )
    report = decode_frame(data)
    assert isinstance(report, FragmentAck)
    FED["datagrams"] += 1
    if transfer.is_meant_by(report, now):
        transfer.handle_ack(report)
