"""Beside the node: its numbers for Prometheus and its health, over HTTP.

`families` is the table of all metrics, `collector` passes it to prometheus-client, `health` says
whether the node is alive and ready, `server` answers scrapes with the formats of `pages`, and
`render` writes docs/metrics.md. Nothing here is loaded unless [metrics] names an address.
"""
