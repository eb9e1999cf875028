"""Nodes beyond the direct peers: discovery, introductions, routes."""
