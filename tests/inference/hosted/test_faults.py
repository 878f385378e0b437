"""Every fault of a provider ends in one class with the contract's code, whatever the provider."""

import socket
import struct
import time
from itertools import pairwise

import pytest
from PIL import Image

from catalog.entries import shipped_entries
from inference.backend import Order
from inference.hosted import errors
from tests.inference.hosted.box import KEY, as_png, deliver, draw, picture, size_of

BASE = Order.of_entry(shipped_entries()[0], "a secret fox", seed=7)
SHORT_S = 0.45  # shorter than the first wait: a fault is not tried again


def status(code, told=None, **headers):
    """Answer with a status."""
    return lambda conversation: conversation.say(
        code, told or {"error": "a secret fox is no good"}, **headers
    )


def redirect(where):
    """Answer with a redirect."""
    return lambda conversation: conversation.reply(307, "text/plain", b"", Location=where)


def redirect_in_a_ring(conversation):
    conversation.reply(307, "text/plain", b"", Location=conversation.path)
    conversation.box.will(conversation.order.provider, redirect_in_a_ring)


def promise(conversation):
    """Begin an answer that is longer than what comes."""
    conversation.send_response(200)
    conversation.send_header("Content-Type", "image/png")
    conversation.send_header("Content-Length", "100000")
    conversation.end_headers()


def half(conversation):
    """Hang up in the middle."""
    promise(conversation)
    conversation.wfile.write(b"\x89PNG\r\n")
    conversation.close_connection = True


def reset(conversation):
    """Cut the connection before any answer."""
    conversation.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conversation.connection.close()
    conversation.close_connection = True
    conversation.rfile = conversation.wfile = open("/dev/null", "r+b", buffering=0)  # noqa: SIM115, PTH123


def trickle(conversation):
    """Send a byte now and then."""
    promise(conversation)
    try:
        for _ in range(100):
            conversation.wfile.write(b"\0")
            time.sleep(0.05)
    except OSError:
        conversation.close_connection = True


def sleep(conversation):
    """Answer too late."""
    time.sleep(2)
    conversation.close_connection = True


def truncated(conversation):
    """Deliver half a file as a whole one."""
    image = picture(size_of(conversation.order))
    deliver(conversation, image[: len(image) // 2])


def garbage(conversation):
    deliver(conversation, b"<html>not an image</html>")


def flat(conversation):
    deliver(conversation, as_png(Image.new("RGB", size_of(conversation.order))))


def smaller(conversation):
    deliver(conversation, picture((256, 256)))


def nothing(conversation):
    conversation.say(200, {"nothing": "of use"})


LOADING = {"error": "Model black-forest-labs/FLUX.1-dev is currently loading", "estimated_time": 20.0}
NSFW = {"error": "flagged as sensitive", "status": "failed", "output": None}

# What happens, to whom, which class it is, its code, and whether the provider may have drawn.
FAULTS = {
    "loading": (status(503, LOADING), "hf-inference", errors.ProviderLoading, "MODEL_LOADING", False),
    "too many requests": (status(429), "fal-ai", errors.ProviderBusy, "RATE_LIMIT_EXCEEDED", False),
    "no answer": (sleep, "fal-ai", errors.ProviderSlow, "GENERATION_TIMEOUT", True),
    "trickle": (trickle, "hf-inference", errors.ProviderSlow, "GENERATION_TIMEOUT", True),
    "gateway timeout": (status(504), "replicate", errors.ProviderSlow, "GENERATION_TIMEOUT", True),
    "still drawing": (
        status(201, {"status": "processing", "output": None}),
        "replicate",
        errors.ProviderSlow,
        "GENERATION_TIMEOUT",
        True,
    ),
    "wrong key": (status(401), "fal-ai", errors.KeyRejected, "AI_PROVIDER_ERROR", False),
    "forbidden": (status(403), "replicate", errors.KeyRejected, "AI_PROVIDER_ERROR", False),
    "gated model": (
        status(403, X_Error_Code="GatedRepo"),
        "hf-inference",
        errors.ModelGated,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "no money": (status(402), "fal-ai", errors.CreditSpent, "AI_PROVIDER_ERROR", False),
    "bad request": (status(400), "hf-inference", errors.OrderRefused, "AI_PROVIDER_ERROR", False),
    "no such model": (status(404), "fal-ai", errors.OrderRefused, "AI_PROVIDER_ERROR", False),
    "prompt refused": (
        status(422, {"detail": "NSFW content"}),
        "fal-ai",
        errors.ContentRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "image refused": (
        lambda conversation: deliver(conversation, picture((512, 512)), has_nsfw_concepts=[True]),
        "fal-ai",
        errors.ContentRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "prediction refused": (status(201, NSFW), "replicate", errors.ContentRefused, "AI_PROVIDER_ERROR", True),
    "prediction failed": (
        status(201, {"status": "failed", "output": None, "error": "CUDA error"}),
        "replicate",
        errors.ProviderFailed,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "black image": (flat, "fal-ai", errors.ContentRefused, "AI_PROVIDER_ERROR", True),
    "broken image": (garbage, "hf-inference", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "broken file": (garbage, "fal-ai", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "half an image": (truncated, "replicate", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "another size": (smaller, "fal-ai", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "half an answer": (half, "hf-inference", errors.AnswerBroken, "AI_PROVIDER_ERROR", True),
    "connection reset": (reset, "fal-ai", errors.AnswerBroken, "AI_PROVIDER_ERROR", True),
    "empty answer": (nothing, "fal-ai", errors.AnswerBroken, "AI_PROVIDER_ERROR", True),
    "server error": (status(500), "fal-ai", errors.ProviderFailed, "AI_PROVIDER_ERROR", False),
    "overloaded": (status(503), "hf-inference", errors.ProviderFailed, "AI_PROVIDER_ERROR", False),
    "redirect to nowhere": (
        redirect("http://127.0.0.1:1/"),
        "fal-ai",
        errors.ProviderAway,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "redirect to no address": (
        redirect("ftp://127.0.0.1/"),
        "replicate",
        errors.ProviderAway,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "redirects in a ring": (
        redirect_in_a_ring,
        "hf-inference",
        errors.ProviderAway,
        "AI_PROVIDER_ERROR",
        False,
    ),
}


def failure(backend, order=BASE):
    with pytest.raises(errors.ProviderError) as raised:
        backend.generate(order, lambda _: None)
    return raised.value


class TestFaults:
    @pytest.mark.parametrize("name", FAULTS)
    def test_each_is_told_apart(self, box, backend_at, name):
        """A fault ends in its class, its code, and in what may have been charged."""
        fault, provider, expected, code, unknown = FAULTS[name]
        box.will(provider, fault)
        error = failure(backend_at(provider, timeout_s=SHORT_S))
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
            error = failure(backend_at("fal-ai", timeout_s=SHORT_S, gateway=gateway))
        assert (type(error), error.unknown) == (errors.ProviderAway, False)


class TestRetries:
    def test_what_passes_is_tried_again(self, box, backend_at):
        """After a fault that passes the same provider is asked again, and its image counts."""
        box.will("fal-ai", status(500), status(429), status(503))
        drawn = backend_at("fal-ai").generate(BASE, lambda _: None)
        assert len(box.orders) == 4
        assert [attempt["code"] for attempt in drawn.making.attempts] == [
            "AI_PROVIDER_ERROR",
            "RATE_LIMIT_EXCEEDED",
            "AI_PROVIDER_ERROR",
        ]
        assert drawn.making.cost_microusd == 25_000

    def test_the_next_provider_is_asked_at_once(self, box, backend_at):
        """A provider that fails does not keep the next one from drawing."""
        box.will("fal-ai", status(401))
        drawn = backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        assert [seen.provider for seen in box.orders] == ["fal-ai", "replicate"]
        assert drawn.making.provider == "replicate"

    def test_what_does_not_pass_is_not_repeated(self, box, backend_at):
        """A provider that refuses is asked once."""
        box.will("fal-ai", status(400))
        failure(backend_at("fal-ai"))
        assert len(box.orders) == 1

    def test_an_unknown_outcome_is_on_the_record(self, box, backend_at):
        """An image from the second tells that the first may have drawn too, and counts both costs."""
        box.will("fal-ai", half)
        drawn = backend_at("fal-ai", "replicate").generate(BASE, lambda _: None)
        (first,) = drawn.making.attempts
        assert (first["provider"], first["outcome"]) == ("fal-ai", "unknown")
        assert drawn.making.cost_microusd == 25_000 + 25_000

    def test_waits_grow(self, box, backend_at, monkeypatch):
        """Each wait is longer than the one before, by a random part."""
        pauses = []
        box.will("fal-ai", *[status(500)] * 4)
        backend = backend_at("fal-ai", timeout_s=600)
        monkeypatch.setattr(backend, "_pause", lambda pause_s, _: pauses.append(pause_s))
        backend.generate(BASE, lambda _: None)
        assert len(pauses) == 4
        assert all(later > earlier for earlier, later in pairwise(pauses))

    def test_retry_after_is_honoured(self, box, backend_at, monkeypatch):
        """A provider that asks to be left alone for 30 seconds is."""
        pauses = []
        box.will("fal-ai", status(429, Retry_After="30"))
        backend = backend_at("fal-ai", timeout_s=600)
        monkeypatch.setattr(backend, "_pause", lambda pause_s, _: pauses.append(pause_s))
        backend.generate(BASE, lambda _: None)
        assert pauses == [30]

    def test_the_deadline_is_never_passed(self, box, backend_at):
        """Where the wait would go beyond the deadline it ends at once, with the cause as its error."""
        box.will("fal-ai", status(429, Retry_After="30"))
        began = time.monotonic()
        error = failure(backend_at("fal-ai", timeout_s=20))
        assert error.code == "RATE_LIMIT_EXCEEDED"
        assert time.monotonic() - began < 10


class TestStopping:
    def test_a_cancellation_ends_the_wait(self, box, backend_at):
        """What the report raises ends the call while the provider is still silent."""
        box.will("fal-ai", sleep)

        class CancelledError(Exception):
            pass

        began = time.monotonic()

        def report(_):
            if time.monotonic() - began > 0.3:
                raise CancelledError

        with pytest.raises(CancelledError):
            backend_at("fal-ai").generate(BASE, report)
        assert time.monotonic() - began < 1.5
        box.will("fal-ai", draw)
