"""The room of direct paths: makes its parts and connects them.

It knows every part and does nothing itself: requests to the room are named here, and handled by the
part that they belong to.
"""

from p2ptui.core.delivery import Delivery
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.check_exchange import CheckExchange
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.flow_feedback import FlowFeedback
from p2ptui.core.traversal.gathering import Gathering
from p2ptui.core.traversal.head_start import HeadStart
from p2ptui.core.traversal.offer_intake import OfferIntake
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.reaching import Reaching
from p2ptui.core.traversal.reasons import Reasons
from p2ptui.core.traversal.refusals import Refusals
from p2ptui.core.traversal.rounds import Rounds
from p2ptui.core.traversal.searches import Searches
from p2ptui.core.traversal.session_follower import SessionFollower
from p2ptui.core.traversal.standing_sockets import StandingSockets


class Traversal:
    """Searches for direct paths, with one attempt for each node.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports peers that come and go.
        handshake: Connects where nothing relays.
        relay: Reaches nodes through servers.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        handshake: Handshake,
        relay: RelayFrames,
    ) -> None:
        self.offers = offers = Offers(state, delivery)
        """The attempts, and what both sides tell each other."""
        self._paths = paths = DirectPaths(state, delivery)
        reasons = Reasons(state, offers, paths)
        self.standing = StandingSockets(state, offers, paths)
        """The sockets that all searches share."""
        self.flows = FlowFeedback(state, offers)
        """What is known about the limits to new flows."""
        self.head_start = HeadStart(state, handshake, offers, relay)
        """Holds the relay back for nodes that seem to be on this LAN."""
        searches = Searches(state, offers, paths, reasons, self.head_start, self.flows)
        self._stop = searches.stop
        reaching = Reaching(state, handshake, relay, offers, paths, self.head_start, searches)
        gathering = Gathering(state, offers, self.standing, self.flows, searches, reasons)
        rounds = Rounds(
            state, offers, paths, self.standing, self.flows, searches, gathering, reaching
        )
        self.refusals = Refusals(state, lifecycle, handshake, offers, searches.close, searches.rest)
        """What a server does not do for two nodes."""
        self.intake = OfferIntake(
            state,
            offers,
            self._stop,
            rounds.take_offer,
            self.flows.take_news,
            reasons.check,
            rounds.go_on,
        )
        """Offers that servers bring."""
        self.intake.close = searches.close
        self.checks = CheckExchange(
            state, offers, paths, rounds.tick, rounds.begin, self.intake.note_check
        )
        """Where checks and their answers arrive."""
        self.session_follower = SessionFollower(
            state,
            delivery,
            lifecycle,
            handshake,
            relay,
            offers,
            paths,
            searches.begin_again,
            searches.close,
            reasons.check,
        )
        """What follows when nodes and servers come and go."""

        # Requests to the room.
        self.connect = reaching.connect
        self.has_path = reaching.has_path
        self.search = searches.search
        self.regain = searches.regain
        self.facts_ready = gathering.facts_ready
        self.sockets_ready = gathering.sockets_ready
        self.move = searches.move
        self.remotes = searches.remotes
        self.methods = searches.methods
        self.wake = searches.wake

    def __len__(self) -> int:
        return len(self.offers)
