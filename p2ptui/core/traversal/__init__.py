"""Direct paths between nodes that met on a server: offers, rounds of checks, paths in use."""
