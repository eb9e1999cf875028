"""The sockets that all searches share: the main one, and one of the other IP version beside it."""

from p2ptui.core.state import NodeState
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.offers import Offers
from p2ptui.nat.feasibility import Technique
from p2ptui.wire.address import Address, ip_version


class StandingSockets:
    """Knows which of these sockets reaches which addresses.

    Args:
        state: The shared state.
        offers: Tell where the second socket is reached.
        paths: Leave a socket that is no longer shared.
    """

    def __init__(self, state: NodeState, offers: Offers, paths: DirectPaths) -> None:
        self._state = state
        self._offers = offers
        self._paths = paths

    def reach(self, *versions: int) -> None:
        """Which IP versions the node's own socket reaches; both until this is called."""
        self._state.socket_of_version = dict.fromkeys(versions, 0)

    def way(self, way: Technique, observed: Address | None) -> Technique:
        """How to meet a node that the server sees at an address: techniques with further sockets,
        or with guesses from the main one, only help if these reach it.

        Args:
            way: The technique that the two NATs require.
            observed: The address.
        """
        if observed is None or way is Technique.RELAY:
            return way
        standing = self._state.socket_of_version.get(ip_version(observed[0]))
        return way if standing == 0 else Technique.PLAIN

    def stand_beside(self, socket: int | None, hosts: tuple[Address, ...], now: float) -> None:
        """From now on a socket for IPv6 stands beside the node's own; None: there is none any more.

        The previous one is closed once no path uses it (`SocketsDone`).

        Args:
            socket: Its number.
            hosts: Where others reach it.
            now: The time, seconds.
        """
        before = self._state.socket_of_version.pop(6, 0)
        if socket is not None:
            self._state.socket_of_version[6] = socket
        self._offers.beside = hosts
        if before:
            self._paths.retire(before, self._offers.all(), now)
