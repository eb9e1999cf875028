"""A node moves, or sleeps, or its address changes: its sessions go on.

`moving` says what happens when the machine moved or slept; `resumption` asks for a new session
beside the old one, where a server may bring that on. `confirming` repeats the request of a new
session until it is certain that the other side knows that. `home` is the server of a
cluster that this node says it is at, which it leaves for the next one when that falls silent, and
`told_servers` where it could go then; `guests` are the nodes at this server, if it is one of a
cluster.
"""
