"""Floor 1: what observations of a NAT mean; pure functions and state, no I/O.

`behavior` tells mapping and filtering apart (RFC 4787, 5780), `allocation` how ports are given out;
`report`, `report_text` and `findings` say it, `feasibility` says who can meet whom. `prediction`
foretells ports by `mixture` of the `allocators`, which `port_memory` remembers and `guessing` helps
out. `punching` is the search for a path (RFC 8445): `allowances` and `flow_pace` bound it,
`flow_losses` and `mapping_life` measure, `plausible` judges addresses. `stun_server` answers STUN.
"""
