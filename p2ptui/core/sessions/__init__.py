"""Who is a peer: handshakes in both roles, what strangers may cost, who is still there.

`handshake` and `responder` are the two sides of a handshake, `arrival` reads requests and
`answers` writes what answers them; `greetings` are what is said and `handshake_messages` what
comes while it runs; `asking` is one request, `offering` the key exchange in it, `sealed_answers`
what the answer to that begins, `repetition` when it is sent again, `race` one to several addresses
of a node, `parting` the goodbye to who answers and is no peer, `other_ways` one that came from
several addresses, `crossings` two nodes that ask each other. `hearing` decides which answer that
names no request is believed,
`judging` acts on that, and `newcomers` holds each `newcomer` at an address in use until it shows
that it is there, and those whose numbers are guessed are `doubted`. `takeover` decides who owns an
id, by its `disputes`; `admission` what strangers may cost. `lifecycle` makes every change of
status, and `former` knows what came in sessions that are over. `seats` finds who makes room in a
full table of peers, also among the `ghosts` at a newcomer's own address, and `unseated` are those
who are answered in a flood before they have any; if nobody does, `arrival` refuses a newcomer, and
`handshake` the user's call. `liveness` sends heartbeats and doubts, `server_watch` looks at servers
more closely, `membership` asks whether a deployed server still knows this node, and `keepalive`
keeps the ways to servers open, each a `nat_binding`; an `inquiry` is one keepalive, sent until
it is answered.
"""
