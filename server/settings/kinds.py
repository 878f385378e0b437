"""What a setting and a group of settings can be."""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Any, ClassVar, Final, Literal, get_args
from urllib.parse import quote

from pydantic import BeforeValidator, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

WHOLE: Final = 2**31 - 1
"""The largest whole number that a setting takes."""
ORIGIN: Final = re.compile(r"\*|[a-z][a-z0-9+.-]*://(\*\.)?[^*/\s]+", re.IGNORECASE)


def _listed(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


Listed = (NoDecode, BeforeValidator(_listed))
"""Marks a setting that is written as a list, separated by commas."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LongSeconds = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=WHOLE)]
Switch = Literal["on", "off"]


class SettingInvalid(ValueError):
    """An environment variable holds a value that cannot be used."""

    def __init__(self, name: str, value: str, rule: str) -> None:
        super().__init__(f"{name} must be {rule}, not {value!r}")
        self.name = name
        self.rule = rule


def check_scheme(name: str, url: str, schemes: tuple[str, ...]) -> str:
    """Return an address of one of these kinds.

    Raises:
        SettingInvalid: it is of another kind. Only its scheme is quoted: the rest may hold a password.

    """
    if not url.startswith(schemes):
        scheme = url.partition(":")[0] if "://" in url else "something else"
        raise SettingInvalid(name, scheme, "a URL that begins with " + " or ".join(schemes))
    return url


NO_LIMIT: Final = "none"
_RATE: Final = re.compile(
    "[1-9][0-9]{0,3}/(second|minute|hour|day)"
)  # each request counted is kept: few can be


def check_rate(name: str, rate: str) -> str:
    """Return a rate such as 5/minute, or the word for none.

    Raises:
        SettingInvalid: it is neither.

    """
    if rate != NO_LIMIT and not _RATE.fullmatch(rate):
        rule = f"1 to 9999 /second, /minute, /hour or /day, such as 5/minute, or {NO_LIMIT}"
        raise SettingInvalid(name, rate, rule)
    return rate


def check_networks(name: str, networks: tuple[str, ...]) -> tuple[str, ...]:
    """Return addresses and networks of IP.

    Raises:
        SettingInvalid: one is neither.

    """
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            rule = "a list of IP addresses and networks, such as 127.0.0.1,10.0.0.0/8"
            raise SettingInvalid(name, network, rule) from error
    return networks


def check_origins(name: str, origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return origins of pages, without a slash at the end. One label of a host may be a wildcard.

    Raises:
        SettingInvalid: one is no origin.

    """
    origins = tuple(origin.removesuffix("/") for origin in origins)
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise SettingInvalid(
                name, origin, "origins such as https://app.example.com or https://*.example.com"
            )
    return origins


class Group(BaseSettings):
    """Settings that belong together. Secrets stay out of its repr."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, populate_by_name=True)

    title: ClassVar[str]
    secrets: ClassVar[tuple[str, ...]] = ()
    """The settings that may be in a file instead, which NAME_FILE names."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values that `reading` passes: it has read the environment."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def env_name(cls, field: str) -> str:
        """Return the environment variable of a field."""
        alias = cls.model_fields[field].validation_alias
        return str(alias or cls.model_config.get("env_prefix", "") + field.upper())


class AddressGroup(Group):
    """A URL whose password may be a separate setting."""

    schemes: ClassVar[tuple[str, ...]]

    @model_validator(mode="before")
    @classmethod
    def _with_password(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Check the address and put the password into it.

        Raises:
            SettingInvalid: the address is of another kind, or has no place for a password. Neither is quoted.

        """
        url, password = values.get("url"), values.get("password")
        if url is not None:
            check_scheme(cls.env_name("url"), url, cls.schemes)
        if password is None:
            return values
        scheme, _, rest = (url or "").partition("://")
        user, _, host = rest.rpartition("@")
        if not host or rest.startswith("/") or ":" in user:
            rule = f"unset unless {cls.env_name('url')} names a host and no password"
            raise SettingInvalid(cls.env_name("password"), "set", rule)
        others = {name: value for name, value in values.items() if name != "password"}
        return others | {"url": f"{scheme}://{user}:{quote(password, safe='')}@{host}"}


def rule_of(field: FieldInfo) -> str:
    """Return what values a setting takes, in words."""
    if choices := choices_of(field):
        return "one of " + ", ".join(choices)
    least = next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), None)
    most = next((limit.le for limit in field.metadata if hasattr(limit, "le")), None)
    if int in _leaves(field.annotation):
        return f"a whole number from {least} to {most}"
    return f"a number of at least {least:g}" if most is None else f"a number from {least:g} to {most:g}"


def choices_of(field: FieldInfo) -> list[str]:
    """Return the words that a setting, or an item of its list, may be; an empty list if any text may."""
    return [leaf for leaf in _leaves(field.annotation) if isinstance(leaf, str)]


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types and literal values inside an annotation."""
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _leaves(part)
