"""Every fault of a provider ends in one class with the contract's code, whatever the provider."""

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
def asked_once(monkeypatch):
    """Backends that do not ask again."""
    monkeypatch.setattr("inference.hosted.backend.FIRST_WAIT_S", NEVER_AGAIN_S)


@pytest.mark.usefixtures("asked_once")
class TestFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_each_is_told_apart(self, box, backend_at, name):
        """A fault ends in its class, its code, and in what may have been charged."""
        fault, provider, expected, code, unknown = FAULTS[name]
        box.will(provider, fault)
        error = failure(backend_at(provider, timeout_s=deadline_s(name)))
        assert (type(error), error.code, error.unknown) == (expected, code, unknown)
        assert error.attempts[0]["outcome"] == ("unknown" if unknown else "not drawn")
        assert (error.attempts[0]["cost_microusd"] > 0) is unknown
        for secret in (KEY, "fox"):
            assert secret not in f"{error} {error.attempts}"

    def test_a_refused_connection(self, backend_at):
        """A provider that nobody answers for is away, and has drawn nothing."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, never listening
            gateway = f"http://127.0.0.1:{taken.getsockname()[1]}"
            error = failure(backend_at("fal-ai", gateway=gateway))
        assert (type(error), error.unknown) == (errors.ProviderAway, False)


class TestRetries:
    def test_what_passes_is_tried_again(self, box, backend_at):
        """After a fault that passes the same provider is asked again, and its image counts."""
        box.will("fal-ai", status(500), status(429), status(503))
        drawn = backend_at("fal-ai").generate(BASE, lambda _: None)
        assert len(box.orders) == 4
        assert [attempt["code"] for attempt in drawn.provenance.attempts] == [
            "AI_PROVIDER_ERROR",
            "RATE_LIMIT_EXCEEDED",
            "AI_PROVIDER_ERROR",
        ]
        assert drawn.provenance.cost_microusd == 25_000

    def test_the_next_provider_is_asked_at_once(self, box, backend_at):
        """A provider that fails does not keep the next one from drawing."""
        box.will("fal-ai", status(401))
        drawn = backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        assert [seen.provider for seen in box.orders] == ["fal-ai", "replicate"]
        assert drawn.provenance.provider == "replicate"

    def test_what_does_not_pass_is_not_repeated(self, box, backend_at):
        """A provider that refuses is asked once."""
        box.will("fal-ai", status(400))
        failure(backend_at("fal-ai"))
        assert len(box.orders) == 1

    def test_an_unknown_outcome_is_on_the_record(self, box, backend_at):
        """An image from the second tells that the first may have drawn too, and counts both costs."""
        box.will("fal-ai", half)
        drawn = backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        (first,) = drawn.provenance.attempts
        assert (first["provider"], first["outcome"]) == ("fal-ai", "unknown")
        assert drawn.provenance.cost_microusd == 25_000 + 25_000

    def test_waits_grow(self, box, backend_at, monkeypatch):
        """Each wait is longer than the one before, by a random part."""
        pauses = []
        box.will("fal-ai", *[status(500)] * 4)
        backend = backend_at("fal-ai", timeout_s=600)
        monkeypatch.setattr(backend, "_pause", lambda pause_s, _: pauses.append(pause_s))
        backend.generate(BASE, lambda _: None)
        assert len(pauses) == 4
        assert all(later > earlier for earlier, later in pairwise(pauses))

    def test_retry_after_is_honoured(self, box, backend_at):
        """A provider that asks to be left alone for three seconds is, while another one is tried again."""
        box.will("fal-ai", status(429, Retry_After="3"))
        box.will("replicate", status(500))
        backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        assert [order.provider for order in box.orders] == ["fal-ai", "replicate", "replicate"]
        box.will("fal-ai", status(429, Retry_After="3"))
        began = time.monotonic()
        backend_at("fal-ai").generate(BASE, lambda _: None)
        assert time.monotonic() - began >= 3

    def test_the_machines_proxy_is_used(self, monkeypatch):
        """Where the environment names a proxy for https, Hugging Face is reached by it or not at all."""
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
            asked = []

            def answer():
                with suppress(OSError):  # until the test ends
                    while True:
                        connection, _ = proxy.accept()
                        with connection:
                            asked.append(connection.recv(1000).split(b"\r\n")[0])
                            connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

            answering = threading.Thread(target=answer)
            answering.start()
            backend = HostedBackend(HostedConfig(KEY, ("fal-ai",), timeout_s=2))
            error = failure(backend)
            backend.close()
            proxy.shutdown(socket.SHUT_RDWR)
            answering.join()
        assert (type(error), error.unknown) == (errors.ProviderAway, False)
        assert set(asked) == {b"CONNECT router.huggingface.co:443 HTTP/1.1"}

    def test_the_deadline_is_never_passed(self, box, backend_at, monkeypatch):
        """Where the wait would go beyond the deadline there is none, and the cause is the error."""
        box.will("fal-ai", status(429, Retry_After="90"))
        backend = backend_at("fal-ai", timeout_s=60)
        monkeypatch.setattr(backend, "_pause", lambda *_: pytest.fail("it waits"))
        assert failure(backend).code == "RATE_LIMIT_EXCEEDED"


class TestStopping:
    def test_a_cancellation_ends_the_wait(self, box, backend_at):
        """What the report raises ends the call while the provider is still silent."""
        box.will("fal-ai", silence)

        class CancelledError(Exception):
            pass

        def report(_):
            if box.orders:
                raise CancelledError

        until = time.monotonic() + 60
        with pytest.raises(CancelledError):
            backend_at("fal-ai", timeout_s=60).generate(BASE, report)
        assert time.monotonic() < until
