"""How the terminal is read and written: pastes apart from keys, bytes that are no UTF-8 survived,
and a terminal that has gone away ends the screen. One that takes nothing holds up nobody.
"""

import contextlib
import os
import selectors
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TextIO

from textual import events
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.drivers._writer_thread import WriterThread
from textual.message import Message

from p2ptui.io.signals import EXIT_BY_SIGNAL, HANGUP
from p2ptui.tui.pasting import Input, Keys, PasteGuard

READ_BYTES: Final = 4096
IDLE_S: Final = 0.1
WAITING_S: Final = 0.01
"""How long a read may take while nothing is expected, and while a paste or an escape waits."""

MAX_WAITING: Final = 200_000
"""Characters on their way to the terminal: some ten full screens."""

CATCH_UP_S: Final = 0.1
"""A terminal that was behind is looked at this often."""

RESTART_S: Final = 0.01
"""Between two looks whether the terminal has taken the last words, and may be entered again."""

STALLED_S: Final = 1.0
"""At the end a terminal that takes nothing for so long is left as it is."""


class GuardedParser(XTermParser):
    """Textual's parser of keys and mouse, which never sees a paste.

    Args:
        debug: As Textual has it.
        clock: Seconds; it never goes back.
    """

    def __init__(self, debug: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(debug)
        self._clock = clock
        self._guard = PasteGuard()

    @property
    def waits(self) -> bool:
        """Whether `tick` has something to tell before long."""
        return self._guard.waits

    def feed(self, data: str) -> Iterable[Message]:
        """Take what the terminal sent; nothing means that it is closed."""
        if not data:
            yield from super().feed("")
            return
        yield from self._messages(self._guard.feed(data, self._clock()))

    def tick(self) -> Iterable[Message]:
        """Tell what time has decided."""
        yield from super().tick()
        yield from self._messages(self._guard.tick(self._clock()))

    def _messages(self, inputs: Iterable[Input]) -> Iterator[Message]:
        for entry in inputs:
            if not isinstance(entry, Keys):
                yield events.Paste(entry.text)
                continue
            yield from super().feed(entry.text)
            if entry.complete and self._timeout_time is not None:
                # The guard has waited long enough for the two of them.
                self._timeout_time = 0.0
                yield from super().tick()


class TerminalFile:
    """What Textual's thread writes to: once the terminal has gone, writing does nothing.

    A thread that died of the error would leave behind a queue that nobody empties, and the whole
    process would wait for room in it for ever, deaf to signals too. Python's own buffer is left
    out: a thread that waits for a terminal would hold its lock, and the end of the process with it.

    Args:
        file: The terminal.
        lost: Called once, in the thread that writes.
    """

    def __init__(self, file: TextIO, lost: Callable[[], None]) -> None:
        self._file = file
        self._lost = lost
        self._is_lost = False
        self.written = 0
        """Characters that the terminal has taken, or that went nowhere."""

    def write(self, text: str) -> None:
        """Write a text, as long as there is a terminal; waits until the terminal takes it."""
        data = memoryview(text.encode(self._file.encoding or "utf-8", "replace"))
        try:
            while data and not self._is_lost:
                data = data[os.write(self._file.fileno(), data) :]
        except (OSError, ValueError):  # a closed file is a ValueError
            self._is_lost = True
            self._lost()
        self.written += len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """The terminal's number."""
        return self._file.fileno()


class Backlog:
    """What is on its way to the terminal: bounded, and never waited for.

    A terminal may stall without closing: Ctrl+S, an SSH session that hangs, a window that is
    dragged. Then nothing more is drawn, and all of it anew once the terminal takes something again.

    Args:
        file: The terminal.
        redraw: Has the whole screen drawn.
    """

    def __init__(self, file: TerminalFile, redraw: Callable[[], None]) -> None:
        self._file = file
        self._redraw = redraw
        self._queued = 0
        self.is_behind = False
        """Whether what is drawn is thrown away."""
        self.is_leaving = False
        """Whether the last words are written, which are few and not thrown away."""
        self.is_ended = False
        """Whether they have been: nobody would write what comes now."""

    @property
    def waiting(self) -> int:
        """Characters that the terminal has not taken."""
        return self._queued - self._file.written

    def put(self, text: str, thread: WriterThread) -> None:
        """Hand a text to the thread that writes, or throw it away."""
        if self.is_ended or (self.is_behind and not self.is_leaving):
            return
        if self.waiting > MAX_WAITING and not self.is_leaving:
            self.is_behind = True
            return
        self._queued += len(text)
        thread._queue.maxsize = 0  # the bound is the one above
        thread.write(text)

    def catch_up(self) -> None:
        """Draw the whole screen if the terminal has taken all that was on its way."""
        if self.is_behind and not self.waiting:
            self.is_behind = False
            self._redraw()

    def begin(self) -> None:
        """From now on another thread writes, and the whole screen is drawn."""
        self.is_behind = self.is_leaving = self.is_ended = False

    def no_more(self, thread: WriterThread) -> None:
        """Let the thread end once it has written what was handed to it."""
        self.is_ended = True
        thread._queue.maxsize = 0
        thread._queue.put(None)

    def end(self, thread: WriterThread) -> bool:
        """Wait for the thread as long as the terminal takes anything; whether it took all."""
        self.no_more(thread)
        written = -1
        while thread.is_alive() and self._file.written != written:
            written = self._file.written
            thread.join(STALLED_S)
        return not thread.is_alive()


def guarded_driver(base: type[Driver]) -> type[Driver]:
    """The driver that reads the terminal as described above.

    Args:
        base: The one that Textual would take; another than those for POSIX and for a browser is
            left as it is: on Windows the console tells keys and pastes apart by itself.
    """
    reader = {"LinuxDriver": _read_terminal, "WebDriver": _read_browser}.get(base.__name__)
    if reader is None:
        return base
    members: dict[str, object] = {"run_input_thread": reader}
    if reader is _read_terminal:

        def begin(driver: Any, *args: Any, **options: Any) -> None:
            base.__init__(driver, *args, **options)
            driver._file = TerminalFile(driver._file, lambda: _leave(driver))
            driver._backlog = Backlog(driver._file, lambda: _redraw(driver))
            driver._restarts = False

        def stop(driver: Any) -> None:
            backlog = driver._backlog
            if backlog.is_ended and driver._restarts:
                driver._restarts = False  # it was left already, and is not entered any more
                return
            backlog.is_leaving = True
            base.stop_application_mode(driver)

        def start(driver: Any) -> None:
            if _is_started(driver) or driver._restarts:
                # SIGCONT without SIGTSTP before it: a second pair of threads would never end. Not
                # within a signal's handler.
                _soon(driver, _restart)
                return
            if driver._app._exit:
                return  # it came late: threads that start now would never end
            goes_on = driver._writer_thread is not None
            driver._backlog.begin()  # it may have been suspended
            base.start_application_mode(driver)
            if goes_on:
                # The screen that was entered is empty, and of the same size: Textual would not draw
                # more of it than what changes.
                _soon(driver, _redraw)

        members |= {
            "__init__": begin,
            "write": _write,
            "start_application_mode": start,
            "stop_application_mode": stop,
            "close": _close,
        }
    return type(f"Guarded{base.__name__}", (base,), members)


def _is_started(driver: Any) -> bool:
    return driver._key_thread is not None and driver._key_thread.is_alive()


def _soon(driver: Any, what: Callable[[Any], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        driver._loop.call_soon_threadsafe(what, driver)


def _restart(driver: Any) -> None:
    """Leave the screen and enter it again, without waiting for the terminal."""
    if not driver._restarts and _is_started(driver) and not driver._backlog.is_leaving:
        driver.stop_application_mode()
        driver._restarts = True
        driver._backlog.no_more(driver._writer_thread)
        _enter_again(driver)


def _enter_again(driver: Any) -> None:
    if not driver._restarts:
        return
    if driver._writer_thread.is_alive():
        # Two threads at once could leave after they entered.
        driver._loop.call_later(RESTART_S, _enter_again, driver)
        return
    driver._restarts = False
    driver.start_application_mode()


def _redraw(driver: Any) -> None:
    driver._app.refresh(layout=True)


def _write(driver: Any, text: str) -> None:
    """Write a text without waiting for the terminal."""
    backlog, was_behind = driver._backlog, driver._backlog.is_behind
    backlog.put(text, driver._writer_thread)
    if backlog.is_behind and not was_behind:
        _soon(driver, _watch)


def _watch(driver: Any) -> None:
    driver._backlog.catch_up()
    if driver._backlog.is_behind and not driver._backlog.is_leaving:
        driver._loop.call_later(CATCH_UP_S, _watch, driver)


def _close(driver: Any) -> None:
    """End the thread that writes; one that a stalled terminal holds is left behind."""
    if driver._writer_thread is not None and not driver._backlog.end(driver._writer_thread):
        _write_nowhere()


def _leave(driver: Any) -> None:
    """End the screen as SIGHUP does: a terminal can go away without that signal."""
    app = driver._app

    def leave() -> None:
        code = EXIT_BY_SIGNAL + HANGUP
        if not app._exit:
            app.exit(code, code, "p2ptui: the terminal was closed")

    _write_nowhere()
    with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the screen
        driver._loop.call_soon_threadsafe(leave)


def _write_nowhere() -> None:
    """The last words to a terminal that has gone are lost: to fail of them would hide the reason,
    and Python's own last flush would change the exit code.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _read_terminal(driver: Any) -> None:
    """Read a POSIX terminal until the screen ends."""
    now = time.monotonic()
    parser = GuardedParser(driver._debug, lambda: now)
    decode = getincrementaldecoder("utf-8")("replace").decode
    with selectors.SelectSelector() as selector:
        selector.register(driver.fileno, selectors.EVENT_READ)
        while not driver.exit_event.is_set():
            patience_s = WAITING_S if parser.waits else IDLE_S
            latest = time.monotonic() + patience_s
            is_ready = selector.select(patience_s)
            # Only as long as nothing came was it quiet: on a busy machine this thread may be late,
            # and what came since has not been looked at.
            now = max(now, time.monotonic() if is_ready else min(time.monotonic(), latest))
            if is_ready:
                data = _read_some(driver.fileno)
                if not data:
                    _leave(driver)
                    driver.exit_event.wait()  # it is closed, and would be ready at once for ever
                elif text := decode(data):
                    _tell(driver, parser.feed(text))
            _tell(driver, parser.tick())


def _read_some(fileno: int) -> bytes:
    """What the terminal sent; nothing if it is closed."""
    try:
        return os.read(fileno, READ_BYTES)
    except OSError:  # EIO: its other end is gone
        return b""


def _read_browser(driver: Any) -> None:
    """Read what `textual serve` passes on until the browser has gone."""
    from textual.drivers import _byte_stream, web_driver

    parser = GuardedParser(driver._debug)
    decode = getincrementaldecoder("utf-8")("replace").decode
    stream = _byte_stream.ByteStream()
    try:
        for data in driver._input_reader:
            for kind, payload in stream.feed(data) if data else ():
                if kind != "D":
                    driver._on_meta(kind, payload)
                elif text := decode(payload):
                    _tell(driver, parser.feed(text))
            _tell(driver, parser.tick())
    except web_driver._ExitInput:
        pass
    finally:
        driver._input_reader.close()


def _tell(driver: Any, messages: Iterable[Message]) -> None:
    for message in messages:
        driver.process_message(message)
