"""Who is a peer: handshakes in both roles, what strangers may cost, who is still there."""
