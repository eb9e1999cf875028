"""Probes of new flows: does one pass the NAT now, and does an old flow pass at the same moment?"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from p2ptui.errors import P2PError
from p2ptui.io.stun_client import Schedule, StunClient
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address

log = logging.getLogger("p2ptui.nat")

MAX_PROBES: Final = 64
"""Probes under way at once."""

QUIET_S: Final = 10.0
"""The old flow is given up after this long without a probe."""


class FlowProbes:
    """Asks a STUN server, each time from a fresh socket and from one that stays.

    Args:
        find_server: Looks the server up; None if there is none.
        open_client: Opens a socket to ask it from.
        clock: A monotonic clock, seconds.
        begin: Starts a task that the node owns.
        report: Called for each probe with the node that it was for, whether the new flow was
            answered, and whether the old one was.
    """

    def __init__(
        self,
        find_server: Callable[[], Awaitable[Address | None]],
        open_client: Callable[[], Awaitable[StunClient]],
        clock: Callable[[], float],
        begin: Callable[[Coroutine[Any, Any, None], str], object],
        report: Callable[[str, bool, bool], None],
    ) -> None:
        self._find_server = find_server
        self._open_client = open_client
        self._clock = clock
        self._begin = begin
        self._report = report
        self._server: Address | None = None
        """Looked up once for each old flow: a look-up may itself begin a flow."""
        self._old: StunClient | None = None
        self._is_open = False
        """Whether the old flow was ever answered: until then it is itself a new one."""
        self._opening = asyncio.Lock()
        self._retry_at = -math.inf
        """When the server may be looked up again."""
        self._last = 0.0
        self._under_way = 0

    def start(self, node_id: str, patience_s: float) -> bool:
        """Begin one probe; return whether it began: the number at once is limited.

        Args:
            node_id: The node that it is for.
            patience_s: How long answers are awaited, seconds.
        """
        if self._under_way >= MAX_PROBES:
            return False
        self._last = self._clock()
        self._under_way += 1
        self._begin(self._probe(node_id, Schedule((0.0,), patience_s)), "flow probe")
        return True

    async def _probe(self, node_id: str, schedule: Schedule) -> None:
        try:
            await self._open_old_flow()
            old, server = self._old, self._server
            if old is None or server is None:
                return
            client = await self._open_client()
            try:
                transactions = [asker.start(server, schedule) for asker in (old, client)]
                answers = [await transaction.wait() for transaction in transactions]
            finally:
                await client.close()
        except P2PError as error:
            log.debug(
                "new flows cannot be probed: %s",
                error,
                extra=tagged("flow_probe_failed", reason=str(error)),
            )
            return
        finally:
            self._under_way -= 1
        was_open, self._is_open = self._is_open, self._is_open or answers[0] is not None
        if was_open:
            self._report(node_id, answers[1] is not None, answers[0] is not None)

    async def _open_old_flow(self) -> None:
        async with self._opening:
            if self._old is None and self._clock() >= self._retry_at:
                self._retry_at = self._clock() + QUIET_S
                self._server = await self._find_server()
                if self._server is not None:
                    self._retry_at = -math.inf
                    self._old, self._is_open = await self._open_client(), False
                    self._begin(self._keep(self._old), "old flow")

    async def _keep(self, client: StunClient) -> None:
        try:
            while True:
                await asyncio.sleep(QUIET_S)
                if not self._under_way and self._clock() >= self._last + QUIET_S:
                    return
        finally:
            self._old = None
            await client.close()
