"""The backend without an accelerator: each order goes to the first provider that can draw it as it is."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from PIL import Image

from catalog.entries import Adapter
from catalog.orders import Order, Provenance
from inference.backend import Phase, Picture, Progress, Report
from inference.hosted.calls import Call, OrderUnsupported, call_for
from inference.hosted.client import LOOK_S, ProviderClient
from inference.hosted.errors import KeyMissing, NoProvider, ProviderError

NAME: Final = "huggingface"
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 20.0


@dataclass(frozen=True)
class HostedConfig:
    """What the hosted backend needs to know.

    api_key: without one every order fails. providers: in the order in which they are asked. timeout_s: for
    one order, all providers, retries and waits together. gateway: where the router is reached, if not at
    Hugging Face. without_adapter: whether an order whose adapter nobody can apply is drawn without it.
    """

    api_key: str | None
    providers: Sequence[str]
    timeout_s: float
    gateway: str | None = None
    without_adapter: bool = False


class HostedBackend:
    """Has providers draw. See `inference.backend.Backend`."""

    def __init__(self, config: HostedConfig, wait: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._client = ProviderClient(config.api_key or "", config.gateway)
        self._wait = wait

    @property
    def resident(self) -> frozenset[str]:
        """Nothing: a provider's memory is its own."""
        return frozenset()

    def warm_up(self, model_id: str, revision: str | None, adapter: Adapter | None) -> None:  # noqa: ARG002 - the protocol's
        """Check that there is a key; what a provider keeps ready is its own affair.

        Raises:
            KeyMissing: there is none.

        """
        if not self._config.api_key:
            raise KeyMissing

    def generate(self, order: Order, report: Report) -> Picture:
        """Ask the providers by turns until one delivers or the time is over.

        Raises:
            ProviderError: the last cause; its `attempts` tell all that was asked. NoProvider: none can.

        """
        self.warm_up(order.model_id, order.revision, order.adapter)

        def look() -> None:
            report(Progress(Phase.HOSTED))

        started = time.monotonic()
        until = started + self._config.timeout_s
        calls, warnings = self._calls(order)
        attempts: list[dict[str, Any]] = []
        last: ProviderError | None = None
        wait_s = FIRST_WAIT_S
        waiting = [(call, started) for call in calls]  # each with the moment from which it may be asked
        while waiting:
            due, waiting = _due(waiting)
            for call in due:
                try:
                    image = self._client.draw(call, order.prompt, until, look)
                except ProviderError as error:
                    last = error
                    attempts.append(_told(call, error))
                    if error.passing:
                        waiting.append((call, time.monotonic() + (error.retry_after_s or 0.0)))
                    if time.monotonic() >= until:
                        break
                else:
                    seconds = {Phase.HOSTED: time.monotonic() - started}
                    return Picture(
                        _as_ordered(image, order), _provenance(order, call, attempts), seconds, warnings
                    )
            asked_s = min((since for _, since in waiting), default=until) - time.monotonic()
            pause_s = max(asked_s, random.uniform(0.5, 1.0) * wait_s)  # noqa: S311 - jitter is no secret
            if time.monotonic() + pause_s >= until:
                break
            self._pause(pause_s, look)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        assert last is not None  # noqa: S101 - there was at least one call, and none delivered
        last.attempts = tuple(attempts)
        raise last

    def _calls(self, order: Order) -> tuple[list[Call], tuple[str, ...]]:
        """Return what can be asked, in order, and what the user should know of it.

        Raises:
            NoProvider: nothing can.

        """
        calls, causes = [], []
        for provider in self._config.providers:
            try:
                calls.append(call_for(provider, order))
            except OrderUnsupported as reason:
                causes.append(str(reason))
        if calls:
            return calls, ()
        if order.adapter is None or not self._config.without_adapter:
            raise NoProvider(tuple(causes))
        calls, _ = self._calls(replace(order, adapter=None))
        return calls, (f"No hosted provider can apply {order.adapter.model_id}: drawn without it.",)

    def _pause(self, pause_s: float, look: Callable[[], None]) -> None:
        """Wait, and notice a cancellation meanwhile."""
        end = time.monotonic() + pause_s
        while (left_s := end - time.monotonic()) > 0:
            look()
            self._wait(min(LOOK_S, left_s))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _due(waiting: list[tuple[Call, float]]) -> tuple[list[Call], list[tuple[Call, float]]]:
    """Part the calls that may be made now from those that are asked to wait still."""
    moment = time.monotonic()
    due = [call for call, since in waiting if since <= moment]
    return due, [(call, since) for call, since in waiting if since > moment]


def _as_ordered(image: Image.Image, order: Order) -> Image.Image:
    """Reduce an image to the size that was ordered, where a provider draws others only."""
    size_px = (order.width_px, order.height_px)
    return image if image.size == size_px else image.resize(size_px, Image.Resampling.LANCZOS)


def _told(call: Call, error: ProviderError) -> dict[str, Any]:
    return {
        "provider": call.provider,
        "code": error.code,
        "cause": error.cause,
        "outcome": "unknown" if error.unknown else "not drawn",
        "cost_microusd": call.cost_microusd if error.unknown else 0,
    }


def _provenance(order: Order, call: Call, attempts: Sequence[Mapping[str, Any]]) -> Provenance:
    return Provenance(
        backend=NAME,
        provider=call.provider,
        model_id=order.model_id,
        revision=None,  # which one a provider has loaded, it does not say
        adapter=call.adapter,
        seed=order.seed,
        cost_microusd=call.cost_microusd + sum(attempt["cost_microusd"] for attempt in attempts),
        attempts=tuple(attempts),
    )
