"""The metrics have a port of their own, which answers one scrape at a time."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from server.observability.listener import MetricsListener
from server.supervisor.shutdown import keep_running


@pytest.fixture
def listening():
    """Start a listener on a free port, or on the one that is named; stop all at the end."""
    stopped, threads = threading.Event(), []

    def start(exposition, port=0, host="127.0.0.1"):
        listener = MetricsListener(host, port, exposition)
        threads.append(threading.Thread(target=keep_running, args=("metrics", listener.run, stopped)))
        threads[-1].start()
        while not port and listener.port is None:
            stopped.wait(0.01)
        return listener

    yield start
    stopped.set()
    for thread in threads:
        thread.join(20)


def get(listener, path="/metrics", **options):
    return httpx.get(f"http://127.0.0.1:{listener.port}{path}", timeout=60, trust_env=False, **options)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestPublicPort:
    def test_clients_find_no_metrics(self, api, make_account):
        """The port of the clients answers 404, with a token and without."""
        for headers in ({}, make_account().headers):
            api.refused(api.client.get("/metrics", headers=headers), 404, "ENDPOINT_NOT_FOUND")

    def test_without_a_port_none_is_opened(self, open_api):
        """An operator who sets no METRICS_PORT opens no second port."""
        with open_api(metrics_port=None) as api:
            assert api.client.app.state["metrics"] is None


class TestAnswers:
    def test_only_the_path_of_the_metrics(self, listening):
        """Another path is 404, another method 405, and a query changes nothing."""
        listener = listening(lambda: b"up 1\n")
        assert get(listener, "/").status_code == 404
        assert get(listener, "/metrics?x=1").text == "up 1\n"
        posted = httpx.post(f"http://127.0.0.1:{listener.port}/metrics", trust_env=False)
        assert posted.status_code == 405

    def test_a_fault_is_500_and_the_next_scrape_is_answered(self, listening):
        """A scrape that breaks ends nothing."""
        faults = [RuntimeError("hidden-words")]

        def exposition():
            if faults:
                raise faults.pop()
            return b"up 1\n"

        listener = listening(exposition)
        broken = get(listener)
        assert (broken.status_code, broken.text) == (500, "")
        assert get(listener).text == "up 1\n"

    def test_one_at_a_time(self, listening):
        """Scrapes that come together are read one after another, and all are answered."""
        reading, most = threading.Semaphore(), []

        def exposition():
            most.append(reading.acquire(blocking=False))
            threading.Event().wait(0.02)
            reading.release()
            return b"up 1\n"

        listener = listening(exposition)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: get(listener).status_code, range(8)))
        assert answers == [200] * 8
        assert most == [True] * 8

    def test_a_silent_client_is_left(self, listening, monkeypatch):
        """Who connects and asks nothing is dropped, and the next one is answered."""
        monkeypatch.setattr("server.observability.listener.CLIENT_TIMEOUT_S", 0.1)
        listener = listening(lambda: b"up 1\n")
        with socket.create_connection(("127.0.0.1", listener.port)):
            assert get(listener).status_code == 200

    def test_a_client_that_trickles_is_left(self, listening, monkeypatch):
        """Who sends a byte now and then is dropped as well: the whole request has a deadline."""
        monkeypatch.setattr("server.observability.listener.CLIENT_TIMEOUT_S", 0.3)
        listener = listening(lambda: b"up 1\n")
        address = "127.0.0.1", listener.port
        with socket.create_connection(address) as client, ThreadPoolExecutor() as threads:
            answer = threads.submit(get, listener)
            client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            with suppress(OSError):
                while not answer.done():
                    client.sendall(b"x")
                    threading.Event().wait(0.05)
            assert answer.result().status_code == 200


class TestSharedPort:
    def test_the_next_process_takes_it_over(self, listening):
        """Of two processes with one port the second begins to answer when the first has ended."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            second = listening(lambda: b"second 1\n", port=other.getsockname()[1])
            assert second.port is None
        while second.port is None:
            threading.Event().wait(0.01)
        assert get(second).text == "second 1\n"
