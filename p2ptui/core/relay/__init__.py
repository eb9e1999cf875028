"""The server between two nodes: what it forwards, for whom, and within which limits.

`requests` and `frames` are relayed bytes in either form, `control` their limits, `values` what is
told of them. `failover` moves sessions from server to server: `ways` is what is known of each
server and `way_checks` how it is asked, `surveys` find the quickest, `announcing` tells the other
end, and `rescue` helps sessions that had no server.
"""
