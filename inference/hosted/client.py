"""Calls a provider through huggingface_hub's own client, within a deadline, and classifies its failures."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final

from huggingface_hub import InferenceClient, set_client_factory
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers import get_provider_helper
from huggingface_hub.inference._providers._common import HARDCODED_MODEL_INFERENCE_MAPPING
from huggingface_hub.utils._http import default_client_factory
from PIL import Image

from inference.hosted.calls import Call
from inference.hosted.errors import ProviderError
from inference.hosted.failures import classify
from inference.hosted.images import check_filter, check_pixels, open_image, parse_json
from inference.hosted.sessions import open_session
from inference.hosted.transport import BOUNDS, ROUTER_HOST, Exchange, ProviderTransport, current_exchange
from outbound.addresses import ANYWHERE, PUBLIC, AddressPolicy
from outbound.transport import OutboundTransport

POLL_S: Final = 0.25


class ProviderClient:
    """Calls the providers with one key. Used by one thread at a time.

    huggingface_hub has one session per process. This client replaces that session until it is closed.
    """

    def __init__(
        self,
        api_key: str,
        gateway: str | None = None,
        policy: AddressPolicy = PUBLIC,
        proxy_url: str | None = None,
    ) -> None:
        """Take the key, the base URL that replaces Hugging Face's router, and the rules of reaching out."""
        self._api_key = api_key
        public = OutboundTransport(policy, BOUNDS, proxy_url=proxy_url)
        trusted = OutboundTransport(ANYWHERE, BOUNDS) if gateway else None
        self._transport = ProviderTransport(public, gateway, trusted)
        set_client_factory(lambda: open_session(self._transport))

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
                return check_pixels(call.provider, result)
            raise classify(call.provider, exchange, result) from result
        except ProviderError as error:
            error.sent = exchange.sent
            raise

    def _request_image(self, call: Call, prompt: str) -> Image.Image:
        """Do what `text_to_image` does, but parse and open only what is as small as it should be."""
        client = InferenceClient(provider=call.provider, api_key=self._api_key)  # type: ignore[arg-type]
        model = _model(call)
        helper = get_provider_helper(call.provider, task="text-to-image", model=model)  # type: ignore[arg-type]
        extra_body = call.arguments.get("extra_body", {})
        request = helper.prepare_request(
            inputs=prompt,
            parameters={key: value for key, value in call.arguments.items() if key != "extra_body"}
            | extra_body,
            headers=client.headers,
            model=model,
            api_key=client.token,
        )
        body = client._inner_post(request)  # noqa: SLF001 - see pyproject.toml: the version is exact
        if call.provider != "hf-inference":  # which answers with the image itself
            content = parse_json(call.provider, body)
            check_filter(call.provider, content)
            body = helper.get_response(content, request)
        return open_image(call, body)

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
