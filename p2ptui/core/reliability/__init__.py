"""Nothing is lost and nothing comes twice: acknowledgements, windows, fragments, round trips.

A session's `channel` has two ends. The sending one is `sender`, which also tells how a send ended:
its `outbox`, `outgoing` messages, their `numbering`, whose `turns` it is, `skips` of numbers given
up, `transfers` in `fragments`, `deadlines`, `congestion`, `rtt`, `receiver_room`, and `path_mtu`
with `fitting`, which cuts to it. While nothing is to be sent, `resting` is what is left of these
`parts`. The receiving one knows `duplicates` and `gaps`, and does the
`reassembly`.
"""
