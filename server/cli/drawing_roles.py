"""The doctor's look at what draws: the roles that this installation can play, and the workers that there are.

An installation need not play each role: the API's has no torch, and its workers draw elsewhere.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from sqlalchemy.exc import DBAPIError

from catalog.entries import shipped_entries
from inference.errors import DeviceUnfit
from server.cli.findings import Finding, missing, ok
from server.cli.opening import is_absent
from server.cli.options import lacking_libraries
from server.db.engine import open_database
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry
from server.settings import Settings

ROLES = {LOCAL: "worker", HOSTED: "hosted"}
"""The role, which is also the extra that it needs, by its backend."""


def drawing(settings: Settings) -> Iterator[Finding]:
    """Check, for each backend in use, whether this installation can draw with it, and who else does."""
    yield ok("role api", "this installation can serve")
    for backend in settings.worker.backends:
        ready, cause = _workers(settings, backend)
        role = ROLES[backend]
        lacking = lacking_libraries() if backend == LOCAL else _lacking_hub()
        if lacking and ready:
            yield ok(f"role {role}", f"not played here, for want of {lacking}; {ready} elsewhere are ready")
        elif lacking:
            words = f"{lacking} not installed: install the extra '{role}' here, or start one elsewhere"
            yield missing(f"role {role}", words)
        else:
            yield ok(f"role {role}", "this installation can draw: its libraries are installed")
            yield from _local(settings) if backend == LOCAL else _hosted(settings)
        if ready:
            yield ok("workers", f"{ready} with the backend {backend} are ready")
        elif cause:
            yield missing("workers", f"none with the backend {backend} is ready. The last one: {cause}")


def _workers(settings: Settings, backend: str) -> tuple[int, str | None]:
    """Return how many workers are ready, and why the last that is not is gone; nothing if nobody knows."""
    if is_absent(settings):
        return 0, None
    uow = UnitOfWork(open_database(settings.database))
    try:
        with uow.read() as tx:
            registry = WorkerRegistry(tx)
            return len(registry.ready(backend)), registry.why_gone(backend)
    except (DatabaseAway, DBAPIError):  # which is a finding of its own
        return 0, None
    finally:
        uow.close()


def _local(settings: Settings) -> Iterator[Finding]:
    from inference.local.devices import choose_device, require_fit  # noqa: PLC0415  # imports torch

    full = settings.worker.model_profile == "full"
    for name in settings.worker.devices:
        try:
            device = choose_device(name)
            require_fit(device, full=full)
        except DeviceUnfit as error:
            yield missing("device", str(error))
        else:
            yield ok("device", f"MODEL_PROFILE={settings.worker.model_profile} draws on {device}")
    if full:
        yield _weights(settings)


def _weights(settings: Settings) -> Finding:
    """Look for the catalogue's models in MODELS_DIR and in the hub's cache."""
    absent = [
        model for model, file, revision in _models(settings) if not _is_here(settings, model, file, revision)
    ]
    if not absent:
        return ok("weights", "all models of the catalogue are on this machine")
    words = f"{', '.join(absent)} not on this machine"
    if settings.hosted.api_key:
        return ok("weights", f"{words}: the worker fetches them from the hub when it needs them")
    advice = "set HUGGINGFACE_API_KEY, run 'avatar-creator weights download' and set MODELS_DIR"
    return missing("weights", f"{words}: {advice}")


def _models(settings: Settings) -> list[tuple[str, str, str | None]]:
    """Return each model and adapter, a file that it has when it is there, and its revision."""
    entries = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    models = [(entry.model_id, "model_index.json", entry.revision) for entry in entries]
    adapters = [entry.adapter for entry in entries if entry.adapter is not None]
    return list(
        dict.fromkeys([*models, *[(one.model_id, one.weight_name, one.revision) for one in adapters]])
    )


def _is_here(settings: Settings, model: str, file: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  # only here, and slow to import

    folder = settings.worker.models_dir
    if folder is not None and (folder / model / file).is_file():
        return True
    return isinstance(try_to_load_from_cache(model, file, revision=revision), str)


def _lacking_hub() -> str:
    return "" if find_spec("huggingface_hub") else "huggingface_hub"


def _hosted(settings: Settings) -> Iterator[Finding]:
    key = settings.hosted.api_key
    if not key:
        words = "HUGGINGFACE_API_KEY is not set: create a token that may call inference providers"
        yield missing("hosted", f"{words} at https://huggingface.co/settings/tokens")
    elif not key.startswith("hf_"):
        words = "HUGGINGFACE_API_KEY does not begin with hf_: it goes to the providers themselves, unchecked"
        yield ok("hosted", words)
    else:
        yield _key(key, settings)
    yield ok("providers", f"{', '.join(settings.hosted.providers)}, asked in this order")


def _key(key: str, settings: Settings) -> Finding:
    """Ask Hugging Face whose key it is."""
    from huggingface_hub import HfApi  # noqa: PLC0415  # only here, and slow to import
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    from inference.weights.hub_session import hub_session  # noqa: PLC0415
    from outbound.addresses import AddressPolicy  # noqa: PLC0415

    policy = AddressPolicy.of(settings.outbound.allowed_networks)
    try:
        with hub_session(policy, settings.outbound.proxy_url):
            HfApi().whoami(key)
    except HfHubHTTPError as error:
        status = error.response.status_code
        return missing(
            "hosted", f"Hugging Face refuses HUGGINGFACE_API_KEY (HTTP {status}): it is wrong or revoked"
        )
    except Exception as error:  # noqa: BLE001  # any cause: its name is in the answer
        return missing(
            "hosted", f"Hugging Face does not answer ({type(error).__name__}): the key is unchecked"
        )
    return ok("hosted", "Hugging Face knows HUGGINGFACE_API_KEY")
