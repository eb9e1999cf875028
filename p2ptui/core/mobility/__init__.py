"""A node moves, or sleeps, or its address changes: its sessions go on.

`moving` handles a machine that moved or slept; `resumption` asks for a new session beside the old
one, where a server can carry the old one on. `confirming` repeats the request for a new session
until it is certain that the other side knows the session. `home` is the server of a cluster at
which this node declares itself, and which it leaves for another one when it falls silent;
`told_servers` are those it could go to then; `guests` are the nodes at this server, if it is in a
cluster.
"""
