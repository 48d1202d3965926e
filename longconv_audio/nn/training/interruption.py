"""Ctrl-C and its like, held back until a step is done."""

from __future__ import annotations

import signal

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """Within the `with`, a first signal to end is noted; a second one does what it would have done without this.

    Attributes:
        asked: the number of the signal, 0 where there was none.
    """

    def __init__(self):
        self.asked = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            handler = None if number is None else signal.getsignal(number)
            if handler in (None, signal.SIG_IGN):
                continue
            try:
                signal.signal(number, self._note)
            except ValueError:  # not in the main thread, where no signal arrives
                return self
            self._before[number] = handler
        return self

    def __exit__(self, *exc) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def deliver(self) -> None:
        """Ends the waiting: what the signal would have done, now. Returns where its handler does."""
        self.__exit__()
        signal.raise_signal(signal.Signals(self.asked))

    def _note(self, number: int, frame) -> None:
        if self.asked:
            self.deliver()
        self.asked = number
