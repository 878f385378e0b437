"""The session of huggingface_hub for everything but providers: metadata, weights, whose a key is."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory, hf_request_event_hook

from outbound.addresses import ANYWHERE, AddressPolicy
from outbound.transport import Bounds, OutboundTransport, open_client

# A shard of FLUX.1 has 10 GB, and no time fits every network. What is stored is bounded by its listed size.
_BOUNDS: Final = Bounds(max_bytes=math.inf, total_s=math.inf, silence_s=30)


def use_for_hub(policy: AddressPolicy, proxy_url: str | None) -> None:
    """Have huggingface_hub send its requests within this policy until the process ends.

    Where HF_ENDPOINT names a hub, that hub may be anywhere, and is reached without the proxy.
    """

    def open_session() -> httpx2.Client:
        own_hub = {constants.ENDPOINT: OutboundTransport(ANYWHERE, _BOUNDS)}
        return open_client(
            OutboundTransport(policy, _BOUNDS, proxy_url=proxy_url),
            mounts=own_hub if constants.ENDPOINT != constants._HF_DEFAULT_ENDPOINT else None,  # noqa: SLF001 - as above
            event_hooks={"request": [hf_request_event_hook]},
        )

    set_client_factory(open_session)


@contextmanager
def hub_session(policy: AddressPolicy, proxy_url: str | None) -> Iterator[None]:
    """Have huggingface_hub send its requests within this policy in the body."""
    use_for_hub(policy, proxy_url)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)
