"""The secured session within the core: who is answered, what is opened, and what changes it.

`answering` is the key exchange as the side that answers has it, `opening` the first look at every
sealed frame, and `clear` what may still come in the clear. What seals is `core.sealing`; the side
that asks has its part in `core.sessions`.
"""
