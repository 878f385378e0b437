"""Where crash points lie: between statements, around commits, file operations, wake-ups, drawing and forks.

Each place wraps a function of a library or of the program when its module is imported. Between two statements
there is one point: dying after the first is dying before the second.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import random
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from crash_points import FOLDER, is_below, reach, use_case

_open = threading.local()
"""The transaction of each thread."""


class _Transaction:
    """Whose transaction it is, and what it has done so far."""

    def __init__(self, name: str, *, writes: bool) -> None:
        self.name = name
        self.writes = writes
        self.done: set[str] = set()


def watch(role: str) -> None:
    """Wrap what is there already, and the program's modules when they are imported."""
    if role == "decoder":
        _watch_forks()
        return
    sys.meta_path.insert(0, _Finder())
    _watch_files()


# Statements and commits


def _watch_statements(module: ModuleType) -> None:
    from sqlalchemy import Engine, event  # noqa: PLC0415  # the program imports it a moment before
    from sqlalchemy.engine.default import DefaultDialect  # noqa: PLC0415

    event.listen(Engine, "before_cursor_execute", _before_statement)
    commit = DefaultDialect.do_commit

    def do_commit(self: Any, connection: Any) -> None:
        transaction = getattr(_open, "transaction", None)
        if transaction is None or not transaction.writes:
            commit(self, connection)
            return
        reach(transaction.name, "before commit")
        commit(self, connection)
        reach(transaction.name, "after commit")

    DefaultDialect.do_commit = do_commit


def _before_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    transaction = getattr(_open, "transaction", None)
    if transaction is None:
        return  # the driver's own, a migration's or a command's: one transaction, whose crash undoes it
    if not transaction.writes:
        if not transaction.done:
            transaction.done.add("read")
            reach(transaction.name, "reading")
        return
    kind = _kind(statement)
    again = " again" if kind in transaction.done else ""
    transaction.done.add(kind)
    reach(transaction.name, f"before {kind}{again}")


@functools.lru_cache(maxsize=2000)
def _kind(statement: str) -> str:
    """Return the verb and the table of a statement."""
    verb = statement.split(None, 1)[0].upper()
    word = {"INSERT": "INTO", "UPDATE": "UPDATE"}.get(verb, "FROM")
    table = re.search(rf"\b{word}\s+(\w+)", statement, re.IGNORECASE)
    return f"{verb} {table[1]}" if table else verb


def _watch_transactions(module: ModuleType) -> None:
    for name, writes in (("begin", True), ("read", False)):
        opening = getattr(module.UnitOfWork, name)
        setattr(module.UnitOfWork, name, functools.partialmethod(_named, opening, writes))


def _named(self: Any, opening: Callable[[Any], Any], writes: bool) -> "_Named":
    return _Named(opening(self), _Transaction(use_case(), writes=writes))


class _Named:
    """A transaction's context manager that tells the thread whose it is."""

    def __init__(self, inner: Any, transaction: _Transaction) -> None:
        self._inner = inner
        self._transaction = transaction

    def __enter__(self) -> Any:
        self._outer = getattr(_open, "transaction", None)
        _open.transaction = self._transaction
        try:
            return self._inner.__enter__()
        except BaseException:
            _open.transaction = self._outer
            raise

    def __exit__(self, *raised: object) -> Any:
        try:
            return self._inner.__exit__(*raised)
        finally:
            _open.transaction = self._outer


# Files of images


def _watch_files() -> None:
    for owner, name in ((os, "fsync"), (os, "utime"), (Path, "replace"), (Path, "unlink"), (os, "link")):
        _around(owner, name, only="images/")


def _watch_store(module: ModuleType) -> None:
    put, delete = module.obstore.put, module.obstore.delete
    full = FOLDER / "full"

    def put_here(store: Any, path: str, *arguments: Any, **options: Any) -> Any:
        position = f"put {Path(path).suffix or path}"
        reach(use_case(), f"before {position}")
        if full.exists():
            raise OSError(28, "No space left on device (os error 28)")
        done = put(store, path, *arguments, **options)
        reach(use_case(), f"after {position}")
        return done

    def delete_here(store: Any, path: str) -> Any:
        reach(use_case(), f"before delete {Path(path).suffix}")
        done = delete(store, path)
        reach(use_case(), f"after delete {Path(path).suffix}")
        return done

    module.obstore.put, module.obstore.delete = put_here, delete_here


# Processes


def _watch_forks() -> None:
    """The decoder: a job is received, forked for, decoded and answered."""
    fork, receive, write = os.fork, socket.recv_fds, os.write

    def fork_here() -> int:
        reach("uploads/decoder_process._fork", "before fork")
        child = fork()
        reach("uploads/decoder_process._fork", "after fork, parent" if child else "after fork, child")
        return child

    def receive_here(*arguments: Any) -> Any:
        received = receive(*arguments)
        if received[0]:
            reach("uploads/decoder_process.main", "after a job came")
        return received

    def write_here(descriptor: int, content: bytes) -> int:
        if content.startswith(b"{"):
            reach("uploads/decoder_process._fork", "before the answer")
        return write(descriptor, content)

    os.fork, socket.recv_fds, os.write = fork_here, receive_here, write_here


def _around(owner: Any, name: str, only: str | None = None) -> None:
    """Put a point before a function and one after it; only: if a function of this folder calls it."""
    wrapped = getattr(owner, name)

    @functools.wraps(wrapped)
    def around(*arguments: Any, **options: Any) -> Any:
        if only is not None and not is_below(only):
            return wrapped(*arguments, **options)
        case = use_case()
        reach(case, f"before {name.strip('_')}")
        done = wrapped(*arguments, **options)
        reach(case, f"after {name.strip('_')}")
        return done

    setattr(owner, name, around)


def _watch_drawing(module: ModuleType) -> None:
    from inference.errors import ImageNotFinite  # noqa: PLC0415  # the program imports it a moment before

    draw = module.Drawing._generate  # drawing is what is watched

    def draw_or_fail(self: Any, *rows: Any) -> Any:
        if (FOLDER / "device-fails").exists() and self._context.policy.backend == "local":
            raise ImageNotFinite("latents")
        return draw(self, *rows)

    module.Drawing._generate = draw_or_fail
    _around(module.Drawing, "_generate")


def _watch_wakeups(module: ModuleType) -> None:
    _around(module.WakeUps, "notify")
    _around(module, "_take")


def _watch_spawning(module: ModuleType) -> None:
    _around(module.Watchdog, "_spawn")
    _around(module.Watchdog, "_return_work")


def _script_drawing(module: ModuleType) -> None:
    """Let so many of the local workers draw gradients, and import no torch when they start."""
    if random.random() < float(os.environ.get("CHAOS_SCRIPTED", "0")):
        from inference.scripted import Script, ScriptedBackend  # noqa: PLC0415  # only workers have it

        module._local = lambda *_: ScriptedBackend(Script(step_s=0.02))  # what is replaced


PLACES: dict[str, Callable[[ModuleType], None]] = {
    "server.db.engine": _watch_statements,
    "server.db.unit_of_work": _watch_transactions,
    "server.images.store": _watch_store,
    "server.scheduling.wakeups": _watch_wakeups,
    "server.supervisor.watchdog": _watch_spawning,
    "server.worker.drawing": _watch_drawing,
    "server.worker.backends": _script_drawing,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules with places, and wraps their functions after they are loaded."""

    def find_spec(self, name: str, path: Any, _target: Any = None) -> Any:
        if name not in PLACES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = _Loader(spec.loader, PLACES[name])
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: Any, wrap: Callable[[ModuleType], None]) -> None:
        self._inner = inner
        self._wrap = wrap

    def create_module(self, spec: Any) -> Any:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._wrap(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
