"""Who is a peer: handshakes in both roles, limits for strangers, and liveness.

`handshake` and `responder` are the two sides of a handshake, `arrival` reads requests and
`answers` writes the answers; `greetings` are the contents of both and `handshake_messages` what
arrives while one runs; `asking` is one request, `offering` the key exchange in it,
`sealed_answers` what its answer begins, `repetition` when it is repeated, `race` a request to
several addresses of a node, `parting` the goodbye to a node that answered and is no peer,
`other_ways` a request that came from several addresses, `crossings` two nodes that ask each other.
`hearing` decides which answers that name no request are believed, and `judging` acts on that.
`newcomers` holds each `newcomer` at an address in use until it proves that it is there; those whose
numbers somebody guesses are `doubted`. `takeover` decides who owns an id, by its `disputes`;
`admission` limits strangers. `lifecycle` makes every change of status, and `former` remembers what
arrived in ended sessions. `seats` finds peers that make room in a full table, also among the
`ghosts` at a newcomer's own address, and `unseated` are nodes that are answered in a flood before
they have a place; if no peer makes room, `arrival` refuses a newcomer, and `handshake` the user's
call. `liveness` sends heartbeats and suspects peers, `server_watch` checks servers more closely,
`membership` asks whether a deployed server still knows this node, and `keepalive` keeps the paths
to servers open, each a `nat_binding`; an `inquiry` is one keepalive, repeated until answered.
"""
