"""Nodes beyond the direct peers: discovery, introductions, routes.

`discovery` lists the nodes, in pages (`pager`) of `entries`, and pushes updates (`news`); `roll`
decides which nodes a list holds, without claims to ids that are `taken`. `queries` ask peers for
their lists, `watching` keeps lists fresh, `naming` learns names, `neighbours` searches nearby.
`rendezvous` introduces nodes: `introduction` is what is known about an introduced node, and their
table; `contacts` is what was exchanged with far nodes; `introduction_calls` wait for an
introduction, `punching` opens this node's NAT, and `repeats` bounds repeated requests.
`routing` uses its `routes` and remembers the messages it has `seen`; `passages` are between two
servers; `sources` finds out who wrote a message, and `evidence` what such claims may change;
`endtoend` makes routed messages reliable, each of them `pending`, and `carried` messages are
acknowledged by others; `tries` choose the next hops. Between nodes with keys, routed messages are
sealed end to end: `far_messages` seals them, `far_seals` keeps the sessions, and `far_asking` and
`far_answering` make these, with `far_offers` and `far_accounts`.
"""
