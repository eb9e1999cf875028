"""Whether a cluster holds: servers, a broker, hundreds of nodes, and what goes wrong.

`python -m tests.cluster_trial` runs it. `processes` starts and ends what it needs, `crowd` is many
nodes in one process, `trial` does to them what is to be survived, `memory` fills a server's view,
`report` says what came of it.
"""
