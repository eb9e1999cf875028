"""Floor 1: the protocol, sans-I/O. No socket, no event loop, no clock, no global random."""
