"""Frames that two nodes send each other only under seal; elsewhere they have no meaning.

    PATH_CHALLENGE  E4 | nonce, 8 bytes
    PATH_RESPONSE   E5 | nonce, 8 bytes | after MOVED: where that came from, as text
    REKEY_1         E6 | " | first message of a key exchange, as text | "
    REKEY_2         E7 | second message, as text
    REKEY_3         E8 | receiver's session u32 | third message
    MOVED           E9 | nonce, 8 bytes | 7 zeros
    SEEN            EA | where the receiver is seen now, as text

A PATH_RESPONSE goes to the source of the PATH_CHALLENGE, and nowhere else (RFC 9000, section 8.2).
MOVED is answered like a PATH_CHALLENGE; its sender knows that its own machine has moved. SEEN tells
a peer that its session has moved, which it may not know: its NAT may have changed its port, for
example. MOVED is padded so that three times its size pays for its answer and a challenge.
"""

from typing import Final

PATH_CHALLENGE: Final = 0xE4
PATH_RESPONSE: Final = 0xE5
REKEY_1: Final = 0xE6
REKEY_2: Final = 0xE7
REKEY_3: Final = 0xE8
MOVED: Final = 0xE9
SEEN: Final = 0xEA

OF_PATHS: Final = frozenset((PATH_CHALLENGE, PATH_RESPONSE, MOVED, SEEN))
"""Frames that concern paths only: an attacker that forwards these need not forward anything
else."""

NONCE_BYTES: Final = 8

MOVED_PADDING: Final = bytes(7)

LONGEST_ADDRESS: Final = 47
"""An IPv6 address in brackets with its port; one with an interface is never sent."""

FIRST: Final = frozenset(range(PATH_CHALLENGE, SEEN + 1))
