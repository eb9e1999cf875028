"""What is still owed when a purse is closed, kept until the same address has a purse again."""

from typing import Final

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.core.accounts import Purse
from p2ptui.wire.address import Address

MAX_DEBTS: Final = 2048
"""Addresses without a session that were sent more than they paid for."""


class Debts:
    """One purse for each address: what its last user still owes, the next one owes.

    Args:
        shares: What addresses and networks may hold of the table.
    """

    def __init__(self, shares: Shares) -> None:
        self._owed: BoundedTable[Address, Purse] = BoundedTable(MAX_DEBTS, shares=shares)

    def open_purse(self, purse: Purse, at: Address) -> None:
        """An address now has a purse."""
        owed = self._owed.pop(at)
        if owed is not None:
            purse.absorb(owed)

    def close_purse(self, purse: Purse, at: Address) -> None:
        """The owner of a purse has left."""
        if purse.owes:
            self._owed.put(at, purse, address=at)
