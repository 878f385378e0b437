"""Calls a provider through huggingface_hub's own client, within a deadline, and classifies its failures."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final
from urllib.request import getproxies

import httpx2
from huggingface_hub import InferenceClient, set_client_factory
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers._common import HARDCODED_MODEL_INFERENCE_MAPPING
from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook
from PIL import Image, ImageStat

from inference.errors import FLAT_LEVELS
from inference.hosted import errors
from inference.hosted.calls import Call
from inference.hosted.errors import ProviderError
from inference.hosted.failures import classify
from inference.hosted.transport import ROUTER_HOST, BoundedTransport, Exchange, current_exchange

POLL_S: Final = 0.25
_FORMATS: Final = frozenset({"PNG", "JPEG", "WEBP"})


class ProviderClient:
    """Calls the providers with one key. Used by one thread at a time.

    huggingface_hub has one session per process. This client replaces that session until it is closed.
    """

    def __init__(self, api_key: str, gateway: str | None = None) -> None:
        """Take the key, and the base URL that replaces Hugging Face's router, if any."""
        self._api_key = api_key
        # A client with a transport of its own does not read the environment's proxy.
        proxy = None if gateway else getproxies().get("https")
        self._transport = BoundedTransport(httpx2.HTTPTransport(proxy=proxy), gateway)
        set_client_factory(
            lambda: httpx2.Client(
                transport=self._transport,
                follow_redirects=True,
                event_hooks={"request": [hf_request_event_hook]},
            )
        )

    def draw(self, call: Call, prompt: str, deadline: float, on_poll: Callable[[], None]) -> Image.Image:
        """Call a provider and return its image, checked.

        deadline: in seconds of `time.monotonic()`.
        on_poll: called several times a second while waiting; it may raise to stop waiting.

        Raises:
            ProviderError: one subclass per cause; `sent` is set if the provider has received the order.

        """
        exchange = Exchange(deadline)
        done: SimpleQueue[Image.Image | Exception] = SimpleQueue()

        def work() -> None:
            current_exchange.set(exchange)
            try:
                done.put(self._request_image(call, prompt))
            except Exception as error:  # noqa: BLE001 - the waiting thread raises it
                done.put(error)

        # A separate thread, because no socket timeout limits a server that sends a byte now and then.
        threading.Thread(target=copy_context().run, args=(work,), name="provider", daemon=True).start()
        try:
            result = _wait(done, deadline, on_poll)
            if isinstance(result, Image.Image):
                return _checked(call, exchange, result)
            raise classify(call.provider, exchange, result) from result
        except ProviderError as error:
            error.sent = exchange.sent
            raise

    def _request_image(self, call: Call, prompt: str) -> Image.Image:
        client = InferenceClient(provider=call.provider, api_key=self._api_key)  # type: ignore[arg-type]
        image = client.text_to_image(prompt, model=_model(call), **call.arguments)
        if image.size == call.drawn_px and image.format in _FORMATS:
            image.load()
        return image

    def close(self) -> None:
        """Close all connections and restore huggingface_hub's own session."""
        set_client_factory(default_client_factory)
        self._transport.close()


def _model(call: Call) -> str:
    """Register the call's endpoint with huggingface_hub, and return the model's name or URL for the client.

    Without this, the client would ask the Hub for the endpoint. With the Hub's endpoint for a LoRA, the
    client sends fal-ai a scale of 1. fal-ai's endpoint for the base model ignores `loras`. So with either
    endpoint fal-ai would draw another image than ordered.
    """
    if call.provider == "hf-inference":
        return f"https://{ROUTER_HOST}/hf-inference/models/{call.endpoint}"
    names_adapter = call.adapter is not None and call.provider == "replicate"
    HARDCODED_MODEL_INFERENCE_MAPPING[call.provider][call.repository] = InferenceProviderMapping(  # type: ignore[no-untyped-call]
        provider=call.provider,
        hf_model_id=call.repository,
        providerId=call.endpoint,
        task="text-to-image",
        status="live",
        adapterWeightsPath=call.adapter.weight_name if call.adapter and names_adapter else None,
    )
    return call.repository


def _wait(done: "SimpleQueue[Any]", deadline: float, on_poll: Callable[[], None]) -> Any:
    while True:
        on_poll()
        remaining_s = deadline - time.monotonic()
        try:
            return done.get(timeout=max(0.0, min(POLL_S, remaining_s)))
        except Empty:
            if remaining_s <= 0:
                return TimeoutError("the call's deadline has passed")


def _checked(call: Call, exchange: Exchange, image: Image.Image) -> Image.Image:
    """Return the image in RGB if its format and size are right and it is not flat.

    Raises:
        ContentRefused: a flag in the response, or a uniform colour, shows that the filter refused it.
        ImageBroken: the format or the size is wrong.

    """
    if any(exchange.last_json().get("has_nsfw_concepts") or ()):
        raise errors.ContentRefused(call.provider, "refused the content")
    if image.format not in _FORMATS:
        raise errors.ImageBroken(call.provider, f"sent an image of the format {image.format}")
    if image.size != call.drawn_px:
        width_px, height_px = image.size
        raise errors.ImageBroken(
            call.provider,
            f"sent {width_px}x{height_px} px instead of {call.drawn_px[0]}x{call.drawn_px[1]} px",
        )
    image = image.convert("RGB")
    if max(ImageStat.Stat(image).stddev) < FLAT_LEVELS:
        raise errors.ContentRefused(
            call.provider, "sent an image of one uniform colour, as when its filter refuses the content"
        )
    return image
