"""Reading ahead and writing behind: neighbouring steps at the same time, with bounded memory in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

# Items that may wait between two steps.
_DEPTH = 2
# Seconds after which a thread looks whether the other side has given up, and for which an end is waited for: a
# thread that hangs in a pipe is left behind.
_PATIENCE = 0.1
_FAREWELL = 1.0
_END = object()


def ahead(items: Iterable[Any]) -> Iterator[Any]:
    """The items, made in a thread of their own while the last ones are being used. Its exceptions arrive here."""
    queue: Queue = Queue(_DEPTH)
    stopped = Event()

    def work() -> None:
        try:
            for item in items:
                if not _put(queue, (item, None), stopped):
                    return
            _put(queue, (_END, None), stopped)
        except BaseException as error:
            _put(queue, (_END, error), stopped)

    thread = Thread(target=work, daemon=True, name="longconv-ahead")
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join(_FAREWELL)


@contextmanager
def behind(consume: Callable[[Any], None]) -> Iterator[Callable[[Any], None]]:
    """Gives a function that hands an item to `consume` in another thread. Its exceptions arrive in the caller."""
    queue: Queue = Queue(_DEPTH)
    stopped = Event()
    failure: list[BaseException] = []

    def work() -> None:
        try:
            while not stopped.is_set():
                try:
                    item = queue.get(timeout=_PATIENCE)
                except Empty:
                    continue
                if item is _END:
                    return
                consume(item)
        except BaseException as error:
            failure.append(error)
            stopped.set()

    thread = Thread(target=work, daemon=True, name="longconv-behind")
    thread.start()

    def put(item: Any) -> None:
        if not _put(queue, item, stopped):
            raise failure[0]

    try:
        yield put
        _put(queue, _END, stopped)
        while thread.is_alive():  # in short waits, so that Ctrl-C gets through
            thread.join(_PATIENCE)
    finally:
        stopped.set()
        thread.join(_FAREWELL)
    if failure:
        raise failure[0]


def _put(queue: Queue, item: Any, stopped: Event) -> bool:
    """Puts the item where there is room; False where the other side has given up."""
    while not stopped.is_set():
        try:
            queue.put(item, timeout=_PATIENCE)
            return True
        except Full:
            continue
    return False
