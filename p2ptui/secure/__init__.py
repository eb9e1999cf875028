"""Keys, and what follows from them; nothing here opens a file, a socket or a clock.

    identity     a node's keys and id, made from one seed, and statements that it signs
    known_nodes  whom this user's nodes have met before, and what to make of who comes back
    secret       a value that is never shown, and how one is written for people

`cryptography` is slow to load: it is imported where it is first needed.
"""
