"""Relaying by the server between two nodes: what it forwards, for whom, within which limits.

`requests` and `frames` are the two forms of relayed bytes, `control` their limits, `values` the
records about them. `failover` moves sessions from server to server: `ways` is what is known about
each server and `way_checks` how it is probed, `surveys` find the quickest, `announcing` tells the
other end, and `rescue` helps sessions that had no server.
"""
