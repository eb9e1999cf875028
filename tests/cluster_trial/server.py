"""A server as its operator runs it, that also answers whom it lists: what its lists hold is read
without the seconds that it takes to send one.

`python -m tests.cluster_trial.server SOCKET ARGUMENTS...` is `p2ptui ARGUMENTS...`, and each line
that comes by the Unix socket is answered by one line of JSON: whom the server would list now, and
which server it believes to hold each.
"""

import asyncio
import json
import sys
from typing import Any

from p2ptui.cli import main
from p2ptui.core.mesh.roll import Roll
from p2ptui.node.cluster import ClusterService


def told(service: ClusterService) -> list[tuple[str, str]]:
    """Whom a server lists, in that order, and who holds each."""
    runtime = service._runtime
    state = runtime.endpoint._state
    own_id = state.identity.id
    ids = [peer.node_id for peer in state.peers]
    found = []
    for one, _ in Roll(state).everybody(ids, runtime.now):
        foreign = state.elsewhere.holder(one.node_id)
        found.append((one.node_id, own_id if foreign is None else foreign.server_id))
    return found


def watched(path: str) -> None:
    """Have each service of a cluster answer."""
    begin = ClusterService.__init__

    def begin_too(service: ClusterService, *arguments: Any) -> None:
        begin(service, *arguments)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readline():
                line = {"server": service.report().cluster.server_id, "told": told(service)}
                writer.write(json.dumps(line).encode() + b"\n")

        async def serve() -> None:
            await (await asyncio.start_unix_server(answer, path)).serve_forever()

        service._runtime.begin(serve(), "watched")

    ClusterService.__init__ = begin_too  # type: ignore[method-assign]


if __name__ == "__main__":
    watched(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
