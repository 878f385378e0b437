"""Which backend a worker draws with, and which generations it claims."""

import os
from collections.abc import Sequence
from pathlib import Path

from catalog.entries import Entry, shipped_entries
from inference.backend import Backend
from server.logs import get_log
from server.scheduling.claim_policy import HOSTED, ClaimPolicy, LocalPolicy, ReservePolicy
from server.settings import Settings

log = get_log(__name__)


def make_backend(settings: Settings, name: str, entries: Sequence[Entry] = ()) -> Backend:
    """Return the backend of a name, its weights not yet loaded.

    entries: what it is to draw; by default the shipped ones.

    Raises:
        DeviceUnfit: the device cannot draw what the settings ask for.

    """
    return _hosted(settings) if name == HOSTED else _local(settings, entries)


def make_policy(settings: Settings, name: str) -> ClaimPolicy:
    """Return what a worker with this backend claims, beside the other kind of worker or alone."""
    if settings.worker.inference_backend != "auto":
        return ClaimPolicy(name)
    if name == HOSTED:
        return ReservePolicy(settings.hosted.failover_wait_s)
    return LocalPolicy(budget_microusd=settings.hosted_budget_microusd)


def _hosted(settings: Settings) -> Backend:
    from inference.hosted.backend import HostedBackend, HostedConfig  # noqa: PLC0415  # imports the hub's client, not torch
    from outbound.addresses import AddressPolicy  # noqa: PLC0415  # as above

    return HostedBackend(
        HostedConfig(
            api_key=settings.hosted.api_key,
            providers=settings.hosted.providers,
            timeout_s=settings.hosted.timeout_s,
            without_adapter=settings.hosted.without_lora == "base-price",
            gateway=settings.hosted.gateway_url,
            policy=AddressPolicy.of(settings.outbound.allowed_networks),
            proxy_url=settings.outbound.proxy_url,
        )
    )


def _local(settings: Settings, entries: Sequence[Entry]) -> Backend:
    _keep_compiled(settings.server.data_dir)
    from inference.local.backend import LocalBackend, LocalConfig  # noqa: PLC0415  # imports torch
    from inference.local.devices import Offload, choose_device, require_fit  # noqa: PLC0415  # as below
    from inference.weights.hub_session import use_for_hub  # noqa: PLC0415  # imports the hub's client
    from outbound.addresses import AddressPolicy  # noqa: PLC0415  # as above

    use_for_hub(AddressPolicy.of(settings.outbound.allowed_networks), settings.outbound.proxy_url)
    require_fit(choose_device(settings.worker.device), full=settings.worker.model_profile == "full")
    # Without a folder the full profile looks into the Hugging Face cache.
    miniatures = settings.server.data_dir / "models" if settings.worker.model_profile == "miniature" else None
    catalogue = settings.catalogue
    backend = LocalBackend(
        LocalConfig(
            profile=settings.worker.model_profile,
            models_dir=settings.worker.models_dir or miniatures,
            device=settings.worker.device,
            offload=Offload(settings.worker.offload),
            max_batch=settings.batches.batch_max,
            draw_profile=settings.worker.draw_profile,
            entries=entries or shipped_entries(catalogue.flux_model, catalogue.flux_lora_model),
            workers=len(settings.worker.devices),
            hf_token=settings.hosted.api_key,
        )
    )
    if backend.plan is not None:
        transformers, t5 = backend.plan.precisions
        log.info(
            "worker.plan",
            arrangement=backend.plan.arrangement.words,
            transformers=transformers.value,
            t5=t5.value,
            device_gb=round(backend.plan.device_bytes / 1e9, 1),
            why=backend.plan.why,
        )
    return backend


def _keep_compiled(data_dir: Path) -> None:
    """Let torch and Triton keep what they compile, so that only the first start of a worker waits for it.

    They read these variables when torch is imported. Those that the operator has set stay.
    """
    folder = data_dir / "compiled"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    # Precompiled headers are in the temporary folder whatever is set, where a container has no room for them.
    os.environ.setdefault("TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS", "0")
