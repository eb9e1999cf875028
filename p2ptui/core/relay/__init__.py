"""The server between two nodes: what it forwards, for whom, and within which limits."""
