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

Beside the rooms stand the values and the small books that they all use, which know no room:
`events`, what the core tells the outside, with `encoded`, payloads in them, `traced`, messages,
`peer_status`, the life of a peer, `listed`, what servers list, `acquaintance`, what is made of who
is on the other side, and `policy`, by which rules a node is refused; `addresses`, also those that
name a server or a further socket; `connection`, how a node is reached; `calls`, `pings`, `pongs`
and `readers`, who waits for what; `aliases`, who sends from where; `accounts`, what a datagram is
paid with, `debts`, what of that is owed, and `hours`, what a host is sent in one; `tables`, all
that others can fill; `handed`, what other servers give to nodes of this one; `timers`, `counters`
and `ids`. Two know peers: `identity`, who a node is and which dialect it speaks, and `trust`, what
a sender must have shown. `services` names the parts of the rooms that handle messages; only the way
in, and what makes it, know that.
"""
