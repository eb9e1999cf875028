"""Floor 2: sockets, the event loop and the clock; platform quirks are handled here and nowhere
else.
"""
