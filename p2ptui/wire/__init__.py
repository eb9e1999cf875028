"""Floor 0: what travels, as values. No I/O, no state, no decisions."""
