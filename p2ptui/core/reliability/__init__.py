"""Nothing is lost or delivered twice: acknowledgements, windows, fragments, round trips.

A session's `channel` has two halves. The sending half is `sender`, which also reports how a send
ended: its `outbox`, `outgoing` messages, their `numbering`, whose `turns` it is, `skips` of
abandoned numbers, `transfers` in `fragments`, `deadlines`, `congestion`, `rtt`, `receiver_room`,
and `path_mtu` with `fitting`, which resizes messages to it. While there is nothing to send,
`resting` is all that remains of these `parts`. The receiving half knows `duplicates` and `gaps`,
and does the `reassembly`.
"""
