"""What a node finds out about its NAT when it starts, perhaps before it has joined a server."""

from collections.abc import Awaitable, Callable

from p2ptui.node.running import RunningNode


async def diagnose_first(node: RunningNode, diagnose: Callable[[], Awaitable[bool]]) -> None:
    """Diagnose now; if there was nobody to ask, once more as soon as a server is joined.

    Args:
        node: The node, running.
        diagnose: Runs a diagnosis and reports it; returns whether anything is known after it.
    """
    had_joined = node.configured_servers_joined > 0
    if not await diagnose() and not had_joined and await node.wait_joined():
        await diagnose()
