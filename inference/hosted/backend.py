"""The hosted backend, which needs no accelerator: each order goes to the first provider that supports it."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from PIL import Image

from catalog.entries import Adapter
from catalog.orders import Order, Provenance
from inference.backend import Backend, Device, Phase, Picture, Progress, Report
from inference.hosted.calls import Call, OrderUnsupported, call_for
from inference.hosted.client import POLL_S, ProviderClient
from inference.hosted.errors import KeyMissing, NoProvider, ProviderError
from outbound.addresses import PUBLIC, AddressPolicy

NAME: Final = "huggingface"
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 20.0


@dataclass(frozen=True)
class HostedConfig:
    """Configuration of the hosted backend.

    api_key: without a key every order fails.
    providers: in the order in which they are called.
    timeout_s: for one order, including all providers, retries and waits.
    gateway: the base URL that replaces Hugging Face's router, if any.
    without_adapter: whether to draw an order without its adapter if no provider can apply it.
    policy: which addresses may be fetched from beside public ones.
    proxy_url: the proxy of all requests but those to the gateway, if any.
    """

    api_key: str | None
    providers: Sequence[str]
    timeout_s: float
    gateway: str | None = None
    without_adapter: bool = False
    policy: AddressPolicy = PUBLIC
    proxy_url: str | None = field(default=None, repr=False)


class HostedBackend(Backend):
    """Draws with hosted providers. See `inference.backend.Backend`."""

    def __init__(self, config: HostedConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._client = ProviderClient(config.api_key or "", config.gateway, config.policy, config.proxy_url)
        self._sleep = sleep

    @property
    def resident(self) -> frozenset[str]:
        """Always empty: the providers manage their own memory."""
        return frozenset()

    @property
    def device(self) -> Device:
        """The providers, in the order in which they are called."""
        return Device(", ".join(self._config.providers))

    def warm_up(self, model_id: str, revision: str | None, adapter: Adapter | None) -> None:  # noqa: ARG002 - the protocol's
        """Check that a key is set; the providers load models themselves.

        Raises:
            KeyMissing: no key is set.

        """
        if not self._config.api_key:
            raise KeyMissing

    def generate(self, order: Order, report: Report) -> Picture:
        """Call the providers in turn, with retries, until one returns an image or the deadline passes.

        Raises:
            ProviderError: the last failure; its `attempts` hold all failed attempts.
            NoProvider: no provider supports the order.

        """
        self.warm_up(order.model_id, order.revision, order.adapter)

        def on_poll() -> None:
            report(Progress(Phase.HOSTED))

        started = time.monotonic()
        deadline = started + self._config.timeout_s
        calls, warnings = self._calls(order)
        attempts: list[dict[str, Any]] = []
        last_error: ProviderError | None = None
        wait_s = FIRST_WAIT_S
        pending = [(call, started) for call in calls]  # each with the earliest time of its next attempt
        while pending:
            due, pending = _split_due(pending)
            for call in due:
                try:
                    image = self._client.draw(call, order.prompt, deadline, on_poll)
                except ProviderError as error:
                    last_error = error
                    attempts.append(_failed_attempt(call, error))
                    if error.transient:
                        pending.append((call, time.monotonic() + (error.retry_after_s or 0.0)))
                    if time.monotonic() >= deadline:
                        break
                else:
                    seconds = {Phase.HOSTED: time.monotonic() - started}
                    return Picture(
                        _resized(image, order), _provenance(order, call, attempts), seconds, warnings
                    )
            until_next_s = min((earliest for _, earliest in pending), default=deadline) - time.monotonic()
            pause_s = max(until_next_s, random.uniform(0.5, 1.0) * wait_s)  # noqa: S311 - jitter is no secret
            if time.monotonic() + pause_s >= deadline:
                break
            self._pause(pause_s, on_poll)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        assert last_error is not None  # noqa: S101 - there was at least one call, and all failed
        last_error.attempts = tuple(attempts)
        raise last_error

    def _calls(self, order: Order) -> tuple[list[Call], tuple[str, ...]]:
        """Return the possible calls in the order of the providers, and the warnings for the user.

        Raises:
            NoProvider: no provider supports the order.

        """
        calls, causes = [], []
        for provider in self._config.providers:
            try:
                calls.append(call_for(provider, order))
            except OrderUnsupported as error:
                causes.append(str(error))
        if calls:
            return calls, ()
        if order.adapter is None or not self._config.without_adapter:
            raise NoProvider(tuple(causes))
        calls, _ = self._calls(replace(order, adapter=None))
        return calls, (f"No hosted provider can apply {order.adapter.model_id}: drawn without it.",)

    def _pause(self, pause_s: float, on_poll: Callable[[], None]) -> None:
        """Wait, polling for a cancellation."""
        end = time.monotonic() + pause_s
        while (left_s := end - time.monotonic()) > 0:
            on_poll()
            self._sleep(min(POLL_S, left_s))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _split_due(pending: list[tuple[Call, float]]) -> tuple[list[Call], list[tuple[Call, float]]]:
    """Separate the calls that may be made now from those that must still wait."""
    now = time.monotonic()
    due = [call for call, earliest in pending if earliest <= now]
    return due, [(call, earliest) for call, earliest in pending if earliest > now]


def _resized(image: Image.Image, order: Order) -> Image.Image:
    """Reduce an image to the ordered size, if the provider has drawn a larger one."""
    size_px = (order.width_px, order.height_px)
    return image if image.size == size_px else image.resize(size_px, Image.Resampling.LANCZOS)


def _failed_attempt(call: Call, error: ProviderError) -> dict[str, Any]:
    return {
        "provider": call.provider,
        "code": error.code,
        "cause": error.cause,
        "outcome": "unknown" if error.outcome_unknown else "not drawn",
        "cost_microusd": call.cost_microusd if error.outcome_unknown else 0,
    }


def _provenance(order: Order, call: Call, attempts: Sequence[Mapping[str, Any]]) -> Provenance:
    return Provenance(
        backend=NAME,
        provider=call.provider,
        model_id=order.model_id,
        revision=None,  # providers do not report which revision they have loaded
        adapter=call.adapter,
        seed=order.seed,
        cost_microusd=call.cost_microusd + sum(attempt["cost_microusd"] for attempt in attempts),
        attempts=tuple(attempts),
    )
