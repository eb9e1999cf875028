"""Reading and writing the terminal: pastes are kept apart from keys, invalid UTF-8 is survived, a
terminal that has gone ends the screen, and one that stalls blocks nothing.
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
from textual._parser import Parser
from textual._xterm_parser import XTermParser
from textual.driver import Driver
from textual.drivers._writer_thread import WriterThread
from textual.geometry import Size
from textual.message import Message

from p2ptui.io.signals import EXIT_BY_SIGNAL, HANGUP
from p2ptui.tui.pasting import Input, Keys, PasteGuard

READ_BYTES: Final = 4096
IDLE_S: Final = 0.1
WAITING_S: Final = 0.01
"""How long a read may take while nothing is expected, and while a paste or an escape is pending."""

MAX_WAITING: Final = 200_000
"""Characters on their way to the terminal: about ten full screens."""

CATCH_UP_S: Final = 0.1
"""How often a terminal that fell behind is checked."""

RESTART_S: Final = 0.01
"""Between two checks whether the terminal has taken the last output, and the screen may be entered
again.
"""

STALLED_S: Final = 1.0
"""At the end, a terminal that takes nothing for this long is left as it is."""


MAX_COLUMNS: Final = 2_000
MAX_ROWS: Final = 1_000
"""The largest screen that is drawn: each cell takes memory and time, and a terminal may report a
billion of them.
"""


class GuardedParser(XTermParser):
    """Textual's parser of keys and mouse, which never sees a paste and survives invalid input.

    Args:
        debug: As in Textual.
        clock: A monotonic clock, seconds.
    """

    def __init__(self, debug: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(debug)
        self._clock = clock
        self._guard = PasteGuard()

    @property
    def waits(self) -> bool:
        """Whether `tick` will have something to report soon."""
        return self._guard.waits

    def feed(self, data: str) -> Iterable[Message]:
        """Take what the terminal sent, at least one character."""
        yield from self._messages(self._guard.feed(data, self._clock()))

    def tick(self) -> Iterable[Message]:
        """Return what has been decided by time."""
        yield from self._sound(super().tick())
        yield from self._messages(self._guard.tick(self._clock()))

    def _sound(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The parsed messages, until one cannot be parsed."""
        try:
            yield from messages
        except (ValueError, ArithmeticError):  # a key code beyond Unicode, a screen of no cells
            # A generator that has raised does not go on. What is known of the terminal stays.
            Parser.__init__(self)

    def _messages(self, inputs: Iterable[Input]) -> Iterator[Message]:
        for entry in inputs:
            if not isinstance(entry, Keys):
                yield events.Paste(entry.text)
                continue
            for character in entry.text:
                # One by one: what follows a sequence that cannot be parsed is still read.
                yield from self._sound(super().feed(character))
            if entry.complete and self._timeout_time is not None:
                # The guard has already waited long enough for both.
                self._timeout_time = 0.0
                yield from self._sound(super().tick())


def drawable(resize: events.Resize) -> events.Resize:
    """A size that the terminal reported, cut down to what is drawn."""
    size = Size(min(resize.size.width, MAX_COLUMNS), min(resize.size.height, MAX_ROWS))
    return resize if size == resize.size else events.Resize.from_dimensions(size, None)


class TerminalFile:
    """The file that Textual's thread writes to: once the terminal has gone, writing does nothing.

    A thread that died from the error would leave behind a queue that nobody empties, and the whole
    process would wait for room in it forever, ignoring even signals. Python's own buffer is
    bypassed: a thread waiting for a terminal would hold its lock, and so block the end of the
    process.

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
        """Nothing is buffered."""

    def fileno(self) -> int:
        """The terminal's number."""
        return self._file.fileno()


class Backlog:
    """Output on its way to the terminal: bounded, and never waited for.

    A terminal may stall without closing: Ctrl+S, a hanging SSH session, a window being dragged.
    Then nothing more is drawn, and once the terminal takes output again, everything is drawn anew.

    Args:
        file: The terminal.
        redraw: Draws the whole screen.
    """

    def __init__(self, file: TerminalFile, redraw: Callable[[], None]) -> None:
        self._file = file
        self._redraw = redraw
        self._queued = 0
        self.is_behind = False
        """Whether output is being discarded."""
        self.is_leaving = False
        """Whether the last output is being written, which is short and not discarded."""
        self.is_ended = False
        """Whether it has been written: nothing would write what comes now."""

    @property
    def waiting(self) -> int:
        """Characters that the terminal has not taken yet."""
        return self._queued - self._file.written

    def put(self, text: str, thread: WriterThread) -> None:
        """Hand a text to the writing thread, or discard it."""
        if self.is_ended or (self.is_behind and not self.is_leaving):
            return
        if self.waiting > MAX_WAITING and not self.is_leaving:
            self.is_behind = True
            return
        self._queued += len(text)
        thread._queue.maxsize = 0  # the bound is the one above
        thread.write(text)

    def catch_up(self) -> None:
        """Draw the whole screen if the terminal has taken everything that was on its way."""
        if self.is_behind and not self.waiting:
            self.is_behind = False
            self._redraw()

    def begin(self) -> None:
        """From now on another thread writes, and the whole screen is drawn."""
        self.is_behind = self.is_leaving = self.is_ended = False

    def no_more(self, thread: WriterThread) -> None:
        """Let the thread end once it has written what it was given."""
        self.is_ended = True
        thread._queue.maxsize = 0
        thread._queue.put(None)

    def end(self, thread: WriterThread) -> bool:
        """Wait for the thread as long as the terminal takes anything; return whether it took
        everything.
        """
        self.no_more(thread)
        written = -1
        while thread.is_alive() and self._file.written != written:
            written = self._file.written
            thread.join(STALLED_S)
        return not thread.is_alive()


def guarded_driver(base: type[Driver]) -> type[Driver]:
    """A driver that handles the terminal as described above.

    Args:
        base: The driver that Textual would use; any other than those for POSIX and for a browser is
            left as it is: on Windows the console itself tells keys from pastes.
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
                driver._restarts = False  # it was left already, and is not entered again
                return
            backlog.is_leaving = True
            base.stop_application_mode(driver)

        def start(driver: Any) -> None:
            if _is_started(driver) or driver._restarts:
                # SIGCONT without a preceding SIGTSTP: a second pair of threads would never end. Not
                # within a signal handler.
                _soon(driver, _restart)
                return
            if driver._app._exit:
                return  # it came late: threads that start now would never end
            goes_on = driver._writer_thread is not None
            driver._backlog.begin()  # it may have been suspended
            base.start_application_mode(driver)
            if goes_on:
                # The screen just entered is empty and of the same size: Textual would only draw
                # what changes.
                _soon(driver, _redraw)

        members |= _stopped_by_signal(base) | {
            "__init__": begin,
            "write": _write,
            "start_application_mode": start,
            "stop_application_mode": stop,
            "close": _close,
        }
    return type(f"Guarded{base.__name__}", (base,), members)


def _stopped_by_signal(base: Any) -> dict[str, object]:
    """What stops the program at Ctrl-Z, and lets it go on, by the signals' names in Textual."""

    def stop_program(driver: Any, *_: Any) -> None:
        # Not within the signal handler: what it interrupts may hold the lock of the queue into
        # which the last output goes.
        driver._is_to_stop = True
        _soon(driver, stop_now)

    def stop_now(driver: Any) -> None:
        if driver._is_to_stop:
            driver._is_to_stop = False
            base._sigtstp_application(driver)

    def go_on(driver: Any, *_: Any) -> None:
        if driver._is_to_stop:
            driver._is_to_stop = False  # as the system does with a stop that is pending
        else:
            base._sigcont_application(driver)

    return {
        "_is_to_stop": False,
        "_sigtstp_application": stop_program,
        "_sigcont_application": go_on,
    }


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
        # Two threads at once could leave after entering.
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
    """End the writing thread; one blocked by a stalled terminal is left behind."""
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
    """Discard the last output to a terminal that has gone: an error there would hide the reason,
    and Python's final flush would change the exit code.
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
            # It was quiet only while nothing came: on a busy machine this thread may be late, and
            # what has come since has not been looked at.
            now = max(now, time.monotonic() if is_ready else min(time.monotonic(), latest))
            if is_ready:
                data = _read_some(driver.fileno)
                if not data:
                    _leave(driver)
                    driver.exit_event.wait()  # it is closed, and would always be ready at once
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
