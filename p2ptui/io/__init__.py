"""Floor 2: sockets, the event loop and the clock; every oddity of a platform stays here."""
