"""Frames that two nodes send each other under seal only; elsewhere they mean nothing.

    PATH_CHALLENGE  E4 | nonce, 8 bytes
    PATH_RESPONSE   E5 | nonce, 8 bytes
    REKEY_1         E6 | " | first message of a key exchange, as text | "
    REKEY_2         E7 | second message, as text
    REKEY_3         E8 | receiver's session u32 | third message

A PATH_RESPONSE goes to where the PATH_CHALLENGE came from, and nowhere else (RFC 9000, 8.2).
"""

from typing import Final

PATH_CHALLENGE: Final = 0xE4
PATH_RESPONSE: Final = 0xE5
REKEY_1: Final = 0xE6
REKEY_2: Final = 0xE7
REKEY_3: Final = 0xE8

NONCE_BYTES: Final = 8

FIRST: Final = frozenset(range(PATH_CHALLENGE, REKEY_3 + 1))
