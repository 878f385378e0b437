"""The settings, each declared once: variable, type and limits, default, unit and reason.

`.env.example` is generated from here by `make env-example`.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import platformdirs
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from server.settings.batches import BatchSettings
from server.settings.dialects import DialectSettings, OpenAISettings
from server.settings.edge import EdgeSettings
from server.settings.kinds import (
    NO_LIMIT,
    WHOLE,
    Count,
    Group,
    Listed,
    LongSeconds,
    Seconds,
    SettingInvalid,
    Switch,
    check_networks,
    check_origins,
    check_rate,
    check_scheme,
)
from server.settings.metrics import MetricsSettings
from server.settings.outbound import OutboundSettings
from server.settings.queue import QueueSettings
from server.settings.stores import DatabaseSettings, RedisSettings

Profile = Literal["miniature", "full"]
BackendName = Literal["local", "huggingface", "auto"]
DrawProfile = Literal["auto", "exact", "fast", "turbo", "draft"]
Offload = Literal["auto", "none", "model", "sequential"]  # the last two are accelerate's hooks
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)]
WithoutLora = Literal["fail", "base-price"]
Provider = Literal["fal-ai", "replicate", "hf-inference"]  # as inference.hosted.calls knows them
MIN_SECRET_BYTES: Final = 32  # Source: RFC 7518, section 3.2: a key of HS256 is as long as its hash
PROVIDERS: Final[tuple[Provider, ...]] = get_args(Provider)


class ServerSettings(Group):
    """Where things are kept, what the API listens on, and how long work may wait."""

    title = "The API and the queue"

    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("avatar-creator"),
        description="Folder of the embedded database, images, their signing secret and the miniature's "
        "weights. Empty: this user's data folder.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(5000, description="The port to listen on.")
    cors_origins: Annotated[tuple[str, ...], *Listed] = Field(
        ("http://localhost:5173",),
        validation_alias="CORS_ORIGIN",
        description="Origins of front ends, separated by commas. https://*.example.com allows every host one "
        "label below example.com; * alone allows all, without credentials.",
    )
    log_level: LogLevel = Field(
        "info",
        description="The lowest level that every process logs. info has one line for each request and each "
        "generation.",
    )
    trusted_proxies: Annotated[tuple[str, ...], *Listed] = Field(
        (),
        description="IP addresses and networks of your reverse proxies, separated by commas: what they write "
        "into X-Forwarded-For is believed. Empty: a request comes from whoever connects, so behind a proxy "
        "all clients share one address and its rate limits.",
    )
    queue_max_depth: Count = Field(
        10_000, description="Generations that may wait; beyond it, new ones are refused with 503."
    )
    queue_max_per_user: Count = Field(
        20,
        description="Generations of one user that may wait or be drawn; beyond it, new ones are refused with "
        "429.",
    )
    queue_max_wait_s: LongSeconds = Field(
        1800, description="Seconds after which a generation that still waits fails and is given back."
    )
    reaper_period_s: Annotated[float, Field(ge=0.05, allow_inf_nan=False)] = Field(
        2, description="Seconds between two looks for what was lost."
    )
    orphan_image_age_s: Annotated[float, Field(ge=60, allow_inf_nan=False)] = Field(
        3600,
        description="Seconds after which an image that no avatar owns is moved into quarantine: far more "
        "than a settlement takes, at least twice PHASE_TIMEOUT_S and LEASE_MARGIN_S together.",
    )
    image_quarantine_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        7, description="Days after which an image in quarantine is deleted."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        return check_networks(cls.env_name("trusted_proxies"), proxies)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return check_origins(cls.env_name("cors_origins"), origins)

    @property
    def images_dir(self) -> Path:
        """The folder of the image store."""
        return self.data_dir / "images"

    @property
    def demo_key_file(self) -> Path:
        """The file into which `up` writes the key of its demo account, so that the next `up` has the same."""
        return self.data_dir / "demo.key"

    @property
    def redis_url_file(self) -> Path:
        """The file into which `up` writes the address of the Redis that it runs."""
        return self.data_dir / "redis.url"


class EventSettings(Group):
    """Streams of events, and requests that wait for the end of a generation."""

    model_config = SettingsConfigDict(env_prefix="EVENTS_")
    title = "Streams of events"

    streams: Count = Field(
        1000, description="Streams and waiting requests that one API process serves; beyond it, 503."
    )
    streams_per_user: Count = Field(
        20, description="Streams and waiting requests of one user at one API process; beyond it, 429."
    )
    heartbeat_s: Annotated[float, Field(ge=0.05, allow_inf_nan=False)] = Field(
        15, description="Seconds of silence after which a stream sends a comment: proxies close silent ones."
    )
    poll_s: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = Field(
        0.2, description="Seconds between two looks for events, while a stream is open."
    )


class WorkerSettings(Group):
    """What draws, and for how long it may."""

    title = "The worker"

    inference_backend: BackendName = Field(
        "local",
        description="local draws on this machine's device, huggingface has hosted providers draw, auto has "
        "these draw only while no local worker is ready or the wait for one is too long.",
    )
    model_profile: Profile = Field(
        "miniature", description="miniature draws on any CPU; full draws with FLUX.1."
    )
    models_dir: Path | None = Field(
        None,
        description="Folder of the weights, ORG/NAME below it. Empty: the Hugging Face cache, or for the "
        "miniature a folder in DATA_DIR.",
    )
    device: str = Field("auto", description="auto, or torch's name of a device: cuda, cuda:1, mps, cpu.")
    gpu_ids: Annotated[tuple[str, ...], *Listed] = Field(
        (),
        description="Cards of the worker's container, as nvidia-smi numbers them, separated by commas: each "
        "has a worker. Empty: one worker, on DEVICE.",
    )
    offload: Offload = Field(
        "auto",
        description="What waits in the host's memory. auto: what the plan for the card leaves there, and in "
        "eight bits if it must be; see avatar-creator plan. none, model, sequential: as named, in 16 bits.",
    )
    draw_profile: DrawProfile = Field(
        "auto",
        description="exact draws one image at a time, as diffusers does, bit for bit. fast compiles, and "
        "differs by rounding. turbo has eight-bit weights besides, and needs the extra turbo. draft computes "
        "about half of dev's steps besides. auto is fast on CUDA, turbo if the plan has eight bits, and "
        "exact on a CPU or with OFFLOAD=model or sequential.",
    )
    load_timeout_s: LongSeconds = Field(
        900, description="Seconds for one pipeline from a cold disk: FLUX.1-dev is 34 GB."
    )
    phase_timeout_s: LongSeconds = Field(
        60, description="Seconds for encoding, one step, decoding or storing; past it the worker is killed."
    )
    generation_timeout_s: LongSeconds = Field(
        900,
        description="Seconds for a whole attempt, loading included; past it the generation fails and is "
        "given back.",
    )
    lease_margin_s: LongSeconds = Field(
        15, description="Seconds that a lease lasts beyond the deadline of its phase: time for a slow commit."
    )
    max_attempts: Count = Field(
        3, description="How often a generation may lose its worker before it fails and is given back."
    )
    shutdown_grace_s: Seconds = Field(
        60, description="Seconds that SIGTERM lets the running generation go on before it is released."
    )

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each local worker. A container numbers the cards that it is given from 0 on."""
        return tuple(f"cuda:{number}" for number, _ in enumerate(self.gpu_ids)) or (self.device,)

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends of the workers, the preferred one first."""
        return ("local", "huggingface") if self.inference_backend == "auto" else (self.inference_backend,)


class HostedSettings(Group):
    """Hosted providers, and the key to them and to gated weights."""

    model_config = SettingsConfigDict(env_prefix="HOSTED_")
    title = "Hugging Face: gated weights and hosted providers"
    secrets = ("api_key",)

    api_key: str | None = Field(
        None,
        repr=False,
        validation_alias="HUGGINGFACE_API_KEY",
        description="A token that may read gated repositories and call inference providers.",
    )
    providers: Annotated[tuple[Provider, ...], *Listed] = Field(
        PROVIDERS,
        validation_alias="HF_PROVIDERS",
        description="Hosted providers in the order in which they are asked, separated by commas.",
    )
    without_lora: WithoutLora = Field(
        "fail",
        description="A realism generation whose LoRA no provider can apply: fail gives it back, base-price "
        "delivers the base model's image at the base entry's price.",
    )
    budget_usd_per_day: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = Field(
        None,
        description="Dollars that hosted providers may cost from midnight to midnight in UTC; then nothing "
        "is accepted or asked. Empty: no limit. 0: nothing is asked.",
    )
    timeout_s: LongSeconds = Field(
        180, description="Seconds for one generation at hosted providers, retries and waits included."
    )
    gateway_url: str | None = Field(
        None,
        repr=False,
        description="Where Hugging Face's router is reached, if through a gateway of your own.",
    )
    failover_wait_s: Seconds = Field(
        120,
        validation_alias="FAILOVER_WAIT_S",
        description="With INFERENCE_BACKEND=auto: expected seconds of waiting beyond which hosted providers "
        "step in.",
    )

    @field_validator("gateway_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        return url and check_scheme(cls.env_name("gateway_url"), url, ("http://", "https://"))


class UploadSettings(Group):
    """Images that users send, and the processes that decode them."""

    model_config = SettingsConfigDict(env_prefix="UPLOAD_")
    title = "Uploads"

    max_pixels: Count = Field(
        40_000_000,
        description="Pixels of an uploaded image, width times height. Decoding takes up to 24 bytes of "
        "memory for each.",
    )
    decoders: Count = Field(2, description="Uploads that one API process decodes at once; more of them wait.")
    wait_s: Seconds = Field(10, description="Seconds that an upload waits for that; then it gets 503.")
    cpu_s: Count = Field(20, description="Processor seconds for one upload; past them it is refused.")


class CatalogueSettings(Group):
    """Models to seed instead of the shipped ones."""

    title = "The catalogue, at the next seeding"

    flux_model: str | None = Field(None, description="A model in place of black-forest-labs/FLUX.1-dev.")
    flux_lora_model: str | None = Field(None, description="An adapter in place of XLabs-AI/flux-RealismLora.")


class CreditSettings(Group):
    """Credits of new users."""

    title = "Credits"

    welcome_credits: Annotated[int, Field(ge=0, le=WHOLE)] = Field(
        100,
        description="Credits of a user who first comes with a session token, or whom an operator creates "
        "without naming any.",
    )


class RateLimitSettings(Group):
    """How many requests are answered in a moving window of time."""

    model_config = SettingsConfigDict(env_prefix="RATE_LIMIT_")
    title = "Rate limits: 1 to 9999 requests /second, /minute, /hour or /day, such as 5/minute, or none"

    switch: Switch = Field(
        "on", validation_alias="RATE_LIMITS", description="off limits no request: for load tests."
    )
    generate: str = Field("5/minute", description="Generations that a user requests.")
    quotes: str = Field(
        "60/minute", description="Dry runs that a user requests: what a generation would be, and its price."
    )
    upload: str = Field("10/minute", description="Images that a user uploads.")
    from_preset: str = Field("8/minute", description="Generations that a user requests by a preset.")
    projects: str = Field("20/hour", description="Projects that a user creates.")
    failed_authentications: str = Field(
        "30/minute",
        description="Refused tokens from one address (IPv6: from one /64), which after that waits even with "
        "a valid one.",
    )
    anonymous: str = Field(
        "120/minute",
        description="Requests without a token from one address, images and health checks not counted.",
    )

    @field_validator("*")
    @classmethod
    def _is_rate(cls, value: str, info: ValidationInfo) -> str:
        name = str(info.field_name)
        return value if name == "switch" else check_rate(cls.env_name(name), value)

    @property
    def rates(self) -> dict[str, str]:
        """The limits that are set, each by its name."""
        rates = self.model_dump(exclude={"switch"}) if self.switch == "on" else {}
        return {name: rate for name, rate in rates.items() if rate != NO_LIMIT}


class TokenSettings(Group):
    """The existing platform's session tokens."""

    title = "Session tokens of the existing platform"
    secrets = ("auth_jwt_secret", "jwt_secret")

    auth_jwt_secret: str | None = Field(
        None,
        repr=False,
        description="The secret by which the existing platform signs its session tokens (JWT, HS256), of at "
        "least 32 bytes. Empty: only API keys are accepted.",
    )
    jwt_secret: str | None = Field(
        None, repr=False, description="What the old back end called AUTH_JWT_SECRET. Read if that is empty."
    )

    @field_validator("auth_jwt_secret", "jwt_secret", mode="before")
    @classmethod
    def _is_secret(cls, secret: str | None, field: ValidationInfo) -> str | None:
        if secret is None:
            return None
        size_bytes = len(secret.encode(errors="surrogateescape"))
        if size_bytes >= MIN_SECRET_BYTES and secret.isprintable():
            return secret
        found = f"{size_bytes} bytes" if secret.isprintable() else "text that cannot be printed"
        rule = f"at least {MIN_SECRET_BYTES} bytes of text on one line"
        raise SettingInvalid(cls.env_name(str(field.field_name)), found, rule)

    @property
    def session_secret(self) -> str | None:
        """The secret to verify session tokens with."""
        return self.auth_jwt_secret or self.jwt_secret


def variables() -> list[str]:
    """Return every environment variable that the settings read, those that name the file of a secret too."""
    names = [group.env_name(field) for group in groups() for field in group.model_fields]
    return names + [f"{group.env_name(field)}_FILE" for group in groups() for field in group.secrets]


def groups() -> tuple[type[Group], ...]:
    """Return the groups in the order in which an operator reads them."""
    return (
        ServerSettings,
        QueueSettings,
        EdgeSettings,
        EventSettings,
        DatabaseSettings,
        RedisSettings,
        WorkerSettings,
        BatchSettings,
        HostedSettings,
        OutboundSettings,
        UploadSettings,
        CatalogueSettings,
        CreditSettings,
        RateLimitSettings,
        TokenSettings,
        MetricsSettings,
        DialectSettings,
        OpenAISettings,
    )
