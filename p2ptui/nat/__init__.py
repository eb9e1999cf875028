"""Floor 1: what observations of a NAT mean; pure functions and state, no I/O.

`behavior` classifies mapping and filtering (RFC 4787, 5780), `allocation` the choice of ports.
`report`, `report_text` and `findings` present the result, `feasibility` says which NATs can meet.
`prediction` predicts ports with a `mixture` of the `allocators`; `port_memory` remembers what was
learnt, and `guessing` tries random ports. `punching` is the search for a path (RFC 8445):
`allowances` and `flow_pace` bound it, `flow_losses` and `mapping_life` measure, `plausible` judges
addresses. `stun_server` answers STUN.
"""
