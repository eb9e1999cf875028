"""Direct paths between nodes that met on a server: offers, rounds of checks, paths in use.

`room` makes the parts. `offers`, `offer_intake` and `candidates` are what both sides tell each
other; `own_networks`, which addresses are near. An `attempt` is one search, with its `exchange`,
`early_checks` and `backoff`; `signs` show that the other side is there. `searches` says how one
begins and ends, `rounds` runs each round, `gathering` gets what it needs and `reaching` is what the
user asks for, whose `path_calls` wait. `sealed_offers` keeps offers from the servers between.
`check_round` decides what is tried next, `round_plans` how by each technique, `checklist` with
which pairs, `common_ground` what two nodes share. `checks` and `check_exchange` are on the wire.
`direct_paths` keeps paths in use, `standing_sockets` those that all searches share. `head_start`
holds the relay back on a LAN, `slowness` knows how late this machine and each server are,
`reasons` why a node is relayed, `flow_feedback` which NATs limit flows; `session_follower`
follows nodes and servers that come and go, `refusals` what a server does not do, and
`server_choice` says which one is asked.
"""
