"""Nodes beyond the direct peers: discovery, introductions, routes.

`discovery` tells who is there, in pages (`pager`) of `entries`, and what is new (`news`); `roll` is
whom a list holds, but for claims to what is `taken`. `queries` ask others, `watching` keeps it
fresh, `naming` knows names, `neighbours` looks nearby. `rendezvous`
introduces: an `introduction` is what is known of a node, and their table; `contacts` what was
exchanged with far nodes, `introduction_calls` wait for one, `punching` opens this node's NAT,
`repeats` are served once.
`routing` goes by its `routes`, and knows what it has `seen`; `passages` are between two servers;
`sources` tells who wrote a message, and `evidence` what the word of whom may change; `endtoend`
makes routed messages reliable, each of them `pending`, and `carried` ones that others acknowledge;
`tries` choose whom to hand them to. Between nodes with keys what is routed is sealed from end to
end: `far_messages` are what travels, `far_seals` the sessions, and
`far_asking` and `far_answering` make them, by `far_offers` and what `far_accounts` tell.
"""
