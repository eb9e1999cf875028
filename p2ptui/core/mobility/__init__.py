"""A node moves, or sleeps, or its address changes: its sessions go on.

`moving` says what happens when the machine moved or slept; `resumption` asks for a new session
beside the old one, where a server may bring that on. `confirming` repeats the request of a new
session until it is certain that the other side knows that.
"""
