"""Floor 1: the protocol, sans-I/O. No socket, no event loop, no clock, no global random.

From the top down; each room imports only from rooms below it:

    endpoint        one socket's whole protocol state: the five calls that drive it
    parts           makes the rooms and connects them
    dispatch        the start of the way in: tells datagrams apart by their first byte
    messages/       the way in: the table of messages, and their handlers
    mobility/       sessions survive changes of address
    traversal/      direct paths between nodes that met on a server
    relay/          relaying by the server between two nodes
    data/           the payload of Data, and flow control of its senders
    mesh/           nodes beyond the direct peers: lists, introductions, routes
    cluster/        other servers of the network: their clients, and messages handed to them
    stun            a STUN server: which requests it answers, and from which socket
    filter_probes   peers that help a node to learn what its NAT filters
    secure/         secured sessions: key exchanges, and sealed frames
    sessions/       who is a peer: handshakes, strangers, liveness
    delivery/       the way out: messages become datagrams
    state           what all rooms share
    sealing         which peers have a secured session, and its keys
    peers/          the table of peers, and what is known about each
    reliability/    nothing is lost, and nothing is delivered twice
    gate            the only way out: a datagram that no account pays for does not leave

Beside the rooms are the values and small records that all of them use and that depend on no room:
`events`, which the core reports to the outside, and what they carry: `encoded` payloads, `traced`
messages, `peer_status`, node and server lists (`listed`), the verdict on a peer's identity
(`acquaintance`) and the rules by which nodes are refused (`policy`); `addresses`, also those that
stand for a server or a further socket; `connection`, how a node is reached; `calls`, `pings`,
`pongs` and `readers`, what is waited for; `aliases`, further addresses of peers; `accounts`, what
pays for a datagram, with `debts` and the hourly limits of a host (`hours`); `tables`, all that
others can fill; `handed`, what other servers hand to nodes of this one; `timers`, `counters` and
`ids`. Two depend on peers: `identity`, who a node is and which dialect it speaks, and `trust`, what
a sender must have proved. `services` names the parts of the rooms that handle messages; only the
way in, and the module that makes it, depend on it. `service_parts` makes those that serve peers and
belong to no room.
"""
