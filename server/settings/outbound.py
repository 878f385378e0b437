"""The settings of the client for everything that is fetched or sent."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from server.settings.kinds import Group, Listed, check_networks, check_scheme


class OutboundSettings(Group):
    """What may be reached outside, and how."""

    model_config = SettingsConfigDict(env_prefix="OUTBOUND_")
    title = "Reaching out: images of providers, downloads of weights"
    secrets = ("proxy_url",)

    allowed_networks: Annotated[tuple[str, ...], *Listed] = Field(
        (),
        description="IP addresses and networks that may be reached although they are not public, by http "
        "too, separated by commas. What a provider names is then fetched from them as well, so keep them "
        "narrow. Empty: only public addresses by https. HOSTED_GATEWAY_URL and HF_ENDPOINT need no entry.",
    )
    proxy_url: str | None = Field(
        None,
        repr=False,
        description="http://HOST:PORT of a proxy. It resolves all names, so it must refuse private addresses "
        "itself. Empty: no proxy; HTTPS_PROXY is not read.",
    )

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return check_networks(cls.env_name("allowed_networks"), networks)

    @field_validator("proxy_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        return url and check_scheme(cls.env_name("proxy_url"), url, ("http://", "https://"))
