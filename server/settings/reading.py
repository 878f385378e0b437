"""Reading the settings from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from server.settings.batches import BatchSettings
from server.settings.dialects import DialectSettings, OpenAISettings
from server.settings.edge import EdgeSettings
from server.settings.groups import (
    CatalogueSettings,
    CreditSettings,
    EventSettings,
    HostedSettings,
    RateLimitSettings,
    ServerSettings,
    TokenSettings,
    UploadSettings,
    WorkerSettings,
    groups,
)
from server.settings.kinds import Group, SettingInvalid, rule_of
from server.settings.metrics import MetricsSettings
from server.settings.outbound import OutboundSettings
from server.settings.queue import QueueSettings
from server.settings.stores import DatabaseSettings, RedisSettings

G = TypeVar("G", bound=Group)
_MICROUSD: Final = 1_000_000


@dataclass(frozen=True)
class Settings:
    """The settings of one process, in groups."""

    server: ServerSettings
    queue: QueueSettings
    edge: EdgeSettings
    events: EventSettings
    database: DatabaseSettings
    redis: RedisSettings
    worker: WorkerSettings
    batches: BatchSettings
    hosted: HostedSettings
    outbound: OutboundSettings
    uploads: UploadSettings
    catalogue: CatalogueSettings
    credits: CreditSettings
    rate_limits: RateLimitSettings
    tokens: TokenSettings
    metrics: MetricsSettings
    dialects: DialectSettings
    openai: OpenAISettings

    @classmethod
    def from_environment(cls, data_dir: Path | None = None, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings. A folder from the command line takes precedence over the environment.

        Raises:
            SettingInvalid: a variable cannot be used; the message names it.

        """
        env = _with_secret_files({name: text.strip() for name, text in environ.items() if text.strip()})
        server = _read(ServerSettings, env)
        home = (data_dir or server.data_dir).expanduser().absolute()
        env.setdefault("DATABASE_URL", f"sqlite:///{home / 'avatar-creator.db'}")
        settings = cls(
            server=server.model_copy(update={"data_dir": home}),
            queue=_read(QueueSettings, env),
            edge=_read(EdgeSettings, env),
            events=_read(EventSettings, env),
            database=_read(DatabaseSettings, env),
            redis=_read(RedisSettings, env),
            worker=_read(WorkerSettings, env),
            batches=_read(BatchSettings, env),
            hosted=_read(HostedSettings, env),
            outbound=_read(OutboundSettings, env),
            uploads=_read(UploadSettings, env),
            catalogue=_read(CatalogueSettings, env),
            credits=_read(CreditSettings, env),
            rate_limits=_read(RateLimitSettings, env),
            tokens=_read(TokenSettings, env),
            metrics=_read(MetricsSettings, env),
            dialects=_read(DialectSettings, env),
            openai=_read(OpenAISettings, env),
        )
        settings._check_orphan_age()
        return settings

    def changed(self, **values: Any) -> Self:
        """Return a copy with some values changed, unchecked. Names are the variables', in any case."""
        changes: dict[str, Any] = {}
        for variable, value in values.items():
            name, field = _FIELDS[variable.upper()]
            group = changes.get(name, getattr(self, name))
            changes[name] = group.model_copy(update={field: value})
        return replace(self, **changes)

    def connected_redis_url(self) -> str | None:
        """Return the URL of the Redis to use: the set one, else that of `up`; None if there is neither."""
        if self.redis.url:
            return self.redis.url
        try:
            return self.server.redis_url_file.read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def _check_orphan_age(self) -> None:
        """Check that no image is taken for an orphan while its settlement is still tried.

        From the moment when an image is written its lease lasts a phase and two margins at most, and the last
        try to settle, which begins before its end, another phase: then the watchdog kills the worker.

        Raises:
            SettingInvalid: ORPHAN_IMAGE_AGE_S is shorter.

        """
        least_s = 2 * (self.worker.phase_timeout_s + self.worker.lease_margin_s)
        age_s = self.server.orphan_image_age_s
        if age_s < least_s:
            rule = f"at least {least_s:g}, which is twice PHASE_TIMEOUT_S and LEASE_MARGIN_S together"
            raise SettingInvalid("ORPHAN_IMAGE_AGE_S", f"{age_s:g}", rule)

    @property
    def hosted_budget_microusd(self) -> int | None:
        """The day's budget in millionths of a dollar; None if there is no limit, or no hosted provider."""
        budget_usd = self.hosted.budget_usd_per_day
        if budget_usd is None or self.worker.inference_backend == "local":
            return None
        return round(_MICROUSD * budget_usd)


_FIELDS: Final = {
    group.env_name(field): (one.name, field)
    for one, group in zip(fields(Settings), groups(), strict=True)
    for field in group.model_fields
}
"""The group and the field of each environment variable."""


def _read(group: type[G], env: Mapping[str, str]) -> G:
    source = EnvSettingsSource(group)
    source.env_vars = {name.lower(): text for name, text in env.items() if name.isupper()}
    try:
        return group(**source())
    except ValidationError as error:
        raise _as_setting_invalid(group, error, env) from None  # the text of its cause would quote secrets


def _with_secret_files(env: dict[str, str]) -> dict[str, str]:
    """Read NAME from the file that NAME_FILE names, for each secret. Containers get secrets as files."""
    for name in (group.env_name(field) for group in groups() for field in group.secrets):
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


def _as_setting_invalid(group: type[Group], error: ValidationError, env: Mapping[str, str]) -> SettingInvalid:
    """Return the first problem as an error that an operator understands."""
    problem = error.errors(include_url=False)[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, SettingInvalid):
        return cause
    fields_by_variable = {group.env_name(field): field for field in group.model_fields}
    located = str(problem["loc"][0])  # an alias where there is one, else the field
    field = fields_by_variable.get(located, located)
    name = group.env_name(field)
    return SettingInvalid(name, env[name], rule_of(group.model_fields[field]))
