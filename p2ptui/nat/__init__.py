"""Floor 1: what observations of a NAT mean. Empty until the diagnosis lands."""
