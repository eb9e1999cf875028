"""The parts of sessions: how they begin, in both roles, how they are kept, and how they end."""

from p2ptui.core.delivery import Delivery
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.sessions.arrival import Requests
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.sessions.membership import Membership
from p2ptui.core.sessions.newcomers import Newcomers
from p2ptui.core.sessions.other_ways import AlternatePaths
from p2ptui.core.sessions.race import Races
from p2ptui.core.sessions.responder import Responder
from p2ptui.core.sessions.server_watch import ServerWatch
from p2ptui.core.sessions.takeover import Takeover
from p2ptui.core.sessions.unseated import Unseated
from p2ptui.core.state import NodeState


class SessionParts:
    """Makes the parts of sessions.

    Args:
        state: The shared state.
        delivery: Sends messages.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self.lifecycle = lifecycle = Lifecycle(state, delivery)
        self.admission = admission = Admission(
            state.config.security, state.tables, state.timers.schedule_upkeep
        )
        state.gate.admits_answer = admission.may_answer
        self.takeover = takeover = Takeover(state, delivery, lifecycle)
        self.handshake = handshake = Handshake(state, delivery, lifecycle, takeover)
        self.crossings = handshake.crossings
        self.races = Races(state, delivery, handshake)
        self.ways = ways = AlternatePaths(state, delivery, lifecycle)
        self.newcomers = newcomers = Newcomers(state, delivery, lifecycle)
        handshake.on_answered = newcomers.join_crossed
        unseated = Unseated(state, delivery, lifecycle, ways, newcomers)
        requests = Requests(state, lifecycle, newcomers.answers.refuse)
        self.responder = Responder(
            state,
            delivery,
            lifecycle,
            takeover,
            handshake.handle_crossing,
            requests,
            newcomers.answers,
            ways,
            handshake.crossings,
            newcomers,
        )
        self.responder.on_unseated = unseated.answer
        requests.on_look = unseated.expire
        requests.others_come_first = unseated.seat_next
        unseated.on_pong = requests.take_pong
        self.awaits_answer = requests.is_waiting
        """Whether a request from an address waits for its answer."""
        self.liveness = liveness = Liveness(state, delivery, lifecycle)
        self.membership = Membership(state, delivery, lifecycle)
        self.membership.on_forgotten = handshake.reconnect
        newcomers.ask_server = self.membership.probe
        self.server_watch = ServerWatch(state, delivery, lifecycle)
        liveness.on_goodbye = ways.handle_goodbye
        liveness.on_beat.append(self.membership.check)
