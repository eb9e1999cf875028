"""The secured session within the core: who is answered, what is opened, and what changes it.

`answering` is the key exchange as the side that answers has it: each is `pending` until its last
message, with which `completing` lets in, after `displacing` has asked who is at the address
already; `early` keeps the sealed frames that are here before that message, `seating` finds a seat
in a full house, `refusals` says why somebody is not let in, and under `load` a request comes twice.
`opening` is the first look at every sealed frame, and `clear`
judges what still comes in the clear. `roaming` follows a peer to another address, each a `move`;
`unheard` leaves one where nothing is acknowledged; `own_moves` tells peers that this node has
moved. `beside` asks for a new session while the old one goes on: `restarts` where the other side
has forgotten it, `securing` where it is open and need not be.
`rekeying` makes new keys in time; `inner` is what these say, `inside` who takes it, and
`frame_kinds` what it is called. What seals is `core.sealing`; the side that asks has its part in
`core.sessions`.
"""
