"""Everything an operator can set, read once at the entrypoint from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self, cast, get_args
from urllib.parse import quote

import platformdirs

Profile = Literal["miniature", "full"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
BackendName = Literal["local", "huggingface", "auto"]
BACKENDS: Final[tuple[BackendName, ...]] = get_args(BackendName)
WithoutLora = Literal["fail", "base-price"]
SECRETS: Final = (
    "DATABASE_URL",
    "DATABASE_PASSWORD",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "HUGGINGFACE_API_KEY",
)
"""Settings that may be in a file instead, which NAME_FILE names."""

HF_PROVIDERS: Final = ("fal-ai", "replicate", "hf-inference")  # as inference.hosted.calls knows them
OFFLOADS: Final = ("none", "model", "sequential")  # Source: accelerate's hooks, as diffusers offers them


class SettingInvalid(ValueError):
    """An environment variable holds a value that cannot be used."""

    def __init__(self, name: str, value: str, rule: str) -> None:
        super().__init__(f"{name} must be {rule}, not {value!r}")
        self.name = name
        self.rule = rule


@dataclass(frozen=True)
class Settings:
    """The settings of one process. Secrets stay out of its repr."""

    data_dir: Path
    """Where the embedded database, the images, the secret and the miniature's weights live."""

    database_url: str = field(repr=False)
    """`postgresql://…` as operators know it, or the SQLite file in the data folder."""

    redis_url: str | None = field(default=None, repr=False)
    """None: the Redis that `avatar-creator up` runs for this data folder."""

    host: str = "127.0.0.1"
    port: int = 5000
    cors_origins: tuple[str, ...] = ("http://localhost:5173",)

    inference_backend: BackendName = "local"
    """`local` draws on this machine's device, `huggingface` has hosted providers draw, `auto` has these draw
    only while no local worker is ready or the wait for one is too long."""

    failover_wait_s: float = 120.0
    """With `auto`: how long a wait for local workers is expected before hosted providers step in."""

    hf_providers: tuple[str, ...] = HF_PROVIDERS
    """Hosted providers in the order in which they are asked."""

    hosted_without_lora: WithoutLora = "fail"
    """A realism generation whose LoRA no provider can apply: `fail` gives it back, `base-price` delivers the
    base model's image at the base entry's price."""

    hosted_budget_usd_per_day: float | None = None
    """What hosted providers may cost from midnight to midnight in UTC; then nothing is accepted or asked."""

    hosted_timeout_s: float = 180.0
    """One generation at hosted providers, all retries and waits together."""

    hosted_gateway_url: str | None = field(default=None, repr=False)
    """Where Hugging Face's router is reached, if by a gateway of the operator's own."""

    model_profile: Profile = "miniature"
    """`miniature` draws on any CPU; `full` loads the real weights."""

    models_dir: Path | None = None
    """Where the full profile's weights lie, `org/name` below it; None: the Hugging Face cache."""

    device: str = "auto"
    offload: str = "none"
    resident_pipelines: int = 2
    """How many base models stay in the accelerator's memory."""

    huggingface_api_key: str | None = field(default=None, repr=False)
    flux_model: str | None = None
    flux_lora_model: str | None = None

    welcome_credits: int = 0
    """Credits of a user that an operator creates without naming any."""

    lease_margin_s: float = 15.0
    """What a lease lasts beyond the deadline of the phase that it covers: time for a slow commit."""

    load_timeout_s: float = 900.0
    """One pipeline from a cold disk: FLUX.1-dev is 34 GB."""

    phase_timeout_s: float = 60.0
    """Encoding, one step, decoding or storing: past it the watchdog kills the worker."""

    generation_timeout_s: float = 900.0
    """A whole attempt, loading included; past it the generation fails and is given back."""

    queue_max_wait_s: float = 1800.0
    """A generation that waited longer fails and is given back."""

    queue_max_depth: int = 10_000
    """Pending generations beyond which new ones are refused with 503."""

    max_attempts: int = 3
    """How often a generation may lose its worker before it is poison."""

    shutdown_grace_s: float = 60.0
    """How long SIGTERM lets the current generation finish before it is released."""

    reaper_period_s: float = 2.0
    orphan_image_age_s: float = 3600.0
    """An image that no avatar owns is swept after this long; far longer than any settlement takes."""

    def __post_init__(self) -> None:
        _one_of("INFERENCE_BACKEND", self.inference_backend, BACKENDS)
        for provider in self.hf_providers:
            _one_of("HF_PROVIDERS", provider, HF_PROVIDERS)
        _one_of("HOSTED_WITHOUT_LORA", self.hosted_without_lora, get_args(WithoutLora))
        if self.hosted_gateway_url is not None:
            _url("HOSTED_GATEWAY_URL", self.hosted_gateway_url, ("http://", "https://"))
        _one_of("MODEL_PROFILE", self.model_profile, PROFILES)
        _one_of("OFFLOAD", self.offload, OFFLOADS)
        _url("DATABASE_URL", self.database_url, ("postgresql://", "sqlite:///"))
        if self.redis_url is not None:
            _url("REDIS_URL", self.redis_url, ("redis://", "rediss://", "unix://"))

    @property
    def images_dir(self) -> Path:
        """The folder of the image store."""
        return self.data_dir / "images"

    @property
    def redis_url_file(self) -> Path:
        """Where `up` writes the address of the Redis that it runs."""
        return self.data_dir / "redis.url"

    @property
    def backends(self) -> tuple[str, ...]:
        """What workers draw with, whose turn is first in front."""
        return ("local", "huggingface") if self.inference_backend == "auto" else (self.inference_backend,)

    @property
    def hosted_budget_microusd(self) -> int | None:
        """The day's budget in millionths of a dollar; None where there is no limit, or no provider."""
        if self.hosted_budget_usd_per_day is None or self.inference_backend == "local":
            return None
        return round(1_000_000 * self.hosted_budget_usd_per_day)

    @classmethod
    def from_environment(cls, data_dir: Path | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; an argument given on the command line wins over the environment.

        Raises:
            SettingInvalid: a variable cannot be used; the message names it.

        """
        env = _with_secrets({name: text.strip() for name, text in environ.items() if text.strip()})
        home = data_dir or Path(env.get("DATA_DIR", platformdirs.user_data_path("avatar-creator")))
        home = home.expanduser().absolute()
        models_dir = env.get("MODELS_DIR")
        return cls(
            data_dir=home,
            database_url=_with_password(env, "DATABASE", f"sqlite:///{home / 'avatar-creator.db'}"),
            redis_url=_with_password(env, "REDIS", "") or None,
            host=env.get("HOST", cls.host),
            port=_whole(env, "PORT", cls.port, most=65_535),
            cors_origins=_listed(env, "CORS_ORIGIN", cls.cors_origins),
            inference_backend=cast("BackendName", env.get("INFERENCE_BACKEND", cls.inference_backend)),
            failover_wait_s=_number(env, "FAILOVER_WAIT_S", cls.failover_wait_s),
            hf_providers=_listed(env, "HF_PROVIDERS", cls.hf_providers),
            hosted_without_lora=cast("WithoutLora", env.get("HOSTED_WITHOUT_LORA", cls.hosted_without_lora)),
            hosted_budget_usd_per_day=_number(env, "HOSTED_BUDGET_USD_PER_DAY", 0) or None,
            hosted_timeout_s=_number(env, "HOSTED_TIMEOUT_S", cls.hosted_timeout_s, least=1),
            hosted_gateway_url=env.get("HOSTED_GATEWAY_URL"),
            model_profile=cast("Profile", env.get("MODEL_PROFILE", cls.model_profile)),
            models_dir=Path(models_dir).expanduser() if models_dir else None,
            device=env.get("DEVICE", cls.device),
            offload=env.get("OFFLOAD", cls.offload),
            resident_pipelines=_whole(env, "RESIDENT_PIPELINES", cls.resident_pipelines, least=1),
            huggingface_api_key=env.get("HUGGINGFACE_API_KEY"),
            flux_model=env.get("FLUX_MODEL"),
            flux_lora_model=env.get("FLUX_LORA_MODEL"),
            welcome_credits=_whole(env, "WELCOME_CREDITS", cls.welcome_credits),
            lease_margin_s=_number(env, "LEASE_MARGIN_S", cls.lease_margin_s, least=1),
            load_timeout_s=_number(env, "LOAD_TIMEOUT_S", cls.load_timeout_s, least=1),
            phase_timeout_s=_number(env, "PHASE_TIMEOUT_S", cls.phase_timeout_s, least=1),
            generation_timeout_s=_number(env, "GENERATION_TIMEOUT_S", cls.generation_timeout_s, least=1),
            queue_max_wait_s=_number(env, "QUEUE_MAX_WAIT_S", cls.queue_max_wait_s, least=1),
            queue_max_depth=_whole(env, "QUEUE_MAX_DEPTH", cls.queue_max_depth, least=1),
            max_attempts=_whole(env, "MAX_ATTEMPTS", cls.max_attempts, least=1),
            shutdown_grace_s=_number(env, "SHUTDOWN_GRACE_S", cls.shutdown_grace_s),
            reaper_period_s=_number(env, "REAPER_PERIOD_S", cls.reaper_period_s, least=0.05),
            orphan_image_age_s=_number(env, "ORPHAN_IMAGE_AGE_S", cls.orphan_image_age_s, least=60),
        )

    def connected_redis_url(self) -> str | None:
        """Return the Redis to use: the set one, or the one that `up` runs now; None if there is none."""
        if self.redis_url:
            return self.redis_url
        try:
            return self.redis_url_file.read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None


def _with_secrets(env: dict[str, str]) -> dict[str, str]:
    """Take from the file that NAME_FILE names what NAME shall be: so containers are handed secrets."""
    for name in SECRETS:
        file = env.get(f"{name}_FILE")
        if file is None:
            continue
        if name in env:
            raise SettingInvalid(f"{name}_FILE", file, f"unset where {name} is set")
        try:
            text = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingInvalid(f"{name}_FILE", file, "a text file that can be read") from error
        if text:
            env[name] = text
    return env


def _with_password(env: Mapping[str, str], name: str, default: str) -> str:
    """Return the address in NAME_URL with the password in NAME_PASSWORD, if there is one."""
    url, password = env.get(f"{name}_URL", default), env.get(f"{name}_PASSWORD")
    if password is None:
        return url
    scheme, separator, rest = url.partition("://")
    user, _, host = rest.rpartition("@")
    if not separator or rest.startswith("/") or ":" in user:
        raise SettingInvalid(
            f"{name}_PASSWORD", "set", f"unset unless {name}_URL names a host and no password"
        )
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}"


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingInvalid(name, value, "one of " + ", ".join(choices))


def _url(name: str, url: str, schemes: tuple[str, ...]) -> None:
    if not url.startswith(schemes):
        # Its scheme alone is told: the rest may hold a password.
        scheme = url.partition(":")[0] if "://" in url else "something else"
        raise SettingInvalid(name, scheme, "a URL that begins with " + " or ".join(schemes))


def _listed(env: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, ",".join(default)).split(","))


def _whole(env: Mapping[str, str], name: str, default: int, least: int = 0, most: int = 2**31 - 1) -> int:
    text = env.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise SettingInvalid(name, text, f"a whole number from {least} to {most}")
    return int(text)


def _number(env: Mapping[str, str], name: str, default: float, least: float = 0) -> float:
    text = env.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number < float("inf"):
        raise SettingInvalid(name, text, f"a number of at least {least:g}")
    return number
