"""Parts of a process that run in threads of their own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_thread(name: str, run: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a part in a thread while the body does; ask it to stop at the end, and wait for it."""
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(stopped,), name=name)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
