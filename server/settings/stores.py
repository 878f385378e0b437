"""The settings of the two stores: where they are, and how long anybody waits for them."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from server.settings.kinds import AddressGroup, SettingInvalid

Wait = Annotated[float, Field(ge=0.05, le=3600, allow_inf_nan=False)]


class DatabaseSettings(AddressGroup):
    """The database, and the deadlines of a transaction."""

    model_config = SettingsConfigDict(env_prefix="DATABASE_")
    title = "The database"
    secrets = ("url", "password")
    schemes = ("postgresql://", "sqlite:///")

    url: str = Field(
        "", repr=False, description="postgresql://USER@HOST/NAME. Empty: an SQLite file in DATA_DIR."
    )
    password: str | None = Field(
        None, repr=False, description="Put into DATABASE_URL, which then holds none."
    )
    connect_timeout_s: Annotated[float, Field(ge=2, le=3600, allow_inf_nan=False)] = Field(
        5,
        description="Seconds for a connection to PostgreSQL to be made; libpq takes whole ones, at least 2.",
    )
    pool_timeout_s: Wait = Field(
        5, description="Seconds that a thread waits for a free connection; then its request gets 503."
    )
    lock_timeout_s: Wait = Field(
        5,
        description="Seconds that a statement waits for what another transaction has locked; on SQLite that "
        "any writer waits.",
    )
    statement_timeout_s: Wait = Field(
        10,
        description="Seconds for a statement of PostgreSQL, its waits included: more than "
        "DATABASE_LOCK_TIMEOUT_S. A server that says nothing for 2 s longer counts as gone.",
    )
    idle_timeout_s: Wait = Field(
        60,
        description="Seconds that an open transaction may run no statement before PostgreSQL ends it: at "
        "least DATABASE_STATEMENT_TIMEOUT_S.",
    )

    @property
    def deadlines(self) -> dict[str, float]:
        """The deadlines as `server.db.engine.Deadlines` takes them."""
        return self.model_dump(exclude={"url", "password"})

    @field_validator("url")
    @classmethod
    def _is_readable(cls, url: str) -> str:
        """Check the address further than its scheme.

        Raises:
            SettingInvalid: its port is no number, or its host cannot be read. It is not quoted.

        """
        try:
            _ = urlsplit(url).port
        except ValueError:
            rule = "an address whose host and port can be read"
            raise SettingInvalid(cls.env_name("url"), "another", rule) from None
        return url

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        """Check the deadlines against each other.

        Raises:
            SettingInvalid: a deadline can never be reached, since another one ends the wait before it.

        """
        if self.statement_timeout_s <= self.lock_timeout_s:
            self._refuse("statement_timeout_s", "more than", "lock_timeout_s")
        if self.idle_timeout_s < self.statement_timeout_s:
            self._refuse("idle_timeout_s", "at least", "statement_timeout_s")
        return self

    def _refuse(self, field: str, words: str, other: str) -> None:
        rule = f"{words} {self.env_name(other)}, which is {getattr(self, other):g}"
        raise SettingInvalid(self.env_name(field), f"{getattr(self, field):g}", rule)


class RedisSettings(AddressGroup):
    """Redis, which wakes the workers and counts requests."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")
    title = "Redis"
    secrets = ("url", "password")
    schemes = ("redis://", "rediss://", "unix://")

    url: str | None = Field(
        None,
        repr=False,
        description="redis://HOST:6379/0. Empty: the Redis that `avatar-creator up` runs.",
    )
    password: str | None = Field(None, repr=False, description="Put into REDIS_URL, which then holds none.")
    timeout_s: Wait = Field(
        1,
        description="Seconds to connect, and for an answer, when workers are woken: a submission that is "
        "already committed waits so long for a silent Redis, once in 5 seconds.",
    )
    limit_timeout_s: Wait = Field(
        0.25,
        description="Seconds to connect, and for an answer, when a request is counted; then this process "
        "counts by itself.",
    )
