"""What keeps a direct path, or finds one, is not spent by what others make this node send."""

import json
from uuid import UUID

from tests.core.meeting import OUTSIDE_B, SERVER, Meeting


def introduce_without_end(meeting: Meeting, count: int) -> None:
    """Forged in the server's name: nodes at every port of `b`'s host."""
    for number in range(count):
        payload = {
            "peer_id": str(UUID(int=number + 1)),
            "peer_addr": f"{OUTSIDE_B}:{1024 + number % 60_000}",
            "peer_predicted_ports": list(range(1, 9)),
        }
        message = {
            "id": f"z{number}",
            "message_type": "P2PConnect",
            "timestamp": 1,
            "payload": payload,
            "sequence_number": None,
            "requires_ack": False,
            "ack_for": None,
        }
        node = meeting.a
        node.endpoint.receive_datagram(json.dumps(message).encode(), SERVER, meeting.world.now)
        node.settle()


def test_introductions_spend_nothing_of_a_path_in_use() -> None:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
    meeting.world.run_for(20)
    changes = len(meeting.paths(meeting.a))
    introduce_without_end(meeting, 3000)
    assert meeting.a.endpoint.counters.drops["order_spent"] > 0, "they have a bound of their own"
    for _ in range(60):
        meeting.world.run_for(1)
        assert meeting.goes_direct(meeting.a)
    assert len(meeting.paths(meeting.a)) == changes


def test_introductions_spend_nothing_of_a_search() -> None:
    meeting = Meeting()
    introduce_without_end(meeting, 3000)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
