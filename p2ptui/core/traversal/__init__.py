"""Direct paths between nodes that met on a server: offers, rounds of checks, paths in use.

`room` makes the parts. `offers`, `offer_intake` and `candidates` are what both sides tell each
other; `own_networks`, which addresses are near. An `attempt` is one search, with its `exchange`,
`early_checks` and `backoff`; `signs` show that the other side is there. `searches` begins and ends
them, `rounds` runs each round, `gathering` collects what it needs, and `reaching` handles the
user's requests, whose `path_calls` wait. `sealed_offers` hides offers from the servers between.
`check_round` decides what to try next, `round_plans` how each technique does it, `checklist` with
which pairs, `common_ground` what two nodes share. `checks` and `check_exchange` are the checks on
the wire. `direct_paths` maintains paths in use, `standing_sockets` the sockets that all searches
share. `head_start` holds the relay back on a LAN, `slowness` knows how slow this machine and each
server are, `reasons` why a node is relayed, `flow_feedback` which NATs limit flows;
`session_follower` follows nodes and servers that come and go, `refusals` handles what a server does
not do, and `server_choice` chooses the server to ask.
"""
