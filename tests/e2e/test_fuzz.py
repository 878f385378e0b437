"""A seeded campaign of malformed traffic against a real API process: `make fuzz`."""

import contextlib
import itertools
import os
import random
import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import wire_mutations
from tests.e2e.edge import MAX_MIB, Bystander, running_edge

FUZZ_S = float(os.environ.get("FUZZ_S", "5"))
SEED = int(os.environ.get("FUZZ_SEED", "14"))
CLIENTS = 4
STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
ANSWERS = {"200", "204", "400", "401", "404", "405", "408", "409", "413", "417", "429", "431", "100"}
DOCUMENTED = {"503"}
"""The one answer of the server's own faults that may come: no free stream or connection."""
SLOW = 0.02  # of the connections stay open until the server closes them

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(FUZZ_S + 300)]


class Campaign:
    """Some clients that send malformed traffic for a time."""

    def __init__(self, api):
        self._api, self._until, self._lock = api, time.monotonic() + FUZZ_S, threading.Lock()
        self.sent, self.answers = Counter(), Counter()

    def run(self):
        """Send until the time is over."""
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(self._client, range(CLIENTS)))
        self._api.hang_up()

    def _client(self, number):
        chance = random.Random(SEED * CLIENTS + number)
        authorization = f"Authorization: Bearer {self._api.token}".encode()
        made = wire_mutations.connections(SEED * CLIENTS + number, authorization, self._api.project)
        for kind, data in itertools.takewhile(lambda _: time.monotonic() < self._until, made):
            answer = self._exchange(data, chance)
            with self._lock:
                self.sent[kind] += 1
                self.answers.update(status.decode() for status in STATUS.findall(answer))

    def _exchange(self, data, chance):
        """Send the bytes in one piece or several, and read for a moment or until the end."""
        received = b""
        with self._api.open_socket() as connection:
            connection.settimeout(30 if chance.random() < SLOW else 0.05)
            with contextlib.suppress(OSError):
                pieces = chance.choice((1, 1, 1, 2, 7))
                size = len(data) // pieces + 1
                for start in range(0, len(data), size):
                    connection.sendall(data[start : start + size])
                if chance.random() < 0.5:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65_536):
                    received += piece
        return received


def test_malformed_traffic(tmp_path, record_property):
    """Whatever comes, the process lives, answers others, logs no fault of its own and keeps nothing."""
    quick = {"HTTP_HEADER_TIMEOUT_S": "1", "HTTP_STALL_TIMEOUT_S": "1", "QUEUE_MAX_PER_USER": "20"}
    with running_edge(tmp_path, **quick) as api:
        with Bystander(api) as bystander:
            time.sleep(1)
            descriptors = api.process.num_fds()
            campaign = Campaign(api)
            campaign.run()
        api.quiet()
        sent, answers = dict(campaign.sent), dict(campaign.answers)
        figure = f"{sum(sent.values())} connections {sent}, answers {answers}"
        record_property(
            "figure",
            f"fuzz, seed {SEED}, {FUZZ_S:g} s: {figure}, peak {api.peak_mib():.0f} MiB, "
            f"p99 beside it {bystander.p99_ms:.0f} ms",
        )
        assert bystander.failures == []
        assert set(campaign.answers) <= ANSWERS | DOCUMENTED
        assert [line.get("exception", line) for line in api.faults()] == []
        assert api.peak_mib() < MAX_MIB
        # The pool of connections to the database may have grown, but by no more than it may have.
        assert api.process.num_fds() <= descriptors + 90
