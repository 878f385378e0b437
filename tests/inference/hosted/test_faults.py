"""Each fault of a provider raises one error class with the contract's code."""

import socket
import threading
import time
from contextlib import suppress
from itertools import pairwise

import pytest

from catalog.entries import shipped_entries
from catalog.orders import Order
from inference.hosted import errors
from inference.hosted.backend import HostedBackend, HostedConfig
from tests.inference.hosted.box import KEY
from tests.inference.hosted.faults import FAULTS, NEVER_AGAIN_S, deadline_s, half, silence, status

BASE = Order.of_entry(shipped_entries()[0], "a secret fox", seed=7)


def failure(backend, order=BASE):
    with pytest.raises(errors.ProviderError) as raised:
        backend.generate(order, lambda _: None)
    return raised.value


@pytest.fixture
def without_retries(monkeypatch):
    """Let backends call each provider only once."""
    monkeypatch.setattr("inference.hosted.backend.FIRST_WAIT_S", NEVER_AGAIN_S)


@pytest.mark.usefixtures("without_retries")
class TestFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_each_fault_has_its_error(self, box, backend_at, name):
        """A fault raises its class with its code, and the attempt records a cost if it may be charged."""
        fault, provider, expected, code, unknown = FAULTS[name]
        box.will(provider, fault)
        error = failure(backend_at(provider, timeout_s=deadline_s(name)))
        assert (type(error), error.code, error.outcome_unknown) == (expected, code, unknown)
        assert error.attempts[0]["outcome"] == ("unknown" if unknown else "not drawn")
        assert (error.attempts[0]["cost_microusd"] > 0) is unknown
        for secret in (KEY, "fox"):
            assert secret not in f"{error} {error.attempts}"

    def test_a_refused_connection(self, backend_at):
        """A provider that refuses the connection is unreachable, and has drawn nothing."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # not listening
            gateway = f"http://127.0.0.1:{bound.getsockname()[1]}"
            error = failure(backend_at("fal-ai", gateway=gateway))
        assert (type(error), error.outcome_unknown) == (errors.ProviderUnreachable, False)


class TestRetries:
    def test_transient_faults_are_retried(self, box, backend_at):
        """After transient faults the same provider is called again, and its image is returned."""
        box.will("fal-ai", status(500), status(429), status(503))
        picture = backend_at("fal-ai").generate(BASE, lambda _: None)
        assert len(box.orders) == 4
        assert [attempt["code"] for attempt in picture.provenance.attempts] == [
            "AI_PROVIDER_ERROR",
            "RATE_LIMIT_EXCEEDED",
            "AI_PROVIDER_ERROR",
        ]
        assert picture.provenance.cost_microusd == 25_000

    def test_the_next_provider_is_called_at_once(self, box, backend_at):
        """After a provider's failure the next provider draws."""
        box.will("fal-ai", status(401))
        picture = backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        assert [request.provider for request in box.orders] == ["fal-ai", "replicate"]
        assert picture.provenance.provider == "replicate"

    def test_permanent_faults_are_not_retried(self, box, backend_at):
        """A provider that refuses the order is called once."""
        box.will("fal-ai", status(400))
        failure(backend_at("fal-ai"))
        assert len(box.orders) == 1

    def test_an_unknown_outcome_is_recorded(self, box, backend_at):
        """The second provider's image records that the first may have drawn too, and counts both costs."""
        box.will("fal-ai", half)
        picture = backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        (first,) = picture.provenance.attempts
        assert (first["provider"], first["outcome"]) == ("fal-ai", "unknown")
        assert picture.provenance.cost_microusd == 25_000 + 25_000

    def test_waits_grow(self, box, backend_at, monkeypatch):
        """Each wait is longer than the previous one, despite its random part."""
        pauses = []
        box.will("fal-ai", *[status(500)] * 4)
        backend = backend_at("fal-ai", timeout_s=600)
        monkeypatch.setattr(backend, "_pause", lambda pause_s, _: pauses.append(pause_s))
        backend.generate(BASE, lambda _: None)
        assert len(pauses) == 4
        assert all(later > earlier for earlier, later in pairwise(pauses))

    def test_retry_after_is_honoured(self, box, backend_at):
        """A provider that demands a wait of three seconds gets it, while another provider is retried."""
        box.will("fal-ai", status(429, Retry_After="3"))
        box.will("replicate", status(500))
        backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        assert [request.provider for request in box.orders] == ["fal-ai", "replicate", "replicate"]
        box.will("fal-ai", status(429, Retry_After="3"))
        began = time.monotonic()
        backend_at("fal-ai").generate(BASE, lambda _: None)
        assert time.monotonic() - began >= 3

    def test_the_operators_proxy_is_used(self, monkeypatch):
        """All requests go through the proxy that the operator set, and none through that of HTTPS_PROXY."""
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
            request_lines = []

            def respond():
                with suppress(OSError):  # until the test ends
                    while True:
                        connection, _ = proxy.accept()
                        with connection:
                            request_lines.append(connection.recv(1000).split(b"\r\n")[0])
                            connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

            responding = threading.Thread(target=respond)
            responding.start()
            proxy_url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            backend = HostedBackend(HostedConfig(KEY, ("fal-ai",), timeout_s=2, proxy_url=proxy_url))
            error = failure(backend)
            backend.close()
            proxy.shutdown(socket.SHUT_RDWR)
            responding.join()
        assert (type(error), error.outcome_unknown) == (errors.ProviderUnreachable, False)
        assert set(request_lines) == {b"CONNECT router.huggingface.co:443 HTTP/1.1"}

    def test_no_wait_passes_the_deadline(self, box, backend_at, monkeypatch):
        """If the next wait would end after the deadline, the last error is raised without a wait."""
        box.will("fal-ai", status(429, Retry_After="90"))
        backend = backend_at("fal-ai", timeout_s=60)
        monkeypatch.setattr(backend, "_pause", lambda *_: pytest.fail("it waits"))
        assert failure(backend).code == "RATE_LIMIT_EXCEEDED"


class TestStopping:
    def test_a_cancellation_ends_the_wait(self, box, backend_at):
        """An exception from the report ends the call while the provider is still silent."""
        box.will("fal-ai", silence)

        class CancelledError(Exception):
            pass

        def report(_):
            if box.orders:
                raise CancelledError

        deadline = time.monotonic() + 60
        with pytest.raises(CancelledError):
            backend_at("fal-ai", timeout_s=60).generate(BASE, report)
        assert time.monotonic() < deadline
