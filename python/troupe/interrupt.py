"""Ctrl-C during a step: the step ends first, so that no variable is left half updated."""

from __future__ import annotations

import signal
import threading
from typing import Any


class CtrlC:
    """Holds Ctrl-C back inside a `with` block and notes it in `pressed`. Pressed again, it interrupts at once, and
    `forced` says that the step did not end. A step that fails after it was pressed is interrupted too, the failure as the
    cause. Works in the main thread, where signals arrive."""

    def __init__(self) -> None:
        self.pressed = False
        self.forced = False
        self._before: Any = None
        self._active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> CtrlC:
        if self._active:
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._before)
        if self.pressed and error is not None and not self.forced:
            self.forced = True
            raise KeyboardInterrupt from error

    def _press(self, *_: object) -> None:
        self.forced, self.pressed = self.pressed, True
        if self.forced:
            raise KeyboardInterrupt
