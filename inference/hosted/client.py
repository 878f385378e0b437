"""One call of a provider through huggingface_hub's own client, within a deadline, its failures told apart."""

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
from inference.hosted.failures import told_apart
from inference.hosted.transport import ROUTER_HOST, BoundedTransport, Exchange, current

LOOK_S: Final = 0.25
_FORMATS: Final = frozenset({"PNG", "JPEG", "WEBP"})


class ProviderClient:
    """Calls the providers with one key. Used by one thread at a time.

    huggingface_hub has one session in a process: this replaces it until it is closed.
    """

    def __init__(self, api_key: str, gateway: str | None = None) -> None:
        """Take the key, and where the router is reached if not at Hugging Face."""
        self._api_key = api_key
        proxy = None if gateway else getproxies().get("https")  # given a transport, the client reads none
        self._transport = BoundedTransport(httpx2.HTTPTransport(proxy=proxy), gateway)
        set_client_factory(
            lambda: httpx2.Client(
                transport=self._transport,
                follow_redirects=True,
                event_hooks={"request": [hf_request_event_hook]},
            )
        )

    def draw(self, call: Call, prompt: str, until: float, look: Callable[[], None]) -> Image.Image:
        """Have a provider draw. until: the moment of `time.monotonic()` past which nobody waits.

        `look` is called several times a second meanwhile, and may raise to stop waiting.

        Raises:
            ProviderError: one subclass a cause; its `sent` says whether the provider may have drawn.

        """
        exchange = Exchange(until)
        done: SimpleQueue[Image.Image | Exception] = SimpleQueue()

        def work() -> None:
            current.set(exchange)
            try:
                done.put(self._ask(call, prompt))
            except Exception as error:  # noqa: BLE001 - it is told to the thread that waits
                done.put(error)

        # A thread of its own: no timeout of a socket bounds a server that sends a byte now and then.
        threading.Thread(target=copy_context().run, args=(work,), name="provider", daemon=True).start()
        try:
            answer = _wait(done, until, look)
            if isinstance(answer, Image.Image):
                return _checked(call, exchange, answer)
            raise told_apart(call.provider, exchange, answer) from answer
        except ProviderError as error:
            error.sent = exchange.sent
            raise

    def _ask(self, call: Call, prompt: str) -> Image.Image:
        client = InferenceClient(provider=call.provider, api_key=self._api_key)  # type: ignore[arg-type]
        image = client.text_to_image(prompt, model=_model(call), **call.arguments)
        if image.size == call.drawn_px and image.format in _FORMATS:
            image.load()
        return image

    def close(self) -> None:
        """Close all connections, and leave huggingface_hub its own session again."""
        set_client_factory(default_client_factory)
        self._transport.close()


def _model(call: Call) -> str:
    """Tell the client which endpoint serves the call, and return what it calls the model.

    By itself it would ask the Hub. For a LoRA the Hub's answer has it send fal-ai a scale of 1, and the
    endpoint of the base model there ignores `loras`: neither draws what was ordered.
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


def _wait(done: "SimpleQueue[Any]", until: float, look: Callable[[], None]) -> Any:
    while True:
        look()
        remaining_s = until - time.monotonic()
        try:
            return done.get(timeout=max(0.0, min(LOOK_S, remaining_s)))
        except Empty:
            if remaining_s <= 0:
                return TimeoutError("the call's time is over")


def _checked(call: Call, exchange: Exchange, image: Image.Image) -> Image.Image:
    """Let an image of the right kind and size that shows something pass."""
    if any(exchange.last_json().get("has_nsfw_concepts") or ()):
        raise errors.ContentRefused(call.provider, "refused the content")
    if image.format not in _FORMATS:
        raise errors.ImageBroken(call.provider, f"sent an image of the format {image.format}")
    if image.size != call.drawn_px:
        width_px, height_px = image.size
        raise errors.ImageBroken(
            call.provider,
            f"sent {width_px}x{height_px} px where {call.drawn_px[0]}x{call.drawn_px[1]} px were ordered",
        )
    image = image.convert("RGB")
    if max(ImageStat.Stat(image).stddev) < FLAT_LEVELS:
        raise errors.ContentRefused(
            call.provider, "sent one even colour, as where its filter refuses the content"
        )
    return image
