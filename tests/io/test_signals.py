"""Signals reach the program in its loop, on systems whose loops know none as well."""

import asyncio
import os
import signal

import pytest

from p2ptui.io.signals import handle_signals
from tests.patience import PATIENCE_S


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("loop_knows", [True, False])
async def test_a_signal_is_told_in_the_loop(loop_knows, monkeypatch):
    loop = asyncio.get_running_loop()

    def know_none(*_):
        raise NotImplementedError

    if not loop_knows:
        monkeypatch.setattr(loop, "add_signal_handler", know_none)
    before = signal.getsignal(signal.SIGTERM)
    told = loop.create_future()
    try:
        handle_signals(told.set_result, "SIGNONE", "SIGTERM")  # no system has the first one
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(told, PATIENCE_S) is signal.SIGTERM
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
