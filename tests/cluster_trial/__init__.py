"""Whether a cluster holds: servers, a broker, hundreds of nodes, and what goes wrong.

`python -m tests.cluster_trial` runs it. `processes` starts and ends what it needs, `crowd` is many
nodes in one process, `server` is one server that tells whom it lists, and `watch` compares what all
say. `trial` does to them what is to be survived, and `memory` fills a server's view.
"""
