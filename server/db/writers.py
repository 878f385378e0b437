"""How transactions that write begin and end: on SQLite one after another, or several in one."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from server.db.engine import DEADLINES
from server.errors import DatabaseAway, OutcomeUnknown

BLOCKED_S: Final = 1.0
"""After a writer has waited so long for another process, further ones do not line up behind it."""
MOST_TOGETHER: Final = 16
TOGETHER_S: Final = 0.02
"""How many may write into one transaction, and how long after its beginning: the first waits for the last."""


@contextmanager
def whole(engine: Engine, begun: Callable[[], None] = lambda: None) -> Iterator[Session]:
    """Open a session with a transaction of its own, and commit it. begun: called when that has begun."""
    with Session(engine, expire_on_commit=False) as session:
        session.connection()  # on SQLite, this waits for other processes that write
        begun()
        try:
            yield session
            session.flush()
        except BaseException:
            session.rollback()
            raise
        _commit(session)


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        # With a connection the server's answer was lost; without one, it was an error, and nothing happened.
        if error.connection_invalidated:
            raise OutcomeUnknown from error
        raise


class Writers:
    """Lines up the writing threads of this process. SQLite has one writer, and waits unfairly, by polling.

    The first in line writes. When it has, it commits; or it hands its open transaction to the next, if both
    are joint, and waits until that is committed. So many commits, each with its flush, become one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mutex = threading.Lock()
        self._taken = False
        self._line: deque[_Waiting] = deque()
        self._limit_s: float = engine.get_execution_options().get("lock_s", DEADLINES.lock_timeout_s)
        self._blocked_since: float | None = None

    @contextmanager
    def begin(self, *, joint: bool) -> Iterator[Session]:
        """Wait for the other threads, and open a session; commit it, alone or with others.

        Raises:
            DatabaseAway: the wait is too long, or in vain; or the common transaction failed.

        """
        handed = self._enter(joint=joint)
        if joint:
            with self._part_of(handed) as session:
                yield session
            return
        try:
            with whole(self._engine, self._begun) as session:
                yield session
        finally:
            self._leave()

    def _enter(self, *, joint: bool) -> "_Joint | None":
        """Wait for the turn; return the open transaction that was handed over with it, if there is one."""
        with self._mutex:
            since = self._blocked_since
            if since is not None and time.monotonic() - since > BLOCKED_S:
                raise DatabaseAway
            if not self._taken:
                self._taken, self._blocked_since = True, time.monotonic()
                return None
            waiting = _Waiting(joint)
            self._line.append(waiting)
        if not waiting.turn.acquire(timeout=self._limit_s):
            with self._mutex:
                if waiting in self._line:
                    self._line.remove(waiting)
                    raise DatabaseAway
        return waiting.handed

    def _begun(self) -> None:
        """Note that the transaction has the write lock, and so waits for nobody."""
        self._blocked_since = None

    def _leave(self) -> None:
        with self._mutex:
            self._give_turn(None)

    def _give_turn(self, handed: "_Joint | None") -> None:
        if not self._line:
            self._taken, self._blocked_since = False, None
            return
        following = self._line.popleft()
        following.handed = handed
        self._blocked_since = time.monotonic() if handed is None else None
        following.turn.release()

    @contextmanager
    def _part_of(self, common: "_Joint | None") -> Iterator[Session]:
        try:
            if common is None:
                common = _Joint(self._engine)
                self._begun()
            with common.part() as session:
                yield session
        finally:
            if common is None:
                self._leave()
            else:
                self._pass_on(common)
        common.wait()

    def _pass_on(self, common: "_Joint") -> None:
        """Hand the transaction to the next in line, or commit it."""
        with self._mutex:
            if self._line and self._line[0].joint and common.has_room():
                self._give_turn(common)
                return
        common.end()
        self._leave()


@dataclass(eq=False)
class _Waiting:
    """A thread that waits for its turn. handed: the transaction that it gets with it."""

    joint: bool
    handed: "_Joint | None" = None
    turn: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.turn.acquire()  # who gives the turn releases it


class _Joint:
    """One transaction on SQLite, into which several threads write one after another."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.connect()
        try:
            self._transaction = self._connection.begin()
        except BaseException:
            self._connection.close()
            raise
        self._until = time.monotonic() + TOGETHER_S
        self._parts = 0
        self._failure: BaseException | None = None
        self._ended = threading.Event()

    def has_room(self) -> bool:
        """Return whether one more may write into it."""
        return self._is_open() and self._parts < MOST_TOGETHER and time.monotonic() < self._until

    @contextmanager
    def part(self) -> Iterator[Session]:
        """Open the session of one thread; undo what it wrote, and nothing else, if anything is raised."""
        mode = "create_savepoint" if self._parts else "rollback_only"
        with Session(self._connection, expire_on_commit=False, join_transaction_mode=mode) as session:  # type: ignore[arg-type]  # both are modes
            try:
                session.connection()
                yield session
                session.flush()
                session.commit()  # which releases the savepoint
            except BaseException as error:
                with suppress(DBAPIError):
                    session.rollback()
                if not self._is_open():  # SQLite gives up a whole transaction where it cannot undo a part
                    self._failure = error
                raise
            self._parts += 1

    def end(self) -> None:
        """Commit; or note the failure, and roll back."""
        try:
            if self._parts and self._failure is None:
                self._transaction.commit()
        except BaseException as error:  # noqa: BLE001  # raised in each thread that wrote
            self._failure = error
            with suppress(DBAPIError):
                self._connection.invalidate()  # closed, it has no transaction that the next user would be in
        finally:
            with suppress(DBAPIError):
                self._connection.close()
            self._ended.set()

    def wait(self) -> None:
        """Wait until it has ended.

        Raises:
            DatabaseAway: it failed, and nothing was changed.

        """
        self._ended.wait()
        if self._failure is not None:
            raise DatabaseAway from self._failure

    def _is_open(self) -> bool:
        driver: Any = self._connection.connection.driver_connection
        return self._transaction.is_active and bool(driver.in_transaction)
