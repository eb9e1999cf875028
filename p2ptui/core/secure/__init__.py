"""Secured sessions within the core: key exchanges, opening of frames, and changes of a session.

`answering` is the answering side of the key exchange: each is `pending` until its last message,
after which `completing` admits the peer, once `displacing` has asked the peer already at the
address; `early` keeps sealed frames that arrive before that message, `seating` finds a place in a
full peer table, `refusals` says why a node is not admitted, and under `load` a request must be
repeated. `opening` is the first look at every sealed frame, and `clear` judges messages that still
arrive in the clear. `roaming` follows a peer to another address, each a `move`; `unheard` leaves an
address where nothing is acknowledged; `own_moves` tells peers that this node has moved. `beside`
asks for a new session while the old one goes on: `restarts` where the other side has forgotten it,
`securing` where it is open and need not be. `rekeying` makes new keys in time; `inner` has the
frames for all of these, `inside` hands them to their handlers, and `frame_kinds` has their names.
Sealing itself is in `core.sealing`; the asking side of the key exchange is in `core.sessions`.
"""
