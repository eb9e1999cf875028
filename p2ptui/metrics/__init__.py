"""Beside the node: its numbers for Prometheus and its health, over HTTP.

`families` is the table of all metrics, `collector` gives it to prometheus-client, `health` says
whether the node lives and serves, `server` answers scrapes, and `render` writes docs/metrics.md.
Nothing here is loaded unless [metrics] names an address.
"""
