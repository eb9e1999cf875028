"""The parts of the way in: the table of messages, bound to its handlers, and its readers."""

from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.parts import MeshParts
from p2ptui.core.messages.arrivals import Arrivals, Takers
from p2ptui.core.messages.budgets import Accounts, UnvouchedAnswers
from p2ptui.core.messages.inbox import Inbox
from p2ptui.core.messages.strangers import Strangers
from p2ptui.core.messages.table import MessageTable
from p2ptui.core.messages.telling import Telling
from p2ptui.core.relay.failover import Failover
from p2ptui.core.services import Services
from p2ptui.core.sessions.handshake_messages import HandshakeMessages
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState


class MessageParts:
    """Makes the parts of the way in.

    Args:
        state: The shared state.
        delivery: Sends messages.
        sessions: Answers handshakes.
        mesh: Recognises strangers that were introduced or answered a search.
        failover: Takes the checks of relayed sessions.
        services: Handle messages of peers.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        sessions: SessionParts,
        mesh: MeshParts,
        failover: Failover,
        services: Services,
    ) -> None:
        admission, ways = sessions.admission, sessions.ways
        accounts = Accounts(state.counters.drop, state.most_peers)
        sessions.lifecycle.on_left.append(accounts.forget)
        outside = (
            HandshakeMessages(state, sessions.handshake),
            sessions.responder,
            mesh.neighbours,
            failover.way_checks,
            mesh.end_to_end,
        )
        unvouched = UnvouchedAnswers(lambda: state.config.security.unvouched_bytes_per_minute)
        state.gate.admits_unvouched = unvouched.take
        table = MessageTable((*services, *outside), accounts, state.gate.vouch)
        mesh.end_to_end.takers = table.routed
        self.strangers = Strangers(
            state,
            table,
            mesh.rendezvous,
            Telling(state, delivery, admission, sessions.awaits_answer),
            sessions.races,
            ways,
            sessions.newcomers,
        )
        self.inbox = Inbox(state, delivery, services, table)
        ways.on_message = self.inbox.receive
        takers = Takers(table, self.strangers, self.inbox, sessions.newcomers)
        self.arrivals = Arrivals(state, admission, takers)
