"""Floor 3: Node, the public async API used by the screen, the command line and library users
alike.
"""

from p2ptui.node.first_diagnosis import diagnose_first
from p2ptui.node.metrics import Stats
from p2ptui.node.nat_service import diagnoses_at_start
from p2ptui.node.node import Node
from p2ptui.node.others import Known, OtherNode
from p2ptui.node.own_identity import NodeIdentity
from p2ptui.node.roster import Roster
from p2ptui.node.view import PeerView
from p2ptui.node.ways import own_address, way_words

__all__ = [
    "Known",
    "Node",
    "NodeIdentity",
    "OtherNode",
    "PeerView",
    "Roster",
    "Stats",
    "diagnose_first",
    "diagnoses_at_start",
    "own_address",
    "way_words",
]
