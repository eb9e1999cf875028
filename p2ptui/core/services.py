"""The parts of the core that handle messages, by their purpose."""

from typing import NamedTuple

from p2ptui.core.data import DataService, ReceiveWindows
from p2ptui.core.delivery import PathProbes
from p2ptui.core.filter_probes import FilterProbes
from p2ptui.core.mesh.discovery import Discovery
from p2ptui.core.mesh.queries import Queries
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.messages import SessionMessages
from p2ptui.core.mobility.guests import Guests
from p2ptui.core.mobility.home import Home
from p2ptui.core.mobility.resumption import Resumptions
from p2ptui.core.relay.requests import Relay
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.sessions.liveness import Liveness
from p2ptui.core.stun import StunService


class Services(NamedTuple):
    """The parts of the core that handle messages."""

    handshake: Handshake
    liveness: Liveness
    discovery: Discovery
    queries: Queries
    rendezvous: Rendezvous
    relay: Relay
    stun: StunService
    probes: FilterProbes
    data: DataService
    windows: ReceiveWindows
    path_probes: PathProbes
    resumptions: Resumptions
    session: SessionMessages
    home: Home
    guests: Guests
